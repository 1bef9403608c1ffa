"""What can be compared with an index's vectors is sent; the rest is refused before it is."""

import numpy as np
import pytest

from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.searching import _checked
from memlane.errors import EmbeddingSpaceError
from memlane.scope import Scope

FLAT = Description(dimension=2, metric="cosine", unfilterable=frozenset(), is_enhanced=True)
ADA = Scope("ada")


@pytest.mark.parametrize(
    "numbers", [(0.0, 0.0), (np.nan, 1.0), (np.inf, 1.0), (1.0, -np.inf), (1.0, 0.0, 0.0), (1.0,)]
)
def test_what_has_no_direction_here(numbers: tuple[float, ...]) -> None:
    """Zero, not finite, or of other dimensions."""
    with pytest.raises(EmbeddingSpaceError):
        _checked(np.array(numbers, dtype=np.float32), FLAT, ADA)


@pytest.mark.parametrize("numbers", [(1.0, 0.0), (3e38, -3e38), (1e-30, 1e-30)])
def test_what_has_one(numbers: tuple[float, ...]) -> None:
    """Even where the square of its length is no number of float32."""
    vector = np.array(numbers, dtype=np.float32)
    assert np.array_equal(_checked(vector, FLAT, ADA), vector)
