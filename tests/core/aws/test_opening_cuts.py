"""A connection that is given up while it is being opened is gone, whenever that is."""

import asyncio
import contextlib
import itertools
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohappyeyeballs
import pytest

from core.aws.scripted import OK, QUERY, scripted
from memlane.aws import opening
from memlane.aws import transport as transport_module
from memlane.aws.endpoints import Endpoint
from memlane.aws.failures import NoAnswerError
from memlane.aws.route import Route
from memlane.aws.transport import Transport
from memlane.aws.wire import Timeouts
from memlane.errors import LoopError
from memlane.runtime import WorkerThreads

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

TLS = Path(__file__).parent / "tls"
AUTHORITY = str(TLS / "authority.pem")


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(TLS / "server.pem")
    return made


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any], tls: ssl.SSLContext | None
) -> AsyncGenerator[int]:
    """Give the port of a server, and end it with all its connections."""
    writers: list[asyncio.StreamWriter] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await talk(reader, writer)

    server = await asyncio.start_server(note, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """All sockets that connections are made with."""
    made: list[socket.socket] = []
    connect = aiohappyeyeballs.start_connection

    async def start(*args: Any, **kwargs: Any) -> socket.socket:
        made.append(await connect(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start)
    return made


def end(transport: Transport, task: asyncio.Task[Any], how: str) -> None:
    """Let a call be cancelled, or its time be up."""
    if how == "cancelled":
        task.cancel()
        return
    for bound in transport._bounds._under_way:
        bound.ends = 0.0
    transport._bounds._ring()


@pytest.mark.parametrize("how", ["cancelled", "too late"])
async def test_given_up_while_the_slower_is_taken_back(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two addresses one was quicker; whoever gives up just then is not made to go on."""
    monkeypatch.setattr(opening, "NEXT_ADDRESS_SECONDS", 0.001)
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    chosen = asyncio.Event()

    async def look_up(_host: str, port: int, **_: Any) -> list[Any]:
        place = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*place, ("127.0.0.9", port)), (*place, ("127.0.0.1", port))]

    async def one_only(opened: socket.socket, place: Any) -> None:
        if place[0] == "127.0.0.9":
            await asyncio.Event().wait()
        chosen.set()
        await connect(opened, place)

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    monkeypatch.setattr(loop, "sock_connect", one_only)
    for turns in itertools.count():
        chosen.clear()
        async with scripted([OK]) as told:
            told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "two.example"))
            asking = asyncio.create_task(told.ask())
            await chosen.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            if asking.done():
                break
            end(told.transport, asking, how)
            with pytest.raises((asyncio.CancelledError, NoAnswerError)):
                await asking
            assert asking.cancelled() is (how == "cancelled")
            assert (await told.ask()).body == b"ok"
    assert turns > 4


@pytest.mark.parametrize("how", ["cancelled", "too late"])
async def test_given_up_during_a_handshake(how: str, sockets: list[socket.socket]) -> None:
    """Its socket is closed, and the server's goodbye, which never comes, is not waited for."""

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context().wrap_bio(heard, said, server_side=True)
        heard.write(await reader.read(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        writer.write(said.read())

    route = Route(AUTHORITY)
    await route.prepare(WorkerThreads("memlane-test", 1))
    async with listening(deaf, None) as port:
        for turns in itertools.count():
            transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
            endpoint = Endpoint("https", f"localhost:{port}")
            asking = asyncio.create_task(transport.send(endpoint, QUERY, {}, 30.0))
            while not sockets:  # noqa: ASYNC110  (turn by turn)
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            is_open = bool(transport._open)
            end(transport, asking, how)
            with pytest.raises((asyncio.CancelledError, NoAnswerError)):
                await asking
            for _ in range(4):
                await asyncio.sleep(0)
            assert sockets.pop().fileno() == -1
            await transport.aclose()
            if is_open:
                break
    assert turns > 1


@pytest.mark.parametrize("has_tls", [False, True])
async def test_a_tunnel_that_leads_nowhere(has_tls: bool, sockets: list[socket.socket]) -> None:
    """It is left at once, whatever the proxy would have to say about that."""
    logged: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: logged.append(said))

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async with listening(lead, context() if has_tls else None) as port:
        route = Route(AUTHORITY, f"{'https' if has_tls else 'http'}://localhost:{port}")
        await route.prepare(WorkerThreads("memlane-test", 1))
        transport = Transport(concurrency=1, timeouts=Timeouts(connect=0.1), route=route)
        with pytest.raises(NoAnswerError, match="no connection in time"):
            await transport.send(Endpoint("https", "store.example"), QUERY, {}, 30.0)
        for _ in range(4):
            await asyncio.sleep(0)
        assert sockets.pop().fileno() == -1
        await transport.aclose()
    assert not logged


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_a_proxy_that_is_none(said: bytes) -> None:
    """The endpoint has not heard a word: any request may be asked again."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with listening(say, None) as port:
        route = Route(AUTHORITY, f"http://localhost:{port}")
        transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
        with pytest.raises(NoAnswerError, match="the proxy gave no answer") as caught:
            await transport.send(Endpoint("https", "store.example"), QUERY, {}, 30.0)
        assert caught.value.failure == "connect"
        await transport.aclose()


async def test_an_end_behind_a_tunnel() -> None:
    """To whom the tunnel leads this was the first request, which they may have done."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.start_tls(context())
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with listening(leave, None) as port:
        route = Route(AUTHORITY, f"http://localhost:{port}")
        await route.prepare(WorkerThreads("memlane-test", 1))
        transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
        with pytest.raises(NoAnswerError) as caught:
            await transport.send(Endpoint("https", "localhost"), QUERY, {}, 30.0)
        assert caught.value.failure == "lost"
        await transport.aclose()


@pytest.mark.parametrize("goodbye", [b"", b"\x15\x03\x03\x00\x02\x01\x00"], ids=["cut", "alert"])
async def test_a_handshake_that_is_ended(goodbye: bytes) -> None:
    """A server that leaves, with or without a word, may be back: it is no wrong scheme."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(goodbye)
        writer.close()

    route = Route(AUTHORITY)
    await route.prepare(WorkerThreads("memlane-test", 1))
    async with listening(leave, None) as port:
        transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
        with pytest.raises(NoAnswerError) as caught:
            await transport.send(Endpoint("https", f"localhost:{port}"), QUERY, {}, 30.0)
        assert caught.value.failure == "connect"
        await transport.aclose()


@pytest.mark.parametrize("is_tunnelled", [False, True])
async def test_a_full_name(is_tunnelled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dot at its end is no part of what certificates say."""
    loop = asyncio.get_running_loop()

    async def look_up(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if is_tunnelled:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await writer.start_tls(context())
            await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    async with listening(answer, None if is_tunnelled else context()) as port:
        route = Route(AUTHORITY, f"http://localhost:{port}" if is_tunnelled else None)
        await route.prepare(WorkerThreads("memlane-test", 1))
        transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
        endpoint = Endpoint("https", f"localhost.:{port}")
        assert (await transport.send(endpoint, QUERY, {}, 30.0)).body == b"ok"
        await transport.aclose()


async def test_let_in_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is given a place in the turn in which all ends by force sends nothing any more."""
    monkeypatch.setattr(transport_module, "CLOSE_SECONDS", 0.0)
    async with scripted([OK]) as told:
        transport = Transport(concurrency=1, timeouts=Timeouts())
        assert transport._places.take()
        waiting = asyncio.create_task(transport.send(told.endpoint, QUERY, {}, 30.0))
        await asyncio.sleep(0)
        transport._places.leave()
        transport._is_closed = True
        with pytest.raises(LoopError):
            await waiting
        assert not told.heads
        assert transport._places.take()
