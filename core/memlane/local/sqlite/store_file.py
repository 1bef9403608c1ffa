"""The connections to one store file: opened late, lent out one at a time, closed before a fork.

A forked child must not share SQLite's locks with its parent: inherited, they exist in the child's
memory but not in the kernel, so a connection the child opens later would take none, and the
parent's last close would delete the log the child writes to. Hence nothing is open while the
process forks.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from memlane.checks import closed_error
from memlane.errors import StoreFileError
from memlane.local.sqlite.failures import read_only_error
from memlane.local.sqlite.opening import (
    Access,
    Identity,
    bring_up_to_date,
    connect,
    identity,
    log_identity,
    prepare,
)
from memlane.local.sqlite.schema import MIGRATIONS, Migration

__all__ = ("StoreFile",)


class StoreFile:
    """One file and its connections; usable from any thread.

    Args:
        path: Where it is.
        busy_timeout: Seconds to wait for another process's lock.
        migrations: What brings it up to date.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: float,
        migrations: tuple[Migration, ...] = MIGRATIONS,
    ) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._migrations = migrations
        self._access: Access | None = None  # None until it was opened
        self._target = path  # where a symbolic link leads: the log lies there
        self._identity: Identity = ()
        self._orphan: Identity = ()  # the log of a file that another has replaced
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []  # idle ones
        self._lent = 0
        self._closed = False
        # Guards all of the above, and is held while the process forks.
        self._gate = threading.Condition()
        _files.add(self)

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Lend a connection inside a read transaction: one moment of the file."""
        with self._gate:
            access = self._open()
            reader = self._readers.pop() if self._readers else self._connect(access)
            self._lent += 1
        try:
            reader.execute("begin")
            try:
                yield reader
            finally:
                if reader.in_transaction:  # some failures have ended it already
                    reader.execute("rollback")
        finally:
            with self._gate:
                self._lent -= 1
                self._readers.append(reader)
                self._gate.notify_all()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Lend the one connection that writes, outside a transaction; for one thread alone.

        Raises:
            StoreFileError: The file may only be read.
        """
        with self._gate:
            access = self._open()
            if access != "rwc":
                raise read_only_error(self.path)
            writer = self._writer
            if writer is None:
                writer = self._writer = self._connect(access)
            self._lent += 1
        try:
            yield writer
        finally:
            with self._gate:
                self._lent -= 1
                self._gate.notify_all()

    def close(self) -> None:
        """Close every connection as soon as it is idle, and lend none any more."""
        with self._gate:
            self._closed = True
            self._close_when_idle()

    def hold(self) -> None:
        """Close every connection and open none until `release`."""
        self._gate.acquire()
        try:
            self._close_when_idle()
        except BaseException:
            self._gate.release()
            raise

    def release(self) -> None:
        """End a `hold`."""
        self._gate.release()

    def start_anew(self) -> None:
        """End a `hold` in a forked child, where no other thread is left to wait for it."""
        self._gate = threading.Condition()

    def _close_when_idle(self) -> None:
        self._gate.wait_for(lambda: not self._lent)
        self._close_idle()

    def _close_idle(self) -> None:
        open_ones = [*self._readers, *([self._writer] if self._writer else [])]
        self._readers.clear()
        self._writer = self._access = None
        for connection in open_ones:
            connection.close()

    def _connect(self, access: Access) -> sqlite3.Connection:
        return connect(self._target, access, busy_timeout=self._busy_timeout)

    def _open(self) -> Access:
        if self._closed:
            raise closed_error(None)
        if self._access is not None and self._is_same(self._access):
            return self._access
        if self._orphan and self._orphan == log_identity(self._target):
            # SQLite would apply the old file's log to the new file.
            raise self._replaced_error()
        migrations, patience = self._migrations, self._busy_timeout
        self._target = self.path.resolve()
        access = prepare(self._target, newest=len(migrations), busy_timeout=patience)
        connection = self._connect(access)
        try:
            if access == "rwc":
                bring_up_to_date(connection, migrations=migrations, busy_timeout=patience)
            self._identity = identity(self._target, access)
        except BaseException:
            connection.close()
            raise
        if access == "rwc":
            self._writer = connection
        else:
            self._readers.append(connection)
        self._access = access
        return access

    def _is_same(self, access: Access) -> bool:
        try:
            now = identity(self._target, access)
        except FileNotFoundError:
            now = ()
        if now == self._identity:
            return True
        # What is written through the open connections would go to a file without a name.
        self._close_when_idle()
        if access == "rwc":
            self._orphan = log_identity(self._target) if now else ()
            raise self._replaced_error()
        return False

    def _replaced_error(self) -> StoreFileError:
        return StoreFileError(
            f"the store {self.path} was removed or replaced while it was open",
            remedy=(
                f"end all programs that use it, delete {self.path.name}-wal and "
                f"{self.path.name}-shm, which belong to the old file, and try again"
                if self._orphan
                else "try again: the file that is there now will be opened"
            ),
        )


_files: weakref.WeakSet[StoreFile] = weakref.WeakSet()
_held: list[StoreFile] = []
_forking = threading.Lock()  # two threads that fork at once would hold each other's files


def _before_fork() -> None:
    _forking.acquire()
    for file in list(_files):
        file.hold()
        _held.append(file)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()
    _forking.release()


def _after_fork_in_child() -> None:
    global _forking  # noqa: PLW0603 - threads that waited for it do not exist here
    while _held:
        _held.pop().start_anew()
    _forking = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
