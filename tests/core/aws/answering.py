"""A server on a thread of its own that says what a test tells it to, byte by byte."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

REASON = "R"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Say:
    """What to answer.

    Args:
        status: The HTTP status.
        body: What follows.
        headers: Further headers.
        cut: Send so many bytes of the body only, and close.
        close: Close after the answer; None as the answer: close without one.
        hold: Wait for this after the head and half of the body.
        chunked: Send it in chunks, its length unsaid.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    close: bool = False
    hold: threading.Event | None = None
    chunked: bool = False


def fault(status: int, code: str, message: str = "m", **headers: str) -> Say:
    """Return an error as the JSON services say it."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Say(
        status,
        json.dumps({"message": message}).encode(),
        {"x-amzn-ErrorType": code, "x-amzn-RequestId": "req-1", **named},
    )


class AnsweringServer:
    """Listens on 127.0.0.1 until closed.

    Args:
        tls: What to speak TLS with; None to speak none.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.asked: list[Asked] = []
        self.connections = 0
        self._came = threading.Condition()
        self.behave: Callable[[Asked], Say | None] = lambda _: Say()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    @property
    def url(self) -> str:
        # The certificate is localhost's.
        scheme, host = ("http", "127.0.0.1") if self._tls is None else ("https", "localhost")
        return f"{scheme}://{host}:{self.port}"

    def replies(self, *answers: Say | None) -> None:
        """Answer with these, one after the other, and with the last one from then on."""
        left = list(answers)
        self.behave = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def await_asked(self, count: int) -> None:
        """Block until so many requests have come."""
        with self._came:
            self._came.wait_for(lambda: len(self.asked) >= count, timeout=30)

    def drop_connections(self) -> None:
        """Close every connection, as servers do with idle ones; returns when that is done."""

        async def drop() -> None:
            for writer in list(self._writers):
                writer.close()
                await writer.wait_closed()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _work(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        try:
            while await self._turn(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _turn(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(method, target, headers, body, number)
        with self._came:
            self.asked.append(asked)
            self._came.notify_all()
        say = self.behave(asked)
        if say is None:
            return False
        extra = "".join(f"{name}: {text}\r\n" for name, text in say.headers.items())
        length = "Transfer-Encoding: chunked" if say.chunked else f"Content-Length: {len(say.body)}"
        writer.write(f"HTTP/1.1 {say.status} {REASON}\r\n{extra}{length}\r\n\r\n".encode())
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(say.body), say.body) if say.chunked else say.body
        if say.hold is not None:
            writer.write(body[: len(body) // 2])
            while not say.hold.is_set():  # noqa: ASYNC110  (the test's thread sets it)
                await asyncio.sleep(0.005)
            body = body[len(body) // 2 :]
        writer.write(body[: say.cut])
        await writer.drain()
        return not say.close and say.cut is None


def as_json(body: bytes) -> Any:
    return json.loads(body)
