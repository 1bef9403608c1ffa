"""A tenant's vectors in another embedding space, until they take the place of the present ones.

What is shadowed goes when its record changes or goes, in the same transaction; so what is there
is always right, and what is pending is what is not there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from memlane.checks import shadow_error, spaced_error
from memlane.local.codec import images_json, parse_images
from memlane.local.places import decode_member, encode_member
from memlane.local.sqlite.lanes import (
    Lane,
    column_of,
    drop_notes,
    find_lane,
    has_records,
    mark_changed,
    register_space,
    spaces_of,
)
from memlane.local.sqlite.packing import pack_numbers
from memlane.local.sqlite.rows import RECORD_COLUMNS, EncodedRecord, RecordDecoder, encode
from memlane.local.sqlite.tenants import Place, lanes_of
from memlane.local.sqlite.writing import Change
from memlane.media import unseen
from memlane.powers import PendingPage
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.scope import Scope
from memlane.types import MemoryRecord

__all__ = ("pending", "plan_abandon", "plan_begin", "plan_cut_over", "plan_shadow")

_LANES: Final = 500  # read at once
_LAST: Final = 2**63 - 1
_PENDING: Final = (
    f"select {RECORD_COLUMNS} where record.lane = ? and record.seq > ? and not exists"  # noqa: S608
    " (select 1 from shadowed where lane = record.lane and seq = record.seq)"
    " order by record.seq limit ?"
)
_ANY_PENDING: Final = (
    "select 1 from owner cross join lane on lane.owner = owner.id"
    " cross join record on record.lane = lane.id where owner.tenant = ? and not exists"
    " (select 1 from shadowed where lane = record.lane and seq = record.seq) limit 1"
)
_BY_ID: Final = f"select {RECORD_COLUMNS} where record.lane = ? and record.id = ?"
_OF_TENANT: Final = (
    "(select lane.id from owner join lane on lane.owner = owner.id where owner.tenant = ?)"
)
_INSERT: Final = (
    "insert into shadow (lane, seq, part, id, labels, numbers, vec, lex)"
    " values (?, ?, ?, ?, ?, ?, ?, ?)"
)
_TAKE_PLACE: Final = (
    "insert into hot (lane, seq, part, space, id, labels, numbers, vec, lex)"
    " select lane, seq, part, ?, id, labels, numbers, vec, lex from shadow where lane = ?"
)


class _Shadow(NamedTuple):
    name: str
    dimensions: int


def plan_begin(space: EmbeddingSpace, *, scope: Scope) -> Change[None]:
    """Return the change that makes a shadow, or finds it."""

    def change(connection: sqlite3.Connection) -> None:
        found = _find(connection, scope)
        if found is not None:
            if found.name != space.id:
                raise shadow_error(space.id, found.name, scope=scope, operation="reembed")
        elif has_records(connection, scope) and _settled(connection, scope, space):
            raise spaced_error(space.id, scope=scope)
        else:
            connection.execute(
                "insert into shadow_space (tenant, name, dimensions) values (?, ?, ?)",
                (column_of(scope.tenant), space.id, space.dimensions),
            )

    return change


def _find(connection: sqlite3.Connection, scope: Scope) -> _Shadow | None:
    row: tuple[str, int] | None = connection.execute(
        "select name, dimensions from shadow_space where tenant = ?", (column_of(scope.tenant),)
    ).fetchone()
    return _Shadow(*row) if row else None


def _settled(connection: sqlite3.Connection, scope: Scope, space: EmbeddingSpace) -> bool:
    """Say whether all that a tenant has is of a space."""
    return all(name == space.id for name in spaces_of(connection, scope))


def _stands(connection: sqlite3.Connection, scope: Scope, space: EmbeddingSpace) -> bool:
    """Say whether there is a shadow of a space; there need be none any more.

    Raises:
        ConflictError: It is of another space, or was abandoned.
    """
    found = _find(connection, scope)
    if found is not None and found.name == space.id:
        return True
    if found is None and _settled(connection, scope, space):
        return False
    raise shadow_error(space.id, found and found.name, scope=scope, operation="reembed")


def pending(
    connection: sqlite3.Connection,
    scope: Scope,
    space: EmbeddingSpace,
    *,
    cursor: str | None,
    limit: int,
) -> PendingPage:
    """Return the next records that the shadow lacks."""
    user, agent, after = decode_member(cursor)
    if not _stands(connection, scope, space):
        return PendingPage(records=(), cursor=None)
    found: list[MemoryRecord] = []
    mark = cursor
    places = lanes_of(connection, scope, after=(user, agent), most=_LANES)
    while places:
        for place in places:
            last = after if (place.user, place.lane.agent or "") == (user, agent) else 0
            rows: list[tuple[Any, ...]] = connection.execute(
                _PENDING, (place.lane.id, last, limit + 1 - len(found))
            ).fetchall()
            decoder = RecordDecoder(Scope(place.user, tenant=scope.tenant))
            for row in rows:
                if len(found) == limit:
                    return PendingPage(records=tuple(found), cursor=mark)
                found.append(decoder.record(place.lane.agent, row))
                mark = encode_member(place.user, place.lane.agent, row[0])
        (user, agent), after = _of(places[-1]), _LAST
        places = lanes_of(connection, scope, after=(user, f"{agent}\0"), most=_LANES)
    return PendingPage(records=tuple(found), cursor=None)


def _of(place: Place) -> tuple[str, str]:
    return place.user, place.lane.agent or ""


def plan_shadow(
    records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
) -> Change[None]:
    """Return the change that puts vectors into the shadow; the encoding is done here."""
    pairs = list(zip(records, encode(records), strict=True))

    def change(connection: sqlite3.Connection) -> None:
        if not _stands(connection, scope, space):
            return
        lanes: dict[tuple[str, str | None], Lane | None] = {}
        for item, encoded in pairs:
            owner = item.record.scope
            key = (owner.user, owner.agent)
            if key not in lanes:
                lanes[key] = find_lane(connection, owner)
            lane = lanes[key]
            if lane is not None:
                _put(connection, lane, item.record, encoded)

    return change


def _put(
    connection: sqlite3.Connection, lane: Lane, record: MemoryRecord, encoded: EncodedRecord
) -> None:
    row: tuple[Any, ...] | None = connection.execute(_BY_ID, (lane.id, record.id)).fetchone()
    if row is None:
        return
    stored = RecordDecoder(record.scope).record(lane.agent, row)
    # Its pictures' vectors are not made anew, and its notes may say so already.
    if replace(record, space=stored.space, images=stored.images) != stored:
        return  # changed since it was read: it is pending as it is now
    seq: int = row[0]
    for table in ("shadow", "shadowed"):
        connection.execute(f"delete from {table} where lane = ? and seq = ?", (lane.id, seq))  # noqa: S608
    connection.execute("insert into shadowed (lane, seq) values (?, ?)", (lane.id, seq))
    connection.executemany(
        _INSERT,
        [
            (lane.id, seq, part, record.id, encoded.labels, pack_numbers(seq, *numbers), vec, lex)
            for part, (numbers, vec, lex) in enumerate(encoded.parts)
        ],
    )


def plan_cut_over(space: EmbeddingSpace, *, scope: Scope) -> Change[bool]:
    """Return the change that puts the shadow in the old vectors' place, if nothing is pending."""

    def change(connection: sqlite3.Connection) -> bool:
        if not _stands(connection, scope, space):
            return True
        tenant = column_of(scope.tenant)
        if connection.execute(_ANY_PENDING, (tenant,)).fetchone():
            return False
        if not has_records(connection, scope):
            drop_notes(connection, scope)
            register_space(connection, scope, space)
            return True
        number = _renamed(connection, scope, space)
        _forget_pictures(connection, tenant)
        lanes = connection.execute(f"select id from lane where id in {_OF_TENANT}", (tenant,))  # noqa: S608
        for (lane,) in lanes.fetchall():
            connection.execute("delete from hot where lane = ?", (lane,))
            connection.execute(_TAKE_PLACE, (number, lane))
            mark_changed(connection, lane)
        _drop(connection, scope)
        return True

    return change


def _unseen(notes: str) -> str:
    return images_json(unseen(parse_images(notes)))


def _forget_pictures(connection: sqlite3.Connection, tenant: str) -> None:
    """Let the notes of a tenant's pictures say that there are no vectors of them."""
    connection.create_function("unseen", 1, _unseen, deterministic=True)
    for table in ("record", "version"):
        connection.execute(
            f"update {table} set images = unseen(images) where lane in {_OF_TENANT}"  # noqa: S608
            " and images != ''",
            (tenant,),
        )


def _renamed(connection: sqlite3.Connection, scope: Scope, space: EmbeddingSpace) -> int:
    """Let all that a tenant has be of a space, and return its id.

    A space's row is given the new name: no record has to be written for it.
    """
    tenant = column_of(scope.tenant)
    known = spaces_of(connection, scope)
    number, _ = known.get(space.id) or next(iter(known.values()))
    others = [other for other, _ in known.values() if other != number]
    for other in others:
        for table in ("record", "version"):
            connection.execute(
                f"update {table} set space = ? where lane in {_OF_TENANT} and space = ?",  # noqa: S608
                (number, tenant, other),
            )
        connection.execute("delete from space where id = ?", (other,))
    connection.execute(
        "update space set name = ?, dimensions = ? where id = ?",
        (space.id, space.dimensions, number),
    )
    connection.execute("delete from former_space where tenant = ? and name = ?", (tenant, space.id))
    connection.executemany(
        "insert or ignore into former_space (tenant, name) values (?, ?)",
        [(tenant, name) for name in known if name != space.id],
    )
    return number


def plan_abandon(scope: Scope) -> Change[bool]:
    """Return the change that removes a shadow, if there is one."""

    def change(connection: sqlite3.Connection) -> bool:
        found = _find(connection, scope) is not None
        _drop(connection, scope)
        return found

    return change


def _drop(connection: sqlite3.Connection, scope: Scope) -> None:
    tenant = column_of(scope.tenant)
    for table in ("shadow", "shadowed"):
        connection.execute(f"delete from {table} where lane in {_OF_TENANT}", (tenant,))  # noqa: S608
    connection.execute("delete from shadow_space where tenant = ?", (tenant,))
