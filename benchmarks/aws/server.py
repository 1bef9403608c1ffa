"""`python -m benchmarks.aws.server`: the canned services in a process of their own.

It prints its port and ends when its stdin ends. Requests are parsed with `bytes.find`, answers are
ready-made, a latency is a timer: about 60 us a request, so that two cores measure the client.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import threading
from collections import Counter
from typing import Any, Final, cast

from benchmarks.aws.replies import THROTTLED, Replies, answer

CONTROL: Final = "/_canned"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_ACCESS_KEY: Final = re.compile(rb"Credential=([A-Z0-9]+)/")


class Service:
    """What all connections share: answers, faults and counts."""

    def __init__(self) -> None:
        self.replies = Replies()
        self.latency: dict[str, float] = {}
        self.throttle: dict[str, float] = {}
        self._random = random.Random(7)
        self._watching = False
        self.open = 0
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.requests: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.keys: set[tuple[bytes, bytes]] = set()
        self.opened = 0
        self.peak_open = self.open
        self.busy = self.peak_busy = 0

    def answer(self, path: str, head: bytes, body: bytes) -> tuple[bytes, float]:
        """Return an answer and after how many seconds it is due."""
        if path == CONTROL:
            return answer(json.dumps(self._control(json.loads(body))).encode()), 0.0
        operation, found = self.replies.answer(path, body)
        self.requests[operation] += 1
        self.received[operation] += len(body)
        rate = self.throttle.get(operation)
        if rate is not None and self._random.random() < rate:
            self.throttled[operation] += 1
            found = THROTTLED
        if self._watching and operation in {"QueryVectors", "PutVectors"}:
            key, index = _ACCESS_KEY.search(head), re.search(rb'"indexName":"([^"]*)"', body)
            self.keys.add((key[1] if key else b"", index[1] if index else b""))
        return found, self.latency.get(operation, 0.0)

    def _control(self, asked: dict[str, Any]) -> dict[str, Any]:
        indexes = self.replies.indexes
        self.latency = asked.get("latency", self.latency)
        self.throttle = asked.get("throttle", self.throttle)
        self._watching = asked.get("watch", self._watching)
        indexes.learning = asked.get("learn", indexes.learning)
        said: dict[str, Any] = {}
        if "contents" in asked:
            said["contents"] = indexes.contents(*asked["contents"])
        if asked.get("recent"):
            said["recent"] = {name: raw.decode() for name, raw in self.replies.recent.items()}
        if asked.get("counters"):
            said |= {
                "requests": self.requests,
                "throttled": self.throttled,
                "received": self.received,
                "opened": self.opened,
                "peak_open": self.peak_open,
                "peak_busy": self.peak_busy,
                "signed_by": len({key for key, _ in self.keys}),
                "key_index_pairs": len(self.keys),
                "learned": indexes.put,
            }
        if asked.get("reset"):
            self.reset()
        return said


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next one."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        service = self._service
        service.opened += 1
        service.open += 1
        service.peak_open = max(service.peak_open, service.open)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._service.open -= 1

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            return
        head = data[:end]
        length = _LENGTH.search(head)
        start = end + 4
        stop = start + int(length[1]) if length else start
        if len(data) < stop:
            self._buffer = data
            return
        self._buffer = data[stop:]
        path = head[head.index(b" ") + 1 : head.index(b" HTTP/")].decode()
        found, after = self._service.answer(path, head, data[start:stop])
        if not after:
            self._transport.write(found)
            return
        service = self._service
        service.busy += 1
        service.peak_busy = max(service.peak_busy, service.busy)
        self._loop.call_later(after, self._send, found)

    def _send(self, found: bytes) -> None:
        self._service.busy -= 1
        if not self._transport.is_closing():
            self._transport.write(found)


async def _serve() -> None:
    service = Service()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
