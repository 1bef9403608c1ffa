"""A tenant as a whole: who is in it, what it has, and how it is swept and forgotten.

Each change is small: other writers get between two of them, and readers never wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from memlane.local.codec import to_micros
from memlane.local.places import decode_name, encode_name
from memlane.local.sqlite.erasing import clear
from memlane.local.sqlite.lanes import Lane, column_of, drop_empty, drop_notes, mark_changed
from memlane.local.sqlite.removing import remove
from memlane.local.sqlite.writing import Change
from memlane.powers import NamePage
from memlane.receipts import TenantStats
from memlane.scope import Scope

__all__ = (
    "AT_ONCE",
    "Place",
    "add_up",
    "expired_lanes",
    "lanes_of",
    "left",
    "plan_clear",
    "plan_sweep",
    "stats",
    "users",
)

AT_ONCE: Final = 200
"""Records a change removes: some milliseconds of the writer's time."""

_TIES: Final = 2000  # that expire at one moment and go together
_LANES: Final = 200  # looked at between two changes
_OWNERS: Final = 200  # counted within one read

_USERS: Final = "select user from owner where tenant = ? and user > ? order by user limit ?"
_OF_TENANT: Final = (
    "select lane.id, owner.id, lane.agent, lane.changes, owner.user"
    " from owner cross join lane on lane.owner = owner.id"
    " where owner.tenant = ? and owner.user >= ?"
)
_IN_ORDER: Final = " order by owner.user, lane.agent"
_EXPIRED: Final = (
    " and exists (select 1 from record where record.lane = lane.id and record.expires <= ?)"
)
_LEFT: Final = (
    "select record.id from owner cross join lane on lane.owner = owner.id"
    " cross join record on record.lane = lane.id where owner.tenant = ? limit ?"
)
_COUNTED: Final = (
    "select count(*), sum(length(cast(text as blob))) from record"
    " where lane = ? and (expires is null or expires > ?)"
)
_SPACES: Final = (
    "select space.name, count(*) from record cross join space on space.id = record.space"
    " where lane = ? and (expires is null or expires > ?) group by space.name"
)


class Place(NamedTuple):
    """A lane in the order of users and agents.

    Args:
        lane: The lane.
        user: Whose it is.
    """

    lane: Lane
    user: str


def users(connection: sqlite3.Connection, scope: Scope, cursor: str | None, limit: int) -> NamePage:
    """Return the next users of a tenant by name."""
    after = decode_name(cursor)
    rows = connection.execute(_USERS, (column_of(scope.tenant), after, limit + 1))
    names = [user for (user,) in rows]
    more = len(names) > limit
    return NamePage(
        names=tuple(names[:limit]), cursor=encode_name(names[limit - 1]) if more else None
    )


def lanes_of(
    connection: sqlite3.Connection,
    scope: Scope,
    *,
    most: int,
    after: tuple[str, str] = ("", ""),
) -> list[Place]:
    """Return lanes of a tenant from one on, which is itself among them."""
    user, agent = after
    rows = connection.execute(
        f"{_OF_TENANT} and (owner.user > ? or lane.agent >= ?){_IN_ORDER} limit ?",
        (column_of(scope.tenant), user, user, agent, most),
    )
    return [_place(row) for row in rows]


def _place(row: tuple[int, int, str, int, str]) -> Place:
    number, owner, agent, changes, user = row
    return Place(Lane(number, owner, agent or None, changes), user)


def expired_lanes(
    connection: sqlite3.Connection, scope: Scope, now: datetime, after: str
) -> list[Place]:
    """Return lanes that have expired records, from a user on."""
    rows = connection.execute(
        f"{_OF_TENANT}{_EXPIRED}{_IN_ORDER} limit ?",
        (column_of(scope.tenant), after, to_micros(now), _LANES),
    )
    return [_place(row) for row in rows]


def plan_sweep(places: Sequence[Place], *, scope: Scope, now: datetime) -> Change[int]:
    """Return the change that deletes some expired records of lanes, and counts them."""

    def change(connection: sqlite3.Connection) -> int:
        count = 0
        for place in places:
            count += _sweep(connection, scope, place.lane, to_micros(now), AT_ONCE - count)
            if count >= AT_ONCE:
                break
        return count

    return change


def _sweep(connection: sqlite3.Connection, scope: Scope, lane: Lane, now: int, most: int) -> int:
    """Delete the first to expire of a lane, about as many as are asked for."""
    rows = connection.execute(
        "select expires, seq from record where lane = ? and expires <= ? order by expires limit ?",
        (lane.id, now, max(most, 1) + 1),
    ).fetchall()
    if not rows:
        return 0
    until, whole = now, True
    if len(rows) > most:
        # Readers are told up to when all is gone; so those of one moment go together.
        until = rows[-1][0] - 1
        if rows[0][0] > until:
            until += 1
            rows = connection.execute(
                "select expires, seq from record where lane = ? and expires = ? limit ?",
                (lane.id, until, _TIES + 1),
            ).fetchall()
            whole = len(rows) <= _TIES
            rows = rows[:_TIES]
    gone = [seq for expires, seq in rows if expires <= until]
    remove(connection, lane.id, gone)
    if whole:
        connection.execute(
            "update lane set swept = max(coalesce(swept, ?), ?) where id = ?",
            (until, until, lane.id),
        )
    else:
        mark_changed(connection, lane.id)
    drop_empty(connection, scope, lane)
    return len(gone)


def plan_clear(scope: Scope) -> Change[tuple[int, bool]]:
    """Return the change that deletes some records of a tenant.

    It tells how many those were, and whether for this moment nothing is left.
    """

    def change(connection: sqlite3.Connection) -> tuple[int, bool]:
        count = 0
        places = lanes_of(connection, scope, most=_LANES)
        for place in places:
            count += clear(connection, scope, place.lane, AT_ONCE - count)
            if count >= AT_ONCE:
                break
        is_over = count < AT_ONCE and len(places) < _LANES
        if is_over:
            drop_notes(connection, scope)
        return count, is_over

    return change


def left(connection: sqlite3.Connection, scope: Scope, most: int) -> list[str]:
    """Return ids of records that a tenant has."""
    rows = connection.execute(_LEFT, (column_of(scope.tenant), most))
    return [record_id for (record_id,) in rows]


def stats(
    connection: sqlite3.Connection, scope: Scope, now: datetime, cursor: str | None
) -> tuple[TenantStats, str | None]:
    """Return what some users of a tenant have, and where the next of them begin."""
    page = users(connection, scope, cursor, _OWNERS)
    moment = to_micros(now)
    found = TenantStats(
        users=len(page.names),
        records=0,
        expired=0,
        versions=0,
        vectors=0,
        text_bytes=0,
        spaces={},
    )
    if page.names:
        lanes = connection.execute(
            f"{_OF_TENANT} and owner.user <= ?",
            (column_of(scope.tenant), page.names[0], page.names[-1]),
        )
        for row in lanes.fetchall():
            found = add_up(found, _of_lane(connection, row[0], moment))
    return found, page.cursor


def _of_lane(connection: sqlite3.Connection, lane: int, now: int) -> TenantStats:
    records, size = connection.execute(_COUNTED, (lane, now)).fetchone()
    return TenantStats(
        users=0,
        records=records,
        expired=_count(connection, "record where lane = ? and expires <= ?", lane, now),
        versions=_count(connection, "version where lane = ?", lane),
        vectors=_count(connection, "hot where lane = ?", lane),
        text_bytes=size or 0,
        spaces=dict(connection.execute(_SPACES, (lane, now)).fetchall()),
    )


def _count(connection: sqlite3.Connection, what: str, *values: int) -> int:
    found: tuple[int] = connection.execute(f"select count(*) from {what}", values).fetchone()  # noqa: S608
    return found[0]


def add_up(one: TenantStats, other: TenantStats) -> TenantStats:
    """Return what two have together."""
    names = {**one.spaces, **other.spaces}
    return TenantStats(
        users=one.users + other.users,
        records=one.records + other.records,
        expired=one.expired + other.expired,
        versions=one.versions + other.versions,
        vectors=one.vectors + other.vectors,
        text_bytes=one.text_bytes + other.text_bytes,
        spaces={name: one.spaces.get(name, 0) + other.spaces.get(name, 0) for name in names},
    )
