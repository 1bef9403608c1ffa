"""Each way a store file can be wrong is named, and a file that is right is not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from faults.texts import key_of, new, open_client, scope_of, text_of
from memlane import Scope
from memlane.local.sqlite.integrity import problems
from memlane.testing.fakes import FakeClock

_PRIVATE = "the doctor said it is benign"
_LONG = ". ".join(f"sentence {number} is about a window seat" for number in range(40))


async def _make(path: Path) -> None:
    async with open_client(path, clock=FakeClock()) as client:
        ada = Scope("ada", tenant="acme", session="monday")
        await client.store(_PRIVATE, scope=ada, record_id="secret", actor="ada", tags=["health"])
        await client.store(_LONG, scope=ada, record_id="long", ttl=timedelta(days=1))
        await client.store("x", scope=Scope("ada", tenant="acme", agent="support"), record_id="x")
        await client.update("x", scope=Scope("ada", tenant="acme", agent="support"), text="y")
        await client.store("other", scope=Scope("bob"), record_id="bobs", metadata={"a": 1})


@pytest.fixture
def store(path: Path) -> Path:
    anyio.run(_make, path)
    return path


def _problems(path: Path, *statements: str) -> list[str]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0
        before = connection.total_changes
        found = problems(connection)
        assert connection.total_changes == before
        assert not connection.in_transaction
    assert not [line for line in found if "doctor" in line or "window" in line]
    return found


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "delete from hot where lane = 1 and seq = 1",
            "'secret': has no parts, so no query finds it",
        ),
        (
            "delete from hot where lane = 1 and seq = 2 and part = 1",
            "has part 2 where part 1 was expected",
        ),
        (
            "delete from hot where lane = 1 and seq = 2 and part = 0",
            "has part 1 where part 0 was expected",
        ),
        ("delete from record where id = 'secret'", "lane 1 place 1: 1 parts and no record"),
        (
            "update hot set vec = x'0000' where lane = 1 and seq = 1",
            "a vector of 2 bytes for 64 dimensions",
        ),
        (
            "update hot set vec = x'' where lane = 1 and seq = 1",
            "a vector of 0 bytes for 64 dimensions",
        ),
        (
            "update hot set vec = cast(substr(vec, 3) || x'00FC' as blob)",
            "'secret': part 0 has a vector that is not finite",
        ),
        ("update hot set lex = x'00' where lane = 1 and seq = 1", "part 0 has 1 bytes of terms"),
        ("update hot set lex = 'text' where lane = 1 and seq = 1", "part 0 has 4 bytes of terms"),
        (
            "update hot set space = 9 where lane = 1 and seq = 1",
            "part 0 is in space 9, the record in 1",
        ),
        ("update hot set id = 'else' where lane = 1 and seq = 1", "1 of its parts have another id"),
        ("update record set session = 's' where id = 'secret'", "parts have another session"),
        ("update record set session = null where id = 'secret'", "parts have another session"),
        ("update record set actor = null where id = 'secret'", "parts have another actor"),
        ("update record set namespace = '/n/' where id = 'secret'", "parts have another namespace"),
        ("update record set occurred = 0 where id = 'secret'", "parts have another time"),
        ("update record set expires = null where id = 'long'", "parts have another expiry"),
        ("update record set expires = 7 where id = 'secret'", "parts have another expiry"),
        ("update record set text = '' where id = 'long'", "parts have another span"),
        ("update record set namespace = 'n' where id = 'secret'", "a namespace that is no path"),
        ("update record set version = 0 where id = 'secret'", "is at no version from 1"),
        ("update record set version = 'doctor' where id = 'secret'", "is at no version from 1"),
        ("update record set stored = 9e18 where id = 'secret'", "decoded: OverflowError"),
        ("update record set updated = 'doctor' where id = 'secret'", "decoded: TypeError"),
        ("update record set metadata = '{doctor' where id = 'secret'", "decoded: BackendError"),
        ("update record set metadata = '[]' where id = 'secret'", "decoded: BackendError"),
        ("update record set tags = '{}' where id = 'secret'", "decoded: BackendError"),
        ("update record set tags = '[1]' where id = 'secret'", "holds a value of another type"),
        ("update record set text = x'FFFE' where id = 'secret'", "holds a value of another type"),
        (
            "update record set text = cast(x'646F63746F72FF' as text) where id = 'secret'",
            "'secret': cannot be read: ",
        ),
        ("update record set session = ' ' where id = 'secret'", "decoded: ScopeError"),
        ("update record set space = 9 where id = 'secret'", "its space 9 does not exist"),
        ("update record set space = 2 where id = 'secret'", "its space 2 is another tenant's"),
        ("delete from space", "its space 1 does not exist"),
        ("update version set seq = 77", "place 77: 1 versions and no record"),
        ("update version set space = 9", "a version of space 9, which does not exist"),
        ("insert into shadowed values (1, 77)", "place 77: a shadow and no record"),
        ("insert into shadowed values (1, 1)", "lane 1 has 1 shadows of no space"),
        (
            (
                "insert into shadow select lane, 78, part, id, labels, numbers, vec, lex from hot"
                " where lane = 1 and seq = 1"
            ),
            "place 78: 1 parts of no shadow",
        ),
        ("update lane set swept = 9e17", "and has a record that expired before"),
        ("update record set images = '{}'", "decoded: BackendError"),
        ("update record set images = '[1]'", "decoded: BackendError"),
        ("update record set valid_to = 'doctor'", "decoded: TypeError"),
        ("update space set dimensions = 63", "a vector of 128 bytes for 63 dimensions"),
        ("update space set dimensions = -1", "space 1 has -1 dimensions"),
        ("delete from lane where id = 1", "lane 1 does not exist and has 2 records"),
        ("delete from owner where id = 1", "lane 1 is of owner 1, who does not exist"),
        ("insert into owner (tenant, user) values ('t', 'u')", "owner 3 has no lane"),
        ("update lane set changes = 0", "lane 1 has changed 0 times"),
        ("update lane set last_seq = 0", "owner 1 is at place 0 and has a record at place 3"),
        ("update owner set user = ' ' where id = 1", "lane 1 is of nobody a scope could name"),
        ("pragma application_id = 7", "not a memlane store"),
        ("pragma user_version = 1", "schema version 1 where "),
    ],
)
def test_problems(store: Path, statement: str, problem: str) -> None:
    """What is wrong is told, with ids and numbers and without what is stored."""
    assert [line for line in _problems(store, statement) if problem in line]


def test_a_lane_without_records(store: Path) -> None:
    """A lane that is empty tells who once had memories."""
    gone = (
        "delete from hot where lane = 2",
        "delete from version where lane = 2",
        "delete from record where lane = 2",
    )
    assert _problems(store, *gone) == ["lane 2 has no record"]


def test_two_records_at_a_place(store: Path) -> None:
    """Lanes of one owner share no place, or their listing would have no order."""
    moved = ("update hot set seq = 1 where lane = 2", "update record set seq = 1 where lane = 2")
    assert "owner 1 has several records at place 1" in _problems(store, *moved)


def test_parts_that_a_query_sees_elsewhere(store: Path) -> None:
    """A row's packed place must be that of its key, by which its record is found."""
    moved = ("update hot set seq = 0 where lane = 3", "update record set seq = 0 where lane = 3")
    assert _problems(store, *moved) == [
        "lane 3 place 0 record 'bobs': queries find 0 of its parts, or as others"
    ]


def test_a_page_that_is_damaged(store: Path) -> None:
    """SQLite's own complaints come first, and what cannot be read does not raise."""
    raw = bytearray(store.read_bytes())
    raw[2 * 8192 :] = b"\xff" * (len(raw) - 2 * 8192)
    store.write_bytes(raw)
    found = _problems(store)
    assert found
    assert all(line.startswith(("sqlite: ", "reading ends with SQLITE_")) for line in found)


def test_an_index_that_misses_a_row(store: Path) -> None:
    """An index that disagrees with its table is SQLite's to notice."""
    found = _problems(
        store,
        "pragma writable_schema = on",
        "update sqlite_schema set sql = replace(sql, '(lane, id)', '(lane, kind)')"
        " where name = 'record_id'",
        "pragma writable_schema = reset",
    )
    assert any(line.startswith("sqlite: ") for line in found)


def test_no_database(path: Path) -> None:
    """A file of anything else is said to be none."""
    path.write_text("no database\n" * 1000, encoding="utf-8")
    assert _problems(path) == ["reading ends with SQLITE_NOTADB"]


def test_no_store_yet(path: Path) -> None:
    """An empty file has no problems: it becomes a store."""
    path.touch()
    assert _problems(path) == []


def test_no_store_of_ours(path: Path) -> None:
    """Another program's file is not looked into."""
    assert _problems(path, "create table t (x)") == ["not a memlane store"]


def test_at_most_so_many_lines(store: Path) -> None:
    """A badly damaged file does not fill the memory with complaints."""
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("delete from hot")
        assert len(problems(connection)) == 4
        assert len(problems(connection, most=2)) == 2


async def _use_much(path: Path) -> None:
    async with open_client(path) as client:
        for user in ("ada", "bob"):
            keys = [key_of(f"{user}-0", number) for number in range(40)]
            stored = await client.store_many([new(key) for key in keys], scope=scope_of(user))
            await client.update(stored[0].id, scope=scope_of(user), text=text_of(keys[0], 1))
            await client.update(stored[1].id, scope=scope_of(user), namespace="/a/", tags=["b"])
            await client.delete([each.id for each in stored[2:9]], scope=scope_of(user))
            await client.store("ümläut 😀 \0 zero", scope=Scope(user, agent="a", session="s"))
        await client.forget(scope_of("ada"))


def test_a_store_in_use(path: Path) -> None:
    """A file that clients have written to in every way has no problems, open or closed."""
    anyio.run(_use_much, path)
    assert _problems(path) == []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert _problems(path) == []
