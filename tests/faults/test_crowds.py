"""Several processes sweep, re-embed or forget one tenant at once, and some are killed at it."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from faults import crowds
from faults.children import Child, Words, child
from faults.story import check_file
from memlane.local import SqliteBackend
from memlane.scope import Reach, Scope
from memlane.testing.fakes import START as NOW

_EACH = 60
_Said = list[Words]


@contextlib.contextmanager
def _started(
    path: Path, *works: tuple[Callable[..., Any], tuple[Any, ...]]
) -> Generator[list[Child]]:
    """Start processes, and let them begin together."""
    with contextlib.ExitStack() as stack:
        living = [stack.enter_context(child(work, str(path), *args)) for work, args in works]
        for one in living:
            assert one.hear() == ("ready",)
        for one in living:
            one.say("go")
        yield living


async def _kept(path: Path, scope: Scope) -> dict[str, int]:
    """Return the versions of what a scope has, each record seen to be whole."""
    backend = SqliteBackend(path)
    reach = replace(Reach.point(scope, now=NOW), now=None)  # expired ones too
    found: dict[str, int] = {}
    cursor: str | None = None
    while True:
        page = await backend.scan(reach=reach, cursor=cursor, limit=1000)
        ids = [one.id for one in page.records]
        for item in await backend.fetch(ids, reach=reach, vectors=True):
            one = item.record
            assert one.text == f"{one.id} of {scope.user} at version {one.version}"
            space = crowds.NEW if one.space == crowds.NEW.id else crowds.OLD
            for part, other in zip(item.parts, crowds.made(one, space).parts, strict=True):
                assert np.allclose(part.vector, other.vector, rtol=2e-3, atol=4e-3)
            past = await backend.versions(one.id, reach=reach)
            assert [old.version for old in past] == [*range(one.version - 1, 0, -1)]
            found[one.id] = one.version
        if (cursor := page.cursor) is None:
            break
    await backend.aclose()
    return found


async def _stats(path: Path, scope: Scope) -> tuple[int, int, dict[str, int]]:
    backend = SqliteBackend(path)
    stats = await backend.stats(scope=scope, now=NOW)
    await backend.aclose()
    return stats.records, stats.expired, dict(stats.spaces)


def _others_are_whole(path: Path) -> None:
    check_file(path)
    kept = anyio.run(_kept, path, crowds.OTHER)
    expected = {f"kept {n}": 1 for n in range(_EACH)} | {f"gone {n}": 1 for n in range(_EACH)}
    assert kept == expected | {"kept 0": 2}


def _stored(said: _Said) -> dict[tuple[str, str], int]:
    """Return the versions of what a writer was told is stored, by user and id."""
    return {(user, name): version for _, name, user, version in _only(said, "stored")}


def _only(said: _Said, what: str) -> _Said:
    return [words for words in said if words and words[0] == what]


async def _sweep_rest(path: Path) -> int:
    backend = SqliteBackend(path)
    count = await backend.sweep(scope=crowds.ACME, now=NOW)
    await backend.aclose()
    return count


@pytest.mark.parametrize("seed", range(4))
def test_sweeping_at_once(path: Path, seed: int) -> None:
    """Each expired record is counted once; nothing else goes, whoever writes or dies meanwhile."""
    anyio.run(crowds.fill, path, _EACH)
    pick = random.Random(seed)
    killing = seed % 2 == 1
    with _started(path, *[(crowds.sweep, ())] * 3, (crowds.write, ("writer", killing))) as (
        *sweepers,
        writer,
    ):
        if killing:
            # The experiment itself: a moment nobody has chosen.
            time.sleep(pick.uniform(0, 0.05))
            sweepers[0].kill()
        counts = [count for one in sweepers[killing:] for _, count in _only(one.rest(), "swept")]
        writer.say("enough")
        stored = _stored(writer.rest())
    expired = crowds.USERS * _EACH
    if not killing:
        assert sum(counts) == expired
    anyio.run(_sweep_rest, path)
    records, left, _ = anyio.run(_stats, path, crowds.ACME)
    assert (records, left) == (expired + len(stored), 0)
    for user in range(crowds.USERS):
        scope = crowds.scope_of(user)
        kept = anyio.run(_kept, path, scope)
        expected = {f"kept {n}": 1 for n in range(_EACH)} | {"kept 0": 2}
        mine = {name: version for (whose, name), version in stored.items() if whose == scope.user}
        assert kept == expected | mine
    _others_are_whole(path)


@pytest.mark.parametrize("seed", range(4))
def test_re_embedding_at_once(path: Path, seed: int) -> None:
    """The tenant ends in the new space, with each record's vectors of its latest text."""
    anyio.run(crowds.fill, path, _EACH)
    pick = random.Random(seed)
    with _started(path, *[(crowds.take_over, ())] * 3, (crowds.write, ("writer", False))) as (
        *takers,
        writer,
    ):
        if seed % 2:
            time.sleep(pick.uniform(0, 0.3))
            takers.pop(0).kill()
        else:
            # It never rests, so that nobody may ever be done before it does.
            time.sleep(pick.uniform(0, 0.3))
        with contextlib.suppress(BrokenPipeError):  # refused in the old space, it has ended
            writer.say("enough")
        said = writer.rest()
        for one in takers:
            assert one.rest() == [("taken",)]
    stored = _stored(said)
    refused = _only(said, "refused")
    assert refused in ([], [("refused", "EmbeddingSpaceError")])
    _, expired, spaces = anyio.run(_stats, path, crowds.ACME)
    assert list(spaces) == [crowds.NEW.id]
    assert expired == crowds.USERS * _EACH
    for user in range(crowds.USERS):
        scope = crowds.scope_of(user)
        kept = anyio.run(_kept, path, scope)
        mine = {name: version for (whose, name), version in stored.items() if whose == scope.user}
        assert {name: kept.get(name) for name in mine} == mine
        assert len(kept) == 2 * _EACH + len(mine)
    _others_are_whole(path)


@pytest.mark.parametrize("seed", range(4))
def test_forgetting_at_once(path: Path, seed: int) -> None:
    """Each record is counted once, nothing is left, and the other tenant notices nothing."""
    anyio.run(crowds.fill, path, _EACH)
    killing = seed % 2 == 1
    with _started(path, *[(crowds.forget, ())] * 3) as living:
        if killing:
            time.sleep(random.Random(seed).uniform(0, 0.05))
            living[0].kill()
        said = [words for one in living[killing:] for words in one.rest()]
    assert all(words[0] == "forgot" and words[2] for words in said)
    assert len(said) == 3 - killing
    if not killing:
        assert sum(count for _, count, _ in said) == 2 * crowds.USERS * _EACH
    assert anyio.run(_stats, path, crowds.ACME) == (0, 0, {})
    _others_are_whole(path)


def test_forgetting_and_re_embedding_at_once(path: Path) -> None:
    """Whoever comes last, nothing is left of the tenant, and it may begin anew in any space."""
    anyio.run(crowds.fill, path, _EACH)
    with _started(path, (crowds.forget, ()), (crowds.take_over, ())) as (forgetter, taker):
        ((_, count, is_empty),) = forgetter.rest()
        assert (count, is_empty) == (2 * crowds.USERS * _EACH, True)
        taker.rest()
    assert anyio.run(_stats, path, crowds.ACME) == (0, 0, {})
    _others_are_whole(path)
