"""The backend on one SQLite file: durable, exact, shared by processes, needing no service."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from memlane.checks import check_limit, closed_error
from memlane.filters import Filter
from memlane.local.sqlite import reading
from memlane.local.sqlite.cache import LaneCache
from memlane.local.sqlite.failures import translated
from memlane.local.sqlite.group_commit import GroupCommit
from memlane.local.sqlite.lanes import find_space
from memlane.local.sqlite.scrubbing import scrub
from memlane.local.sqlite.store_file import StoreFile
from memlane.local.sqlite.writing import plan_delete, plan_space, plan_upsert
from memlane.protocols import (
    Candidates,
    Capabilities,
    EmbeddingSpace,
    IndexedRecord,
    ScanPage,
    VectorQuery,
)
from memlane.runtime import WorkerThreads, fork
from memlane.scope import Reach, Scope
from memlane.types import Residue

__all__ = ("CACHE_BYTES", "SqliteBackend")

T = TypeVar("T")
P = ParamSpec("P")

_CAPABILITIES: Final = Capabilities(name="sqlite", exact=True, atomic_conditions=True)
CACHE_BYTES: Final = 64 * 1024 * 1024
"""About forty scopes of 1,000 short records; a long one has a row for each of its windows too."""

_READERS: Final = 2
"""Reading holds the GIL, so more threads are slower; a second one lets small scopes pass large."""


class SqliteBackend:
    """Keeps records in one file, opened with the first call.

    Args:
        path: Where the file is, or will be made, readable for its owner alone.
        cache_bytes: Memory for what was read of recently used scopes; 0 for none.
        busy_timeout: Seconds to wait for another process that writes.
    """

    def __init__(
        self, path: str | Path, *, cache_bytes: int = CACHE_BYTES, busy_timeout: float = 5.0
    ) -> None:
        # Absolute now: the file must not follow a later change of the working folder.
        self._file = StoreFile(Path(path).absolute(), busy_timeout=busy_timeout)
        self._cache = LaneCache(cache_bytes)
        self._writer = WorkerThreads("memlane-sqlite-writer", 1)
        self._readers = WorkerThreads("memlane-sqlite-reader", _READERS)
        self._commits = GroupCommit(self._file, self._writer)
        self._closed = False
        fork.watch(self._after_fork)

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def capabilities(self) -> Capabilities:
        """Exact, and conditions hold against other processes too."""
        return _CAPABILITIES

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        # Reading first costs no lock, and lets a store be used that may only be read.
        if await self._read("ensure_index", scope, find_space, scope, space.id) is None:
            await self._commits.run(
                lambda: plan_space(space, scope=scope),
                weight=1,
                operation="ensure_index",
                scope=scope,
            )

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        self._check_open("upsert", scope)
        await self._commits.run(
            lambda: plan_upsert(records, scope=scope, expected_version=expected_version),
            weight=len(records),
            operation="upsert",
            scope=scope,
        )

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        return await self._read("query", reach.scope, reading.find, self._cache, query, reach)

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        read = functools.partial(reading.fetch, vectors=vectors)
        return await self._read("fetch", reach.scope, read, list(record_ids), reach)

    async def scan(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> ScanPage:
        check_limit(limit)
        read = functools.partial(
            reading.scan, namespace=namespace, condition=filter, cursor=cursor, limit=limit
        )
        return await self._read("scan", reach.scope, read, reach)

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        self._check_open("delete", reach.scope)
        return await self._commits.run(
            lambda: plan_delete(record_ids, reach=reach),
            weight=len(record_ids),
            operation="delete",
            scope=reach.scope,
        )

    async def actors(self, *, reach: Reach) -> Sequence[str]:
        """Return the distinct actors within reach, sorted."""
        return await self._read("actors", reach.scope, reading.actors, self._cache, reach)

    async def scrub(self, *, scope: Scope) -> Residue:
        """Write the file anew without what was deleted, and empty the write-ahead log.

        `secure_delete` alone leaves about one deleted record in a thousand: when SQLite moves
        rows to another page, the copy they leave behind is free space that nothing clears.

        Returns:
            "none"; "wal" when another process still reads an older state; "unknown" when another
            process writes, or the file is too large to be written anew in passing.
        """
        self._check_open("scrub", scope)
        # Through the writer's thread, so that what was accepted before is scrubbed too.
        return await self._writer.run(self._scrub, scope, shield=True)

    async def aclose(self) -> None:
        """Finish accepted writes and close the file; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._readers.close()
        # The writer's thread gets to it when all that was accepted is done.
        await self._writer.run(self._close_file, shield=True)
        self._writer.close()

    async def _read(
        self,
        operation: str,
        scope: Scope,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        self._check_open(operation, scope)

        def work() -> T:
            with (
                translated(self._file.path, operation=operation, scope=scope),
                self._file.reading() as connection,
            ):
                return function(connection, *args, **kwargs)

        return await self._readers.run(work)

    def _scrub(self, scope: Scope) -> Residue:
        with (
            translated(self._file.path, operation="scrub", scope=scope),
            self._file.writing() as connection,
        ):
            return scrub(connection)

    def _close_file(self) -> None:
        self._readers.join()
        with translated(self._file.path, operation="aclose"):
            self._file.close()
        self._cache.clear()

    def _check_open(self, operation: str, scope: Scope) -> None:
        if self._closed:
            raise closed_error(operation, scope)

    def _after_fork(self) -> None:
        self._cache.start_anew()
