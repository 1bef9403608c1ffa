"""Two clients at one record at the same moment: whatever is left of it is one record, or none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_tenants import note_of_another_tool
from core.aws.s3vectors.test_versions import change
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.aws.s3vectors.copies import is_copy_key
from memlane.aws.s3vectors.index import Index
from memlane.errors import RequestRejectedError
from memlane.layout import vector_key
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    directions,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    unit,
)
from memlane.types import MemoryRecord

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
TENANT = Scope("-", tenant="acme")
KEY = vector_key(MINE, "a")
SPACE_NOTE = "memlane/space"


class Meanwhile:
    """Lets somebody else act once, just before or after an index is asked for something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def __call__(
        self, name: str, act: Callable[[], Awaitable[object]], *, after: bool = False
    ) -> None:
        asked = getattr(Index, name)
        waiting = [act]

        async def interrupted(index: Index, *args: object, **options: object) -> object:
            acts = [waiting.pop()] if waiting else []
            if not after:
                for each in acts:
                    await each()
            answer = await asked(index, *args, **options)
            if after:
                for each in acts:
                    await each()
            return answer

        self._patch.setattr(Index, name, interrupted)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """What somebody else does at a certain moment."""
    return Meanwhile(monkeypatch)


async def _stored(backend: S3VectorsBackend, parts: int, **fields: object) -> MemoryRecord:
    record = replace(make_record("a", "first", scope=MINE), **fields)  # type: ignore[arg-type]
    await put(backend, indexed(record, *(directions(parts) if parts > 1 else [unit(1)])))
    return record


async def _recalled(backend: S3VectorsBackend) -> set[tuple[str, str]]:
    """Return ids and texts of all that any question finds, be it a single window."""
    found: set[tuple[str, str]] = set()
    for direction in (unit(1), *directions(8)):
        for limit in (1, 50):
            rows = await backend.query(query_for(direction, limit=limit), reach=HERE)
            assert rows.records is not None
            found |= {(record.id, record.text) for record in rows.records}
    return found


async def _holds(cloud: Cloud, backend: S3VectorsBackend, text: str | None) -> None:
    """Check that a record, and what is recalled of it, is one thing or nothing."""
    told = {("a", text)} if text is not None else set()
    assert {
        (one.record.id, one.record.text) for one in await backend.fetch(["a"], reach=HERE)
    } == told
    assert await _recalled(backend) == told
    if text is None:
        # Versions may lie there until a sweep: no call returns them.
        assert {key for key in await cloud.keys() if not is_copy_key(key)} == {SPACE_NOTE}


@pytest.mark.parametrize(("had", "made"), [(1, 6), (3, 6), (6, 2), (3, 3)])
async def test_a_record_that_is_made_longer_while_it_is_deleted(
    cloud: Cloud, meanwhile: Meanwhile, had: int, made: int
) -> None:
    """It is gone, with all that anybody made of it."""
    one, other = await cloud.onboarded(), cloud.backend()
    record = await _stored(one, had)
    meanwhile("delete", lambda: change(other, record, "second", parts=made))
    assert await one.delete(["a"], reach=HERE) == 1
    await _holds(cloud, one, None)


@pytest.mark.parametrize("agents", [False, True])
async def test_who_stores_it_after_all_keeps_it(
    cloud: Cloud, meanwhile: Meanwhile, agents: bool
) -> None:
    """What was deleted is there again, and all of it stays; other records are not touched."""
    one, other = await cloud.onboarded(), cloud.backend()
    record = await _stored(one, 2)
    await put(one, indexed(make_record("b", "beside", scope=MINE), *directions(4)))
    meanwhile("delete", lambda: change(other, record, "second", parts=6), after=True)
    reach = replace(HERE, any_agent=agents)
    assert await one.delete(["a"], reach=reach) == 1
    for name, count in (("a", 6), ("b", 4)):
        [found] = await one.fetch([name], reach=HERE, vectors=True)
        assert len(found.parts) == count
    assert await one.delete(["a", "b"], reach=reach) == 2
    assert {key for key in await cloud.keys() if "#w" in key} == set()


async def test_a_deletion_that_was_cut_off_is_repeated(cloud: Cloud, meanwhile: Meanwhile) -> None:
    """Killed before it looked: no call shows a record, and the next deletion takes what is left."""
    one, other = await cloud.onboarded(), cloud.backend()
    record = await _stored(one, 1)

    async def longer() -> None:
        await change(other, record, "second", parts=6)
        await cloud.emulator.inject(operation="GetVectors", status=400)

    meanwhile("delete", longer)
    with pytest.raises(RequestRejectedError):
        await one.delete(["a"], reach=HERE)
    await cloud.emulator.clear_faults()
    assert ids_of([found.record for found in await one.fetch(["a"], reach=HERE)]) == []
    assert await _recalled(one) == {("a", "second")}
    # Of another session, or agent, it is none's to take.
    monday = Reach(scope=replace(MINE, session="x"), any_agent=False, any_session=False, now=NOW)
    assert await one.delete(["a"], reach=monday) == 0
    assert await one.delete(["a"], reach=Reach.point(replace(MINE, agent="x"), now=NOW)) == 0
    assert await _recalled(one) == {("a", "second")}
    assert await one.delete(["a"], reach=HERE) == 0
    await _holds(cloud, one, None)


async def test_with_all_agents_what_lost_its_record_goes_too(cloud: Cloud) -> None:
    """The listing that such a deletion goes by shows it, and costs nothing more."""
    backend = await cloud.onboarded()
    record = await _stored(backend, 4)
    await change(backend, record, "second", parts=4)
    await backend._index(MINE, "test").delete([KEY])
    assert await backend.delete(["a"], reach=replace(HERE, any_agent=True)) == 0
    await _holds(cloud, backend, None)


@pytest.mark.parametrize("made", [1, 6])
async def test_a_sweep_beside_who_puts_off_the_end(
    cloud: Cloud, meanwhile: Meanwhile, made: int
) -> None:
    """Their clocks differ: the record is gone, and recall finds nothing of it."""
    one, other = await cloud.onboarded(), cloud.backend()
    ends = NOW - timedelta(hours=1)
    record = await _stored(one, 1, expires_at=ends)
    meanwhile("delete", lambda: change(other, record, "second", parts=made, expires_at=None))
    assert await one.sweep(scope=TENANT, now=NOW) == 1
    assert await _recalled(one) == set()
    assert [key for key in await cloud.keys() if "#w" in key] == []


@pytest.mark.parametrize("moment", ["before", "after", "last"])
@pytest.mark.parametrize("parts", [(4, 1, 7), (4, 7, 1), (4, 6, 8), (1, 2, 6)])
async def test_two_updates_leave_one_text(
    cloud: Cloud, meanwhile: Meanwhile, moment: str, parts: tuple[int, int, int]
) -> None:
    """Whoever was later is the record; nothing of the other is recalled, nor of what both read."""
    one, other = await cloud.onboarded(), cloud.backend()
    had, mine, theirs = parts
    record = await _stored(one, had)
    name = "delete" if moment == "last" else "put"
    if moment == "last" and mine >= had:
        pytest.skip("nothing is deleted")
    meanwhile(name, lambda: change(other, record, "theirs", parts=theirs), after=moment == "after")
    await change(one, record, "mine", parts=mine)
    await _holds(cloud, one, "mine" if moment == "before" else "theirs")
    if moment != "last":
        # Between the last look and the deletion a part of what is later may go, no more.
        [found] = await one.fetch(["a"], reach=HERE, vectors=True)
        assert len(found.parts) == (mine if moment == "before" else theirs)


@pytest.mark.parametrize("parts", [1, 3, 5, 9])
async def test_a_refused_update_changes_nothing(cloud: Cloud, parts: int) -> None:
    """And one whose last step is refused is done, with nothing of the older text to be found."""
    backend = await cloud.onboarded()
    record = await _stored(backend, 5)
    before = await cloud.emulator.vectors(BUCKET, ACME)
    await cloud.emulator.inject(operation="PutVectors", status=400)
    with pytest.raises(RequestRejectedError):
        await change(backend, record, "second", parts=parts)
    await cloud.emulator.clear_faults()
    assert (await cloud.emulator.vectors(BUCKET, ACME)).keys() == before.keys()
    await _holds(cloud, backend, "first")
    await cloud.emulator.inject(operation="DeleteVectors", status=400)
    second = await change(backend, record, "second", parts=parts)
    await cloud.emulator.clear_faults()
    await _holds(cloud, backend, "second")
    [found] = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert len(found.parts) == parts
    assert len([key for key in await cloud.keys() if "#w" in key]) == max(parts, 5) - 1
    # The next version, a sweep or a deletion meets what was left.
    third = await change(backend, second, "third")
    assert [key for key in await cloud.keys() if "#w" in key] == []
    await change(backend, third, "fourth")


async def test_a_sweep_takes_what_was_emptied(cloud: Cloud) -> None:
    """By whoever was killed before it was deleted; a deletion takes it too."""
    backend = await cloud.onboarded()
    for name in ("a", "b"):
        record = make_record(name, "first", scope=MINE)
        await put(backend, indexed(record, *directions(5)))
        await cloud.emulator.inject(operation="DeleteVectors", status=400)
        await change(backend, record, "second", parts=2)
        await cloud.emulator.clear_faults()
    assert len([key for key in await cloud.keys() if "#w" in key]) == 8
    assert await backend.delete(["b"], reach=HERE) == 1
    assert len([key for key in await cloud.keys() if "#w" in key]) == 4
    assert await backend.sweep(scope=TENANT, now=NOW) == 0
    [found] = await backend.fetch(["a"], reach=HERE, vectors=True)
    assert len(found.parts) == 2
    assert len([key for key in await cloud.keys() if "#w" in key]) == 1


async def test_another_tools_names_are_left_alone(cloud: Cloud) -> None:
    """They may look as windows do."""
    backend = await cloud.onboarded()
    for name in ("mem-1", "mem-1#w1"):
        await note_of_another_tool(backend, name, user_id="ada", content="x")
    assert await backend.delete(["mem-1"], reach=HERE) == 1
    assert await backend.delete(["mem-1"], reach=HERE) == 0
    assert await cloud.keys() == {SPACE_NOTE, "mem-1#w1"}


async def test_what_it_costs(cloud: Cloud) -> None:
    """A look after a deletion and an update; none after what was stored and what is forgotten."""
    backend = await cloud.onboarded()
    await _stored(backend, 5)
    assert await cloud.asked() == {"GetVectors": 1, "PutVectors": 1}
    [found] = await backend.fetch(["a"], reach=HERE)
    await cloud.asked()
    second = await change(backend, found.record, "second", parts=6)
    assert await cloud.asked() == {"GetVectors": 2, "PutVectors": 1}
    await change(backend, second, "third", parts=2)
    assert await cloud.asked() == {"GetVectors": 2, "PutVectors": 1, "DeleteVectors": 1}
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(100)))
    await cloud.asked()
    assert await backend.delete([f"r{n}" for n in range(50)], reach=HERE) == 50
    assert await cloud.asked() == {"GetVectors": 2, "DeleteVectors": 1}
    assert await backend.erase(reach=Reach.whole(MINE, now=None)) == 51
    assert "GetVectors" not in await cloud.asked()
