"""Signed requests over pooled connections, asked again when that helps: the one way to AWS."""

from __future__ import annotations

import hashlib
import random as _random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar, TypeVarTuple

from memlane.aws.answers import refusal
from memlane.aws.endpoints import Endpoints
from memlane.aws.failures import NoAnswerError
from memlane.aws.pace import LOOK_SECONDS
from memlane.aws.retries import Call, backoff, patience_here
from memlane.aws.route import Route
from memlane.aws.shared import Shared
from memlane.aws.transport import Transport
from memlane.aws.wire import Lane, Reply, Request, RetryPolicy, Timeouts
from memlane.errors import (
    LoopError,
    ServiceError,
    ThrottledError,
    UnavailableError,
    ValidationError,
)
from memlane.metering import count_answer, count_request
from memlane.protocols import Clock, Credentials
from memlane.runtime import Homes, SystemClock, fork, io_loop
from memlane.runtime.place import running_loop

__all__ = ("Channel", "DataPlane")

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# What asking again does not change, or there is no time for.
_FINAL: Final = frozenset({"busy", "large", "hopeless"})
_SUCCESS: Final = range(200, 300)
_SERVER_ERRORS: Final = range(500, 600)
# Hashing a megabyte takes 0.6 ms, and 3 ms where the processor has no instructions for it; above
# that the loop has better things to do.
HASHED_ELSEWHERE: Final = 1024 * 1024


class Channel:
    """The connections on one loop, and what else is bound to it. Touched on that loop only."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._transport = Transport(
            concurrency=shared.concurrency, timeouts=shared.timeouts, route=shared.route
        )
        self.is_closed = False
        self.attached: dict[object, Any] = {}
        """Loop-bound state of the plane's users, dropped at the close."""

    async def call(
        self,
        request: Request,
        credentials: Credentials | None,
        *,
        lane: Lane | None = None,
        weight: float = 1.0,
        deadline: float | None = None,
    ) -> Reply:
        """Send a request until it is answered, it is refused for good, or time is up.

        Args:
            request: What is asked for.
            credentials: Who asks; None for a request that is not signed.
            lane: Whose pace it keeps; its service's if None.
            weight: What it weighs there.
            deadline: Seconds from now; the calling task's own deadline, and the plane's bound
                for a call, hold besides.

        Raises:
            ServiceError: One of its subclasses, by what the caller can do.
            CredentialsError: They are not accepted; not tried again with the same ones.
            ValidationError: The request cannot be sent.
        """
        limit = self._shared.timeouts.call
        if deadline is not None:
            limit = min(limit, deadline)
        return await self.carry(request, credentials, lane, weight, limit, None)

    async def carry(  # noqa: PLR0917  (hops take positional arguments)
        self,
        request: Request,
        credentials: Credentials | None,
        lane: Lane | None,
        weight: float,
        limit: float,
        patience: float | None,
    ) -> Reply:
        """Do what `call` says.

        Args:
            request: What is asked for.
            credentials: Who asks.
            lane: Whose pace it keeps.
            weight: What it weighs.
            limit: Seconds from now at which attempts end.
            patience: Seconds from now at which the caller gives up by itself: nothing waits
                beyond, and nothing needs to end the attempt before. None: the calling task is
                the caller's, ask it when it matters.
        """
        shared = self._shared
        track = shared.pace.track(lane or shared.lane(request.service), request.service)
        budget = shared.budgets.of(request.service)
        begun = shared.monotonic()
        call = Call(
            request, credentials, track, budget, begun=begun, limit=limit, patience=patience
        )
        endpoint = shared.endpoints.of(request.service)
        was_sent = False
        digest = None
        if len(request.body) > HASHED_ELSEWHERE:
            digest = await shared.threads.run(_digest, request.body)
        while True:
            wait, admitted = shared.pace.admit(track, weight, call.until)
            if wait > 0.0 and not admitted and not call.knows_until:
                wait, admitted = shared.pace.admit(
                    track, weight, call.find_until(shared.monotonic())
                )
            if wait > 0.0:
                call.was_held_back = True
                try:
                    await self._pause(call, wait)
                except BaseException:
                    if admitted:
                        shared.pace.give_back(track, weight)
                    raise
                if not admitted:
                    continue
            if self.is_closed:
                raise LoopError("the client was closed during a call")
            signed_at = shared.skew.now(call.offset)
            headers = shared.signer.headers(
                request,
                credentials,
                host=endpoint.host,
                path=endpoint.path(request.path),
                at=signed_at,
                digest=digest,
            )
            seconds = call.ends - shared.monotonic()
            call.is_cut_short = seconds < shared.timeouts.attempt
            count_request(request.operation, sent=len(request.body), again=was_sent)
            was_sent = True
            try:
                received = await self._transport.send(endpoint, request, headers, seconds)
            except NoAnswerError as failure:
                await self._unanswered(call, failure)
                continue
            count_answer(len(received.body))
            if received.status in _SUCCESS:
                shared.pace.answered(track)
                budget.earn(call.refund)
                if call.offset is not None:
                    shared.skew.keep(call.offset)
                return received
            await self._refused(call, received, signed_at)

    async def aclose(self) -> None:
        """Close the connections."""
        self.is_closed = True
        self.attached.clear()
        await self._transport.aclose()

    async def _unanswered(self, call: Call, failure: NoAnswerError) -> None:
        """Wait until it may be tried again, or raise."""
        request = call.request
        error = UnavailableError(
            f"{request.service} gave no answer to {request.operation}: {failure.text}",
            service=request.service,
            wire_operation=request.operation,
            remedy=failure.remedy or "check the network and the endpoint, or try again later",
        )
        error.__cause__ = failure
        repeatable = request.idempotent or failure.failure == "connect"
        if not repeatable or failure.failure in _FINAL:
            raise error
        if failure.failure == "stale" and not call.was_stale:
            # The server had closed an idle connection: that says nothing of how it is now.
            call.was_stale = True
            return
        if call.was_held_back and call.is_cut_short and failure.failure == "timeout":
            # It was the waiting for capacity that left this attempt so little time.
            call.give_up(None, 0.0)
        await self._again(call, error, 0.0)

    async def _refused(self, call: Call, received: Reply, signed_at: float) -> None:
        """Wait until it may be tried again, or raise."""
        shared = self._shared
        said = refusal(received, call.request, call.credentials)
        if said.throttled:
            shared.pace.refused(call.track, said.retry_after)
            call.was_held_back = True
        elif received.status not in _SERVER_ERRORS:
            shared.pace.answered(call.track)
        if said.skewed and call.offset is None:
            call.offset = shared.skew.told(received.headers.get("date"), signed_at=signed_at)
            if call.offset is not None:
                return
        if not said.retryable:
            if call.offset is not None and said.accepted:
                shared.skew.keep(call.offset)
            raise said.error
        await self._again(call, said.error, said.retry_after or 0.0)

    async def _again(self, call: Call, error: ServiceError, at_least: float) -> None:
        """Wait as long as the error asks for, when the budget has another attempt."""
        shared = self._shared
        call.last = error
        call.attempt += 1
        if call.attempt >= shared.retries.attempts:
            raise error
        wait = max(at_least, backoff(shared.retries, call.attempt - 1, shared.random))
        # Where nothing at all gets through, the pace lets one request a second try; that is
        # little enough, and whoever waits for it must not find an empty budget when it is over.
        throttled = isinstance(error, ThrottledError)
        while not call.track.shut:
            missing = call.budget.take()
            if not missing:
                call.refund += throttled
                break
            if not throttled:
                raise error
            await self._pause(call, min(missing, LOOK_SECONDS))
        await self._pause(call, wait)

    async def _pause(self, call: Call, seconds: float) -> None:
        """Wait, or raise at once when that would take longer than the caller has."""
        now = self._shared.monotonic()
        left = call.find_until(now) - now
        if seconds >= left:
            call.give_up(seconds, max(left, 0.0))
        await self._shared.sleep(seconds)


class DataPlane:
    """The way to AWS's services in one region, from any event loop.

    Pace, retry budget and the knowledge of the services' clock are one for all its callers. No
    I/O is done before the first call.

    Args:
        region: Such as "eu-central-1".
        endpoint_urls: URLs to use instead of AWS's own, by service ("s3vectors", "bedrock",
            "sts", "dynamodb"); "*" for all that are not named.
        fips: Ask the FIPS endpoints.
        dual_stack: Ask the endpoints that answer on IPv6 too.
        ca_bundle: Path of a PEM file with the authorities to trust, instead of the system's.
        proxy: URL of a proxy for all requests, such as "http://proxy.example.com:3128".
        no_proxy: Hosts to be asked without it, as NO_PROXY names them.
        concurrency: Requests under way at once, per event loop that has connections.
        timeouts: Of connections, attempts and calls.
        retries: When to try again.
        clock: The time requests are signed with, and deadlines counted in.
        random: 0..1, for the waits.
        sleep: Waits between attempts; for tests.

    Raises:
        ValidationError: The region is none, or a URL cannot be used.
    """

    def __init__(
        self,
        *,
        region: str,
        endpoint_urls: Mapping[str, str] | None = None,
        fips: bool = False,
        dual_stack: bool = False,
        ca_bundle: str | None = None,
        proxy: str | None = None,
        no_proxy: Iterable[str] = (),
        concurrency: int = 128,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = _random.random,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValidationError(f"a concurrency of {concurrency} lets no request through")
        self._region = region
        self._shared = Shared(
            region=region,
            endpoints=Endpoints(region, endpoint_urls, fips=fips, dual_stack=dual_stack),
            route=Route(ca_bundle, proxy, no_proxy),
            concurrency=concurrency,
            timeouts=timeouts or Timeouts(),
            retries=retries or RetryPolicy(),
            clock=clock or SystemClock(),
            random=random,
            sleep=sleep,
        )
        self._homes: Homes[Channel] = Homes(self._open, Channel.aclose)
        # What `Homes` would find on the loop that entered, at half of a call's own cost.
        self._direct: tuple[Channel | None, object] = (None, None)
        fork.watch(self._after_fork)

    @property
    def region(self) -> str:
        """Where the services are."""
        return self._region

    async def enter(self) -> None:
        """Give the calling asyncio loop connections of its own until `aclose`."""
        await self._homes.enter()

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        try:
            await self._homes.aclose()
        finally:
            channel, _ = self._direct
            if channel is not None and channel.is_closed:
                self._direct = None, None

    async def call(
        self,
        request: Request,
        credentials: Credentials | None,
        *,
        lane: Lane | None = None,
        weight: float = 1.0,
    ) -> Reply:
        """Send a request until it is answered, it is refused for good, or time is up.

        The calling task's deadline (anyio's) is known: an attempt that would come after it is not
        waited for.

        Args:
            request: What is asked for.
            credentials: Who asks; None for a request that is not signed.
            lane: Whose pace it keeps; its service's if None.
            weight: What it weighs there.

        Raises:
            ThrottledError: There is no capacity before the deadline.
            UnavailableError: No answer came, or failures only.
            CredentialsError: They are not accepted; not tried again with the same ones.
            ServiceError: Another of its subclasses, by what the caller can do.
            ValidationError: The request cannot be sent.
        """
        limit = self._shared.timeouts.call
        channel = self._channel_here()
        if channel is not None:
            return await channel.carry(request, credentials, lane, weight, limit, None)
        return await self._homes.run(
            Channel.carry, request, credentials, lane, weight, limit, patience_here()
        )

    async def run(self, fn: Callable[[Channel, *Ts], Awaitable[R]], *args: *Ts) -> R:
        """Return `await fn(channel, *args)`, run where the connections are.

        Args:
            fn: An async function of memlane's own: user code has no place on that loop.
            *args: Its further arguments.
        """
        channel = self._channel_here()
        if channel is not None:
            return await fn(channel, *args)
        return await self._homes.run(fn, *args)

    def _channel_here(self) -> Channel | None:
        """Return the channel of the calling loop, where that entered and has used it before."""
        channel, loop = self._direct
        if channel is None or channel.is_closed or running_loop() is not loop:
            return None
        return channel

    async def _open(self) -> Channel:
        if self._shared.has_tls:
            await self._shared.route.prepare(self._shared.threads)
        channel = Channel(self._shared)
        if not io_loop().is_here:
            self._direct = channel, running_loop()
        return channel

    def _after_fork(self) -> None:
        self._direct = None, None
        self._shared.after_fork()


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
