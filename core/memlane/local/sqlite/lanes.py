"""Where the records of a tenant, user and agent lie: found, made, and gone with the last record.

A lane and an owner without records would tell who once had some, so forgetting takes them too.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from memlane.checks import check_dimensions, check_space
from memlane.protocols import EmbeddingSpace
from memlane.scope import Reach, Scope

__all__ = (
    "Lane",
    "Owner",
    "drop_empty",
    "find_owner",
    "find_space",
    "lanes_within",
    "make_lane",
    "owner_lanes",
    "register_space",
    "space_of",
    "spaces_of",
)

_NOBODY: Final = ""  # the column value of None; no id may be empty


class Owner(NamedTuple):
    """A tenant's user with records."""

    id: int
    last_seq: int


class Lane(NamedTuple):
    """The records of one agent of an owner, or of none."""

    id: int
    agent: str | None
    changes: int


def _column(name: str | None) -> str:
    return _NOBODY if name is None else name


def find_owner(connection: sqlite3.Connection, scope: Scope) -> Owner | None:
    """Return the owner of a scope's records, if there are any."""
    row = connection.execute(
        "select id, last_seq from owner where tenant = ? and user = ?",
        (_column(scope.tenant), scope.user),
    ).fetchone()
    return Owner(*row) if row else None


def owner_lanes(connection: sqlite3.Connection, owner: int) -> list[Lane]:
    """Return all lanes of an owner."""
    rows = connection.execute("select id, agent, changes from lane where owner = ?", (owner,))
    return [Lane(lane, agent or None, changes) for lane, agent, changes in rows]


def lanes_within(connection: sqlite3.Connection, reach: Reach) -> list[Lane]:
    """Return the lanes a reach covers: all agents', or exactly one's."""
    scope = reach.scope
    statement = (
        "select lane.id, lane.agent, lane.changes from owner join lane on lane.owner = owner.id"
        " where owner.tenant = ? and owner.user = ?"
    )
    values = [_column(scope.tenant), scope.user]
    if not reach.any_agent:
        statement += " and lane.agent = ?"
        values.append(_column(scope.agent))
    rows = connection.execute(statement, values)
    return [Lane(lane, agent or None, changes) for lane, agent, changes in rows]


def make_lane(connection: sqlite3.Connection, scope: Scope, *, records: int) -> tuple[int, int]:
    """Return the scope's lane, marked as changed, and the first of `records` new places in it.

    Places count up for each owner alone: nobody learns from them how much others store.
    """
    owner = find_owner(connection, scope)
    if owner is None:
        cursor = connection.execute(
            "insert into owner (tenant, user, last_seq) values (?, ?, ?)",
            (_column(scope.tenant), scope.user, records),
        )
        owner = Owner(_new_id(cursor), 0)
    elif records:
        connection.execute(
            "update owner set last_seq = last_seq + ? where id = ?", (records, owner.id)
        )
    agent = _column(scope.agent)
    row = connection.execute(
        "select id from lane where owner = ? and agent = ?", (owner.id, agent)
    ).fetchone()
    if row is None:
        cursor = connection.execute(
            "insert into lane (owner, agent, changes) values (?, ?, 1)", (owner.id, agent)
        )
        return _new_id(cursor), owner.last_seq + 1
    connection.execute("update lane set changes = changes + 1 where id = ?", row)
    lane: int = row[0]
    return lane, owner.last_seq + 1


def _new_id(cursor: sqlite3.Cursor) -> int:
    found = cursor.lastrowid
    assert found is not None  # noqa: S101 - an insert has one; this is for the type checkers
    return found


def drop_empty(connection: sqlite3.Connection, scope: Scope, lane: int) -> None:
    """Remove what named a tenant, user or agent who has no record left."""
    if connection.execute("select 1 from record where lane = ? limit 1", (lane,)).fetchone():
        return
    connection.execute("delete from lane where id = ?", (lane,))
    owner = find_owner(connection, scope)
    if owner is None or owner_lanes(connection, owner.id):
        return
    connection.execute("delete from owner where id = ?", (owner.id,))
    if not _has_records(connection, scope):
        connection.execute("delete from space where tenant = ?", (_column(scope.tenant),))


def _has_records(connection: sqlite3.Connection, scope: Scope) -> bool:
    found = connection.execute(
        "select 1 from owner where tenant = ? limit 1", (_column(scope.tenant),)
    ).fetchone()
    return found is not None


def spaces_of(connection: sqlite3.Connection, scope: Scope) -> dict[str, tuple[int, int]]:
    """Return the id and dimensions of each embedding space of the scope's tenant, by name."""
    rows = connection.execute(
        "select name, id, dimensions from space where tenant = ?", (_column(scope.tenant),)
    )
    return {name: (number, dimensions) for name, number, dimensions in rows}


def find_space(connection: sqlite3.Connection, scope: Scope, name: str) -> tuple[int, int] | None:
    """Return the id and dimensions of one embedding space of the scope's tenant."""
    found: tuple[int, int] | None = connection.execute(
        "select id, dimensions from space where tenant = ? and name = ?",
        (_column(scope.tenant), name),
    ).fetchone()
    return found


def space_of(
    connection: sqlite3.Connection, scope: Scope, name: str, dimensions: frozenset[int]
) -> int:
    """Return the id of the space that vectors of these dimensions belong to, made if it is new.

    Raises:
        EmbeddingSpaceError: The space has other dimensions.
    """
    number, known = find_space(connection, scope, name) or (0, 0)
    fits = known
    for have in sorted(dimensions):
        check_dimensions(name, have, fits, scope=scope)
        fits = have
    if not number:
        return _insert_space(connection, scope, name, fits)
    if fits != known:
        # Until now it had records without vectors only.
        connection.execute("update space set dimensions = ? where id = ?", (fits, number))
    return number


def register_space(connection: sqlite3.Connection, scope: Scope, space: EmbeddingSpace) -> None:
    """Remember the space a tenant's records belong to, from before the first of them.

    Raises:
        EmbeddingSpaceError: There are records of another.
    """
    if not _has_records(connection, scope):
        connection.execute(
            "delete from space where tenant = ? and name <> ?", (_column(scope.tenant), space.id)
        )
    known = spaces_of(connection, scope)
    check_space(space.id, known, scope=scope)
    if space.id not in known:
        _insert_space(connection, scope, space.id, space.dimensions)


def _insert_space(connection: sqlite3.Connection, scope: Scope, name: str, dimensions: int) -> int:
    return _new_id(
        connection.execute(
            "insert into space (tenant, name, dimensions) values (?, ?, ?)",
            (_column(scope.tenant), name, dimensions),
        )
    )
