"""Which index a scope means, and whose credentials open it, for what."""

from __future__ import annotations

from dataclasses import dataclass

from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors.index import Index, Signer
from memlane.aws.s3vectors.naming import IndexTarget, codes_of, shadow_of, target_of
from memlane.errors import BackendError, ValidationError
from memlane.scope import Scope

__all__ = ("Doors",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The indexes of one bucket, as they are seen by those who may do something there.

    Args:
        bucket: The vector bucket.
        plane: The way to AWS.
        tenants: Who signs for a tenant.
        host: Who makes and deletes indexes; None for nobody.
        eraser: Who deletes vectors, where `tenants` may not.
        shared: The one index of all tenants; None is one for each.
        per_user: Each user has an index.
    """

    bucket: str
    plane: DataPlane
    tenants: Signer | None
    host: Signer | None
    eraser: Signer | None
    shared: str | None
    per_user: bool

    def index(self, scope: Scope) -> Index:
        """Return the scope's index as its tenant sees it, and as whoever erases deletes in it."""
        shared = self.shared is not None
        signer = self.host if shared or self.tenants is None else self.tenants
        assert signer is not None  # noqa: S101 - seen to when the backend was made
        return Index(
            self.plane, self._target(scope), scope, signer=signer, eraser=self.eraser,
            shared=shared,
        )  # fmt: skip

    def maker(self, scope: Scope) -> Index | None:
        """Return the same index as the host sees it; None where there is no host."""
        if self.host is None:
            return None
        tags = {} if self.shared is not None else codes_of(scope, per_user=self.per_user)
        return Index(
            self.plane, self._target(scope), scope, signer=self.host,
            shared=self.shared is not None, tags=tags,
        )  # fmt: skip

    def needed_maker(self, scope: Scope, operation: str) -> Index:
        """Return the index as the host sees it.

        Raises:
            ValidationError: There are no host credentials.
        """
        maker = self.maker(scope)
        if maker is None:
            raise ValidationError(
                "only the host makes indexes, and its credentials are not there",
                operation=operation,
                scope=scope,
                remedy="pass host=HostCredentials(...)",
            )
        return maker

    def shadow(self, scope: Scope) -> Index | None:
        """Return the index beside the scope's, as the host sees it; None where there can be none.

        Its name and its lack of tags keep it from the tenant's own credentials.
        """
        maker = self.maker(scope)
        if maker is None or self.shared is not None:
            return None
        target = IndexTarget(self.bucket, shadow_of(maker.target.index))
        assert self.host is not None  # noqa: S101 - there is no maker without
        return Index(self.plane, target, scope, signer=self.host)

    def needed_shadow(self, scope: Scope, operation: str) -> Index:
        """Return the index beside the scope's.

        Raises:
            BackendError: Tenants share one index.
            ValidationError: There are no host credentials.
        """
        if self.shared is not None:
            raise BackendError(
                "tenants share this index, and it has one dimension for all of them",
                operation=operation,
                scope=scope,
                remedy="export the tenant and import it into an index made for the new embedder",
            )
        self.needed_maker(scope, operation)
        shadow = self.shadow(scope)
        assert shadow is not None  # noqa: S101 - there is a maker
        return shadow

    def _target(self, scope: Scope) -> IndexTarget:
        if self.shared is not None:
            return IndexTarget(self.bucket, self.shared)
        return target_of(self.bucket, scope, per_user=self.per_user)
