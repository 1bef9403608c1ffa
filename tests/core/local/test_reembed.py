"""A tenant goes from one embedding space to another, and nobody loses a word over it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import numpy as np
import pytest

from core.local.twin_calls import Backend
from memlane.errors import (
    ConflictError,
    EmbeddingSpaceError,
    InvalidCursorError,
    IsolationError,
    MemlaneError,
)
from memlane.local import SqliteBackend
from memlane.powers import SupportsReembed
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    indexed,
    make_record,
    put,
    query_for,
    unit,
)
from memlane.types import MemoryRecord

_ACME = Scope("-", tenant="acme")
_ADA = Scope("ada", tenant="acme")
_AGENT = Scope("ada", tenant="acme", agent="a")
_BOB = Scope("bob", tenant="acme")
_OTHER = Scope("ada", tenant="other")
_NEW = EmbeddingSpace(model="new", dimensions=3)
_THIRD = EmbeddingSpace(model="third", dimensions=5)


async def _fill(backend: Backend) -> None:
    for scope in (_ADA, _AGENT, _BOB, _OTHER):
        await put(backend, *(indexed(make_record(f"r{n}", scope=scope)) for n in range(4)))


def _made(record: MemoryRecord, *, parts: int = 2, dimensions: int = 3) -> IndexedRecord:
    return indexed(record, *directions(parts, seed=len(record.text), dimensions=dimensions))


async def _pending(backend: Backend, *, limit: int = 100) -> list[tuple[str, str | None, str]]:
    found: list[tuple[str, str | None, str]] = []
    cursor: str | None = None
    while True:
        page = await backend.pending(scope=_ACME, space=_NEW, cursor=cursor, limit=limit)
        assert len(page.records) <= limit
        found += [(each.scope.user, each.scope.agent, each.id) for each in page.records]
        if (cursor := page.cursor) is None:
            return found


async def _embed(backend: Backend, *, most: int = 100) -> int:
    """Shadow what is pending, a page of it; return how many records."""
    page = await backend.pending(scope=_ACME, space=_NEW, limit=most)
    await backend.shadow([_made(each) for each in page.records], scope=_ACME, space=_NEW)
    return len(page.records)


async def _answers(backend: Backend, scope: Scope, space: EmbeddingSpace) -> list[str]:
    query = replace(query_for(unit(0, dimensions=space.dimensions)), space=space.id)
    found = await backend.query(query, reach=Reach.point(scope, now=NOW))
    return [str(each) for each in found.record_ids]


@pytest.mark.parametrize("limit", [1, 3, 5, 100])
async def test_from_one_space_to_another(backend: Backend, limit: int) -> None:
    """The old vectors answer until all are there; then the new ones do, and all else stays."""
    assert isinstance(backend, SupportsReembed)
    await _fill(backend)
    before = make_record("r0", scope=_ADA)
    after = replace(before, version=2, text="changed")
    await backend.upsert([replace(indexed(after), replaces=before)], scope=_ADA)
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    everything = [
        (*who, f"r{n}") for who in (("ada", None), ("ada", "a"), ("bob", None)) for n in range(4)
    ]
    assert await _pending(backend, limit=limit) == everything
    while await _embed(backend, most=limit):
        assert await _answers(backend, _ADA, SPACE) == ["r0", "r1", "r2", "r3"]
    assert await _pending(backend) == []
    assert await backend.cut_over(scope=_ACME, space=_NEW) is True
    assert await _answers(backend, _ADA, _NEW) == [f"r{n}" for n in range(4) for _ in range(2)]
    for scope in (_ADA, _AGENT, _BOB):
        reach = Reach.point(scope, now=NOW)
        for one in await backend.fetch([f"r{n}" for n in range(4)], reach=reach, vectors=True):
            assert one.record.space == _NEW.id
            expected = _made(one.record).parts
            for part, other in zip(one.parts, expected, strict=True):
                np.testing.assert_allclose(part.vector, other.vector, atol=2e-3)
                assert part.terms.tolist() == other.terms.tolist()
    ada = Reach.point(_ADA, now=NOW)
    (record,) = [one.record for one in await backend.fetch(["r0"], reach=ada)]
    assert record == replace(after, space=_NEW.id)
    assert await backend.versions("r0", reach=ada) == [replace(before, space=_NEW.id)]
    stats = await backend.stats(scope=_ACME, now=NOW)
    assert (stats.spaces, stats.vectors, stats.versions) == ({_NEW.id: 12}, 24, 1)
    assert await _answers(backend, _OTHER, SPACE) == ["r0", "r1", "r2", "r3"]


async def test_what_changes_meanwhile_is_pending_again(backend: Backend) -> None:
    """Stored, updated or taken by another: no vector of an old text gets into the new space."""
    await _fill(backend)
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    read = (await backend.pending(scope=_ACME, space=_NEW)).records
    assert await _embed(backend) == 12
    r0, r1 = make_record("r0", scope=_ADA), make_record("r1", scope=_BOB)
    await backend.upsert([indexed(replace(r0, text="changed", version=2))], scope=_ADA)
    # At the same version and moment, even: another record that took the id.
    await backend.upsert([indexed(replace(r1, text="taken"))], scope=_BOB)
    await put(backend, indexed(make_record("new", scope=_AGENT)))
    await backend.delete(["r3"], reach=Reach.point(_BOB, now=NOW))
    expected = [("ada", None, "r0"), ("ada", "a", "new"), ("bob", None, "r1")]
    assert await _pending(backend) == expected
    assert await backend.cut_over(scope=_ACME, space=_NEW) is False
    assert await _answers(backend, _BOB, SPACE) == ["r0", "r1", "r2"]
    # What was read before the changes comes too late.
    await backend.shadow([_made(each) for each in read], scope=_ACME, space=_NEW)
    assert await _pending(backend) == expected
    assert await _embed(backend) == 3
    assert await backend.cut_over(scope=_ACME, space=_NEW) is True
    assert (await backend.stats(scope=_ACME, now=NOW)).vectors == 24


async def test_two_at_once_and_again(backend: Backend) -> None:
    """Who comes second finds the work of the first, and what is done already is nothing."""
    await _fill(backend)
    for _ in range(2):
        await backend.begin_reembed(scope=_ACME, space=_NEW)
    late = (await backend.pending(scope=_ACME, space=_NEW)).records
    await _embed(backend, most=5)
    assert len(await _pending(backend)) == 7
    await _embed(backend)
    assert await backend.cut_over(scope=_ACME, space=_NEW) is True
    assert await backend.cut_over(scope=_ACME, space=_NEW) is True
    assert await _pending(backend) == []
    await backend.shadow([_made(each, parts=1) for each in late], scope=_ACME, space=_NEW)
    assert (await backend.stats(scope=_ACME, now=NOW)).vectors == 24
    with pytest.raises(EmbeddingSpaceError, match="already"):
        await backend.begin_reembed(scope=_ACME, space=_NEW)


async def test_a_third_space_has_to_wait(backend: Backend) -> None:
    """One shadow at a time; an abandoned one leaves nothing."""
    await _fill(backend)
    assert await backend.abandon_reembed(scope=_ACME) is False
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    await _embed(backend)
    with pytest.raises(ConflictError, match="new:3"):
        await backend.begin_reembed(scope=_ACME, space=_THIRD)
    for call in (
        backend.pending(scope=_ACME, space=_THIRD),
        backend.shadow([], scope=_ACME, space=_THIRD),
        backend.cut_over(scope=_ACME, space=_THIRD),
    ):
        with pytest.raises(ConflictError, match="new:3"):
            await call
    assert await backend.abandon_reembed(scope=_ACME) is True
    with pytest.raises(ConflictError, match="no shadow"):
        await _pending(backend)
    with pytest.raises(ConflictError, match="no shadow"):
        await backend.cut_over(scope=_ACME, space=_NEW)
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    assert len(await _pending(backend)) == 12
    assert await _answers(backend, _ADA, SPACE) == ["r0", "r1", "r2", "r3"]


async def test_clients_of_the_old_space_are_refused(backend: Backend) -> None:
    """They have looked before and would not look again; and going back lets them in again."""
    await _fill(backend)
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    await _embed(backend)
    await backend.cut_over(scope=_ACME, space=_NEW)
    late = indexed(make_record("late", scope=_ADA))
    with pytest.raises(EmbeddingSpaceError, match="was taken"):
        await backend.upsert([late], scope=_ADA)
    with pytest.raises(EmbeddingSpaceError, match="was taken"):
        await _answers(backend, _ADA, SPACE)
    with pytest.raises(EmbeddingSpaceError):
        await backend.ensure_index(scope=_ADA, space=SPACE)
    await backend.ensure_index(scope=_ADA, space=_NEW)
    await backend.begin_reembed(scope=_ACME, space=SPACE)
    page = await backend.pending(scope=_ACME, space=SPACE)
    back = [indexed(each) for each in page.records]
    await backend.shadow(back, scope=_ACME, space=SPACE)
    assert await backend.cut_over(scope=_ACME, space=SPACE) is True
    await backend.upsert([late], scope=_ADA)
    with pytest.raises(EmbeddingSpaceError, match="was taken"):
        await _answers(backend, _ADA, _NEW)


async def test_a_tenant_without_records(backend: Backend) -> None:
    """There is nothing to embed, and from then on it is of the new space."""
    await backend.ensure_index(scope=_ACME, space=SPACE)
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    assert await _pending(backend) == []
    assert await backend.cut_over(scope=_ACME, space=_NEW) is True
    assert await backend.onboard(scope=_ACME, space=_NEW) is False
    await backend.upsert([_made(make_record("r", scope=_ADA, space=_NEW.id))], scope=_ADA)
    assert await _answers(backend, _ADA, _NEW) == ["r", "r"]


async def test_of_several_spaces_one(backend: Backend) -> None:
    """A tenant that had come into two spaces is in one afterwards, its history too."""
    await _fill(backend)
    before = make_record("odd", scope=_ADA, space="third:5")
    odd = replace(before, version=2)
    item = replace(indexed(odd), parts=(), replaces=before)
    await backend.upsert([item], scope=_ADA)
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    assert await _embed(backend) == 13
    assert await backend.cut_over(scope=_ACME, space=_NEW) is True
    assert (await backend.stats(scope=_ACME, now=NOW)).spaces == {_NEW.id: 13}
    kept = await backend.versions("odd", reach=Reach.point(_ADA, now=NOW))
    assert kept == [replace(before, space=_NEW.id)]


async def test_what_cannot_be_shadowed(backend: Backend) -> None:
    """Another tenant's record, a vector of other dimensions, or one that is none."""
    await _fill(backend)
    await backend.begin_reembed(scope=_ACME, space=_NEW)
    mine, theirs = make_record("r0", scope=_ADA), make_record("r0", scope=_OTHER)
    wrong: list[tuple[type[MemlaneError], IndexedRecord]] = [
        (IsolationError, _made(theirs)),
        (EmbeddingSpaceError, _made(mine, dimensions=4)),
        (EmbeddingSpaceError, indexed(mine, np.full(3, np.nan, dtype=np.float32))),
    ]
    for error, item in wrong:
        with pytest.raises(error):
            await backend.shadow([_made(mine), item], scope=_ACME, space=_NEW)
    assert len(await _pending(backend)) == 12
    for cursor in ("1.1.1", "members1.", 'members1.["a", 1, 2]', 'members1.["a", "", -1]'):
        with pytest.raises(InvalidCursorError):
            await backend.pending(scope=_ACME, space=_NEW, cursor=cursor)


async def test_a_user_who_goes_takes_the_shadow_along(store: SqliteBackend, path: Path) -> None:
    """Forgotten, deleted or swept, nothing of a record stays in the new space."""
    canary = make_record("r", "canary", scope=_BOB, actor="canary-actor")
    await put(store, indexed(canary), indexed(make_record("kept", scope=_BOB)))
    ending = make_record("e", "canary", scope=_BOB, actor="canary-end", expires_at=NOW)
    await put(store, indexed(ending))
    await store.begin_reembed(scope=_ACME, space=_NEW)
    assert await _embed(store) == 3
    assert await store.sweep(scope=_ACME, now=NOW + timedelta(1)) == 1
    await store.delete(["r"], reach=Reach.whole(_BOB, now=None))
    assert await store.scrub(scope=_BOB) == "none"
    for each in path.parent.iterdir():
        assert b"canary" not in each.read_bytes()
    assert await store.cut_over(scope=_ACME, space=_NEW) is True
    assert await _answers(store, _BOB, _NEW) == ["kept", "kept"]


async def test_readers_meet_one_space_or_the_other(store: SqliteBackend) -> None:
    """Whoever asks while it is cut over gets all of the old vectors or all of the new ones."""
    await _fill(store)
    await store.begin_reembed(scope=_ACME, space=_NEW)
    await _embed(store)
    done: list[bool] = []
    seen: list[int] = []

    async def look() -> None:
        while not done:
            for space in (SPACE, _NEW):
                try:
                    seen.append(len(await _answers(store, _ADA, space)))
                except EmbeddingSpaceError:
                    seen.append(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        done.append(await store.cut_over(scope=_ACME, space=_NEW))
    assert set(seen) <= {0, 4, 8}
    assert await _answers(store, _ADA, _NEW) == [f"r{n}" for n in range(4) for _ in range(2)]
