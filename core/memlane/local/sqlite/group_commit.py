"""Writers that come while a transaction is being synced to disk share the next one.

A sync costs the disk's time, not ours: one for a hundred callers is a hundred times the writes.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from memlane.errors import StoreFileError
from memlane.local.sqlite.failures import translate
from memlane.local.sqlite.schema import MIGRATIONS, version_of
from memlane.local.sqlite.store_file import StoreFile
from memlane.local.sqlite.writing import Change
from memlane.runtime import Answer, WorkerThreads, expect, fork
from memlane.scope import Scope

__all__ = ("GroupCommit",)

T = TypeVar("T")

_MAX_WEIGHT: Final = 2000
"""Records per transaction: other processes wait while it lasts, and give up after seconds."""


class _Job(Generic[T]):
    def __init__(
        self,
        plan: Callable[[], Change[T]],
        answer: Answer[T],
        *,
        weight: int,
        operation: str,
        scope: Scope,
    ) -> None:
        self.plan = plan
        self.answer = answer
        self.weight = weight
        self.operation = operation
        self.scope = scope
        self.change: Change[T] | None = None
        # Popping is atomic: either the writer gets to run the job, or its caller to take it back.
        self._tickets = [True]

    def claim(self) -> bool:
        try:
            return self._tickets.pop()
        except IndexError:
            return False


class _Failure:
    """Why one job of a group was not done."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class GroupCommit:
    """Runs changes on one thread, several to a transaction, none at another's expense.

    Args:
        file: Where they are written.
        pool: One thread.
    """

    def __init__(self, file: StoreFile, pool: WorkerThreads) -> None:
        self._file = file
        self._pool = pool
        self._waiting: deque[_Job[Any]] = deque()
        fork.watch(self._after_fork)

    async def run(
        self, plan: Callable[[], Change[T]], *, weight: int, operation: str, scope: Scope
    ) -> T:
        """Return the change's result once it is on disk.

        A caller cancelled before the writer took the job takes it back; afterwards the
        cancellation waits until the job is done.

        Args:
            plan: Prepares the change, on the writer's thread but outside any transaction.
            weight: How many records it is about.
            operation: The verb, for errors.
            scope: Whose records, for errors.
        """
        answer: Answer[T] = expect()
        job = _Job(plan, answer, weight=weight, operation=operation, scope=scope)
        self._waiting.append(job)
        self._pool.post(self._drain)
        return await answer.wait(job.claim, shield=True)

    def _drain(self) -> None:
        """Do what waits, or as much as one transaction should hold: each job posts a drain."""
        group = self._take()
        ready = [job for job in group if self._prepare(job)]
        if not ready:
            return
        try:
            with self._file.writing() as connection:
                outcomes = _commit(connection, [job.change for job in ready])
        except Exception as exc:  # noqa: BLE001 - it belongs to the callers, and is told to each
            outcomes = [_Failure(exc) for _ in ready]
        for job, outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, _Failure):
                self._fail(job, outcome.cause)
            else:
                job.answer.set_result(outcome)

    def _take(self) -> list[_Job[Any]]:
        group: list[_Job[Any]] = []
        weight = 0
        while self._waiting and weight < _MAX_WEIGHT:
            job = self._waiting.popleft()
            if job.claim():
                group.append(job)
                weight += job.weight
        return group

    def _prepare(self, job: _Job[Any]) -> bool:
        try:
            job.change = job.plan()
        except Exception as exc:  # noqa: BLE001 - the caller's own
            self._fail(job, exc)
            return False
        return True

    def _fail(self, job: _Job[Any], cause: Exception) -> None:
        error = translate(cause, self._file.path, operation=job.operation, scope=job.scope)
        if error is not cause and error.__cause__ is None:
            error.__cause__ = cause
        job.answer.set_exception(error)

    def _after_fork(self) -> None:
        # The jobs are the parent's to do.
        fork.keep(self._waiting)
        self._waiting = deque()


class _LostError(Exception):
    """The whole transaction is gone, not only the job that failed in it."""


def _commit(connection: sqlite3.Connection, changes: Sequence[Change[Any] | None]) -> list[object]:
    try:
        connection.execute("begin immediate")
    except sqlite3.Error as exc:
        return [_Failure(exc) for _ in changes]
    if version_of(connection) != len(MIGRATIONS):
        # Brought up to date by a newer program while this one had it open.
        connection.execute("rollback")
        return [_Failure(_outdated()) for _ in changes]
    try:
        outcomes: list[object] = [_attempt(connection, change) for change in changes]
        connection.execute("commit")
    except (_LostError, sqlite3.Error) as exc:
        if connection.in_transaction:
            connection.execute("rollback")
        if len(changes) == 1:
            cause = exc.__cause__ if isinstance(exc, _LostError) else exc
            return [_Failure(cause if isinstance(cause, Exception) else exc)]
        # A full disk takes everybody's work with it; who fits on it is found one at a time.
        return [outcome for change in changes for outcome in _commit(connection, [change])]
    return outcomes


def _outdated() -> StoreFileError:
    return StoreFileError(
        "a newer memlane has brought the store to another schema version",
        remedy="end this program and start it again with that version",
    )


def _attempt(connection: sqlite3.Connection, change: Change[Any] | None) -> object:
    assert change is not None  # noqa: S101 - prepared before; this is for the type checkers
    connection.execute("savepoint job")
    try:
        value = change(connection)
    except Exception as exc:
        if not connection.in_transaction:
            raise _LostError from exc
        connection.execute("rollback to job")
        connection.execute("release job")
        return _Failure(exc)
    connection.execute("release job")
    return value
