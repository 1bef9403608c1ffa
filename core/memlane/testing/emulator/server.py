"""The emulator's HTTP server: one process, one loop, every service on one address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from email.utils import formatdate
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from memlane.testing.emulator.cloud import MAX_BODY, Cloud
from memlane.testing.emulator.control import CONTROL, controlled
from memlane.testing.emulator.faults import FaultRule
from memlane.testing.emulator.routes import Asked, Told, routed

__all__ = ("Listening", "listening")

_DROPS: Final = 10
_LINGER: Final = struct.pack("ii", 1, 0)  # a reset instead of an orderly end
_READ_AHEAD: Final = 4 * MAX_BODY  # what is read of a body that is refused for its size


class _Counted(web.Server):
    """Counts connections once they ask for a service, and can end them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._asking: set[RequestHandler] = set()
        super().__init__(
            _Answering(cloud, self),
            request_factory=self._request,
            access_log=None,
            keepalive_timeout=3_600.0,
        )

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, self._loop, client_max_size=_READ_AHEAD
        )

    def asks(self, handler: RequestHandler) -> None:
        """Hear that a connection carries a request to a service."""
        if handler not in self._asking:
            self._asking.add(handler)
            self._cloud.counting.opened()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        if handler in self._asking:
            self._asking.discard(handler)
            self._cloud.counting.closed()
        super().connection_lost(handler, exc)

    def disconnect(self) -> int:
        """Close every connection that stands, as a service does with idle ones."""
        asking = list(self._asking)
        for handler in asking:
            handler.force_close()
            if handler.transport is not None:
                handler.transport.close()
        return len(asking)


class _Answering:
    """Answers requests."""

    def __init__(self, cloud: Cloud, server: _Counted) -> None:
        self._cloud = cloud
        self._server = server
        self._date = (0, "")

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _reset(request)
        if path.startswith(CONTROL):
            status, answer = controlled(self._cloud, request.method, path, query, body)
            if path == f"{CONTROL}disconnect":
                self._server.disconnect()
            return web.Response(status=status, body=answer, content_type="application/json")
        self._server.asks(request.protocol)
        service, operation = routed(request.method, path, body, request.content_type)
        asked = Asked(
            method=request.method,
            path=path,
            query=query,
            headers=request.headers,
            body=body,
            service=service,
            operation=operation,
        )
        told = Told()
        generation = self._cloud.counting.begun(operation)
        try:
            return await self._service(request, asked, told)
        finally:
            self._cloud.counting.ended(asked.operation, told, generation)

    async def _service(
        self, request: web.BaseRequest, asked: Asked, told: Told
    ) -> web.StreamResponse:
        cloud = self._cloud
        rules = cloud.faults.due(asked.operation)
        fault = next((rule for rule in rules if rule.kind is not None), None)
        late = sum(rule.latency for rule in rules if rule.moment == "before")
        if late and not await self._slept(late):
            return _reset(request)
        if fault is not None and fault.moment == "before" and fault.kind in {"error", "reset"}:
            told.request_id = cloud.request_id()
        else:
            cloud.answer(asked, told)
        late = sum(rule.latency for rule in rules if rule.moment == "after")
        if late:
            await asyncio.sleep(late)
        oversize = asked.service == "s3vectors" and len(asked.body) > MAX_BODY
        if (fault is not None and fault.kind == "reset") or (
            oversize and cloud.switches.oversize_resets
        ):
            told.status = 0
            return _reset(request)
        if fault is not None and fault.kind == "error":
            cloud.refuse(asked, told, fault.error(asked.service))
        headers = {**told.headers, "x-amzn-RequestId": told.request_id, "Date": self._now()}
        if fault is not None and fault.kind in {"truncate", "slow"}:
            return await _delivered(request, told, headers, fault)
        return web.Response(status=told.status, body=told.body, headers=headers)

    async def _slept(self, seconds: float) -> bool:
        """Wait, and return whether the world is still the one in which the request came."""
        before = self._cloud.age
        await asyncio.sleep(seconds)
        return self._cloud.age == before

    def _now(self) -> str:
        second = int(self._cloud.now())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


async def _delivered(
    request: web.BaseRequest, told: Told, headers: dict[str, str], fault: FaultRule
) -> web.StreamResponse:
    """Send an answer badly: its first half only, or all of it in drops."""
    response = web.StreamResponse(status=told.status, headers=headers)
    response.content_length = len(told.body)
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client may have given up
        await _body(request, response, told, fault)
    return response


async def _body(
    request: web.BaseRequest, response: web.StreamResponse, told: Told, fault: FaultRule
) -> None:
    if fault.kind == "truncate":
        await response.write(told.body[: len(told.body) // 2])
        if request.transport is not None:
            request.transport.close()
        return
    step = max(1, -(-len(told.body) // _DROPS))
    starts = range(0, len(told.body), step)
    for start in starts:
        await response.write(told.body[start : start + step])
        await asyncio.sleep(fault.seconds / len(starts))
    await response.write_eof()


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    """Reset a connection; what is returned reaches nobody."""
    transport = request.transport
    if transport is not None:
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        transport.abort()
    return web.Response(status=500)


class Listening:
    """A server that accepts connections.

    Attributes:
        port: Where.
    """

    def __init__(self, runner: web.ServerRunner, port: int) -> None:
        self._runner = runner
        self.port = port

    async def aclose(self) -> None:
        """Stop."""
        await self._runner.cleanup()


async def listening(cloud: Cloud, *, host: str = "127.0.0.1", port: int = 0) -> Listening:
    """Return a server of an account, on the loop that is running.

    Args:
        cloud: The account.
        host: Where it listens.
        port: Where it listens; 0 for one that is free.
    """
    runner = web.ServerRunner(_Counted(cloud), handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1_024)
    await site.start()
    address: Any = runner.addresses[0]
    return Listening(runner, address[1])
