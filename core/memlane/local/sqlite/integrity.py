"""What is wrong in a store file: each row against those that must agree with it.

SQLite knows whether its pages and indexes are whole; it does not know that a record and the rows
that find it belong together. A store that only clients wrote to has no problems, whatever killed
the programs that wrote. (A backend by itself may be given records without parts, and spans of any
text.)
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from memlane.errors import MemlaneError
from memlane.local.codec import micros_to_minutes
from memlane.local.sqlite.hot import HotTable, Named, read_hot
from memlane.local.sqlite.rows import RECORD_COLUMNS, RecordDecoder, read_parts
from memlane.local.sqlite.schema import APPLICATION_ID, MIGRATIONS, version_of
from memlane.scope import Scope

__all__ = ("problems",)

_MOST: Final = 100
_COMPONENT_BYTES: Final = 2
_TERM_BYTES: Final = 4
_NEVER: Final = np.iinfo(np.int64).max
_ID_COLUMN, _VERSION, _SESSION, _ACTOR, _NAMESPACE = 1, 2, 3, 4, 5  # in RECORD_COLUMNS
_OCCURRED, _EXPIRES, _TEXT = 8, 11, 14
_TEXTS: Final = (_ID_COLUMN, _NAMESPACE, 6, 7, _TEXT)  # with kind and source
_UNDECODABLE: Final = (MemlaneError, ValueError, TypeError, OverflowError)

_RECORD: Final = f"select {RECORD_COLUMNS} where record.lane = ? and record.seq = ?"
_KEYS: Final = "select seq, id, space from record where lane = ? order by seq"
_PARTS: Final = (
    "select part, space, typeof(vec), length(vec), typeof(lex), length(lex)"
    " from hot where lane = ? and seq = ? order by part"
)

# Each finds rows that should not be, as the values of the message beside it.
_FORBIDDEN: Final = (
    (
        "select id from owner where not exists (select 1 from lane where owner = owner.id)",
        "owner {} has no lane",
    ),
    (
        "select id, owner from lane where not exists (select 1 from owner where id = lane.owner)",
        "lane {} is of owner {}, who does not exist",
    ),
    (
        "select id from lane where not exists (select 1 from record where lane = lane.id)",
        "lane {} has no record",
    ),
    (
        "select id, changes from lane where typeof(changes) <> 'integer' or changes < 1",
        "lane {} has changed {} times",
    ),
    (
        "select id, dimensions from space where typeof(dimensions) <> 'integer' or dimensions < 0",
        "space {} has {} dimensions",
    ),
    (
        (
            "select lane, count(*) from record"
            " where not exists (select 1 from lane where id = record.lane) group by lane"
        ),
        "lane {} does not exist and has {} records",
    ),
    (
        (
            "select owner, (select last_seq from lane as counter where counter.owner = lane.owner"
            " order by agent limit 1) as last, max(record.seq) from lane"
            " join record on record.lane = lane.id group by owner having last < max(record.seq)"
        ),
        "owner {} is at place {} and has a record at place {}",
    ),
    (
        (
            "select lane.owner, record.seq from lane join record on record.lane = lane.id"
            " group by lane.owner, record.seq having count(*) > 1"
        ),
        "owner {} has several records at place {}",
    ),
    (
        (
            "select lane, seq, count(*) from hot where not exists"
            " (select 1 from record where lane = hot.lane and seq = hot.seq) group by lane, seq"
        ),
        "lane {} place {}: {} parts and no record",
    ),
    (
        (
            "select lane, seq, count(*) from version where not exists"
            " (select 1 from record where lane = version.lane and seq = version.seq)"
            " group by lane, seq"
        ),
        "lane {} place {}: {} versions and no record",
    ),
    (
        (
            "select lane, seq from shadowed where not exists"
            " (select 1 from record where lane = shadowed.lane and seq = shadowed.seq)"
        ),
        "lane {} place {}: a shadow and no record",
    ),
    (
        (
            "select lane, seq, count(*) from shadow where not exists"
            " (select 1 from shadowed where lane = shadow.lane and seq = shadow.seq)"
            " group by lane, seq"
        ),
        "lane {} place {}: {} parts of no shadow",
    ),
    (
        (
            "select lane.id, count(*) from shadowed join lane on lane.id = shadowed.lane"
            " join owner on owner.id = lane.owner where not exists"
            " (select 1 from shadow_space where tenant = owner.tenant) group by lane.id"
        ),
        "lane {} has {} shadows of no space",
    ),
    (
        (
            "select lane, seq, space from version where not exists"
            " (select 1 from space where id = version.space)"
        ),
        "lane {} place {}: a version of space {}, which does not exist",
    ),
    (
        (
            "select lane.id, lane.swept from lane where exists (select 1 from record"
            " where lane = lane.id and expires <= lane.swept)"
        ),
        "lane {} was swept to {} and has a record that expired before",
    ),
)

_Row: TypeAlias = "tuple[Any, ...]"


class _Space(NamedTuple):
    tenant: str
    dimensions: int


class _Lane(NamedTuple):
    id: int
    tenant: str
    user: str
    agent: str


def problems(connection: sqlite3.Connection, *, most: int = _MOST) -> list[str]:
    """Return what is wrong in a store file, nothing when all is well.

    Reads every row, inside one read transaction, and writes nothing. It holds one record at a
    time, and of one lane what a query of it would hold. The lines name record ids and numbers,
    never what is stored.

    Args:
        connection: To the file, with no transaction open.
        most: Lines at most; a badly damaged file has one for each record.
    """
    found: list[str] = []
    with _one_moment(connection):
        try:
            found.extend(islice(_all(connection), most))
        except sqlite3.Error as exc:
            # Its message may quote what was stored.
            found.append(f"reading ends with {_name(exc)}")
    return found


@contextmanager
def _one_moment(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("begin")
    try:
        yield
    finally:
        if connection.in_transaction:  # some failures have ended it already
            connection.execute("rollback")


def _name(exc: BaseException) -> str:
    return str(getattr(exc, "sqlite_errorname", type(exc).__name__))


def _all(connection: sqlite3.Connection) -> Iterator[str]:
    damaged = False
    for (line,) in connection.execute("pragma integrity_check"):
        if line != "ok":
            damaged = True
            yield f"sqlite: {line}"
    (application,) = connection.execute("pragma application_id").fetchone()
    version = version_of(connection)
    (tables,) = connection.execute("select count(*) from sqlite_schema").fetchone()
    if not application and not version and not tables:
        return  # no store yet: what was making it ended before the first table
    if application != APPLICATION_ID:
        yield "not a memlane store"
    elif version != len(MIGRATIONS):
        yield f"schema version {version} where {len(MIGRATIONS)} was expected"
    else:
        yield from _within(connection, damaged=damaged)


def _within(connection: sqlite3.Connection, *, damaged: bool) -> Iterator[str]:
    try:
        for statement, message in _FORBIDDEN:
            for row in connection.execute(statement):
                yield message.format(*row)
        spaces = {
            number: _Space(tenant, dimensions if isinstance(dimensions, int) else 0)
            for number, tenant, dimensions in connection.execute(
                "select id, tenant, dimensions from space"
            )
        }
        lanes = connection.execute(
            "select lane.id, tenant, user, agent from lane join owner on owner.id = lane.owner"
        )
        for lane in lanes:
            yield from _lane(connection, _Lane(*lane), spaces)
    except sqlite3.Error as exc:
        # A damaged file ends it sooner or later, and has been told of.
        if not damaged:
            yield f"reading ends with {_name(exc)}"


def _lane(connection: sqlite3.Connection, lane: _Lane, spaces: dict[int, _Space]) -> Iterator[str]:
    try:
        scope = Scope(lane.user, tenant=lane.tenant or None, agent=lane.agent or None)
    except MemlaneError:
        yield f"lane {lane.id} is of nobody a scope could name"
        return
    tables: dict[int, HotTable] = {}
    for number in _spaces_in(connection, lane):
        if number in spaces:
            dimensions = spaces[number].dimensions
            try:
                tables[number] = read_hot(
                    connection, lane.id, agent=scope.agent, space=number, dimensions=dimensions
                )
            except _UNDECODABLE as exc:
                yield f"lane {lane.id} space {number}: queries fail with {_name(exc)}"
    decoder = RecordDecoder(scope)
    for seq, record_id, number in connection.execute(_KEYS, (lane.id,)):
        where = f"lane {lane.id} place {seq} record {record_id!r}"
        space = spaces.get(number)
        if space is None:
            yield f"{where}: its space {number} does not exist"
            continue
        if space.tenant != lane.tenant:
            yield f"{where}: its space {number} is another tenant's"
        row = _row(connection, decoder, lane, seq)
        keys = connection.execute(_PARTS, (lane.id, seq)).fetchall()
        lines = [row] if isinstance(row, str) else [*_alone(row)]
        lines += _stored(keys, number, space.dimensions) or _decoded(connection, lane.id, seq)
        if number in tables and not isinstance(row, str):
            lines += _found(tables[number], row, len(keys))
        for line in lines:
            yield f"{where}: {line}"


def _spaces_in(connection: sqlite3.Connection, lane: _Lane) -> list[int]:
    rows = connection.execute("select distinct space from hot where lane = ?", (lane.id,))
    return [space for (space,) in rows]


def _row(
    connection: sqlite3.Connection, decoder: RecordDecoder, lane: _Lane, seq: int
) -> _Row | str:
    """Return a record's row, or what keeps it from being a record."""
    try:
        row: _Row | None = connection.execute(_RECORD, (lane.id, seq)).fetchone()
    except sqlite3.OperationalError as exc:  # text that is not UTF-8
        return f"cannot be read: {_name(exc)}"
    if row is None:
        return "cannot be found by its place"
    try:
        tags = decoder.record(lane.agent or None, row).tags
    except _UNDECODABLE as exc:
        return f"cannot be decoded: {_name(exc)}"
    # SQLite keeps what it is given, whatever a column's type.
    wrong = [*(each for each in tags if type(each) is not str), *_wrong_types(row)]
    return "holds a value of another type" if wrong else row


def _wrong_types(row: _Row) -> list[object]:
    texts = [row[at] for at in _TEXTS]
    names = [row[at] for at in (_SESSION, _ACTOR) if row[at] is not None]
    return [each for each in (*texts, *names) if type(each) is not str]


def _alone(row: _Row) -> Iterator[str]:
    """Yield what is wrong in a record by itself."""
    if type(row[_VERSION]) is not int or row[_VERSION] < 1:
        yield "is at no version from 1"
    if not str(row[_NAMESPACE]).startswith("/"):
        yield "has a namespace that is no path"


def _stored(keys: Sequence[_Row], number: int, dimensions: int) -> list[str]:
    """Return what is wrong in how the parts of a record are stored."""
    wrong: list[str] = []
    if not keys and dimensions:
        wrong.append("has no parts, so no query finds it")
    for at, (part, its_space, vec_type, vec, lex_type, lex) in enumerate(keys):
        if part != at:
            wrong.append(f"has part {part} where part {at} was expected")
        if its_space != number:
            wrong.append(f"part {part} is in space {its_space}, the record in {number}")
        if vec_type != "blob" or vec != _COMPONENT_BYTES * dimensions or not vec:
            wrong.append(f"part {part} has a vector of {vec} bytes for {dimensions} dimensions")
        if lex_type != "blob" or lex % _TERM_BYTES:
            wrong.append(f"part {part} has {lex} bytes of terms")
    return wrong


def _decoded(connection: sqlite3.Connection, lane: int, seq: int) -> list[str]:
    """Return what is wrong in the parts of a record once they are read."""
    try:
        parts = read_parts(connection, lane, seq)
    except _UNDECODABLE as exc:
        return [f"parts cannot be decoded: {_name(exc)}"]
    return [
        f"part {at} has a vector that is not finite"
        for at, part in enumerate(parts)
        if not np.isfinite(part.vector).all()
    ]


def _found(table: HotTable, row: _Row, parts: int) -> Iterator[str]:
    """Yield where what a query would find of a record differs from the record."""
    first, last = np.searchsorted(table.order, [row[0], row[0] + 1]).tolist()
    expires = _NEVER if row[_EXPIRES] is None else row[_EXPIRES]
    minutes = micros_to_minutes(row[_OCCURRED])
    wrong: Counter[str] = Counter()
    if table.parts[first:last].tolist() != list(range(parts)):
        yield f"queries find {last - first} of its parts, or as others"
    for at in range(first, last):
        start, stop = table.spans[at].tolist()
        same = {
            "id": table.ids[at] == row[_ID_COLUMN],
            "session": _text(table.sessions, at) == row[_SESSION],
            "actor": _text(table.actors, at) == row[_ACTOR],
            "namespace": _text(table.namespaces, at) == row[_NAMESPACE],
            "time": int(table.occurred[at]) == minutes,
            "expiry": int(table.expires[at]) == expires,
            "span": 0 <= start <= stop <= len(row[_TEXT]),
        }
        wrong.update(name for name, right in same.items() if not right)
    for name, count in wrong.items():
        yield f"{count} of its parts have another {name}"


def _text(column: Named, at: int) -> str | None:
    code = int(column.codes[at])
    return None if code < 0 else column.names[code]
