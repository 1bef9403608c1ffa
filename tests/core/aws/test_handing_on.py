"""Who waits for a place begins when an answer comes in, and gets the answer to what it asked."""

import asyncio
import random
from collections.abc import Callable

import pytest

from core.aws.answering import AnsweringServer, Say
from core.aws.planes import server
from core.aws.scripted import OK, QUERY, head, scripted
from memlane.aws.connection import PIECE, Connection, Exchange
from memlane.aws.endpoints import Endpoint
from memlane.aws.failures import NoAnswerError
from memlane.aws.route import Route
from memlane.aws.transport import Transport
from memlane.aws.wire import Reply, Timeouts

__all__ = ("server",)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


def when_begun(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object]) -> None:
    """Call `act` with each exchange's number as soon as it has begun."""
    begin = Connection.begin
    begun = 0

    def noting(self: Connection, exchange: Exchange) -> None:
        nonlocal begun
        begin(self, exchange)
        begun += 1
        act(begun)

    monkeypatch.setattr(Connection, "begin", noting)


async def test_the_next_begins_before_the_last_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection does not stand idle while a busy loop gets round to its last user."""
    done: list[int] = []
    before: list[list[int]] = []
    when_begun(monkeypatch, lambda _: before.append(list(done)))

    async def ask(number: int) -> None:
        await told.ask()
        done.append(number)

    async with scripted([OK], concurrency=1) as told:
        await asyncio.gather(*(ask(number) for number in range(4)))
        assert told.connections == 1
    assert before == [[], [], [0], [0, 1]]


async def test_cancelled_when_it_has_just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it even knows: its answer is nobody's, and its place the next one's."""
    calls: list[asyncio.Task[Reply]] = []
    when_begun(monkeypatch, lambda number: number == 2 and calls[1].cancel())
    async with scripted([OK], concurrency=1) as told:
        calls += [asyncio.create_task(told.ask()) for _ in range(3)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [Reply, asyncio.CancelledError, Reply]
        assert told.connections == 2
        assert (await told.ask()).body == b"ok"
        assert told.connections == 2


async def test_cancelled_when_its_answer_has_just_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is another's by then, who keeps it."""
    calls: list[asyncio.Task[Reply]] = []
    when_begun(monkeypatch, lambda number: number == 2 and calls[0].cancel())
    async with scripted([OK], concurrency=1) as told:
        calls += [asyncio.create_task(told.ask()) for _ in range(3)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError, Reply, Reply]
        assert told.connections == 1


async def test_a_connection_to_another_endpoint_is_not_for_it() -> None:
    """It gets the place, and a connection of its own."""
    async with scripted([OK], concurrency=1) as told, scripted([head(), b"other"]) as other:
        other.close_after = 1
        first = asyncio.create_task(told.ask())
        second = asyncio.create_task(told.transport.send(other.endpoint, QUERY, {}, 30.0))
        assert ((await first).body, (await second).body) == (b"ok", b"other")
        assert (told.connections, other.connections) == (1, 1)
        assert (await told.ask()).body == b"ok"
        assert told.connections == 1


async def test_a_connection_that_ends_is_not_handed_on() -> None:
    """The place is."""
    async with scripted([head("Connection: close", "Content-Length: 0")], concurrency=1) as told:
        ends = await asyncio.gather(*(told.ask() for _ in range(3)))
        assert [end.status for end in ends] == [200] * 3
        assert told.connections == 3


async def test_a_proxys_own_answer_is_not_handed_on() -> None:
    """What it means is for a new connection to find out."""
    refusal = head("Content-Length: 0", status="407 Who are you")
    async with scripted([refusal], [OK]) as proxy:
        route = Route(None, f"http://{proxy.endpoint.host}")
        transport = Transport(concurrency=1, timeouts=Timeouts(), route=route)
        store = Endpoint("http", "store.example")
        calls = [transport.send(store, QUERY, {}, 30.0) for _ in range(2)]
        refused, answered = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(refused, NoAnswerError)
        assert isinstance(answered, Reply)
        assert proxy.connections == 2
        await transport.aclose()


async def test_a_large_body_that_waited(server: AnsweringServer) -> None:
    """Begins with its head, and goes on when it has its turn; what follows it is whole."""
    server.behave = lambda asked: Say(body=asked.body[-9:])
    place = Endpoint("http", server.url.removeprefix("http://"))
    transport = Transport(concurrency=1, timeouts=Timeouts())
    bodies = [b"%09d" % number * (PIECE // 3) for number in range(4)]
    calls = [transport.send(place, QUERY._replace(body=body), {}, 30.0) for body in bodies]
    replies = await asyncio.gather(*calls)
    assert [reply.body for reply in replies] == [b"%09d" % number for number in range(4)]
    assert [asked.body for asked in server.asked] == bodies
    assert server.connections == 1
    await transport.aclose()


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_is_cancelled(server: AnsweringServer, seed: int) -> None:
    """At whatever time, among hundreds: the others get their own answers, and no place is lost."""
    chance = random.Random(seed)
    server.behave = lambda asked: Say(body=asked.body)
    place = Endpoint("http", server.url.removeprefix("http://"))
    transport = Transport(concurrency=4, timeouts=Timeouts())

    async def ask(number: int) -> None:
        body = b"%d" % number
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        reply = await transport.send(place, QUERY._replace(body=body), {}, 30.0)
        assert reply.body == body

    tasks = [asyncio.create_task(ask(number)) for number in range(300)]
    left = set(tasks)
    while left:
        for task in chance.sample(sorted(left, key=id), min(len(left), chance.randrange(3))):
            task.cancel()
        await asyncio.wait(left, timeout=0.0005)
        left = {task for task in left if not task.done()}
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {type(None), asyncio.CancelledError}
    assert transport._places._free == 4
    assert not transport._places._queue
    await transport.aclose()
