"""Where vectors point, nearly, told from 128 bytes each: queries never return the vectors.

A sketch is the first 128 components of a vector, as whole numbers. Of vectors that have no more it
tells the cosine to 0.01; of a sentence model's 384 to 0.03 where two are alike (cosine 0.7 and
above), and to 0.06 where they are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from memlane.protocols import Vector

__all__ = ("COMPONENTS", "directions_from", "sketch_of")

COMPONENTS: Final = 128

_MOST: Final = 127.0


def sketch_of(vector: Vector) -> bytes:
    """Return the sketch of a vector: a byte for each component, 128 at most.

    It is empty where that much of a vector says nothing.
    """
    # In float64 no sum of squares overflows or vanishes, whatever the vector's length.
    head = vector[:COMPONENTS].astype(np.float64)
    square = float(head.dot(head))
    if not square > 0.0:
        return b""
    # By its own length no component can be more than one, so none is cut off.
    return (head * (_MOST / math.sqrt(square))).astype(np.int8).tobytes()


def directions_from(read: Callable[[int], bytes]) -> Callable[[Sequence[int]], Vector]:
    """Return what tells the directions of rows, as `Candidates.directions` does.

    Nothing is read before it is asked. A row without a sketch is like no other: its direction is
    zero.

    Args:
        read: Returns the sketch of a row, empty where it has none.
    """

    def directions(rows: Sequence[int]) -> Vector:
        found = [read(row) for row in rows]
        size = max(map(len, found), default=0)
        none = bytes(size)
        raw = b"".join(each if len(each) == size else none for each in found)
        matrix = np.frombuffer(raw, dtype=np.int8).reshape(len(found), size).astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
        lengths[lengths == 0] = 1.0
        told: Vector = matrix / lengths[:, None]
        return told

    return directions
