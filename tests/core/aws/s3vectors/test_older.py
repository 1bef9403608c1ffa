"""Indexes and vectors of the older tools: read, listed, forgotten, and changed with care."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, OLDER, Cloud, cloud
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.errors import EmbeddingSpaceError, InvalidFilterError, ValidationError
from memlane.filters import Filter
from memlane.protocols import EmbeddingSpace, Vector
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    SPACE,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
    words,
)

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
WHOLE = Reach.whole(MINE, now=None)
BOT = Scope("ada", tenant="acme", agent="bot")


def _vector(key: str, user: str = "ada", agent: str = "default", **more: object) -> dict[str, Any]:
    flat = {
        "user_id": user, "agent_name": agent, "content": f"{key} likes tea",
        "stored_at": "2025-01-01T00:00:00+00:00", **more,
    }  # fmt: skip
    return {"key": key, "data": {"float32": unit(1).tolist()}, "metadata": flat}


async def _fill(cloud: Cloud, backend: S3VectorsBackend, *more: dict[str, Any]) -> None:
    await backend._index(MINE, "test").call(
        "PutVectors",
        {
            "vectors": [
                _vector("m1"),
                _vector("m2", conversation_id="c1", type="summary", mood="good"),
                _vector("m3", agent="bot"),
                _vector("m4", user="eve"),
                *more,
            ]
        },
    )
    await cloud.asked()


@pytest.fixture
async def older(cloud: Cloud) -> S3VectorsBackend:
    """A backend on an index that another tool made and filled."""
    await cloud.emulator.create_index(BUCKET, ACME, dimension=SPACE.dimensions, hidden=OLDER)
    backend = cloud.backend()
    await backend.ensure_index(scope=MINE, space=SPACE)
    await _fill(cloud, backend)
    return backend


async def test_their_records_are_found(older: S3VectorsBackend) -> None:
    """By meaning, by words, by id and in listings; each user's and agent's own."""
    by_meaning = await older.query(query_for(unit(1)), reach=HERE)
    assert sorted(by_meaning.record_ids) == ["m1", "m2"]
    by_words = await older.query(query_for(None, terms=words(1)), reach=HERE)
    assert sorted(by_words.record_ids) == ["m1", "m2"]
    assert ids_of(await older.fetch(["m1", "m3", "m4", "no"], reach=HERE)) == ["m1"]
    assert ids_of(await read_all(older, HERE)) == ["m1", "m2"]
    assert ids_of(await read_all(older, WHOLE)) == ["m1", "m2", "m3"]
    assert ids_of(await read_all(older, Reach.point(BOT, now=NOW))) == ["m3"]
    (found,) = await older.fetch(["m2"], reach=HERE, vectors=True)
    assert (found.record.kind, dict(found.record.metadata)) == ("summary", {"mood": "good"})
    assert found.record.scope == Scope("ada", tenant="acme", session="c1")
    assert (found.parts[0].start, found.parts[0].end) == (0, len("m2 likes tea"))


async def test_another_tenant_of_a_shared_index_has_none_of_them(cloud: Cloud) -> None:
    """They were stored without a tenant, and belong to users without one."""
    await cloud.emulator.create_index(BUCKET, "one", dimension=SPACE.dimensions, hidden=OLDER)
    backend = cloud.backend(index="one")
    await _fill(cloud, backend)
    for tenant, expected in (("acme", []), (None, ["m1", "m2"])):
        reach = Reach.point(Scope("ada", tenant=tenant), now=NOW)
        assert sorted((await backend.query(query_for(unit(1)), reach=reach)).record_ids) == expected
        assert ids_of(await read_all(backend, reach)) == expected
    assert await backend.delete(["m1"], reach=HERE) == 0
    assert "m1" in await cloud.keys("one")


async def test_what_cannot_be_filtered_by_is_said(cloud: Cloud, older: S3VectorsBackend) -> None:
    """Before the wire; what can be filtered by works."""
    for condition in (Filter.eq("@kind", "summary"), Filter.eq("@session", "c1")):
        with pytest.raises(InvalidFilterError):
            await older.query(query_for(unit(1), condition=condition), reach=HERE)
    assert await cloud.asked() == {}
    found = await older.query(query_for(unit(1), condition=Filter.eq("mood", "good")), reach=HERE)
    assert list(found.record_ids) == ["m2"]
    assert ids_of(await read_all(older, HERE, condition=Filter.eq("@kind", "summary"))) == ["m2"]


async def test_short_records_are_stored_beside_theirs(
    cloud: Cloud, older: S3VectorsBackend
) -> None:
    """And come back exactly; what would not fit is refused before the wire."""
    mine = make_record("a", "short", scope=MINE, actor="Ada", metadata={"n": [1, 2.5]})
    await put(older, indexed(mine, unit(1), unit(2)))
    (found,) = await older.fetch(["a"], reach=HERE, vectors=True)
    assert found.record == mine
    assert len(found.parts) == 2
    near = await older.query(query_for(unit(1)), reach=HERE)
    assert sorted(near.record_ids) == ["a", "a", "m1", "m2"]
    assert list(await older.actors(reach=HERE)) == ["Ada"]
    before = await cloud.keys()
    heavy = make_record("b", scope=MINE, metadata={"deep": {"k": "x" * 1_900}})
    with pytest.raises(ValidationError, match="too much"):
        await put(older, indexed(heavy))
    assert await cloud.keys() == before


async def test_changing_one_of_theirs_takes_it_over(cloud: Cloud, older: S3VectorsBackend) -> None:
    """Under its id it is memlane's from then on, once, with the version counted on."""
    (found,) = await older.fetch(["m1"], reach=HERE)
    changed = make_record("m1", "likes coffee", scope=found.record.scope, version=2)
    await older.upsert([indexed(changed)], scope=MINE, expected_version=1)
    assert "m1" not in await cloud.keys()
    assert [item.record.text for item in await older.fetch(["m1"], reach=HERE)] == ["likes coffee"]
    assert ids_of(await read_all(older, HERE)) == ["m1", "m2"]
    for foreign in ("m3", "m4"):
        await put(older, indexed(make_record(foreign, "mine", scope=MINE)))
        assert foreign in await cloud.keys()


async def test_theirs_are_deleted_and_forgotten(cloud: Cloud, older: S3VectorsBackend) -> None:
    """By id within reach; of another user nothing."""
    assert await older.delete(["m1", "m3", "m4"], reach=HERE) == 1
    assert await older.delete(["m2", "m3", "m4"], reach=WHOLE) == 2
    assert await cloud.keys() == {"m4"}


@pytest.mark.parametrize("vector", [unit(1), None], ids=["meaning", "words"])
async def test_default_is_no_agent(older: S3VectorsBackend, vector: Vector | None) -> None:
    """In the older tools' words; an agent that is really called so has its own records."""
    called = replace(MINE, agent="default")
    reach = Reach.point(called, now=NOW)
    asked = query_for(vector, terms=words(1))
    assert list((await older.query(asked, reach=reach)).record_ids) == []
    await put(older, indexed(make_record("mine", scope=called)))
    assert list((await older.query(asked, reach=reach)).record_ids) == ["mine"]
    assert ids_of(await read_all(older, reach)) == ["mine"]


async def test_a_key_that_begins_like_a_note_is_a_record(
    cloud: Cloud, older: S3VectorsBackend
) -> None:
    """Another tool may call its vectors as it likes; only the notes themselves are reserved."""
    theirs = ["memlane/secret", "memlane/spaces", "memlane/space/", "memlane/space/a/b"]
    await _fill(cloud, older, *map(_vector, theirs))
    for asked in (query_for(unit(1)), query_for(None, terms=words(1))):
        found = await older.query(asked, reach=HERE)
        assert sorted(found.record_ids) == ["m1", "m2", *sorted(theirs)]
    assert await older.delete(theirs, reach=HERE) == 4
    assert not [key for key in await cloud.keys() if key in theirs]


async def test_the_first_to_store_says_of_which_space_it_is(
    cloud: Cloud, older: S3VectorsBackend
) -> None:
    """Reading notes nothing. Whoever comes with another model of as many dimensions is refused."""
    another = EmbeddingSpace(model="another", dimensions=SPACE.dimensions)
    late = cloud.backend()
    await late.ensure_index(scope=MINE, space=another)
    await late.query(replace(query_for(unit(1)), space=another.id), reach=HERE)
    assert "memlane/space" not in await cloud.keys()
    await put(older, indexed(make_record("a", scope=MINE)))
    assert "memlane/space" in await cloud.keys()
    await cloud.asked()
    await put(older, indexed(make_record("b", scope=MINE)))
    assert (await cloud.asked())["PutVectors"] == 1
    before = await cloud.keys()
    with pytest.raises(EmbeddingSpaceError, match="another"):
        await put(late, indexed(make_record("c", scope=MINE, space=another.id)))
    assert await cloud.keys() == before
    for backend in (older, cloud.backend()):
        with pytest.raises(EmbeddingSpaceError, match="another"):
            await backend.ensure_index(scope=MINE, space=another)
        await backend.ensure_index(scope=MINE, space=SPACE)


async def test_an_emptied_index_changes_its_space(cloud: Cloud, older: S3VectorsBackend) -> None:
    """As one of memlane's own does: who stores next says of which it is."""
    another = EmbeddingSpace(model="another", dimensions=SPACE.dimensions)
    late = cloud.backend()
    await late.ensure_index(scope=MINE, space=another)
    await put(older, indexed(make_record("a", scope=MINE)))
    await older._index(MINE, "test").delete([*await cloud.keys() - {"memlane/space"}])
    await put(late, indexed(make_record("b", scope=MINE, space=another.id)))
    with pytest.raises(EmbeddingSpaceError):
        await cloud.backend().ensure_index(scope=MINE, space=SPACE)


async def test_strangers_in_memlanes_index_are_listed(cloud: Cloud) -> None:
    """A tool that writes into an index of memlane's: its user's listing has it, others' not."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=MINE)))
    nobody = {"key": "n1", "data": {"float32": unit(1).tolist()}, "metadata": {"x": 1}}
    await _fill(cloud, backend, nobody)
    assert ids_of(await read_all(backend, HERE)) == ["a", "m1", "m2"]
    assert list((await backend.query(query_for(unit(0)), reach=HERE)).record_ids) == ["a"]
    assert await backend.scrub(scope=MINE) == "unknown"
    assert await backend.sweep(scope=MINE, now=NOW) == 0
    assert len(await cloud.keys()) == 7
