"""Distances into similarities: the one place that knows what near means."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ("similarities",)

Vector: TypeAlias = npt.NDArray[np.float32]


def similarities(distances: Vector, metric: Literal["cosine", "euclidean"] = "cosine") -> Vector:
    """Return similarities 0..1: `max(0, 1 - d)` for cosine, `1 / (1 + d)` for euclidean.

    NaN, a row without a vector, becomes 0.
    """
    if metric == "cosine":
        near = np.minimum(1.0 - distances, 1.0)
    else:
        near = 1.0 / (1.0 + np.maximum(distances, 0.0))
    # Of NaN and a number `fmax` takes the number.
    found: Vector = np.fmax(near, 0.0).astype(np.float32, copy=False)
    return found
