"""What a model answers is looked at once, and quickly: one vector or many, float32 or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memlane.embeddings import check_vectors
from memlane.errors import EmbeddingSpaceError
from memlane.protocols import EmbeddingSpace

SPACE = EmbeddingSpace(model="m", dimensions=3)
_GOOD = [0.5, -0.5, 0.0]


def _checked(rows: Any, count: int) -> Any:
    return check_vectors(rows, count=count, space=SPACE)


@pytest.mark.parametrize("others", [0, 1, 4])
@pytest.mark.parametrize("kind", [np.float32, np.float64, list])
@pytest.mark.parametrize(
    ("row", "word"),
    [
        ([0.0, 0.0, 0.0], "zero vector"),
        ([float("nan"), 1.0, 0.0], "NaN"),
        ([float("inf"), 1.0, 0.0], "NaN or infinite"),
        ([-float("inf"), float("inf"), 0.0], "NaN or infinite"),
    ],
)
def test_a_vector_without_direction_is_refused(
    row: list[float], word: str, kind: Any, others: int
) -> None:
    """Alone, and among good ones, in whatever form it comes."""
    rows: Any = [_GOOD] * others + [row]
    with pytest.raises(EmbeddingSpaceError, match=word):
        _checked(rows if kind is list else np.array(rows, dtype=kind), others + 1)


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("row", [[3e38, 3e38, 3e38], [1e-30, 0.0, 0.0], [-1e-44, 0.0, 0.0]])
def test_a_length_that_float32_cannot_hold_is_no_fault(row: list[float], others: int) -> None:
    """Its square overflows or vanishes, and the numbers are still numbers."""
    rows = np.array([_GOOD] * others + [row], dtype=np.float32)
    assert np.array_equal(_checked(rows, others + 1), rows)


def test_a_double_too_large_for_float32_is_refused_without_a_warning() -> None:
    """It would be infinite in every store."""
    with pytest.raises(EmbeddingSpaceError, match="infinite"):
        _checked(np.array([[1e300, 0.0, 1.0]]), 1)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("count", [1, 3])
def test_what_comes_back_is_a_copy_in_float32(kind: Any, count: int) -> None:
    """A model may answer in the same buffer the next time; the order in memory is C's."""
    rows = np.asfortranarray(np.array([_GOOD] * count, dtype=kind))
    found = _checked(rows, count)
    rows[:] = 7
    assert found.tolist() == [_GOOD] * count
    assert found.dtype == np.float32
    assert found.flags.c_contiguous


@pytest.mark.parametrize("rows", ["text", None, [["a", "b", "c"]], [[1.0, 2.0], [3.0]], object()])
def test_what_is_no_numbers_is_refused(rows: object) -> None:
    """With the model's name, and without what it answered."""
    with pytest.raises(EmbeddingSpaceError, match="m:3"):
        _checked(rows, 1)


@pytest.mark.parametrize("rows", [[_GOOD], [[1.0, 2.0]], [], [[_GOOD]], _GOOD])
def test_another_shape_is_refused(rows: Any) -> None:
    """One for each text, each as long as the space says."""
    with pytest.raises(EmbeddingSpaceError, match="shape"):
        _checked(np.array(rows, dtype=np.float32), 2)
