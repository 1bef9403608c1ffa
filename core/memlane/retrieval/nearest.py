"""Few candidates are so little work that a thread would cost more; by the embedding alone, less."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from memlane.calibration import Calibration, relevance
from memlane.protocols import Candidates
from memlane.retrieval.recipe import Place

__all__ = ("are_few", "nearest")

_FEW_ROWS: Final = 200
_FEW_TERMS: Final = 20_000
"""Up to here any ranking takes less time, 0.4 ms, than a hop to another thread and back."""


def are_few(candidates: Candidates) -> bool:
    """Say whether candidates are ranked where they are, and not on a thread."""
    return len(candidates) <= _FEW_ROWS and len(candidates.terms) <= _FEW_TERMS


def nearest(
    candidates: Candidates,
    *,
    limit: int,
    min_similarity: float | None = None,
    calibration: Calibration | None = None,
) -> list[Place]:
    """Return what `rank` returns with a weight on similarity alone, without numpy's overhead."""
    order = candidates.order.tolist()
    # As float32, which is what a bound is compared with and what equals are equal in.
    near = (1.0 - candidates.distances).tolist()
    least = -1.0 if min_similarity is None else float(np.float32(min_similarity))
    found = [
        (similarity, order[row], row)
        for row, similarity in _best_parts(order, near)
        if similarity >= least
    ]
    # Of equals the one stored last comes first.
    found.sort(reverse=True)
    del found[limit:]
    relevant: list[float | None] = [None] * len(found)
    if calibration is not None and found:
        similarities = np.array([similarity for similarity, _, _ in found], dtype=np.float32)
        relevant = relevance(similarities, np.zeros_like(similarities), calibration).tolist()
    return [
        Place(row, similarity, similarity, share, partial(_shares, similarity))
        for (similarity, _, row), share in zip(found, relevant, strict=True)
    ]


def _shares(similarity: float) -> dict[str, float]:
    return {"similarity": similarity} if similarity else {}


def _best_parts(order: list[int], near: list[float]) -> Iterator[tuple[int, float]]:
    """Yield the row of each record's best part, and its similarity 0..1; of equals the last."""
    last, best, row = None, 0.0, -1
    for at, place in enumerate(order):
        value = near[at]
        # NaN, a row without a vector, is not above zero.
        value = (min(value, 1.0)) if value > 0.0 else 0.0
        if place != last:
            if row >= 0:
                yield row, best
            last, best, row = place, value, at
        elif value >= best:
            best, row = value, at
    if row >= 0:
        yield row, best
