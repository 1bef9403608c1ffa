"""Deleted is not gone: bytes stay in free space of the file and in its log until taken out."""

from __future__ import annotations

import sqlite3
from typing import Final

from memlane.local.sqlite.failures import primary_code
from memlane.receipts import Residue

__all__ = ("scrub",)

_MAX_BYTES: Final = 256 * 1024 * 1024
"""Writing anew takes 6 ms and 1 MB of memory per MB, and no other process writes meanwhile."""

_PATIENCE: Final = 1000
"""Milliseconds to wait for other processes: our own writers wait behind this."""


def scrub(connection: sqlite3.Connection) -> Residue:
    """Remove what deletion left in the file and its log, and say where bytes may still lie."""
    (patience,) = connection.execute("pragma busy_timeout").fetchone()
    connection.execute(f"pragma busy_timeout = {min(patience, _PATIENCE)}")
    try:
        anew = _write_anew(connection)
        busy, *_ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    finally:
        connection.execute(f"pragma busy_timeout = {patience}")
    if busy:
        return "wal"
    return "none" if anew else "unknown"


def _write_anew(connection: sqlite3.Connection) -> bool:
    (pages,) = connection.execute("pragma page_count").fetchone()
    (page_bytes,) = connection.execute("pragma page_size").fetchone()
    if pages * page_bytes > _MAX_BYTES:
        return False
    try:
        connection.execute("vacuum")
    except sqlite3.OperationalError as exc:
        if primary_code(exc) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise
        return False
    return True
