"""Several requests for one call, and some of them fail: what is said to be stored is."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, OLDER, Cloud, cloud
from core.aws.s3vectors.test_writing import policy_user
from memlane import MemoryClient
from memlane.errors import (
    AccessDeniedError,
    MemlaneError,
    PartialWriteError,
    RequestRejectedError,
    UnavailableError,
)
from memlane.layout import ulid
from memlane.protocols import IndexedRecord
from memlane.scope import Reach
from memlane.testing import HashingEmbedder
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)
from memlane.types import NewMemory

__all__ = ("cloud",)

EVER = Reach.whole(MINE, now=None)
LONG = "The lighthouse keeper paints a red boat. " * 60
COUNT = 120  # of LONG: two vectors or more in each of three requests


def _client(cloud: Cloud, **options: object) -> MemoryClient:
    backend = cloud.backend(auto_onboard=True, **options)
    return MemoryClient(backend=backend, embedder=HashingEmbedder(16))


def _long(count: int = COUNT) -> list[NewMemory]:
    return [NewMemory(content=f"{LONG} number {n}") for n in range(count)]


def _fresh(count: int, *, parts: int = 1) -> list[IndexedRecord]:
    now = datetime.now(UTC)
    made = int(now.timestamp() * 1000)
    vectors = directions(parts) if parts > 1 else [unit(0)]
    records = [make_record(ulid(made, n), "x", scope=MINE) for n in range(count)]
    return [indexed(replace(record, stored_at=now), *vectors) for record in records]


@pytest.mark.parametrize("skip", [0, 1, 2])
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(403, "AccessDeniedException", AccessDeniedError), (500, "Oops", UnavailableError)],
)
async def test_what_is_said_to_be_stored_is(
    cloud: Cloud, skip: int, status: int, code: str, expected: type[Exception]
) -> None:
    """Whichever requests fail: the rest is stored once and told, and the others can follow."""
    client = _client(cloud)
    await client.store("before", scope=MINE)
    await cloud.emulator.inject(operation="PutVectors", status=status, code=code, skip=skip)
    items = _long()
    told: list[str] = []
    with pytest.raises((PartialWriteError, expected)) as caught:
        await client.store_many(items, scope=MINE)
    if isinstance(caught.value, PartialWriteError):
        assert isinstance(caught.value.__cause__, expected)
        assert caught.value.operation == "store_many"
        told = [record.text for record in caught.value.stored]
        left = _named(str(caught.value.remedy))
        assert [item.content for n, item in enumerate(items) if n not in left] == told
    assert bool(told) is bool(skip)
    await cloud.emulator.clear_faults()
    there = {record.text async for record in client.iterate(scope=MINE)} - {"before"}
    assert there == set(told)
    await client.store_many([item for item in items if item.content not in told], scope=MINE)
    assert await client.count(scope=MINE) == 1 + COUNT


def _named(remedy: str) -> set[int]:
    """Return the places that a remedy names, as in `items 3, 5-9, counted from 0`."""
    last = re.search(r"store the last (\d+) again", remedy)
    if last:
        return {*range(COUNT - int(last[1]), COUNT)}
    named: set[int] = set()
    for first, other in re.findall(r"(\d+)(?:-(\d+))?", remedy.partition("items ")[2]):
        named |= {*range(int(first), int(other or first) + 1)}
    return named - ({0} if not re.search(r"items 0\b", remedy) else set())


async def test_gaps_are_told(cloud: Cloud) -> None:
    """The first of several requests fails, the later ones do not: nothing of these is hidden."""
    backend = await cloud.onboarded()
    records = _fresh(1_100)
    await cloud.emulator.inject(
        operation="PutVectors", status=403, code="AccessDeniedException", times=1
    )
    with pytest.raises(PartialWriteError) as caught:
        await backend.upsert(records, scope=MINE)
    told = [record.id for record in caught.value.stored]
    assert told == [item.record.id for item in records if item.record.id in set(told)]
    assert len(told) in {600, 1_000}
    assert ids_of(await read_all(backend, EVER, limit=1_000)) == told
    assert caught.value.remedy


async def test_lost_answers_are_looked_up(cloud: Cloud) -> None:
    """What was stored and never told of is read back, and is no failure."""
    client = _client(cloud)
    await client.store("before", scope=MINE)
    await cloud.emulator.inject(operation="PutVectors", kind="reset", moment="after")
    stored = await client.store_many(_long(), scope=MINE)
    assert len(stored) == COUNT
    await client.store("one alone", scope=MINE)
    assert await client.count(scope=MINE) == 2 + COUNT
    changed = await client.update(stored[0].id, scope=MINE, text="shorter")
    assert (await client.get(stored[0].id, scope=MINE)) == changed


async def test_a_lost_answer_to_nothing_is_a_failure(cloud: Cloud) -> None:
    """An earlier version that is still there is not taken for the one that was to be stored."""
    client = _client(cloud)
    record = await client.store("before", scope=MINE, record_id="a")
    await cloud.emulator.inject(operation="PutVectors", kind="reset", moment="before")
    with pytest.raises(UnavailableError):
        await client.update("a", scope=MINE, text="after")
    await cloud.emulator.clear_faults()
    assert await client.get("a", scope=MINE) == record


async def test_where_nothing_can_be_read_back_it_is_said(cloud: Cloud) -> None:
    """What was acknowledged is told, and the remedy says that there may be more."""
    backend = await cloud.onboarded()
    await backend.upsert(_fresh(1), scope=MINE)
    writer = cloud.backend(credentials=await policy_user(cloud, "w", "GetIndex", "PutVectors"))
    await cloud.emulator.inject(
        operation="PutVectors", kind="reset", moment="after", skip=1, times=100
    )
    records = _fresh(1_100)
    with pytest.raises(PartialWriteError, match="look for") as caught:
        await writer.upsert(records, scope=MINE)
    assert len(caught.value.stored) in {100, 500}
    assert isinstance(caught.value.__cause__, UnavailableError)


async def test_a_single_refusal_costs_no_reading(cloud: Cloud) -> None:
    """Where nothing can have been stored nobody looks."""
    backend = await cloud.onboarded()
    await cloud.emulator.inject(
        operation="PutVectors", status=400, code="ValidationException", times=1
    )
    with pytest.raises(RequestRejectedError):
        await backend.upsert(_fresh(3), scope=MINE)
    assert await cloud.asked() == {"PutVectors": 1}


async def test_nothing_more_is_begun_after_a_failure(cloud: Cloud) -> None:
    """Sixteen requests may be under way; those behind them are not sent in vain."""
    backend = await cloud.onboarded()
    await cloud.emulator.inject(operation="PutVectors", status=403, code="AccessDeniedException")
    with pytest.raises(AccessDeniedError):
        await backend.upsert(_fresh(34, parts=400), scope=MINE)
    assert (await cloud.asked())["PutVectors"] <= 20
    assert await read_all(backend, EVER) == []


async def test_what_was_taken_over_goes_with_what_was_stored(cloud: Cloud) -> None:
    """An older tool's record replaced before the failure is there once."""
    await cloud.emulator.create_index(BUCKET, ACME, dimension=SPACE.dimensions, hidden=OLDER)
    backend = cloud.backend()
    await backend.ensure_index(scope=MINE, space=SPACE)
    flat = {"user_id": "ada", "agent_name": "default", "content": "old"}
    theirs = [
        {"key": key, "data": {"float32": unit(1).tolist()}, "metadata": flat} for key in ("a", "b")
    ]
    await backend._index(MINE, "test").call("PutVectors", {"vectors": theirs})
    await put(backend, indexed(make_record("c", "new", scope=MINE)))
    await cloud.emulator.inject(
        operation="PutVectors", status=403, code="AccessDeniedException", times=1
    )
    records = [
        indexed(make_record(name, "new", scope=MINE, version=2), *directions(300))
        for name in ("a", "b")
    ]
    with pytest.raises(PartialWriteError) as caught:
        await backend.upsert(records, scope=MINE)
    (stored,) = caught.value.stored
    texts = {(record.id, record.text) for record in await read_all(backend, EVER)}
    assert texts == {("c", "new"), (stored.id, "new"), (*({"a", "b"} - {stored.id}), "old")}
    assert len(await read_all(backend, EVER)) == 3


@pytest.mark.parametrize("skip", [0, 1, 2])
async def test_half_of_a_record_of_many_windows_is_no_record(cloud: Cloud, skip: int) -> None:
    """What could not be stored whole is taken back: no question finds what no get has."""
    backend = await cloud.onboarded()
    await cloud.emulator.inject(
        operation="PutVectors", status=403, code="AccessDeniedException", skip=skip
    )
    big = indexed(make_record("a", "x" * 1_300, scope=MINE), *directions(1_300))
    with pytest.raises(AccessDeniedError):
        await backend.upsert([big], scope=MINE)
    assert await cloud.keys() == {"memlane/space"}
    await cloud.emulator.clear_faults()
    await backend.upsert([big], scope=MINE)
    assert len(await cloud.keys()) == 1_301


@pytest.mark.parametrize("cut", [1, 2])
async def test_what_is_left_of_many_windows_can_be_deleted(cloud: Cloud, cut: int) -> None:
    """Where it cannot be taken back, it is a record that get and delete know too."""
    backend = await cloud.onboarded()
    for operation, skip in (("PutVectors", cut), ("DeleteVectors", 0)):
        await cloud.emulator.inject(
            operation=operation, status=403, code="AccessDeniedException", skip=skip
        )
    big = indexed(make_record("a", "x" * 1_300, scope=MINE), *directions(1_300))
    with pytest.raises(AccessDeniedError) as caught:
        await backend.upsert([big], scope=MINE)
    assert caught.value.wire_operation == "PutVectors"
    await cloud.emulator.clear_faults()
    found = await backend.query(query_for(unit(0)), reach=Reach.point(MINE, now=NOW))
    assert set(found.record_ids) == {"a"}
    assert ids_of(await backend.fetch(["a"], reach=EVER)) == ["a"]
    assert await backend.delete(["a"], reach=EVER) == 1
    assert await cloud.keys() == {"memlane/space"}


@pytest.mark.parametrize("operation", ["DeleteVectors", "PutVectors"])
@pytest.mark.parametrize("skip", [0, 1, 2])
async def test_many_windows_are_never_of_two_versions(
    cloud: Cloud, operation: str, skip: int
) -> None:
    """Wherever replacing one is cut off, what is found is of one version, and repeating heals."""
    backend = await cloud.onboarded()
    old = indexed(make_record("a", "old", scope=MINE), *directions(700))
    await put(backend, old)
    newer = indexed(make_record("a", "new", scope=MINE, version=2), *directions(1_300, seed=1))
    await cloud.emulator.inject(
        operation=operation, status=403, code="AccessDeniedException", skip=skip
    )
    done = False
    try:
        await backend.upsert([newer], scope=MINE)
        done = True
    except MemlaneError:
        pass
    assert done is (operation == "DeleteVectors" and skip >= 2)
    await cloud.emulator.clear_faults()
    vectors = await cloud.emulator.vectors(BUCKET, ACME)
    assert len({v.metadata["content"] for k, v in vectors.items() if "/a" in k}) == 1
    await backend.upsert([newer], scope=MINE)
    (found,) = await backend.fetch(["a"], reach=EVER, vectors=True)
    assert (found.record.text, len(found.parts)) == ("new", 1_300)
    assert np.array_equal(found.parts[900].vector, newer.parts[900].vector)
