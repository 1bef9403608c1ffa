"""One connection: a request out, its answer in, one after the other.

HTTP/1.1 as AWS's services speak it: a request's length is said beforehand, and so is an answer's
or it comes in chunks. What is in between is read by llhttp, strictly.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from memlane.aws._extra import httptools
from memlane.aws.failures import NoAnswerError, named
from memlane.aws.wire import Reply

__all__ = ("Connection",)

MAX_HEAD: Final = 16 * 1024
# A body larger than this is sent in pieces of it, and others have their turn in between.
PIECE: Final = 256 * 1024
_FIRST_NEWS: Final = 100
_FIRST_STATUS: Final = 200
_BODILESS: Final = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """A connection, as asyncio's transports call it; used on its own loop only.

    Args:
        loop: That loop.
        gone: Called with it when it is closed, by whomever.
        max_answer: Bytes of a body that are read at most.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        gone: Callable[[Connection], None],
        max_answer: int,
    ) -> None:
        self._loop = loop
        self._gone = gone
        self._max_answer = max_answer
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._room: asyncio.Future[None] | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._answered = 0
        self._is_tunnel = False
        self.is_reusable = True
        """Whether another request may follow: all of the last one was sent, and its answer read."""
        self.idle_since = 0.0
        """When its last answer came, in the loop's time; whoever keeps it notes that."""
        self._begin()

    def _begin(self) -> None:
        self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._head_size = self._size = 0
        self._has_begun = self._is_until_end = False

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it yet."""
        return self._transport is not None

    async def ask(self, head: bytes, body: bytes) -> Reply:
        """Send a request and return its answer, whatever its status.

        Cancelled or failing half way, the connection is closed.

        Args:
            head: All up to and with the empty line.
            body: As long as the head says.

        Raises:
            NoAnswerError: None came.
        """
        transport = self._transport
        if transport is None:
            raise NoAnswerError("connect", named(None))
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._answer = answer
        self._begin()
        self.is_reusable = False
        try:
            if len(body) <= PIECE:
                transport.write(head + body)
            else:
                await self._pour(transport, head, body)
            return await answer
        except BaseException:
            self.close()
            raise
        finally:
            self._answer = None
            self._answered += 1

    async def ask_for_tunnel(self, head: bytes) -> int:
        """Send a proxy a CONNECT, and return the status it answers with."""
        self._is_tunnel = True
        try:
            return (await self.ask(head, b"")).status
        finally:
            self._is_tunnel = False

    async def speak_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Begin TLS with whom the tunnel leads to; from here on it is a connection to that host.

        Raises:
            OSError: It cannot be had.
        """
        if self._transport is None:
            raise ConnectionResetError
        try:
            self._transport = await self._loop.start_tls(
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
        self._answered = 0
        self.is_reusable = True

    def close(self) -> None:
        """Close it at once; what was not sent is not sent."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    async def _pour(self, transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        """Send a large body piece by piece, as fast as it is taken, unless it is answered."""
        transport.write(head)
        rest = memoryview(body)
        while rest:
            if self._answer is None or self._answer.done():
                self.is_reusable = False
                return
            transport.write(rest[:PIECE])
            rest = rest[PIECE:]
            if self._room is not None:
                await self._room
            else:
                await asyncio.sleep(0)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            # Nobody asked. Whatever it is, it must not be taken for the next one's answer.
            self.close()
            return
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # Not chained: it is about bytes that may be anybody's.
            self._give_up(NoAnswerError("lost", "what came back is not HTTP"))
        if not self._status:
            self._size += len(data)
            self._check_head(self._size)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_reusable = False
        self._transport = None
        if self._is_until_end and exc is None:
            self._finish(is_reusable=False)
        self._fail(exc)
        self._parts.clear()
        self.resume_writing()
        self._gone(self)

    def eof_received(self) -> None:
        self.is_reusable = False

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            # More than was asked for.
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:
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
        self._status, self._size = status, 0
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
        if not self._status:
            self._headers.clear()
            return
        self._finish(is_reusable=self._parser.should_keep_alive())

    def _check_head(self, size: int) -> None:
        if size > MAX_HEAD:
            self._give_up(NoAnswerError("lost", "what came back has no end of its headers"))

    def _check_size(self, size: int) -> None:
        if size > self._max_answer:
            text = f"the answer is larger than {self._max_answer} bytes"
            self._give_up(NoAnswerError("large", text))

    def _finish(self, *, is_reusable: bool) -> None:
        if self._answer is not None and not self._answer.done():
            # Answered while there was no room for more, it has not been heard to the end.
            self.is_reusable = is_reusable and self._room is None
            # Kept no longer than the caller does: the connection may be idle for long.
            parts, self._parts = self._parts, []
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._answer.set_result(Reply(self._status, self._headers, body))
            self.resume_writing()

    def _give_up(self, error: NoAnswerError) -> None:
        self._parts.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def _fail(self, error: Exception | None) -> None:
        if self._answer is None or self._answer.done():
            return
        if self._has_begun:
            failure = NoAnswerError("lost", f"the answer broke off: {named(error)}")
        else:
            failure = NoAnswerError("stale" if self._answered else "lost", named(error))
        failure.__cause__ = error
        self._answer.set_exception(failure)
