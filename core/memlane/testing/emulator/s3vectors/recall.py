"""Which neighbours an approximate index does not find, after a live measurement [B]."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ("kept", "recall_at")

_DEPTHS: Final = (5, 10, 20, 50)
# Of an ENHANCED index of 50,000 x 384: vectors a filter matches, and the recall at each depth.
_FILTERED: Final = (
    (5, (1.0, 1.0, 1.0, 1.0)),
    (50, (0.948, 0.898, 0.811, 0.610)),
    (135, (0.952, 0.932, 0.883, 0.724)),
    (500, (0.992, 0.974, 0.949, 0.911)),
    (5_000, (0.996, 0.992, 0.997, 0.996)),
    (25_000, (0.988, 0.984, 0.988, 0.991)),
)
_UNFILTERED: Final = (0.984, 0.994, 0.996, 0.992)
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


def recall_at(depth: int, matching: int | None) -> float:
    """Return the mean recall of a query.

    Args:
        depth: Neighbours asked for.
        matching: Vectors its filter matches; None without a filter.
    """
    if matching is None:
        return _at(depth, _UNFILTERED)
    if matching <= _FILTERED[0][0]:
        return 1.0
    for (few, below), (many, above) in pairwise(_FILTERED):
        if matching <= many:
            part = math.log(matching / few) / math.log(many / few)
            return (1 - part) * _at(depth, below) + part * _at(depth, above)
    return _at(depth, _FILTERED[-1][1])


def _at(depth: int, row: tuple[float, ...]) -> float:
    points = np.log(_DEPTHS)
    return float(np.interp(math.log(depth), points, row))


def kept(
    marks: NDArray[np.uint32], *, depth: int, matching: int | None, seed: int, query: int
) -> NDArray[np.bool_]:
    """Say which neighbours are found, of all that should be.

    The farther of them are lost more often than the nearer, so that the first five of fifty are
    found more surely than five alone; on average the loss is the measured one.

    Args:
        marks: A number of each neighbour's key, nearest first.
        depth: Neighbours asked for.
        matching: Vectors the filter matches; None without a filter.
        seed: Of the losses.
        query: A number of the query: the same one loses the same.
    """
    loss = 1 - recall_at(depth, matching)
    reached = max(1, min(depth, len(marks)))
    ranks = np.minimum(np.arange(len(marks)) + 0.5, reached)
    chance = np.minimum(1.0, loss * 2 * ranks / reached)
    mixed = (marks.astype(np.uint64) ^ np.uint64(query ^ (seed * 0x9E3779B1) & 0xFFFFFFFF)) * _MIX
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    drawn = (mixed >> np.uint64(32)).astype(np.float64) / 2**32
    found: NDArray[np.bool_] = np.greater_equal(drawn, chance)
    return found
