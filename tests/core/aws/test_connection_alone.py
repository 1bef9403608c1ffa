"""A connection by itself: what comes in turns that real sockets seldom hit."""

import asyncio

import pytest

from core.aws.scripted import OK, head
from memlane.aws.connection import PIECE, Connection, Exchange
from memlane.aws.endpoints import Endpoint
from memlane.aws.failures import NoAnswerError
from memlane.aws.wire import Reply

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

NOWHERE = Endpoint("http", "nowhere.example")
LARGE = b"x" * (8 * PIECE)


class Alone:
    """The pool of one connection."""

    max_answer = 1000

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(1000))
        self.freed_times = 0

    def freed(self, _connection: Connection) -> None:
        self.freed_times += 1

    def gone(self, _connection: Connection) -> None:
        """Do nothing about it."""


async def ask(connection: Connection, body: bytes) -> Reply:
    exchange = Exchange(NOWHERE, head(), body)
    connection.begin(exchange)
    return await exchange.reply()


def hear(connection: Connection, said: bytes) -> None:
    """Let bytes come in on a connection, as asyncio does."""
    connection.get_buffer(-1)[: len(said)] = said
    connection.buffer_updated(len(said))


@pytest.mark.parametrize("length", ["Content-Length: 9", "Date: today"], ids=["9", "none"])
async def test_half_an_answer_is_nobodys_either(length: str) -> None:
    """What came before it broke off goes with the connection, and is never taken for all."""
    made = Connection(NOWHERE, Alone())
    made.connection_made(Full())
    asking = asyncio.create_task(ask(made, b"{}"))
    await asyncio.sleep(0)
    hear(made, head(length) + b"half")
    assert made._parts
    made.connection_lost(ConnectionResetError())
    with pytest.raises(NoAnswerError, match="broke off"):
        await asking
    assert not made._parts


class Full(asyncio.Transport):
    """A transport that has no room for all that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def write(self, data: object) -> None:
        """Keep it."""

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize("has_room", [True, False])
async def test_answered_before_all_was_taken(has_room: bool) -> None:
    """What is still to be sent stands before the next request: there is none."""
    made = Connection(NOWHERE, Alone())
    made.connection_made(Full())
    asking = asyncio.create_task(ask(made, b"{}"))
    await asyncio.sleep(0)
    made.pause_writing()
    if has_room:
        made.resume_writing()
    hear(made, OK)
    assert (await asking).body == b"ok"
    assert made.is_reusable is has_room


@pytest.mark.parametrize("is_answered", [True, False])
async def test_answered_or_cut_while_there_is_no_room(is_answered: bool) -> None:
    """Nobody will say any more that there is room: it is not waited for."""
    made = Connection(NOWHERE, Alone())
    made.connection_made(Full())
    asking = asyncio.create_task(ask(made, LARGE))
    await asyncio.sleep(0)
    made.pause_writing()
    for _ in range(3):
        await asyncio.sleep(0)
    if is_answered:
        hear(made, OK)
    else:
        made.connection_lost(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert asking.done()
    assert isinstance(asking.exception(), NoAnswerError) is not is_answered


async def test_a_connection_that_is_no_longer_one() -> None:
    """Words that nobody asked for end it at once, and its own end is heard before it is gone."""
    for said in (b"HTTP/1.1 408 Too Late\r\n\r\n", b"\r\n"):
        made = Connection(NOWHERE, Alone())
        made.connection_made(full := Full())
        hear(made, said)
        assert full.is_aborted
        assert not made.is_reusable
    made = Connection(NOWHERE, Alone())
    made.connection_made(Full())
    made.eof_received()
    assert made.is_open
    assert not made.is_reusable


async def test_given_up_and_then_cut() -> None:
    """An answer that ends with its connection is not whole because we ended that."""
    pool = Alone()
    made = Connection(NOWHERE, pool)
    made.connection_made(Full())
    asking = asyncio.create_task(ask(made, b"{}"))
    await asyncio.sleep(0)
    hear(made, head("Date: today") + b"half")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    made.connection_lost(None)
    assert pool.freed_times == 0


async def test_given_up_as_its_answer_ends() -> None:
    """With the connection, in the same turn: its place is given up once."""
    pool = Alone()
    made = Connection(NOWHERE, pool)
    made.connection_made(Full())
    asking = asyncio.create_task(ask(made, b"{}"))
    await asyncio.sleep(0)
    hear(made, head("Date: today") + b"all")
    asking.cancel()
    made.connection_lost(None)
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert pool.freed_times == 0


async def test_given_up_and_then_answered() -> None:
    """In the same turn: it is nobody's any more, and its connection goes with it."""
    pool = Alone()
    made = Connection(NOWHERE, pool)
    made.connection_made(full := Full())
    asking = asyncio.create_task(ask(made, b"{}"))
    await asyncio.sleep(0)
    asking.cancel()
    hear(made, OK)
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert pool.freed_times == 0
    assert full.is_aborted


async def test_gone_before_it_was_asked() -> None:
    """Then nothing was sent, and whatever it was may be sent by another."""
    made = Connection(NOWHERE, Alone())
    made.connection_made(Full())
    made.connection_lost(None)
    assert not made.is_open
    with pytest.raises(NoAnswerError) as caught:
        await ask(made, b"{}")
    assert caught.value.failure == "connect"
