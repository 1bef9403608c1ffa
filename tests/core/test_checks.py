"""What may be stored as a vector: any flat row of finite numbers, however long."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from memlane.checks import check_upsert
from memlane.errors import EmbeddingSpaceError
from memlane.scope import Scope
from memlane.testing.samples import indexed, make_record

ADA = Scope("ada", tenant="acme")
RECORD = make_record("a", "prefers tea", scope=ADA)


@pytest.mark.parametrize(
    "vector",
    [
        np.full(8, 3e38, np.float32),
        np.full(8, 1e-45, np.float32),
        np.full(8, -1e308, np.float64),
        np.full(8, 6e4, np.float16),
        np.zeros(8, np.float32),
    ],
    ids=["large", "small", "double", "half", "zero"],
)
def test_finite_numbers_are_taken_whatever_their_length(vector: Any) -> None:
    """Also where the square of the length is none any more, and without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_upsert([indexed(RECORD, vector)], scope=ADA, expected_version=None)


@pytest.mark.parametrize(
    "vector",
    [
        np.array([1, np.nan], np.float32),
        np.array([np.inf, 1], np.float32),
        np.array([np.inf, -np.inf], np.float32),
        np.ones((2, 2), np.float32),
        np.ones(0, np.float32),
    ],
    ids=["nan", "infinite", "both", "table", "empty"],
)
def test_all_else_is_no_vector(vector: Any) -> None:
    """Nothing of it is written."""
    with pytest.raises(EmbeddingSpaceError):
        check_upsert([indexed(RECORD, vector)], scope=ADA, expected_version=None)
