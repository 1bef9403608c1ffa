"""A server that answers InvokeModel with what a test wants answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ("Answer", "Answering", "answering")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Answering:
    """What was asked so far, and how it is answered."""

    url: str
    answer: Callable[[Any], Answer]
    asked: list[Any] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    gate: threading.Event | None = None
    open: int = 0
    most: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_until_open(self, count: int) -> None:
        """Block until so many requests wait for their answers."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.open >= count, timeout=20)


@contextmanager
def answering(answer: Callable[[Any], Answer]) -> Generator[Answering]:
    """Serve until the block ends; `answer` is given the request's JSON."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with told.changed:
                told.asked.append(body)
                told.paths.append(self.path)
                told.keys.append(self.headers["Authorization"].partition("Credential=")[2][:4])
                told.open += 1
                told.most = max(told.most, told.open)
                told.changed.notify_all()
            if told.gate is not None:
                told.gate.wait(10)
            found = told.answer(body)
            with told.changed:
                told.open -= 1
            raw = found.body if isinstance(found.body, bytes) else json.dumps(found.body).encode()
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    told = Answering(f"http://127.0.0.1:{server.server_port}", answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        if told.gate is not None:
            told.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
