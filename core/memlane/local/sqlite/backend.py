"""The backend on one SQLite file: durable, exact, shared by processes, needing no service."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

import anyio

from memlane.checks import check_limit, check_shadowed, closed_error
from memlane.filters import Filter
from memlane.local.sqlite import reading, shadows, tenants
from memlane.local.sqlite.cache import LaneCache
from memlane.local.sqlite.erasing import ERASED_AT_ONCE, plan_erase
from memlane.local.sqlite.failures import translated
from memlane.local.sqlite.group_commit import GroupCommit
from memlane.local.sqlite.lanes import find_space
from memlane.local.sqlite.scrubbing import scrub
from memlane.local.sqlite.store_file import StoreFile
from memlane.local.sqlite.tenants import (
    AT_ONCE,
    add_up,
    expired_lanes,
    plan_clear,
    plan_sweep,
)
from memlane.local.sqlite.versions import versions
from memlane.local.sqlite.writing import Change, plan_delete, plan_space, plan_upsert
from memlane.powers import NamePage, PendingPage
from memlane.protocols import (
    Candidates,
    Capabilities,
    EmbeddingSpace,
    IndexedRecord,
    ScanPage,
    VectorQuery,
)
from memlane.receipts import ForgetReceipt, Residue, TenantStats
from memlane.runtime import WorkerThreads, fork
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("CACHE_BYTES", "SqliteBackend")

T = TypeVar("T")
P = ParamSpec("P")

_CAPABILITIES: Final = Capabilities(name="sqlite", exact=True, atomic_conditions=True)
CACHE_BYTES: Final = 64 * 1024 * 1024
"""About forty scopes of 1,000 short records; a long one has a row for each of its windows too."""

_NAMED: Final = 100
"""Ids at most in a receipt; of a tenant's records there may be millions."""

_REST: Final = 3
"""Times as long as a step of sweeping took nothing is swept, when somebody reads meanwhile."""

_MAX_REST: Final = 0.2
"""Seconds: a disk that is slow now is no reason to wait for it."""

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
        self._reads = 0
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

    async def count(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
    ) -> int:
        """Return how many records are within reach and meet the conditions."""
        read = functools.partial(reading.count, namespace=namespace, condition=filter)
        return await self._read("count", reach.scope, read, reach)

    async def remains(self, *, reach: Reach, limit: int = 1_000) -> Sequence[str]:
        """Return ids of which anything is left within reach; with a record goes all that it has."""
        return await self._read("remains", reach.scope, reading.remains, reach, limit)

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        self._check_open("delete", reach.scope)
        return await self._commits.run(
            lambda: plan_delete(record_ids, reach=reach),
            weight=len(record_ids),
            operation="delete",
            scope=reach.scope,
        )

    async def erase(self, *, reach: Reach) -> int:
        """Delete all within reach, step by step, and return how many records that were."""
        total, count = 0, ERASED_AT_ONCE
        # A smaller step has left nothing; what is stored behind it is for `remains` to tell.
        while count >= ERASED_AT_ONCE:
            count = await self._change("erase", reach.scope, plan_erase(reach))
            total += count
        return total

    async def actors(self, *, reach: Reach) -> Sequence[str]:
        """Return the distinct actors within reach, sorted."""
        return await self._read("actors", reach.scope, reading.actors, self._cache, reach)

    async def versions(self, record_id: str, *, reach: Reach) -> Sequence[MemoryRecord]:
        """Return what updates have replaced of the records of an id, the newest first."""
        return await self._read("versions", reach.scope, versions, record_id, reach)

    async def onboard(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Remember the tenant's embedding space; there is nothing else to make."""
        if await self._read("onboard", scope, find_space, scope, space.id) is not None:
            return False
        await self.ensure_index(scope=scope, space=space)
        return True

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        """Delete the tenant's records that expired at or before `now` and return how many."""
        count, after = 0, ""
        while places := await self._read("sweep", scope, expired_lanes, scope, now, after):
            began, reads = anyio.current_time(), self._reads
            count += await self._change("sweep", scope, plan_sweep(places, scope=scope, now=now))
            after = places[0].user  # the first may have more; those before it had none
            if self._reads != reads:
                # Nobody waits for this as those do who read beside it.
                took = anyio.current_time() - began
                await anyio.sleep(min(_MAX_REST, _REST * took))
        return count

    async def users(self, *, scope: Scope, cursor: str | None = None, limit: int = 100) -> NamePage:
        """Return users of the tenant by name."""
        check_limit(limit)
        return await self._read("users", scope, tenants.users, scope, cursor, limit)

    async def stats(self, *, scope: Scope, now: datetime) -> TenantStats:
        """Count what the tenant has; users who come or go meanwhile are counted or not."""
        found, cursor = await self._read("stats", scope, tenants.stats, scope, now, None)
        while cursor is not None:
            more, cursor = await self._read("stats", scope, tenants.stats, scope, now, cursor)
            found = add_up(found, more)
        return found

    async def forget_tenant(self, *, scope: Scope) -> ForgetReceipt:
        """Delete all that the tenant has, in small steps, and read again to prove it."""
        deleted, is_over = 0, False
        while not is_over:
            count, is_over = await self._change("forget", scope, plan_clear(scope))
            deleted += count
        left = await self._read("forget", scope, tenants.left, scope, _NAMED)
        residue = await self.scrub(scope=scope)
        return ForgetReceipt(
            found=deleted + len(left),
            deleted=deleted,
            failed=tuple(left),
            verified_empty=not left,
            residue=residue,
        )

    async def begin_reembed(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        """Make the shadow, or find it again."""
        await self._change("reembed", scope, shadows.plan_begin(space, scope=scope))

    async def pending(
        self, *, scope: Scope, space: EmbeddingSpace, cursor: str | None = None, limit: int = 100
    ) -> PendingPage:
        """Return records that the shadow lacks, by user, agent and stored order."""
        check_limit(limit)
        read = functools.partial(shadows.pending, cursor=cursor, limit=limit)
        return await self._read("reembed", scope, read, scope, space)

    async def shadow(
        self, records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
    ) -> None:
        """Put vectors into the shadow, but those of records that have changed meanwhile."""
        check_shadowed(records, scope=scope, space=space)
        self._check_open("reembed", scope)
        await self._commits.run(
            lambda: shadows.plan_shadow(records, scope=scope, space=space),
            weight=len(records),
            operation="reembed",
            scope=scope,
        )

    async def cut_over(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Put the shadow in the old vectors' place; other writers wait while that lasts."""
        return await self._change("reembed", scope, shadows.plan_cut_over(space, scope=scope))

    async def abandon_reembed(self, *, scope: Scope) -> bool:
        """Remove a shadow; False when there was none."""
        return await self._change("reembed", scope, shadows.plan_abandon(scope))

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

    async def _change(self, operation: str, scope: Scope, change: Change[T]) -> T:
        self._check_open(operation, scope)
        return await self._commits.run(
            lambda: change, weight=AT_ONCE, operation=operation, scope=scope
        )

    async def _read(
        self,
        operation: str,
        scope: Scope,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        self._check_open(operation, scope)
        self._reads += 1

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
            residue = scrub(connection)
        # Whose lanes are gone cannot be told any more; the others' are read again once.
        self._cache.clear()
        return residue

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
