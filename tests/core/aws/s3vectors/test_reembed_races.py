"""A tenant taken to another space by two at once, or beside somebody who should stand still."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_reembed import (
    ALL,
    HERE,
    WIDER,
    everything,
    one_lives,
    reembed,
    short_turns,
)
from core.aws.s3vectors.test_tenants import EVE, TENANT, filled
from memlane import MemoryClient
from memlane.aws.s3vectors import census, cutover
from memlane.aws.s3vectors.census import Census
from memlane.aws.s3vectors.description import Description, described
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.reembedding import Mark, Places
from memlane.errors import (
    ConflictError,
    EmbeddingSpaceError,
    MemlaneError,
    RequestRejectedError,
    TenantNotOnboardedError,
)
from memlane.testing import HashingEmbedder
from memlane.testing.samples import SPACE, indexed, make_record, put, query_for, unit

__all__ = ("cloud", "one_lives", "short_turns")


@pytest.mark.parametrize("latency", ["DeleteIndex", "GetIndex", "CreateIndex", "PutVectors"])
async def test_two_at_once_lose_nothing(cloud: Cloud, latency: str) -> None:
    """Two processes take a tenant there at the same time, one of them always a little late."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    for skip in range(4):
        await cloud.emulator.inject(operation=latency, latency=0.3, skip=skip * 2, times=1)
    done: list[bool] = []

    async def one() -> None:
        try:
            await reembed(cloud.backend(), limit=100)
        except (ConflictError, EmbeddingSpaceError, TenantNotOnboardedError):
            done.append(False)
        else:
            done.append(True)

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    await cloud.emulator.clear_faults()
    assert any(done)
    assert await everything(cloud.backend()) == before
    assert (await cloud.emulator.indexes())[BUCKET] == {ACME: ALL}


async def test_who_writes_in_the_old_space_meanwhile_loses_nobody_elses(cloud: Cloud) -> None:
    """A straggler that makes the index anew in the old space is told of, and then taken along."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    await cloud.emulator.inject(operation="CreateIndex", status=400, skip=1)
    with pytest.raises(MemlaneError):
        await reembed(backend)
    await cloud.emulator.clear_faults()
    assert ACME not in (await cloud.emulator.indexes())[BUCKET]
    with pytest.raises(ConflictError, match="only copy"):
        await backend.abandon_reembed(scope=TENANT)
    straggler = cloud.backend(auto_onboard=True)
    late = make_record("late", scope=MINE)
    await put(straggler, indexed(late))
    with pytest.raises(ConflictError, match="only copy"):
        await backend.abandon_reembed(scope=TENANT)
    assert await reembed(cloud.backend()) == 1
    after = await everything(cloud.backend())
    assert after == before | {"ada late": [replace(late, space="")]}


async def test_a_client_of_the_old_space_elsewhere_is_told(cloud: Cloud) -> None:
    """One that knew the index before: where the dimension is another it is refused by name."""
    backend, reader, writer = await cloud.onboarded(), cloud.backend(), cloud.backend()
    await filled(reader, MINE)
    await writer.fetch(["a"], reach=HERE)
    await reembed(backend)
    with pytest.raises(EmbeddingSpaceError, match="reembed"):
        await reader.query(query_for(unit(0)), reach=HERE)
    with pytest.raises(EmbeddingSpaceError, match="reembed"):
        await writer.upsert([indexed(make_record("n", scope=MINE))], scope=MINE)


async def test_who_may_not_ask_what_an_index_is_like(cloud: Cloud) -> None:
    """Is told what the service said of the vector, and not that it may not ask."""
    backend, reader = await cloud.onboarded(), cloud.backend()
    await filled(reader, MINE)
    await reembed(backend)
    await cloud.emulator.inject(operation="GetIndex", status=403)
    with pytest.raises(RequestRejectedError):
        await reader.query(query_for(unit(0)), reach=HERE)


async def test_a_stray_of_the_old_space_is_embedded_anew(cloud: Cloud) -> None:
    """One that knew the index before, of as many dimensions, is not refused: `stats` tells."""
    backend, writer = await cloud.onboarded(), cloud.backend()
    await put(writer, indexed(make_record("a", scope=MINE)))
    new = HashingEmbedder(SPACE.dimensions)
    client = MemoryClient(backend=backend, embedder=new)
    await client.admin("acme").reembed(new)
    await put(writer, indexed(make_record("stray", "Likes tea", scope=MINE)))
    spaces = (await client.admin("acme").stats()).spaces
    assert spaces == {new.space.id: 1, SPACE.id: 1}
    await client.update("stray", scope=MINE, text="Likes tea")
    assert (await client.admin("acme").stats()).spaces == {new.space.id: 2}


async def test_an_index_that_is_made_anew_while_it_is_read_empties_no_shadow(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process was first: what one reads is of two indexes, and empties nothing."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    count = census.counted
    met: list[str] = []

    async def counted(index: Index, *, space: str | None = None) -> Census:
        met.append(index.target.index)
        if met == [ACME]:
            places = backend._moving._places(TENANT, "test")
            created = (await index.call("GetIndex", {}))["index"]["creationTime"]
            description = described(await places.shadow.call("GetIndex", {}))
            await cutover._put_mark(places, Mark(created, {}), description)
            await _copied(places, await count(index), description)
            await places.maker.remove()
            await backend._indexes.make(places.maker, WIDER)
        return await count(index, space=space)

    monkeypatch.setattr(cutover, "counted", counted)
    assert await reembed(cloud.backend()) == 4
    assert await everything(cloud.backend()) == before


async def _copied(places: Places, here: Census, description: Description) -> None:
    await cutover._bring(places, here.copies | here.names, description)


@pytest.mark.usefixtures("one_lives")
@pytest.mark.parametrize("auto_onboard", [False, True])
@pytest.mark.parametrize("operation", ["DeleteIndex", "CreateIndex", "PutVectors"])
async def test_the_public_verb_goes_on_where_it_was_killed(
    cloud: Cloud, operation: str, auto_onboard: bool
) -> None:
    """At each such request, also when the shadow has the only copy; and the plan says so."""
    old, new = HashingEmbedder(64), HashingEmbedder(32)

    def client() -> MemoryClient:
        return MemoryClient(backend=cloud.backend(auto_onboard=auto_onboard), embedder=old)

    first = client()
    await first.admin("acme").onboard()
    for number in range(3):
        await first.store(f"text {number}", scope=MINE)
    killed = 0
    for skip in range(20):
        await cloud.emulator.inject(operation=operation, status=400, skip=skip)
        try:
            receipt = await client().admin("acme").reembed(new)
        except MemlaneError:
            killed += 1
            await cloud.emulator.clear_faults()
            there = ACME in (await cloud.emulator.indexes())[BUCKET]
            plan = await client().admin("acme").plan_reembed(new)
            assert there or plan.records == 0
            continue
        break
    else:
        raise AssertionError("it does not come to an end")
    await cloud.emulator.clear_faults()
    assert killed
    assert receipt.records == 3
    assert len((await cloud.emulator.indexes())[BUCKET]) == 1
    taken = MemoryClient(backend=cloud.backend(), embedder=new)
    assert await taken.count(scope=MINE) == 3
