"""A server on the test's own loop that answers each request with bytes given beforehand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from memlane.aws.endpoints import Endpoint
from memlane.aws.transport import Transport
from memlane.aws.wire import Reply, Request, Timeouts

QUERY = Request("s3vectors", "QueryVectors", "/QueryVectors", b"{}")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def head(*lines: str, status: str = "200 OK") -> bytes:
    """Return an answer's beginning, up to its body."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


def pieces(raw: bytes, places: Iterable[int]) -> list[bytes]:
    """Return bytes cut at the places that there are."""
    ends = sorted({min(place, len(raw)) for place in places} | {0, len(raw)})
    return [raw[begin:end] for begin, end in itertools.pairwise(ends)]


def chunked(body: bytes, places: Iterable[int], trailer: str = "") -> bytes:
    """Return a body in chunks, and what follows the last."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces(body, places))
    return chunks + b"0\r\n" + trailer.encode() + b"\r\n"


@dataclass
class Scripted:
    """One server and a transport that asks it.

    Args:
        endpoint: Where it is.
        transport: Asks it.
        answers: What each request is answered with, piece by piece, one after the other.
        close_after: Close once this many requests are answered; 0 for never.
    """

    endpoint: Endpoint
    transport: Transport
    answers: list[list[bytes]]
    close_after: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list[str])
    ended: asyncio.Queue[int] = field(default_factory=asyncio.Queue[int])
    writers: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def ask(self, request: Request = QUERY, seconds: float = 30.0) -> Reply:
        return await self.transport.send(self.endpoint, request, {}, seconds)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                self.heads.append(head)
                for piece in self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
                    writer.write(piece)
                    await writer.drain()
                    # The other side, on the same loop, reads what is there before more comes.
                    for _ in range(3):
                        await asyncio.sleep(0)
                if len(self.heads) == self.close_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.put_nowait(number)


@asynccontextmanager
async def scripted(
    *answers: list[bytes], close_after: int = 0, max_answer: int = 1_000_000, concurrency: int = 8
) -> AsyncGenerator[Scripted]:
    transport = Transport(
        concurrency=concurrency, timeouts=Timeouts(attempt=30.0), max_answer=max_answer
    )
    told = Scripted(Endpoint("http", ""), transport, list(answers), close_after)
    server = await asyncio.start_server(told.talk, "127.0.0.1", 0)
    told.endpoint = Endpoint("http", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield told
        assert transport._places._free == concurrency
    finally:
        await transport.aclose()
        server.close()
        for writer in told.writers:
            writer.transport.abort()
        await asyncio.sleep(0)
