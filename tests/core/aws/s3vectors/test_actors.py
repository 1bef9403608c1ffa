"""Who has spoken: read once a minute, written when somebody is new, and never at a call's cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import orjson
import pytest

from memlane.aws.s3vectors import actors as module
from memlane.aws.s3vectors.actors import (
    MAX_BYTES,
    MAX_NAMES,
    Actors,
    actors_key,
    actors_vector,
    is_actors_key,
)
from memlane.errors import AccessDeniedError, LoopError, ThrottledError
from memlane.layout import parse_vector_key, vector_key
from memlane.scope import Reach, Scope
from memlane.testing import FakeClock
from memlane.testing.samples import make_record
from memlane.types import MemoryRecord

ADA = Scope("ada", tenant="acme")
INDEX = "memory-acme"
MINUTE = timedelta(seconds=61)


class Vector:
    """The one vector, as a service keeps it; it can fail, and be slow."""

    def __init__(self) -> None:
        self.content: str | None = None
        self.reads = 0
        self.writes = 0
        self.error: Exception | None = None
        self.steps = 0

    async def read(self) -> str | None:
        self.reads += 1
        await self._wait()
        return self.content

    async def write(self, content: str) -> None:
        self.writes += 1
        await self._wait()
        self.content = content

    async def erase(self) -> None:
        await self._wait()
        self.content = None

    async def _wait(self) -> None:
        for _ in range(self.steps):
            await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error


class Process:
    """One process's knowledge over the shared vector."""

    def __init__(self, clock: FakeClock, vector: Vector, *, size: int = 100) -> None:
        self.actors = Actors(clock=clock, size=size)
        self._clock = clock
        self._vector = vector

    async def note(self, *records: MemoryRecord) -> None:
        await self.actors.note(
            records,
            index=INDEX,
            read=self._vector.read,
            write=self._vector.write,
            erase=self._vector.erase,
        )

    async def known(self, scope: Scope = ADA, *, any_agent: bool = False) -> list[str]:
        reach = Reach.point(scope, now=self._clock.now(), include_agents=any_agent)
        return [*await self.actors.known(reach, index=INDEX, read=self._vector.read)]


def _said(
    actor: str | None, *, scope: Scope = ADA, expires_at: datetime | None = None
) -> MemoryRecord:
    return make_record("r", scope=scope, actor=actor, expires_at=expires_at)


async def test_who_spoke_is_known_here_and_elsewhere(clock: FakeClock) -> None:
    """At once in the process that stored, after one reading in another."""
    vector = Vector()
    here, there = Process(clock, vector), Process(clock, vector)
    assert await here.known() == []
    await here.note(_said("Eve"), _said("Bob"), _said(None), _said("Eve"))
    assert await here.known() == ["Bob", "Eve"]
    assert await there.known() == ["Bob", "Eve"]
    assert vector.writes == 1


async def test_it_costs_nothing_when_nobody_is_new(clock: FakeClock) -> None:
    """No request for records of nobody, and none for known names within the minute."""
    vector = Vector()
    process = Process(clock, vector)
    await process.note(_said(None))
    await process.note()
    assert (vector.reads, vector.writes) == (0, 0)
    await process.note(_said("Eve"))
    assert (vector.reads, vector.writes) == (1, 1)
    for _ in range(5):
        await process.note(_said("Eve"))
        assert await process.known() == ["Eve"]
    assert (vector.reads, vector.writes) == (1, 1)
    clock.advance(MINUTE)
    await process.note(_said("Eve"))
    assert (vector.reads, vector.writes) == (2, 1)
    clock.advance(MINUTE)
    assert await process.known() == ["Eve"]
    assert (vector.reads, vector.writes) == (3, 1)


async def test_agents_have_their_own(clock: FakeClock) -> None:
    """A supervisor hears all of them, each once."""
    process = Process(clock, Vector())
    support = replace(ADA, agent="support")
    await process.note(_said("Eve"), _said("Ann", scope=support), _said("Eve", scope=support))
    assert await process.known() == ["Eve"]
    assert await process.known(support) == ["Ann", "Eve"]
    assert await process.known(replace(ADA, agent="other")) == []
    assert await process.known(replace(ADA, agent="other"), any_agent=True) == ["Ann", "Eve"]


async def test_who_has_only_expired_records_is_gone(clock: FakeClock) -> None:
    """To the microsecond for the first record; renewed by the day, so that not each put writes."""
    vector = Vector()
    process = Process(clock, vector)
    end = clock.now() + timedelta(hours=1)
    await process.note(_said("Eve", expires_at=end), _said("Bob"))
    clock.set(end - timedelta(microseconds=1))
    assert await process.known() == ["Bob", "Eve"]
    clock.set(end)
    assert await process.known() == ["Bob"]
    clock.set(end - timedelta(minutes=30))
    for minutes in range(1, 60):
        await process.note(_said("Eve", expires_at=end + timedelta(minutes=minutes)))
    assert vector.writes == 2
    clock.set(end + timedelta(minutes=59))
    assert "Eve" in await process.known()
    clock.set(end + timedelta(days=1))
    assert await process.known() == ["Bob"]


@pytest.mark.parametrize("first", [True, False])
async def test_one_record_for_ever_keeps_the_name_for_ever(
    clock: FakeClock, *, first: bool
) -> None:
    """Whichever of the two came first, and whether in one call or in two."""
    end = clock.now() + timedelta(hours=1)
    records = [_said("Eve"), _said("Eve", expires_at=end)]
    records = records if first else records[::-1]
    together, apart = Process(clock, Vector()), Process(clock, Vector())
    await together.note(*records)
    for record in records:
        await apart.note(record)
    clock.advance(timedelta(days=100))
    assert await together.known() == ["Eve"]
    assert await apart.known() == ["Eve"]


async def test_what_another_process_wrote_is_kept(clock: FakeClock) -> None:
    """A new name is added to what is there now, not to what was known here."""
    vector = Vector()
    here, there = Process(clock, vector), Process(clock, vector)
    await here.note(_said("Eve"))
    await there.note(_said("Bob"))
    await here.note(_said("Ann"))
    assert await Process(clock, vector).known() == ["Ann", "Bob", "Eve"]


async def test_a_lost_name_is_written_again(clock: FakeClock) -> None:
    """Two processes wrote at once and one name went; its next record brings it back."""
    vector = Vector()
    process = Process(clock, vector)
    await process.note(_said("Bob"))
    lost = vector.content
    await process.note(_said("Eve"))
    vector.content = lost
    await process.note(_said("Eve"))
    assert await Process(clock, vector).known() == ["Bob"]
    clock.advance(MINUTE)
    await process.note(_said("Eve"))
    assert await Process(clock, vector).known() == ["Bob", "Eve"]


async def test_callers_at_once_share_readings_and_writings(clock: FakeClock) -> None:
    """Fifty stores and fifty questions of a new user: everybody is known, at a few requests."""
    vector = Vector()
    vector.steps = 5
    process = Process(clock, vector)
    async with anyio.create_task_group() as tasks:
        for n in range(50):
            tasks.start_soon(process.known)
            tasks.start_soon(process.note, _said(f"actor {n}"))
    assert len(await process.known()) == 50
    assert vector.reads <= 4
    assert vector.writes <= 3
    assert len(await Process(clock, vector).known()) == 50


@pytest.mark.parametrize("error", [ThrottledError("busy"), AccessDeniedError("no")])
async def test_a_failing_service_costs_names_and_no_call(
    clock: FakeClock, error: Exception
) -> None:
    """Nothing is raised, the service is left in peace for a moment, and then it heals."""
    vector = Vector()
    process = Process(clock, vector)
    await process.note(_said("Bob"))
    clock.advance(MINUTE)
    vector.error = error
    asked = vector.reads
    for _ in range(3):
        assert await process.known() == ["Bob"]
        await process.note(_said("Eve"))
    assert vector.reads == asked + 1
    vector.error = None
    clock.advance(timedelta(seconds=6))
    await process.note(_said("Eve"))
    assert await process.known() == ["Bob", "Eve"]


async def test_a_failed_writing_is_not_taken_for_done(clock: FakeClock) -> None:
    """A name is known when it is written, and not before."""
    vector = Vector()
    process = Process(clock, vector)

    async def refuse(content: str) -> None:
        raise AccessDeniedError(f"no to {len(content)} bytes")

    await process.actors.note(
        [_said("Eve")], index=INDEX, read=vector.read, write=refuse, erase=vector.erase
    )
    assert await process.known() == []
    clock.advance(timedelta(seconds=6))
    await process.note(_said("Eve"))
    assert await process.known() == ["Eve"]


async def test_what_is_no_failure_of_the_service_is_raised(clock: FakeClock) -> None:
    """A client that was closed says so."""
    vector = Vector()
    vector.error = LoopError("closed")
    with pytest.raises(LoopError):
        await Process(clock, vector).note(_said("Eve"))


async def test_what_another_process_forgot_is_forgotten_within_a_minute(clock: FakeClock) -> None:
    """A deleted vector has no names; they are not remembered past the next reading."""
    vector = Vector()
    process = Process(clock, vector)
    await process.note(_said("Eve"))
    vector.content = None
    clock.advance(MINUTE)
    assert await process.known() == []


async def test_users_and_indexes_do_not_meet(clock: FakeClock) -> None:
    """Each has a vector of their own, also where only the tenant or the index differs."""
    process = Process(clock, Vector())
    await process.note(_said("Eve"))
    empty = Vector()
    for scope, index in ((Scope("ada", tenant="other"), INDEX), (ADA, "memory-b")):
        reach = Reach.point(scope, now=clock.now())
        assert await process.actors.known(reach, index=index, read=empty.read) == ()
    assert empty.reads == 2


async def test_memory_is_bounded(clock: FakeClock) -> None:
    """The user who was quiet longest is read again; the others are still known."""
    vectors = {n: Vector() for n in range(4)}
    actors = Actors(clock=clock, size=3)

    async def ask(n: int) -> None:
        reach = Reach.point(Scope(f"user {n}", tenant="acme"), now=clock.now())
        await actors.known(reach, index=INDEX, read=vectors[n].read)

    for n in (0, 1, 2, 0, 3, 0, 1):
        await ask(n)
    assert [vectors[n].reads for n in range(4)] == [1, 2, 1, 1]
    assert len(actors._users) == 3


@pytest.mark.parametrize("length", [10, 500])
async def test_a_vector_holds_so_many_names(clock: FakeClock, length: int) -> None:
    """Beyond 500 names, or 24 KB, the first ones stay; storing goes on at no further cost."""
    vector = Vector()
    process = Process(clock, vector)
    names = [f"{n:04}".ljust(length, "é") for n in range(700)]
    await process.note(*map(_said, names))
    assert vector.content is not None
    assert len(vector.content.encode()) <= MAX_BYTES
    known = await process.known()
    assert known == sorted(names)[: len(known)]
    assert len(known) == MAX_NAMES if length == 10 else 15 < len(known) < MAX_NAMES
    before = (vector.reads, vector.writes)
    await process.note(_said(names[-1]))
    assert (vector.reads, vector.writes) == before


async def test_expired_names_make_room(clock: FakeClock) -> None:
    """What ended more than a day ago goes with the next writing."""
    vector = Vector()
    process = Process(clock, vector)
    end = clock.now() + timedelta(hours=1)
    await process.note(*(_said(f"{n}", expires_at=end) for n in range(MAX_NAMES)))
    clock.advance(timedelta(days=2))
    await process.note(_said("Eve"))
    assert await process.known() == ["Eve"]
    assert "499" not in (vector.content or "")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"agents":[]}', '{"agents":{"a":3}}', '{"agents":{"a":{"b":"c"}}}'],
)
async def test_damaged_content_is_no_names(clock: FakeClock, content: str) -> None:
    """And is overwritten by the next name."""
    vector = Vector()
    vector.content = content
    process = Process(clock, vector)
    assert await process.known() == []
    await process.note(_said("Eve"))
    assert await process.known() == ["Eve"]


@pytest.mark.parametrize("user", ["ada", "u/actors", "actors", "", "é"])
def test_the_vector_is_no_record(user: str) -> None:
    """Its key is nobody's record's, of any agent and any id; no query's filter finds it."""
    scope = Scope(user or "-", tenant="acme")
    key = actors_key(scope)
    assert is_actors_key(key)
    assert parse_vector_key(key) is None
    for agent in (None, "actors"):
        for record_id in ("actors", "a/actors", "/actors"):
            record = vector_key(replace(scope, agent=agent), record_id)
            assert record != key
            assert not is_actors_key(record)
    assert not is_actors_key("actors")
    assert not is_actors_key("somebody/actors")
    stored = orjson.loads(actors_vector(scope, "names", dimensions=4))
    assert stored == {
        "key": key,
        "data": {"float32": [1.0, 0.0, 0.0, 0.0]},
        "metadata": {"content": "names"},
    }
    assert actors_vector(scope, "names", dimensions=1).startswith(b'{"key":"')


def test_after_a_fork_nothing_is_known() -> None:
    """The child reads for itself."""
    actors = Actors(clock=FakeClock())
    actors._users[INDEX, "x/"] = module._Known()
    reset: Callable[[], None] = actors._after_fork
    reset()
    assert len(actors._users) == 0
