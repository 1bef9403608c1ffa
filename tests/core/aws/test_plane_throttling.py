"""Thirty-two callers and a service that gives less than they ask for, or nothing at all."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from core.aws.answering import AnsweringServer, Asked, Say, fault
from core.aws.planes import CREDENTIALS, QUERY, Planes, planes, server
from memlane.aws.plane import Channel, DataPlane
from memlane.aws.wire import Lane, RetryPolicy, Timeouts
from memlane.errors import ThrottledError
from memlane.testing import FakeClock

__all__ = ("planes", "server")

pytestmark = pytest.mark.anyio
CALLERS = 32
SPEED = 20.0
THROTTLED = fault(429, "TooManyRequestsException")


class FastClock:
    """A minute in three seconds."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() * SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


async def fast_plane(planes: Planes, *, call: float) -> tuple[DataPlane, FastClock]:
    clock = FastClock()
    plane = await planes.make(
        clock=clock,
        sleep=clock.sleep,
        random=random.Random(5).random,
        # Attempts are timed by the loop, which knows nothing of the fast clock.
        timeouts=Timeouts(attempt=60.0, call=call),
    )
    return plane, clock


@pytest.mark.parametrize("lane", [Lane("b/i", requests=1000, weight=2500), None])
async def test_thirty_per_cent_throttled(
    server: AnsweringServer, planes: Planes, lane: Lane | None
) -> None:
    """Everybody is served, for little more than what must be asked again."""
    chance = random.Random(11)
    server.behave = lambda _: THROTTLED if chance.random() < 0.3 else Say()
    plane, _ = await fast_plane(planes, call=120.0)
    each = 25

    async def caller() -> None:
        for _ in range(each):
            assert (await plane.call(QUERY, CREDENTIALS, lane=lane)).status == 200

    async with anyio.create_task_group() as group:
        for _ in range(CALLERS):
            group.start_soon(caller)
    assert len(server.asked) <= 1.6 * CALLERS * each


async def test_everything_throttled_and_then_nothing(
    server: AnsweringServer, planes: Planes
) -> None:
    """A request a second in the long run; and everybody is served when it is over."""
    plane, clock = await fast_plane(planes, call=15.0)
    begun = clock.monotonic()
    late: list[float] = []
    over = False

    def behave(_: Asked) -> Say:
        if over:
            return Say()
        passed = clock.monotonic() - begun
        if passed >= 15:
            late.append(passed)
        return THROTTLED

    server.behave = behave
    failed = 0

    async def caller(number: int) -> None:
        nonlocal failed
        while clock.monotonic() - begun < 45:
            try:
                await plane.call(QUERY, CREDENTIALS, lane=Lane(f"b/{number % 4}"))
            except ThrottledError:
                failed += 1
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(caller, number)
    assert failed >= CALLERS
    assert 1 <= len(late) <= 1.0 * (late[-1] - 15) + 1
    over = True
    served: list[int] = []

    async def again(number: int) -> None:
        lane = Lane(f"b/{number % 4}")
        served.append((await plane.call(QUERY, CREDENTIALS, lane=lane)).status)

    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(again, number)
    assert served == [200] * CALLERS


async def test_probes_cost_no_retries(server: AnsweringServer, planes: Planes) -> None:
    """Who waited until it was over does not then wait for an empty budget to fill again."""
    clock = FakeClock()

    async def sleep(seconds: float) -> None:
        clock.advance(timedelta(seconds=seconds))

    # Eleven refusals are paid for; the twelfth shuts the lane, and the thirteenth request probes.
    plane = await planes.make(clock=clock, sleep=sleep, retries=RetryPolicy(attempts=20, budget=11))
    server.replies(*[THROTTLED] * 12, Say())
    await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 13
    assert clock.monotonic() < 0.5


async def test_who_waits_for_the_pace_keeps_its_turn(
    server: AnsweringServer, planes: Planes
) -> None:
    """A request that comes while another waits gets the turn after it."""
    clock = FakeClock()
    waits: list[float] = []
    lane = Lane("b/i", requests=10.0)

    async def call(channel: Channel) -> None:
        await channel.call(QUERY, CREDENTIALS, lane=lane)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            await plane.run(call)
            seconds = 0.0  # the other's wait was the longer one
        clock.advance(timedelta(seconds=seconds))

    plane = await planes.make(clock=clock, sleep=sleep)
    while not waits:
        await plane.run(call)
    assert waits == pytest.approx([waits[0], waits[0] + 0.1])
    assert len(server.asked) >= 2
