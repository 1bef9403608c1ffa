"""What an update replaces is kept in the same step, stays in reach, and goes with its record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from core.local.twin_calls import Backend
from memlane.errors import ConflictError, IsolationError
from memlane.layout import MAX_VERSIONS
from memlane.local import SqliteBackend
from memlane.powers import SupportsVersions
from memlane.protocols import IndexedRecord
from memlane.scope import Reach, Scope
from memlane.testing.samples import NOW, SCOPE, indexed, make_record, put
from memlane.types import ImageNote, MemoryRecord

_POINT = Reach.point(SCOPE, now=NOW)
_WHOLE = Reach.whole(SCOPE, now=None)
_PICTURE = ImageNote(sha256="0a" * 32, media_type="image/webp", size=9, name=None, embedded=True)


async def _update(
    backend: Backend, before: MemoryRecord, text: str, *, expected: int | None = None
) -> MemoryRecord:
    after = replace(
        before,
        text=text,
        version=before.version + 1,
        updated_at=before.updated_at + timedelta(minutes=1),
    )
    item = replace(indexed(after), replaces=before)
    await backend.upsert([item], scope=before.scope, expected_version=expected)
    return after


async def test_every_field_is_kept(backend: Backend) -> None:
    """What was replaced comes back exactly, the newest first, without what is there now."""
    assert isinstance(backend, SupportsVersions)
    first = replace(
        make_record(
            "r",
            "été \x00 🚆",
            metadata={"n": 2**53 + 1, "deep": {"x": [None, 0.1]}},
            tags=("a", "b,c"),
            actor="Ada",
            namespace="/a/%2F/",
            kind="preference",
            expires_at=NOW + timedelta(days=1),
        ),
        valid_from=NOW - timedelta(days=9, microseconds=1),
        valid_to=NOW + timedelta(days=9),
        images=(_PICTURE, replace(_PICTURE, name="ü.webp", embedded=False)),
        source="import",
    )
    await put(backend, indexed(first))
    second = await _update(backend, first, "second", expected=1)
    third = await _update(backend, second, "third", expected=2)
    assert list(await backend.versions("r", reach=_POINT)) == [second, first]
    assert [one.record for one in await backend.fetch(["r"], reach=_POINT)] == [third]
    assert (await backend.scan(reach=_POINT)).records == (third,)


async def test_a_refused_update_keeps_nothing(backend: Backend) -> None:
    """A condition that does not hold leaves the history as it was."""
    first = make_record("r")
    await put(backend, indexed(first))
    second = await _update(backend, first, "second", expected=1)
    with pytest.raises(ConflictError):
        await _update(backend, first, "late", expected=1)
    assert list(await backend.versions("r", reach=_POINT)) == [first]
    assert [one.record for one in await backend.fetch(["r"], reach=_POINT)] == [second]


async def test_of_two_that_do_not_look_neither_text_is_lost(backend: Backend) -> None:
    """Both believe to replace the first; the second of them keeps what really lay there."""
    first = make_record("r")
    await put(backend, indexed(first))
    one = await _update(backend, first, "one")
    await _update(backend, first, "other")
    assert list(await backend.versions("r", reach=_POINT)) == [one, first]


async def test_so_many_are_kept_and_no_more(backend: Backend) -> None:
    """The oldest go."""
    record = make_record("r")
    await put(backend, indexed(record))
    for number in range(MAX_VERSIONS + 3):
        record = await _update(backend, record, f"text {number}")
    kept = await backend.versions("r", reach=_POINT)
    newest = MAX_VERSIONS + 3
    assert [old.version for old in kept] == list(range(newest, newest - MAX_VERSIONS, -1))
    assert (await backend.stats(scope=SCOPE, now=NOW)).versions == MAX_VERSIONS


async def test_a_history_ends_with_its_record(backend: Backend) -> None:
    """Deleted, or expired and its id taken by another: the new record has no past."""
    for way in ("delete", "take", "sweep"):
        first = make_record("r", expires_at=NOW)
        await put(backend, indexed(first))
        await _update(backend, first, "second")
        if way == "delete":
            assert await backend.delete(["r"], reach=_WHOLE) == 1
        elif way == "sweep":
            assert await backend.sweep(scope=SCOPE, now=NOW) == 1
        await put(backend, indexed(make_record("r", "another")))
        assert list(await backend.versions("r", reach=_POINT)) == [], way
        assert (await backend.stats(scope=SCOPE, now=NOW)).versions == 0
        assert await backend.delete(["r"], reach=_WHOLE) == 1


async def test_overwriting_without_replacing_keeps_the_past(backend: Backend) -> None:
    """A later version that asks for nothing to be kept takes nothing away."""
    first = make_record("r")
    await put(backend, indexed(first))
    second = await _update(backend, first, "second")
    await put(backend, indexed(replace(second, text="third", version=3)))
    assert list(await backend.versions("r", reach=_POINT)) == [first]


async def test_what_it_replaces_need_not_be_there(backend: Backend) -> None:
    """Then what is given is kept, under a space that may have no vector."""
    before = make_record("r", "before", space="other:16")
    after = make_record("r", "after", version=2)
    item = replace(indexed(after), replaces=before)
    await backend.upsert([item], scope=SCOPE)
    assert list(await backend.versions("r", reach=_POINT)) == [before]


async def test_out_of_reach_is_the_past_too(backend: Backend) -> None:
    """Of another agent, session or user, or of a record that has expired, nothing comes back."""
    first = make_record("r", expires_at=NOW + timedelta(minutes=1))
    await put(backend, indexed(first))
    await _update(backend, first, "second")
    later = NOW + timedelta(minutes=1)
    beyond = [
        Reach.point(replace(SCOPE, agent="other"), now=NOW),
        Reach.point(replace(SCOPE, agent=None), now=NOW),
        Reach.point(replace(SCOPE, tenant=None), now=NOW),
        Reach.point(Scope("bob", tenant="acme", agent="support"), now=NOW),
        Reach.point(replace(SCOPE, session="tuesday"), now=NOW, only_session=True),
        Reach.point(SCOPE, now=later),
    ]
    for reach in beyond:
        assert list(await backend.versions("r", reach=reach)) == [], reach
    anybody = Reach.point(replace(SCOPE, agent=None), now=NOW, include_agents=True)
    assert list(await backend.versions("r", reach=anybody)) == [first]
    monday = Reach.point(SCOPE, now=NOW, only_session=True)
    assert list(await backend.versions("r", reach=monday)) == [first]


async def test_a_version_of_another_session_is_out_of_reach(backend: Backend) -> None:
    """Even where the record has come into reach since."""
    first = make_record("r", scope=replace(SCOPE, session="tuesday"))
    await put(backend, indexed(first))
    moved = replace(first, scope=SCOPE, version=2)
    await backend.upsert([replace(indexed(moved), replaces=first)], scope=SCOPE)
    monday = Reach.point(SCOPE, now=NOW, only_session=True)
    assert list(await backend.versions("r", reach=monday)) == []
    assert list(await backend.versions("r", reach=_POINT)) == [first]


async def test_a_version_outlives_its_own_end(backend: Backend) -> None:
    """A record that was to end and is kept for longer has all its past."""
    first = make_record("r", expires_at=NOW + timedelta(minutes=1))
    await put(backend, indexed(first))
    lasting = replace(first, expires_at=None, version=2)
    await backend.upsert([replace(indexed(lasting), replaces=first)], scope=SCOPE)
    late = Reach.point(SCOPE, now=NOW + timedelta(days=1))
    assert list(await backend.versions("r", reach=late)) == [first]
    assert await backend.sweep(scope=SCOPE, now=NOW + timedelta(days=1)) == 0


async def test_of_several_agents_the_newest_comes_first(backend: Backend) -> None:
    """One id may have a past with each of them."""
    there: list[MemoryRecord] = []
    for agent in ("b", "a"):
        first = make_record("r", agent, scope=replace(SCOPE, agent=agent))
        await put(backend, indexed(first))
        there += [first, await _update(backend, first, f"{agent} 2")]
        await _update(backend, there[-1], f"{agent} 3")
    both = Reach.point(replace(SCOPE, agent=None), now=NOW, include_agents=True)
    kept = await backend.versions("r", reach=both)
    assert list(kept) == [there[3], there[1], there[2], there[0]]


@pytest.mark.parametrize(
    "other",
    [
        make_record("other"),
        make_record("r", scope=replace(SCOPE, user="bob")),
        make_record("r", scope=replace(SCOPE, agent="other")),
        make_record("r", scope=replace(SCOPE, tenant="other")),
    ],
)
async def test_nobody_elses_past(backend: Backend, other: MemoryRecord) -> None:
    """A record can take the place of itself alone."""
    item = IndexedRecord(record=make_record("r", version=2), parts=(), replaces=other)
    with pytest.raises(IsolationError):
        await backend.upsert([item], scope=SCOPE)
    assert list(await backend.versions("r", reach=_WHOLE)) == []


async def test_the_past_is_scrubbed(store: SqliteBackend, path: Path) -> None:
    """What was replaced leaves no byte in the file or its log, however the record went."""
    first = make_record("r", "canary of old " * 400)
    await put(store, indexed(first))
    await _update(store, first, "new")
    assert list(await store.versions("r", reach=_POINT)) == [first]
    await store.delete(["r"], reach=_WHOLE)
    assert await store.scrub(scope=SCOPE) == "none"
    for each in path.parent.iterdir():
        assert b"canary of old" not in each.read_bytes()
