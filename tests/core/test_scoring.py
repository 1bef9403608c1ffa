"""What near means is one small function, and it never leaves its range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memlane.scoring import similarities

QUICK = settings(deadline=None, max_examples=150)
distances = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=1, max_side=20), elements=st.floats(width=32)
)


@QUICK
@given(distances, st.sampled_from(["cosine", "euclidean"]))
def test_similarities_lie_between_zero_and_one(distances: np.ndarray, metric: str) -> None:
    """Of any distance, NaN, infinite and below zero too: finite float32 in 0..1."""
    found = similarities(distances, metric)  # type: ignore[arg-type] # one of the two
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[np.isnan(distances)] == 0).all()


@QUICK
@given(
    st.lists(st.floats(0, 2, width=32), min_size=2, max_size=2).map(sorted),
    st.sampled_from(["cosine", "euclidean"]),
)
def test_nearer_is_more_similar(pair: list[float], metric: str) -> None:
    """A smaller distance never gives a smaller similarity."""
    near, far = similarities(np.array(pair, dtype=np.float32), metric)  # type: ignore[arg-type] # one of the two
    assert near >= far


def test_similarities_are_those_of_the_glossary() -> None:
    """Cosine is max(0, 1 - d), euclidean 1 / (1 + d)."""
    of = np.array([0, 0.25, 1, 2], dtype=np.float32)
    assert similarities(of).tolist() == [1, 0.75, 0, 0]
    assert similarities(of, "euclidean") == pytest.approx([1, 0.8, 0.5, 1 / 3])
    assert similarities(np.zeros(0, dtype=np.float32)).shape == (0,)
