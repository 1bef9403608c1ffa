"""At the close nobody is left waiting, whoever cancels it; waiting for a place costs little."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from core.aws.answering import AnsweringServer, Asked, Say
from core.aws.planes import QUERY, server
from memlane.aws import transport as transport_module
from memlane.aws.endpoints import Endpoint
from memlane.aws.failures import NoAnswerError
from memlane.aws.plane import Channel, DataPlane
from memlane.aws.transport import Transport
from memlane.aws.wire import Reply, Timeouts
from memlane.errors import LoopError, UnavailableError

__all__ = ("server",)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture
def held(server: AnsweringServer) -> Iterator[threading.Event]:
    """The server sends half of its answers and waits."""
    hold = threading.Event()
    server.behave = lambda _: Say(hold=hold, body=b"x" * 100)
    yield hold
    hold.set()


async def call(plane: DataPlane) -> Reply:
    return await plane.call(QUERY, None)


async def begin(server: AnsweringServer, plane: DataPlane, count: int) -> list[asyncio.Task[Reply]]:
    """Begin more calls than there are places, and return when the first are being answered."""
    calls = [asyncio.create_task(call(plane)) for _ in range(count)]
    await asyncio.to_thread(server.await_asked, 2)
    return calls


@pytest.mark.usefixtures("held")
async def test_who_reads_and_who_queues_is_told(
    server: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the answers do not end in time, the close ends them."""
    monkeypatch.setattr(transport_module, "CLOSE_SECONDS", 0.0)
    plane = DataPlane(region="us-east-1", endpoint_urls={"*": server.url}, concurrency=2)
    await plane.enter()
    calls = await begin(server, plane, 5)
    await plane.aclose()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [LoopError] * 5
    assert len(server.asked) == 2


@pytest.mark.usefixtures("held")
async def test_a_cancelled_close_closes(server: AnsweringServer) -> None:
    """At once; whoever cancels it has no more time."""
    plane = DataPlane(region="us-east-1", endpoint_urls={"*": server.url}, concurrency=2)
    await plane.enter()
    calls = await begin(server, plane, 3)
    closing = asyncio.create_task(plane.aclose())
    while True:
        await asyncio.sleep(0)
        closing.cancel()
        if closing.done():
            break
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [LoopError] * 3


async def test_a_closed_plane_keeps_no_connections(server: AnsweringServer) -> None:
    """Nor what its users attached to them."""
    plane = DataPlane(region="us-east-1", endpoint_urls={"*": server.url})
    await plane.enter()
    await call(plane)
    await plane.aclose()
    assert plane._direct == (None, None)


async def test_who_leaves_the_queue_leaves_nothing_there(server: AnsweringServer) -> None:
    """Ten thousand cancelled callers are not remembered until there is a place."""
    hold = threading.Event()
    server.behave = lambda _: Say(hold=hold)
    place = server.url.removeprefix("http://")
    transport = Transport(concurrency=1, timeouts=Timeouts())

    async def send(seconds: float) -> Reply:
        return await transport.send(Endpoint("http", place), QUERY, {}, seconds)

    first = asyncio.create_task(send(30))
    await asyncio.to_thread(server.await_asked, 1)
    others = [asyncio.create_task(send(30)) for _ in range(20)]
    await asyncio.sleep(0)
    assert len(transport._places._queue) == 20
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert not transport._places._queue
    with pytest.raises(NoAnswerError) as caught:
        await send(0.001)
    assert caught.value.failure == "busy"
    assert not transport._places._queue
    hold.set()
    assert (await first).status == 200
    assert (await send(30)).status == 200
    await transport.aclose()


async def test_no_place_in_time_is_paid_by_nobody(server: AnsweringServer) -> None:
    """It says nothing of the service: no retry is spent, and the remedy is the caller's."""
    hold = threading.Event()

    def behave(asked: Asked) -> Say:
        return Say(hold=hold) if asked.body == b"slow" else Say()

    server.behave = behave
    plane = DataPlane(
        region="us-east-1",
        endpoint_urls={"*": server.url},
        concurrency=1,
        timeouts=Timeouts(call=0.2),
    )
    await plane.enter()

    async def take_the_place(channel: Channel) -> Reply:
        return await channel._transport.send(
            Endpoint("http", server.url.removeprefix("http://")),
            QUERY._replace(body=b"slow"),
            {},
            30.0,
        )

    first = asyncio.create_task(plane.run(take_the_place))
    await asyncio.to_thread(server.await_asked, 1)
    with pytest.raises(UnavailableError, match="all connections were busy") as caught:
        await call(plane)
    assert "concurrency" in str(caught.value.remedy)
    assert plane._shared.budgets.of("s3vectors")._saved == 100.0
    hold.set()
    await first
    await plane.aclose()
