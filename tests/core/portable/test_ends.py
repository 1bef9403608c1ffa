"""Ends of records and of what they were: kept, and never in the way of an import."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.portable.files import ADA, BOB, everything, exported, opened
from memlane import MemoryClient
from memlane.retention import Retention
from memlane.testing import FakeClock

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A store in memory, and one in a file."""
    return None if request.param == "memory" else tmp_path / "there.db"


async def _ends(client: MemoryClient) -> list[Any]:
    """Return how long after the clock's beginning each version ends, the newest first."""
    [now] = await everything(client, BOB)
    began = FakeClock().now()
    return [
        one.expires_at and one.expires_at - began for one in await client.history(now.id, scope=BOB)
    ]


async def test_a_clock_that_went_back(path: Path | None) -> None:
    """What was stored by a clock that was ahead may end before that, and is stored again."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("Likes tea", scope=ADA)
        clock.set(clock.now() - 90 * DAY)
        end = clock.now() + 30 * DAY
        await here.update(record.id, scope=ADA, expires_at=end)
        assert (await there.import_records(await exported(here), scope=BOB)).imported == 1
        [now] = await everything(there, BOB)
        assert (now.expires_at, now.stored_at) == (end, record.stored_at)
        assert now.updated_at == clock.now()


async def test_an_old_version_by_such_a_clock(path: Path | None) -> None:
    """It alone has such an end, which has passed: the page is not refused for it."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("Likes tea", scope=ADA)
        clock.set(clock.now() - 90 * DAY)
        await here.update(record.id, scope=ADA, expires_at=clock.now() + 30 * DAY)
        await here.update(record.id, scope=ADA, expires_at=None)
        clock.advance(100 * DAY)
        assert (await there.import_records(await exported(here), scope=BOB)).imported == 1
        assert await _ends(there) == [None, None, None]


async def test_retention_counts_from_the_beginning(path: Path | None) -> None:
    """Also where a clock went back: from when it was stored, not from when it was changed."""
    clock = FakeClock()
    keep = Retention(namespaces={"/": 2 * DAY})
    async with opened(clock=clock) as here, opened(path, clock=clock, retention=keep) as there:
        record = await here.store("Likes tea", scope=ADA)
        clock.set(clock.now() - DAY)
        await here.update(record.id, scope=ADA, text="Likes coffee")
        await there.import_records(await exported(here), scope=BOB)
        assert (await _ends(there))[0] == 2 * DAY


@pytest.mark.parametrize("ttl", [HOUR, DAY + HOUR / 2])
async def test_a_sweep_beside_it(
    path: Path | None, ttl: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a record was does not expire between two steps, be its end past or near."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("Allergic to penicillin", scope=ADA, ttl=ttl)
        await here.update(record.id, scope=ADA, expires_at=None)
        clock.advance(DAY)
        lines = await exported(here)
        backend: Any = there._backend
        right, swept = backend.upsert, list[int]()

        async def upsert(*args: Any, **options: Any) -> None:
            await right(*args, **options)
            clock.advance(HOUR / 2 if ttl > DAY and not swept else timedelta())
            swept.append(await there.admin(BOB.tenant).sweep())

        monkeypatch.setattr(backend, "upsert", upsert)
        assert (await there.import_records(lines, scope=BOB)).imported == 1
        assert swept == [0, 0]
        assert await _ends(there) == [None, None]


async def test_ends_that_are_far_enough_stay_their_own(path: Path | None) -> None:
    """Later and earlier ones than the record's; one that comes at once is the record's own."""
    clock = FakeClock()
    ends = [30 * DAY, 2 * DAY, HOUR / 2, None, 9 * DAY]
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        began = clock.now()
        record = await here.store("tea", scope=ADA, expires_at=began + 30 * DAY)
        for end in ends[1:]:
            told = None if end is None else began + end
            await here.update(record.id, scope=ADA, expires_at=told)
        assert (await there.import_records(await exported(here), scope=BOB)).imported == 1
        assert await _ends(there) == [9 * DAY, None, 9 * DAY, 2 * DAY, 30 * DAY]


async def test_a_record_that_ends_before_what_it_was(path: Path | None) -> None:
    """Its own end may come at once, and that of what it was a little later: both stay."""
    clock = FakeClock()
    async with opened(clock=clock) as here, opened(path, clock=clock) as there:
        record = await here.store("tea", scope=ADA, ttl=HOUR)
        await here.update(record.id, scope=ADA, expires_at=clock.now() + HOUR / 2)
        await there.import_records(await exported(here), scope=BOB)
        assert await _ends(there) == [HOUR / 2, HOUR]
