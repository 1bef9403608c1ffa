"""The nearest rows to a vector: one request mostly, and a page more where windows crowd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from memlane.aws.s3vectors.candidates import Answer
from memlane.aws.s3vectors.conditions import wire_filter
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index, token_of, vectors_of
from memlane.errors import EmbeddingSpaceError
from memlane.protocols import Vector, VectorQuery
from memlane.scope import Reach, Scope

__all__ = ("nearest",)

MAX_NEAREST: Final = 10_000
"""Rows that QueryVectors finds for one question."""

_PAGE: Final = 100
_ROWS_A_RECORD: Final = 4  # asked for, so that windows of few records leave room for others
_ENOUGH: Final = 50
"""Records for which a second page is not waited for, where a hundred were asked for to be sure."""


async def nearest(
    index: Index,
    description: Description,
    query: VectorQuery,
    vector: Vector,
    *,
    reach: Reach,
) -> Sequence[Answer]:
    """Return the rows nearest to a vector, as many pages as there must be.

    Raises:
        EmbeddingSpaceError: The vector cannot be compared with the index's.
        InvalidFilterError: The filter cannot be said.
    """
    fields: dict[str, Any] = {
        "topK": _rows(query.limit),
        "queryVector": {"float32": _checked(vector, description, reach.scope)},
        "filter": wire_filter(query, reach=reach, description=description, shared=index.shared),
        "returnMetadata": True,
        "returnDistance": True,
    }
    if not description.is_enhanced:
        # Filtered first, and by prefix too, as an index of the newer mode always is.
        fields["queryMode"] = "ENHANCED"
    answer = await index.call("QueryVectors", fields)
    found: list[Answer] = [*vectors_of(answer)]
    enough = query.limit if query.limit > _PAGE else min(query.limit, _ENOUGH)
    while (token := token_of(answer)) and _records(found) < enough:
        fields["nextToken"] = token
        answer = await index.call("QueryVectors", fields)
        # What is written between two pages may move a row from one to the next.
        known = {row["key"] for row in found}
        found += [row for row in vectors_of(answer) if row["key"] not in known]
    return found


def _rows(limit: int) -> int:
    return limit if limit < _PAGE else min(_ROWS_A_RECORD * limit, MAX_NEAREST)


def _records(found: Sequence[Answer]) -> int:
    return len({row["key"].partition("#")[0] for row in found})


def _checked(vector: Vector, description: Description, scope: Scope) -> Vector:
    row: Vector = np.ascontiguousarray(vector, dtype=np.float32)
    if row.shape != (description.dimension,):
        raise EmbeddingSpaceError(
            f"the query vector has shape {row.shape}; the index has {description.dimension} "
            "dimensions",
            scope=scope,
            remedy="query with the embedder that stored the records",
        )
    if not np.isfinite(row).all() or not row.any():
        raise EmbeddingSpaceError(
            "the query vector is zero, or holds a number that is not finite",
            scope=scope,
            remedy="check the embedder",
        )
    return row
