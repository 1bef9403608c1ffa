"""Who has spoken: names that leave a query's embedding, kept in one vector of the index per user.

The vector is no record: its key is no record's, it has no `user_id` and no `space`, so no query's
filter finds it. Each process reads it once a minute a user and writes it when a name is new. Two
processes may overwrite each other's names; the next put of a lost name writes it again. Names go
with what is forgotten; one whose last record was deleted by its id stays until then.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from memlane.aws._extra import orjson
from memlane.errors import BackendError
from memlane.layout import EPOCH, owner_prefix, vector_key
from memlane.protocols import Clock
from memlane.runtime import SingleFlight, fork
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("Actors", "Name", "actors_key", "actors_vector", "is_actors_key", "named", "remaining")

_SEGMENT: Final = "actors"  # no agent's code: those have 16 characters
_OWNER_CHARS: Final = 20

MAX_NAMES: Final = 500
MAX_BYTES: Final = 24 * 1024
"""Of the 40 KB of metadata a vector may carry; who has more speakers is served with these."""

_AGENT_BYTES: Final = 24  # the code of an agent as JSON, with what stands around it

FRESH_SECONDS: Final = 60.0
FAILED_SECONDS: Final = 5.0
"""A failed reading is not repeated sooner: recall goes on without names."""

_LATER: Final = 24 * 3600 * 1_000_000
"""Microseconds by which an expiry is put off at least: a name is not written with each record."""

Read: TypeAlias = Callable[[], Awaitable[str | bytes | None]]
Write: TypeAlias = Callable[[str], Awaitable[object]]
Erase: TypeAlias = Callable[[], Awaitable[object]]
_Key: TypeAlias = tuple[str, str]  # index and owner
Name: TypeAlias = tuple[str, str]  # the agent's code and the actor
_Ends: TypeAlias = dict[Name, int]  # microseconds of the last record's expiry; 0 is never


def actors_key(scope: Scope) -> str:
    """Return the key of the vector that holds the names of the scope's user."""
    return f"{owner_prefix(scope)}{_SEGMENT}"


def is_actors_key(key: str) -> bool:
    """Say whether a key is such a vector's, and so of no record."""
    return key[_OWNER_CHARS:] == f"/{_SEGMENT}" and "/" not in key[:_OWNER_CHARS]


def actors_vector(scope: Scope, content: str, *, dimensions: int, shared: bool = False) -> bytes:
    """Return the vector that holds names as PutVectors takes it; where it points means nothing.

    Args:
        scope: Whose names.
        content: The names.
        dimensions: Of the index.
        shared: Tenants share the index, so the vector says whose it is.
    """
    # Not filterable in our indexes, and the names not in those of the older tools.
    metadata = {"content": content}
    if shared:
        metadata["payload"] = orjson.dumps({"tenant": scope.tenant}).decode()
    return orjson.dumps(
        {
            "key": actors_key(scope),
            "data": {"float32": [1.0, *[0.0] * (dimensions - 1)]},
            "metadata": metadata,
        }
    )


def named(record: MemoryRecord) -> Name | None:
    """Return who spoke in a record, as the names are kept; None for nobody."""
    return None if record.actor is None else (_agent_code(record.scope.agent), record.actor)


def remaining(content: str | None, there: Container[Name], *, reach: Reach) -> str | None:
    """Return the names of a vector without those that have no record any more; None for none.

    Args:
        content: The vector's `content`.
        there: Who is named in any of the records of the agents within reach.
        reach: Which agents; the names of others are kept.
    """
    ends = _decoded(content)
    agent = None if reach.any_agent else _agent_code(reach.scope.agent)
    kept = {
        name: end
        for name, end in ends.items()
        if name in there or (agent is not None and name[0] != agent)
    }
    return _encoded(kept).decode() if kept else None


class _Writing(NamedTuple):
    write: Write
    erase: Erase
    since: int


class _Known:
    """What this process knows of one user's actors, until when, and what it has yet to write."""

    __slots__ = ("ends", "fresh_until", "is_full", "quiet_until", "wanted")

    def __init__(self) -> None:
        self.ends: _Ends = {}
        self.wanted: _Ends = {}
        self.fresh_until = float("-inf")
        self.quiet_until = float("-inf")
        self.is_full = False

    def covers(self, ends: _Ends) -> bool:
        """Say whether each name is known for as long as it has records."""
        return all(map(self._covers, ends.items())) or self.is_full

    def _covers(self, named: tuple[Name, int]) -> bool:
        name, end = named
        have = self.ends.get(name)
        return have is not None and (not have or 0 < end <= have)


class Actors:
    """The known actors of many users, read and written by those who hold the credentials.

    Usable from any loop. A failing service costs names and no call: recall is then a little worse,
    and the names are written with a later put.

    Args:
        clock: Decides what is still fresh.
        size: Users kept in memory at most.
    """

    def __init__(self, *, clock: Clock, size: int = 10_000) -> None:
        self._clock = clock
        self._size = size
        self._lock = threading.Lock()
        self._users: OrderedDict[_Key, _Known] = OrderedDict()
        self._forgotten: OrderedDict[_Key, int] = OrderedDict()  # when last, as a count of such
        self._forgetting: dict[_Key, int] = {}  # how many do so now
        self._count = 0
        self._flight: SingleFlight[None] = SingleFlight()
        fork.watch(self._after_fork)

    async def known(self, reach: Reach, *, index: str, read: Read) -> tuple[str, ...]:
        """Return the names that have records within reach, sorted; some may have none any more.

        Args:
            reach: Whose, of which agent, and when; the session is not looked at.
            index: The index's name.
            read: Returns the `content` of the vector under `actors_key`, None if there is none.
        """
        key = (index, owner_prefix(reach.scope))
        known = self._of(key)
        if self._clock.monotonic() >= max(known.fresh_until, known.quiet_until):
            await self._refresh(key, known, read)
        agent = None if reach.any_agent else _agent_code(reach.scope.agent)
        now = None if reach.now is None else _micros(reach.now)
        found = {
            name
            for (code, name), end in known.ends.items()
            if (agent is None or code == agent) and (not end or now is None or end > now)
        }
        return tuple(sorted(found))

    async def note(
        self,
        records: Sequence[MemoryRecord],
        *,
        index: str,
        read: Read,
        write: Write,
        erase: Erase,
        since: int | None = None,
    ) -> None:
        """Make sure that the actors of records are known; mostly at no cost.

        Args:
            records: Of one user; stored, or about to be.
            index: The index's name.
            read: As for `known`.
            write: Puts the vector under `actors_key` with this `content`.
            erase: Deletes it: what was written while its user was forgotten must not stay.
            since: What `forgotten` said before the records were stored: if any of their user was
                forgotten since, they may be gone, and their actors are not noted.
        """
        if all(record.actor is None for record in records):
            return
        key = (index, owner_prefix(records[0].scope))
        known = self._of(key)
        ends = _ends_of(records)
        # A flight that was under way may have read the names wanted before ours were among them.
        for _ in range(2):
            now = self._clock.monotonic()
            if now < known.quiet_until or (now < known.fresh_until and known.covers(ends)):
                return
            with self._lock:
                _extend(known.wanted, ends)
            if since is None:
                since = self._forgotten.get(key, 0)
            await self._refresh(key, known, read, _Writing(write, erase, since))

    def forgotten(self, scope: Scope, *, index: str) -> int:
        """Return a number that is another once something of the scope's user was forgotten."""
        return self._forgotten.get((index, owner_prefix(scope)), 0)

    @contextmanager
    def forgetting(self, scope: Scope, *, index: str) -> Generator[None]:
        """Let nobody of this process write what was known of the scope's user before, or now."""
        key = (index, owner_prefix(scope))
        self._forget(key, 1)
        try:
            yield
        finally:
            self._forget(key, -1)

    def drop(self, index: str) -> None:
        """Forget what was known of all users of an index, which was emptied."""
        with self._lock:
            self._count += 1
            for key in [key for key in self._users if key[0] == index]:
                del self._users[key]
                self._forgotten[key] = self._count

    def _forget(self, key: _Key, more: int) -> None:
        with self._lock:
            self._users.pop(key, None)
            self._count += 1
            self._forgotten[key] = self._count
            self._forgotten.move_to_end(key)
            if len(self._forgotten) > self._size:
                self._forgotten.popitem(last=False)
            under_way = self._forgetting.pop(key, 0) + more
            if under_way:
                self._forgetting[key] = under_way

    def _of(self, key: _Key) -> _Known:
        with self._lock:
            known = self._users.get(key)
            if known is None:
                known = self._users[key] = _Known()
                if len(self._users) > self._size:
                    self._users.popitem(last=False)
            else:
                self._users.move_to_end(key)
            return known

    async def _refresh(
        self, key: _Key, known: _Known, read: Read, writing: _Writing | None = None
    ) -> None:
        async def refresh() -> None:
            ends = _decoded(await read())
            with self._lock:
                wanted = {} if writing is None else dict(known.wanted)
            merged, is_full = _merged(ends, wanted, now=_micros(self._clock.now()))
            if writing is not None and merged != ends:
                if not self._may_write(key, writing.since):
                    return
                await writing.write(_encoded(merged).decode())
                if not self._may_write(key, writing.since):
                    await writing.erase()
                    return
            with self._lock:
                known.ends = merged
                known.is_full = is_full
                known.fresh_until = self._clock.monotonic() + FRESH_SECONDS
                for name, end in wanted.items():
                    if known.wanted.get(name) == end:
                        del known.wanted[name]

        try:
            await self._flight.run(key, refresh)
        except BackendError:
            known.quiet_until = self._clock.monotonic() + FAILED_SECONDS

    def _may_write(self, key: _Key, since: int) -> bool:
        return key not in self._forgetting and self._forgotten.get(key, 0) == since

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._users = OrderedDict()
        self._forgotten = OrderedDict()
        self._forgetting = {}


@functools.lru_cache(maxsize=1024)
def _agent_code(agent: str | None) -> str:
    return vector_key(Scope("-", agent=agent), "-").split("/")[1]


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _ends_of(records: Iterable[MemoryRecord]) -> _Ends:
    ends: _Ends = {}
    for record in records:
        name = named(record)
        if name is not None:
            expires = record.expires_at
            _extend(ends, {name: 0 if expires is None else max(_micros(expires), 1)})
    return ends


def _extend(ends: _Ends, more: _Ends) -> None:
    for name, end in more.items():
        have = ends.get(name, end)
        ends[name] = max(have, end) if have and end else 0


def _merged(ends: _Ends, wanted: _Ends, *, now: int) -> tuple[_Ends, bool]:
    """Return the stored names with the wanted ones, and whether some had no room."""
    merged = {name: end for name, end in ends.items() if not end or end > now - _LATER}
    room = MAX_BYTES - len(_encoded(merged))
    agents = {code for code, _ in merged}
    is_full = False
    for name, end in wanted.items():
        have = merged.get(name)
        if have is None:
            room -= len(orjson.dumps({name[1]: end})) + _AGENT_BYTES * (name[0] not in agents)
            if room < 0 or len(merged) >= MAX_NAMES:
                is_full = True
                continue
            merged[name] = end
            agents.add(name[0])
        elif have and (not end or end > have):
            merged[name] = max(end, have + _LATER) if end else 0
    return merged, is_full


def _encoded(ends: _Ends) -> bytes:
    agents: dict[str, dict[str, int]] = {}
    for (code, name), end in ends.items():
        agents.setdefault(code, {})[name] = end
    return orjson.dumps({"v": 1, "agents": agents})


def _decoded(content: str | bytes | None) -> _Ends:
    """Return the names in a vector's `content`; what does not look like them is overwritten."""
    if content is None:
        return {}
    try:
        agents: dict[str, dict[str, int]] = orjson.loads(content)["agents"]
        return {
            (code, name): int(end) for code, names in agents.items() for name, end in names.items()
        }
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return {}
