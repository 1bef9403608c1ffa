"""SQLite's errors stop here and become memlane's, with what to do about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from memlane.errors import (
    BackendError,
    MemlaneError,
    StoreFileError,
    StoreLockedError,
    ValidationError,
)
from memlane.scope import Scope

__all__ = ("primary_code", "read_only_error", "translate", "translated")

_PRIMARY = 0xFF  # the rest of a result code says in which step it happened

_FILE_FAILURES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "restore it from a backup, or export what can be read to a new file",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is not a memlane store",
        "pass the path of a store, or of a file that does not exist yet",
    ),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "free some space and try again"),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "check that the folder exists and may be written to",
    ),
    sqlite3.SQLITE_PERM: ("may not be opened", "check the file's permissions"),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk reports an error",
        "check the disk and its free space",
    ),
}


def read_only_error(
    path: Path, *, operation: str | None = None, scope: Scope | None = None
) -> StoreFileError:
    """Return what a write to a file that may only be read raises."""
    return StoreFileError(
        f"the store {path} is read-only",
        operation=operation,
        scope=scope,
        remedy="make the file and its folder writable, or store to another file",
    )


def translate(
    exc: Exception, path: Path, *, operation: str | None = None, scope: Scope | None = None
) -> MemlaneError:
    """Return the error to raise from `exc`; one of ours only learns what it was about."""
    if isinstance(exc, MemlaneError):
        if exc.operation is not None or operation is None:
            return exc
        ours = type(exc)(exc.reason, operation=operation, scope=scope, remedy=exc.remedy)
        ours.__cause__ = exc.__cause__
        return ours
    if isinstance(exc, UnicodeEncodeError):
        return ValidationError(
            "a text holds a lone surrogate",
            operation=operation,
            scope=scope,
            remedy="decode it properly before storing it",
        )
    if isinstance(exc, OSError):
        return StoreFileError(
            f"the store {path} cannot be used: {exc.strerror or type(exc).__name__}",
            operation=operation,
            scope=scope,
            remedy="check the path and its permissions",
        )
    code = primary_code(exc)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreLockedError(
            f"another process keeps the store {path} locked",
            operation=operation,
            scope=scope,
            remedy="try again, or end the process that holds it",
        )
    if code == sqlite3.SQLITE_READONLY:
        return read_only_error(path, operation=operation, scope=scope)
    if code in _FILE_FAILURES:
        what, remedy = _FILE_FAILURES[code]
        return StoreFileError(
            f"the store {path} {what}", operation=operation, scope=scope, remedy=remedy
        )
    # The message of a vendor may quote what was stored; its name and code may not.
    name = getattr(exc, "sqlite_errorname", type(exc).__name__)
    return BackendError(
        f"the store {path} failed with {name}",
        operation=operation,
        scope=scope,
        remedy="try again; the cause is chained to this error",
    )


def primary_code(exc: BaseException) -> int:
    """Return SQLite's result code, without the step it happened in; 0 if the error has none."""
    # An error that Python's own part of the module raises has no such attribute.
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return code & _PRIMARY


@contextmanager
def translated(
    path: Path, *, operation: str | None = None, scope: Scope | None = None
) -> Generator[None]:
    """Let no error of SQLite's or the system's out of the block, only ours."""
    try:
        yield
    except MemlaneError as exc:
        ours = translate(exc, path, operation=operation, scope=scope)
        if ours is exc:
            raise
        raise ours from exc.__cause__
    except (sqlite3.Error, OSError, UnicodeEncodeError) as exc:
        raise translate(exc, path, operation=operation, scope=scope) from exc
