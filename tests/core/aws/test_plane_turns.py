"""What one caller leaves behind, cancelled or failing, is no burden to the others."""

import asyncio

import anyio
import pytest

from core.aws.answering import AnsweringServer, Asked, Say, fault
from core.aws.planes import CREDENTIALS, QUERY, Planes, planes, server
from memlane.aws.plane import Channel
from memlane.aws.wire import Lane, Request, RetryPolicy, Timeouts
from memlane.errors import ThrottledError, UnavailableError

__all__ = ("planes", "server")

pytestmark = pytest.mark.anyio
INVOKE = Request("bedrock", "InvokeModel", "/model/m/invoke", b"{}")
FAILED = fault(500, "InternalServerException")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_cancelled_callers_leave_their_turns_to_the_others(
    server: AnsweringServer, planes: Planes
) -> None:
    """asyncio's own timeouts cannot be seen beforehand: a minute of turns is reserved, and left."""
    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    plane = await planes.make(sleep=sleep)
    lane = Lane("b/i", weight=2500)

    async def put(channel: Channel) -> None:
        async with asyncio.TaskGroup() as group:
            puts = [
                group.create_task(channel.call(QUERY, CREDENTIALS, lane=lane, weight=500.0))
                for _ in range(300)
            ]
            await waiting.wait()
            for task in puts:
                task.cancel()

    await plane.run(put)

    async def ask(channel: Channel) -> None:
        # One who would have to wait for a second is refused.
        with pytest.raises(ThrottledError) as caught:
            while True:
                await channel.call(QUERY, CREDENTIALS, lane=lane, weight=500.0, deadline=1.0)
        assert "1.0 left" in str(caught.value)

    await plane.run(ask)
    assert len(server.asked) >= 4


async def test_who_cannot_wait_leaves_no_turn_behind(
    server: AnsweringServer, planes: Planes
) -> None:
    """A sleep that fails gives the turn back as well."""

    class OddError(Exception):
        pass

    async def sleep(_: float) -> None:
        raise OddError

    plane = await planes.make(sleep=sleep)
    lane = Lane("b/i", requests=1.0)
    with pytest.raises(OddError):
        while True:
            await plane.call(QUERY, CREDENTIALS, lane=lane)
    sent = len(server.asked)
    for _ in range(100):
        with pytest.raises(OddError):
            await plane.call(QUERY, CREDENTIALS, lane=lane)
    with anyio.fail_after(30), pytest.raises(OddError):
        await plane.call(QUERY, CREDENTIALS, lane=lane)
    assert len(server.asked) == sent


async def test_a_failing_model_leaves_the_store_its_retries(
    server: AnsweringServer, planes: Planes
) -> None:
    """Each service has a budget of its own."""
    plane = await planes.make(retries=RetryPolicy(budget=3, base=0.0))
    turns: list[Say] = [FAILED, Say()]

    def behave(asked: Asked) -> Say:
        return FAILED if "/model/" in asked.target else turns.pop(0)

    server.behave = behave
    for _ in range(5):
        with pytest.raises(UnavailableError):
            await plane.call(INVOKE, CREDENTIALS)
    assert (await plane.call(QUERY, CREDENTIALS)).status == 200


async def test_a_served_call_costs_no_budget_for_having_been_throttled(
    server: AnsweringServer, planes: Planes
) -> None:
    """Else, with most refused at random, less and less could be asked."""
    plane = await planes.make(
        retries=RetryPolicy(budget=4, base=0.0), timeouts=Timeouts(call=1000.0)
    )
    throttled = fault(429, "TooManyRequestsException")
    for _ in range(20):
        server.replies(throttled, throttled, throttled, Say())
        await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 80


async def test_failures_are_not_paid_back(server: AnsweringServer, planes: Planes) -> None:
    """A success earns one retry, and no more, where the service failed."""
    plane = await planes.make(retries=RetryPolicy(budget=4, base=0.0))
    with pytest.raises(UnavailableError):
        for _ in range(20):
            server.replies(FAILED, FAILED, FAILED, Say())
            await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) < 30
