"""Retries are spread at random and paid for by successes."""

import random
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from memlane.aws.pace import Pace
from memlane.aws.retries import Budget, Budgets, Call, backoff, patience_here
from memlane.aws.wire import Lane, Request, RetryPolicy
from memlane.errors import ThrottledError, UnavailableError
from memlane.testing import FakeClock


def test_waits_are_any_share_of_a_doubling_bound() -> None:
    """Full jitter: from nothing to the bound, which has an end."""
    policy = RetryPolicy(base=0.1, cap=1.0)
    assert [backoff(policy, n, lambda: 1.0) for n in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff(policy, 5, lambda: 0.0) == 0
    assert backoff(policy, 2000, lambda: 0.5) == 0.5


def test_a_success_earns_a_retry(clock: FakeClock) -> None:
    """What was saved is spent; then it is one for one, and never more than the size."""
    budget = Budget(10, clock.monotonic)
    assert [budget.take() == 0 for _ in range(12)] == [True] * 10 + [False] * 2
    for _ in range(5):
        budget.earn()
    assert [budget.take() == 0 for _ in range(6)] == [True] * 5 + [False]
    for _ in range(100):
        budget.earn()
    assert [budget.take() == 0 for _ in range(11)] == [True] * 10 + [False]


def test_an_empty_budget_says_when_there_is_one(clock: FakeClock) -> None:
    """A little comes with time alone, so that nobody waits for ever."""
    budget = Budget(1, clock.monotonic)
    assert budget.take() == 0
    assert budget.take() == pytest.approx(1.0)
    clock.advance(timedelta(seconds=0.5))
    assert budget.take() == pytest.approx(0.5)
    clock.advance(timedelta(seconds=0.5))
    assert budget.take() == 0


def test_what_was_paid_can_be_had_back(clock: FakeClock) -> None:
    """But never more than the size."""
    budget = Budget(5, clock.monotonic)
    assert [budget.take() for _ in range(5)] == [0.0] * 5
    budget.earn(2.0)
    assert [budget.take() == 0 for _ in range(4)] == [True] * 3 + [False]
    budget.earn(100.0)
    assert [budget.take() == 0 for _ in range(6)] == [True] * 5 + [False]


def test_each_service_has_its_own(clock: FakeClock) -> None:
    """One that spends everything leaves the others theirs."""
    budgets = Budgets(1, clock.monotonic)
    assert budgets.of("bedrock").take() == 0
    assert budgets.of("bedrock").take() > 0
    assert budgets.of("s3vectors").take() == 0


def a_call(clock: FakeClock, *, limit: float, patience: float | None) -> Call:
    track = Pace(clock.monotonic, random.random).track(Lane("m"))
    request = Request("bedrock", "InvokeModel", "/model/m/invoke", b"{}")
    begun = clock.monotonic()
    budget = Budget(1, clock.monotonic)
    return Call(request, None, track, budget, begun=begun, limit=limit, patience=patience)


async def test_the_earlier_of_two_deadlines_counts(clock: FakeClock) -> None:
    """The plane's, and the one of the task that calls; each from the moment it was told."""
    clock.advance(timedelta(seconds=100))
    assert a_call(clock, limit=60, patience=5).find_until(101) == 105
    assert a_call(clock, limit=3, patience=5).find_until(101) == 103
    assert a_call(clock, limit=60, patience=None).find_until(101) == 160
    with anyio.move_on_after(7):
        await anyio.lowlevel.checkpoint()
        assert 107 < a_call(clock, limit=60, patience=None).find_until(101) <= 108
        assert 6 < patience_here() <= 7


async def test_who_gives_up_is_told_the_last_failure(clock: FakeClock) -> None:
    """Unreachable stays unreachable; what was throttled says how long it would have been."""
    call = a_call(clock, limit=2, patience=1)
    call.find_until(100)
    with pytest.raises(ThrottledError, match=r"in 4\.0 seconds.*1\.0 left") as caught:
        call.give_up(4.0, 1.0)
    assert caught.value.remedy is not None
    call.last = ThrottledError("x", code="ThrottlingException", status=429, request_id="r")
    with pytest.raises(ThrottledError) as caught:
        call.give_up(4.0, 1.0)
    assert (caught.value.code, caught.value.status) == ("ThrottlingException", 429)
    assert caught.value.request_id == "r"
    call.last = last = UnavailableError("gone")
    with pytest.raises(UnavailableError) as gone:
        call.give_up(4.0, 1.0)
    assert gone.value is last
    assert gone.value.is_hurried


async def test_only_a_callers_own_hurry_is_its_own(clock: FakeClock) -> None:
    """What takes as long as any call may take is news for everybody who waits for it."""
    for limit, patience, is_hurried in ((60.0, 1.0, True), (1.0, 60.0, False), (1.0, None, False)):
        call = a_call(clock, limit=limit, patience=patience)
        call.find_until(clock.monotonic())
        with pytest.raises(ThrottledError) as caught:
            call.give_up(4.0, 1.0)
        assert caught.value.is_hurried is is_hurried
