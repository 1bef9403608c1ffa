"""A reembedding that is ended and given up at once, or by clocks that are apart, loses nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_reembed import (
    ALL,
    SHADOW,
    WIDER,
    everything,
    one_lives,
    reembed,
    short_turns,
)
from core.aws.s3vectors.test_tenants import EVE, TENANT, filled
from memlane.aws.s3vectors import cutover, cutting
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.naming import TURN_KEY
from memlane.aws.s3vectors.reembedding import Places
from memlane.errors import BackendError, ConflictError, EmbeddingSpaceError, MemlaneError
from memlane.testing import FakeClock

__all__ = ("cloud", "one_lives", "short_turns")


async def _turns(cloud: Cloud, index: str) -> set[str]:
    return {key for key in await cloud.keys(index) if key.startswith(TURN_KEY)}


@pytest.mark.parametrize("latency", ["DeleteIndex", "PutVectors", "GetVectors", "GetIndex"])
@pytest.mark.parametrize("skip", [0, 1, 2, 4, 7])
async def test_given_up_while_it_ends(cloud: Cloud, latency: str, skip: int) -> None:
    """Either the one is told, or the other; whoever is late deletes no only copy."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    await other.begin_reembed(scope=TENANT, space=WIDER)

    async def give_up() -> None:
        with contextlib.suppress(ConflictError):
            await other.abandon_reembed(scope=TENANT)

    async def end() -> None:
        with contextlib.suppress(ConflictError):
            await reembed(cloud.backend(), limit=100)

    async with anyio.create_task_group() as group:
        await cloud.emulator.inject(operation=latency, latency=0.5, times=1, skip=skip)
        group.start_soon(give_up)
        group.start_soon(end)
    await cloud.emulator.clear_faults()
    try:
        await reembed(cloud.backend())
    except EmbeddingSpaceError as error:
        assert "already" in error.reason  # noqa: PT017 - it was ended before
    assert await everything(cloud.backend()) == before
    assert (await cloud.emulator.indexes())[BUCKET] == {ACME: ALL}


async def test_a_late_word_to_give_up_reaches_no_only_copy(cloud: Cloud) -> None:
    """The shadow's deletion takes its time: who would delete the old index waits, and is told."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    await cloud.emulator.inject(operation="DeleteIndex", latency=0.8, times=1)
    refused: list[ConflictError] = []

    async def end() -> None:
        await _met(lambda: _turns(cloud, ACME))
        try:
            await reembed(cloud.backend(), limit=100)
        except ConflictError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(end)
        assert await other.abandon_reembed(scope=TENANT)
    assert refused
    assert await everything(cloud.backend()) == before
    assert not await _turns(cloud, ACME)
    assert (await cloud.emulator.indexes())[BUCKET].keys() == {ACME}
    assert await reembed(cloud.backend()) == 4


async def _met(look: Callable[[], object]) -> None:
    """Wait until something is there."""
    with anyio.fail_after(5):
        while not await look():  # type: ignore[misc]
            await anyio.lowlevel.checkpoint()


async def test_nobody_gives_up_what_is_being_ended(cloud: Cloud) -> None:
    """Who is about to delete the old index said so: it is waited for, and then it is too late."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    await cloud.emulator.inject(operation="DeleteIndex", latency=0.5, times=1)
    await cloud.emulator.inject(operation="CreateIndex", latency=0.8, times=1, skip=2)
    told: list[ConflictError] = []

    async def give_up() -> None:
        await _met(lambda: _turns(cloud, SHADOW))
        try:
            await other.abandon_reembed(scope=TENANT)
        except ConflictError as error:
            told.append(error)

    async with anyio.create_task_group() as group:
        await backend.begin_reembed(scope=TENANT, space=WIDER)
        group.start_soon(give_up)
        assert await reembed(backend, limit=100) == 4
    assert "only copy" in told[0].reason
    assert await everything(cloud.backend()) == before


async def test_clocks_that_are_apart(cloud: Cloud) -> None:
    """Of two that end it at once one's clock is a minute slow: its word holds all the same."""
    backend, late = await cloud.onboarded(), FakeClock()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    late.set(late.now() - timedelta(days=4_000))
    slow = cloud.backend(clock=late)
    await cloud.emulator.inject(operation="DeleteIndex", latency=0.8, times=1)

    async def second() -> None:
        await _met(lambda: _turns(cloud, SHADOW))
        await reembed(cloud.backend(), limit=100)

    async with anyio.create_task_group() as group:
        await backend.begin_reembed(scope=TENANT, space=WIDER)
        group.start_soon(second)
        await reembed(slow, limit=100)
    assert await everything(cloud.backend()) == before
    assert (await cloud.emulator.indexes())[BUCKET] == {ACME: ALL}


@pytest.mark.usefixtures("one_lives")
@pytest.mark.parametrize("index", [ACME, SHADOW])
async def test_a_word_of_the_dead_is_waited_for_once(cloud: Cloud, index: str) -> None:
    """By whoever gives up as by whoever ends, and never for ever."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    places = backend._moving._places(TENANT, "test")
    here = places.source if index == ACME else places.shadow
    await cutting._take_turn(here, (await backend._indexes.described(here)).dimension)
    if index == SHADOW:
        assert await backend.abandon_reembed(scope=TENANT)
    assert await reembed(backend) == 4
    assert (await cloud.emulator.indexes())[BUCKET] == {ACME: ALL}


@pytest.mark.usefixtures("one_lives")
async def test_a_deletion_nobody_knows_the_end_of_is_still_told_of(cloud: Cloud) -> None:
    """It may be done later: the word stays, and who goes on waits for it."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    await cloud.emulator.inject(operation="DeleteIndex", kind="reset", times=100)
    with pytest.raises(MemlaneError):
        await reembed(backend)
    assert len(await _turns(cloud, SHADOW)) == 1
    await cloud.emulator.clear_faults()
    await cloud.emulator.inject(operation="DeleteIndex", status=400)
    with pytest.raises(MemlaneError):
        await reembed(cloud.backend())
    assert len(await _turns(cloud, SHADOW)) == 1  # this one was refused, and will not be done
    await cloud.emulator.clear_faults()
    await reembed(cloud.backend())


async def test_a_shadow_that_vanishes_is_told_of(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted by hand when the old index was gone: no word of success over fewer records."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    fill = cutover._fill

    async def late(places: Places) -> None:
        await places.shadow.remove()
        await fill(places)

    monkeypatch.setattr(cutover, "_fill", late)
    with pytest.raises(BackendError, match="4 of 4 records are missing"):
        await reembed(backend)


async def test_a_shadow_that_another_one_finished_with(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is gone and the index has all: that is success."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    fill = cutover._fill

    async def finished(places: Places) -> None:
        await fill(places)
        await places.shadow.remove()
        await fill(places)

    monkeypatch.setattr(cutover, "_fill", finished)
    assert await reembed(backend) == 4
    assert await everything(cloud.backend()) == before


@pytest.mark.usefixtures("one_lives")
async def test_who_may_not_delete_vectors_gives_up_all_the_same(cloud: Cloud) -> None:
    """The word stays in the tenant's index, is no record, and goes with it."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    await cloud.emulator.inject(operation="DeleteVectors", status=403)
    assert await backend.abandon_reembed(scope=TENANT)
    await cloud.emulator.clear_faults()
    assert len(await _turns(cloud, ACME)) == 1
    assert await everything(cloud.backend()) == before
    assert await reembed(cloud.backend()) == 4
    assert (await cloud.emulator.indexes())[BUCKET] == {ACME: ALL}


@pytest.mark.parametrize("ends", [True, False])
async def test_two_words_at_once(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    ends: bool,
) -> None:
    """Neither was there when the other looked first: whoever sees both deletes nothing."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    places, take = backend._moving._places(TENANT, "test"), cutting._take_turn

    async def both(told: Index, dimension: int) -> str:
        other = places.source if told.target.index == SHADOW else places.shadow
        await take(other, 16 if other is places.source else 24)
        return await take(told, dimension)

    monkeypatch.setattr(cutting, "_take_turn", both)
    with pytest.raises(ConflictError, match="at this moment"):
        await (reembed(backend) if ends else backend.abandon_reembed(scope=TENANT))
    assert (await cloud.emulator.indexes())[BUCKET].keys() == {ACME, SHADOW}
    assert not await _turns(cloud, SHADOW if ends else ACME)


async def test_a_word_that_was_taken_back_meanwhile(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old index went while its deleter's word was looked for: the shadow is asked after it."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    before = await everything(backend)
    await cloud.emulator.inject(operation="DeleteIndex", status=400)
    with pytest.raises(MemlaneError):
        await reembed(backend)
    await cloud.emulator.clear_faults()
    maker, look, told = backend._moving._places(TENANT, "test").maker, cutting._turns_in, set[str]()

    async def late(index: Index) -> set[Any]:
        if await _turns(cloud, ACME) and index.target.index == SHADOW:
            told.add(SHADOW)
            await maker.remove()
        return await look(index)

    async def turns(index: Index) -> set[Any]:
        return await look(index) if told else await late(index)

    monkeypatch.setattr(cutting, "_turns_in", turns)
    with pytest.raises(ConflictError, match="only copy"):
        await backend.abandon_reembed(scope=TENANT)
    assert told
    await reembed(cloud.backend())
    assert await everything(cloud.backend()) == before
