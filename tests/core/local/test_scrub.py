"""Forgotten is gone: from the file, from its log, and from what names people."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memlane.local import SqliteBackend
from memlane.local.sqlite import scrubbing
from memlane.protocols import EmbeddingSpace
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    directions,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
)

_ADA = Scope("canary-user", tenant="canary-tenant", agent="canary-agent", session="canary-session")
_BOB = Scope("bob", tenant="other")


def _left(path: Path) -> set[str]:
    """Return all canaries in the file and beside it."""
    found: set[str] = set()
    for each in path.parent.iterdir():
        found |= {word.decode() for word in re.findall(rb"canary[-\w]*", each.read_bytes())}
    return found


async def test_nothing_is_left_of_a_forgotten_user(store: SqliteBackend, path: Path) -> None:
    """Text, metadata, tags, ids and the names of tenant, user, agent and session all go."""
    await store.ensure_index(scope=_ADA, space=EmbeddingSpace(model="canary", dimensions=16))
    for number in range(50):
        await store.upsert(
            [
                indexed(
                    make_record(
                        f"canary-id-{number}",
                        f"canary-text-{number} " * 100,
                        scope=_ADA,
                        actor="canary-actor",
                        namespace="/canary-namespace/",
                        kind="canary",
                        metadata={"canary-key": "canary-value"},
                        tags=("canary-tag",),
                        space="canary:16",
                    ),
                    *directions(2, seed=number),
                )
            ],
            scope=_ADA,
        )
    await put(store, indexed(make_record("kept", scope=_BOB)))
    assert len(_left(path)) > 20
    everything = Reach.whole(Scope("canary-user", tenant="canary-tenant"), now=None)
    ids = [each.id for each in await read_all(store, everything)]
    assert await store.delete(ids, reach=everything) == 50
    assert await store.scrub(scope=_ADA) == "none"
    assert _left(path) == set()
    assert (path.parent / "memory.db-wal").stat().st_size == 0


async def test_nothing_is_kept_in_memory_either(store: SqliteBackend) -> None:
    """Vectors, ids and names of actors that were kept for the next query."""
    for scope in (_ADA, _BOB):
        await put(store, indexed(make_record("x", scope=scope, actor="y"), *directions(1)))
        query = query_for(directions(1)[0])
        assert len(await store.query(query, reach=Reach.whole(scope, now=None))) == 1
    assert store._cache._kept
    await store.delete(["x"], reach=Reach.whole(_ADA, now=None))
    await store.scrub(scope=_ADA)
    assert not store._cache._kept
    assert len(await read_all(store, Reach.whole(_BOB, now=None))) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_left_of_deleted_records(
    store: SqliteBackend, path: Path, seed: int
) -> None:
    """Rows that SQLite moved about before they were deleted leave no copy behind either."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    pick = random.Random(seed)
    living: dict[str, Scope] = {}
    for step in range(150):
        scope = Scope(f"user-{pick.randint(0, 4)}")
        mine = [each for each, whose in living.items() if whose == scope]
        if pick.random() < 0.6:
            new = [f"canary-{step}-{number}x" for number in range(pick.randint(1, 25))]
            await put(
                store,
                *[
                    indexed(
                        make_record(each, f"{each} " * pick.choice([1, 20, 300]), scope=scope),
                        *directions(pick.randint(1, 3), seed=step),
                    )
                    for each in new
                ],
            )
            living |= dict.fromkeys(new, scope)
        elif mine:
            gone = pick.sample(mine, pick.randint(1, len(mine)))
            await store.delete(gone, reach=Reach.whole(scope, now=None))
            for each in gone:
                del living[each]
    assert await store.scrub(scope=_ADA) == "none"
    # Closed by an "x", or the bytes that follow in the file would count as part of the word.
    assert set(re.findall(r"canary-\d+-\d+x", " ".join(_left(path)))) == set(living)


async def test_a_reader_of_the_past_keeps_the_log(path: Path) -> None:
    """While somebody else still reads the old state the answer is `wal`, and later `none`."""
    store = SqliteBackend(path, busy_timeout=0.05)
    await put(store, indexed(make_record("canary-id", scope=_BOB)))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin")
        other.execute("select count(*) from record").fetchone()
        await store.delete(["canary-id"], reach=Reach.whole(_BOB, now=None))
        assert await store.scrub(scope=_BOB) == "wal"
        other.execute("rollback")
    assert await store.scrub(scope=_BOB) == "none"
    assert _left(path) == set()
    await store.aclose()


async def test_a_writer_elsewhere_leaves_it_open(path: Path) -> None:
    """While another process holds the write lock nobody can promise anything."""
    store = SqliteBackend(path, busy_timeout=0.05)
    await put(store, indexed(make_record("a", scope=_BOB)))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert await store.scrub(scope=_BOB) in {"unknown", "wal"}
        other.execute("rollback")
    assert await store.scrub(scope=_BOB) == "none"
    await store.aclose()


async def test_a_file_too_large_to_write_anew(
    store: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit the log is emptied, and the answer admits what was not done."""
    monkeypatch.setattr(scrubbing, "_MAX_BYTES", 8192)
    await put(store, indexed(make_record("a", scope=_BOB)))
    assert await store.scrub(scope=_BOB) == "unknown"
    assert (store.path.parent / "memory.db-wal").stat().st_size == 0
