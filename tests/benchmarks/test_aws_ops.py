"""The bars of the cloud questions are applied to the median of ratios made inside each round."""

from __future__ import annotations

import pytest
from benchmarks.aws.ops import against_floor, against_peers
from benchmarks.rounds import Played


def _played(**cpu: tuple[float, float, float]) -> Played:
    figures = {
        name.replace("_", ", ").replace("other", "other loop"): {
            "cpu_ms": values,
            "per_s": (1.0, 1.0, 1.0),
        }
        for name, values in cpu.items()
    }
    return Played(figures, (0.0, 0.0, 0.0))


@pytest.mark.parametrize(("slow", "met"), [(0.45, True), (0.46, False)])
def test_a_call_may_cost_half_as_much_again_as_the_floors(slow: float, met: bool) -> None:
    found = against_floor(_played(floor=(0.3, 0.3, 9.0), memlane=(slow, slow, 9.0)), "store")
    assert found["memlane"]["met"] is met
    assert "met" not in found["floor"]


@pytest.mark.parametrize(("slow", "met"), [(0.65, True), (0.67, False)])
def test_from_another_loop_it_may_cost_more(slow: float, met: bool) -> None:
    played = _played(floor=(0.3, 0.3, 0.3), memlane_other=(slow, slow, slow))
    assert against_floor(played, "retrieve")["memlane, other loop"]["met"] is met


@pytest.mark.parametrize(("slow", "met"), [(2.24, True), (2.26, False)])
def test_ranking_may_cost_milliseconds_on_top(slow: float, met: bool) -> None:
    found = against_floor(_played(floor=(0.5, 0.5, 0.1), memlane=(slow, slow, 9.0)), "recall")
    assert found["memlane"]["met"] is met
    assert found["memlane"]["ms_over_the_floors_share"]["median"] == pytest.approx(slow - 0.75)


@pytest.mark.parametrize(
    ("peer", "cpu", "met"), [("boto3", 4.4, False), ("boto3", 4.6, True), ("mem0", 4.9, False)]
)
def test_a_peer_must_cost_its_multiple(peer: str, cpu: float, met: bool) -> None:
    played = _played(memlane=(1.0, 2.0, 1.0), **{peer: (cpu, 2 * cpu, 99.0)})
    assert against_peers(played)[peer]["met"] is met


def test_a_peer_without_a_bar_is_reported_alone() -> None:
    found = against_peers(_played(memlane=(1.0, 1.0, 1.0), aiobotocore=(3.0, 3.0, 3.0)))
    assert found["aiobotocore"]["times_memlane"]["median"] == 3.0
    assert "met" not in found["aiobotocore"]
    assert "met" not in found["memlane"]
