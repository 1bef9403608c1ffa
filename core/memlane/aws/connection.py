"""One connection: a request out, its answer in, one after the other.

HTTP/1.1 as AWS's services speak it: a request's length is said beforehand, and so is an answer's
or it comes in chunks. What is in between is read by llhttp, strictly.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Protocol, cast

from memlane.aws._extra import httptools
from memlane.aws.endpoints import Endpoint
from memlane.aws.failures import NoAnswerError, named
from memlane.aws.wire import Reply

__all__ = ("Connection", "Exchange", "Pool")

MAX_HEAD: Final = 16 * 1024
# A body larger than this is sent in pieces of it, and others have their turn in between.
PIECE: Final = 256 * 1024
_FIRST_NEWS: Final = 100
_FIRST_STATUS: Final = 200
_BODILESS: Final = frozenset({204, 304})
_NOTHING: Final = memoryview(b"")


class Exchange:
    """One request and its answer, on one connection once it has begun.

    Args:
        endpoint: Where it goes.
        head: All up to and with the empty line.
        body: As long as the head says.
    """

    __slots__ = ("answer", "body", "connection", "endpoint", "head", "is_answered")

    def __init__(self, endpoint: Endpoint, head: bytes, body: bytes) -> None:
        self.endpoint = endpoint
        self.head = head
        self.body = body
        self.connection: Connection | None = None
        self.is_answered = False
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def reply(self) -> Reply:
        """Return the answer, whatever its status.

        Cancelled or failing before it came, the connection is closed.

        Raises:
            NoAnswerError: None came.
        """
        connection = self.connection
        assert connection is not None, "it has not begun"  # noqa: S101
        try:
            await connection.send_rest()
            return await self.answer
        finally:
            if not self.is_answered:
                self.give_up()

    def give_up(self) -> None:
        """Let nothing more come of it; its connection is closed."""
        self.answer.cancel()
        if self.connection is not None:
            self.connection.close()


class Pool(Protocol):
    """Whose a connection is."""

    max_answer: int
    """Bytes of a body that are read at most."""
    buffer: memoryview
    """What all of its connections read into, one after the other."""

    def freed(self, connection: Connection) -> None:
        """Take notice that its exchange has been answered."""
        ...

    def gone(self, connection: Connection) -> None:
        """Take notice that it is closed, by whomever."""
        ...


class Connection(asyncio.BufferedProtocol):
    """A connection, as asyncio's transports call it; used on its own loop only.

    Args:
        endpoint: Where it leads.
        pool: Whose it is.
    """

    def __init__(self, endpoint: Endpoint, pool: Pool) -> None:
        self.endpoint = endpoint
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._rest: memoryview[int] = _NOTHING
        self._room: asyncio.Future[None] | None = None
        self._has_answered = self._is_tunnel = False
        self.is_reusable = True
        """Whether another request may follow: all of the last one was sent, and its answer read."""
        self.idle_since = 0.0
        """When its last answer came, in the loop's time; its pool notes that."""
        self._forget()

    def _forget(self) -> None:
        self.status = 0
        """The last answer's, once its head is read; 0 before."""
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._head_size = self._size = 0
        self._has_begun = self._is_until_end = False

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it yet."""
        return self._transport is not None

    def begin(self, exchange: Exchange) -> None:
        """Send a request, or the head of a large one; somebody has to await its reply."""
        exchange.connection = self
        self._exchange = exchange
        self._forget()
        self.is_reusable = False
        if self._transport is None:
            self._give_up(NoAnswerError("connect", named(None)))
        elif len(exchange.body) <= PIECE:
            self._transport.write(exchange.head + exchange.body)
        else:
            self._transport.write(exchange.head)
            self._rest = memoryview(exchange.body)

    async def send_rest(self) -> None:
        """Send a large body piece by piece, as fast as it is taken, until it is answered."""
        while self._rest and self._transport is not None:
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            self._transport.write(piece)
            if self._room is not None:
                await self._room
            else:
                await asyncio.sleep(0)

    async def ask_for_tunnel(self, head: bytes) -> int:
        """Send a proxy a CONNECT, and return the status it answers with."""
        self._is_tunnel = True
        exchange = Exchange(self.endpoint, head, b"")
        self.begin(exchange)
        return (await exchange.reply()).status

    async def speak_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Begin TLS with whom the tunnel leads to; from here on it is a connection to that host.

        Raises:
            OSError: It cannot be had.
        """
        if self._transport is None:
            raise ConnectionResetError
        loop = asyncio.get_running_loop()
        try:
            self._transport = await loop.start_tls(
                self._transport, self, context, server_hostname=host
            )
        except BaseException as error:
            # asyncio says goodbye to the proxy, and waits for its word as long as that takes.
            self.close()
            behind = error.__context__
            if isinstance(error, TypeError) and isinstance(behind, ssl.SSLError):
                # Before 3.11.8, and 3.12.2, asyncio fails at ending TLS within TLS.
                raise behind from None
            raise
        self._parser = httptools.HttpResponseParser(self)
        self._has_answered = self._is_tunnel = False
        self.is_reusable = True

    def close(self) -> None:
        """Close it at once; what was not sent is not sent."""
        # What follows is not the end of an answer that ends with its connection.
        self.is_reusable = self._is_until_end = False
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        exchange = self._exchange
        if exchange is None:
            # Nobody asked. Whatever it is, it must not be taken for the next one's answer.
            self.close()
            return
        self._has_begun = True
        try:
            self._parser.feed_data(self._pool.buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # Not chained: it is about bytes that may be anybody's.
            self._give_up(NoAnswerError("lost", "what came back is not HTTP"))
        if exchange.is_answered:
            # Not before all that came is read: what the next one gets is not of this.
            self._hand_back()
        elif not self.status:
            self._size += nbytes
            self._check_head(self._size)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_reusable = False
        self._transport = None
        exchange = self._exchange
        if exchange is not None:
            if self._is_until_end and exc is None:
                self._finish(is_reusable=False)
            if exchange.is_answered:
                self._hand_back()
            else:
                self._fail(exc)
        self.resume_writing()
        self._pool.gone(self)

    def eof_received(self) -> None:
        self.is_reusable = False

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._exchange is None:
            # More than was asked for.
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # behind the last chunk, and nobody's concern
        self._head_size += len(name) + len(value)
        self._check_head(self._head_size)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < _FIRST_STATUS:
            if status < _FIRST_NEWS:
                self._give_up(NoAnswerError("lost", "what came back is not HTTP"))
            return  # "continue", "early hints": the answer is still to come
        self.status, self._size = status, 0
        if self._is_tunnel:
            self._finish(is_reusable=False)
            return
        length = self._headers.get("content-length")
        if length is not None:
            self._check_size(int(length))
        elif status not in _BODILESS:
            coding = self._headers.get("transfer-encoding", "")
            self._is_until_end = not coding.lower().endswith("chunked")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._check_size(self._size)
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if not self.status:
            self._headers.clear()
            return
        self._finish(is_reusable=self._parser.should_keep_alive())

    def _check_head(self, size: int) -> None:
        if size > MAX_HEAD:
            self._give_up(NoAnswerError("lost", "what came back has no end of its headers"))

    def _check_size(self, size: int) -> None:
        if size > self._pool.max_answer:
            text = f"the answer is larger than {self._pool.max_answer} bytes"
            self._give_up(NoAnswerError("large", text))

    def _finish(self, *, is_reusable: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None or exchange.answer.done():
            return  # nobody waits for it any more, and whoever did closes the connection
        # Answered while there was no room for more, it has not been heard to the end.
        self.is_reusable = is_reusable and not self._rest and self._room is None
        self._rest = _NOTHING
        self._has_answered = True
        # Kept no longer than the caller does: the connection may be idle for long.
        parts, self._parts = self._parts, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        exchange.is_answered = True
        exchange.answer.set_result(Reply(self.status, self._headers, body))
        self.resume_writing()

    def _hand_back(self) -> None:
        if not self._is_tunnel:
            self._pool.freed(self)

    def _give_up(self, error: NoAnswerError) -> None:
        exchange, self._exchange = self._exchange, None
        self._parts.clear()
        if exchange is not None and not exchange.answer.done():
            exchange.answer.set_exception(error)
        self.close()

    def _fail(self, error: Exception | None) -> None:
        if self._has_begun:
            failure = NoAnswerError("lost", f"the answer broke off: {named(error)}")
        else:
            failure = NoAnswerError("stale" if self._has_answered else "lost", named(error))
        failure.__cause__ = error
        self._give_up(failure)
