"""What an update replaces: kept beside the record, found by its history and by nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, OLDER, Cloud, cloud
from memlane import MemoryClient
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.aws.s3vectors.copies import is_copy_key, read_copy
from memlane.filters import Filter
from memlane.layout import MAX_VERSIONS, vector_key
from memlane.protocols import IndexedRecord
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
    query_for,
    read_all,
    unit,
    words,
)
from memlane.types import MemoryRecord

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
WIDE = Reach.point(MINE, now=NOW, include_agents=True)
EVER = Reach.whole(MINE, now=None)


async def change(
    backend: S3VectorsBackend,
    before: MemoryRecord,
    text: str,
    *,
    parts: int = 1,
    expected: int | None = None,
    **fields: Any,
) -> MemoryRecord:
    """Store the next version of a record, as the client does."""
    after = replace(
        before,
        text=text,
        version=before.version + 1,
        updated_at=NOW + timedelta(microseconds=before.version + 1),
        **fields,
    )
    vectors = directions(parts) if parts > 1 else [unit(1)]
    item: IndexedRecord = replace(indexed(after, *vectors), replaces=before)
    await backend.upsert([item], scope=before.scope, expected_version=expected)
    return after


async def begun(backend: S3VectorsBackend, record_id: str = "a", **fields: Any) -> MemoryRecord:
    """Return a record that was stored."""
    record = make_record(record_id, "first", **{"scope": MINE, **fields})
    await put(backend, indexed(record))
    return record


def texts(records: Sequence[MemoryRecord]) -> list[str]:
    """Return what versions say, in their order."""
    return [record.text for record in records]


async def test_versions_are_kept_the_newest_first(cloud: Cloud) -> None:
    """Each exactly as it was, the current one aside; a new record has none."""
    backend = await cloud.onboarded()
    first = await begun(backend, tags=("b", "a"), metadata={"n": [1, 2], "deep": {"x": None}})
    assert await backend.versions("a", reach=HERE) == []
    second = await change(backend, first, "second", parts=4, namespace="/x/", tags=())
    third = await change(backend, second, "third", kind="summary", actor="Ada")
    assert await backend.versions("a", reach=HERE) == [second, first]
    assert await backend.versions("a", reach=WIDE) == [second, first]
    (found,) = await backend.fetch(["a"], reach=HERE)
    assert found.record == third
    assert await cloud.backend().versions("a", reach=HERE) == [second, first]
    assert await backend.versions("b", reach=HERE) == []


async def test_a_new_version_and_its_copy_are_one_request(cloud: Cloud) -> None:
    """So no crash leaves one without the other; the first update copies what it replaces too."""
    backend = await cloud.onboarded()
    first = await begun(backend)
    await cloud.asked()
    second = await change(backend, first, "second", parts=3)
    assert await cloud.asked() == {"GetVectors": 2, "PutVectors": 1}
    assert len(await cloud.keys()) == 1 + 3 + 2
    await change(backend, second, "third")
    asked = await cloud.asked()
    assert (asked["PutVectors"], asked["DeleteVectors"]) == (1, 1)
    assert len(await cloud.keys()) == 1 + 1 + 3


async def test_a_record_of_many_windows_begins_with_its_copies(cloud: Cloud) -> None:
    """It takes several requests; the text and what it replaces are in the first."""
    backend = await cloud.onboarded()
    first = await begun(backend)
    await cloud.emulator.inject(
        operation="PutVectors", status=400, code="ValidationException", skip=1
    )
    with pytest.raises(Exception, match="PutVectors"):
        await change(backend, first, "x" * 700, parts=700)
    await cloud.emulator.clear_faults()
    assert texts(await backend.versions("a", reach=HERE)) == ["first"]
    (found,) = await backend.fetch(["a"], reach=HERE)
    assert found.record.text == "x" * 700


async def test_many_updates_keep_each_with_its_copy(cloud: Cloud) -> None:
    """A call of more vectors than one request takes is cut between records, never within one."""
    backend = await cloud.onboarded()
    records = [make_record(f"r{n:03}", f"old {n}", scope=MINE) for n in range(260)]
    await put(backend, *map(indexed, records))
    items = [
        replace(indexed(replace(each, text=f"new {each.id}", version=2)), replaces=each)
        for each in records
    ]
    await cloud.emulator.inject(operation="PutVectors", status=403, times=1)
    await cloud.asked()
    with pytest.raises(Exception, match="of 260"):
        await backend.upsert(items, scope=MINE)
    assert (await cloud.asked())["PutVectors"] == 2
    new = {
        item.record.id
        for item in await backend.fetch([r.id for r in records], reach=HERE)
        if item.record.version == 2
    }
    keys = await cloud.keys()
    assert 0 < len(new) < 260
    for each in records:
        copies = [key for key in keys if key.startswith(f"{vector_key(MINE, each.id)}#v")]
        assert len(copies) == (2 if each.id in new else 0)


@pytest.mark.parametrize("same_clock", [True, False])
async def test_two_who_race_lose_neither_text(cloud: Cloud, same_clock: bool) -> None:
    """Two processes replace one version: the later one's is the record, and both are kept."""
    one, other = await cloud.onboarded(), cloud.backend()
    first = await begun(one)
    await cloud.emulator.inject(operation="PutVectors", latency=0.4)

    async def race(backend: S3VectorsBackend, text: str, moment: int) -> None:
        later = NOW + timedelta(seconds=0 if same_clock else moment)
        after = replace(first, text=text, version=2, updated_at=later)
        item = replace(indexed(after), replaces=first)
        await backend.upsert([item], scope=MINE, expected_version=1)

    async with anyio.create_task_group() as group:
        group.start_soon(race, one, "by one", 1)
        group.start_soon(race, other, "by other", 2)
    await cloud.emulator.clear_faults()
    (now,) = await one.fetch(["a"], reach=HERE)
    past = await other.versions("a", reach=HERE)
    assert sorted([now.record.text, *texts(past)]) == ["by one", "by other", "first"]
    assert [record.version for record in past] == [2, 1]
    third = await change(one, now.record, "third", expected=2)
    assert sorted(texts(await one.versions("a", reach=HERE))) == ["by one", "by other", "first"]
    # One who comes late with what it read long ago replaces the third, and loses it not.
    await _late(other, first)
    kept = {*texts(await one.versions("a", reach=HERE))}
    assert {"by one", "by other", "first", third.text} - kept == set()


async def _late(backend: S3VectorsBackend, first: MemoryRecord) -> None:
    item = replace(indexed(replace(first, text="late", version=2)), replaces=first)
    await backend.upsert([item], scope=MINE)


SETTINGS: list[dict[str, object]] = [
    {},
    {"ne_matches_missing": True, "ne_on_lists": "any_differs", "in_on_lists": False},
    {"numbers": "float32", "euclidean": "root", "list_counts": "returned"},
    {"legacy_buckets": True},
    {"recall": "measured"},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: ",".join(each) or "default")
@pytest.mark.parametrize("made", ["own", "shared", "older"])
async def test_no_query_finds_a_copy(cloud: Cloud, setting: dict[str, object], made: str) -> None:
    """Whatever it asks, and however the service compares what a vector lacks."""
    await cloud.emulator.switch(**setting)
    if made == "older":
        hidden = {"nonFilterableMetadataKeys": list(OLDER)}
        await cloud.emulator.create_index(
            BUCKET, ACME, dimension=SPACE.dimensions, metadataConfiguration=hidden
        )
    backend = await cloud.onboarded(**({"index": "one"} if made == "shared" else {}))
    record = await begun(backend, tags=("x",), metadata={"n": 1})
    for text in ("second", "third"):
        record = await change(backend, record, text)
    wide = [Filter.ne("n", 7), Filter.exists("other", False), Filter.nin("@source", ["tool"])]
    reaches = [
        Reach(scope=MINE, any_agent=agent, any_session=session, now=now)
        for agent, session, now in itertools.product((True, False), (True, False), (NOW, None))
        if session or made != "older"  # which cannot be filtered by it
    ]
    for reach, condition in itertools.product(reaches, [None, *wide]):
        for vector in (unit(0) * -1, unit(1)):
            found = await backend.query(query_for(vector, condition=condition), reach=reach)
            assert list(found.record_ids) == ["a"]
    found = await backend.query(query_for(None, terms=words(1)), reach=WIDE)
    assert {*found.record_ids} == {"a"}


async def test_no_listing_shows_a_copy(cloud: Cloud) -> None:
    """Neither scanning, nor counting, nor names; nor is it taken for another tool's."""
    backend = await cloud.onboarded()
    record = await begun(backend, actor="Ada")
    await change(backend, record, "second", parts=3, actor="Bob")
    for reach in (HERE, WIDE, EVER):
        assert ids_of(await read_all(backend, reach)) == ["a"]
        (found,) = await backend.fetch(["a"], reach=reach, vectors=True)
        assert len(found.parts) == 3
    assert list(await backend.remains(reach=EVER)) == ["a"]
    keys = [key for key in await cloud.keys() if is_copy_key(key)]
    assert len(keys) == 2
    assert await backend.fetch(keys, reach=WIDE) == []
    assert await backend.delete(keys, reach=HERE) == 0
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(SPACE.dimensions))
    assert await client.count(scope=MINE) == 1


async def test_deleting_takes_versions_along(cloud: Cloud) -> None:
    """Of that record, in whatever reach; another's stay."""
    backend = await cloud.onboarded()
    bot = replace(MINE, agent="bot")
    mine, theirs = await begun(backend), await begun(backend, scope=bot)
    other = await begun(backend, "b")
    for record in (mine, theirs, other):
        await change(backend, record, "second")
    assert await backend.delete(["a"], reach=HERE) == 1
    assert await backend.versions("a", reach=HERE) == []
    assert texts(await backend.versions("a", reach=Reach.point(bot, now=NOW))) == ["first"]
    assert await backend.delete(["a", "b"], reach=WIDE) == 2
    assert await cloud.keys() == {"memlane/space"}


async def test_deleting_what_was_never_updated_costs_no_more(cloud: Cloud) -> None:
    """Read, deleted and looked for once more, in an index full of versions."""
    backend = await cloud.onboarded()
    for name in "abcd":
        record = await begun(backend, name)
        if name != "a":
            await change(backend, record, "second")
    await cloud.asked()
    assert await backend.delete(["a"], reach=HERE) == 1
    assert await cloud.asked() == {"GetVectors": 2, "DeleteVectors": 1}
    assert await backend.delete(["b", "c"], reach=HERE) == 2
    assert await cloud.asked() == {"GetVectors": 2, "ListVectors": 1, "DeleteVectors": 1}


async def test_a_record_stored_anew_has_no_past(cloud: Cloud) -> None:
    """Over an expired one, say: what it was before is another record's history."""
    backend = await cloud.onboarded()
    record = await begun(backend)
    await change(backend, record, "second")
    await put(backend, indexed(make_record("a", "anew", scope=MINE)), expected_version=2)
    assert await backend.versions("a", reach=HERE) == []
    assert len(await cloud.keys()) == 2


async def test_what_was_never_copied_is_copied_once(cloud: Cloud) -> None:
    """A record that came at a later version, by an import or of before there were copies."""
    backend = await cloud.onboarded()
    third = make_record("a", "third", scope=MINE, version=3)
    await put(backend, indexed(third))
    assert await backend.versions("a", reach=HERE) == []
    fourth = await change(backend, third, "fourth")
    await change(backend, fourth, "fifth")
    assert texts(await backend.versions("a", reach=HERE)) == ["fourth", "third"]
    assert sum(map(is_copy_key, await cloud.keys())) == 3


async def test_an_older_tools_record_is_kept_too(cloud: Cloud) -> None:
    """In the form memlane has of it; its vector goes as with every update."""
    backend = await cloud.onboarded()
    vector = {
        "key": "mem-1",
        "data": {"float32": unit(2).tolist()},
        "metadata": {"user_id": "ada", "content": "likes tea", "mood": "calm"},
    }
    await backend._index(MINE, "test").call("PutVectors", {"vectors": [vector]})
    (found,) = await backend.fetch(["mem-1"], reach=HERE)
    await change(backend, found.record, "likes coffee", space=SPACE.id)
    assert "mem-1" not in await cloud.keys()
    (past,) = await backend.versions("mem-1", reach=HERE)
    assert (past.text, past.metadata) == ("likes tea", {"mood": "calm"})


async def test_history_is_within_reach_as_the_record_is(cloud: Cloud) -> None:
    """Of one session only its own; a version that would have expired is told with its record."""
    backend = await cloud.onboarded()
    monday = replace(MINE, session="monday")
    record = await begun(backend, scope=monday, expires_at=NOW + timedelta(hours=1))
    await change(backend, record, "second", expires_at=NOW + timedelta(days=9))
    for session, expected in (("monday", ["first"]), ("tuesday", [])):
        reach = Reach(
            scope=replace(MINE, session=session), any_agent=False, any_session=False, now=NOW
        )
        assert texts(await backend.versions("a", reach=reach)) == expected
    later = Reach.point(MINE, now=NOW + timedelta(days=1))
    assert texts(await backend.versions("a", reach=later)) == ["first"]
    gone = Reach.point(MINE, now=NOW + timedelta(days=10))
    assert await backend.versions("a", reach=gone) == []
    other = Reach.point(Scope("eve", tenant="acme"), now=NOW)
    assert await backend.versions("a", reach=other) == []


async def test_no_more_than_a_hundred_are_told(cloud: Cloud) -> None:
    """And what is beyond them goes with the next sweep, never the copy of the current one."""
    backend = await cloud.onboarded()
    record = await begun(backend)
    for number in range(MAX_VERSIONS + 8):
        record = await change(backend, record, f"text {number}")
    past = await backend.versions("a", reach=HERE)
    assert [each.version for each in past] == [*range(record.version - 1, 8, -1)]
    assert await backend.sweep(scope=Scope("-", tenant="acme"), now=NOW) == 0
    copies = [key for key in await cloud.keys() if is_copy_key(key)]
    assert len(copies) == MAX_VERSIONS + 1
    assert await cloud.backend().versions("a", reach=HERE) == past
    last = await change(backend, record, "last")
    assert (await backend.versions("a", reach=HERE))[0] == record
    assert last.version == record.version + 1


async def test_history_after_a_listing_asks_for_no_other(cloud: Cloud) -> None:
    """As an export does for each record that was changed; what was written since is met."""
    backend, other = await cloud.onboarded(), cloud.backend()
    records = [await begun(backend, f"r{n}") for n in range(6)]
    for record in records:
        await change(backend, record, "second")
    await cloud.asked()
    for record in records:
        assert texts(await backend.versions(record.id, reach=HERE)) == ["first"]
    asked = await cloud.asked()
    assert asked["ListVectors"] == 1
    assert asked["GetVectors"] <= 8
    (now,) = await other.fetch(["r0"], reach=HERE)
    await change(other, now.record, "third")
    assert texts(await backend.versions("r0", reach=HERE)) == ["second", "first"]


async def test_a_copy_weighs_no_more_than_its_record(cloud: Cloud) -> None:
    """The heaviest record can be replaced by the heaviest: full text, metadata and tags."""
    backend = await cloud.onboarded()
    tags = tuple(sorted(f'"{n:02}\\\u00fc' * 6 for n in range(20)))
    metadata = {f"key{n}": '"\\' * 12 for n in range(12)}
    record = make_record("a", '"\\\n' * 9_000, scope=MINE, tags=tags, metadata=metadata)
    await put(backend, indexed(record))
    await change(backend, record, "\u4e16" * 9_000)
    assert await backend.versions("a", reach=HERE) == [record]
    vectors = await cloud.emulator.vectors(BUCKET, ACME)
    copies = {key: each for key, each in vectors.items() if is_copy_key(key)}
    for key, each in copies.items():
        assert read_copy({"key": key, "metadata": each.metadata}).id == "a"
        assert not {"user_id", "owner", "agent_name", "actor"} & {*each.metadata}
