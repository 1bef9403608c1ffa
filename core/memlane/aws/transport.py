"""One connection pool on one loop: bytes out, bytes in, and what went wrong between."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from yarl import URL

from memlane.aws._extra import aiohttp
from memlane.aws.bounds import Bounds
from memlane.aws.endpoints import Endpoint
from memlane.aws.route import DIRECT, Route
from memlane.aws.wire import Reply, Request, Timeouts
from memlane.errors import LoopError

if TYPE_CHECKING:
    import socket

__all__ = ("NoAnswerError", "Pieces", "Transport")

PROXY_WANTS_PASSWORD: Final = 407
MAX_ANSWER: Final = 64 * 1024 * 1024
KEEP_ALIVE_SECONDS: Final = 12.0
CLOSE_SECONDS: Final = 3.0
KNOWN_URLS: Final = 1024
READ_AHEAD: Final = 256 * 1024
# A body larger than this is sent in pieces of it, and others have their turn in between.
PIECE: Final = 256 * 1024
# What aiohttp would add of its own; given here it has nothing to look for, and asks for no gzip.
SENT_ALWAYS: Final = (("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", "memlane"))

# What the sockets opened for an attempt are noted in. Connecting runs in tasks of its own, which
# see the attempt's context and nothing else of it.
_opened: ContextVar[list[None] | None] = ContextVar("_opened", default=None)

# What proxies say of a server that cannot be reached now.
_PASSING: Final = range(500, 600)

Failure = Literal["connect", "stale", "lost", "timeout", "busy", "hopeless"]


class NoAnswerError(Exception):
    """No whole answer came. What that means for the call is not decided here.

    Args:
        failure: "connect": nothing was sent. "stale": a connection kept from earlier was closed
            before any of the answer came. "lost", "timeout": the request may have been done.
            "busy": its time was up before there was a place for it. "hopeless": it would be the
            same again.
        text: What happened, in a few words.
        remedy: What helps against just that.
    """

    def __init__(self, failure: Failure, text: str, remedy: str | None = None) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text
        self.remedy = remedy


class Transport:
    """A connection pool; made, used and closed on one asyncio loop.

    Args:
        concurrency: Requests under way at once; the others wait here, in order.
        timeouts: Bounds of an attempt.
        route: The way to the servers, prepared.
    """

    def __init__(self, *, concurrency: int, timeouts: Timeouts, route: Route = DIRECT) -> None:
        self._concurrency = self._free = concurrency
        self._idle: asyncio.Future[bool] | None = None
        self._queue: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self._reading: set[aiohttp.ClientResponse] = set()
        self._attempt = timeouts.attempt
        self._connect = timeouts.connect
        self._urls: dict[tuple[Endpoint, str, str], URL] = {}
        self._bounds = Bounds()
        self._timeout = aiohttp.ClientTimeout(sock_connect=timeouts.connect)
        self._route = route
        connector = aiohttp.TCPConnector(
            # True: aiohttp's own context, made once a process when it is imported.
            ssl=route.tls,
            limit=concurrency,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            socket_factory=_open_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=SENT_ALWAYS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            raise_for_status=False,
            read_bufsize=READ_AHEAD,
        )

    async def aclose(self) -> None:
        """Let what is under way end, within bounds, and close every connection."""
        if self._free == self._concurrency:
            self._bounds.close()
            await self._session.close()
            return
        loop = asyncio.get_running_loop()
        self._idle = loop.create_future()
        timer = loop.call_later(CLOSE_SECONDS, _give_up, self._idle)
        try:
            await self._idle
        finally:
            timer.cancel()
            for place in self._queue:
                _give_up(place)
            # aiohttp would leave those who read from a connection it closes waiting for ever.
            for response in self._reading:
                response.content.set_exception(aiohttp.ClientConnectionError("closed"))
            self._bounds.close()
            # Up to its first wait this closes everything, and nothing cancels it before that.
            await self._session.close()

    async def send(
        self,
        endpoint: Endpoint,
        request: Request,
        headers: dict[str, str],
        seconds: float,
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
        """
        if self._free:
            self._free -= 1
        else:
            seconds -= await self._wait_for_place(seconds)
        seconds = max(min(seconds, self._attempt), 0.001)
        try:
            with self._bounds.within(seconds):
                return await self._exchange(endpoint, request, headers, seconds)
        except TimeoutError as error:
            raise NoAnswerError("timeout", "no whole answer in time") from error
        finally:
            self._leave()

    async def _exchange(
        self, endpoint: Endpoint, request: Request, headers: dict[str, str], seconds: float
    ) -> Reply:
        timeout = self._timeout
        if seconds < self._connect:
            timeout = aiohttp.ClientTimeout(sock_connect=seconds)
        opened: list[None] = []
        _opened.set(opened)
        body = request.body
        proxy = None if self._route.proxy is None else self._proxy_for(endpoint, headers)
        try:
            response = await self._session.request(
                request.method,
                self._url(endpoint, request),
                data=(body or None) if len(body) <= PIECE else Pieces(body, headers),
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
                proxy=proxy,
                proxy_headers=None if proxy is None else self._route.proxy_headers,
            )
        except aiohttp.ClientSSLError as error:
            raise _distrusted(error) from error
        except aiohttp.ClientHttpProxyError as error:
            # Both of these know the headers that were sent, tokens and all: nothing that is
            # raised is to lead to them, which is why it is raised outside of here.
            failure = _turned_away(error.status)
        except aiohttp.ClientResponseError:
            failure = NoAnswerError("lost", "what came back is not HTTP")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NoAnswerError("connect", f"no connection: {_named(error)}") from error
        except aiohttp.ClientError as error:
            stale = not opened and isinstance(
                error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError
            )
            raise NoAnswerError("stale" if stale else "lost", _named(error)) from error
        except RuntimeError as error:
            if self._session.closed:
                raise LoopError("the client was closed during a call") from error
            raise
        else:
            if proxy is not None and response.status == PROXY_WANTS_PASSWORD:
                response.close()
                raise _turned_away(response.status)
            return await self._read(response)
        raise failure

    async def _read(self, response: aiohttp.ClientResponse) -> Reply:
        self._reading.add(response)
        try:
            return Reply(response.status, response.headers, await _whole(response))
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswerError("lost", f"the answer broke off: {_named(error)}") from error
        finally:
            self._reading.discard(response)

    def _proxy_for(self, endpoint: Endpoint, headers: dict[str, str]) -> URL | None:
        proxy = self._route.proxy_for(endpoint)
        if proxy is not None and self._route.proxy_headers and endpoint.scheme == "http":
            # There is no tunnel, and so no request of the proxy's own that they would be in.
            headers.update(self._route.proxy_headers)
        return proxy

    def _url(self, endpoint: Endpoint, request: Request) -> URL:
        key = (endpoint, request.path, request.query)
        url = self._urls.get(key)
        if url is None:
            query = f"?{request.query}" if request.query else ""
            path = endpoint.path(request.path)
            text = f"{endpoint.scheme}://{endpoint.host}{path}{query}"
            url = URL(text, encoded=True)
            if len(self._urls) >= KNOWN_URLS:
                self._urls.clear()
            self._urls[key] = url
        return url

    async def _wait_for_place(self, seconds: float) -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        place: asyncio.Future[bool] = loop.create_future()
        self._queue[place] = None
        timer = loop.call_later(max(seconds, 0), _give_up, place)
        try:
            granted = await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self._leave()
            raise
        finally:
            timer.cancel()
            self._queue.pop(place, None)
        if self._idle is not None:
            raise LoopError("the client was closed during a call")
        if not granted:
            raise NoAnswerError(
                "busy", "all connections were busy", "allow more concurrency, or ask for less"
            )
        return loop.time() - begun

    def _leave(self) -> None:
        while self._queue:
            place, _ = self._queue.popitem(last=False)
            if not place.done():
                place.set_result(True)
                return
        self._free += 1
        if self._idle is not None and self._free == self._concurrency:
            _give_up(self._idle)


class Pieces:
    """A body on its way in pieces, from its beginning each time it is asked for.

    Args:
        body: All of it.
        headers: Those it is sent with. Its length is put there, or aiohttp would send it chunked.
    """

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self._body = memoryview(body)
        self._at = 0
        headers["Content-Length"] = str(len(body))

    def __aiter__(self) -> Self:
        self._at = 0
        return self

    async def __anext__(self) -> memoryview:
        at = self._at
        if at >= len(self._body):
            raise StopAsyncIteration
        if at:
            await asyncio.sleep(0)
        self._at = at + PIECE
        return self._body[at : at + PIECE]


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length <= MAX_ANSWER:
        return await response.read()
    try:
        parts: list[bytes] = []
        size = 0
        while size <= MAX_ANSWER and length is None:
            part = await response.content.readany()
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
    except BaseException:
        response.close()
        raise
    response.close()
    raise NoAnswerError("hopeless", f"the answer is larger than {MAX_ANSWER} bytes")


def _turned_away(status: int) -> NoAnswerError:
    """Return what it means that a proxy answered by itself."""
    text = f"the proxy answered {status}"
    if status in _PASSING:
        return NoAnswerError("connect", text)
    return NoAnswerError("hopeless", text, "check the proxy's URL, and whether it lets AWS through")


def _distrusted(error: aiohttp.ClientSSLError) -> NoAnswerError:
    """Return what a failed handshake means: mostly that it will fail again."""
    cause: object = error.__cause__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NoAnswerError(
            "hopeless",
            f"the server's certificate is not trusted: {cause.verify_message}",
            "give ca_bundle the certificates of whoever inspects the traffic, and check this "
            "machine's clock",
        )
    if isinstance(cause, ssl.SSLEOFError):
        return NoAnswerError("connect", "the server ended the TLS handshake")
    return NoAnswerError(
        "hopeless",
        "no TLS with the server",
        "check whether scheme and port of the endpoint URL belong together",
    )


def _give_up(place: asyncio.Future[bool]) -> None:
    if not place.done():
        place.set_result(False)


def _open_socket(address: Any) -> socket.socket:
    import socket

    opened = _opened.get()
    if opened is not None:
        opened.append(None)
    family, kind, protocol, *_ = address
    return socket.socket(family=family, type=kind, proto=protocol)


def _named(error: BaseException) -> str:
    # An OSError's own text is an address and an errno's meaning; others may quote the request.
    cause = error if isinstance(error, OSError) and error.strerror else None
    return cause.strerror if cause is not None and cause.strerror else type(error).__name__
