"""What is nobody's any more goes: expired, lost or too old, beside each other and who stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_tenants import note_of_another_tool
from core.aws.s3vectors.test_versions import begun, change, texts
from memlane.aws.s3vectors import S3VectorsBackend, sweeping
from memlane.aws.s3vectors.copies import is_copy_key
from memlane.eraser import forget
from memlane.errors import RequestRejectedError
from memlane.layout import vector_key
from memlane.scope import Reach, Scope
from memlane.testing.samples import NOW, SPACE, directions, indexed, make_record, put, read_all

__all__ = ("cloud",)

TENANT = Scope("-", tenant="acme")
GUEST = Scope("ada", tenant="other")
HERE = Reach.point(MINE, now=NOW)
EVER = Reach.whole(MINE, now=None)
ENDS = NOW - timedelta(hours=1)


async def _lose(backend: S3VectorsBackend, record_id: str, scope: Scope = MINE) -> None:
    """Delete the whole text of a record alone, as a deletion that was cut off might."""
    await backend._index(scope, "test").delete([vector_key(scope, record_id)])


async def test_versions_go_with_what_expired(cloud: Cloud) -> None:
    """Windows and versions too, in one sweep; a second one finds nothing."""
    backend = await cloud.onboarded()
    record = await begun(backend)
    await change(backend, record, "second", parts=4, expires_at=ENDS)
    kept = await begun(backend, "b")
    await change(backend, kept, "second")
    assert await backend.sweep(scope=TENANT, now=NOW) == 1
    assert texts(await backend.versions("b", reach=HERE)) == ["first"]
    assert not [key for key in await cloud.keys() if key.startswith(vector_key(MINE, "a"))]
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    assert len(await cloud.keys()) == 1 + 1 + 2


@pytest.mark.parametrize("shared", [False, True])
async def test_what_lost_its_record_goes(cloud: Cloud, shared: bool) -> None:
    """Windows and versions; in an index that tenants share those of this tenant alone."""
    backend = await cloud.onboarded(**({"index": "one"} if shared else {}))
    scopes = [MINE, GUEST] if shared else [MINE]
    for scope in scopes:
        await backend.onboard(scope=scope, space=SPACE)
        for name in ("a", "b"):
            record = make_record(name, "first", scope=scope)
            await put(backend, indexed(record, *directions(3)))
            await change(backend, record, "second", parts=3)
        await _lose(backend, "a", scope)
    before = len(await cloud.keys("one" if shared else ACME))
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    left = await cloud.keys("one" if shared else ACME)
    assert len(left) == before - (2 + 2)
    assert not [key for key in left if key.startswith(vector_key(MINE, "a"))]
    if shared:
        assert len([key for key in left if key.startswith(vector_key(GUEST, "a"))]) == 4
    assert texts(await backend.versions("b", reach=HERE)) == ["first"]
    (found,) = await backend.fetch(["b"], reach=HERE, vectors=True)
    assert len(found.parts) == 3


async def test_windows_and_versions_of_an_earlier_life_go(cloud: Cloud) -> None:
    """A record stored anew under its id while another process replaced the old one."""
    backend = await cloud.onboarded()
    old = await begun(backend)
    await change(backend, old, "second", parts=5)
    vectors = await cloud.emulator.vectors(BUCKET, ACME)
    anew = replace(make_record("a", "anew", scope=MINE), stored_at=NOW + timedelta(hours=1))
    await put(backend, indexed(anew))
    left = [
        {"key": key, "data": {"float32": each.data.tolist()}, "metadata": each.metadata}
        for key, each in vectors.items()
        if "#" in key
    ]
    await backend._index(MINE, "test").call("PutVectors", {"vectors": left})
    assert await backend.versions("a", reach=HERE) == []
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    assert len(await cloud.keys()) == 2
    second = await change(backend, anew, "anew, second")
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    assert await backend.versions("a", reach=HERE) == [anew]
    assert second.version == 2


async def test_two_may_sweep_at_once(cloud: Cloud) -> None:
    """Beside one who stores: what is there afterwards is what should be."""
    one, other = await cloud.onboarded(), cloud.backend()
    for at in range(0, 300, 100):
        items = [
            indexed(make_record(f"r{n}", scope=MINE, expires_at=ENDS), *directions(3))
            for n in range(at, at + 100)
        ]
        await put(one, *items)
    kept = await begun(one, "kept")
    await change(one, kept, "second", parts=3)
    await cloud.emulator.inject(operation="GetVectors", latency=0.2, moment="after")
    counts: list[int] = []

    async def sweep(backend: S3VectorsBackend) -> None:
        counts.append(await backend.sweep(scope=TENANT, now=NOW))

    async with anyio.create_task_group() as group:
        group.start_soon(sweep, one)
        group.start_soon(sweep, other)
        await put(one, *(indexed(make_record(f"n{n}", scope=MINE)) for n in range(5)))
    await cloud.emulator.clear_faults()
    assert max(counts) <= 300
    assert sum(counts) >= 300
    there = await read_all(one, EVER)
    assert sorted(record.id for record in there) == ["kept", *(f"n{n}" for n in range(5))]
    assert texts(await one.versions("kept", reach=HERE)) == ["first"]
    assert len(await cloud.keys()) == 5 + (3 + 2) + 1


@pytest.mark.parametrize("operation", ["ListVectors", "GetVectors", "DeleteVectors"])
async def test_a_sweep_cut_off_is_repeated(cloud: Cloud, operation: str) -> None:
    """Whatever was done of it; records in reach are never touched."""
    backend = await cloud.onboarded()
    record = await begun(backend)
    await change(backend, record, "second", expires_at=ENDS, parts=3)
    kept = await begun(backend, "b")
    await change(backend, kept, "second", parts=2)
    for skip in range(3):
        await cloud.emulator.inject(operation=operation, status=400, skip=skip, times=1)
        try:
            await backend.sweep(scope=TENANT, now=NOW)
        except Exception as error:  # noqa: BLE001
            assert operation in str(error)  # noqa: PT017
        await cloud.emulator.clear_faults()
        assert texts(await backend.versions("b", reach=HERE)) == ["first"]
    await backend.sweep(scope=TENANT, now=NOW)
    assert len(await cloud.keys()) == 1 + 2 + 2


async def test_remains_are_found_and_deleted(cloud: Cloud) -> None:
    """Of a deletion that was cut off: a window or a version alone is something; then nothing is."""
    backend = await cloud.onboarded()
    monday = replace(MINE, session="monday")
    for name, scope in (("a", MINE), ("b", monday), ("c", replace(MINE, agent="bot"))):
        record = make_record(name, "first", scope=scope)
        await put(backend, indexed(record, *directions(3)))
        await change(backend, record, "second", parts=2)
        await _lose(backend, name, scope)
    await put(backend, indexed(make_record("d", scope=MINE)))
    assert sorted(await backend.remains(reach=EVER)) == ["a", "b", "c", "d"]
    assert len(await backend.remains(reach=EVER, limit=2)) == 2
    of_monday = Reach.whole(monday, now=None)
    assert list(await backend.remains(reach=of_monday)) == ["b"]
    of_agent = Reach.whole(replace(MINE, agent="bot"), now=None)
    assert list(await backend.remains(reach=of_agent)) == ["c"]
    assert await backend.delete(["a", "b", "c"], reach=of_monday) == 0
    assert sorted(await backend.remains(reach=EVER)) == ["a", "c", "d"]
    assert await backend.delete(["c"], reach=of_agent) == 0
    assert sorted(await backend.remains(reach=EVER)) == ["a", "d"]
    assert await backend.delete(["a", "d"], reach=EVER) == 1
    assert list(await backend.remains(reach=EVER)) == []
    assert await cloud.keys() == {"memlane/space"}


@pytest.mark.parametrize("cut", [None, 0, 1])
async def test_erasing_takes_all_within_reach(cloud: Cloud, cut: int | None) -> None:
    """Records, windows and versions, whole or lost, of other tools too; and nothing besides."""
    backend = await cloud.onboarded()
    monday, eve = replace(MINE, session="monday"), replace(MINE, user="eve")
    for scope in (MINE, monday, replace(MINE, agent="bot"), eve):
        for name in ("a", "b"):
            unique = f"{name} {scope.session} {scope.agent}"
            record = make_record(unique, scope=scope, expires_at=ENDS)
            await put(backend, indexed(record, *directions(3)))
            await change(backend, record, "second", parts=3)
        await _lose(backend, f"b {scope.session} {scope.agent}", scope)
    await note_of_another_tool(backend, "mem-1", user_id="ada", content="x")
    await note_of_another_tool(backend, "mem-2", user_id="eve", content="x")
    theirs = {key for key in await cloud.keys() if key.startswith(vector_key(eve, "-")[:20])}
    if cut is not None:
        await cloud.emulator.inject(operation="DeleteVectors", status=400, skip=cut)
        with pytest.raises(RequestRejectedError):
            await backend.erase(reach=EVER)
        await cloud.emulator.clear_faults()
        # What lies beside records goes first, so each of them can be found again.
        assert len(await backend.remains(reach=EVER)) == (4 if cut else 7)
    of_monday = Reach.whole(monday, now=None)
    assert await backend.erase(reach=of_monday) == 1
    assert list(await backend.remains(reach=of_monday)) == []
    assert await backend.erase(reach=EVER) == 3
    assert list(await backend.remains(reach=EVER)) == []
    assert await cloud.keys() == theirs | {"memlane/space", "mem-2"}


async def test_without_an_index_there_is_nothing_to_sweep(cloud: Cloud) -> None:
    """Of a tenant that has stored nothing yet."""
    backend = cloud.backend(auto_onboard=True)
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    assert await backend.erase(reach=EVER) == 0


async def test_scrubbing_takes_versions_without_a_record(cloud: Cloud) -> None:
    """Of the scope alone."""
    backend = await cloud.onboarded()
    for scope in (MINE, replace(MINE, user="eve")):
        record = await begun(backend, scope=scope)
        await change(backend, record, "second")
        await _lose(backend, "a", scope)
    assert await backend.scrub(scope=MINE) == "unknown"
    assert sum(map(is_copy_key, await cloud.keys())) == 2


async def test_what_is_damaged_stops_nobody(cloud: Cloud) -> None:
    """It is left as it is; all else that expired goes, and forgetting takes it along."""
    backend = await cloud.onboarded()
    old = [indexed(make_record(name, scope=MINE, expires_at=ENDS)) for name in ("a", "b", "c")]
    await put(backend, *old)
    record = make_record("v", "first", scope=MINE)
    await put(backend, indexed(record))
    await change(backend, record, "second")
    damaged = {"expires": 1, "payload": "{", "content": "x", "user_id": MINE.user}
    for name in ("b", "v"):
        await note_of_another_tool(backend, vector_key(MINE, name), **damaged)
    assert await backend.sweep(scope=TENANT, now=NOW) == 2
    assert {vector_key(MINE, "b"), vector_key(MINE, "v")} <= await cloud.keys()
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    assert (await forget(backend, MINE, batch=100)).verified_empty
    assert await cloud.keys() == {"memlane/space"}


async def test_a_sweep_holds_nothing_of_what_stands_alone(cloud: Cloud) -> None:
    """Of a record without windows and versions not even the key."""
    backend = await cloud.onboarded()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(20)))
    await put(backend, indexed(make_record("long", scope=MINE), *directions(3)))
    await change(backend, await begun(backend), "second")
    index = backend._index(MINE, "test")
    sweeper = sweeping._Sweeper(index, backend._writing.turns_at, NOW)
    await index.each_page(sweeper.take, metadata=True)
    assert sorted(sweeper._wholes) == sorted(vector_key(MINE, name) for name in ("a", "long"))
    assert sweeper.suspects() == {}
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    assert len(await cloud.keys()) == 1 + 20 + 3 + 3
