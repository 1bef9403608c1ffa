"""A call ends with an answer or with the one error that fits, from whatever loop it is made."""

import asyncio
import threading
from datetime import datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest

from core.aws.answering import AnsweringServer, Asked, Say, fault
from core.aws.planes import CREATE, CREDENTIALS, QUERY, Planes, planes, server
from memlane.aws.plane import Channel, DataPlane
from memlane.aws.wire import Lane, Reply, Request, RetryPolicy, Timeouts
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    RequestRejectedError,
    ThrottledError,
    UnavailableError,
    ValidationError,
)
from memlane.testing import FakeClock

__all__ = ("planes", "server")

pytestmark = pytest.mark.anyio
THROTTLED = fault(429, "TooManyRequestsException")
LONG = RetryPolicy(base=100, cap=100)


class Sleeper:
    """Sleeps by moving the clock, and remembers for how long."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._clock.advance(timedelta(seconds=seconds))


def date_of(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    "say",
    [
        THROTTLED,
        fault(503, "ServiceUnavailableException"),
        fault(500, "InternalServerException"),
        fault(408, "RequestTimeoutException"),
        Say(504, b"<html>"),
    ],
)
async def test_what_may_pass_is_tried_again(
    server: AnsweringServer, planes: Planes, say: Say
) -> None:
    """Any request, for each of these was an answer; signed anew."""
    plane = await planes.make()
    server.replies(say, say, Say(body=b"[1]"))
    assert (await plane.call(CREATE, CREDENTIALS)).body == b"[1]"
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        (fault(400, "ValidationException"), RequestRejectedError),
        (fault(403, "AccessDeniedException"), AccessDeniedError),
        (fault(403, "ExpiredTokenException"), CredentialsError),
        (fault(403, "UnrecognizedClientException"), CredentialsError),
    ],
)
async def test_what_will_not_pass_is_not_tried_again(
    server: AnsweringServer, planes: Planes, say: Say, kind: type[Exception]
) -> None:
    """With the same credentials and the same request it would be the same."""
    plane = await planes.make()
    server.replies(say)
    with pytest.raises(kind, match="req-1"):
        await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 1


async def test_attempts_are_counted_and_waits_grow(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """As the policy says; the last failure is the error."""
    sleep = Sleeper(clock)
    plane = await planes.make(
        clock=clock,
        sleep=sleep,
        random=lambda: 1.0,
        retries=RetryPolicy(attempts=5, base=0.1, cap=0.5),
    )
    server.replies(fault(500, "InternalServerException"))
    with pytest.raises(UnavailableError, match="InternalServerException"):
        await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 5
    assert sleep.slept == [0.1, 0.2, 0.4, 0.5]


async def test_a_call_has_its_own_end(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """No attempt begins that the call's time does not allow for."""
    sleep = Sleeper(clock)
    plane = await planes.make(
        clock=clock, sleep=sleep, random=lambda: 1.0, retries=RetryPolicy(base=1.0, cap=100.0),
        timeouts=Timeouts(call=10),
    )  # fmt: skip
    server.replies(fault(500, "InternalServerException"))
    with pytest.raises(UnavailableError):
        await plane.call(QUERY, CREDENTIALS)
    assert sleep.slept == [1.0, 2.0, 4.0]


async def test_a_deadline_that_cannot_be_met_is_told_at_once(
    server: AnsweringServer, planes: Planes
) -> None:
    """With the callers' own deadline, of whichever library, and how long it would have been."""
    plane = await planes.make(random=lambda: 1.0, retries=LONG, timeouts=Timeouts(call=1000))
    server.replies(THROTTLED)
    with anyio.fail_after(30), pytest.raises(ThrottledError, match=r"in 100\.0 seconds") as caught:
        await plane.call(QUERY, CREDENTIALS)
    assert caught.value.code == "TooManyRequestsException"
    assert caught.value.request_id == "req-1"

    async def ask(channel: Channel) -> Reply:
        return await channel.call(QUERY, CREDENTIALS, deadline=20.0)

    with pytest.raises(ThrottledError, match=r"in 100\.0 seconds, and the call has (20\.0|19)"):
        await plane.run(ask)
    assert len(server.asked) == 2


async def test_retry_after_is_honoured(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """It is the least that is waited."""
    sleep = Sleeper(clock)
    plane = await planes.make(clock=clock, sleep=sleep)
    server.replies(fault(429, "TooManyRequestsException", Retry_After="7"), Say())
    await plane.call(QUERY, CREDENTIALS)
    assert sum(sleep.slept) == pytest.approx(7.0)
    server.replies(fault(429, "TooManyRequestsException", Retry_After="3000"), Say())
    await plane.call(QUERY, CREDENTIALS)
    assert sum(sleep.slept) == pytest.approx(27.0)
    server.replies(fault(429, "TooManyRequestsException", Retry_After="15"), Say())
    with anyio.fail_after(10), pytest.raises(ThrottledError, match=r"in 15\.0 seconds"):
        await plane.call(QUERY, CREDENTIALS)


async def test_the_lanes_pace_is_kept(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """Beforehand: no more than it allows goes out, and who cannot wait is told for how long."""
    sleep = Sleeper(clock)
    plane = await planes.make(clock=clock, sleep=sleep, timeouts=Timeouts(call=2))
    lane = Lane("b/i", requests=1000, weight=2500)
    for _ in range(10):
        await plane.call(QUERY, CREDENTIALS, lane=lane, weight=500.0)
    assert 1.5 <= sum(sleep.slept) <= 2.0
    slow = Lane("slow", weight=1.0)
    await plane.call(QUERY, CREDENTIALS, lane=slow, weight=3.25)
    with pytest.raises(ThrottledError, match=r"in 3\.0 seconds, and the call has 2\.0 left"):
        await plane.call(QUERY, CREDENTIALS, lane=slow, weight=3.25)
    assert len(server.asked) == 11
    await plane.call(QUERY, CREDENTIALS, lane=Lane("other", weight=1.0))


async def test_retries_are_paid_for_by_successes(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """A service that is down is asked little more than once by each call."""
    sleep = Sleeper(clock)
    plane = await planes.make(clock=clock, sleep=sleep, retries=RetryPolicy(budget=10))
    server.replies(fault(500, "InternalServerException"))
    for _ in range(50):
        with pytest.raises(UnavailableError):
            await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 50 + 10


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "InvalidSignatureException"])
async def test_a_wrong_clock_is_corrected_once(
    server: AnsweringServer, planes: Planes, clock: FakeClock, code: str
) -> None:
    """By the refusal's date; from then on every request is signed with the service's time."""
    plane = await planes.make(clock=clock)
    theirs = clock.now() + timedelta(hours=3)

    def behave(asked: Asked) -> Say:
        stamp = datetime.strptime(asked.headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
        if abs(stamp - theirs) > timedelta(minutes=5):
            return fault(403, code, Date=date_of(theirs))
        return Say()

    server.behave = behave
    await plane.call(CREATE, CREDENTIALS)
    await plane.call(CREATE, CREDENTIALS)
    assert len(server.asked) == 3


async def test_a_signature_that_no_clock_explains_is_the_credentials_fault(
    server: AnsweringServer, planes: Planes, clock: FakeClock
) -> None:
    """With the right date nothing is repeated; with ever another date it is, once."""
    plane = await planes.make(clock=clock)
    server.replies(fault(403, "InvalidSignatureException", Date=date_of(clock.now())))
    with pytest.raises(CredentialsError):
        await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 1
    dates = iter(range(10))
    server.behave = lambda _: fault(
        403,
        "RequestTimeTooSkewed",
        Date=date_of(clock.now() + timedelta(hours=1 + next(dates))),
    )
    with pytest.raises(CredentialsError):
        await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 3


async def test_unsigned_and_unsendable(server: AnsweringServer, planes: Planes) -> None:
    """No credentials, no signature; what cannot be sent never is."""
    plane = await planes.make()
    await plane.call(QUERY, None)
    assert "authorization" not in server.asked[0].headers
    with pytest.raises(ValidationError, match="path"):
        await plane.call(Request("s3vectors", "X", "/a/../b", b""), CREDENTIALS)
    with pytest.raises(ValidationError, match="'s3'"):
        await DataPlane(region="us-east-1").call(Request("s3", "X", "/", b""), CREDENTIALS)
    with pytest.raises(ValidationError, match="concurrency"):
        DataPlane(region="us-east-1", concurrency=0)
    assert len(server.asked) == 1
    assert plane.region == "us-east-1"


async def test_a_prefix_of_the_endpoint_is_signed_and_sent(
    server: AnsweringServer, planes: Planes
) -> None:
    """As a proxy in between wants it."""
    plane = await planes.make(endpoint_urls={"*": f"{server.url}/proxy/"})
    await plane.call(QUERY, CREDENTIALS)
    assert server.asked[0].target == "/proxy/QueryVectors"


async def test_what_is_attached_lives_with_the_connections(planes: Planes) -> None:
    """One channel per home; a close drops what users keep there."""
    plane = await planes.make()

    async def put(channel: Channel, value: str) -> Channel:
        channel.attached["key"] = value
        return channel

    async def get(channel: Channel) -> object:
        return channel.attached.get("key")

    channel = await plane.run(put, "value")
    assert await plane.run(get) == "value"
    await plane.aclose()
    assert channel.attached == {}
    assert await plane.run(get) is None


async def test_every_loop_may_call_at_once(server: AnsweringServer, planes: Planes) -> None:
    """Loops of other threads, one after the other and together, share what is known."""
    plane = await planes.make()

    def elsewhere() -> None:
        async def ask() -> None:
            for _ in range(5):
                assert (await plane.call(QUERY, CREDENTIALS)).status == 200

        asyncio.run(ask())

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(anyio.to_thread.run_sync, elsewhere)
        for _ in range(5):
            await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 25


async def test_a_cancelled_call_ends(server: AnsweringServer, planes: Planes) -> None:
    """While it waits for the next attempt too; nothing is sent for it any more."""
    plane = await planes.make(random=lambda: 1.0, retries=LONG, timeouts=Timeouts(call=1000))
    server.replies(THROTTLED)
    done = threading.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(plane.call, QUERY, CREDENTIALS)
        await anyio.to_thread.run_sync(server.await_asked, 1)
        await anyio.sleep(0.05)
        group.cancel_scope.cancel()
        done.set()
    assert done.is_set()
    await anyio.sleep(0.05)
    assert len(server.asked) == 1
