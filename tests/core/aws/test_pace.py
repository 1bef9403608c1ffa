"""A client keeps to the limits it knows, and leaves a service alone that has nothing to give."""

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest

from memlane.aws.pace import Pace, Track
from memlane.aws.wire import Lane
from memlane.testing import FakeClock

FOREVER = 1e9
LANE = Lane("b/i", requests=1000, weight=2500)


@pytest.fixture
def pace(clock: FakeClock) -> Pace:
    return Pace(clock.monotonic, random.Random(7).random)


def send_all(pace: Pace, clock: FakeClock, track: Track, weight: float, count: int) -> float:
    """Send one after the other, waiting as told; return the seconds it took."""
    begun = clock.monotonic()
    for _ in range(count):
        wait, admitted = pace.admit(track, weight, FOREVER)
        assert admitted
        clock.advance(timedelta(seconds=wait))
        pace.answered(track)
    return clock.monotonic() - begun


@pytest.mark.parametrize(
    ("weight", "count", "seconds"),
    [(0.0, 3000, 3.0), (1.0, 5000, 5.0), (25.0, 500, 5.0), (500.0, 20, 4.0)],
)
def test_a_lane_keeps_to_its_limits(
    pace: Pace, clock: FakeClock, weight: float, count: int, seconds: float
) -> None:
    """A thousand requests and 2,500 vectors a second, whichever is reached first."""
    took = send_all(pace, clock, pace.track(LANE), weight, count)
    assert seconds - 0.5 <= took <= seconds + 0.01


def test_in_no_second_more_than_the_limit_and_one_burst(pace: Pace) -> None:
    """Callers at once get turns apart, whatever their order of coming."""
    track = pace.track(LANE)
    moments = sorted(pace.admit(track, 100.0, FOREVER)[0] for _ in range(200))
    for start in moments:
        within = sum(100 for moment in moments if start <= moment < start + 1.0)
        assert within <= 2500 + 0.25 * 2500 + 100


def test_a_turn_that_comes_too_late_is_not_reserved(pace: Pace, clock: FakeClock) -> None:
    """Who does not wait for it leaves it to the others."""
    track = pace.track(LANE)
    while pace.admit(track, 500.0, clock.monotonic())[1]:
        pass
    ahead, _ = pace.admit(track, 1.0, clock.monotonic())
    assert ahead > 0
    for _ in range(100):
        assert pace.admit(track, 500.0, clock.monotonic() + ahead / 2) == (ahead, False)
    assert pace.admit(track, 1.0, FOREVER) == (ahead, True)


def test_lanes_do_not_wait_for_each_other(pace: Pace) -> None:
    """An index has its own limits; one without any is never held back."""
    for _ in range(20):
        pace.admit(pace.track(LANE), 500.0, FOREVER)
    assert pace.admit(pace.track(Lane("b/other", weight=2500)), 500.0, FOREVER) == (0.0, True)
    free = pace.track(Lane("bedrock"))
    assert all(pace.admit(free, 1.0, FOREVER) == (0.0, True) for _ in range(10_000))


def probes(pace: Pace, clock: FakeClock, track: Track, seconds: float) -> Iterator[float]:
    """Ask every 10 ms whether to send, answer each with a refusal, and yield when."""
    for _ in range(int(seconds / 0.01)):
        wait, admitted = pace.admit(track, 1.0, FOREVER)
        assert wait <= 1.25
        if admitted:
            yield clock.monotonic()
            pace.refused(track)
        clock.advance(timedelta(seconds=0.01))


def test_with_everything_refused_there_is_a_probe_a_second(pace: Pace, clock: FakeClock) -> None:
    """After a short run-up; and the first success opens the lane at once."""
    track = pace.track(Lane("m"))
    sent = list(probes(pace, clock, track, 60.0))
    assert len([moment for moment in sent if moment < 10]) <= 12 + 15
    late = [moment for moment in sent if moment >= 10]
    assert 38 <= len(late) <= 50
    assert min(b - a for a, b in pairwise(late)) >= 1.0
    pace.answered(track)
    assert all(pace.admit(track, 1.0, FOREVER) == (0.0, True) for _ in range(100))


def test_the_probes_are_one_a_second_for_all_lanes_together(pace: Pace, clock: FakeClock) -> None:
    """A hundred tenants of one account are one client."""
    tracks = [pace.track(Lane(f"b/{number}")) for number in range(100)]
    sent = 0
    for turn in range(3000):
        track = tracks[turn % 100]
        if pace.admit(track, 1.0, FOREVER)[1]:
            pace.refused(track)
            sent += clock.monotonic() >= 10
        clock.advance(timedelta(seconds=0.01))
    assert sent <= 21


def test_a_lane_that_is_served_is_not_held_back_by_another(pace: Pace, clock: FakeClock) -> None:
    """One index over its limit is no reason to be slow with the rest."""
    busy, calm = pace.track(Lane("b/busy")), pace.track(Lane("b/calm"))
    for _ in range(200):
        if pace.admit(busy, 1.0, FOREVER)[1]:
            pace.refused(busy)
        clock.advance(timedelta(seconds=0.05))
    assert busy.shut
    for _ in range(100):
        assert pace.admit(calm, 1.0, FOREVER) == (0.0, True)
        pace.answered(calm)
    assert busy.shut


@pytest.mark.parametrize("seed", range(5))
def test_refusals_at_random_hold_nobody_back(clock: FakeClock, seed: int) -> None:
    """With 30 % refused, asking less often would earn nothing: the rate stays what it is."""
    chance = random.Random(seed)
    pace = Pace(clock.monotonic, chance.random)
    track = pace.track(Lane("m"))
    waited = 0.0
    for _ in range(20_000):
        wait, admitted = pace.admit(track, 1.0, FOREVER)
        waited += wait
        clock.advance(timedelta(seconds=0.001 + wait))
        if admitted:
            (pace.refused if chance.random() < 0.3 else pace.answered)(track)
    assert waited < 0.1 * 20.0


def test_a_rate_is_cut_to_what_is_served_and_grows_back(clock: FakeClock) -> None:
    """A service that serves 100 a second is asked little more; one that serves all, all."""
    pace = Pace(clock.monotonic, random.Random(3).random)
    track = pace.track(Lane("m"))
    tokens, asked, served = 0.0, 0, 0
    for _ in range(10_000):
        clock.advance(timedelta(seconds=0.001))
        tokens = min(10.0, tokens + 0.1)
        wait, admitted = pace.admit(track, 1.0, clock.monotonic())
        if not admitted:
            continue
        assert wait == 0
        asked += 1
        if tokens >= 1:
            tokens -= 1
            served += 1
            pace.answered(track)
        else:
            pace.refused(track)
    assert served > 0.7 * 1000
    assert asked < 2 * served
    for _ in range(5000):
        clock.advance(timedelta(seconds=0.001))
        if pace.admit(track, 1.0, clock.monotonic())[1]:
            pace.answered(track)
    assert track.cut is None


def test_what_is_remembered_is_bounded(pace: Pace) -> None:
    """Ten thousand tenants come and go."""
    for number in range(10_000):
        pace.track(Lane(f"b/{number}"))
    assert len(pace._tracks) <= 4096
