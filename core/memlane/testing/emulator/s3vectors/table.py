"""The vectors of one index: found by key, by nearness, by a string of their metadata."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Final, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from memlane.testing.emulator.s3vectors.records import Components, Metadata, Put

__all__ = ("Table",)

_FIRST_ROWS: Final = 64


def shuffled(key: str) -> int:
    """Return a key's place in listings: always the same, and no order anybody could rely on."""
    return crc32(key.encode())


class Table:
    """Rows of vectors; a row's number changes when another one is deleted.

    Attributes:
        keys: Of each row.
        metadata: Of each row.
        weights: Bytes of each row, its key and metadata included.
        version: Grows with every change.
    """

    def __init__(self, dimension: int, hidden: frozenset[str] = frozenset()) -> None:
        self._hidden = hidden
        self._matrix: NDArray[np.float32] = np.zeros((_FIRST_ROWS, dimension), dtype=np.float32)
        self._norms: NDArray[np.float64] = np.ones(_FIRST_ROWS)
        self._marks: NDArray[np.uint32] = np.zeros(_FIRST_ROWS, dtype=np.uint32)
        self._rows: dict[str, int] = {}
        self._postings: dict[tuple[str, str], set[str]] = {}
        self._order: list[tuple[int, str]] | None = None
        self.keys: list[str] = []
        self.metadata: list[Metadata] = []
        self.weights: list[int] = []
        self.version = 0

    def __len__(self) -> int:
        return len(self.keys)

    def row(self, key: str) -> int | None:
        """Return the row of a key."""
        return self._rows.get(key)

    def vector(self, row: int) -> Components:
        """Return a row's components; a view, valid until the next change."""
        vector: Components = self._matrix[row]
        return vector

    @property
    def matrix(self) -> NDArray[np.float32]:
        """All vectors, a row each."""
        return self._matrix[: len(self.keys)]

    @property
    def norms(self) -> NDArray[np.float64]:
        """The length of each vector."""
        return self._norms[: len(self.keys)]

    @property
    def marks(self) -> NDArray[np.uint32]:
        """A number of each row's key."""
        return self._marks[: len(self.keys)]

    def put(self, vectors: Iterable[Put]) -> None:
        """Store vectors; one of a key that is there replaces it as a whole [D]."""
        self.version += 1
        for vector in vectors:
            row = self._rows.get(vector.key)
            if row is None:
                row = self._added(vector.key)
            else:
                self._unpost(row)
            self._matrix[row] = vector.data
            self._norms[row] = vector.norm
            self.metadata[row] = vector.metadata
            self.weights[row] = vector.weight
            for pair in self._strings(vector.metadata):
                self._postings.setdefault(pair, set()).add(vector.key)

    def _added(self, key: str) -> int:
        row = len(self.keys)
        if row == len(self._matrix):
            self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
            self._norms = np.concatenate([self._norms, np.ones_like(self._norms)])
            self._marks = np.concatenate([self._marks, np.zeros_like(self._marks)])
        self._rows[key] = row
        mark = shuffled(key)
        self._marks[row] = mark
        self.keys.append(key)
        self.metadata.append({})
        self.weights.append(0)
        if self._order is not None:
            bisect.insort(self._order, (mark, key))
        return row

    def delete(self, keys: Iterable[str]) -> None:
        """Remove vectors; a key that is not there is no error [E]."""
        self.version += 1
        for key in keys:
            row = self._rows.pop(key, None)
            if row is not None:
                self._removed(key, row)

    def _removed(self, key: str, row: int) -> None:
        self._unpost(row)
        if self._order is not None:
            del self._order[bisect.bisect_left(self._order, (shuffled(key), key))]
        last = len(self.keys) - 1
        moved, metadata, weight = self.keys.pop(), self.metadata.pop(), self.weights.pop()
        if row == last:
            return
        self.keys[row], self.metadata[row], self.weights[row] = moved, metadata, weight
        self._rows[moved] = row
        self._matrix[row] = self._matrix[last]
        self._norms[row] = self._norms[last]
        self._marks[row] = self._marks[last]

    def _unpost(self, row: int) -> None:
        key = self.keys[row]
        for pair in self._strings(self.metadata[row]):
            held = self._postings[pair]
            held.discard(key)
            if not held:
                del self._postings[pair]

    def holding(self, pairs: Sequence[tuple[str, str]]) -> list[int] | None:
        """Return rows among which are all that meet every pair; None means any row."""
        if not pairs:
            return None
        smallest = min((self._postings.get(pair, set[str]()) for pair in pairs), key=len)
        return sorted(self._rows[key] for key in smallest)

    def after(
        self, place: tuple[int, str] | None, start: int, stop: int, most: int
    ) -> list[tuple[int, str]]:
        """Return marks and keys in a listing's order: after a place, with marks of a range."""
        if self._order is None:
            marks = cast("list[int]", self.marks.tolist())
            self._order = sorted(zip(marks, self.keys, strict=True))
        order = self._order
        first = bisect.bisect_left(order, (start, ""))
        if place is not None:
            first = max(first, bisect.bisect_right(order, place))
        return order[first : min(first + most, bisect.bisect_left(order, (stop, "")))]

    def _strings(self, metadata: Metadata) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for name, value in metadata.items():
            if name in self._hidden:
                continue
            if isinstance(value, str):
                found.add((name, value))
            elif isinstance(value, list):
                values = cast("list[object]", value)
                found.update((name, each) for each in values if isinstance(each, str))
        return found
