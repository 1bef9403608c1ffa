"""What is done for a tenant as a whole, by whoever runs the service and not by its users."""

from __future__ import annotations

from memlane.errors import BackendError, ScopeError, naming
from memlane.protocols import Clock, EmbeddingSpace, SupportsAdmin, VectorBackend
from memlane.scope import Scope, Tenancy, check_tenancy

__all__ = ("TenantAdmin",)

_ANYBODY = "-"  # a scope names a user, and no call here is about one


class TenantAdmin:
    """One tenant's administration, made by `MemoryClient.admin`.

    Args:
        backend: Where the tenant's records live.
        tenant: Whose; None where the client's tenancy allows it.
        space: The embedding space new records are stored in.
        clock: When it is.
        tenancy: The client's.
    """

    def __init__(
        self,
        backend: VectorBackend,
        tenant: str | None,
        *,
        space: EmbeddingSpace,
        clock: Clock,
        tenancy: Tenancy,
    ) -> None:
        self._backend = backend
        self._space = space
        self._clock = clock
        self._tenancy: Tenancy = tenancy
        self._scope = check_tenancy(Scope(_ANYBODY, tenant=tenant), tenancy, operation="admin")

    @property
    def tenant(self) -> str | None:
        """Whose administration this is."""
        return self._scope.tenant

    async def onboard(self, *, user: str | None = None) -> bool:
        """Make what the tenant needs to store records; may be called again at any time.

        Args:
            user: With tenancy "per-user", whose index it is.

        Returns:
            Whether it was made now; False where it was there, and where nothing is to be made.
        """
        scope = self._of(user, "onboard")
        with naming("onboard", scope):
            if isinstance(self._backend, SupportsAdmin):
                return await self._backend.onboard(scope=scope, space=self._space)
            await self._backend.ensure_index(scope=scope, space=self._space)
            return False

    async def sweep(self, *, user: str | None = None) -> int:
        """Delete the tenant's expired records and return how many.

        They are out of everybody's reach already; this frees what they take up.

        Args:
            user: With tenancy "per-user", whose index it is.

        Raises:
            BackendError: The backend cannot look through a whole tenant.
        """
        scope = self._of(user, "sweep")
        with naming("sweep", scope):
            if not isinstance(self._backend, SupportsAdmin):
                name = self._backend.capabilities.name
                raise BackendError(
                    f"the backend {name!r} cannot look through a whole tenant",
                    remedy="nothing needs to be done: expired records are in nobody's reach",
                )
            return await self._backend.sweep(scope=scope, now=self._clock.now())

    def _of(self, user: str | None, operation: str) -> Scope:
        if self._tenancy != "per-user":
            return self._scope
        if user is None:
            raise ScopeError(
                "this client's tenancy is 'per-user' and no user is named",
                operation=operation,
                remedy="pass user=..., whose index it is",
            )
        return Scope(user, tenant=self._scope.tenant)
