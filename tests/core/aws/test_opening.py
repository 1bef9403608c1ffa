"""A connection is had by whatever way there is, and where there is none that is said in time."""

import asyncio
import gc
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from core.aws.answering import AnsweringServer
from core.aws.scripted import OK, QUERY, scripted
from core.aws.tunnelling import TunnellingProxy
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


class Full:
    """Something that a weak reference sees the end of."""


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(TLS / "server.pem")
    return made


@pytest.fixture
def secure() -> Iterator[AnsweringServer]:
    """A server that speaks TLS."""
    opened = AnsweringServer(context())
    yield opened
    opened.close()


@pytest.fixture
def proxy() -> Iterator[TunnellingProxy]:
    """A proxy that speaks TLS itself."""
    opened = TunnellingProxy(context())
    yield opened
    opened.close()


@pytest.fixture
async def mute(anyio_backend: object) -> AsyncIterator[Endpoint]:  # noqa: ARG001
    """A server that takes connections and never says a word, of TLS neither."""
    left = asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await left.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield Endpoint("https", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    left.set()
    server.close()


async def prepared(proxy: str | None = None) -> Route:
    route = Route(AUTHORITY, proxy)
    await route.prepare(WorkerThreads("memlane-test", 1))
    return route


def looked_up(monkeypatch: pytest.MonkeyPatch, *addresses: str | None) -> list[str]:
    """Let names be where the test says, one after the other; return who is asked for."""
    asked: list[str] = []

    async def look_up(_loop: object, host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        await asyncio.sleep(0)
        if None in addresses and len(asked) == 1:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [
            (kinds[":" in address], socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
            if address is not None
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", look_up)
    return asked


async def test_a_name_is_looked_up_once_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of connections asks for it once, and so do those that follow soon."""
    asked = looked_up(monkeypatch, "127.0.0.1")
    async with scripted([OK]) as told:
        told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "store.example"))
        await asyncio.gather(*(told.ask() for _ in range(8)))
        assert told.connections == 8
        for writer in told.writers:
            writer.close()
        await asyncio.gather(*(told.ended.get() for _ in range(8)))
        await told.ask()
    assert told.connections == 9
    assert asked == ["store.example"]


async def test_a_name_that_was_looked_up_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts move: it is looked up again."""
    monkeypatch.setattr(opening, "ADDRESS_SECONDS", -1.0)
    asked = looked_up(monkeypatch, "127.0.0.1")
    async with scripted([OK.replace(b"200 OK", b"200 OK\r\nConnection: close")]) as told:
        told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "store.example"))
        await told.ask()
        await told.ask()
    assert len(asked) == 2


async def test_a_name_that_was_not_found_is_looked_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure is nothing to keep; all who waited for it are told, and the next one asks."""
    asked = looked_up(monkeypatch, None, "127.0.0.1")
    async with scripted([OK]) as told:
        told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "store.example"))
        failed = await asyncio.gather(*(told.ask() for _ in range(3)), return_exceptions=True)
        assert [isinstance(each, NoAnswerError) and each.failure for each in failed] == [
            "connect"
        ] * 3
        assert "Name or service not known" in str(failed[0])
        assert (await told.ask()).body == b"ok"
    assert len(asked) == 2


async def test_who_stops_waiting_for_a_name_takes_it_from_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first to ask is cancelled; the others get it all the same."""
    asked = looked_up(monkeypatch, "127.0.0.1")
    async with scripted([OK]) as told:
        told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "store.example"))
        calls = [asyncio.create_task(told.ask()) for _ in range(3)]
        await asyncio.sleep(0)
        calls[0].cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert [getattr(each, "body", None) for each in ends[1:]] == [b"ok"] * 2
    assert len(asked) == 1


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "no..name"])
async def test_a_name_that_can_be_none(host: str) -> None:
    """Is like one that is not found: its labels are too long, or empty."""
    async with scripted([OK]) as told:
        told.endpoint = Endpoint("http", f"{host}:80")
        with pytest.raises(NoAnswerError) as caught:
            await told.ask()
        assert caught.value.failure == "connect"


async def test_another_address_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is at the first, the second is tried."""
    looked_up(monkeypatch, "127.0.0.9", "127.0.0.1")
    async with scripted([OK]) as told:
        told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "store.example"))
        assert (await told.ask()).body == b"ok"


async def test_every_address_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection begins with another, so that no machine of many has all of them."""
    places = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    looked_up(monkeypatch, *places)
    used: list[str] = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def note(opened: socket.socket, place: Any) -> None:
        used.append(place[0])
        await connect(opened, ("127.0.0.1", place[1]))

    monkeypatch.setattr(loop, "sock_connect", note)
    async with scripted([OK.replace(b"200 OK", b"200 OK\r\nConnection: close")]) as told:
        told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "store.example"))
        for _ in range(4):
            await told.ask()
    assert used == [*places, places[0]]


async def test_a_name_that_is_kept_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first caller had in its context is gone with the connection."""
    looked_up(monkeypatch, "127.0.0.1")
    held: ContextVar[object] = ContextVar("held")
    async with scripted([OK]) as told:
        told.endpoint = Endpoint("http", told.endpoint.host.replace("127.0.0.1", "store.example"))

        async def ask() -> weakref.ref[Full]:
            full = Full()
            held.set(full)
            await told.ask()
            return weakref.ref(full)

        kept = await asyncio.create_task(ask())
        told.writers[0].close()
        await told.ended.get()
        while told.transport._open:  # noqa: ASYNC110  (turn by turn)
            await asyncio.sleep(0)
        gc.collect()
        assert kept() is None
        assert told.transport._opener._found


async def test_nobody_at_any_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is one failure, and nothing was sent."""
    looked_up(monkeypatch, "127.0.0.9", "127.0.0.8")
    async with scripted([OK]) as told:
        told.endpoint = Endpoint("http", "store.example:9")
        with pytest.raises(NoAnswerError, match="no connection") as caught:
            await told.ask()
        assert caught.value.failure == "connect"


async def test_a_handshake_without_end(mute: Endpoint) -> None:
    """A connection has its own time, which is shorter than the attempt's."""
    transport = Transport(
        concurrency=1, timeouts=Timeouts(connect=0.05, attempt=600.0), route=await prepared()
    )
    with pytest.raises(NoAnswerError, match="no connection in time") as caught:
        await transport.send(mute, QUERY, {}, 600.0)
    assert caught.value.failure == "connect"
    await transport.aclose()


async def test_closed_while_a_connection_is_opened(
    mute: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for it is told, however long the other side would take."""
    monkeypatch.setattr(transport_module, "CLOSE_SECONDS", 0.0)
    transport = Transport(
        concurrency=1, timeouts=Timeouts(connect=600.0, attempt=600.0), route=await prepared()
    )
    waiting = asyncio.create_task(transport.send(mute, QUERY, {}, 600.0))
    await asyncio.sleep(0.05)
    await transport.aclose()
    with pytest.raises(LoopError):
        await waiting
    with pytest.raises(LoopError):
        await transport.send(mute, QUERY, {}, 600.0)


async def test_a_proxy_that_speaks_tls_itself(
    secure: AnsweringServer, proxy: TunnellingProxy
) -> None:
    """Then there is TLS in TLS, each with the name of whom it is with."""
    route = await prepared(f"https://ada:word@localhost:{proxy.port}")
    transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
    endpoint = Endpoint("https", f"localhost:{secure.port}")
    body = b"x" * 1_000_000
    for _ in range(2):
        reply = await transport.send(endpoint, QUERY._replace(body=body), {}, 30.0)
        assert reply.status == 200
    assert len(proxy.heads) == 1
    assert "Proxy-Authorization: Basic YWRhOndvcmQ=" in proxy.heads[0]
    assert [asked.body for asked in secure.asked] == [body, body]
    await transport.aclose()


async def test_a_proxy_whom_nobody_trusts(secure: AnsweringServer, proxy: TunnellingProxy) -> None:
    """Its certificate is another name's: it is told no password."""
    route = await prepared(f"https://ada:word@127.0.0.1:{proxy.port}")
    transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
    with pytest.raises(NoAnswerError, match="not trusted") as caught:
        await transport.send(Endpoint("https", f"localhost:{secure.port}"), QUERY, {}, 30.0)
    assert caught.value.failure == "hopeless"
    assert proxy.heads == []
    await transport.aclose()


@pytest.mark.parametrize("has_tls", [False, True])
async def test_the_far_end_of_a_tunnel_is_checked(secure: AnsweringServer, has_tls: bool) -> None:
    """Whom the proxy connects us with must be whom we asked for."""
    # Before 3.11.8, and 3.12.2, asyncio logs how it stumbles over closing TLS within TLS.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _said: None)
    proxy = TunnellingProxy(context() if has_tls else None)
    route = await prepared(f"{'https' if has_tls else 'http'}://localhost:{proxy.port}")
    transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
    with pytest.raises(NoAnswerError, match="not trusted: IP address mismatch"):
        await transport.send(Endpoint("https", f"127.0.0.1:{secure.port}"), QUERY, {}, 30.0)
    assert len(proxy.heads) == 1
    assert secure.asked == []
    assert not transport._open
    await transport.aclose()
    proxy.close()
