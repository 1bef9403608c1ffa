"""The nearest rows to a vector: one request mostly, and more where windows crowd records out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from memlane.aws.s3vectors.candidates import Answer
from memlane.aws.s3vectors.conditions import of_wholes, wire_filter
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index, token_of, vectors_of
from memlane.aws.s3vectors.records import decoded
from memlane.errors import EmbeddingSpaceError, MemlaneError
from memlane.metadata import record_fields
from memlane.protocols import Vector, VectorQuery
from memlane.scope import Reach, Scope

__all__ = ("nearest",)

MAX_NEAREST: Final = 10_000
"""Rows that QueryVectors finds for one question."""

_PAGE: Final = 100
_WIDER: Final = 4
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

    Where the windows of few records are all that was found, whole texts alone are asked for in
    the end: those records are there then, though not with the window that is nearest.

    Raises:
        EmbeddingSpaceError: The vector cannot be compared with the index's.
        InvalidFilterError: The filter cannot be said.
    """
    search = _Search(index, description, query, reach=reach)
    search.fields["queryVector"] = {"float32": _checked(vector, description, reach.scope)}
    top = query.limit if query.limit < _PAGE else min(_ROWS_A_RECORD * query.limit, MAX_NEAREST)
    if await search.is_short(top):
        await search.go_on(top)
    return [*search.found.values()]


class _Search:
    """One question, and what was found for it: in several ways where one is not enough.

    Args:
        index: Where.
        description: What the index is like.
        query: What is asked.
        reach: Whose records.
    """

    def __init__(
        self, index: Index, description: Description, query: VectorQuery, *, reach: Reach
    ) -> None:
        self.found: dict[str, Answer] = {}
        self.fields: dict[str, Any] = {
            "topK": 0,
            "queryVector": None,
            "filter": wire_filter(query, reach=reach, description=description, shared=index.shared),
            "returnMetadata": True,
            "returnDistance": True,
        }
        if not description.is_enhanced:
            # Filtered first, and by prefix too, as an index of the newer mode always is.
            self.fields["queryMode"] = "ENHANCED"
        self._index = index
        self._description = description
        self._query = query
        self._scope = reach.scope
        limit = query.limit
        self._enough = limit if limit > _PAGE else min(limit, max(_ENOUGH, query.records))
        self._needed = min(limit, max(0 if limit < _PAGE else _ENOUGH, query.records))
        self._narrow: dict[str, Any] | None = None
        self._is_wide = False  # some of what was asked for may not meet the query's filter
        if query.filter is not None:
            narrow = wire_filter(
                query, reach=reach, description=description, shared=index.shared, narrow=True
            )
            if narrow != self.fields["filter"]:
                self._narrow, self._is_wide = narrow, True

    async def is_short(self, top: int) -> bool:
        """Ask for so many rows; say whether records are missing, and more may be there."""
        fields = {**self.fields, "topK": top}
        rows = 0
        while True:
            answer = await self._index.call("QueryVectors", fields)
            vectors = vectors_of(answer)
            rows += len(vectors)
            # What is written between two pages may move a row from one to the next.
            for vector in vectors:
                self.found.setdefault(vector["key"], vector)
            token = token_of(answer)
            if not token:
                return rows >= top and self._records() < self._needed
            if self._records() >= self._enough:
                return False
            if self._narrow is not None:
                return True
            fields["nextToken"] = token

    async def go_on(self, top: int) -> None:
        """Look beyond the rows that were found, until there are records enough or no more."""
        if self._narrow is not None:
            self.fields["filter"], self._narrow = self._narrow, None
            if not await self.is_short(top):
                return
        while top * _WIDER <= _ROWS_A_RECORD * _PAGE:
            top *= _WIDER
            if not await self.is_short(top):
                return
        wholes = of_wholes(self.fields["filter"], self._description)
        if wholes is not None:
            self.fields["filter"] = wholes
            await self.is_short(max(self._needed, min(self._query.limit, _PAGE)))
            return
        while top < MAX_NEAREST:
            top = min(_WIDER * top, MAX_NEAREST)
            if not await self.is_short(top):
                return

    def _records(self) -> int:
        if self._is_wide:
            wholes = {key.partition("#")[0]: vector for key, vector in self.found.items()}
            return sum(self._meets(key, wholes[key]["metadata"]) for key in wholes)
        return len({key.partition("#")[0] for key in self.found})

    def _meets(self, key: str, flat: Mapping[str, Any]) -> bool:
        condition = self._query.filter
        try:
            record = decoded(key, flat, tenant=self._scope.tenant)
        except MemlaneError:
            return True  # whoever reads the rows says so
        return condition is None or condition.matches(record_fields(record))


def _checked(vector: Vector, description: Description, scope: Scope) -> Vector:
    row: Vector = np.ascontiguousarray(vector, dtype=np.float32)
    if row.shape != (description.dimension,):
        raise EmbeddingSpaceError(
            f"the query vector has shape {row.shape}; the index has {description.dimension} "
            "dimensions",
            scope=scope,
            remedy="query with the embedder that stored the records",
        )
    # One pass for both questions; a length that overflowed or vanished is looked into.
    if not 0.0 < np.einsum("i,i->", row, row) < np.inf and not (
        np.isfinite(row).all() and row.any()
    ):
        raise EmbeddingSpaceError(
            "the query vector is zero, or holds a number that is not finite",
            scope=scope,
            remedy="check the embedder",
        )
    return row
