"""So that a backend that keeps whole records need not know how candidates are laid out.

A backend that can list what is in reach is finished with `candidates_of`; one with columns of its
own uses `cosine_distances` alone. One that is asked twice has its answers joined by `merged`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from itertools import pairwise
from typing import Final, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from memlane.errors import EmbeddingSpaceError
from memlane.layout import EPOCH, in_namespace, to_minutes
from memlane.metadata import record_fields
from memlane.protocols import (
    Candidates,
    Codes,
    IndexedRecord,
    Integers,
    RecordPart,
    Terms,
    Vector,
    VectorQuery,
)
from memlane.types import MemoryRecord

__all__ = (
    "TimedCandidates",
    "candidates_of",
    "cosine_distances",
    "directions_of",
    "meets",
    "merged",
)

_Name: TypeAlias = tuple[str, str, bool, int]

_NOWHERE: Final = -1  # the code of no actor and of no session
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCandidates(Candidates):
    """Candidates that can be joined with those of another query: places and codes have a meaning.

    Args:
        stored: int64 (n,): microseconds since the epoch of `layout` at which each row's record was
            first stored.
        session_names: What the codes in `sessions` stand for; equal names are equal sessions.
    """

    stored: Integers
    session_names: Sequence[str]


def meets(record: MemoryRecord, query: VectorQuery) -> bool:
    """Say whether a record meets the query's conditions; its reach is the caller's business."""
    return (
        record.space == query.space
        and in_namespace(record.namespace, query.namespace)
        and (query.actor is None or record.actor == query.actor)
        and (query.filter is None or query.filter.matches(record_fields(record)))
    )


def cosine_distances(matrix: Vector, vector: Vector | None, *, unit_rows: bool = False) -> Vector:
    """Return the cosine distance, 0 to 2, of each row to `vector`; NaN when there is none.

    A row or a vector of length zero has no direction: it is at distance 1 of everything.

    Args:
        matrix: float32 of shape (rows, dimensions).
        vector: float32 of shape (dimensions,).
        unit_rows: Each row is known to have length one or zero, which saves most of the work.

    Raises:
        EmbeddingSpaceError: The vector is not finite, or not as long as the rows.
    """
    if vector is None:
        return np.full(len(matrix), np.nan, dtype=np.float32)
    query = np.array(vector, dtype=np.float64)
    if query.ndim != 1 or (len(matrix) and query.shape[0] != matrix.shape[1]):
        raise EmbeddingSpaceError(
            f"the query vector has shape {query.shape}, the stored ones {matrix.shape[1:]}",
            remedy="query with the embedder that stored the records",
        )
    if not np.isfinite(query).all():
        raise EmbeddingSpaceError(
            "the query vector holds a number that is not finite", remedy="check the embedder"
        )
    # In float64 the lengths of raw vectors neither overflow nor vanish.
    length = float(np.linalg.norm(query))
    if not len(matrix) or not length:
        return np.ones(len(matrix), dtype=np.float32)
    query /= length
    with np.errstate(over="ignore", invalid="ignore"):
        # Not `@`: from about 1,200 rows on, BLAS wakes a thread for each core. Where others want
        # those cores they spin, at 10,000 rows for 28 ms of CPU where this pass takes 0.6.
        similarities: npt.NDArray[np.floating] = np.einsum(
            "ij,j->i", matrix, query.astype(np.float32)
        )
    if not np.isfinite(similarities).all():  # rows so long that float32 cannot sum them
        similarities = matrix.astype(np.float64) @ query
    if not unit_rows:
        lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
        lengths[lengths == 0] = np.inf
        similarities = similarities / lengths
    distances: Vector = np.clip(1.0 - similarities, 0.0, 2.0).astype(np.float32, copy=False)
    return distances


def directions_of(matrix: Vector) -> Callable[[Sequence[int]], Vector]:
    """Return what tells the directions of some rows of a matrix; nothing is computed until then.

    Args:
        matrix: float32 of shape (rows, dimensions), of any lengths; one of zero has no direction,
            and stays zero.
    """

    def directions(rows: Sequence[int]) -> Vector:
        chosen = matrix[np.asarray(rows, dtype=np.int64)].astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", chosen, chosen))
        lengths[lengths == 0] = 1.0
        found: Vector = (chosen / lengths[:, None]).astype(np.float32)
        return found

    return directions


def candidates_of(
    records: Iterable[IndexedRecord], query: VectorQuery, *, complete: bool = True
) -> Candidates:
    """Return the candidates for `query` among records that are within reach.

    Args:
        records: With their parts, in stored order, of one tenant and user, expired ones left out.
        query: Its conditions on space, namespace, actor and filter are applied here.
        complete: Whether `records` is everything in reach.

    Raises:
        EmbeddingSpaceError: The query's vector does not fit those of its space.
    """
    rows: list[tuple[int, MemoryRecord, int, RecordPart]] = [
        (position, item.record, number, part)
        for position, item in enumerate(records)
        if meets(item.record, query)
        for number, part in enumerate(item.parts)
    ]
    count = len(rows)
    actors: dict[str, int] = {}
    sessions: dict[str, int] = {}
    matrix = _matrix([part.vector for *_, part in rows])
    terms = [np.asarray(part.terms, dtype=np.uint32) for *_, part in rows]
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum([len(each) for each in terms], out=offsets[1:])
    return Candidates(
        record_ids=[record.id for _, record, _, _ in rows],
        agents=[record.scope.agent for _, record, _, _ in rows],
        parts=np.array([number for _, _, number, _ in rows], dtype=np.int32),
        spans=np.array([(part.start, part.end) for *_, part in rows], dtype=np.int64).reshape(
            count, 2
        ),
        distances=cosine_distances(matrix, query.vector),
        terms=_joined(terms),
        offsets=offsets,
        actors=np.array([_code(actors, record.actor) for _, record, _, _ in rows], np.int32),
        actor_names=list(actors),
        sessions=np.array(
            [_code(sessions, record.scope.session) for _, record, _, _ in rows], np.int32
        ),
        order=np.array([position for position, *_ in rows], dtype=np.int64),
        occurred=np.array(
            [to_minutes(record.occurred_at) for _, record, _, _ in rows], dtype=np.int64
        ),
        complete=complete,
        records=[record for _, record, _, _ in rows],
        directions=directions_of(matrix),
    )


def _code(codes: dict[str, int], name: str | None) -> int:
    return _NOWHERE if name is None else codes.setdefault(name, len(codes))


def _joined(terms: list[Terms]) -> Terms:
    return np.concatenate(terms) if terms else np.zeros(0, dtype=np.uint32)


def _matrix(vectors: list[Vector]) -> Vector:
    if not vectors:
        return np.zeros((0, 0), dtype=np.float32)
    if len({vector.shape for vector in vectors}) > 1:
        raise EmbeddingSpaceError(
            "vectors of one embedding space have different dimensions",
            remedy="store and query with one embedder per space",
        )
    return np.stack(vectors).astype(np.float32, copy=False)


def merged(first: Candidates, second: Candidates) -> Candidates:
    """Return the candidates of two queries of one reach as one table, each row once.

    Records are in the order of `stored`, and of their ids where that is the same: ids of ours
    rise. Answers that are neither timed nor have their records cannot be joined: then it is the
    first alone.
    """
    known = set(_names(first))
    fresh = [row for row, name in enumerate(_names(second)) if name not in known]
    one, other = _timed(first), _timed(second)
    if not fresh or one is None or other is None:
        return first
    count = len(one)
    # Rows of the second follow those of the first in what is indexed below.
    moments = [*one.stored.tolist(), *other.stored.tolist()]
    names = [*_names(one), *_names(other)]
    rows = sorted(
        [*range(count), *(count + row for row in fresh)], key=lambda row: (moments[row], names[row])
    )
    chosen = np.array(rows, dtype=np.int64)
    order, last = np.zeros(len(rows), dtype=np.int64), None
    place = -1
    for at, row in enumerate(rows):
        if names[row][:3] != last:
            last, place = names[row][:3], place + 1
        order[at] = place
    actors, actor_names = _joined_codes(
        (one.actors, one.actor_names), (other.actors, other.actor_names)
    )
    sessions, session_names = _joined_codes(
        (one.sessions, one.session_names), (other.sessions, other.session_names)
    )
    texts = _slices(one) + _slices(other)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(texts[row]) for row in rows], out=offsets[1:])
    records = None
    if one.records is not None and other.records is not None:
        records = _Rows(one.records, other.records, rows)
    return TimedCandidates(
        record_ids=[names[row][0] for row in rows],
        agents=[None if names[row][2] else names[row][1] for row in rows],
        parts=np.concatenate([one.parts, other.parts])[chosen],
        spans=np.concatenate([one.spans, other.spans])[chosen],
        distances=np.concatenate([one.distances, other.distances])[chosen],
        terms=_joined([texts[row] for row in rows]),
        offsets=offsets,
        actors=actors[chosen],
        actor_names=actor_names,
        sessions=sessions[chosen],
        order=order,
        occurred=np.concatenate([one.occurred, other.occurred])[chosen],
        complete=one.complete,
        records=records,
        directions=_joined_directions(one, other, rows),
        stored=np.array(moments, dtype=np.int64)[chosen],
        session_names=session_names,
    )


def _joined_directions(
    first: Candidates, second: Candidates, rows: Sequence[int]
) -> Callable[[Sequence[int]], Vector] | None:
    """Return the directions of the rows of two answers, where both can tell theirs."""
    tell, other, count = first.directions, second.directions, len(first)
    if tell is None or other is None:
        return None

    def directions(chosen: Sequence[int]) -> Vector:
        places = [rows[row] for row in chosen]
        one, two = (
            tell([p for p in places if p < count]),
            other([p - count for p in places if p >= count]),
        )
        found = np.zeros((len(places), max(one.shape[1], two.shape[1])), dtype=np.float32)
        late = np.array(places, dtype=np.int64) >= count
        if len(one):
            found[~late] = one
        if len(two):
            found[late] = two
        return found

    return directions


class _Rows(Sequence[MemoryRecord]):
    """Records of two answers, in another order; each is looked at when it is asked for."""

    def __init__(
        self, first: Sequence[MemoryRecord], second: Sequence[MemoryRecord], rows: Sequence[int]
    ) -> None:
        self._first = first
        self._second = second
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> MemoryRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[MemoryRecord]: ...
    def __getitem__(self, place: int | slice) -> MemoryRecord | Sequence[MemoryRecord]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        row, count = self._rows[place], len(self._first)
        return self._first[row] if row < count else self._second[row - count]


def _names(candidates: Candidates) -> list[_Name]:
    """Return what tells rows of one user apart; the id first, for sorting."""
    return [
        (record_id, agent or "", agent is None, part)
        for record_id, agent, part in zip(
            candidates.record_ids, candidates.agents, candidates.parts.tolist(), strict=True
        )
    ]


def _timed(candidates: Candidates) -> TimedCandidates | None:
    if isinstance(candidates, TimedCandidates):
        return candidates
    records = candidates.records
    if records is None:
        return None
    sessions: dict[str, int] = {}
    codes = [_code(sessions, record.scope.session) for record in records]
    given = {field.name: getattr(candidates, field.name) for field in fields(Candidates)}
    given["sessions"] = np.array(codes, dtype=np.int32)
    return TimedCandidates(
        **given,
        stored=np.array(
            [(record.stored_at - EPOCH) // _MICROSECOND for record in records], dtype=np.int64
        ),
        session_names=list(sessions),
    )


def _joined_codes(
    first: tuple[Codes, Sequence[str]], second: tuple[Codes, Sequence[str]]
) -> tuple[Codes, list[str]]:
    """Return the codes of two tables as codes of one list of names."""
    both = dict.fromkeys([*first[1], *second[1]])
    places = {name: place for place, name in enumerate(both)}
    # One more at the end: it is what the code of nobody, -1, picks.
    new = np.array([*(places[name] for name in second[1]), _NOWHERE], dtype=np.int32)
    return np.concatenate([first[0], new[second[0]]]), list(places)


def _slices(candidates: Candidates) -> list[Terms]:
    edges = candidates.offsets.tolist()
    return [candidates.terms[start:end] for start, end in pairwise(edges)]
