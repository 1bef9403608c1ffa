"""Where the records of a tenant, user and agent lie: found, made, and gone with the last record.

A lane and an owner without records would tell who once had some, so forgetting takes them too.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from memlane.checks import check_dimensions, check_space, former_error
from memlane.protocols import EmbeddingSpace
from memlane.scope import Reach, Scope

__all__ = (
    "NOTHING_SWEPT",
    "Lane",
    "column_of",
    "drop_empty",
    "drop_notes",
    "find_lane",
    "find_owner",
    "find_space",
    "has_records",
    "lanes_within",
    "make_room",
    "mark_changed",
    "refuse_former",
    "register_space",
    "space_of",
    "spaces_of",
)

NOTHING_SWEPT: Final = -(2**63)
"""Before any moment."""

_NOBODY: Final = ""  # the column value of None; no id may be empty
_LANES: Final = (
    "select lane.id, lane.owner, lane.agent, lane.changes, lane.swept"
    " from owner join lane on lane.owner = owner.id where owner.tenant = ? and owner.user = ?"
)
_COUNTER: Final = "select id, last_seq from lane where owner = ? order by agent limit 1"
_COUNT_ON: Final = (
    "update lane set last_seq = ?"
    " where id = (select id from lane where owner = ? order by agent limit 1)"
)


class Lane(NamedTuple):
    """The records of one agent of an owner, or of none.

    Args:
        id: Never used twice.
        owner: A tenant's user; never used twice either.
        agent: Whose records they are.
        changes: Counts every change but sweeping.
        swept: What expired at this moment or earlier, in microseconds since 1970, is gone though
            `changes` did not count on; a lower one than any where nothing is.
    """

    id: int
    owner: int
    agent: str | None
    changes: int
    swept: int = NOTHING_SWEPT


def column_of(name: str | None) -> str:
    """Return what a tenant or agent lies under."""
    return _NOBODY if name is None else name


def find_owner(connection: sqlite3.Connection, scope: Scope) -> int | None:
    """Return the owner of a scope's records, if there are any."""
    row: tuple[int] | None = connection.execute(
        "select id from owner where tenant = ? and user = ?", (column_of(scope.tenant), scope.user)
    ).fetchone()
    return row[0] if row else None


def lanes_within(connection: sqlite3.Connection, reach: Reach) -> list[Lane]:
    """Return the lanes a reach covers: all agents', or exactly one's."""
    if not reach.any_agent:
        found = find_lane(connection, reach.scope)
        return [found] if found else []
    rows = connection.execute(_LANES, (column_of(reach.scope.tenant), reach.scope.user))
    return [_lane(row) for row in rows]


def find_lane(connection: sqlite3.Connection, scope: Scope) -> Lane | None:
    """Return the lane of exactly this tenant, user and agent, if it has records."""
    row = connection.execute(
        f"{_LANES} and lane.agent = ?",
        (column_of(scope.tenant), scope.user, column_of(scope.agent)),
    ).fetchone()
    return _lane(row) if row else None


def _lane(row: tuple[int, int, str, int, int | None]) -> Lane:
    number, owner, agent, changes, swept = row
    return Lane(number, owner, agent or None, changes, NOTHING_SWEPT if swept is None else swept)


def make_room(
    connection: sqlite3.Connection, scope: Scope, lane: Lane | None, *, records: int
) -> tuple[int, int]:
    """Return the scope's lane, marked as changed, and the first of `records` new places in it.

    Places count up for each owner alone: nobody learns from them how much others store.

    Args:
        connection: Inside a transaction that writes.
        scope: Whose lane.
        lane: What `find_lane` has found in this transaction.
        records: How many new places.
    """
    if lane is None:
        return _new_lane(connection, scope, records)
    first, last = _counter(connection, lane.owner)
    if lane.id == first:
        connection.execute(
            "update lane set changes = changes + 1, swept = null, last_seq = ? where id = ?",
            (last + records, first),
        )
    else:
        connection.execute("update lane set last_seq = ? where id = ?", (last + records, first))
        mark_changed(connection, lane.id)
    return lane.id, last + 1


def mark_changed(connection: sqlite3.Connection, lane: int) -> None:
    """Let everybody who has read a lane read it again."""
    connection.execute("update lane set changes = changes + 1, swept = null where id = ?", (lane,))


def _new_lane(connection: sqlite3.Connection, scope: Scope, records: int) -> tuple[int, int]:
    owner = find_owner(connection, scope)
    if owner is None:
        owner = _new_id(
            connection.execute(
                "insert into owner (tenant, user) values (?, ?)",
                (column_of(scope.tenant), scope.user),
            )
        )
    _, last = _counter(connection, owner)
    cursor = connection.execute(
        "insert into lane (owner, agent, changes, last_seq) values (?, ?, 1, ?)",
        (owner, column_of(scope.agent), last + records),
    )
    _count_on(connection, owner, last + records)
    return _new_id(cursor), last + 1


def _counter(connection: sqlite3.Connection, owner: int) -> tuple[int, int]:
    """Return the lane that counts an owner's places, the first by agent, and the last place.

    Most owners have one lane, and a commit writes its change counter anyway: a counter with the
    owner would be a page more.
    """
    row: tuple[int, int] | None = connection.execute(_COUNTER, (owner,)).fetchone()
    return row or (0, 0)


def _count_on(connection: sqlite3.Connection, owner: int, last: int) -> bool:
    """Let whichever lane counts now go on from a place; say whether there is one."""
    return connection.execute(_COUNT_ON, (last, owner)).rowcount > 0


def _new_id(cursor: sqlite3.Cursor) -> int:
    found = cursor.lastrowid
    assert found is not None  # noqa: S101 - an insert has one; this is for the type checkers
    return found


def drop_empty(connection: sqlite3.Connection, scope: Scope, lane: Lane) -> None:
    """Remove what named a tenant, user or agent who has no record left."""
    if connection.execute("select 1 from record where lane = ? limit 1", (lane.id,)).fetchone():
        return
    _, last = _counter(connection, lane.owner)
    connection.execute("delete from lane where id = ?", (lane.id,))
    # Another lane counts on from there: a page that was cut before must not end behind new places.
    if _count_on(connection, lane.owner, last):
        return
    connection.execute("delete from owner where id = ?", (lane.owner,))
    drop_notes(connection, scope)


def drop_notes(connection: sqlite3.Connection, scope: Scope) -> None:
    """Remove what is known of the embedding spaces of a tenant who has no record left."""
    if not has_records(connection, scope):
        for table in ("space", "shadow_space", "former_space"):
            connection.execute(f"delete from {table} where tenant = ?", (column_of(scope.tenant),))  # noqa: S608


def has_records(connection: sqlite3.Connection, scope: Scope) -> bool:
    """Say whether anybody of the scope's tenant has a record."""
    found = connection.execute(
        "select 1 from owner where tenant = ? limit 1", (column_of(scope.tenant),)
    ).fetchone()
    return found is not None


def spaces_of(connection: sqlite3.Connection, scope: Scope) -> dict[str, tuple[int, int]]:
    """Return the id and dimensions of each embedding space of the scope's tenant, by name."""
    rows = connection.execute(
        "select name, id, dimensions from space where tenant = ?", (column_of(scope.tenant),)
    )
    return {name: (number, dimensions) for name, number, dimensions in rows}


def find_space(connection: sqlite3.Connection, scope: Scope, name: str) -> tuple[int, int] | None:
    """Return the id and dimensions of one embedding space of the scope's tenant."""
    found: tuple[int, int] | None = connection.execute(
        "select id, dimensions from space where tenant = ? and name = ?",
        (column_of(scope.tenant), name),
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
        refuse_former(connection, scope, name, operation="upsert")
    if fits and not known:
        _begin_space(connection, scope, name)
    if not number:
        return _insert_space(connection, scope, name, fits)
    if fits != known:
        # Until now it had records without vectors only.
        connection.execute("update space set dimensions = ? where id = ?", (fits, number))
    return number


def _begin_space(connection: sqlite3.Connection, scope: Scope, name: str) -> None:
    """Let a tenant's first vectors be of a space, whatever was registered and not used.

    Raises:
        EmbeddingSpaceError: There are vectors of another.
    """
    if not has_records(connection, scope):
        _unregister_others(connection, scope, name)
    vectors = {other for other, (_, size) in spaces_of(connection, scope).items() if size}
    check_space(name, vectors, scope=scope)


def refuse_former(
    connection: sqlite3.Connection, scope: Scope, name: str, *, operation: str
) -> None:
    """Refuse an embedding space that a tenant has left.

    Raises:
        EmbeddingSpaceError: It has been taken to another since the caller looked.
    """
    found = connection.execute(
        "select 1 from former_space where tenant = ? and name = ?", (column_of(scope.tenant), name)
    ).fetchone()
    if found:
        raise former_error(name, scope=scope, operation=operation)


def register_space(connection: sqlite3.Connection, scope: Scope, space: EmbeddingSpace) -> None:
    """Remember the space a tenant's records belong to, from before the first of them.

    Raises:
        EmbeddingSpaceError: There are records of another.
    """
    if not has_records(connection, scope):
        _unregister_others(connection, scope, space.id)
    known = spaces_of(connection, scope)
    check_space(space.id, known, scope=scope)
    if space.id not in known:
        _insert_space(connection, scope, space.id, space.dimensions)


def _unregister_others(connection: sqlite3.Connection, scope: Scope, name: str) -> None:
    connection.execute(
        "delete from space where tenant = ? and name <> ?", (column_of(scope.tenant), name)
    )


def _insert_space(connection: sqlite3.Connection, scope: Scope, name: str, dimensions: int) -> int:
    return _new_id(
        connection.execute(
            "insert into space (tenant, name, dimensions) values (?, ?, ?)",
            (column_of(scope.tenant), name, dimensions),
        )
    )
