"""What lies in a store file, and how an older one becomes a current one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from memlane.local.sqlite.packing import NEVER, Labels, pack_labels, pack_numbers

__all__ = ("APPLICATION_ID", "MIGRATIONS", "Migration", "migrate", "version_of")

APPLICATION_ID: Final = int.from_bytes(b"mlan", "big")
"""Marks a SQLite file as ours; one without it is somebody else's and is never touched."""

Migration: TypeAlias = Callable[[sqlite3.Connection], None]
"""Takes a file from one version to the next, inside a transaction that is not its own."""

# Ids are never used twice (autoincrement): caches and cursors that name a lane or an owner of the
# past then find nothing, instead of somebody who came later.
#
# A tenant or agent of None is '', which no id may be; so unique constraints see it.
#
# `hot` holds all that a query reads of every record in reach, one lane's rows side by side; the
# text lies apart, and is read for the winners only. Vectors have length one there, as float16, and
# their true length among the numbers: a row fits its page, and raw vectors of any length keep
# their precision. Times are microseconds since 1970, those of `hot.numbers` as packing.py says.
_FIRST: Final = (
    """
    create table owner (
        id integer primary key autoincrement,
        tenant text not null,
        user text not null,
        last_seq integer not null,
        unique (tenant, user)
    )
    """,
    """
    create table lane (
        id integer primary key autoincrement,
        owner integer not null,
        agent text not null,
        changes integer not null,
        unique (owner, agent)
    )
    """,
    """
    create table space (
        id integer primary key autoincrement,
        tenant text not null,
        name text not null,
        dimensions integer not null,
        unique (tenant, name)
    )
    """,
    """
    create table hot (
        lane integer not null,
        seq integer not null,
        part integer not null,
        space integer not null,
        id text not null,
        actor text,
        session text,
        namespace text not null,
        occurred integer not null,
        expires integer,
        start integer not null,
        stop integer not null,
        norm real not null,
        vec blob not null,
        lex blob not null,
        primary key (lane, seq, part)
    ) without rowid
    """,
    """
    create table record (
        lane integer not null,
        seq integer not null,
        id text not null,
        version integer not null,
        session text,
        actor text,
        namespace text not null,
        kind text not null,
        source text not null,
        occurred integer not null,
        stored integer not null,
        updated integer not null,
        expires integer,
        space integer not null,
        tags text not null,
        metadata text not null,
        text text not null,
        primary key (lane, seq)
    ) without rowid
    """,
    "create unique index record_id on record (lane, id)",
)


_PACKED: Final = """
    create table packed (
        lane integer not null,
        seq integer not null,
        part integer not null,
        space integer not null,
        id text not null,
        labels text not null,
        numbers blob not null,
        vec blob not null,
        lex blob not null,
        primary key (lane, seq, part)
    ) without rowid
    """


def _create(connection: sqlite3.Connection) -> None:
    for statement in _FIRST:
        connection.execute(statement)


def _pack(connection: sqlite3.Connection) -> None:
    """Give a row of `hot` five values to read instead of twelve, and a commit a page less.

    Places are counted beside the change counter now: each commit writes both.
    """
    connection.execute(_PACKED)
    connection.executemany(
        "insert into packed (lane, seq, part, space, id, labels, numbers, vec, lex)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        map(_packed, connection.execute("select * from hot order by lane, seq, part")),
    )
    connection.execute("drop table hot")
    connection.execute("alter table packed rename to hot")
    connection.execute("alter table lane add column last_seq integer not null default 0")
    connection.execute(
        "update lane set last_seq = (select last_seq from owner where owner.id = lane.owner)"
    )
    connection.execute("alter table owner drop column last_seq")


def _packed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    lane, seq, part, space, record, actor, session, namespace, occurred, expires, *rest = row
    start, stop, norm, vec, lex = rest
    expires = NEVER if expires is None else expires
    labels = pack_labels(Labels(actor, session, namespace))
    numbers = pack_numbers(seq, occurred, expires, norm, part, start, stop)
    return lane, seq, part, space, record, labels, numbers, vec, lex


# A version has a record's columns and place; `kept` counts up as versions come. Of a shadow, rows
# are those that `hot` will have: `shadowed` says whose are there, also of a record without parts.
# A lane's expired records that were at most as late as `swept` are gone, though it did not change.
_LIVED: Final = (
    "alter table record add column valid_from integer",
    "alter table record add column valid_to integer",
    "alter table record add column images text not null default ''",
    "alter table lane add column swept integer",
    "create index record_expires on record (lane, expires) where expires is not null",
    """
    create table version (
        lane integer not null,
        seq integer not null,
        kept integer not null,
        id text not null,
        version integer not null,
        session text,
        actor text,
        namespace text not null,
        kind text not null,
        source text not null,
        occurred integer not null,
        stored integer not null,
        updated integer not null,
        expires integer,
        space integer not null,
        tags text not null,
        metadata text not null,
        text text not null,
        valid_from integer,
        valid_to integer,
        images text not null,
        primary key (lane, seq, kept)
    ) without rowid
    """,
    """
    create table shadow_space (
        tenant text not null primary key,
        name text not null,
        dimensions integer not null
    ) without rowid
    """,
    """
    create table former_space (
        tenant text not null,
        name text not null,
        primary key (tenant, name)
    ) without rowid
    """,
    """
    create table shadowed (
        lane integer not null,
        seq integer not null,
        primary key (lane, seq)
    ) without rowid
    """,
    """
    create table shadow (
        lane integer not null,
        seq integer not null,
        part integer not null,
        id text not null,
        labels text not null,
        numbers blob not null,
        vec blob not null,
        lex blob not null,
        primary key (lane, seq, part)
    ) without rowid
    """,
    # A program of an older version that has the file open forgets what it knows of, and no more.
    """
    create trigger lane_forgotten after delete on lane begin
        delete from version where lane = old.id;
        delete from shadow where lane = old.id;
        delete from shadowed where lane = old.id;
    end
    """,
)


def _live(connection: sqlite3.Connection) -> None:
    """Let records have a history and an end, and a tenant go to another embedding space."""
    for statement in _LIVED:
        connection.execute(statement)


MIGRATIONS: Final[tuple[Migration, ...]] = (_create, _pack, _live)
"""The n-th takes a file from version n to n + 1. Only ever appended to."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return how many migrations a file has seen."""
    found: tuple[int] = connection.execute("pragma user_version").fetchone()
    return found[0]


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...]) -> None:
    """Bring a file up to date, one transaction a step; a step that was cut short never was."""
    while version_of(connection) < len(migrations):
        connection.execute("begin immediate")
        try:
            # Read again under the lock: another process may have taken the step meanwhile.
            version = version_of(connection)
            if version < len(migrations):
                migrations[version](connection)
                connection.execute(f"pragma application_id = {APPLICATION_ID}")
                connection.execute(f"pragma user_version = {version + 1}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
