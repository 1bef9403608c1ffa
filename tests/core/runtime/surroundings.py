"""What surrounds memlane in these tests: other people's loops, and a server to connect to."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class ForeignLoop:
    """Somebody else's asyncio loop in a thread, which can be dropped under its tasks."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def spawn(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def post(self, fn: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(fn)

    def silence(self) -> None:
        """Keep the log free of the tasks that are half way when they are collected."""
        self.loop.set_exception_handler(lambda _loop, _context: None)

    def abandon(self) -> None:
        """Stop and close the loop with its tasks half way."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


class EchoServer:
    """Answers each line with itself and counts the connections it was asked for."""

    def __init__(self) -> None:
        self.accepted = 0
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


class Line:
    """A connection to an echo server: bound to its loop by a socket, streams and a lock."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.loop = asyncio.get_running_loop()
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    async def ask(self, text: str) -> str:
        assert asyncio.get_running_loop() is self.loop
        async with self._turn:
            self._writer.write(f"{text}\n".encode())
            await self._writer.drain()
            return (await self._reader.readline()).decode().rstrip("\n")

    async def close(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        self._writer.close()
        await self._writer.wait_closed()
