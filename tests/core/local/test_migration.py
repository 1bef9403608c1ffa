"""A file made by an older schema version becomes a current one, whatever comes between."""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from core.local.programs import running
from memlane.errors import StoreFileError
from memlane.lexical import terms
from memlane.local import SqliteBackend
from memlane.local.sqlite import integrity, schema
from memlane.local.sqlite.schema import MIGRATIONS
from memlane.protocols import IndexedRecord, RecordPart, Vector
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    directions,
    indexed,
    make_record,
    put,
    query_for,
    unit,
)
from memlane.types import MemoryRecord

FIRST = Path(__file__).with_name("first_schema.store")
"""Written by the program of the first schema version from what `content` returns, then closed."""

SECOND = Path(__file__).with_name("second_schema.store")
"""The same by the program of the second version."""

_ADA = Scope("ada", tenant="acme", session="monday")
_AGENT = Scope("ada", tenant="acme", agent="travel", session="tuesday")
_BOB = Scope("bob", tenant="acme")
_NOBODY = Scope("ada")
_SCOPES = (_ADA, _AGENT, _BOB, _NOBODY)
_DELETED = "deleted"  # from the middle, so that places have a gap


def content(scope: Scope) -> list[IndexedRecord]:
    """Return what the file holds of a scope, with each column in all its forms."""
    rows = directions(5, seed=len(scope.user))
    plain, rich = (
        make_record("plain", scope=scope),
        make_record(
            "rich",
            "Straße, 東京, 🚆",
            scope=scope,
            namespace="/trips/2026/",
            kind="preference",
            metadata={"seat": "window", "nested": {"list": [1, 2.5, None, True]}},
            tags=("travel", "été"),
            actor="Ada",
            occurred_at=NOW - timedelta(days=300, microseconds=1),
            expires_at=NOW + timedelta(days=30),
            version=3,
        ),
    )
    long = make_record("long", "Some sentence of many. " * 40, scope=scope, actor="Iris")
    last = make_record("last", scope=scope, actor='quote " and \\', namespace="/ü/")
    return [
        _indexed(plain, rows[:1]),
        _indexed(rich, rows[1:2]),
        _indexed(long, rows[2:] * 17),
        _indexed(last, rows[:1]),
    ]


def _indexed(record: MemoryRecord, vectors: Vector) -> IndexedRecord:
    text = record.text
    spans = [(0, len(text)), *((40 * n, 40 * n + 80) for n in range(1, len(vectors)))]
    return IndexedRecord(
        record=record,
        parts=tuple(
            RecordPart(start=start, end=end, vector=vector, terms=terms(text[start:end]))
            for (start, end), vector in zip(spans, vectors, strict=True)
        ),
    )


async def _everything(path: Path) -> dict[Scope, list[IndexedRecord]]:
    store = SqliteBackend(path)
    try:
        found: dict[Scope, list[IndexedRecord]] = {}
        for scope in _SCOPES:
            reach = Reach.point(scope, now=NOW)
            page = await store.scan(reach=reach)
            ids = [record.id for record in page.records]
            found[scope] = list(await store.fetch(ids, reach=reach, vectors=True))
        return found
    finally:
        await store.aclose()


def _same(found: IndexedRecord, expected: IndexedRecord) -> None:
    assert found.record == expected.record
    assert len(found.parts) == len(expected.parts)
    for part, other in zip(found.parts, expected.parts, strict=True):
        assert (part.start, part.end) == (other.start, other.end)
        assert part.terms.tolist() == other.terms.tolist()
        assert np.allclose(part.vector, other.vector, rtol=2e-3, atol=2e-3)


def _check(path: Path) -> None:
    found = anyio.run(_everything, path)
    for scope in _SCOPES:
        expected = content(scope)
        assert [one.record.id for one in found[scope]] == [one.record.id for one in expected]
        for one, other in zip(found[scope], expected, strict=True):
            _same(one, other)
    with closing(sqlite3.connect(path)) as connection:
        assert integrity.problems(connection) == []
        assert schema.version_of(connection) == len(MIGRATIONS)


@pytest.fixture
def first(path: Path) -> Path:
    """Return a copy of the old file."""
    shutil.copy(FIRST, path)
    with closing(sqlite3.connect(path)) as connection:
        assert schema.version_of(connection) == 1
    return path


@pytest.fixture(params=[1, 2])
def old(request: pytest.FixtureRequest, path: Path) -> Path:
    """Return a copy of a file of one of the older versions."""
    shutil.copy({1: FIRST, 2: SECOND}[request.param], path)
    with closing(sqlite3.connect(path)) as connection:
        assert schema.version_of(connection) == request.param
    return path


def test_every_value_survives(old: Path) -> None:
    """Records, vectors, terms, windows and their order are what they were."""
    _check(old)
    _check(old)


async def test_the_store_goes_on(old: Path) -> None:
    """Queries answer with conditions, and new records come after the old ones of every agent."""
    store = SqliteBackend(old)
    everyone = Reach.whole(Scope("ada", tenant="acme"), now=NOW)
    query = query_for(unit(0), namespace="/trips/", actor="Ada")
    assert list((await store.query(query, reach=everyone)).record_ids) == ["rich", "rich"]
    page = await store.scan(reach=everyone, limit=5)
    await put(store, indexed(make_record("new", scope=_ADA)))
    await put(store, indexed(make_record("newer", scope=_AGENT)))
    rest = await store.scan(reach=everyone, cursor=page.cursor)
    assert [record.id for record in rest.records][-2:] == ["new", "newer"]
    assert len(page.records) + len(rest.records) == 10
    await store.aclose()


async def test_old_records_have_a_life(old: Path) -> None:
    """What only newer stores do, they do with records that were there before."""
    store = SqliteBackend(old)
    point = Reach.point(_ADA, now=NOW)
    (before,) = await store.fetch(["plain"], reach=point, vectors=True)
    after = replace(before.record, text="plainer", version=2, valid_to=NOW)
    changed = IndexedRecord(record=after, parts=before.parts, replaces=before.record)
    await store.upsert([changed], scope=_ADA, expected_version=1)
    assert await store.versions("plain", reach=point) == [before.record]
    assert [one.record for one in await store.fetch(["plain"], reach=point)] == [after]
    # One expires in each of three scopes of the tenant.
    assert await store.sweep(scope=_ADA, now=NOW + timedelta(days=30)) == 3
    assert (await store.users(scope=_ADA)).names == ("ada", "bob")
    await store.aclose()


class _BreakingOff(sqlite3.Connection):
    """Fails before one of its statements, and with all that come after it."""

    left = 0

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self._count()
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self._count()
        return super().executemany(*args)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise sqlite3.OperationalError("power cut")


def test_interrupted_at_any_statement(first: Path) -> None:
    """A step that breaks off leaves the old file; the next program takes it again."""
    for statements in itertools.count(1):
        with closing(
            sqlite3.connect(first, isolation_level=None, factory=_BreakingOff)
        ) as connection:
            connection.left = statements
            try:
                schema.migrate(connection, MIGRATIONS)
            except sqlite3.OperationalError:
                pass
            else:
                break
        with closing(sqlite3.connect(first)) as connection:
            assert schema.version_of(connection) in {1, 2, len(MIGRATIONS)}
            if schema.version_of(connection) == 1:
                assert connection.execute("select count(actor) from hot").fetchone()[0] > 0
    assert statements > 12
    _check(first)


def _grown(path: Path, copies: int) -> int:
    """Make the old file large enough for a kill to fall into the step; return its records."""
    with closing(sqlite3.connect(path)) as connection:
        for table, id_at in (("hot", 4), ("record", 2)):
            rows = connection.execute(f"select * from {table}").fetchall()  # noqa: S608
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(
                f"insert into {table} values ({marks})",  # noqa: S608
                [
                    (
                        row[0],
                        row[1] + 1000 * n,
                        *row[2:id_at],
                        f"{row[id_at]}-{n}",
                        *row[id_at + 1 :],
                    )
                    for n in range(1, copies + 1)
                    for row in rows
                ],
            )
        connection.execute("update owner set last_seq = ?", ((copies + 1) * 1000,))
        connection.commit()
        found: tuple[int] = connection.execute("select count(*) from record").fetchone()
        return found[0]


_OPEN = """
async def work():
    backend = SqliteBackend(path)
    say("opening")
    await backend.fetch(["plain"], reach=Reach.point(Scope("ada"), now=NOW))
    say("open")
    await backend.aclose()
anyio.run(work)
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_and_repeated(first: Path, seed: int) -> None:
    """Programs killed while they migrate leave a file that the last one finds whole."""
    records = _grown(first, 400)
    draw = random.Random(seed)
    for _ in range(3):
        with running(_OPEN, str(first)) as program:
            assert program.hear() == "opening"
            anyio.run(anyio.sleep, draw.uniform(0, 0.06))
            program.kill()
    with running(_OPEN, str(first)) as program:
        assert program.hear() == "opening"
        assert program.hear() == "open"
        program.finish()
    with closing(sqlite3.connect(first)) as connection:
        assert schema.version_of(connection) == len(MIGRATIONS)
        assert integrity.problems(connection) == []
        assert connection.execute("select count(*) from record").fetchone() == (records,)


def test_two_programs_at_once(first: Path) -> None:
    """Of two that open the old file, one takes the step and the other waits for it."""
    _grown(first, 200)
    with running(_OPEN, str(first)) as one, running(_OPEN, str(first)) as other:
        for program in (one, other):
            assert [program.hear(), program.hear()] == ["opening", "open"]
            program.finish()


async def test_an_older_program_leaves_no_versions_behind(tmp_path: Path) -> None:
    """It knows nothing of histories; with the last record of a lane they go all the same."""
    path = tmp_path / "memory.db"
    backend = SqliteBackend(path)
    before = make_record("r", "first")
    await put(backend, indexed(before))
    after = replace(indexed(make_record("r", "second", version=2)), replaces=before)
    await put(backend, after, expected_version=1)
    await backend.aclose()
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        assert older.execute("select count(*) from version").fetchone() == (1,)
        for statement in ("delete from hot", "delete from record", "delete from lane"):
            older.execute(statement)
        assert older.execute("select count(*) from version").fetchone() == (0,)


async def test_a_program_that_has_become_the_older_one_writes_no_more(tmp_path: Path) -> None:
    """It says so, reads on, and what it wrote before is there."""
    path = tmp_path / "memory.db"
    backend = SqliteBackend(path)
    await put(backend, indexed(make_record("a")))
    with closing(sqlite3.connect(path, isolation_level=None)) as newer:
        newer.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreFileError, match="newer memlane"):
        await put(backend, indexed(make_record("b")))
    reach = Reach.point(make_record("a").scope, now=NOW)
    assert [one.record.id for one in await backend.fetch(["a", "b"], reach=reach)] == ["a"]
    await backend.aclose()
