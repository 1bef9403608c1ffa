"""A clock that goes back harms nothing: no id twice, no order lost, no version skipped."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

import memlane
from faults.story import check_file
from faults.texts import open_client, scope_of
from memlane import MemoryClient, NewMemory
from memlane.errors import ConflictError, NotFoundError
from memlane.testing.fakes import START, FakeClock
from memlane.writing import RecordIds

_ADA = scope_of("ada")
_BEFORE = (
    START - timedelta(microseconds=1),
    START - timedelta(hours=5),
    START - timedelta(days=3653),
    datetime(2019, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),  # before the epoch of the layout
    datetime(1969, 7, 20, 20, 17, tzinfo=UTC),  # before that of Unix
    datetime(1, 1, 1, tzinfo=UTC),
    START,
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    START,
)


@pytest.fixture
async def client(path: Path, clock: FakeClock) -> AsyncIterator[MemoryClient]:
    async with open_client(path, clock=clock) as opened:
        yield opened
    await anyio.to_thread.run_sync(check_file, path)


async def _texts(client: MemoryClient) -> list[str]:
    return [record.text async for record in client.iterate(scope=_ADA)]


async def test_ids_and_order(client: MemoryClient, clock: FakeClock) -> None:
    """Ids never repeat and rise, and a listing keeps the order of storing, whatever the clock."""
    ids: list[str] = []
    for place, moment in enumerate(_BEFORE):
        clock.set(moment)
        ids.append((await client.store(f"one {place}", scope=_ADA)).id)
        many = [NewMemory(content=f"many {place} {number}") for number in range(20)]
        ids += [record.id for record in await client.store_many(many, scope=_ADA)]
    assert all(before < after for before, after in pairwise(ids))
    assert [record.id async for record in client.iterate(scope=_ADA)] == ids
    stored = [record.stored_at async for record in client.iterate(scope=_ADA)]
    assert stored == [moment for moment in _BEFORE for _ in range(21)]


async def test_ids_of_several_programs(path: Path, clock: FakeClock) -> None:
    """Clients at one and the same millisecond, and one started after the clock went back."""
    ids: list[str] = []
    for moment in (START, START, START - timedelta(days=400), START):
        clock.set(moment)
        async with open_client(path, clock=clock) as client:
            many = [NewMemory(content=f"number {number}") for number in range(50)]
            ids += [record.id for record in await client.store_many(many, scope=_ADA)]
            assert [record.id async for record in client.iterate(scope=_ADA)] == ids
    assert len(set(ids)) == 200


def test_ids_count_up_from_the_highest() -> None:
    """Within a millisecond ids count up without an end, even from the highest entropy."""
    ids = RecordIds(entropy=lambda: 2**80 - 1)
    made = [ids.new(moment) for moment in (START, *_BEFORE) for _ in range(50)]
    assert all(before < after for before, after in pairwise(made))


async def test_updates(client: MemoryClient, clock: FakeClock) -> None:
    """A version counts up when the clock goes back; its time is what the clock says."""
    record = await client.store("version 1", scope=_ADA, record_id="r")
    for version, moment in enumerate(_BEFORE, start=2):
        clock.set(moment)
        after = await client.update(
            "r", scope=_ADA, text=f"version {version}", expected_version=version - 1
        )
        assert after == await client.get("r", scope=_ADA)
        assert (after.version, after.updated_at) == (version, moment)
        assert (after.stored_at, after.occurred_at) == (record.stored_at, record.occurred_at)
        with pytest.raises(ConflictError):
            await client.update("r", scope=_ADA, text="lost", expected_version=version - 1)
    assert await _texts(client) == [f"version {1 + len(_BEFORE)}"]


async def test_expiry(client: MemoryClient, clock: FakeClock) -> None:
    """What expires is there exactly while the clock says so, for every verb that reads."""
    record = await client.store("tea at five", scope=_ADA, ttl=timedelta(hours=1))
    for moment, there in (
        (START + timedelta(minutes=59), True),
        (START + timedelta(hours=1), False),
        (START - timedelta(days=3653), True),
        (START + timedelta(days=1), False),
        (START, True),
    ):
        clock.set(moment)
        assert await _texts(client) == ["tea at five"] * there
        assert await client.count(scope=_ADA) == there
        assert len(await client.retrieve("tea", scope=_ADA)) == there
        if not there:
            with pytest.raises(NotFoundError):
                await client.get(record.id, scope=_ADA)
            with pytest.raises(NotFoundError):
                await client.update(record.id, scope=_ADA, text="tea at six")
    clock.set(START - timedelta(days=1))
    later = await client.update(record.id, scope=_ADA, expires_at=START)
    assert later.version == 2
    clock.set(START)
    assert await _texts(client) == []


async def test_what_is_gone_stays_gone(client: MemoryClient, clock: FakeClock) -> None:
    """Going back shows no record that was replaced, deleted or forgotten after it expired."""
    for record_id in ("replaced", "deleted", "forgotten"):
        scope = scope_of(record_id)
        await client.store("old", scope=scope, record_id=record_id, ttl=timedelta(hours=1))
    await client.delete("deleted", scope=scope_of("deleted"))
    clock.advance(timedelta(hours=2))
    scope = scope_of("replaced")
    new = await client.store("new", scope=scope, record_id="replaced")
    assert new.version == 1
    receipt = await client.forget(scope_of("forgotten"))
    assert (receipt.deleted, receipt.verified_empty) == (1, True)
    clock.set(START)
    assert [each.text async for each in client.iterate(scope=scope)] == ["new"]
    assert len(await client.retrieve("old", scope=scope)) == 1
    for gone in ("deleted", "forgotten"):
        assert await client.count(scope=scope_of(gone)) == 0


async def test_cursors(client: MemoryClient, clock: FakeClock) -> None:
    """A listing goes on where it was, with what was stored before and after the clock did."""
    for number in range(6):
        await client.store(f"r{number}", scope=_ADA)
    page = await client.list(scope=_ADA, limit=3)
    clock.set(START - timedelta(days=3653))
    await client.store("r6", scope=_ADA)
    rest = await client.list(scope=_ADA, limit=3, cursor=page.cursor)
    clock.set(START - timedelta(days=9000))
    last = await client.list(scope=_ADA, limit=3, cursor=rest.cursor)
    found = [*page.items, *rest.items, *last.items]
    assert [record.text for record in found] == [f"r{number}" for number in range(7)]
    assert last.cursor is None


async def test_recall(client: MemoryClient, clock: FakeClock) -> None:
    """Records of the future are found like others, with scores that are numbers."""
    for place, moment in enumerate(_BEFORE):
        clock.set(moment)
        await client.store(f"the window seat number {place}", scope=_ADA)
    for moment in _BEFORE:
        clock.set(moment)
        for query in ("window seat", "when did I last take the window seat?"):
            matches = await client.retrieve(query, scope=_ADA, limit=20)
            assert len(matches) == len(_BEFORE)
            assert all(0 <= match.score <= 1 for match in matches)


async def test_events(client: MemoryClient, clock: FakeClock) -> None:
    """An event that is told again is the same record, also when the clock has gone back."""
    first = await client.store("landed", scope=_ADA, idempotency_key="flight 7")
    for moment in _BEFORE:
        clock.set(moment)
        assert await client.store("landed", scope=_ADA, idempotency_key="flight 7") == first
    assert await _texts(client) == ["landed"]


async def test_no_other_clock(
    client: MemoryClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything a client stores is dated by the clock it was given."""

    def never(*_: object) -> datetime:
        raise AssertionError("the machine's own time was asked for")

    monkeypatch.setattr(memlane.runtime.clock.SystemClock, "now", never)
    await client.store("a", scope=_ADA, record_id="a", ttl=timedelta(days=1))
    await client.update("a", scope=_ADA, text="b")

    def times() -> list[tuple[int, ...]]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("select occurred, stored, updated from record").fetchall()

    (row,) = await anyio.to_thread.run_sync(times)
    assert len(set(row)) == 1


def test_nobody_asks_the_machine() -> None:
    """In the whole library one module asks the machine what time it is.

    The emulator stands for another machine, and has a clock of its own.
    """
    asking = re.compile(
        r"\b(now\(UTC\)|now\(tz|datetime\.now|utcnow|\.today\(|time\.time|time_ns|localtime|gmtime)"
        r"|current_timestamp|strftime|datetime\('now|uuid1",
        re.IGNORECASE,
    )
    root = Path(memlane.__file__).parent
    found = {
        str(each.relative_to(root))
        for each in root.rglob("*.py")
        for line in each.read_text(encoding="utf-8").splitlines()
        if asking.search(line) and '"' not in line and "emulator" not in each.parts
    }
    assert found == {"runtime/clock.py"}
