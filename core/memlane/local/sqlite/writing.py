"""Changes to a store, each a function that runs inside a transaction of the group commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from memlane.checks import check_same, check_upsert, check_version
from memlane.local.codec import from_micros, to_micros
from memlane.local.sqlite.lanes import (
    Lane,
    drop_empty,
    find_lane,
    lanes_within,
    make_room,
    mark_changed,
    register_space,
    space_of,
)
from memlane.local.sqlite.removing import remove, remove_vectors
from memlane.local.sqlite.rows import EncodedRecord, encode, insert
from memlane.local.sqlite.versions import drop_versions, keep_given, keep_stored
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.scope import Reach, Scope

__all__ = ("Change", "plan_delete", "plan_space", "plan_upsert")

T = TypeVar("T")

Change: TypeAlias = Callable[[sqlite3.Connection], T]
"""Writes inside a transaction that others share; may be run again if that one was lost."""

_FIND = "select seq, session, expires from record where lane = ? and id in"
_THERE = "select id, seq, version, stored, updated from record where lane = ? and id in"
_AT_ONCE = 500  # values of a statement; older SQLites take 999


class _There(NamedTuple):
    """A stored record: its place, its version, and when it was stored and last changed."""

    seq: int
    version: int
    stored: int
    updated: int


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
    conditions = {} if expected_version is None else {item.record.id: item for item in records}

    def change(connection: sqlite3.Connection) -> None:
        if not encoded:
            return
        found = find_lane(connection, scope)
        have = _stored(connection, found, encoded)
        for item in encoded:
            there = have.get(item.id)
            check_version(item.id, there.version if there else 0, expected_version, scope=scope)
            if there is not None and item.id in conditions:
                moments = from_micros(there.stored), from_micros(there.updated)
                check_same(conditions[item.id], moments, scope=scope)
        spaces = _spaces(connection, scope, encoded)
        lane, place = make_room(connection, scope, found, records=len(encoded) - len(have))
        placed: list[tuple[int, int, EncodedRecord]] = []
        for item in encoded:
            if item.id in have:
                seq = have[item.id].seq
                _go_on(connection, lane, seq, item)
            else:
                seq, place = place, place + 1
                if item.replaces is not None:
                    space = spaces[item.replaces.space]
                    keep_given(connection, lane, seq, space, item.replaces)
            placed.append((seq, spaces[item.space], item))
        if have:
            remove_vectors(connection, lane, [there.seq for there in have.values()])
        insert(connection, lane, placed)

    return change


def _go_on(connection: sqlite3.Connection, lane: int, seq: int, item: EncodedRecord) -> None:
    """Let a record's history take in what the record replaces, or end with another's."""
    if item.replaces is not None:
        keep_stored(connection, lane, seq)
    elif item.version == 1:
        drop_versions(connection, lane, seq)


def _stored(
    connection: sqlite3.Connection, lane: Lane | None, encoded: Sequence[EncodedRecord]
) -> dict[str, _There]:
    if lane is None:
        return {}
    found: dict[str, _There] = {}
    for at in range(0, len(encoded), _AT_ONCE):
        ids = [item.id for item in encoded[at : at + _AT_ONCE]]
        rows = connection.execute(f"{_THERE} ({_marks(len(ids))})", (lane.id, *ids))
        found |= {record_id: _There(*told) for record_id, *told in rows}
    return found


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _spaces(
    connection: sqlite3.Connection, scope: Scope, encoded: Sequence[EncodedRecord]
) -> dict[str, int]:
    dimensions: dict[str, frozenset[int]] = {}
    for item in encoded:
        dimensions[item.space] = dimensions.get(item.space, frozenset()) | item.dimensions
    # After those with vectors, which may be the first that the tenant has.
    for item in encoded:
        if item.replaces is not None:
            dimensions.setdefault(item.replaces.space, frozenset())
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
    now = None if reach.now is None else to_micros(reach.now)
    gone: list[int] = []
    for at in range(0, len(wanted), _AT_ONCE):
        ids = wanted[at : at + _AT_ONCE]
        rows = connection.execute(f"{_FIND} ({_marks(len(ids))})", (lane.id, *ids))
        for seq, session, expires in rows.fetchall():
            expired = now is not None and expires is not None and expires <= now
            if not expired and (reach.any_session or session == reach.scope.session):
                gone.append(seq)
    if gone:
        remove(connection, lane.id, gone)
        mark_changed(connection, lane.id)
        drop_empty(connection, reach.scope, lane)
    return len(gone)


def plan_space(space: EmbeddingSpace, *, scope: Scope) -> Change[None]:
    """Return the change that remembers a tenant's embedding space."""

    def change(connection: sqlite3.Connection) -> None:
        register_space(connection, scope, space)

    return change
