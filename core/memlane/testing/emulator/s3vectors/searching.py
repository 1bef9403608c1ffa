"""What a query finds: by nearness, by words, or by both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from memlane.testing.emulator.s3vectors.filters import Condition
from memlane.testing.emulator.s3vectors.pages import Found
from memlane.testing.emulator.s3vectors.recall import kept
from memlane.testing.emulator.s3vectors.records import Components
from memlane.testing.emulator.s3vectors.resources import Index
from memlane.testing.emulator.s3vectors.words import ranked
from memlane.testing.emulator.s3vectors.world import World

__all__ = ("Question", "Search")

_SHORT: Final = 1e-15
_LONG: Final = 1e15

Rows: TypeAlias = NDArray[np.int64]
Scored: TypeAlias = list[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query, read.

    Args:
        depth: Results at most.
        vector: What is near to it.
        texts: Pairs of metadata key and words.
        condition: What must hold; None for no filter.
        enhanced: Whether the filter comes before the neighbours.
        digest: The same for the same question.
    """

    depth: int
    vector: Components | None
    texts: tuple[tuple[str, str], ...]
    condition: Condition | None
    enhanced: bool
    digest: bytes


class Search:
    """One query of one index.

    Args:
        world: Its switches.
        index: What is searched.
        question: What is looked for.
    """

    def __init__(self, world: World, index: Index, question: Question) -> None:
        self._switches = world.switches
        self._index = index
        self._table = index.table
        self._question = question
        self._rows = self._matching()

    def found(self) -> tuple[Found, ...]:
        """Return all that is found, best first."""
        question, keys = self._question, self._table.keys
        near = [] if question.vector is None else self._nearest(question.vector)
        if not question.texts:
            return tuple(Found(key=keys[row], distance=distance) for row, distance in near)
        if question.vector is None and len(question.texts) == 1:
            ((key, words),) = question.texts
            return tuple(
                Found(key=keys[row], distance=None, texts=((key, score),))
                for row, score in self._having(key, words)[: question.depth]
            )
        return self._fused(near)

    def _matching(self) -> Rows | None:
        """Return the rows the filter matches; None for all of them."""
        condition, table = self._question.condition, self._table
        if condition is None:
            return None
        among = table.holding(condition.strings)
        rows = range(len(table)) if among is None else among
        found = [row for row in rows if condition.holds(table.metadata[row])]
        return np.array(found, dtype=np.int64)

    def _nearest(self, vector: Components) -> Scored:
        switches, rows, depth = self._switches, self._rows, self._question.depth
        pool = rows
        if rows is not None and not self._question.enhanced:
            # CLASSIC: the filter is asked while neighbours are looked for, and drops some [D].
            near, _ = self._ordered(None, vector, max(depth, switches.classic_pool))
            pool = near[np.isin(near, rows)]
        exact = switches.recall == "exact"
        near, distances = self._ordered(pool, vector, depth if exact else 2 * depth + 64)
        if not exact:
            found = kept(
                self._table.marks[near],
                depth=depth,
                matching=None if rows is None else len(rows),
                seed=switches.recall_seed,
                query=crc32(self._question.digest),
            )
            near, distances = near[found], distances[found]
        told = np.maximum(distances[:depth], np.float32(switches.identical_distance))
        return list(zip(near[:depth].tolist(), told.tolist(), strict=True))

    def _ordered(
        self, rows: Rows | None, vector: Components, most: int
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Return the nearest rows and their distances; of equal ones the order says nothing."""
        table = self._table
        distances = self._distances(
            table.matrix if rows is None else table.matrix[rows],
            table.norms if rows is None else table.norms[rows],
            vector,
        )
        given = np.arange(len(table)) if rows is None else rows
        if most < len(given):
            nearest = np.argpartition(distances, most - 1)[:most]
            given, distances = given[nearest], distances[nearest]
        order = np.lexsort((table.marks[given], distances))
        return given[order], distances[order]

    def _distances(
        self, matrix: NDArray[np.float32], norms: NDArray[np.float64], vector: Components
    ) -> NDArray[np.float32]:
        if self._index.metric == "cosine":
            distances = _cosine(matrix, norms, vector)
        else:
            apart = matrix - vector
            distances = np.einsum("ij,ij->i", apart, apart).astype(np.float64)
            if self._switches.euclidean == "root":
                distances = np.sqrt(distances)
        return distances.astype(np.float32)

    def _having(self, key: str, words: str) -> Scored:
        rows, table = self._rows, self._table
        among = range(len(table)) if rows is None else cast("list[int]", rows.tolist())
        metadata = {row: table.metadata[row] for row in among}
        stems = self._switches.text_stems and self._index.texts[key].language == "en"
        return ranked(words, metadata, key=key, stems=stems)

    def _fused(self, near: Scored) -> tuple[Found, ...]:
        """Fuse one list by nearness and one a field by the reciprocals of their ranks [D]."""
        question, table = self._question, self._table
        lists = {key: self._having(key, words) for key, words in question.texts}
        fused: dict[int, float] = {}
        for one in (near, *lists.values()):
            for rank, (row, _) in enumerate(one[: question.depth], start=1):
                fused[row] = fused.get(row, 0.0) + 1 / (self._switches.rrf_constant + rank)
        distances = dict(near)
        scores = {key: dict(one) for key, one in lists.items()}
        order = sorted(fused, key=lambda row: (-fused[row], int(table.marks[row])))
        return tuple(
            Found(
                key=table.keys[row],
                distance=distances.get(row),
                fused=fused[row],
                texts=tuple((key, one[row]) for key, one in scores.items() if row in one),
            )
            for row in order[: question.depth]
        )


def _cosine(
    matrix: NDArray[np.float32], norms: NDArray[np.float64], vector: Components
) -> NDArray[np.float64]:
    """Return 1 - cosine, whatever the lengths [E]."""
    exact = vector.astype(np.float64)
    exact /= np.linalg.norm(exact)
    unit = exact.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        # No BLAS: its threads spin, and cost eight times as much beside others' work.
        distances = 1 - np.einsum("ij,j->i", matrix, unit) / norms
    odd = np.flatnonzero((norms < _SHORT) | (norms > _LONG))
    if len(odd):  # float32 does not hold their products
        distances[odd] = 1 - (matrix[odd].astype(np.float64) @ exact) / norms[odd]
    distances64: NDArray[np.float64] = distances
    return distances64
