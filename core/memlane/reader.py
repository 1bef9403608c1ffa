"""Reading records one by one and page by page, each checked against the call's reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from memlane.cursors import decode_cursor, encode_cursor
from memlane.errors import ConflictError, IsolationError, NotFoundError
from memlane.filters import Filter
from memlane.powers import SupportsCount, SupportsVersions
from memlane.protocols import IndexedRecord, VectorBackend
from memlane.scope import Reach
from memlane.types import MemoryRecord, Page

__all__ = ("Reader", "only", "within_reach")

_COUNTED_AT_A_TIME = 1_000


def within_reach(records: Iterable[MemoryRecord], reach: Reach) -> list[MemoryRecord]:
    """Return the records when each is within reach.

    Raises:
        IsolationError: The backend returned another's record; none is returned.
    """
    found = [*records]
    for record in found:
        if not reach.covers(record.scope, expires_at=record.expires_at):
            raise IsolationError(
                "the backend returned a record out of the call's reach; nothing is returned",
                remedy="run the backend through memlane.testing's isolation suite",
            )
    return found


def only(found: Sequence[IndexedRecord], *, record_id: str, reach: Reach) -> IndexedRecord:
    """Return the one record an id means within reach.

    Raises:
        NotFoundError: There is none, and nothing says whether another scope has one.
        ConflictError: Several agents of the user have a record of that id.
    """
    within_reach((indexed.record for indexed in found), reach)
    mine = [indexed for indexed in found if indexed.record.id == record_id]
    if not mine:
        raise NotFoundError(
            "no such record in this scope", remedy="check the id, and the scope it was stored with"
        )
    if len(mine) > 1:
        raise ConflictError(
            "several agents of this user have a record of that id",
            remedy="name the agent in the scope",
        )
    return mine[0]


class Reader:
    """The reading half of a client, ranking apart.

    Args:
        backend: Where records live.
    """

    def __init__(self, backend: VectorBackend) -> None:
        self._backend = backend

    async def get(self, record_id: str, *, reach: Reach) -> MemoryRecord:
        """Return one record within reach, or raise NotFoundError."""
        found = await self._backend.fetch([record_id], reach=reach)
        return only(found, record_id=record_id, reach=reach).record

    async def history(self, record_id: str, *, reach: Reach) -> list[MemoryRecord]:
        """Return a record and its kept versions, the newest first.

        Raises:
            NotFoundError: There is none in reach.
        """
        record = await self.get(record_id, reach=reach)
        return [record, *await self.versions(record, reach=reach)]

    async def versions(self, record: MemoryRecord, *, reach: Reach) -> list[MemoryRecord]:
        """Return what is kept of a record in reach as it was, the newest version first."""
        if not isinstance(self._backend, SupportsVersions):
            return []
        kept = await self._backend.versions(record.id, reach=reach)
        # How long a version was to be kept says nothing any more: it goes with its record.
        found = within_reach(kept, replace(reach, now=None))
        # With several agents in reach each may have a record of that id.
        mine = (
            old for old in found if (old.id, old.scope.agent) == (record.id, record.scope.agent)
        )
        return [old for old in mine if old != record]

    async def page(
        self,
        *,
        reach: Reach,
        namespace: str,
        condition: Filter | None,
        cursor: object,
        limit: int,
    ) -> Page[MemoryRecord]:
        """Return `limit` records, fewer only at the end, and a cursor bound to this listing."""
        scope = reach.scope
        place = decode_cursor(cursor, scope=scope, namespace=namespace, condition=condition)
        items: list[MemoryRecord] = []
        while len(items) < limit:
            page = await self._backend.scan(
                reach=reach,
                namespace=namespace,
                filter=condition,
                cursor=place,
                limit=limit - len(items),
            )
            items += within_reach(page.records, reach)
            place = page.cursor
            if place is None:
                break
        return Page(
            items=tuple(items),
            cursor=encode_cursor(place, scope=scope, namespace=namespace, condition=condition),
        )

    async def count(self, *, reach: Reach, namespace: str, condition: Filter | None) -> int:
        """Return how many records are within reach and meet the condition."""
        if isinstance(self._backend, SupportsCount):
            return await self._backend.count(reach=reach, namespace=namespace, filter=condition)
        total, place = 0, None
        while True:
            page = await self._backend.scan(
                reach=reach,
                namespace=namespace,
                filter=condition,
                cursor=place,
                limit=_COUNTED_AT_A_TIME,
            )
            total += len(within_reach(page.records, reach))
            if (place := page.cursor) is None:
                return total
