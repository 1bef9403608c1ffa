"""Megabytes go out whole, every time, and the loop does other things meanwhile."""

import asyncio
import hashlib
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from core.aws.answering import AnsweringServer, Say, fault
from core.aws.planes import CREDENTIALS, Planes, planes, server
from memlane.aws import plane as plane_module
from memlane.aws.connection import PIECE, Connection
from memlane.aws.plane import Channel
from memlane.aws.signing import Signer
from memlane.aws.wire import Request
from memlane.errors import ThrottledError

__all__ = ("planes", "server")

# As large as 500 vectors of 1,024 dimensions, and no multiple of anything.
BODY = b"".join(b"%07d," % number for number in range(850_000)) + b"end"
PUT = Request("s3vectors", "PutVectors", "/PutVectors", BODY)


@pytest.mark.parametrize("size", [PIECE, PIECE + 1, 1024 * 1024 + 1, len(BODY)])
async def test_a_large_body_arrives_whole(
    server: AnsweringServer, planes: Planes, size: int
) -> None:
    """Its length said beforehand, for the service takes no chunks, and signed."""
    plane = await planes.make()
    request = Request("s3vectors", "PutVectors", "/PutVectors", BODY[:size])
    await plane.call(request, CREDENTIALS)
    (asked,) = server.asked
    assert asked.body == request.body
    assert asked.headers["content-length"] == str(size)
    assert "transfer-encoding" not in asked.headers
    _check_signature(request, asked.headers, server)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_it_is_sent_again_from_its_beginning(
    server: AnsweringServer, planes: Planes, method: str
) -> None:
    """After a refusal, after an answer that broke off, and on a connection found closed."""
    plane = await planes.make()
    request = PUT._replace(method=method)
    server.replies(fault(503, "ServiceUnavailable"), None, Say(body=b"{}", cut=1), None, Say())
    await plane.call(request, CREDENTIALS)
    assert [asked.body == BODY for asked in server.asked] == [True] * 5
    for asked in server.asked:
        _check_signature(request, asked.headers, server)


async def test_it_is_hashed_once_and_elsewhere(
    server: AnsweringServer, planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop's thread hashes nothing that takes milliseconds."""
    hashed: list[tuple[int, str]] = []

    class Watched:
        @staticmethod
        def sha256(body: bytes) -> Any:
            hashed.append((len(body), threading.current_thread().name))
            return hashlib.sha256(body)

    monkeypatch.setattr(plane_module, "hashlib", Watched)
    monkeypatch.setattr("memlane.aws.signing.hashlib", _OnlySmall)
    plane = await planes.make()
    server.replies(fault(500, "InternalFailure"), Say())
    await plane.call(PUT, CREDENTIALS)
    assert len(hashed) == 1
    assert hashed[0][0] == len(BODY)
    assert hashed[0][1].startswith("memlane-aws")


async def test_the_loop_has_its_turn_in_between(
    server: AnsweringServer, planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No turn of the loop hands more than a piece to the network."""
    turn = 0
    written: dict[int, int] = {}
    made = Connection.connection_made

    def noting(self: Connection, transport: Any) -> None:
        write = transport.write

        def counting(data: bytes) -> None:
            written[turn] = written.get(turn, 0) + len(data)
            write(data)

        transport.write = counting
        made(self, transport)

    async def send(channel: Channel) -> None:
        loop = asyncio.get_running_loop()
        timer: list[asyncio.Handle] = []

        def count() -> None:
            nonlocal turn
            turn += 1
            timer[:] = [loop.call_soon(count)]

        count()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(Connection, "connection_made", noting)
                await channel.call(PUT, CREDENTIALS)
        finally:
            timer[0].cancel()

    plane = await planes.make()
    await plane.run(send)
    assert server.asked[0].body == BODY
    heads = 2 * 1024
    assert PIECE <= max(written.values()) < PIECE + heads
    assert len(BODY) < sum(written.values()) < len(BODY) + heads


async def test_a_large_body_is_throttled_like_any_other(
    server: AnsweringServer, planes: Planes
) -> None:
    """And its caller's deadline holds."""
    plane = await planes.make()
    server.replies(fault(429, "TooManyRequestsException", Retry_After="30"))
    with pytest.raises(ThrottledError):
        await plane.run(_within_a_second)
    assert len(server.asked) == 1


async def _within_a_second(channel: Channel) -> None:
    await channel.call(PUT, CREDENTIALS, deadline=1.0)


class _OnlySmall:
    @staticmethod
    def sha256(body: bytes) -> Any:
        assert len(body) < PIECE
        return hashlib.sha256(body)

    blake2b = hashlib.blake2b


def _check_signature(request: Request, headers: dict[str, str], server: AnsweringServer) -> None:
    date = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    signed = Signer("us-east-1").headers(
        request,
        CREDENTIALS,
        host=server.url.removeprefix("http://"),
        path=request.path,
        at=date.timestamp(),
    )
    assert headers["authorization"] == signed["Authorization"]
