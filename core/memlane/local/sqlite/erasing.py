"""All that lies within a reach goes, without being looked at one by one."""

from __future__ import annotations

import sqlite3
from typing import Final

from memlane.local.codec import to_micros
from memlane.local.sqlite.lanes import Lane, drop_empty, lanes_within, mark_changed
from memlane.local.sqlite.removing import clear_beneath, remove
from memlane.local.sqlite.writing import Change
from memlane.scope import Reach, Scope

__all__ = ("ERASED_AT_ONCE", "clear", "plan_erase")

ERASED_AT_ONCE: Final = 1000
"""Records of a change: whoever forgets waits for it, and other writers wait behind each."""

_LAST: Final = 2**63 - 1
_CHOSEN: Final = (
    "select seq from record where lane = ? and (? or session is ?)"
    " and (expires is null or expires > ?) order by seq limit ?"
)


def plan_erase(reach: Reach) -> Change[int]:
    """Return the change that deletes some records within reach.

    It tells how many: fewer than `ERASED_AT_ONCE` when for this moment none are left.
    """

    def change(connection: sqlite3.Connection) -> int:
        count = 0
        for lane in lanes_within(connection, reach):
            most = ERASED_AT_ONCE - count
            if reach.any_session and reach.now is None:
                count += clear(connection, reach.scope, lane, most)
            else:
                count += _choose(connection, reach, lane, most)
            if count >= ERASED_AT_ONCE:
                break
        return count

    return change


def clear(connection: sqlite3.Connection, scope: Scope, lane: Lane, most: int) -> int:
    """Delete the first records of a lane, at most so many, and return how many."""
    edge: tuple[int] | None = connection.execute(
        "select seq from record where lane = ? order by seq limit 1 offset ?", (lane.id, most)
    ).fetchone()
    count = clear_beneath(connection, lane.id, edge[0] if edge else _LAST)
    mark_changed(connection, lane.id)
    drop_empty(connection, scope, lane)
    return count


def _choose(connection: sqlite3.Connection, reach: Reach, lane: Lane, most: int) -> int:
    now = -_LAST if reach.now is None else to_micros(reach.now)
    rows = connection.execute(_CHOSEN, (lane.id, reach.any_session, reach.scope.session, now, most))
    gone = [seq for (seq,) in rows.fetchall()]
    if gone:
        remove(connection, lane.id, gone)
        mark_changed(connection, lane.id)
        drop_empty(connection, reach.scope, lane)
    return len(gone)
