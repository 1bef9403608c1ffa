"""What is done for a tenant as a whole, by whoever runs the service and not by its users."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from memlane.calls import Call
from memlane.cursors import decode_cursor, encode_cursor
from memlane.errors import BackendError, ScopeError, TenantNotOnboardedError
from memlane.limits import check_limit
from memlane.powers import SupportsAdmin, SupportsReembed, SupportsTenants
from memlane.protocols import Clock, Embedder, EmbeddingSpace, VectorBackend
from memlane.receipts import ForgetReceipt, Progress, ReembedPlan, ReembedReceipt, TenantStats
from memlane.reembedding import plan_reembed, reembed
from memlane.scope import Scope, Tenancy, check_tenancy
from memlane.types import Page

__all__ = ("TenantAdmin",)

_ANYBODY = "-"  # a scope names a user, and no call here is about one
_USERS = "users"  # no namespace: what binds a cursor to this listing
_MOST_USERS = 1_000
_HARMLESS = frozenset({"onboard", "sweep"})  # these may as well be done for all of a tenant's users


class TenantAdmin:
    """One tenant's administration, made by `MemoryClient.admin`.

    Args:
        backend: Where the tenant's records live.
        tenant: Whose; None where the client's tenancy allows it.
        space: The embedding space new records are stored in.
        clock: When it is.
        tenancy: The client's.
        call: Begins a call of a verb, which is then in its errors, its receipt and its span.
        moved: Told of a scope whose tenant (or user, with an index for each) may have been taken
            to another embedding space.
        forgotten: Told of one that was forgotten: nothing that the client knew of it holds.
    """

    def __init__(
        self,
        backend: VectorBackend,
        tenant: str | None,
        *,
        space: EmbeddingSpace,
        clock: Clock,
        tenancy: Tenancy,
        call: Callable[[str, Scope], Call],
        moved: Callable[[Scope], object],
        forgotten: Callable[[Scope], object],
    ) -> None:
        self._backend = backend
        self._space = space
        self._clock = clock
        self._tenancy: Tenancy = tenancy
        self._call = call
        self._moved = moved
        self._forgotten = forgotten
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
        with self._call("onboard", scope):
            if isinstance(self._backend, SupportsAdmin):
                return await self._backend.onboard(scope=scope, space=self._space)
            await self._backend.ensure_index(scope=scope, space=self._space)
            return False

    async def users(
        self, *, cursor: str | None = None, limit: int = 100, user: str | None = None
    ) -> Page[str]:
        """Return some of the users of whom the tenant has records, expired ones too.

        Args:
            cursor: Where to go on.
            limit: Users at most.
            user: With tenancy "per-user", whose index it is.

        Raises:
            InvalidCursorError: The cursor was edited, or is of another listing.
            BackendError: The backend cannot look through a whole tenant.
        """
        scope = self._of(user, "users")
        with self._call("users", scope):
            check_limit(limit, most=_MOST_USERS)
            place = decode_cursor(cursor, scope=scope, namespace=_USERS, condition=None)
            page = await self._tenants().users(scope=scope, cursor=place, limit=limit)
            after = encode_cursor(page.cursor, scope=scope, namespace=_USERS, condition=None)
            return Page(items=page.names, cursor=after)

    async def stats(self, *, user: str | None = None) -> TenantStats:
        """Count what the tenant has.

        Args:
            user: With tenancy "per-user", whose index it is.

        Raises:
            BackendError: The backend cannot look through a whole tenant.
        """
        scope = self._of(user, "stats")
        with self._call("stats", scope):
            return await self._tenants().stats(scope=scope, now=self._clock.now())

    async def sweep(self, *, user: str | None = None) -> int:
        """Delete the tenant's expired records and return how many.

        They are out of everybody's reach already; this frees what they take up.

        Args:
            user: With tenancy "per-user", whose index it is.

        Raises:
            BackendError: The backend cannot look through a whole tenant.
        """
        scope = self._of(user, "sweep")
        with self._call("sweep", scope):
            if not isinstance(self._backend, SupportsAdmin):
                self._refuse("nothing needs to be done: expired records are in nobody's reach")
            return await self._backend.sweep(scope=scope, now=self._clock.now())

    async def forget_tenant(self, *, user: str | None = None) -> ForgetReceipt:
        """Delete all that the tenant has, and read again to prove it; see the receipt.

        Interrupted and repeated it ends in the same state. Who stores meanwhile leaves
        `verified_empty` False.

        Args:
            user: With tenancy "per-user", whose index it is.

        Raises:
            BackendError: The backend cannot look through a whole tenant.
        """
        scope = self._of(user, "forget_tenant")
        with self._call("forget_tenant", scope):
            tenants = self._tenants()
            try:
                return await tenants.forget_tenant(scope=scope)
            finally:
                # Also when the backend failed half way: what is gone must not be known still.
                self._forgotten(scope)

    async def plan_reembed(self, embedder: Embedder, *, user: str | None = None) -> ReembedPlan:
        """Return what taking the tenant to another embedder's space will cost; nothing is done.

        Where its records are of that space already, there are none to take, and it costs nothing.

        Args:
            embedder: The new one.
            user: With tenancy "per-user", whose index it is.

        Raises:
            BackendError: The backend cannot do it.
        """
        scope = self._of(user, "plan_reembed")
        with self._call("plan_reembed", scope):
            return await plan_reembed(
                self._backend, self._reembedding(), embedder, scope=scope, now=self._clock.now()
            )

    async def reembed(
        self,
        embedder: Embedder,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        user: str | None = None,
    ) -> ReembedReceipt:
        """Take the tenant to another embedder's space.

        The new vectors gather beside the old ones, which nobody notices, and then take their
        place: in one step where the store can; on S3 Vectors the index is deleted and filled
        anew, and until that is done nobody else may write, and whoever recalls finds less. Cut
        short, even by a kill, the next call goes on where this one was. From then on clients of
        the old embedder are refused: make them anew with the new one.

        Args:
            embedder: The new one; it is not closed.
            on_progress: Told after each page of records.
            user: With tenancy "per-user", whose index it is.

        Raises:
            ConflictError: Somebody is taking it to a third space, or it is written to so fast
                that there is no end to it.
            BackendError: The backend cannot do it, or fewer records are there than before.
        """
        scope = self._of(user, "reembed")
        with self._call("reembed", scope):
            shadows, now = self._reembedding(), self._clock.now()
            if isinstance(self._backend, SupportsAdmin):
                # What nobody will read need not be paid for. An index may be missing because an
                # earlier call was killed while it made it anew.
                with suppress(TenantNotOnboardedError):
                    await self._backend.sweep(scope=scope, now=now)
            try:
                return await reembed(
                    self._backend, shadows, embedder, scope=scope, now=now, on_progress=on_progress
                )
            finally:
                self._moved(scope)

    async def abandon_reembed(self, *, user: str | None = None) -> bool:
        """Give up taking the tenant to another space, and drop what was embedded for it.

        Args:
            user: With tenancy "per-user", whose index it is.

        Returns:
            False when nobody had begun.
        """
        scope = self._of(user, "abandon_reembed")
        with self._call("abandon_reembed", scope):
            return await self._reembedding().abandon_reembed(scope=scope)

    def _tenants(self) -> SupportsTenants:
        if not isinstance(self._backend, SupportsTenants):
            self._refuse("use a backend of memlane's own, or go through its users one by one")
        return self._backend

    def _reembedding(self) -> SupportsReembed:
        if not isinstance(self._backend, SupportsReembed):
            self._refuse("`export` the records of each user and import them into a new store")
        return self._backend

    def _refuse(self, remedy: str) -> NoReturn:
        name = self._backend.capabilities.name
        raise BackendError(
            f"the backend {name!r} cannot look through a whole tenant", remedy=remedy
        )

    def _of(self, user: str | None, operation: str) -> Scope:
        is_harmless = operation in _HARMLESS
        is_apart = is_harmless or self._backend.capabilities.isolation == "credentials"
        if self._tenancy != "per-user" or not is_apart:
            if user is not None and not is_harmless:
                raise ScopeError(
                    "this store has no index for each user, and a user is named",
                    operation=operation,
                    remedy="leave the user out to mean the whole tenant; a user's own memory is "
                    "forgotten with `forget`",
                )
            return self._scope
        if user is None:
            raise ScopeError(
                "this client's tenancy is 'per-user' and no user is named",
                operation=operation,
                remedy="pass user=..., whose index it is",
            )
        return Scope(user, tenant=self._scope.tenant)
