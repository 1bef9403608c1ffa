"""Names go with what is forgotten: none is written back by who stored meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio.lowlevel
import orjson
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.aws.s3vectors.actors import Actors, actors_key, named, remaining
from memlane.layout import agent_prefix
from memlane.scope import Reach, Scope
from memlane.testing import FakeClock
from memlane.testing.samples import NOW, indexed, make_record, put, unit

__all__ = ("cloud",)

BOT = replace(MINE, agent="bot")
MONDAY = replace(MINE, session="monday")
ALL = Reach.point(MINE, now=NOW, include_agents=True)


class Vector:
    """The one vector; every step of it can be told to wait."""

    def __init__(self) -> None:
        self.content: str | None = None
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}

    async def _step(self, name: str, content: str | None) -> str | None:
        self.before.pop(name, lambda: None)()
        if name != "read":
            self.content = content
        await anyio.lowlevel.checkpoint()
        self.after.pop(name, lambda: None)()
        return self.content

    async def note(self, actors: Actors, *names: str, since: int | None = None) -> None:
        """Note who spoke."""
        await actors.note(
            [make_record("r", scope=MINE, actor=name) for name in names],
            index=ACME,
            read=lambda: self._step("read", None),
            write=lambda content: self._step("write", content),
            erase=lambda: self._step("erase", None),
            since=since,
        )

    @property
    def names(self) -> set[str]:
        """Those that lie in it."""
        if self.content is None:
            return set()
        return {name for each in orjson.loads(self.content)["agents"].values() for name in each}

    async def known(self, actors: Actors) -> list[str]:
        """Return the names that are known."""
        return [*await actors.known(ALL, index=ACME, read=lambda: self._step("read", None))]


@pytest.fixture
def actors(clock: FakeClock) -> Actors:
    """What one process knows."""
    return Actors(clock=clock)


async def test_forgotten_users_are_read_anew(actors: Actors, clock: FakeClock) -> None:
    """And what was known is not written back with the next name."""
    vector = Vector()
    await vector.note(actors, "Eve")
    with actors.forgetting(MINE, index=ACME):
        vector.content = None
    assert await vector.known(actors) == []
    await vector.note(actors, "Bob")
    assert await vector.known(Actors(clock=clock)) == ["Bob"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["read", "write"])
async def test_who_stores_meanwhile_writes_no_old_name(
    actors: Actors, step: str, moment: str
) -> None:
    """Whether the deletion comes before or after what the other one reads and writes."""
    vector = Vector()
    await vector.note(actors, "Secret")

    def forget() -> None:
        with actors.forgetting(MINE, index=ACME):
            vector.content = None

    {"before": vector.before, "after": vector.after}[moment][step] = forget
    await vector.note(actors, "Zoe")
    assert vector.names == set()
    await vector.note(actors, "Zoe")
    assert vector.names == {"Zoe"}


async def test_nothing_is_written_while_a_user_is_forgotten(actors: Actors) -> None:
    """Of two who forget at once the last one opens the door."""
    vector = Vector()
    with actors.forgetting(MINE, index=ACME):
        with actors.forgetting(MINE, index=ACME):
            await vector.note(actors, "Zoe")
        await vector.note(actors, "Zoe")
        assert vector.names == set()
        await vector.note(actors, "Zoe", since=actors.forgotten(MINE, index=ACME))
        assert vector.names == set()
    await vector.note(actors, "Zoe")
    assert vector.names == {"Zoe"}


async def test_one_user_is_forgotten_without_the_others(actors: Actors) -> None:
    """What is under way for them is done."""
    vector = Vector()

    def forget() -> None:
        with actors.forgetting(Scope("eve", tenant="acme"), index=ACME):
            pass

    vector.after["write"] = forget
    await vector.note(actors, "Zoe")
    assert vector.names == {"Zoe"}


def test_what_remains() -> None:
    """Names with records, and those of agents that were not looked at; None for none at all."""
    said = {"agents": {_code(MINE): {"Ann": 0, "Bob": 0}, _code(BOT): {"Cy": 0}}}
    content = orjson.dumps({"v": 1, **said}).decode()
    records = make_record("r", scope=MINE, actor="Bob"), make_record("s", scope=MINE)
    there = {name for each in records if (name := named(each)) is not None}
    one = remaining(content, there, reach=Reach.point(MINE, now=NOW))
    assert one is not None
    assert orjson.loads(one)["agents"] == {_code(MINE): {"Bob": 0}, _code(BOT): {"Cy": 0}}
    all_of_them = remaining(content, there, reach=Reach.whole(MINE, now=None))
    assert all_of_them is not None
    assert orjson.loads(all_of_them)["agents"] == {_code(MINE): {"Bob": 0}}
    assert remaining(content, (), reach=Reach.whole(MINE, now=None)) is None
    assert remaining(None, there, reach=Reach.whole(MINE, now=None)) is None


def _code(scope: Scope) -> str:
    return agent_prefix(scope).split("/")[1]


async def _stored(cloud: Cloud) -> dict[str, Any]:
    vectors = await cloud.emulator.vectors(BUCKET, ACME)
    if actors_key(MINE) not in vectors:
        return {}
    found: dict[str, Any] = orjson.loads(vectors[actors_key(MINE)].metadata["content"])["agents"]
    return found


async def _forget(backend: S3VectorsBackend, scope: Scope, *ids: str) -> None:
    await backend.delete(ids, reach=Reach.whole(scope, now=None))
    await backend.scrub(scope=scope)


@pytest.mark.parametrize(
    ("scope", "gone", "left"),
    [
        (BOT, ["b"], {"Ann", "Bob"}),
        (MONDAY, ["m"], {"Ann", "Cy"}),
        (MINE, ["a", "b", "m"], set[str]()),
    ],
    ids=["agent", "session", "user"],
)
async def test_names_go_with_what_is_forgotten(
    cloud: Cloud, scope: Scope, gone: list[str], left: set[str]
) -> None:
    """An agent's, a session's and a user's; who spoke elsewhere too stays."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=MINE, actor="Ann")))
    await put(backend, indexed(make_record("b", scope=BOT, actor="Cy")))
    said = [indexed(make_record("m", scope=MONDAY, actor=actor), unit(1)) for actor in ("Bob",)]
    await put(backend, *said, indexed(make_record("n", scope=MONDAY, actor="Ann")))
    assert set(await backend.actors(reach=ALL)) == {"Ann", "Bob", "Cy"}
    await _forget(backend, scope, *gone, *(["n"] if scope != BOT else []))
    assert {name for names in (await _stored(cloud)).values() for name in names} == left
    assert set(await backend.actors(reach=ALL)) == left
    await _forget(backend, MINE, "a", "b", "m", "n")
    assert await _stored(cloud) == {}


async def test_forgetting_reads_no_records_where_nobody_spoke(cloud: Cloud) -> None:
    """There are no names to look after."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=MINE)))
    await cloud.asked()
    await backend.scrub(scope=BOT)
    assert await cloud.asked() == {"ListVectors": 1, "GetVectors": 1}


async def test_a_record_forgotten_before_its_name_is_noted(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name goes with it."""
    backend = await cloud.onboarded()
    upsert = backend._writing.upsert

    async def stored_and_forgotten(*args: Any, **more: Any) -> None:
        await upsert(*args, **more)
        await _forget(backend, MINE, "a")

    monkeypatch.setattr(backend._writing, "upsert", stored_and_forgotten)
    await put(backend, indexed(make_record("a", scope=MINE, actor="Ann")))
    assert await _stored(cloud) == {}
    monkeypatch.undo()
    await put(backend, indexed(make_record("a", scope=MINE, actor="Ann")))
    assert await _stored(cloud) == {_code(MINE): {"Ann": 0}}
