"""What a store is asked; each function runs inside one read transaction."""

from __future__ import annotations

import contextlib
import heapq
import sqlite3
from collections.abc import Generator, Sequence
from typing import Any, Final, TypeAlias

from memlane.columns import candidates_of
from memlane.filters import Filter
from memlane.layout import in_namespace
from memlane.local.codec import to_micros
from memlane.local.places import decode_place, encode_place
from memlane.local.sqlite.cache import LaneCache
from memlane.local.sqlite.hot import HotTable, read_hot
from memlane.local.sqlite.lanes import Lane, find_owner, find_space, lanes_within, refuse_former
from memlane.local.sqlite.picking import Fields, as_candidates, pick
from memlane.local.sqlite.rows import RECORD_COLUMNS, RecordDecoder, read_parts
from memlane.metadata import record_fields
from memlane.protocols import Candidates, IndexedRecord, ScanPage, VectorQuery
from memlane.scope import Reach
from memlane.types import MemoryRecord

__all__ = ("actors", "count", "fetch", "find", "remains", "scan")

_BY_ID: Final = f"select {RECORD_COLUMNS} where record.lane = ? and record.id = ?"
_FROM: Final = (
    f"select {RECORD_COLUMNS} where record.lane = ? and record.seq > ? order by record.seq"
)
_SESSION_AT, _NAMESPACE_AT, _EXPIRES_AT = 3, 5, 11  # in RECORD_COLUMNS
_SPOKEN: Final = (
    "select actor, session, max(coalesce(expires, ?)) from record"
    " where lane = ? and actor is not null group by actor, session"
)
_NEVER: Final = 2**63 - 1
_ALL: Final = (
    "select (select count(*) from record where lane = ?)"
    " - (select count(*) from record where lane = ? and expires <= ?)"
)
_SOME: Final = (
    "select count(*) from record where lane = ? and (expires is null or expires > ?)"
    " and (? or session is ?) and substr(namespace, 1, ?) = ?"
)
_MAX_LOOKED_AT: Final = 5000
"""Records per page: a filter that few records meet must not keep a thread for seconds."""

_NO_FIELDS: Final[Fields] = {}
_FIELDS_BYTES: Final = 1500  # of one record, roughly
_SPOKEN_BYTES: Final = 250

_Row: TypeAlias = "tuple[Any, ...]"
_Spoken: TypeAlias = "list[tuple[str, str | None, int]]"  # actor, session, last expiry


def find(
    connection: sqlite3.Connection, cache: LaneCache, query: VectorQuery, reach: Reach
) -> Candidates:
    """Return every record within reach that meets the query's conditions."""
    space = find_space(connection, reach.scope, query.space)
    if space is None:
        refuse_former(connection, reach.scope, query.space, operation="query")
    lanes = lanes_within(connection, reach) if space else []
    tables: list[HotTable] = []
    for lane in lanes:
        table = _hot(connection, cache, lane, space or (0, 0))
        if not len(table):
            continue  # it may be of a time when the space had no dimensions yet
        fields = _NO_FIELDS if query.filter is None else _fields(connection, cache, lane, reach)
        tables.append(pick(table, query, reach, fields, swept=lane.swept))
    return as_candidates(tables, query) if tables else candidates_of((), query)


def _hot(
    connection: sqlite3.Connection, cache: LaneCache, lane: Lane, space: tuple[int, int]
) -> HotTable:
    number, dimensions = space
    return cache.get(
        ("hot", lane.id, number),
        lane.changes,
        lambda: read_hot(
            connection, lane.id, agent=lane.agent, space=number, dimensions=dimensions
        ),
        size=lambda table: table.size,
    )


def _fields(connection: sqlite3.Connection, cache: LaneCache, lane: Lane, reach: Reach) -> Fields:
    return cache.get(
        ("fields", lane.id, 0),
        lane.changes,
        lambda: _read_fields(connection, lane, reach),
        size=lambda fields: _FIELDS_BYTES * len(fields),
    )


def _read_fields(connection: sqlite3.Connection, lane: Lane, reach: Reach) -> Fields:
    decoder = RecordDecoder(reach.scope)
    return {
        row[0]: record_fields(decoder.record(lane.agent, row))
        for row in connection.execute(_FROM, (lane.id, 0)).fetchall()
    }


def fetch(
    connection: sqlite3.Connection, record_ids: Sequence[str], reach: Reach, *, vectors: bool
) -> list[IndexedRecord]:
    """Return those of the records that exist within reach."""
    decoder = RecordDecoder(reach.scope)
    found: list[IndexedRecord] = []
    for lane in lanes_within(connection, reach):
        for record_id in dict.fromkeys(record_ids):
            row: _Row | None = connection.execute(_BY_ID, (lane.id, record_id)).fetchone()
            if row is None or not _within(row, reach):
                continue
            parts = read_parts(connection, lane.id, row[0]) if vectors else ()
            found.append(IndexedRecord(record=decoder.record(lane.agent, row), parts=parts))
    return found


def _within(row: _Row, reach: Reach) -> bool:
    expires: int | None = row[_EXPIRES_AT]
    return (reach.any_session or row[_SESSION_AT] == reach.scope.session) and (
        reach.now is None or expires is None or expires > to_micros(reach.now)
    )


def scan(
    connection: sqlite3.Connection,
    reach: Reach,
    *,
    namespace: str,
    condition: Filter | None,
    cursor: str | None,
    limit: int,
) -> ScanPage:
    """Return the next records within reach, in stored order."""
    number = find_owner(connection, reach.scope) or 0
    after = decode_place(cursor, owner=number)
    decoder = RecordDecoder(reach.scope)
    page: list[MemoryRecord] = []
    with contextlib.ExitStack() as stack:
        lanes = [
            # Closed before the transaction ends: a statement half read keeps its lock.
            stack.enter_context(contextlib.closing(_rows(connection, lane, after)))
            for lane in lanes_within(connection, reach)
        ]
        for looked_at, (place, agent, row) in enumerate(heapq.merge(*lanes)):
            if looked_at == _MAX_LOOKED_AT:
                return ScanPage(records=tuple(page), cursor=encode_place(number, after))
            if _within(row, reach) and in_namespace(row[_NAMESPACE_AT], namespace):
                record = decoder.record(agent or None, row)
                if condition is None or condition.matches(record_fields(record)):
                    if len(page) == limit:
                        return ScanPage(records=tuple(page), cursor=encode_place(number, after))
                    page.append(record)
            after = place
    return ScanPage(records=tuple(page), cursor=None)


def _rows(
    connection: sqlite3.Connection, lane: Lane, after: int
) -> Generator[tuple[int, str, _Row]]:
    with contextlib.closing(connection.execute(_FROM, (lane.id, after))) as rows:
        for row in rows:
            # No two lanes of an owner share a place: merging never compares what follows it.
            yield row[0], lane.agent or "", row


def count(
    connection: sqlite3.Connection, reach: Reach, *, namespace: str, condition: Filter | None
) -> int:
    """Return how many records are within reach and meet the conditions."""
    if condition is not None:
        cursor, found = None, 0
        while True:
            page = scan(
                connection,
                reach,
                namespace=namespace,
                condition=condition,
                cursor=cursor,
                limit=_MAX_LOOKED_AT,
            )
            found += len(page.records)
            if (cursor := page.cursor) is None:
                return found
    return sum(
        _counted(connection, lane, reach, namespace) for lane in lanes_within(connection, reach)
    )


def _counted(connection: sqlite3.Connection, lane: Lane, reach: Reach, namespace: str) -> int:
    now = -_NEVER if reach.now is None else to_micros(reach.now)
    if reach.any_session and namespace == "/":
        # Two indexes know, and no text is read.
        (number,) = connection.execute(_ALL, (lane.id, lane.id, now)).fetchone()
    else:
        session = reach.scope.session
        (number,) = connection.execute(
            _SOME, (lane.id, now, reach.any_session, session, len(namespace), namespace)
        ).fetchone()
    return int(number)


def remains(connection: sqlite3.Connection, reach: Reach, limit: int) -> list[str]:
    """Return ids of which a record, a vector or a version is within reach, expired or not."""
    found: dict[str, None] = {}
    for lane in lanes_within(connection, reach):
        # Of a part or a version alone nobody can say the session any more.
        tables = ("record", "hot", "version") if reach.any_session else ("record",)
        for table in tables:
            where = "" if reach.any_session else " and session is ?"
            session = () if reach.any_session else (reach.scope.session,)
            rows = connection.execute(
                f"select distinct id from {table} where lane = ?{where} limit ?",  # noqa: S608
                (lane.id, *session, limit),
            )
            found |= dict.fromkeys(record_id for (record_id,) in rows)
    return list(found)[:limit]


def actors(connection: sqlite3.Connection, cache: LaneCache, reach: Reach) -> list[str]:
    """Return who has said something within reach, sorted."""
    now = -_NEVER if reach.now is None else to_micros(reach.now)
    return sorted(
        {
            actor
            for lane in lanes_within(connection, reach)
            for actor, session, expires in _spoken(connection, cache, lane)
            if expires > max(now, lane.swept)
            and (reach.any_session or session == reach.scope.session)
        }
    )


def _spoken(connection: sqlite3.Connection, cache: LaneCache, lane: Lane) -> _Spoken:
    return cache.get(
        ("spoken", lane.id, 0),
        lane.changes,
        lambda: connection.execute(_SPOKEN, (_NEVER, lane.id)).fetchall(),
        size=lambda spoken: _SPOKEN_BYTES * len(spoken),
    )
