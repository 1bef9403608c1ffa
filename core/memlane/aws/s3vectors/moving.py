"""A tenant's way to another embedding space, step by step, for callers on any loop."""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from memlane.aws.s3vectors.cutover import abandon, cut_over
from memlane.aws.s3vectors.doors import Doors
from memlane.aws.s3vectors.indexes import Indexes
from memlane.aws.s3vectors.reembedding import (
    Places,
    begin,
    lacking,
    pending_among,
    shadowed,
)
from memlane.errors import AccessDeniedError, InvalidCursorError, TenantNotOnboardedError
from memlane.powers import PendingPage
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.runtime import fork
from memlane.scope import Scope
from memlane.types import MemoryRecord

__all__ = ("Moving",)

R = TypeVar("R")

_KEPT: Final = 4
_TOKEN: Final = 16
_LOOKED_AT: Final = 1_000  # keys at most for one page; a page may be empty without being the last


class Moving:
    """Takes tenants to other embedding spaces.

    Args:
        doors: How indexes are opened.
        indexes: What is known of them.
    """

    def __init__(self, doors: Doors, indexes: Indexes) -> None:
        self._doors = doors
        self._indexes = indexes
        self._lock = threading.Lock()
        self._listed: OrderedDict[tuple[str, str], tuple[list[str], frozenset[str]]] = OrderedDict()
        fork.watch(self._after_fork)

    async def begin(self, scope: Scope, space: EmbeddingSpace) -> None:
        """Make the shadow, or find it again."""
        places = self._places(scope, "begin_reembed")
        await self._again(places, lambda: begin(places, self._indexes, space))

    async def pending(
        self, scope: Scope, space: EmbeddingSpace, *, cursor: str | None, limit: int
    ) -> PendingPage:
        """Return records that the shadow lacks, or has at another version."""
        places = self._places(scope, "pending")
        return await self._again(places, lambda: self._page(places, space, cursor, limit))

    async def shadow(
        self, records: Sequence[IndexedRecord], scope: Scope, space: EmbeddingSpace
    ) -> None:
        """Put vectors into the shadow."""
        places = self._places(scope, "shadow")
        await self._again(places, lambda: shadowed(places, self._indexes, records, space))

    async def cut_over(self, scope: Scope, space: EmbeddingSpace) -> bool:
        """Put the shadow in the place of the tenant's index."""
        places = self._places(scope, "cut_over")
        return await self._again(places, lambda: cut_over(places, self._indexes, space))

    async def abandon(self, scope: Scope) -> bool:
        """Remove a shadow."""
        places = self._places(scope, "abandon_reembed")
        return await self._again(places, lambda: abandon(places, self._indexes))

    async def let_go(self, scope: Scope) -> None:
        """Remove a shadow for good: its tenant is forgotten."""
        shadow = self._doors.shadow(scope)
        if shadow is None:
            return
        self._indexes.forget(shadow)
        # Who may not delete one never made one.
        with suppress(AccessDeniedError):
            await shadow.remove()

    def _places(self, scope: Scope, operation: str) -> Places:
        shadow = self._doors.needed_shadow(scope, operation)
        maker = self._doors.needed_maker(scope, operation)
        return Places(self._doors.index(scope), maker, shadow)

    async def _again(self, places: Places, step: Callable[[], Awaitable[R]]) -> R:
        """Take a step, and once more where another process took an index away meanwhile."""
        try:
            return await step()
        except TenantNotOnboardedError:
            for index in (places.source, places.shadow):
                self._indexes.drop(index)
        return await step()

    async def _page(
        self, places: Places, space: EmbeddingSpace, cursor: str | None, limit: int
    ) -> PendingPage:
        token, _, after = ("", "", "") if cursor is None else cursor.partition(" ")
        if cursor is not None and (len(token) != _TOKEN or not after):
            raise InvalidCursorError(
                "this is not a cursor of what is pending",
                operation="pending",
                remedy="start again without a cursor",
            )
        name = places.source.target.index
        with self._lock:
            listed = self._listed.get((name, token))
        if listed is None:
            token = secrets.token_hex(_TOKEN // 2)
            listed = await lacking(places, self._indexes, space)
            with self._lock:
                self._listed[name, token] = listed
                while len(self._listed) > _KEPT:
                    self._listed.popitem(last=False)
        keys, have = listed
        at = bisect_right(keys, after) if after else 0
        until = min(len(keys), at + max(limit, _LOOKED_AT))
        found: list[MemoryRecord] = []
        while at < until and len(found) < limit:
            some = keys[at : min(until, at + limit - len(found))]
            found += await pending_among(places, space, some, have)
            at += len(some)
        if at < len(keys):
            return PendingPage(records=tuple(found), cursor=f"{token} {keys[at - 1]}")
        with self._lock:
            self._listed.pop((name, token), None)
        return PendingPage(records=tuple(found), cursor=None)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
