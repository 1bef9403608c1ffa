"""What storing and deleting cost, and what is there when they are cut off, repeated or raced."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import anyio
import numpy as np
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from memlane import MemoryClient
from memlane.aws.credentials import StaticCredentials, TenantCredentials
from memlane.aws.s3vectors.records import first_of
from memlane.errors import (
    AccessDeniedError,
    ConflictError,
    EmbeddingSpaceError,
    MemlaneError,
    UnavailableError,
    ValidationError,
)
from memlane.layout import ulid
from memlane.protocols import IndexedRecord, VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing import FakeClock, HashingEmbedder
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

HERE = Reach.point(MINE, now=NOW)
EVER = Reach.whole(MINE, now=None)


def _fresh(number: int = 0, *, age: timedelta = timedelta(0), version: int = 1) -> IndexedRecord:
    now = datetime.now(UTC)
    record = make_record(ulid(int(now.timestamp() * 1000), number), scope=MINE, version=version)
    return indexed(replace(record, stored_at=now - age))


async def _upsert(backend: VectorBackend, *items: IndexedRecord) -> None:
    await backend.upsert(items, scope=MINE)


async def test_records_of_one_moment_keep_their_order(cloud: Cloud) -> None:
    """No two have the same, be they of one call or of two."""
    backend = await cloud.onboarded(clock=FakeClock())
    items = [indexed(make_record(f"r{n}", scope=MINE)) for n in range(6)]
    await _upsert(backend, *items[:4])
    await _upsert(backend, *items[4:])
    there = await cloud.emulator.vectors(BUCKET, ACME)
    firsts = [first_of(there[key].metadata or {}) for key in sorted(there) if "/r" in key]
    assert firsts == [firsts[0] + n for n in range(6)]


async def test_a_new_record_is_one_request(cloud: Cloud) -> None:
    """Its id was made just now, so nobody can have stored it before."""
    backend = await cloud.onboarded()
    await _upsert(backend, _fresh())
    assert await cloud.asked() == {"PutVectors": 1}
    await _upsert(backend, *(_fresh(n) for n in range(1, 41)))
    assert await cloud.asked() == {"PutVectors": 1}


async def test_a_client_stores_with_one_request(cloud: Cloud) -> None:
    """From the verb to the wire: embed, put, done; and a batch of texts is one put too."""
    backend = cloud.backend(auto_onboard=True)
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(16))
    await client.store("hello", scope=MINE)
    await cloud.asked()
    record = await client.store("hello again", scope=MINE)
    assert await cloud.asked() == {"PutVectors": 1}
    await client.store_many([NewMemory(content=f"text {n}") for n in range(96)], scope=MINE)
    assert await cloud.asked() == {"PutVectors": 1}
    assert (await client.get(record.id, scope=MINE)).text == "hello again"
    assert await client.count(scope=MINE) == 98


@pytest.mark.parametrize(
    "item",
    [
        _fresh(version=2),
        _fresh(age=timedelta(minutes=5)),
        indexed(make_record("chosen", scope=MINE)),
        indexed(make_record(ulid(0, 7), scope=MINE)),
    ],
    ids=["version", "old", "chosen", "imported"],
)
async def test_whatever_may_be_there_is_read_first(cloud: Cloud, item: IndexedRecord) -> None:
    """So that no window of an earlier version is left."""
    backend = await cloud.onboarded()
    await _upsert(backend, item)
    assert await cloud.asked() == {"GetVectors": 1, "PutVectors": 1}


async def test_fewer_windows_leave_none_behind(cloud: Cloud) -> None:
    """More, fewer, more again: the index holds exactly the parts of the last."""
    backend = await cloud.onboarded()
    for version, parts in enumerate((1, 7, 3, 3, 12, 1), 1):
        await put(
            backend,
            indexed(
                make_record("a", f"v{version}", scope=MINE, version=version), *[unit(1)] * parts
            ),
        )
        assert len(await cloud.keys()) == 1 + parts
        (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
        assert len(found.parts) == parts
    assert await backend.delete(["a"], reach=HERE) == 1
    assert await cloud.keys() == {"memlane/space"}


@pytest.mark.parametrize("operation", ["GetVectors", "DeleteVectors", "PutVectors"])
async def test_a_replacement_cut_off_shows_no_old_text(cloud: Cloud, operation: str) -> None:
    """Wherever it fails, what is found is the old version or the new one, and repeating heals."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", "old", scope=MINE), *directions(6)))
    await cloud.emulator.inject(
        operation=operation, status=400, code="ValidationException", times=1
    )
    newer = indexed(make_record("a", "new", scope=MINE, version=2), *directions(2))
    refused = operation != "DeleteVectors"
    with pytest.raises(MemlaneError) if refused else nullcontext():
        await _upsert(backend, newer)
    found = await backend.query(query_for(unit(0)), reach=HERE)
    assert found.records is not None
    there = ("old", 6) if refused else ("new", 2)
    assert {record.text for record in found.records} == {there[0]}
    (item,) = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert (item.record.text, len(item.parts)) == there
    await _upsert(backend, newer)
    assert len(await cloud.keys()) == 3


async def test_parts_are_of_one_version_or_none(cloud: Cloud) -> None:
    """A window that another process left of an older version does not come with a newer text."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", "old", scope=MINE), *directions(3)))
    old = await cloud.emulator.vectors(BUCKET, ACME)
    newer = indexed(make_record("a", "new", scope=MINE, version=2), *directions(3, seed=1))
    await put(backend, newer)
    key = next(key for key in old if key.endswith("#w2"))
    vector = {"float32": old[key].data.tolist()}
    left = {"key": key, "data": vector, "metadata": old[key].metadata}
    await backend._index(MINE, "test").call("PutVectors", {"vectors": [left]})
    (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert (found.record.text, found.parts) == ("new", ())
    await put(backend, newer)
    (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert len(found.parts) == 3


async def test_a_lost_answer_doubles_nothing(cloud: Cloud) -> None:
    """The put that was done and not told of is done again: once stored, once there."""
    backend = await cloud.onboarded()
    await cloud.emulator.inject(operation="PutVectors", kind="reset", moment="after", times=2)
    await _upsert(backend, _fresh(1), _fresh(2))
    assert len(await read_all(backend, EVER)) == 2


async def test_conditions_hold_within_a_process(cloud: Cloud) -> None:
    """Of many who expect one version one wins, though the service compares nothing."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", "start", scope=MINE)))
    won: list[int] = []

    async def write(number: int) -> None:
        item = indexed(make_record("a", f"by {number}", scope=MINE, version=2))
        try:
            await backend.upsert([item], scope=MINE, expected_version=1)
        except ConflictError:
            return
        won.append(number)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(write, number)
    assert len(won) == 1
    assert [record.text for record in await read_all(backend, HERE)] == [f"by {won[0]}"]


async def test_one_id_twice_in_a_call_is_the_last(cloud: Cloud) -> None:
    """With its windows, and nothing of the first."""
    backend = await cloud.onboarded()
    first = indexed(make_record("a", "first", scope=MINE), *directions(5))
    await _upsert(backend, first, indexed(make_record("a", "second", scope=MINE)))
    (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert (found.record.text, len(found.parts)) == ("second", 1)
    assert len(await cloud.keys()) == 2


async def test_a_cancelled_write_that_began_ends(cloud: Cloud) -> None:
    """Who cancels waits for what is on its way, so that the next reader is not surprised."""
    backend = await cloud.onboarded()
    await cloud.emulator.inject(operation="PutVectors", latency=0.2, times=1)
    with anyio.move_on_after(30) as limit:
        async with anyio.create_task_group() as group:
            group.start_soon(_upsert, backend, _fresh())
            while not (await cloud.emulator.counters()).peak:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    assert not limit.cancelled_caught
    assert len(await read_all(backend, EVER)) == 1


async def test_a_deadline_is_kept_while_writing(cloud: Cloud) -> None:
    """A service that hangs does not hold a caller whose time is up."""
    backend = await cloud.onboarded()
    await cloud.emulator.inject(operation="PutVectors", latency=20.0, times=1)
    with anyio.fail_after(10), anyio.move_on_after(0.2), suppress(UnavailableError):
        await _upsert(backend, _fresh())
        pytest.fail("it was stored before it could be")


async def test_what_cannot_be_stored_is_refused_before_the_wire(cloud: Cloud) -> None:
    """No vector, one of another dimension, NaN from a model, a record that is too heavy."""
    backend = await cloud.onboarded()
    record = make_record("a", scope=MINE)
    for item, error in (
        (IndexedRecord(record=record, parts=()), ValidationError),
        (indexed(record, np.ones(5, np.float32)), EmbeddingSpaceError),
        (indexed(record, np.full(16, np.nan, np.float32)), EmbeddingSpaceError),
        (indexed(record, np.zeros(16, np.float32)), EmbeddingSpaceError),
        (indexed(make_record("a", "x" * 45_000, scope=MINE)), ValidationError),
    ):
        with pytest.raises(error):
            await _upsert(backend, _fresh(1), item)
    assert "PutVectors" not in await cloud.asked()
    assert await cloud.keys() == {"memlane/space"}


async def test_a_record_of_many_windows_is_whole(cloud: Cloud) -> None:
    """700 windows take two requests, the record first; they are read and deleted as one."""
    backend = await cloud.onboarded()
    vectors = directions(700)
    await _upsert(backend, indexed(make_record("a", "x" * 700, scope=MINE), *vectors))
    (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert len(found.parts) == 700
    assert np.array_equal(found.parts[699].vector, vectors[699])
    assert await backend.delete(["a"], reach=HERE) == 1
    assert await cloud.keys() == {"memlane/space"}


async def test_a_deletion_cut_off_can_be_repeated(cloud: Cloud) -> None:
    """Windows go before their record: what is left is found, and deleted the second time."""
    backend = await cloud.onboarded()
    await _upsert(backend, indexed(make_record("a", "x" * 700, scope=MINE), *directions(700)))
    await cloud.emulator.inject(
        operation="DeleteVectors", status=400, code="ValidationException", skip=1, times=1
    )
    with pytest.raises(MemlaneError):
        await backend.delete(["a"], reach=HERE)
    assert ids_of(await read_all(backend, HERE)) == ["a"]
    assert await backend.delete(["a"], reach=HERE) == 1
    assert await cloud.keys() == {"memlane/space"}


async def test_sweeping_deletes_what_expired(cloud: Cloud) -> None:
    """Of all users, with windows, to the microsecond; other tenants' in one index stay."""
    tick = timedelta(microseconds=1)
    for index in (ACME, "one"):
        options = {"index": index} if index != ACME else {}
        backend = await cloud.onboarded(MINE, **options)
        scopes = [MINE, Scope("eve", tenant="acme", agent="bot"), Scope("ada", tenant="other")]
        for scope in scopes[: 3 if options else 2]:
            await put(
                backend,
                *(
                    indexed(make_record(name, scope=scope, expires_at=ends), *directions(3))
                    for name, ends in (("old", NOW - tick), ("now", NOW), ("new", NOW + tick))
                ),
                indexed(make_record("ever", scope=scope)),
            )
        assert await backend.sweep(scope=Scope("-", tenant="acme"), now=NOW) == 4
        assert await backend.sweep(scope=Scope("-", tenant="acme"), now=NOW) == 0
        for scope in scopes[:2]:
            assert ids_of(await read_all(backend, Reach.whole(scope, now=None))) == ["ever", "new"]
        left = sum("#" in key for key in await cloud.keys(index))
        assert left == (2 * 2 + 6 if options else 2 * 2)


async def test_scrubbing_clears_what_lost_its_record(cloud: Cloud) -> None:
    """Windows without their record, windows beyond its count, and the names of who spoke."""
    backend = await cloud.onboarded()
    await put(
        backend,
        indexed(make_record("a", scope=MINE, actor="Ada"), *directions(4)),
        indexed(make_record("b", scope=MINE), *directions(4)),
        indexed(make_record("b", scope=replace(MINE, user="eve")), *directions(4)),
    )
    assert list(await backend.actors(reach=HERE)) == ["Ada"]
    keys = await cloud.keys()
    index = backend._index(MINE, "test")
    gone = next(key for key in keys if key.endswith("/a"))
    await index.delete([gone])
    assert await backend.scrub(scope=MINE) == "unknown"
    left = await cloud.keys()
    assert not [key for key in left if key.startswith(gone)]
    assert len([key for key in left if "/" in key and not key.startswith("memlane/")]) == 8
    assert list(await backend.actors(reach=HERE)) == []


async def test_forgetting_through_a_client_leaves_nothing(cloud: Cloud) -> None:
    """Records, windows and names of the user; another's stay."""
    backend = cloud.backend(auto_onboard=True)
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(16))
    other = replace(MINE, user="eve")
    for scope in (MINE, other):
        for agent in (None, "bot"):
            there = replace(scope, agent=agent)
            await client.store("short", scope=there, actor="Ada")
            await client.store("A sentence of some length. " * 60, scope=there)
    before = await cloud.keys()
    receipt = await client.forget(MINE)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (4, 4, True)
    left = await cloud.keys()
    assert left < before
    assert await client.count(scope=other) == 4
    assert not [key for key in left if key[:20] not in {"memlane/space"[:20], _owner(before, left)}]


def _owner(before: set[str], left: set[str]) -> str:
    gone = {key[:20] for key in before - left}
    assert len(gone) == 1
    assert not [key for key in left if key[:20] in gone]
    return next(key[:20] for key in left if not key.startswith("memlane/"))


async def test_who_speaks_is_known_and_noted_once(cloud: Cloud) -> None:
    """A name costs two requests the first time, and nothing afterwards."""
    backend = await cloud.onboarded()
    await _upsert(backend, _with_actor(1, "Ada"))
    assert (await cloud.asked())["PutVectors"] == 2
    for number in range(2, 5):
        await _upsert(backend, _with_actor(number, "Ada"))
    assert await cloud.asked() == {"PutVectors": 3}
    assert list(await backend.actors(reach=HERE)) == ["Ada"]
    assert await cloud.asked() == {}
    assert list(await cloud.backend().actors(reach=HERE)) == ["Ada"]


def _with_actor(number: int, actor: str) -> IndexedRecord:
    item = _fresh(number)
    return replace(item, record=replace(item.record, actor=actor))


async def test_an_eraser_deletes_what_writers_may_not(cloud: Cloud) -> None:
    """Credentials that may not delete are not asked to."""
    names = ("GetIndex", "GetVectors", "ListVectors", "QueryVectors", "PutVectors")
    writer = await policy_user(cloud, "writer", *names)
    eraser = await policy_user(cloud, "eraser", "DeleteVectors")
    backend = cloud.backend(credentials=writer)
    await backend.onboard(scope=MINE, space=SPACE)
    await put(backend, indexed(make_record("a", scope=MINE), *directions(3)))
    with pytest.raises(AccessDeniedError):
        await backend.delete(["a"], reach=HERE)
    split = cloud.backend(credentials=writer, eraser=eraser)
    await put(split, indexed(make_record("a", scope=MINE, version=2)))
    assert await split.delete(["a"], reach=HERE) == 1
    assert await cloud.keys() == {"memlane/space"}


async def policy_user(cloud: Cloud, name: str, *actions: str) -> TenantCredentials:
    """Return credentials that may do this and no more."""
    allowed = [f"s3vectors:{action}" for action in actions]
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}],
    }
    user = await cloud.emulator.put_user(name, policy=policy)
    return TenantCredentials(StaticCredentials(user.access_key, user.secret_key))


async def test_a_service_that_fails_is_told(cloud: Cloud) -> None:
    """After the attempts there are; what was stored before is there."""
    backend = await cloud.onboarded()
    await _upsert(backend, _fresh(1))
    await cloud.emulator.inject(operation="PutVectors", status=500, code="InternalServerException")
    with pytest.raises(UnavailableError) as caught, anyio.fail_after(60):
        await _upsert(backend, _fresh(2))
    assert (caught.value.wire_operation, caught.value.status) == ("PutVectors", 500)
    await cloud.emulator.clear_faults()
    assert len(await read_all(backend, EVER)) == 1
    assert (await cloud.emulator.indexes())[BUCKET][ACME] == 2
