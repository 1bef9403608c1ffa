"""Changes to a store, each a function that runs inside a transaction of the group commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from memlane.checks import check_upsert, check_version
from memlane.local.codec import to_micros
from memlane.local.sqlite.lanes import (
    Lane,
    drop_empty,
    find_lane,
    lanes_within,
    make_room,
    register_space,
    space_of,
)
from memlane.local.sqlite.rows import EncodedRecord, encode, insert
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.scope import Reach, Scope

__all__ = ("Change", "plan_delete", "plan_space", "plan_upsert")

T = TypeVar("T")

Change: TypeAlias = Callable[[sqlite3.Connection], T]
"""Writes inside a transaction that others share; may be run again if that one was lost."""

_FIND = "select id, seq, version from record where lane = ? and id in"
_AT_ONCE = 500  # values of a statement; older SQLites take 999


def plan_upsert(
    records: Sequence[IndexedRecord], *, scope: Scope, expected_version: int | None
) -> Change[None]:
    """Return the change that stores records; the encoding is done here, before any lock.

    Raises:
        MemlaneError: Records that are not the scope's, or that cannot be stored.
    """
    check_upsert(records, scope=scope, expected_version=expected_version)
    # Of one id given twice the last counts, in the place of the first.
    encoded = list({item.id: item for item in encode(records)}.values())

    def change(connection: sqlite3.Connection) -> None:
        if not encoded:
            return
        found = find_lane(connection, scope)
        have = _stored(connection, found, encoded)
        for item in encoded:
            version = have[item.id][1] if item.id in have else 0
            check_version(item.id, version, expected_version, scope=scope)
        spaces = _spaces(connection, scope, encoded)
        lane, place = make_room(connection, scope, found, records=len(encoded) - len(have))
        if have:
            _remove(connection, lane, [seq for seq, _ in have.values()])
        placed: list[tuple[int, int, EncodedRecord]] = []
        for item in encoded:
            if item.id in have:
                seq = have[item.id][0]
            else:
                seq, place = place, place + 1
            placed.append((seq, spaces[item.space], item))
        insert(connection, lane, placed)

    return change


def _stored(
    connection: sqlite3.Connection, lane: Lane | None, encoded: Sequence[EncodedRecord]
) -> dict[str, tuple[int, int]]:
    if lane is None:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for at in range(0, len(encoded), _AT_ONCE):
        ids = [item.id for item in encoded[at : at + _AT_ONCE]]
        marks = ", ".join("?" * len(ids))
        rows = connection.execute(f"{_FIND} ({marks})", (lane.id, *ids))
        found |= {record_id: (seq, version) for record_id, seq, version in rows}
    return found


def _spaces(
    connection: sqlite3.Connection, scope: Scope, encoded: Sequence[EncodedRecord]
) -> dict[str, int]:
    dimensions: dict[str, frozenset[int]] = {}
    for item in encoded:
        dimensions[item.space] = dimensions.get(item.space, frozenset()) | item.dimensions
    return {name: space_of(connection, scope, name, dims) for name, dims in dimensions.items()}


def plan_delete(record_ids: Sequence[str], *, reach: Reach) -> Change[int]:
    """Return the change that deletes what of the ids is within reach, and counts it."""
    wanted = list(dict.fromkeys(record_ids))

    def change(connection: sqlite3.Connection) -> int:
        return sum(
            _delete_from(connection, lane, wanted, reach)
            for lane in lanes_within(connection, reach)
        )

    return change


def _delete_from(
    connection: sqlite3.Connection, lane: Lane, wanted: Sequence[str], reach: Reach
) -> int:
    find = "select seq, session, expires from record where lane = ? and id = ?"
    now = None if reach.now is None else to_micros(reach.now)
    gone: list[int] = []
    for record_id in wanted:
        row = connection.execute(find, (lane.id, record_id)).fetchone()
        if row is None:
            continue
        seq, session, expires = row
        expired = now is not None and expires is not None and expires <= now
        if not expired and (reach.any_session or session == reach.scope.session):
            gone.append(seq)
    if gone:
        _remove(connection, lane.id, gone)
        connection.execute("update lane set changes = changes + 1 where id = ?", (lane.id,))
        drop_empty(connection, reach.scope, lane)
    return len(gone)


def _remove(connection: sqlite3.Connection, lane: int, places: Sequence[int]) -> None:
    rows = [(lane, seq) for seq in places]
    connection.executemany("delete from hot where lane = ? and seq = ?", rows)
    connection.executemany("delete from record where lane = ? and seq = ?", rows)


def plan_space(space: EmbeddingSpace, *, scope: Scope) -> Change[None]:
    """Return the change that remembers a tenant's embedding space."""

    def change(connection: sqlite3.Connection) -> None:
        register_space(connection, scope, space)

    return change
