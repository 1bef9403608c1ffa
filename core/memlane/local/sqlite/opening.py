"""A path becomes a connection, or an error that leaves the file exactly as it was."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

from memlane.errors import StoreFileError
from memlane.local.sqlite.failures import primary_code, read_only_error
from memlane.local.sqlite.schema import APPLICATION_ID, Migration, migrate, version_of

__all__ = (
    "Access",
    "Identity",
    "bring_up_to_date",
    "connect",
    "identity",
    "log_identity",
    "prepare",
)

Access: TypeAlias = Literal["rwc", "ro", "frozen"]
"""How a file can be opened: for writing, for reading, or for reading where nobody writes."""

Identity: TypeAlias = tuple[int, ...]
"""Changes when another file lies at the path, and for a frozen file when it was written to."""

_OPEN_MODES: Final = {"rwc": "mode=rwc", "ro": "mode=ro", "frozen": "mode=ro&immutable=1"}
_PAGE_BYTES: Final = 16384  # of a file yet to be made; rows of 1,536 dimensions fit
_POLL_SECONDS: Final = 0.01
_LOOKS: Final = 3

# Held while a file is made: closing any descriptor of a file drops all locks that this process
# has on it (POSIX), so nobody may have opened it before the one that made it is closed. For the
# same reason SQLite alone opens and closes files that exist.
_making = threading.Lock()


def prepare(path: Path, *, newest: int, busy_timeout: float) -> Access:
    """Say how a file can be opened; make it, empty and private, when there is none.

    Args:
        path: Where the file is, or will be.
        newest: The schema version this program knows.
        busy_timeout: Seconds to wait for another process's lock.

    Raises:
        StoreFileError: Not a store of ours, or of a newer program.
        OSError: The system says no.
        sqlite3.Error: No SQLite file, or a damaged one.
    """
    with _making:
        if path.exists() and not path.is_file():
            # Reading a pipe would wait for ever.
            what = "a folder" if path.is_dir() else "no regular file"
            raise StoreFileError(f"the store {path} is {what}", remedy="pass the path of a file")
        if not path.exists():
            _make_folder(path.parent)
            # Made before SQLite sees it: nobody but the owner may read it, and SQLite gives the
            # log beside it the same permissions.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if path.stat().st_size:
        application, version = _look(path, busy_timeout)
        if application != APPLICATION_ID:
            raise StoreFileError(
                f"{path} is a SQLite file of another program",
                remedy="pass the path of a store, or of a file that does not exist yet",
            )
        if version > newest:
            raise StoreFileError(
                f"the store {path} has schema version {version}; this memlane knows {newest}",
                remedy="upgrade memlane: pip install --upgrade memlane",
            )
        if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
            return "rwc"
        if version < newest:
            raise StoreFileError(
                f"the store {path} is of an older memlane and read-only",
                remedy="open it once where it may be written to",
            )
        return _reading(path)
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "rwc"
    raise read_only_error(path)


def _reading(path: Path) -> Access:
    # A log means that somebody has the file open, or had when it crashed. Without one, SQLite
    # would make it, which fails in a folder that cannot be written and leaves it in one that can.
    log = _log(path)
    return "ro" if log.exists() and log.stat().st_size else "frozen"


def _look(path: Path, busy_timeout: float) -> tuple[int, int]:
    """Return application and version of a file that is left as it is, whoever's it is."""
    for more in reversed(range(_LOOKS)):
        try:
            connection = connect(path, _reading(path), busy_timeout=busy_timeout)
            with contextlib.closing(connection):
                (application,) = connection.execute("pragma application_id").fetchone()
                return application, version_of(connection)
        except sqlite3.DatabaseError as exc:
            # What looks cut off may be another process in the middle of writing its first pages,
            # or of moving a log into the file.
            if not more or primary_code(exc) != sqlite3.SQLITE_CORRUPT:
                raise
            time.sleep(_POLL_SECONDS)
    raise AssertionError("unreachable")


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def identity(path: Path, access: Access) -> Identity:
    """Return what tells this file from one that took its place.

    Raises:
        OSError: There is no such file any more.
    """
    found = path.stat()
    if access == "rwc":
        return (found.st_dev, found.st_ino)
    log = _log(path).exists()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, log)


def log_identity(path: Path) -> Identity:
    """Return what tells the log beside a file from another, nothing if there is none."""
    try:
        found = _log(path).stat()
    except FileNotFoundError:
        return ()
    return (found.st_dev, found.st_ino)


def connect(path: Path, access: Access, *, busy_timeout: float) -> sqlite3.Connection:
    """Return a connection that any one thread at a time may use.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{_OPEN_MODES[access]}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("pragma trusted_schema = off")
        connection.execute("pragma mmap_size = 0")  # as fast without, and RSS stays small
        connection.execute("pragma temp_store = memory")  # no copies of texts in /tmp
        if access == "rwc":
            connection.execute(f"pragma page_size = {_PAGE_BYTES}")
            # An acknowledged record survives a power cut: the log is synced before a commit
            # returns. Group commit makes many writers share that wait.
            connection.execute("pragma synchronous = full")
            connection.execute("pragma secure_delete = on")  # forgotten bytes become zeros
    except BaseException:
        connection.close()
        raise
    return connection


def bring_up_to_date(
    connection: sqlite3.Connection, *, migrations: tuple[Migration, ...], busy_timeout: float
) -> None:
    """Give a file that may be written to the current schema, and a write-ahead log.

    Raises:
        sqlite3.Error: It cannot be read or written.
    """
    migrate(connection, migrations)
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("pragma journal_mode = wal").fetchone()
        except sqlite3.OperationalError as exc:
            # Two processes that make the same file both switch it over, and for this one step
            # SQLite does not wait by itself.
            if primary_code(exc) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return
