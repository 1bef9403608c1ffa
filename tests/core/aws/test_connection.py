"""Whatever way the bytes of an answer come in, it is that answer, and nobody else's."""

import asyncio
import contextlib
from typing import Any

import pytest

from core.aws.scripted import OK, QUERY, chunked, head, scripted
from memlane.aws import connection, transport
from memlane.aws.failures import NoAnswerError
from memlane.errors import ValidationError

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

LARGE = b"x" * (8 * connection.PIECE)


async def test_a_header_said_twice() -> None:
    """Is both, in order."""
    raw = head("Vary: a", "VARY: b", "Content-Length: 0")
    async with scripted([raw]) as told:
        assert (await told.ask()).headers["vary"] == "a, b"


async def test_what_is_sent() -> None:
    """A length for what may have a body, none for the others; nothing twice."""
    async with scripted([OK]) as told:
        for method, body in (("POST", b"{}"), ("POST", b""), ("GET", b""), ("DELETE", b"")):
            await told.ask(QUERY._replace(method=method, body=body))
    lengths = [("content-length: " in each.lower()) for each in told.heads]
    assert lengths == [True, True, False, False]
    always = ("Accept: */*", "Accept-Encoding: identity", f"Host: {told.endpoint.host}")
    assert all(each.count(line) == 1 for each in told.heads for line in always)


@pytest.mark.parametrize("evil", ["a\r\nX-Other: b", "a\nb", "a\rb", "ä"])
async def test_a_header_that_is_more_than_one(evil: str) -> None:
    """Is not sent, and not repeated in the error: it may be a token."""
    async with scripted([OK]) as told:
        with pytest.raises(ValidationError) as caught:
            await told.transport.send(told.endpoint, QUERY, {"X-Amz-Security-Token": evil}, 30.0)
        assert evil not in str(caught.value)
        assert caught.value.__context__ is None
        assert told.connections == 0
        assert (await told.ask()).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"path": "/Bücher"},
        {"path": "/a b"},
        {"query": "a=b\r\nX-Other:c"},
        {"method": "GET /other HTTP/1.1"},
    ],
    ids=str,
)
async def test_a_request_that_is_none(changed: dict[str, Any]) -> None:
    """What is no URL is refused by us, in an error that leads to no header."""
    async with scripted([OK]) as told:
        with pytest.raises(ValidationError) as caught:
            await told.transport.send(
                told.endpoint, QUERY._replace(**changed), {"Authorization": "a-token"}, 30.0
            )
        assert "a-token" not in repr(vars(caught.value))
        assert caught.value.__context__ is None
        assert told.connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        head("Connection: close", "Content-Length: 2") + b"ok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
        OK + b"\x00",
    ],
    ids=["close", "1.0", "two answers", "rubbish behind"],
)
async def test_a_connection_that_is_not_kept(answer: bytes) -> None:
    """Because the server said so, or because what is on it would be taken for the next answer."""
    async with scripted([answer], [OK]) as told:
        with contextlib.suppress(NoAnswerError):
            assert (await told.ask()).body == b"ok"
        assert (await told.ask()).body == b"ok"
        assert told.connections == 2
        assert await told.ended.get() == 1


async def test_an_answer_without_length_ends_with_the_connection() -> None:
    """As HTTP has it, though no service of AWS's does that."""
    async with scripted([head("Date: today"), b"all", b" of it"], close_after=1) as told:
        assert (await told.ask()).body == b"all of it"
        told.close_after = 0


async def test_an_answer_that_has_no_body() -> None:
    """204 says so by itself, and its connection is kept."""
    async with scripted([head(status="204 No Content")], [OK]) as told:
        assert (await told.ask()).body == b""
        assert (await told.ask()).body == b"ok"
        assert told.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        head("Connection: upgrade", "Upgrade: h2c", status="101 Switching Protocols"),
        head("Content-Length: 4", status="000 Odd") + b"evil" + OK,
    ],
    ids=["101", "000"],
)
async def test_another_protocol(answer: bytes) -> None:
    """Is none that is spoken here: that is known at once, and nothing for asyncio's log."""
    logged: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: logged.append(said))
    async with scripted([answer], [OK]) as told:
        with pytest.raises(NoAnswerError, match="not HTTP") as caught:
            await told.ask()
        assert caught.value.failure == "lost"
        assert (await told.ask()).body == b"ok"
    assert not logged


async def test_an_answer_is_nobodys_once_it_is_given() -> None:
    """A connection may be idle for long: it does not keep what somebody remembered."""
    async with scripted([OK]) as told:
        await told.ask()
        (kept,) = told.transport._open
        assert not kept._parts


async def test_words_that_nobody_asked_for() -> None:
    """Said while a connection is idle, they end it before the next request can hear them."""
    async with scripted([OK]) as told:
        await told.ask()
        told.writers[0].write(OK.replace(b"ok", b"no"))
        await told.ended.get()
        assert (await told.ask()).body == b"ok"
        assert told.connections == 2


@pytest.mark.parametrize(
    "piece", [b"X: " + b"y" * 1000 + b"\r\n", b"y" * 1000], ids=["many", "one"]
)
async def test_headers_without_end(piece: bytes) -> None:
    """Are not read for ever."""
    async with scripted([b"HTTP/1.1 200 OK\r\nA: ", *[piece] * 100]) as told:
        with pytest.raises(NoAnswerError) as caught:
            await told.ask()
        assert caught.value.failure == "lost"
        assert await told.ended.get() == 1


async def test_news_without_end() -> None:
    """Nor is what comes before the answer."""
    async with scripted([head("Link: " + "x" * 500, status="103 Early")] * 100) as told:
        with pytest.raises(NoAnswerError, match="no end"):
            await told.ask()


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_more_than_is_read(is_chunked: bool) -> None:
    """Its length is enough to see it; else it is left when it has come to that."""
    body = b"x" * 1001
    raw = head("Transfer-Encoding: chunked") + chunked(body, [400, 800])
    if not is_chunked:
        raw = head("Content-Length: 1001")
    async with scripted([raw], [OK], max_answer=1000) as told:
        with pytest.raises(NoAnswerError) as caught:
            await told.ask()
        assert caught.value.failure == "large"
        assert (await told.ask()).body == b"ok"
        assert told.connections == 2


async def test_answered_before_all_was_sent() -> None:
    """A refusal is heard by whom the server does not read any further; the rest is not sent."""
    refused, stopped = asyncio.Event(), asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("Content-Length: 2", status="413 Too Large") + b"no")
        refused.set()
        await stopped.wait()
        writer.close()

    async with scripted([OK]) as told:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        place = told.endpoint._replace(host=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        request = QUERY._replace(body=LARGE * 4)
        reply = await told.transport.send(place, request, {}, 30.0)
        assert (reply.status, reply.body) == (413, b"no")
        assert not told.transport._kept.get(place)
        stopped.set()
        server.close()


async def test_cancelled_while_sending() -> None:
    """Half a request is never followed by another on the same connection."""
    begun, all_came = asyncio.Event(), asyncio.Event()
    came: asyncio.Queue[int] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        # Nothing more is read, until all that will come has come.
        await all_came.wait()
        size = 0
        with contextlib.suppress(ConnectionError):
            while some := await reader.read(connection.PIECE):
                size += len(some)
        came.put_nowait(size)
        writer.close()

    async with scripted([OK]) as told:
        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        place = told.endpoint._replace(host=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        request = QUERY._replace(body=LARGE * 4)
        task = asyncio.create_task(told.transport.send(place, request, {}, 30.0))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        all_came.set()
        assert await came.get() < len(request.body)
        assert not told.transport._open
        server.close()


async def test_what_nobody_needs_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one used last is used again, and the others grow old."""
    monkeypatch.setattr(transport, "KEEP_ALIVE_SECONDS", 0.2)
    async with scripted([OK]) as told:
        await asyncio.gather(*(told.ask() for _ in range(3)))
        assert told.connections == 3
        await told.ask()
        assert told.connections == 3
        assert sorted([await told.ended.get() for _ in range(3)]) == [1, 2, 3]
        assert not told.transport._open
        await told.ask()
        assert told.connections == 4


async def test_what_the_server_has_left() -> None:
    """Its end was heard: it is not used, and when it is gone nothing of it is kept."""
    async with scripted([OK]) as told:
        await told.ask()
        (kept,) = told.transport._open
        kept.eof_received()
        await told.ask()
        assert told.connections == 2
        told.writers[1].close()
        await told.ended.get()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(told.transport._kept.values())


async def test_what_grew_old_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that stood still, or a laptop that slept, has not closed it: it is not used."""
    async with scripted([OK]) as told:
        await told.ask()
        monkeypatch.setattr(transport, "KEEP_ALIVE_SECONDS", 0.0)
        await told.ask()
        assert told.connections == 2


async def test_kept_in_the_very_moment_of_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks have steps: one that is not old at all is looked at again as well."""
    async with scripted([OK]) as told:
        await told.ask()
        ((kept,),) = told.transport._kept.values()
        told.transport._pruning.cancel()  # type: ignore[union-attr]
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "time", lambda: kept.idle_since)
            told.transport._prune()
        assert told.transport._pruning is not None
