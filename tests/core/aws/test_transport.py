"""Connections are kept, shared, and never handed on half read."""

import asyncio
import functools
import threading

import anyio
import pytest

from core.aws.answering import AnsweringServer, Asked, Say
from core.aws.planes import CREATE, CREDENTIALS, QUERY, Planes, planes, server
from memlane.aws import plane as plane_module
from memlane.aws import transport
from memlane.aws.endpoints import Endpoint
from memlane.aws.transport import Transport
from memlane.aws.wire import Request, RetryPolicy, Timeouts
from memlane.errors import LoopError, UnavailableError

__all__ = ("planes", "server")

ONE_TRY = RetryPolicy(attempts=1)


async def test_what_is_sent(server: AnsweringServer, planes: Planes) -> None:
    """The path as it was encoded, the body, and no header more than needed."""
    plane = await planes.make()
    request = Request(
        "bedrock",
        "InvokeModel",
        "/model/arn%3Aaws%3Abedrock%2Fx/invoke",
        b"body",
        query="b=%20&a=1",
        headers=(("X-Amz-Target", "T.Op"),),
    )
    reply = await plane.call(request, CREDENTIALS)
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["content-length"] == "2"
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", f"{request.path}?{request.query}")
    assert asked.body == b"body"
    assert asked.headers["host"] == server.url.removeprefix("http://")
    assert asked.headers["accept-encoding"] == "identity"
    assert set(asked.headers) == {
        "accept", "accept-encoding", "authorization", "content-length", "content-type", "host",
        "user-agent", "x-amz-date", "x-amz-target",
    }  # fmt: skip


async def test_a_request_without_body(server: AnsweringServer, planes: Planes) -> None:
    """Nothing is made up for it."""
    plane = await planes.make()
    request = Request("s3vectors", "ListTags", "/tags/x", b"", method="GET", content_type="")
    await plane.call(request, CREDENTIALS)
    assert server.asked[0].method == "GET"
    assert "content-type" not in server.asked[0].headers
    assert server.asked[0].body == b""


async def test_connections_are_kept(server: AnsweringServer, planes: Planes) -> None:
    """One after the other they need one."""
    plane = await planes.make()
    for _ in range(5):
        await plane.call(QUERY, CREDENTIALS)
    assert server.connections == 1


async def test_no_more_connections_than_allowed(server: AnsweringServer, planes: Planes) -> None:
    """Forty callers on three, and each gets its own answer."""
    plane = await planes.make(concurrency=3)
    server.behave = lambda asked: Say(body=asked.body)

    async def ask(number: int) -> None:
        request = Request("s3vectors", "QueryVectors", "/QueryVectors", b"%d" % number)
        assert (await plane.call(request, CREDENTIALS)).body == b"%d" % number

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(ask, number)
    assert server.connections <= 3
    assert len(server.asked) == 40


async def cancel_in_the_middle(server: AnsweringServer, planes: Planes, say: Say) -> None:
    plane = await planes.make(concurrency=1)
    reached = threading.Event()

    def behave(asked: Asked) -> Say:
        reached.set()
        return say if asked.body == b"first" else Say(body=asked.body)

    server.behave = behave
    first = Request("s3vectors", "QueryVectors", "/QueryVectors", b"first")
    async with anyio.create_task_group() as group:
        group.start_soon(plane.call, first, CREDENTIALS)
        await anyio.to_thread.run_sync(reached.wait)
        await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    for number in range(3):
        request = Request("s3vectors", "QueryVectors", "/QueryVectors", b"after %d" % number)
        assert (await plane.call(request, CREDENTIALS)).body == request.body
    assert server.asked[-1].connection > server.asked[0].connection


@pytest.mark.parametrize("chunked", [False, True])
async def test_cancelled_in_the_middle_of_a_body(
    server: AnsweringServer, planes: Planes, chunked: bool
) -> None:
    """The connection goes with the call: the next one does not read the rest of that answer."""
    hold = threading.Event()
    try:
        say = Say(body=b"x" * 1000, hold=hold, chunked=chunked)
        await cancel_in_the_middle(server, planes, say)
    finally:
        hold.set()


async def test_a_caller_that_stops_waiting_for_a_place_leaves_it(
    server: AnsweringServer, planes: Planes
) -> None:
    """Cancelled in the queue, before or just after its turn came, it takes no place with it."""
    hold = threading.Event()
    server.behave = lambda asked: Say(hold=None if asked.body else hold)
    plane = await planes.make(concurrency=2)
    held = Request("s3vectors", "QueryVectors", "/QueryVectors", b"")
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(plane.call, held, CREDENTIALS)
        await anyio.to_thread.run_sync(server.await_asked, 2)
        async with anyio.create_task_group() as waiting:
            for _ in range(10):
                waiting.start_soon(plane.call, QUERY, CREDENTIALS)
            await anyio.sleep(0.05)
            waiting.cancel_scope.cancel()
        hold.set()
    assert len(server.asked) == 2
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(plane.call, QUERY, CREDENTIALS)
    assert len(server.asked) == 12


@pytest.mark.parametrize("request_", [QUERY, CREATE], ids=["idempotent", "other"])
async def test_an_idle_connection_that_the_server_closed(
    server: AnsweringServer, planes: Planes, request_: Request
) -> None:
    """Is replaced without being counted, when asking twice does no harm."""
    plane = await planes.make(retries=ONE_TRY)
    server.behave = lambda _: None if len(server.asked) == 2 else Say()
    await plane.call(request_, CREDENTIALS)
    if request_.idempotent:
        await plane.call(request_, CREDENTIALS)
        assert [asked.connection for asked in server.asked] == [1, 1, 2]
    else:
        with pytest.raises(UnavailableError):
            await plane.call(request_, CREDENTIALS)
        assert len(server.asked) == 2


async def test_a_new_connection_that_is_closed_is_a_failure(
    server: AnsweringServer, planes: Planes
) -> None:
    """Only what was kept from earlier can be stale."""
    plane = await planes.make(retries=ONE_TRY)
    server.replies(None)
    with pytest.raises(UnavailableError, match="QueryVectors"):
        await plane.call(QUERY, CREDENTIALS)
    assert len(server.asked) == 1


async def test_connections_closed_while_idle(server: AnsweringServer, planes: Planes) -> None:
    """The usual way: noticed before anything is sent on them."""
    plane = await planes.make(retries=ONE_TRY)
    for _ in range(3):
        await plane.call(CREATE, CREDENTIALS)
        await anyio.to_thread.run_sync(server.drop_connections)
        await anyio.sleep(0.05)
    assert server.connections == 3


@pytest.mark.parametrize("body", [b"x" * 100, b"x" * 300_000], ids=["short", "long"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_answer_that_breaks_off(
    server: AnsweringServer, planes: Planes, body: bytes, chunked: bool
) -> None:
    """Is no answer: asked again where that does no harm, an error where it may."""
    whole = Say(body=body)
    server.replies(Say(body=body, cut=len(body) // 2, chunked=chunked), whole)
    plane = await planes.make()
    assert (await plane.call(QUERY, CREDENTIALS)).body == body
    server.replies(Say(body=body, cut=len(body) // 2, chunked=chunked), whole)
    with pytest.raises(UnavailableError, match="broke off"):
        await plane.call(CREATE, CREDENTIALS)
    assert len(server.asked) == 3


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_answer_that_is_too_large(
    server: AnsweringServer,
    planes: Planes,
    chunked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Is not read into memory, nor asked for again."""
    small = functools.partial(Transport, max_answer=1000)
    monkeypatch.setattr(plane_module, "Transport", small)
    plane = await planes.make()
    server.replies(Say(body=b"x" * 1001, chunked=chunked), Say(body=b"x" * 1000, chunked=chunked))
    with pytest.raises(UnavailableError, match="larger than 1000 bytes"):
        await plane.call(QUERY, CREDENTIALS)
    assert len((await plane.call(QUERY, CREDENTIALS)).body) == 1000
    assert len(server.asked) == 2


async def test_an_attempt_has_its_own_end(server: AnsweringServer, planes: Planes) -> None:
    """A server that does not go on is given up, and asked anew."""
    hold = threading.Event()
    try:
        plane = await planes.make(timeouts=Timeouts(attempt=0.1))
        server.replies(Say(hold=hold), Say())
        assert (await plane.call(QUERY, CREDENTIALS)).status == 200
        server.replies(Say(hold=hold), Say())
        with pytest.raises(UnavailableError, match="in time"):
            await plane.call(CREATE, CREDENTIALS)
    finally:
        hold.set()


async def test_nobody_there(planes: Planes) -> None:
    """Nothing was sent, so any request is tried again; then the error says what to check."""
    plane = await planes.make(
        endpoint_urls={"*": "http://127.0.0.1:9"}, retries=RetryPolicy(attempts=3)
    )
    for request in (QUERY, CREATE):
        with pytest.raises(UnavailableError, match="no connection") as caught:
            await plane.call(request, CREDENTIALS)
        assert caught.value.code is None
        assert caught.value.status is None
        assert "endpoint" in (caught.value.remedy or "")
        assert isinstance(caught.value, ConnectionError)


async def test_a_redirect_is_not_followed(server: AnsweringServer, planes: Planes) -> None:
    """It would carry the signature elsewhere."""
    plane = await planes.make()
    server.replies(Say(302, b"", {"Location": f"{server.url}/other"}))
    with pytest.raises(Exception, match="302"):
        await plane.call(QUERY, CREDENTIALS)
    assert [asked.target for asked in server.asked] == ["/QueryVectors"]


async def test_closed_and_used_again(server: AnsweringServer, planes: Planes) -> None:
    """A call after the close opens anew."""
    plane = await planes.make()
    for _ in range(2):
        await plane.call(QUERY, CREDENTIALS)
        await plane.aclose()
        await plane.aclose()
    assert server.connections == 2


async def test_a_close_waits_for_what_is_under_way(
    server: AnsweringServer, planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is being answered gets its answer; one that would ask again ends."""
    monkeypatch.setattr(transport, "CLOSE_SECONDS", 600.0)
    plane = await planes.make()
    hold = threading.Event()
    fails = Request("s3vectors", "QueryVectors", "/QueryVectors", b"fails")

    def behave(asked: Asked) -> Say:
        return Say(503, b"{}", hold=hold) if asked.body == b"fails" else Say(hold=hold)

    server.behave = behave
    ends: list[object] = []

    async def ask(request: Request) -> None:
        try:
            ends.append((await plane.call(request, CREDENTIALS)).status)
        except LoopError as error:
            ends.append(type(error))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(ask, QUERY)
            group.start_soon(ask, fails)
            await anyio.to_thread.run_sync(server.await_asked, 2)
            group.start_soon(plane.aclose)
            await anyio.sleep(0.05)
            hold.set()
    assert ends in ([200, LoopError], [LoopError, 200])
    assert len(server.asked) == 2


def test_a_place_granted_to_one_who_is_cancelled_goes_to_the_next(
    server: AnsweringServer,
) -> None:
    """Both in the same turn of the loop: the grant is passed on, not lost."""
    endpoint = Endpoint("http", server.url.removeprefix("http://"))

    async def scene() -> None:
        pool = Transport(concurrency=1, timeouts=Timeouts())
        assert pool._places.take()
        second = asyncio.create_task(pool.send(endpoint, QUERY, {}, 30.0))
        await asyncio.sleep(0)
        pool._places.leave()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert second.cancelled()
        third = asyncio.create_task(pool.send(endpoint, QUERY, {}, 30.0))
        assert (await asyncio.wait_for(third, 30)).status == 200
        await pool.aclose()

    asyncio.run(scene())
