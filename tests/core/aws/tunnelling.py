"""A proxy on a thread of its own that opens tunnels, or says that it will not."""

from __future__ import annotations

import asyncio
import ssl
import threading


class TunnellingProxy:
    """Listens on 127.0.0.1 until closed.

    Args:
        tls: What to speak TLS with, before it is asked for anything; None to speak none.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.heads: list[str] = []
        self.refusal: bytes | None = None
        self.greeting: bytes | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _work(self, started: threading.Event) -> None:
        self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        listener = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = listener.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        listener.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.greeting is not None:
                writer.write(self.greeting)
                await writer.drain()
                return
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            if self.refusal is not None:
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % self.refusal)
                await writer.drain()
                return
            host, _, port = head.split(" ")[1].rpartition(":")
            other_reader, other_writer = await asyncio.open_connection(
                host.replace("localhost", "127.0.0.1"), int(port)
            )
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pour(reader, other_writer), _pour(other_reader, writer))
        finally:
            writer.close()


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while some := await source.read(65536):
            target.write(some)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()
