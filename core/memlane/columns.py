"""So that a backend that keeps whole records need not know how candidates are laid out.

A backend that can list what is in reach is finished with `candidates_of`; one with columns of its
own uses `cosine_distances` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from memlane.errors import EmbeddingSpaceError
from memlane.layout import in_namespace, to_minutes
from memlane.metadata import record_fields
from memlane.protocols import Candidates, IndexedRecord, RecordPart, Terms, Vector, VectorQuery
from memlane.types import MemoryRecord

__all__ = ("candidates_of", "cosine_distances", "meets")

_NOWHERE: Final = -1  # the code of no actor and of no session


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
