"""What updates have replaced, until the record goes."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from memlane.layout import MAX_VERSIONS
from memlane.local.codec import to_micros
from memlane.local.sqlite.lanes import lanes_within
from memlane.local.sqlite.rows import RECORD_COLUMNS, VALUES, EncodedRecord, RecordDecoder
from memlane.scope import Reach
from memlane.types import MemoryRecord

__all__ = ("drop_versions", "keep_given", "keep_stored", "versions")

_COLUMNS: Final = RECORD_COLUMNS.replace("record.", "version.").replace(
    "from record", "from version"
)
_CURRENT: Final = "select seq, session, expires from record where lane = ? and id = ?"
_KEPT: Final = (
    f"select {_COLUMNS} where version.lane = ? and version.seq = ?"
    " order by version.version desc, version.updated desc, version.kept desc"
)
_LAST: Final = "select coalesce(max(kept), 0) from version where lane = ? and seq = ?"
_KEEP_STORED: Final = (
    f"insert into version (lane, seq, kept, {VALUES})"  # noqa: S608
    f" select lane, seq, ?, {VALUES} from record where lane = ? and seq = ?"
)
_KEEP_GIVEN: Final = (
    f"insert into version (lane, seq, kept, {VALUES})"  # noqa: S608
    f" values (?, ?, ?, {', '.join('?' * len(VALUES.split(',')))})"
)
_SESSION_AT: Final = 3  # in RECORD_COLUMNS


def keep_stored(connection: sqlite3.Connection, lane: int, seq: int) -> None:
    """Keep a record as it is, before another takes its place.

    What lies there is kept, whatever its writer believed: of two that did not look at versions
    neither text is lost.
    """
    kept = _next(connection, lane, seq)
    connection.execute(_KEEP_STORED, (kept, lane, seq))


def keep_given(
    connection: sqlite3.Connection, lane: int, seq: int, space: int, item: EncodedRecord
) -> None:
    """Keep what a record says that it replaces, where nothing is."""
    kept = _next(connection, lane, seq)
    connection.execute(_KEEP_GIVEN, (lane, seq, kept, space, *item.record))


def _next(connection: sqlite3.Connection, lane: int, seq: int) -> int:
    (last,) = connection.execute(_LAST, (lane, seq)).fetchone()
    if last >= MAX_VERSIONS:
        connection.execute(
            "delete from version where lane = ? and seq = ? and kept <= ?",
            (lane, seq, last + 1 - MAX_VERSIONS),
        )
    return int(last) + 1


def drop_versions(connection: sqlite3.Connection, lane: int, seq: int) -> None:
    """Let a record begin anew: another had its id before."""
    connection.execute("delete from version where lane = ? and seq = ?", (lane, seq))


def versions(connection: sqlite3.Connection, record_id: str, reach: Reach) -> list[MemoryRecord]:
    """Return the kept versions of the records of an id within reach, the newest first."""
    decoder = RecordDecoder(reach.scope)
    found: list[MemoryRecord] = []
    now = None if reach.now is None else to_micros(reach.now)
    for lane in sorted(lanes_within(connection, reach), key=lambda lane: lane.agent or ""):
        row = connection.execute(_CURRENT, (lane.id, record_id)).fetchone()
        if row is None:
            continue
        seq, session, expires = row
        if now is not None and expires is not None and expires <= now:
            continue
        if _session_fits(session, reach):
            rows: list[tuple[Any, ...]] = connection.execute(_KEPT, (lane.id, seq)).fetchall()
            found += [
                decoder.record(lane.agent, each)
                for each in rows
                if _session_fits(each[_SESSION_AT], reach)
            ]
    return sorted(found, key=lambda old: (old.version, old.updated_at), reverse=True)


def _session_fits(session: str | None, reach: Reach) -> bool:
    return reach.any_session or session == reach.scope.session
