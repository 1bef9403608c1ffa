"""At most so many records of one user and agent: counted where it is close, and made room for."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Final, TypeAlias

from memlane.errors import QuotaExceededError
from memlane.layout import agent_prefix, idempotent_id, owner_prefix
from memlane.protocols import Clock, VectorBackend
from memlane.reader import Reader, within_reach
from memlane.retention import WhenFull
from memlane.runtime import fork
from memlane.runtime.turns import Turns
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord, NewMemory

__all__ = ("Rooms",)

_Age: TypeAlias = tuple[float, float, str]

_SCOPES: Final = 10_000  # of which is known how full they are; others are counted again
_NEXT: Final = 100  # records noted, besides those that go now, so that few stores read a scope
_ATTEMPTS: Final = 8
_PAGE: Final = 1_000
_AHEAD: Final = timedelta(days=1)  # by more no machine's clock differs; a file may say anything
_FIRST: Final = float("-inf")
_SLACK: Final = 20  # of a store that must be listed to be counted, a twentieth may be too much


class _Room:
    """What is known of one scope."""

    __slots__ = ("next", "spare")

    def __init__(self) -> None:
        self.spare = 0
        """Records that may come before it is counted again."""
        self.next: deque[tuple[_Age, str]] = deque()
        """Those that go first, as they were when the scope was read."""


class Rooms:
    """Keeps each user's agent within a number of records.

    Far from the bound nothing is counted: half of the room that was there when it was counted
    last may be filled before it is counted again. So the bound holds exactly for what one client
    stores; what others store in the meantime is met by the next count.

    Args:
        backend: Where records live.
        most: Records of one user and agent.
        when_full: What is done with one too many.
        clock: When it is.
    """

    def __init__(
        self, backend: VectorBackend, most: int, when_full: WhenFull, *, clock: Clock
    ) -> None:
        self._backend = backend
        self._reader = Reader(backend)
        self._most = most
        self._when_full: WhenFull = when_full
        self._clock = clock
        slack = 0 if backend.capabilities.exact else most // _SLACK
        self._least_spare = 0 if when_full == "refuse" else slack
        self._turns = Turns()
        self._start_empty()
        fork.watch(self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._rooms: OrderedDict[str, _Room] = OrderedDict()

    def turn(self, scope: Scope) -> AbstractAsyncContextManager[None]:
        """Return a block in which nobody else of this client stores for the scope's agent."""
        return self._turns.taken([agent_prefix(scope)])

    async def check(self, wanted: Sequence[NewMemory], scope: Scope) -> None:
        """Refuse records that there is no room for; inside of `turn`.

        Raises:
            QuotaExceededError: There would be too many; none was stored.
        """
        room, count = self._room(scope), len(wanted)
        if count <= room.spare:
            room.spare -= count
            return
        reach = Reach.point(scope, now=self._clock.now())
        have = await self._count(reach)
        if have + count > self._most:
            count -= await self._known(wanted, reach)
        if have + count > self._most:
            raise QuotaExceededError(
                f"there are {have} records of at most {self._most}, and {count} more do not fit",
                remedy="delete some, raise Retention.max_records, or let the oldest go with "
                "when_full='oldest'",
            )
        room.spare = (self._most - have - count) // 2

    async def make(self, stored: Sequence[MemoryRecord], scope: Scope) -> None:
        """Let those go that are too many, now that others were stored."""
        room = self._room(scope)
        self._note(room, stored)
        if len(stored) <= room.spare:
            room.spare -= len(stored)
            return
        room.spare = 0  # whatever happens until it is counted
        async with self.turn(scope):
            for _ in range(_ATTEMPTS):
                reach = Reach.point(scope, now=self._clock.now())
                excess = await self._count(reach) - self._most
                if excess <= 0:
                    room.spare = max(-excess // 2, self._least_spare)
                    return
                try:
                    await self._remove(room, excess, reach)
                except BaseException:
                    # Cut short; of those taken off the list, some may be there still.
                    room.next.clear()
                    raise

    def forget(self, scope: Scope) -> None:
        """Drop what is known of a user: ids, and how many there were."""
        owner = owner_prefix(scope)
        with self._lock:
            for key in [key for key in self._rooms if key.startswith(owner)]:
                del self._rooms[key]

    def changed(self, scope: Scope) -> None:
        """Drop who goes next: a record of the scope's agent has another age now."""
        with self._lock:
            room = self._rooms.get(agent_prefix(scope))
            if room is not None:
                room.next = deque()

    def forget_all(self) -> None:
        """Drop what is known of anybody; it is counted again."""
        with self._lock:
            self._rooms.clear()

    async def _count(self, reach: Reach) -> int:
        return await self._reader.count(reach=reach, namespace="/", condition=None)

    async def _known(self, wanted: Sequence[NewMemory], reach: Reach) -> int:
        """Return how many of the events wanted are there: to repeat one takes no room."""
        ids = {
            idempotent_id(new.idempotency_key) for new in wanted if new.idempotency_key is not None
        }
        if not ids:
            return 0
        found = await self._backend.fetch(list(ids), reach=reach)
        return len(within_reach((one.record for one in found), reach))

    async def _remove(self, room: _Room, excess: int, reach: Reach) -> None:
        if len(room.next) < excess:
            room.next = await self._oldest(excess + _NEXT, reach)
        chosen = [room.next.popleft() for _ in range(min(excess, len(room.next)))]
        step = self._backend.capabilities.max_batch
        for at in range(0, len(chosen), step):
            ages = {record_id: age for age, record_id in chosen[at : at + step]}
            found = await self._backend.fetch(list(ages), reach=reach)
            # One that was changed since is not the next to go, perhaps.
            as_noted = [
                record.id
                for record in within_reach((one.record for one in found), reach)
                if self._age(record) == ages.get(record.id)
            ]
            if len(as_noted) < len(ages):
                room.next.clear()
            if as_noted:
                await self._backend.delete(as_noted, reach=reach)

    async def _oldest(self, count: int, reach: Reach) -> deque[tuple[_Age, str]]:
        found: list[tuple[_Age, str]] = []
        cursor: str | None = None
        while True:
            page = await self._backend.scan(reach=reach, cursor=cursor, limit=_PAGE)
            records = within_reach(page.records, reach)
            found += [(self._age(record), record.id) for record in records]
            found = heapq.nsmallest(count, found)
            if (cursor := page.cursor) is None:
                return deque(found)

    def _note(self, room: _Room, stored: Sequence[MemoryRecord]) -> None:
        """Let what was just stored take its place among those that go first."""
        if not room.next:
            return
        last = room.next[-1]
        new = [(self._age(record), record.id) for record in stored]
        early = [each for each in new if each < last]
        if early:
            room.next = deque(sorted({*room.next, *early}))

    def _age(self, record: MemoryRecord) -> _Age:
        since = record.updated_at
        if self._when_full == "oldest":
            # Nothing outlives the others by what it says of the time to come.
            since = min(record.occurred_at, since)
        if since - self._clock.now() > _AHEAD:
            return _FIRST, record.stored_at.timestamp(), record.id
        return since.timestamp(), record.stored_at.timestamp(), record.id

    def _room(self, scope: Scope) -> _Room:
        key = agent_prefix(scope)
        with self._lock:
            room = self._rooms.setdefault(key, _Room())
            self._rooms.move_to_end(key)
            if len(self._rooms) > _SCOPES:
                self._rooms.popitem(last=False)
            return room
