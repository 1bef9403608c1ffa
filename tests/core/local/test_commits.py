"""Writes share transactions and disk waits, but not each other's failures."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from core.local import programs
from memlane.errors import ConflictError, MemlaneError, StoreFileError, StoreLockedError
from memlane.local import SqliteBackend
from memlane.scope import Reach
from memlane.testing.samples import (
    NOW,
    SCOPE,
    ids_of,
    indexed,
    make_record,
    put,
    read_all,
)
from memlane.types import MemoryRecord

_POINT = Reach.point(SCOPE, now=NOW)


@contextlib.asynccontextmanager
async def _writer_held(store: SqliteBackend) -> AsyncGenerator[None]:
    """Keep the writer's thread busy, so that what comes meanwhile lands in one transaction."""
    busy, go = threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        go.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(store._writer.run, hold)
        await anyio.to_thread.run_sync(busy.wait)
        try:
            yield
        finally:
            go.set()


async def _upsert(store: SqliteBackend, *records: MemoryRecord) -> None:
    """Store records; the job waits for the writer as soon as the task has begun."""
    await store.upsert([indexed(each) for each in records], scope=SCOPE)


async def _outcomes(store: SqliteBackend, *jobs: tuple[str, int | None]) -> dict[str, str]:
    """Store records at once, in one transaction; say what became of each."""
    outcomes: dict[str, str] = {}

    async def job(record_id: str, expected: int | None) -> None:
        try:
            await store.upsert(
                [indexed(make_record(record_id))], scope=SCOPE, expected_version=expected
            )
        except MemlaneError as error:
            outcomes[record_id] = type(error).__name__
        else:
            outcomes[record_id] = "stored"

    async with anyio.create_task_group() as group, _writer_held(store):
        for record_id, expected in jobs:
            group.start_soon(job, record_id, expected)
        await anyio.wait_all_tasks_blocked()
    return outcomes


def _commits(store: SqliteBackend) -> list[str]:
    """Return a list that grows with each statement the writer executes."""
    seen: list[str] = []
    with store._file.writing() as connection:
        connection.set_trace_callback(seen.append)
    return seen


async def test_waiting_writers_share_a_transaction(store: SqliteBackend) -> None:
    """What queues up while the writer is busy is committed at once, in order."""
    await put(store, indexed(make_record("first")))
    seen = await anyio.to_thread.run_sync(_commits, store)
    names = [f"r{number}" for number in range(30)]
    outcomes = await _outcomes(store, *[(name, 0) for name in names])
    assert set(outcomes.values()) == {"stored"}
    assert seen.count("commit") == 1
    found = [each.id for each in await read_all(store, _POINT)]
    assert found[0] == "first"
    assert sorted(found[1:]) == sorted(names)


async def test_large_groups_are_split(store: SqliteBackend) -> None:
    """A transaction ends after some thousand records, so that other processes get a turn."""
    await put(store, indexed(make_record("first")))
    seen = await anyio.to_thread.run_sync(_commits, store)

    async def batch(name: str) -> None:
        await _upsert(store, *[make_record(f"{name}-{number}") for number in range(900)])

    async with anyio.create_task_group() as group, _writer_held(store):
        for name in "abcdef":
            group.start_soon(batch, name)
        await anyio.wait_all_tasks_blocked()
    assert seen.count("commit") == 2
    assert len(await read_all(store, _POINT, limit=1000)) == 5401


async def test_a_failing_job_fails_alone(store: SqliteBackend) -> None:
    """Of writers that share a transaction only the one in conflict is told so."""
    await put(store, indexed(make_record("there")))
    outcomes = await _outcomes(store, ("a", 0), ("there", 0), ("b", None), ("c", 7), ("d", 0))
    assert outcomes == {
        "a": "stored",
        "there": "ConflictError",
        "b": "stored",
        "c": "ConflictError",
        "d": "stored",
    }
    assert ids_of(await read_all(store, _POINT)) == ["a", "b", "d", "there"]


async def test_a_job_that_cannot_be_encoded_fails_alone(store: SqliteBackend) -> None:
    """A record that is no proper text hurts nobody else in the group."""
    errors: list[BaseException] = []

    async def broken() -> None:
        try:
            await _upsert(store, make_record("broken", "\ud800"))
        except MemlaneError as error:
            errors.append(error)

    await put(store, indexed(make_record("first")))
    async with anyio.create_task_group() as group, _writer_held(store):
        group.start_soon(broken)
        group.start_soon(_upsert, store, make_record("fine"))
        await anyio.wait_all_tasks_blocked()
    assert ids_of(await read_all(store, _POINT)) == ["fine", "first"]
    assert "lone surrogate" in str(errors[0])


async def test_a_locked_file_fails_the_group(path: Path) -> None:
    """When another process holds the lock, each waiting writer is told, and none is stored."""
    store = SqliteBackend(path, busy_timeout=0.05)
    await put(store, indexed(make_record("there")))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        outcomes = await _outcomes(store, ("a", 0), ("b", None))
        other.execute("rollback")
    assert outcomes == dict.fromkeys("ab", StoreLockedError.__name__)
    assert ids_of(await read_all(store, _POINT)) == ["there"]
    await store.aclose()


def _limit(store: SqliteBackend, spare: int) -> None:
    with store._file.writing() as connection:
        pages = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count = {pages + spare}")


async def test_a_full_file_refuses_what_does_not_fit(store: SqliteBackend) -> None:
    """A batch too large for the disk leaves nothing behind; small ones in its group go in."""
    await put(store, indexed(make_record("there")))
    await anyio.to_thread.run_sync(_limit, store, 3)
    errors: list[StoreFileError] = []

    async def large() -> None:
        try:
            await _upsert(store, *[make_record(f"l{n}", "x" * 9000) for n in range(50)])
        except StoreFileError as error:
            errors.append(error)

    async with anyio.create_task_group() as group, _writer_held(store):
        group.start_soon(_upsert, store, make_record("small-1"))
        group.start_soon(large)
        group.start_soon(_upsert, store, make_record("small-2"))
        await anyio.wait_all_tasks_blocked()
    assert "disk is full" in str(errors[0])
    assert ids_of(await read_all(store, _POINT)) == ["small-1", "small-2", "there"]
    await anyio.to_thread.run_sync(_limit, store, 10_000)
    await large()
    assert len(errors) == 1
    assert len(await read_all(store, _POINT)) == 53


def test_a_disk_that_takes_no_more(path: Path) -> None:
    """When the system itself refuses to write, the error says so and nothing is half written."""
    said = programs.run(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        async def work():
            backend = SqliteBackend(path)
            await store(backend, "there")
            size = os.path.getsize(path + "-wal")
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, hard))
            try:
                await store(backend, *(f"r{n}" for n in range(50)), text="x" * 9000)
            except StoreFileError as error:
                say("disk" in str(error))
            say(*await ids_in(backend))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await store(backend, "after")
            say(*await ids_in(backend))
            await backend.aclose()

        anyio.run(work)
        """,
        str(path),
    )
    assert said.splitlines() == ["True", "there", "after there"]


async def test_cancelled_before_its_turn(store: SqliteBackend) -> None:
    """A writer that gives up while it waits is not written, and the others are."""
    await put(store, indexed(make_record("there")))
    async with anyio.create_task_group() as group, _writer_held(store):
        group.start_soon(_upsert, store, make_record("kept"))
        with anyio.move_on_after(0) as scope:
            await _upsert(store, make_record("given-up"))
        assert scope.cancelled_caught
        await anyio.wait_all_tasks_blocked()
    assert ids_of(await read_all(store, _POINT)) == ["kept", "there"]


async def test_cancelled_in_the_middle(store: SqliteBackend) -> None:
    """A cancellation that comes while the record is written waits for it: it is stored, whole."""
    await put(store, indexed(make_record("there")))
    writing, go = threading.Event(), threading.Event()

    def pause(statement: str) -> None:
        if statement.startswith("insert into record"):
            writing.set()
            go.wait()

    def watch() -> None:
        with store._file.writing() as connection:
            connection.set_trace_callback(pause)

    await anyio.to_thread.run_sync(watch)
    async with anyio.create_task_group() as group:
        group.start_soon(put, store, indexed(make_record("new")))
        await anyio.to_thread.run_sync(writing.wait)
        group.cancel_scope.cancel()
        go.set()
    assert ids_of(await read_all(store, _POINT)) == ["new", "there"]


async def test_closing_finishes_what_was_accepted(path: Path) -> None:
    """Writes that were waiting when the store was closed are in the file."""
    store = SqliteBackend(path)
    await put(store, indexed(make_record("there")))
    async with anyio.create_task_group() as group, _writer_held(store):
        for number in range(20):
            group.start_soon(_upsert, store, make_record(f"r{number}"))
        await anyio.wait_all_tasks_blocked()
        group.start_soon(store.aclose)
        await anyio.wait_all_tasks_blocked()
    again = SqliteBackend(path)
    assert len(await read_all(again, _POINT)) == 21
    await again.aclose()


async def test_versions_are_compared_where_they_change(store: SqliteBackend) -> None:
    """Of many updates from one version, in one transaction or several, exactly one goes in."""
    await put(store, indexed(make_record("r", "v1")))
    won: list[str] = []

    async def update(name: str) -> None:
        record = replace(make_record("r", name), version=2)
        with contextlib.suppress(ConflictError):
            await store.upsert([indexed(record)], scope=SCOPE, expected_version=1)
            won.append(name)

    async with anyio.create_task_group() as group:
        for number in range(25):
            group.start_soon(update, f"writer {number}")
    (record,) = await read_all(store, _POINT)
    assert [record.text] == won
