"""A tenant taken to another space: resumed wherever it was cut off, verified, and nothing lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, OLDER, Cloud, cloud
from core.aws.s3vectors.test_tenants import EVE, TENANT, filled, note_of_another_tool
from core.aws.s3vectors.test_versions import change, texts
from memlane.aws.s3vectors import S3VectorsBackend, cutting
from memlane.aws.s3vectors.copies import is_copy_key
from memlane.aws.s3vectors.naming import shadow_of
from memlane.errors import (
    AccessDeniedError,
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    InvalidCursorError,
    MemlaneError,
    TenantNotOnboardedError,
    ValidationError,
)
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.scope import Reach
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
from memlane.types import ImageNote, MemoryRecord

__all__ = ("cloud",)

WIDER = EmbeddingSpace(model="wider", dimensions=24)
ALIKE = replace(SPACE, model="alike")
SHADOW = shadow_of(ACME)
HERE = Reach.whole(MINE, now=NOW)
ALL = 2 * (2 * 2 + 3 + 1) + 1
"""Vectors: of each user two records of two, three copies, and the names; and the note."""


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was killed while deleting is not waited for as long as in earnest."""
    monkeypatch.setattr(cutting, "TURN_SECONDS", 1.0)


@pytest.fixture
def one_lives(short_turns: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Whoever is waited for is dead in this test, so what is waited is only to be over."""
    monkeypatch.setattr(cutting, "TURN_SECONDS", 0.1)
    monkeypatch.setattr(cutting, "_POLL_SECONDS", 0.02)


def embedded(record: MemoryRecord, space: EmbeddingSpace, parts: int = 2) -> IndexedRecord:
    """Return a record with vectors of a space."""
    return indexed(record, *directions(parts, dimensions=space.dimensions))


async def reembed(
    backend: S3VectorsBackend, space: EmbeddingSpace = WIDER, *, limit: int = 3
) -> int:
    """Take the tenant there, as the client does; return how many records were embedded."""
    await backend.begin_reembed(scope=TENANT, space=space)
    count = 0
    for _ in range(5):
        cursor: str | None = None
        while True:
            page = await backend.pending(scope=TENANT, space=space, cursor=cursor, limit=limit)
            items = [embedded(record, space) for record in page.records]
            if items:
                await backend.shadow(items, scope=TENANT, space=space)
            count += len(items)
            if (cursor := page.cursor) is None:
                break
        if await backend.cut_over(scope=TENANT, space=space):
            return count
    raise AssertionError("it does not come to an end")


async def everything(backend: S3VectorsBackend) -> dict[str, list[MemoryRecord]]:
    """Return records and versions of both users, their space aside."""
    found: dict[str, list[MemoryRecord]] = {}
    for scope in (MINE, EVE):
        reach = Reach.whole(scope, now=None)
        for record in await read_all(backend, reach):
            point = replace(reach, scope=record.scope)
            past = await backend.versions(record.id, reach=point)
            found[f"{scope.user} {record.id}"] = [
                replace(each, space="") for each in (record, *past)
            ]
    return found


@pytest.mark.parametrize("space", [WIDER, ALIKE], ids=["wider", "alike"])
async def test_a_tenant_is_taken_to_another_space(cloud: Cloud, space: EmbeddingSpace) -> None:
    """Records, versions, order and names; found in the new space and refused in the old one."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    before = await everything(backend)
    old = await backend.query(query_for(unit(0)), reach=HERE)
    assert await reembed(backend, space) == 4
    assert (await cloud.emulator.indexes())[BUCKET] == {ACME: ALL}
    assert await everything(backend) == before
    assert await everything(cloud.backend()) == before
    (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert (found.record.space, len(found.parts)) == (space.id, 2)
    vector = directions(1, dimensions=space.dimensions)[0]
    new = await backend.query(query_for(vector, space=space.id), reach=HERE)
    assert {*new.record_ids} == {*old.record_ids} == {"a"}
    assert list(await backend.actors(reach=HERE)) == ["Ada"]
    with pytest.raises(EmbeddingSpaceError, match="reembed"):
        await backend.query(query_for(unit(0)), reach=HERE)
    with pytest.raises(EmbeddingSpaceError, match="reembed"):
        await backend.upsert([indexed(make_record("n", scope=MINE))], scope=MINE)
    with pytest.raises(EmbeddingSpaceError, match="reembed"):
        await cloud.backend().ensure_index(scope=MINE, space=SPACE)
    after = replace(found.record, text="fourth", version=4)
    await backend.upsert([replace(embedded(after, space), replaces=found.record)], scope=MINE)
    assert texts(await backend.versions("a", reach=HERE)) == ["third", "second", "été"]
    with pytest.raises(EmbeddingSpaceError, match="already"):
        await backend.begin_reembed(scope=TENANT, space=space)
    assert await backend.cut_over(scope=TENANT, space=space)
    assert (await backend.pending(scope=TENANT, space=space)).records == ()
    await backend.shadow([embedded(after, space)], scope=TENANT, space=space)
    assert not await backend.abandon_reembed(scope=TENANT)


async def test_records_keep_their_order(cloud: Cloud) -> None:
    """Those of one moment too: what was said before what stays so."""
    backend = await cloud.onboarded()
    names = [f"r{(n * 7) % 11}" for n in range(11)]
    for name in names:
        await put(backend, indexed(make_record(name, scope=MINE)))
    await reembed(backend)
    vector = directions(1, dimensions=24)[0]
    found = await backend.query(query_for(vector, space=WIDER.id), reach=HERE)
    assert [*dict.fromkeys(found.record_ids)] == names


STEPS = {
    "CreateIndex": 1, "GetIndex": 1, "DeleteIndex": 1, "DeleteVectors": 1, "PutVectors": 2,
    "GetVectors": 4, "ListVectors": 9,
}  # fmt: skip


@pytest.mark.usefixtures("one_lives")
@pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {}), id="asyncio")])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", STEPS)
async def test_a_cut_over_killed_anywhere_goes_on(
    cloud: Cloud, operation: str, moment: str
) -> None:
    """The nth request of each kind is the last that is answered; another process ends it."""
    for skip in range(moment == "after", 100, STEPS[operation]):
        await cloud.emulator.reset()
        await cloud.emulator.create_bucket(BUCKET)
        backend = await cloud.onboarded()
        await filled(backend, MINE, EVE)
        before = await everything(backend)
        rule = {"status": 400} if moment == "before" else {"kind": "reset", "moment": "after"}
        await cloud.emulator.inject(operation=operation, skip=skip, **rule)
        dying = cloud.backend()
        try:
            await reembed(dying, limit=100)
        except MemlaneError:
            pass
        else:
            return
        await cloud.emulator.clear_faults()
        next_one = cloud.backend()
        try:
            await reembed(next_one, limit=100)
        except EmbeddingSpaceError as error:
            assert "already" in error.reason  # noqa: PT017 - it was finished, and not told so
        assert await everything(cloud.backend()) == before
        indexes = (await cloud.emulator.indexes())[BUCKET]
        assert indexes == {ACME: ALL}
    raise AssertionError("no run came to its end")


async def test_what_changed_is_shadowed_again(cloud: Cloud) -> None:
    """Stored, updated or deleted since: no cut-over before the shadow has all as it is."""
    backend, writer = await cloud.onboarded(), cloud.backend()
    records = [make_record(f"r{n}", "first", scope=MINE) for n in range(5)]
    await put(backend, *map(indexed, records))
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    page = await backend.pending(scope=TENANT, space=WIDER)
    assert (ids_of(page.records), page.cursor) == (ids_of(records), None)
    await backend.shadow(
        [embedded(record, WIDER, parts=4) for record in page.records], scope=TENANT, space=WIDER
    )
    assert (await backend.pending(scope=TENANT, space=WIDER)).records == ()
    changed = await change(writer, records[1], "second")
    await writer.delete(["r2"], reach=HERE)
    new = make_record("new", scope=EVE)
    await put(writer, indexed(new))
    assert not await backend.cut_over(scope=TENANT, space=WIDER)
    assert ACME in (await cloud.emulator.indexes())[BUCKET]
    assert texts(await read_all(backend, HERE)).count("first") == 3
    page = await backend.pending(scope=TENANT, space=WIDER)
    assert ids_of(page.records) == ["new", "r1"]
    assert changed in page.records
    # What was read before it changed once more is not put over the newer one.
    third = await change(writer, changed, "third")
    items = [embedded(record, WIDER) for record in page.records]
    await backend.shadow(items, scope=TENANT, space=WIDER)
    assert not await backend.cut_over(scope=TENANT, space=WIDER)
    await backend.shadow([embedded(third, WIDER)], scope=TENANT, space=WIDER)
    assert await backend.cut_over(scope=TENANT, space=WIDER)
    assert ids_of(await read_all(backend, HERE)) == ["r0", "r1", "r3", "r4"]
    assert texts(await backend.versions("r1", reach=HERE)) == ["second", "first"]
    keys = await cloud.keys()
    assert sum("#w" in key for key in keys) == 3 * 3 + 1 + 1
    assert not [key for key in keys if key.endswith("/r2")]


async def test_pages_of_what_is_pending(cloud: Cloud) -> None:
    """Each record once, whatever the limit; by another process too; no cursor but its own."""
    backend = await cloud.onboarded()
    for scope in (MINE, EVE):
        await put(backend, *(indexed(make_record(f"r {n}", scope=scope)) for n in range(7)))
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    for limit in (1, 4, 14, 100):
        found: list[MemoryRecord] = []
        cursor: str | None = None
        readers = [backend, cloud.backend()]
        while True:
            readers.reverse()
            page = await readers[0].pending(scope=TENANT, space=WIDER, cursor=cursor, limit=limit)
            assert len(page.records) <= limit
            found += page.records
            if (cursor := page.cursor) is None:
                break
        assert len(found) == len({(each.scope.user, each.id) for each in found}) == 14
    for wrong in ("", "x", " ", "0" * 16):
        with pytest.raises(InvalidCursorError):
            await backend.pending(scope=TENANT, space=WIDER, cursor=wrong)


async def test_without_a_shadow_nothing_is_done(cloud: Cloud) -> None:
    """Or with one of another space; `abandon` removes it, and the tenant is as it was."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    before = await cloud.emulator.vectors(BUCKET, ACME)
    item = embedded(make_record("a", scope=MINE), WIDER)
    for _ in range(2):
        with pytest.raises(ConflictError):
            await backend.pending(scope=TENANT, space=WIDER)
        with pytest.raises(ConflictError):
            await backend.shadow([item], scope=TENANT, space=WIDER)
        with pytest.raises(ConflictError):
            await backend.cut_over(scope=TENANT, space=WIDER)
        await backend.begin_reembed(scope=TENANT, space=ALIKE)
    with pytest.raises(ConflictError, match="abandon"):
        await backend.begin_reembed(scope=TENANT, space=WIDER)
    fresh = replace(TENANT, tenant="fresh")
    await backend.onboard(scope=fresh, space=SPACE)
    with pytest.raises(EmbeddingSpaceError, match="already"):
        await backend.begin_reembed(scope=fresh, space=SPACE)
    assert await backend.abandon_reembed(scope=TENANT)
    assert not await backend.abandon_reembed(scope=TENANT)
    assert (await cloud.emulator.vectors(BUCKET, ACME)).keys() == before.keys()
    await backend.begin_reembed(scope=TENANT, space=WIDER)


async def test_pictures_that_are_not_seen_again_are_no_difference(cloud: Cloud) -> None:
    """Whoever embeds a text anew may not have its picture; the record is the same."""
    backend = await cloud.onboarded()
    note = ImageNote(sha256="0a" * 32, media_type="image/png", size=9)
    record = replace(make_record("a", scope=MINE), images=(note,))
    await put(backend, indexed(record))
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    unseen = replace(record, images=(replace(note, embedded=False),))
    await backend.shadow([embedded(unseen, WIDER)], scope=TENANT, space=WIDER)
    assert await backend.cut_over(scope=TENANT, space=WIDER)
    (found,) = await read_all(backend, HERE)
    assert found == replace(unseen, space=WIDER.id)


async def test_an_older_tools_records_are_taken_along(cloud: Cloud) -> None:
    """In memlane's form; what names nobody is not silently deleted."""
    hidden = {"nonFilterableMetadataKeys": list(OLDER)}
    await cloud.emulator.create_index(
        BUCKET, ACME, dimension=SPACE.dimensions, metadataConfiguration=hidden
    )
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=MINE)))
    await note_of_another_tool(backend, "mem-1", user_id="ada", content="likes tea")
    await note_of_another_tool(backend, "mem-2", content="nobody's")
    with pytest.raises(BackendError, match="name nobody"):
        await reembed(backend)
    await backend._index(MINE, "test").delete(["mem-2"])
    assert await reembed(backend) == 0
    assert ids_of(await read_all(backend, HERE)) == ["a", "mem-1"]


async def test_who_may_do_it(cloud: Cloud) -> None:
    """Not without a host, not one that may not, and not where tenants share an index."""
    await cloud.onboarded()
    with pytest.raises(ValidationError, match="host"):
        await cloud.backend(host=None).begin_reembed(scope=TENANT, space=WIDER)
    with pytest.raises(BackendError, match="share"):
        await cloud.backend(index="one").begin_reembed(scope=TENANT, space=WIDER)
    with pytest.raises(TenantNotOnboardedError):
        await cloud.backend().begin_reembed(scope=replace(TENANT, tenant="x"), space=WIDER)
    await cloud.emulator.inject(operation="CreateIndex", status=403)
    with pytest.raises(AccessDeniedError):
        await cloud.backend().begin_reembed(scope=TENANT, space=WIDER)


async def test_nothing_finds_a_shadow(cloud: Cloud) -> None:
    """While it grows the tenant's records are what they were, and no more."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    before = await everything(backend)
    told = await backend.stats(scope=TENANT, now=NOW)
    await backend.begin_reembed(scope=TENANT, space=ALIKE)
    page = await backend.pending(scope=TENANT, space=ALIKE)
    items = [embedded(record, ALIKE) for record in page.records]
    await backend.shadow(items, scope=TENANT, space=ALIKE)
    assert await everything(backend) == before
    assert await backend.stats(scope=TENANT, now=NOW) == told
    found = await backend.query(query_for(unit(0)), reach=HERE)
    assert {*found.record_ids} == {"a"}
    assert not [key for key in (await cloud.emulator.vectors(BUCKET, SHADOW)) if is_copy_key(key)]
    later = NOW + timedelta(days=1)
    assert (await backend.stats(scope=TENANT, now=later)).users == 1
