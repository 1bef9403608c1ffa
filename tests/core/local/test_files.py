"""A store file is made private, opened late, refused untouched when it is not ours, never lost."""

# ruff: noqa: ASYNC240 - small files in a temporary folder, looked at from behind the store

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from core.local import programs
from memlane.errors import BackendError, StoreFileError, StoreLockedError
from memlane.local import SqliteBackend
from memlane.local.sqlite import schema
from memlane.local.sqlite.schema import APPLICATION_ID, MIGRATIONS
from memlane.local.sqlite.store_file import StoreFile
from memlane.powers import SupportsActors, SupportsClose, SupportsScrub
from memlane.protocols import VectorBackend
from memlane.scope import Reach
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SPACE,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)

_POINT = Reach.point(SCOPE, now=NOW)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


async def _refused(path: Path, match: str) -> None:
    """See that neither reading nor writing is possible, and that nothing changes in the folder."""
    before = _contents(path.parent)
    store = SqliteBackend(path, busy_timeout=0.05)
    with pytest.raises(StoreFileError, match=match) as reading:
        await store.query(query_for(unit(0)), reach=_POINT)
    with pytest.raises(StoreFileError, match=match) as writing:
        await store.upsert([indexed(make_record("a"))], scope=SCOPE)
    for error in (reading.value, writing.value):
        assert error.remedy
        assert error.operation in {"query", "upsert"}
        assert error.scope is SCOPE
        assert "ada" not in str(error).replace(str(path), "")
    await store.aclose()
    assert _contents(path.parent) == before


async def test_powers(store: SqliteBackend) -> None:
    """The store is all that the optional protocols ask for."""
    for power in (VectorBackend, SupportsActors, SupportsScrub, SupportsClose):
        assert isinstance(store, power)


async def test_making_a_backend_touches_nothing(path: Path) -> None:
    """The file appears with the first call, and an unused backend closes without one."""
    store = SqliteBackend(path)
    assert store.path == path
    await store.aclose()
    assert not path.exists()


async def test_new_files_are_private(tmp_path: Path) -> None:
    """File, log and missing folders are for the owner alone; closing leaves the file only."""
    path = tmp_path / "state" / "deep" / "memory.db"
    store = SqliteBackend(path)
    await put(store, indexed(make_record("a")))
    assert {each.name: _mode(each) for each in path.parent.iterdir()} == dict.fromkeys(
        ("memory.db", "memory.db-wal", "memory.db-shm"), 0o600
    )
    assert _mode(tmp_path / "state") == _mode(tmp_path / "state" / "deep") == 0o700
    await store.aclose()
    assert [each.name for each in path.parent.iterdir()] == ["memory.db"]


async def test_settings_of_the_file(store: SqliteBackend, path: Path) -> None:
    """What durability, forgetting and speed rest on is really in force."""
    await put(store, indexed(make_record("a")))
    names = ("synchronous", "secure_delete", "mmap_size", "page_size", "journal_mode")

    def settings() -> dict[str, object]:
        with store._file.writing() as connection:
            return {name: connection.execute(f"pragma {name}").fetchone()[0] for name in names}

    values = await anyio.to_thread.run_sync(settings)
    assert values == {
        "synchronous": 2,
        "secure_delete": 1,
        "mmap_size": 0,
        "page_size": 16384,
        "journal_mode": "wal",
    }
    assert int.from_bytes(path.read_bytes()[68:72], "big") == APPLICATION_ID


@pytest.mark.parametrize("name", ["weird ?#%41&mode=ro.db", "mémoire.db", ":memory:", "-rf.db"])
async def test_any_file_name_is_a_file_name(tmp_path: Path, name: str) -> None:
    """A path is never read as an address with options."""
    store = SqliteBackend(tmp_path / name)
    await put(store, indexed(make_record("a")))
    await store.aclose()
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208 - names as the system has them


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """A file made by mktemp is as good as none, and keeps its permissions."""
    path.touch(0o640)
    path.chmod(0o640)
    store = SqliteBackend(path)
    await put(store, indexed(make_record("a")))
    await store.aclose()
    assert _mode(path) == 0o640


@pytest.mark.parametrize(
    "content",
    [b"x", b"not a database\n" * 1000, b"\0" * 8192, b"SQLite format 3\0", os.urandom(100_000)],
    ids=["byte", "text", "zeros", "magic", "noise"],
)
async def test_no_database(path: Path, content: bytes) -> None:
    """Any other file is refused as it is."""
    path.write_bytes(content)
    await _refused(path, "not a memlane store|damaged|another program")


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("in_use", [False, True])
async def test_a_foreign_database(path: Path, journal: str, *, in_use: bool) -> None:
    """Another program's database is refused as it is, open there or not."""
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute(f"pragma journal_mode = {journal}")
        theirs.execute("pragma application_id = 42")
        theirs.execute("create table precious (thing)")
        theirs.commit()
        if in_use:
            theirs.execute("insert into precious values (1)")
            theirs.commit()
            theirs.execute("insert into precious values (2)")
            before = {n: c for n, c in _contents(path.parent).items() if "shm" not in n}
            store = SqliteBackend(path)
            with pytest.raises(StoreFileError, match="another program"):
                await put(store, indexed(make_record("a")))
            await store.aclose()
            after = {n: c for n, c in _contents(path.parent).items() if "shm" not in n}
            assert after == before
            theirs.commit()
            assert theirs.execute("select count(*) from precious").fetchone() == (2,)
    if not in_use:
        await _refused(path, "another program")


async def _make(path: Path, *ids: str) -> None:
    store = SqliteBackend(path)
    await put(store, *[indexed(make_record(each)) for each in ids])
    await store.aclose()


async def test_a_newer_schema(path: Path) -> None:
    """A newer program's file is refused as it is, and the error says what to upgrade."""
    await _make(path, "a")
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("pragma journal_mode = delete")
        newer.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
    await _refused(path, f"schema version {len(MIGRATIONS) + 1}")
    store = SqliteBackend(path)
    with pytest.raises(StoreFileError, match="pip install --upgrade memlane"):
        await read_all(store, _POINT)
    await store.aclose()


async def test_a_newer_schema_still_in_the_log(path: Path) -> None:
    """A newer version that only the log knows of is seen all the same."""
    await _make(path, "a")
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
        assert int.from_bytes(path.read_bytes()[60:64], "big") == len(MIGRATIONS)
        store = SqliteBackend(path)
        with pytest.raises(StoreFileError, match=f"schema version {len(MIGRATIONS) + 1}"):
            await read_all(store, _POINT)
        await store.aclose()


async def test_a_link_to_a_file(path: Path, tmp_path: Path) -> None:
    """Through a symbolic link the same file, and the same log, are used."""
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.db"
    path.symlink_to(real)
    store, direct = SqliteBackend(path), SqliteBackend(real)
    await put(store, indexed(make_record("a")))
    await put(direct, indexed(make_record("b")))
    assert ids_of(await read_all(store, _POINT)) == ["a", "b"]
    path.unlink()
    assert ids_of(await read_all(store, _POINT)) == ["a", "b"]
    await store.aclose()
    await direct.aclose()
    assert [each.name for each in tmp_path.iterdir()] == ["elsewhere"]
    assert [each.name for each in real.parent.iterdir()] == ["real.db"]


async def test_a_file_cut_short(path: Path) -> None:
    """A copy that broke off is refused as it is, before a write makes it worse."""
    await _make(path, *(f"r{number}" for number in range(200)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    store = SqliteBackend(path)
    with pytest.raises(StoreFileError, match="damaged"):
        await put(store, indexed(make_record("z")))
    await store.aclose()
    assert _contents(path.parent) == {path.name: whole[: len(whole) // 2]}


async def test_a_damaged_page(path: Path) -> None:
    """Damage inside is told when it is met, with the reason chained."""
    await _make(path, *(f"r{number}" for number in range(200)))
    raw = bytearray(path.read_bytes())
    raw[2 * 8192 :] = b"\xff" * (len(raw) - 2 * 8192)
    path.write_bytes(raw)
    store = SqliteBackend(path)
    with pytest.raises(StoreFileError, match="damaged") as caught:
        await store.query(query_for(unit(0)), reach=_POINT)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    await store.aclose()


async def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    """Folders, pipes and paths below a file are refused by name."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    await _refused(tmp_path / "folder", "is a folder")
    await _refused(tmp_path / "pipe", "no regular file")
    store = SqliteBackend(tmp_path / "file" / "memory.db")
    with pytest.raises(StoreFileError):
        await put(store, indexed(make_record("a")))
    await store.aclose()


async def test_a_file_that_disappears(store: SqliteBackend, path: Path) -> None:
    """A write never goes to a file that was removed; the next call makes a new one."""
    await put(store, indexed(make_record("a")))
    path.unlink()
    with pytest.raises(StoreFileError, match="removed or replaced"):
        await put(store, indexed(make_record("b")))
    await put(store, indexed(make_record("c")))
    assert ids_of(await read_all(store, _POINT)) == ["c"]


async def test_a_file_that_is_replaced(store: SqliteBackend, path: Path, tmp_path: Path) -> None:
    """A backup put in its place is not mixed with the old file's log, which has to go first."""
    await put(store, indexed(make_record("a")))
    await _make(tmp_path / "backup.db", "from-backup")
    (tmp_path / "backup.db").rename(path)
    for _ in range(2):
        with pytest.raises(StoreFileError, match=r"replaced while .* delete memory.db-wal"):
            await read_all(store, _POINT)
    for name in ("memory.db-wal", "memory.db-shm"):
        (tmp_path / name).unlink()
    assert ids_of(await read_all(store, _POINT)) == ["from-backup"]


async def test_a_lock_that_is_not_let_go(path: Path) -> None:
    """A writer that another process keeps waiting gives up after the busy timeout."""
    await _make(path, "a")
    store = SqliteBackend(path, busy_timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(StoreLockedError, match="locked") as caught:
            await put(store, indexed(make_record("b")))
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert ids_of(await read_all(store, _POINT)) == ["a"]
        other.execute("rollback")
    await put(store, indexed(make_record("b")))
    assert ids_of(await read_all(store, _POINT)) == ["a", "b"]
    await store.aclose()


_AS_NOBODY = """
import pathlib, shutil, stat, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
file = folder / "memory.db"
keep_open = sys.argv[-1] == "in use"

async def prepare():
    backend = SqliteBackend(file)
    await store(backend, "a", "b")
    if not keep_open:
        await backend.aclose()
    return backend

async def use():
    backend = SqliteBackend(file)
    await backend.ensure_index(scope=SCOPE, space=SPACE)
    say(*await ids_in(backend))
    say(len(await rows_in(backend)))
    for write in (store(backend, "c"), backend.delete(["a"], reach=POINT)):
        try:
            await write
        except StoreFileError as error:
            say("read-only" in str(error))
    await backend.aclose()
    say(*sorted(os.listdir(folder)))

owner = anyio.run(prepare)
for each in folder.iterdir():
    each.chmod(0o444)
folder.chmod(0o555)
if os.getuid() == 0:
    os.setresuid(65534, 65534, 0)
anyio.run(use)
if os.getresuid()[2] == 0:
    os.setresuid(0, 0, 0)
folder.chmod(0o755)
shutil.rmtree(folder)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["closed", "in use"])
def test_a_file_that_may_only_be_read(how: str) -> None:
    """Reading works, writing says why it does not, and nothing appears beside the file."""
    files = "memory.db" if how == "closed" else "memory.db memory.db-shm memory.db-wal"
    said = programs.run(_AS_NOBODY, how).splitlines()
    assert said == ["a b", "2", "True", "True", files]


async def test_use_after_close(store: SqliteBackend) -> None:
    """A closed store says so to every verb; closing again is nothing."""
    await put(store, indexed(make_record("a")))
    await store.aclose()
    await store.aclose()
    for call in (
        store.query(query_for(unit(0)), reach=_POINT),
        store.fetch(["a"], reach=_POINT),
        store.scan(reach=_POINT),
        store.delete(["a"], reach=_POINT),
        store.upsert([indexed(make_record("a"))], scope=SCOPE),
        store.ensure_index(scope=SCOPE, space=SPACE),
        store.actors(reach=_POINT),
        store.scrub(scope=SCOPE),
    ):
        with pytest.raises(BackendError, match="closed"):
            await call


def _add_colour(connection: sqlite3.Connection) -> None:
    connection.execute("alter table record add column colour text")
    connection.execute("update record set colour = 'blue'")


def _break_off(connection: sqlite3.Connection) -> None:
    _add_colour(connection)
    raise RuntimeError("power cut")


def test_migrations(path: Path) -> None:
    """A step is taken once, by whoever comes first; one that broke off is as if never begun."""
    anyio.run(_make, path, "a")
    broken = StoreFile(path, busy_timeout=1, migrations=(*MIGRATIONS, _break_off))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="power cut"), broken.writing():
            pass
    broken.close()
    anyio.run(_make, path, "b")
    for _ in range(2):
        newer = StoreFile(path, busy_timeout=1, migrations=(*MIGRATIONS, _add_colour))
        with newer.reading() as connection:
            assert schema.version_of(connection) == len(MIGRATIONS) + 1
            found = connection.execute("select id, colour from record order by seq").fetchall()
        assert found == [("a", "blue"), ("b", "blue")]
        newer.close()
    anyio.run(_refused, path, f"schema version {len(MIGRATIONS) + 1}")
