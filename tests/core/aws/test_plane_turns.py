"""What one caller leaves behind, cancelled or failing, is no burden to the others."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from core.aws.answering import AnsweringServer, Asked, Say, fault
from core.aws.planes import CREDENTIALS, QUERY, Planes, planes, server
from memlane.aws.plane import Channel
from memlane.aws.wire import Lane, Request, RetryPolicy
from memlane.errors import (
    CredentialsError,
    RequestRejectedError,
    ThrottledError,
    UnavailableError,
)
from memlane.testing import FakeClock

__all__ = ("planes", "server")

pytestmark = pytest.mark.anyio
INVOKE = Request("bedrock", "InvokeModel", "/model/m/invoke", b"{}")
FAILED = fault(500, "InternalServerException")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_cancelled_callers_leave_their_turns_to_the_others(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """A timeout of asyncio's is not seen beforehand: a minute of turns is reserved, and left."""
    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    plane = await planes.make(clock=clock, sleep=sleep)
    lane = Lane("b/i", weight=2500)

    async def put(channel: Channel) -> None:
        puts = [
            asyncio.ensure_future(channel.call(QUERY, CREDENTIALS, lane=lane, weight=500.0))
            for _ in range(300)
        ]
        await waiting.wait()
        for task in puts:
            task.cancel()
        await asyncio.gather(*puts, return_exceptions=True)

    await plane.run(put)
    clock.advance(timedelta(seconds=1))

    async def ask(channel: Channel) -> None:
        await channel.call(QUERY, CREDENTIALS, lane=lane, weight=500.0, deadline=0.1)
        await channel.call(QUERY, CREDENTIALS, lane=lane, weight=500.0, deadline=0.1)
        with pytest.raises(ThrottledError, match=r"the call has 0\.1 left"):
            await channel.call(QUERY, CREDENTIALS, lane=lane, weight=500.0, deadline=0.1)

    await plane.run(ask)
    assert server.asked


async def test_who_cannot_wait_leaves_no_turn_behind(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """A sleep that fails gives the turn back as well."""

    class OddError(Exception):
        pass

    async def sleep(_: float) -> None:
        raise OddError

    plane = await planes.make(clock=clock, sleep=sleep)
    lane = Lane("b/i", requests=1.0)
    await plane.call(QUERY, CREDENTIALS, lane=lane)
    # The hundredth would be refused if the others' turns were still taken.
    for _ in range(100):
        with pytest.raises(OddError):
            await plane.call(QUERY, CREDENTIALS, lane=lane)
    assert len(server.asked) == 1


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
    # And is paced by itself.
    assert set(plane._shared.pace._services) == {"bedrock", "s3vectors"}


async def test_a_served_call_costs_no_budget_for_having_been_throttled(
    server: AnsweringServer, planes: Planes
) -> None:
    """Else, with most refused at random, less and less could be asked."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    plane = await planes.make(retries=RetryPolicy(budget=4, base=0.0), sleep=sleep)
    throttled = fault(429, "TooManyRequestsException")
    for _ in range(20):
        server.replies(throttled, throttled, throttled, Say())
        await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 80
    assert not any(slept)


async def test_failures_are_not_paid_back(server: AnsweringServer, planes: Planes) -> None:
    """A success earns one retry, and no more, where the service failed."""
    plane = await planes.make(retries=RetryPolicy(budget=4, base=0.0))
    # Four there are, three are paid, one is earned; two are left.
    server.replies(FAILED, FAILED, FAILED, Say())
    await plane.call(QUERY, CREDENTIALS)
    server.replies(FAILED, FAILED, FAILED, Say())
    with pytest.raises(UnavailableError):
        await plane.call(QUERY, CREDENTIALS)


async def test_a_date_is_believed_when_it_was_of_use(
    server: AnsweringServer, planes: Planes
) -> None:
    """A refusal that comes with a wrong time, and stands, changes nobody's signature."""
    plane = await planes.make()
    bad = fault(403, "InvalidSignatureException", Date="Mon, 01 Jan 1990 00:00:00 GMT")
    server.replies(bad)
    with pytest.raises(CredentialsError):
        await plane.call(QUERY, CREDENTIALS)
    server.replies(Say())
    await plane.call(QUERY, CREDENTIALS)
    years = [asked.headers["x-amz-date"][:4] for asked in server.asked]
    assert years[1] == "1990"
    assert years[0] == years[2] > "2000"


@pytest.mark.parametrize("say", [Say(), fault(400, "ValidationException")])
async def test_a_date_is_kept_with_the_first_signature_accepted(
    server: AnsweringServer, planes: Planes, say: Say
) -> None:
    """Whatever else is wrong with the request; one that is skewed costs one repeat in all."""
    plane = await planes.make()
    late = fault(403, "RequestTimeTooSkewed", Date="Mon, 01 Jan 1990 00:00:00 GMT")
    server.replies(late, fault(500, "InternalServerException"), say)
    for _ in range(2):
        with contextlib.suppress(RequestRejectedError):
            await plane.call(QUERY, CREDENTIALS)
    years = [asked.headers["x-amz-date"][:4] for asked in server.asked]
    assert years[0] > "2000"
    assert years[1:] == ["1990"] * 3


async def test_an_impossible_date_is_no_error_of_its_own(
    server: AnsweringServer, planes: Planes
) -> None:
    """The refusal is what the caller is told."""
    plane = await planes.make()
    date = "Mon, 01 Jan 2024 00:00:99999999999999999999 GMT"
    server.replies(fault(403, "InvalidSignatureException", Date=date))
    with pytest.raises(CredentialsError, match="InvalidSignatureException"):
        await plane.call(QUERY, CREDENTIALS)
