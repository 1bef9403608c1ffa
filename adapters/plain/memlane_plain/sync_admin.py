"""A tenant's administration for synchronous code."""

from __future__ import annotations

from collections.abc import Callable

from memlane import (
    ForgetReceipt,
    Page,
    Progress,
    ReembedPlan,
    ReembedReceipt,
    TenantAdmin,
    TenantStats,
)
from memlane.protocols import Embedder
from memlane_plain.sync_calls import SyncCalls

__all__ = ("SyncTenantAdmin",)


class SyncTenantAdmin(SyncCalls):
    """A `TenantAdmin` for code without `await`, made by `SyncMemoryClient.admin`.

    Args:
        admin: The tenant's administration.
    """

    def __init__(self, admin: TenantAdmin) -> None:
        super().__init__()
        self._admin = admin

    @property
    def tenant(self) -> str | None:
        """Whose administration this is."""
        return self._admin.tenant

    def onboard(self, *, user: str | None = None) -> bool:
        """Make what the tenant needs; False when it was there."""
        return self._call(self._admin.onboard, user=user)

    def users(
        self, *, cursor: str | None = None, limit: int = 100, user: str | None = None
    ) -> Page[str]:
        """Return some of the users of whom the tenant has records."""
        return self._call(self._admin.users, cursor=cursor, limit=limit, user=user)

    def stats(self, *, user: str | None = None) -> TenantStats:
        """Count what the tenant has."""
        return self._call(self._admin.stats, user=user)

    def sweep(self, *, user: str | None = None) -> int:
        """Delete the tenant's expired records and return how many."""
        return self._call(self._admin.sweep, user=user)

    def forget_tenant(self, *, user: str | None = None) -> ForgetReceipt:
        """Delete all that the tenant has, and prove it."""
        return self._call(self._admin.forget_tenant, user=user)

    def plan_reembed(self, embedder: Embedder, *, user: str | None = None) -> ReembedPlan:
        """Return what taking the tenant to another embedder's space will cost."""
        return self._call(self._admin.plan_reembed, embedder, user=user)

    def reembed(
        self,
        embedder: Embedder,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        user: str | None = None,
    ) -> ReembedReceipt:
        """Take the tenant to another embedder's space."""
        return self._call(self._admin.reembed, embedder, on_progress=on_progress, user=user)

    def abandon_reembed(self, *, user: str | None = None) -> bool:
        """Give up taking the tenant to another space; False when nobody had begun."""
        return self._call(self._admin.abandon_reembed, user=user)
