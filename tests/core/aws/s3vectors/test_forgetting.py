"""Deleting of many agents, and of what expired, beside others who store: all of it, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from core.aws.s3vectors.opened import MINE, Cloud, cloud
from memlane import MemoryClient
from memlane.aws.s3vectors import deleting, speakers
from memlane.aws.s3vectors.index import Index
from memlane.eraser import forget
from memlane.errors import RequestRejectedError
from memlane.scope import Reach, Scope
from memlane.testing import HashingEmbedder
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    ids_of,
    indexed,
    make_record,
    put,
    read_all,
)

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
WIDE = Reach.point(MINE, now=NOW, include_agents=True)
EVER = Reach.whole(MINE, now=None)
BOT = replace(MINE, agent="bot")
SWEEPER = Scope("-", tenant="acme")


async def test_forgetting_many_agents_costs_what_one_does(cloud: Cloud) -> None:
    """Keys are listed and deleted, five hundred at a time: agents cost nothing of their own."""
    backend = await cloud.onboarded()
    for agent in range(30):
        there = replace(MINE, agent=f"a{agent}")
        await put(backend, *(indexed(make_record(f"a{agent} {n}", scope=there)) for n in range(20)))
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(SPACE.dimensions))
    await cloud.asked()
    receipt = await client.forget(MINE)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (600, 600, True)
    asked = await cloud.asked()
    assert "GetVectors" not in asked
    assert asked["ListVectors"] <= 5  # two of them look for a shadow
    assert asked["DeleteVectors"] <= 4


@pytest.mark.parametrize(("skip", "times", "left"), [(0, 1, 0), (1, 1, 0), (2, 1, 0), (1, 50, 700)])
async def test_a_refused_deletion_is_told(cloud: Cloud, skip: int, times: int, left: int) -> None:
    """One of several: the others count, it is tried again, and what stays is named."""
    backend = await cloud.onboarded()
    for at in range(0, 1_200, 400):
        await put(backend, *(indexed(make_record(f"r{at + n}", scope=MINE)) for n in range(400)))
    await cloud.emulator.inject(operation="DeleteVectors", status=400, skip=skip, times=times)
    receipt = await forget(backend, MINE, batch=500)
    await cloud.emulator.clear_faults()
    assert (receipt.found, receipt.deleted, len(receipt.failed)) == (1_200, 1_200 - left, left)
    assert receipt.verified_empty is (left == 0)
    assert len(await cloud.keys()) == 1 + left
    assert (await forget(backend, MINE, batch=500)).verified_empty


async def test_a_deletion_that_is_always_refused_is_an_error(cloud: Cloud) -> None:
    """Where nothing at all could be deleted nobody is told of records that would be stuck."""
    backend = await cloud.onboarded()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(4)))
    await cloud.emulator.inject(operation="DeleteVectors", status=400)
    with pytest.raises(RequestRejectedError):
        await forget(backend, MINE, batch=2)


async def test_deleting_for_all_agents_misses_nobody(cloud: Cloud) -> None:
    """A record that another process stored after a listing here is deleted with the others."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await put(backend, indexed(make_record("a", scope=MINE)))
    await backend.scan(reach=WIDE)
    await put(other, indexed(make_record("a", scope=BOT), *directions(3)))
    await put(other, indexed(make_record("b", scope=BOT)))
    assert await backend.delete(["b"], reach=WIDE) == 1
    assert await backend.delete(["a"], reach=WIDE) == 2
    assert await cloud.keys() == {"memlane/space"}


async def test_forgetting_goes_by_a_listing_of_its_own(cloud: Cloud) -> None:
    """What was listed a moment ago says too little: others may have stored since."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(6)))
    await backend.scan(reach=EVER, limit=3)
    longer = replace(make_record("r0", scope=MINE, version=2), text="longer")
    await put(other, indexed(longer, *directions(5)), indexed(make_record("late", scope=BOT)))
    await cloud.asked()
    assert await backend.delete(["r0", "r1", "late"], reach=EVER) == 3
    assert await cloud.asked() == {"ListVectors": 1, "GetVectors": 1, "DeleteVectors": 1}
    assert len(await cloud.keys()) == 1 + 4


async def test_the_same_ids_of_another_user_are_not_touched(cloud: Cloud) -> None:
    """Whoever has been listed just now."""
    backend = await cloud.onboarded()
    eve = Scope("eve", tenant="acme")
    for scope in (MINE, BOT, eve):
        await put(backend, indexed(make_record("a", scope=scope)))
        await put(backend, indexed(make_record("b", scope=scope)))
    for scope in (MINE, eve):
        await backend.scan(reach=Reach.whole(scope, now=None))
    assert await backend.delete(["a"], reach=EVER) == 2
    assert ids_of(await read_all(backend, Reach.whole(eve, now=None))) == ["a", "b"]


async def test_a_session_is_told_from_the_rest_a_thousand_at_a_time(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of a user are read to find those of one session, and never all held at once."""
    monkeypatch.setattr(deleting, "_READ_AT_A_TIME", 10)
    monkeypatch.setattr(speakers, "_READ_AT_A_TIME", 10)
    backend = await cloud.onboarded()
    monday = replace(MINE, session="monday")
    for scope, name, actor in ((MINE, "r", "Ann"), (monday, "m", "Bob")):
        items = (indexed(make_record(f"{name}{n}", scope=scope, actor=actor)) for n in range(25))
        await put(backend, *items)
    sizes: list[int] = []
    get = Index.get

    async def counted(index: Index, keys: Sequence[str], **options: Any) -> Any:
        sizes.append(len(keys))
        return await get(index, keys, **options)

    monkeypatch.setattr(Index, "get", counted)
    receipt = await forget(backend, monday, batch=100)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (25, 25, True)
    assert max(sizes) == 10
    assert [*await cloud.backend().actors(reach=HERE)] == ["Ann"]
    assert len(await read_all(backend, EVER)) == 25


async def _under_way(cloud: Cloud, operation: str, count: int = 1) -> None:
    """Wait until so many requests are being served."""
    with anyio.fail_after(20):
        while (await cloud.emulator.counters()).peaks.get(operation, 0) < count:
            await anyio.lowlevel.checkpoint()


async def test_sweeping_spares_what_is_stored_meanwhile(cloud: Cloud) -> None:
    """A record stored anew over an expired one, after it was listed, is not deleted."""
    backend = await cloud.onboarded()
    old = make_record("x", "old", scope=MINE, expires_at=NOW - timedelta(hours=1))
    await put(backend, indexed(old, *directions(3)), indexed(replace(old, id="y")))
    await cloud.emulator.inject(operation="ListVectors", latency=0.7, moment="after")
    await cloud.asked()
    swept: list[int] = []

    async def sweep() -> None:
        swept.append(await backend.sweep(scope=SWEEPER, now=NOW))

    async with anyio.create_task_group() as group:
        group.start_soon(sweep)
        await _under_way(cloud, "ListVectors", 16)
        new = make_record("x", "new", scope=MINE, version=2)
        await backend.upsert([indexed(new, *directions(2))], scope=MINE)
    await cloud.emulator.clear_faults()
    assert swept == [1]
    (found,) = await backend.fetch(["x"], reach=EVER, vectors=True)
    assert (found.record.text, len(found.parts)) == ("new", 2)
    assert ids_of(await read_all(backend, EVER)) == ["x"]


async def test_sweeping_and_storing_take_turns(cloud: Cloud) -> None:
    """Who stores while an expired record is being deleted waits, and is there afterwards."""
    backend = await cloud.onboarded()
    old = make_record("x", "old", scope=MINE, expires_at=NOW - timedelta(hours=1))
    await put(backend, indexed(old, *directions(3)))
    await cloud.emulator.inject(operation="DeleteVectors", latency=0.7, times=1)
    await cloud.asked()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: backend.sweep(scope=SWEEPER, now=NOW))
        await _under_way(cloud, "DeleteVectors")
        await put(backend, indexed(make_record("x", "new", scope=MINE), *directions(2)))
    (found,) = await backend.fetch(["x"], reach=EVER, vectors=True)
    assert (found.record.text, len(found.parts)) == ("new", 2)


async def test_sweeping_many_counts_records_once(cloud: Cloud) -> None:
    """With their windows, whatever page these come on, and windows that lost their record too."""
    backend = await cloud.onboarded()
    ends = NOW - timedelta(hours=1)
    for at in range(0, 400, 100):
        items = [
            indexed(make_record(f"r{n}", scope=MINE, expires_at=ends), *directions(4))
            for n in range(at, at + 100)
        ]
        await put(backend, *items)
    lost = next(key for key in await cloud.keys() if key.endswith("/r7"))
    await backend._index(MINE, "test").delete([lost])
    assert await backend.sweep(scope=SWEEPER, now=NOW) == 399
    assert await cloud.keys() == {"memlane/space"}


async def test_scrubbing_spares_what_is_stored_meanwhile(cloud: Cloud) -> None:
    """A record that is stored again while its lost windows are being deleted is whole."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("x", scope=MINE), *directions(5)))
    lost = next(key for key in await cloud.keys() if key.endswith("/x"))
    await backend._index(MINE, "test").delete([lost])
    await cloud.emulator.inject(operation="DeleteVectors", latency=0.7, times=1)
    await cloud.asked()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: backend.scrub(scope=MINE))
        await _under_way(cloud, "DeleteVectors")
        await put(backend, indexed(make_record("x", scope=MINE), *directions(5)))
    (found,) = await backend.fetch(["x"], reach=EVER, vectors=True)
    assert len(found.parts) == 5
    assert len(await cloud.keys()) == 6
