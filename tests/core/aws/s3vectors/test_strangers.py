"""What other tools wrote, wherever they did: a record to every verb, and no other user's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, OLDER, Cloud, cloud
from memlane import MemoryClient
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.errors import ConflictError, NotFoundError
from memlane.layout import idempotent_id, ulid
from memlane.scope import Reach, Scope
from memlane.testing import HashingEmbedder
from memlane.testing.samples import NOW, SPACE, ids_of, indexed, make_record, put, read_all, unit

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
EVER = Reach.whole(MINE, now=None)
BOT = replace(MINE, agent="bot")
NAMES = ["m1", "users/ada/m2", ulid(0, 7), idempotent_id("k"), "a b#w1"]


def _vector(key: str, **flat: object) -> dict[str, Any]:
    told = {"user_id": "ada", "agent_name": "default", "content": "likes tea"}
    return {"key": key, "data": {"float32": unit(1).tolist()}, "metadata": told | flat}


async def _write(backend: S3VectorsBackend, *vectors: dict[str, Any]) -> None:
    await backend._index(MINE, "test").call("PutVectors", {"vectors": vectors})


@pytest.fixture(params=["memlane", "older"])
async def backend(cloud: Cloud, request: pytest.FixtureRequest) -> S3VectorsBackend:
    """A backend on an index that memlane made, and on one that another tool made."""
    if request.param == "older":
        await cloud.emulator.create_index(BUCKET, ACME, dimension=SPACE.dimensions, hidden=OLDER)
        made = cloud.backend()
        await made.ensure_index(scope=MINE, space=SPACE)
        return made
    return await cloud.onboarded()


async def test_every_verb_knows_them(backend: S3VectorsBackend) -> None:
    """What is listed is fetched, with vectors too, taken for there, replaced, and deleted."""
    await _write(backend, *map(_vector, NAMES), _vector("m9", agent_name="bot"))
    assert ids_of(await read_all(backend, HERE)) == sorted(NAMES)
    assert ids_of(await backend.fetch([*NAMES, "m9"], reach=HERE)) == sorted(NAMES)
    assert ids_of(await backend.fetch([*NAMES, "m9"], reach=EVER)) == sorted([*NAMES, "m9"])
    (found,) = await backend.fetch(["m1"], reach=HERE, vectors=True)
    assert len(found.parts) == 1
    with pytest.raises(ConflictError):
        await backend.upsert(
            [indexed(make_record("m1", scope=MINE))], scope=MINE, expected_version=0
        )
    newer = make_record("m1", "likes coffee", scope=MINE, version=2)
    await backend.upsert([indexed(newer)], scope=MINE, expected_version=1)
    assert [one.record.text for one in await backend.fetch(["m1"], reach=EVER)] == ["likes coffee"]
    assert ids_of(await read_all(backend, HERE)) == sorted(NAMES)
    assert await backend.delete([*NAMES, "m9"], reach=HERE) == len(NAMES)
    assert await backend.delete([*NAMES, "m9"], reach=EVER) == 1
    assert await read_all(backend, EVER) == []


@pytest.mark.parametrize("agent", [None, "bot"])
async def test_forgetting_takes_them(
    cloud: Cloud, backend: S3VectorsBackend, agent: str | None
) -> None:
    """A whole user, or one agent of theirs, is empty afterwards, and the receipt says so."""
    scope = replace(MINE, agent=agent)
    names = {"agent_name": agent} if agent else {}
    await _write(backend, *(_vector(name, **names) for name in NAMES), _vector("m4", user_id="eve"))
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(SPACE.dimensions))
    receipt = await client.forget(scope)
    assert (receipt.deleted, receipt.verified_empty) == (len(NAMES), True)
    assert await cloud.keys() - {"memlane/space"} == {"m4"}


ODD: list[dict[str, Any]] = [
    {"user_id": "eve", "agent_name": "a\nb"},
    {"user_id": "eve", "agent_name": " "},
    {"user_id": "eve", "row": 5},
    {"user_id": 5},
    {"user_id": ["ada"]},
    {"user_id": ""},
    {"user_id": "a\nb"},
    {"user_id": "eve", "content": 7, "stored_at": "soon"},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_anothers_is_nobodys_business(
    cloud: Cloud, backend: S3VectorsBackend, odd: dict[str, Any]
) -> None:
    """However odd it is, no verb says that a key exists which another user's record has."""
    await _write(backend, _vector("k1", **odd))
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(SPACE.dimensions))
    for name in ("k1", "nope"):
        with pytest.raises(NotFoundError):
            await client.get(name, scope=MINE)
        with pytest.raises(NotFoundError):
            await client.get(name, scope=MINE, include_agents=True)
        assert await client.delete(name, scope=MINE) == 0
        mine = indexed(make_record(name, "mine", scope=MINE))
        await backend.upsert([mine], scope=MINE, expected_version=0)
        assert (await client.get(name, scope=MINE)).text == "mine"
    assert await client.count(scope=MINE) == 2
    assert (await client.forget(MINE)).verified_empty
    assert "k1" in await cloud.keys()


async def test_notes_are_no_records(cloud: Cloud) -> None:
    """Ids that are whole keys of memlane's own notes, or of others' records, name nothing."""
    backend = await cloud.onboarded()
    other = Scope("eve", tenant="acme")
    await put(backend, indexed(make_record("a", scope=other, actor="Eve")))
    keys = sorted(await cloud.keys())
    assert len(keys) == 3
    assert await backend.fetch(keys, reach=HERE) == []
    assert await backend.delete(keys, reach=HERE) == 0
    await put(backend, *(indexed(make_record(key, "mine", scope=MINE)) for key in keys))
    assert ids_of(await read_all(backend, HERE)) == keys
    assert await backend.delete(keys, reach=EVER) == 3
    assert sorted(await cloud.keys()) == keys


async def test_an_agent_called_default_is_not_theirs(backend: S3VectorsBackend) -> None:
    """The older tools' word for no agent is no agent of that name."""
    await _write(backend, _vector("m1"))
    default = Reach.point(replace(MINE, agent="default"), now=NOW)
    assert await read_all(backend, default) == []
    assert await backend.fetch(["m1"], reach=default) == []
    await put(backend, indexed(make_record("a", scope=replace(MINE, agent="default"))))
    assert ids_of(await read_all(backend, default)) == ["a"]
    assert ids_of(await read_all(backend, HERE)) == ["m1"]
