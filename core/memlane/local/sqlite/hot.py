"""The rows a query scans, as columns: of one lane and embedding space, or of several lanes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from memlane.local.sqlite.packing import joined_numbers, read_labels
from memlane.local.sqlite.rows import joined_terms, unit_vectors
from memlane.protocols import Codes, Integers, Terms, Vector

__all__ = ("HotTable", "Named", "Rows", "join", "read_hot", "take")

T = TypeVar("T")

Rows = npt.NDArray[np.int64]

_NOBODY: Final = -1
_ROW_BYTES: Final = 200  # of a row's id and numbers, as Python and numpy keep them

_SCAN: Final = (
    "select id, labels, numbers, vec, lex from hot where lane = ? and space = ? order by seq, part"
)


class Named(NamedTuple):
    """A column of few different texts: an index into `names` for each row, -1 for none."""

    codes: Codes
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HotTable:
    """What a query needs of every record of a lane; shared between threads, never changed."""

    ids: Sequence[str]
    agents: Sequence[str | None]
    order: Integers
    parts: Codes
    spans: Integers
    matrix: Vector
    terms: Terms
    offsets: Integers
    actors: Named
    sessions: Named
    namespaces: Named
    occurred: Integers
    expires: Integers

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """Bytes it keeps in memory, roughly."""
        return self.matrix.nbytes + self.terms.nbytes + _ROW_BYTES * len(self.ids)


def read_hot(
    connection: sqlite3.Connection,
    lane: int,
    *,
    agent: str | None,
    space: int,
    dimensions: int,
) -> HotTable:
    """Return the rows of a lane that belong to one embedding space, in stored order."""
    rows: list[tuple[Any, ...]] = connection.execute(_SCAN, (lane, space)).fetchall()
    ids, labels, numbers, vec, lex = zip(*rows, strict=True) if rows else [()] * 5
    terms, offsets = joined_terms(lex)
    packed = joined_numbers(numbers)
    actors, sessions, namespaces = _labelled(labels)
    return _frozen(
        HotTable(
            ids=ids,
            agents=(agent,) * len(ids),
            order=packed["seq"].astype(np.int64),
            parts=packed["part"].astype(np.int32),
            spans=np.stack([packed["start"], packed["stop"]], axis=1).astype(np.int64),
            matrix=unit_vectors(vec, dimensions),
            terms=terms,
            offsets=offsets,
            actors=actors,
            sessions=sessions,
            namespaces=namespaces,
            occurred=packed["occurred"].astype(np.int64),
            expires=packed["expires"].astype(np.int64),
        )
    )


def _frozen(table: HotTable) -> HotTable:
    # The very arrays are handed out as candidates, to every caller.
    for column in (
        table.order,
        table.parts,
        table.spans,
        table.matrix,
        table.terms,
        table.offsets,
        table.actors.codes,
        table.sessions.codes,
        table.namespaces.codes,
        table.occurred,
        table.expires,
    ):
        column.flags.writeable = False
    return table


def _labelled(column: Sequence[str]) -> tuple[Named, Named, Named]:
    """Return actors, sessions and namespaces; each different label is read once."""
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(each, len(numbers)) for each in column], dtype=np.int32)
    labels = [read_labels(each) for each in numbers]
    return (
        _named([each.actor for each in labels], codes),
        _named([each.session for each in labels], codes),
        _named([each.namespace for each in labels], codes),
    )


def _named(names: Sequence[str | None], rows: Codes) -> Named:
    numbers: dict[str, int] = {}
    codes = [_NOBODY if name is None else numbers.setdefault(name, len(numbers)) for name in names]
    return Named(np.array(codes, dtype=np.int32)[rows], tuple(numbers))


def take(table: HotTable, rows: Rows) -> HotTable:
    """Return some rows of a table, in the order given."""
    terms, offsets = _take_terms(table.terms, table.offsets, rows)
    chosen: list[int] = rows.tolist()
    return HotTable(
        ids=_at(table.ids, chosen),
        agents=_at(table.agents, chosen),
        order=table.order[rows],
        parts=table.parts[rows],
        spans=table.spans[rows],
        matrix=table.matrix[rows],
        terms=terms,
        offsets=offsets,
        actors=_take_named(table.actors, rows),
        sessions=_take_named(table.sessions, rows),
        namespaces=_take_named(table.namespaces, rows),
        occurred=table.occurred[rows],
        expires=table.expires[rows],
    )


def _at(column: Sequence[T], rows: list[int]) -> list[T]:
    return [column[row] for row in rows]


def _take_terms(terms: Terms, offsets: Integers, rows: Rows) -> tuple[Terms, Integers]:
    lengths = offsets[rows + 1] - offsets[rows]
    begins = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=begins[1:])
    # The n-th term of a row lies n behind the row's first, here and there.
    shifts: Integers = np.repeat(offsets[rows] - begins[:-1], lengths)
    source: Rows = np.arange(len(shifts), dtype=np.int64) + shifts
    return terms[source], begins


def _take_named(column: Named, rows: Rows) -> Named:
    # Names that only other rows have would tell what lies outside of the reach.
    kept, codes = np.unique(column.codes[rows], return_inverse=True)
    nobody = int(len(kept) > 0 and kept[0] == _NOBODY)
    occurring: list[int] = kept[nobody:].tolist()
    names = tuple(_at(column.names, occurring))
    return Named((codes.reshape(-1) - nobody).astype(np.int32), names)


def join(tables: Sequence[HotTable]) -> HotTable:
    """Return the rows of several lanes of one owner and space, in stored order."""
    lengths = np.concatenate([np.diff(table.offsets) for table in tables])
    whole = HotTable(
        ids=[each for table in tables for each in table.ids],
        agents=[each for table in tables for each in table.agents],
        order=np.concatenate([table.order for table in tables]),
        parts=np.concatenate([table.parts for table in tables]),
        spans=np.concatenate([table.spans for table in tables]),
        matrix=np.concatenate([table.matrix for table in tables]),
        terms=np.concatenate([table.terms for table in tables]),
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
        actors=_join_named([table.actors for table in tables]),
        sessions=_join_named([table.sessions for table in tables]),
        namespaces=_join_named([table.namespaces for table in tables]),
        occurred=np.concatenate([table.occurred for table in tables]),
        expires=np.concatenate([table.expires for table in tables]),
    )
    # Lanes of one owner never share a place; a stable sort keeps a record's parts as they are.
    return take(whole, np.argsort(whole.order, kind="stable"))


def _join_named(columns: Sequence[Named]) -> Named:
    numbers: dict[str, int] = {}
    codes: list[Codes] = []
    for column in columns:
        new = [numbers.setdefault(name, len(numbers)) for name in column.names]
        # The last one is found by the code -1.
        codes.append(np.array([*new, _NOBODY], dtype=np.int32)[column.codes])
    return Named(np.concatenate(codes), tuple(numbers))
