"""An approximate index loses neighbours as one was measured to lose them."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.signed import prepared
from memlane.testing.emulator import Emulator
from memlane.testing.emulator.s3vectors.recall import kept, recall_at


@pytest.mark.parametrize(
    ("matching", "recalls"),
    [
        (None, (0.984, 0.994, 0.996, 0.992)),
        (3, (1, 1, 1, 1)),
        (5, (1, 1, 1, 1)),
        (50, (0.948, 0.898, 0.811, 0.610)),
        (135, (0.952, 0.932, 0.883, 0.724)),
        (500, (0.992, 0.974, 0.949, 0.911)),
        (25_000, (0.988, 0.984, 0.988, 0.991)),
        (1_000_000, (0.988, 0.984, 0.988, 0.991)),
    ],
)
def test_the_table_is_the_measured_one(matching: int | None, recalls: tuple[float, ...]) -> None:
    assert [recall_at(depth, matching) for depth in (5, 10, 20, 50)] == pytest.approx(recalls)


def test_between_its_rows_it_goes_evenly() -> None:
    assert 0.610 < recall_at(50, 80) < 0.724
    assert 0.610 < recall_at(35, 50) < 0.811
    assert recall_at(1, 50) == recall_at(5, 50)
    assert recall_at(5_000, 50) == recall_at(50, 50)


def shares(matching: int, depth: int) -> np.ndarray:
    """Return how often each of the nearest is found, over many queries."""
    source = np.random.default_rng(5)
    found = np.zeros(depth)
    times = 2_000
    for query in range(times):
        marks = source.integers(0, 2**32, matching, dtype=np.uint32)
        found += kept(marks, depth=depth, matching=matching, seed=1, query=query * 7919)[:depth]
    return found / times


def test_as_many_are_lost_as_were_measured() -> None:
    assert shares(50, 50).mean() == pytest.approx(0.610, abs=0.02)
    assert shares(500, 10).mean() == pytest.approx(0.974, abs=0.01)


def test_asking_for_more_finds_the_first_more_surely() -> None:
    assert shares(50, 50)[:5].mean() > shares(50, 5).mean()


def test_over_the_wire(emulator: Emulator) -> None:
    """Fewer come back than match; the same query loses the same, another seed others."""
    index = prepared(emulator)
    vectors = [
        {
            "key": f"k{n:03}",
            "data": {"float32": [1, 0.1 + n / 50, 0, 0]},
            "metadata": {"few": n < 50},
        }
        for n in range(100)
    ]
    assert index.call("PutVectors", vectors=vectors).status == 200
    emulator.blocking.switch(recall="measured", recall_seed=1)
    few = {"few": True}
    found = index.found([1, 0, 0, 0], 50, filter=few)
    assert 15 <= len(found) <= 45
    assert found == sorted(found)
    assert set(found) <= {f"k{n:03}" for n in range(50)}
    assert index.found([1, 0, 0, 0], 50, filter=few) == found
    emulator.blocking.switch(recall_seed=2)
    assert index.found([1, 0, 0, 0], 50, filter=few) != found
    # What was lost is made up for where more are near.
    assert len(index.found([1, 0, 0, 0], 20)) == 20
    emulator.blocking.switch(recall="exact")
    assert len(index.found([1, 0, 0, 0], 50, filter=few)) == 50
