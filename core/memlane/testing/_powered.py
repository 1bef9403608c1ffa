"""The powers of a wrapped backend: a wrapper has those that what it wraps has, and no others."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar, cast

from memlane.filters import Filter
from memlane.powers import (
    NamePage,
    PendingPage,
    SupportsAdmin,
    SupportsCount,
    SupportsEnter,
    SupportsErase,
    SupportsReembed,
    SupportsRemains,
    SupportsTenants,
    SupportsVersions,
    SupportsWarm,
)
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.receipts import ForgetReceipt, TenantStats
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("Operation", "Powered", "powered")

T = TypeVar("T")
C = TypeVar("C", bound=type)

Operation: TypeAlias = Literal[
    "abandon_reembed",
    "actors",
    "begin_reembed",
    "count",
    "cut_over",
    "delete",
    "ensure_index",
    "erase",
    "fetch",
    "forget_tenant",
    "onboard",
    "pending",
    "query",
    "remains",
    "scan",
    "scrub",
    "shadow",
    "stats",
    "sweep",
    "upsert",
    "users",
    "versions",
]
"""A backend's call."""


class Powered:
    """What a wrapper with some power stands on."""

    inner: Any

    async def around(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of the inner backend and return its answer."""
        del operation
        return await call()


class _Versions(Powered):
    async def versions(self, record_id: str, *, reach: Reach) -> Sequence[MemoryRecord]:
        call = functools.partial(self.inner.versions, record_id, reach=reach)
        return await self.around("versions", call)


class _Count(Powered):
    async def count(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
    ) -> int:
        call = functools.partial(self.inner.count, reach=reach, namespace=namespace, filter=filter)
        return await self.around("count", call)


class _Remains(Powered):
    async def remains(self, *, reach: Reach, limit: int = 1_000) -> Sequence[str]:
        call = functools.partial(self.inner.remains, reach=reach, limit=limit)
        return await self.around("remains", call)


class _Erase(Powered):
    async def erase(self, *, reach: Reach) -> int:
        return await self.around("erase", functools.partial(self.inner.erase, reach=reach))


class _Admin(Powered):
    async def onboard(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        call = functools.partial(self.inner.onboard, scope=scope, space=space)
        return await self.around("onboard", call)

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        call = functools.partial(self.inner.sweep, scope=scope, now=now)
        return await self.around("sweep", call)


class _Tenants(Powered):
    async def users(self, *, scope: Scope, cursor: str | None = None, limit: int = 100) -> NamePage:
        call = functools.partial(self.inner.users, scope=scope, cursor=cursor, limit=limit)
        return await self.around("users", call)

    async def stats(self, *, scope: Scope, now: datetime) -> TenantStats:
        call = functools.partial(self.inner.stats, scope=scope, now=now)
        return await self.around("stats", call)

    async def forget_tenant(self, *, scope: Scope) -> ForgetReceipt:
        call = functools.partial(self.inner.forget_tenant, scope=scope)
        return await self.around("forget_tenant", call)


class _Reembed(Powered):
    async def begin_reembed(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        call = functools.partial(self.inner.begin_reembed, scope=scope, space=space)
        await self.around("begin_reembed", call)

    async def pending(
        self, *, scope: Scope, space: EmbeddingSpace, cursor: str | None = None, limit: int = 100
    ) -> PendingPage:
        call = functools.partial(
            self.inner.pending, scope=scope, space=space, cursor=cursor, limit=limit
        )
        return await self.around("pending", call)

    async def shadow(
        self, records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
    ) -> None:
        call = functools.partial(self.inner.shadow, records, scope=scope, space=space)
        await self.around("shadow", call)

    async def cut_over(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        call = functools.partial(self.inner.cut_over, scope=scope, space=space)
        return await self.around("cut_over", call)

    async def abandon_reembed(self, *, scope: Scope) -> bool:
        call = functools.partial(self.inner.abandon_reembed, scope=scope)
        return await self.around("abandon_reembed", call)


class _Warm(Powered):
    def warm(self, scope: Scope) -> None:
        self.inner.warm(scope)


class _Enter(Powered):
    async def enter(self) -> None:
        await self.inner.enter()


_POWERS: tuple[tuple[type, type[Powered]], ...] = (
    (SupportsVersions, _Versions),
    (SupportsCount, _Count),
    (SupportsRemains, _Remains),
    (SupportsErase, _Erase),
    (SupportsAdmin, _Admin),
    (SupportsTenants, _Tenants),
    (SupportsReembed, _Reembed),
    (SupportsWarm, _Warm),
    (SupportsEnter, _Enter),
)


def powered(wrapper: C, inner: object, *, hidden: Sequence[type] = ()) -> C:
    """Return the class that has a wrapper's own members and the powers of what it wraps.

    Args:
        wrapper: The wrapper's class.
        inner: What it wraps.
        hidden: Powers to leave out, as protocols.
    """
    mixed = tuple(
        forwarding
        for power, forwarding in _POWERS
        if power not in hidden and isinstance(inner, power)
    )
    return cast("C", _mixed(wrapper, mixed)) if mixed else wrapper


@functools.cache
def _mixed(wrapper: type, mixed: tuple[type, ...]) -> type:
    # The wrapper comes first: what it overrides is not to be forwarded past it.
    members = {"__module__": wrapper.__module__, "__qualname__": wrapper.__qualname__}
    return type(wrapper.__name__, (wrapper, *mixed), {**members, "__doc__": wrapper.__doc__})
