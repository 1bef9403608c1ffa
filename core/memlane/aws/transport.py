"""The connections of one loop: kept, shared by so many at once, and closed in time."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Final

from memlane.aws.bounds import Bounds
from memlane.aws.connection import Connection, Exchange
from memlane.aws.endpoints import Endpoint
from memlane.aws.failures import NoAnswerError, turned_away
from memlane.aws.opening import Opener
from memlane.aws.places import Places
from memlane.aws.route import DIRECT, Route
from memlane.aws.wire import Reply, Request, Timeouts
from memlane.errors import LoopError, ValidationError

__all__ = ("Transport",)

PROXY_WANTS_PASSWORD: Final = 407
MAX_ANSWER: Final = 64 * 1024 * 1024
READ_AHEAD: Final = 256 * 1024
KEEP_ALIVE_SECONDS: Final = 12.0
CLOSE_SECONDS: Final = 3.0
KNOWN_STARTS: Final = 1024
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})
_ALWAYS: Final = "Accept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: memlane\r\n"


class Transport:
    """A connection pool; made, used and closed on one asyncio loop.

    Args:
        concurrency: Requests under way at once; the others wait here, in order.
        timeouts: Bounds of an attempt.
        route: The way to the servers, prepared where there is TLS.
        max_answer: Bytes of an answer that are read at most.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        timeouts: Timeouts,
        route: Route = DIRECT,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._route = route
        self._places = Places(concurrency)
        self._bounds = Bounds()
        self.max_answer = max_answer
        self.buffer = memoryview(bytearray(READ_AHEAD))
        self._opener = Opener(route, self)
        self._open: set[Connection] = set()
        self._kept: dict[Endpoint, list[Connection]] = {}
        self._pruning: asyncio.TimerHandle | None = None
        self._starts: dict[tuple[Endpoint, str, str, str], str] = {}
        self._is_closed = False
        self._all_gone = asyncio.Event()

    async def aclose(self) -> None:
        """Let what is under way end, within bounds, and close every connection."""
        try:
            await self._places.close(CLOSE_SECONDS)
        finally:
            self._is_closed = True
            self._bounds.close()
            if self._pruning is not None:
                self._pruning.cancel()
            for connection in list(self._open):
                connection.close()
        if self._open:
            # That takes some turns of the loop, which there might be none of after this.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._all_gone.wait()

    async def send(
        self, endpoint: Endpoint, request: Request, headers: dict[str, str], seconds: float
    ) -> Reply:
        """Send one request and read its whole answer, once.

        Cancelled or failing half way, it closes the connection rather than leave it to the next.

        Args:
            endpoint: Where to.
            request: What.
            headers: All headers, signed.
            seconds: How long at most, waiting for a free place included; that wait is no part
                of the attempt.

        Raises:
            NoAnswerError: None came.
            LoopError: The transport was closed.
            ValidationError: A header cannot be sent.
        """
        exchange = Exchange(endpoint, self._head(endpoint, request, headers), request.body)
        if not self._places.take():
            seconds -= await self._places.wait(exchange, seconds)
        try:
            with self._bounds.within(max(min(seconds, self._timeouts.attempt), 0.001)):
                if exchange.connection is None:
                    if self._is_closed:
                        # Between being let in and this.
                        raise LoopError("the client was closed during a call")
                    connection = self._take(endpoint) or await self._opened(endpoint)
                    connection.begin(exchange)
                reply = await exchange.reply()
        except TimeoutError as error:
            if self._is_closed:
                raise LoopError("the client was closed during a call") from error
            if exchange.connection is None:
                raise NoAnswerError("connect", "no connection in time") from error
            raise NoAnswerError("timeout", "no whole answer in time") from error
        finally:
            if not exchange.is_answered:
                self._places.leave()
        if self._is_of_a_proxy(endpoint, reply.status):
            raise turned_away(reply.status)
        return reply

    def freed(self, connection: Connection) -> None:
        """Let the next exchange begin on it, or keep it for later, or close it."""
        endpoint = connection.endpoint
        if not connection.is_reusable or self._is_of_a_proxy(endpoint, connection.status):
            connection.close()
            self._places.leave()
        elif not self._places.leave(connection):
            self._keep(endpoint, connection)

    def gone(self, connection: Connection) -> None:
        """Forget it."""
        self._open.discard(connection)
        for kept in self._kept.values():
            if connection in kept:
                kept.remove(connection)
        if self._is_closed and not self._open:
            self._all_gone.set()

    def _is_of_a_proxy(self, endpoint: Endpoint, status: int) -> bool:
        return status == PROXY_WANTS_PASSWORD and self._route.proxy_for(endpoint) is not None

    async def _opened(self, endpoint: Endpoint) -> Connection:
        with self._bounds.within(self._timeouts.connect):
            connection = await self._opener.open(endpoint)
        if connection.is_open:
            self._open.add(connection)
        return connection

    def _take(self, endpoint: Endpoint) -> Connection | None:
        """Return the connection that was used last: those that are not needed grow old."""
        kept = self._kept.get(endpoint)
        while kept:
            connection = kept.pop()
            if not connection.is_reusable:
                continue  # the server has closed it, and it will be gone in a moment
            if self._loop.time() - connection.idle_since < KEEP_ALIVE_SECONDS:
                return connection
            connection.close()
        return None

    def _keep(self, endpoint: Endpoint, connection: Connection) -> None:
        connection.idle_since = self._loop.time()
        kept = self._kept.get(endpoint)
        if kept is None:
            kept = self._kept[endpoint] = []
        kept.append(connection)
        if self._pruning is None:
            self._prune_in(KEEP_ALIVE_SECONDS)

    def _prune_in(self, seconds: float) -> None:
        # In a context of its own, else the timer would keep what the caller had in its.
        self._pruning = self._loop.call_later(seconds, self._prune, context=contextvars.Context())

    def _prune(self) -> None:
        """Close what nobody has needed for long."""
        self._pruning = None
        now = self._loop.time()
        for kept in self._kept.values():
            while kept and now - kept[0].idle_since >= KEEP_ALIVE_SECONDS:
                kept.pop(0).close()
        oldest = min((kept[0].idle_since for kept in self._kept.values() if kept), default=None)
        if oldest is not None:
            self._prune_in(oldest + KEEP_ALIVE_SECONDS - now)

    def _head(self, endpoint: Endpoint, request: Request, headers: dict[str, str]) -> bytes:
        key = (endpoint, request.method, request.path, request.query)
        start = self._starts.get(key)
        if start is None:
            if len(self._starts) >= KNOWN_STARTS:
                self._starts.clear()
            start = self._starts[key] = self._start(endpoint, request)
        lines = "".join([f"{name}: {text}\r\n" for name, text in headers.items()])
        count = len(headers)
        if lines.count("\n") != count or lines.count("\r") != count or not lines.isascii():
            # Not quoted: it may be a token. With a line break in it, it would be a header more.
            raise ValidationError("a header of the request cannot be sent as it is")
        body = request.body
        if body or request.method not in _BODILESS:
            lines = f"{lines}Content-Length: {len(body)}\r\n"
        return f"{start}{lines}\r\n".encode("ascii")

    def _start(self, endpoint: Endpoint, request: Request) -> str:
        target = endpoint.path(request.path)
        if request.query:
            target = f"{target}?{request.query}"
        proxied = ""
        if endpoint.scheme == "http" and self._route.proxy_for(endpoint) is not None:
            # There is no tunnel, and so no request of the proxy's own that these would be in.
            target = f"http://{endpoint.host}{target}"
            named = self._route.proxy_headers or {}
            proxied = "".join([f"{name}: {text}\r\n" for name, text in named.items()])
        asked = f"{request.method}{target}{endpoint.host}"
        if not asked.isascii() or not asked.isprintable() or " " in asked:
            raise ValidationError("the URL of a request cannot be sent as it is")
        return f"{request.method} {target} HTTP/1.1\r\nHost: {endpoint.host}\r\n{_ALWAYS}{proxied}"
