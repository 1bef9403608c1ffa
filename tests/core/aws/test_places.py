"""So many at once, the others in order, and nobody any more once it is closed."""

import asyncio

import pytest

from memlane.aws.connection import Exchange
from memlane.aws.endpoints import Endpoint
from memlane.aws.failures import NoAnswerError
from memlane.aws.places import Places
from memlane.errors import LoopError

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


def exchange() -> Exchange:
    return Exchange(Endpoint("http", "nowhere.example"), b"", b"")


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_in_order() -> None:
    """Who waits is let in before who comes, and one for each who leaves."""
    places = Places(1)
    assert places.take()
    waiting = [asyncio.create_task(places.wait(exchange(), 60.0)) for _ in range(3)]
    await turns()
    for number in range(3):
        places.leave()
        assert not places.take()
        await turns()
        assert [each.done() for each in waiting] == [at <= number for at in range(3)]
    places.leave()
    assert places.take()


async def test_who_stops_waiting_takes_no_place() -> None:
    """Neither before one is free, nor in the turn in which it is theirs."""
    places = Places(1)
    assert places.take()
    first, second, third = [asyncio.create_task(places.wait(exchange(), 60.0)) for _ in range(3)]
    await turns()
    first.cancel()
    places.leave()
    second.cancel()
    await turns()
    assert first.cancelled()
    assert second.cancelled()
    assert third.done()
    places.leave()
    assert places.take()
    assert not places.take()


@pytest.mark.parametrize("is_answered", [True, False])
async def test_who_stops_waiting_when_it_has_begun(is_answered: bool) -> None:
    """It gives up what it has begun; once that is answered, its place is the next one's already."""
    places, asked = Places(1), exchange()
    assert places.take()
    waiting = asyncio.create_task(places.wait(asked, 60.0))
    await turns()
    places.leave()
    asked.is_answered = is_answered
    waiting.cancel()
    await turns()
    assert waiting.cancelled()
    assert asked.answer.cancelled() is not is_answered
    assert places.take() is not is_answered


async def test_no_place_in_time() -> None:
    """Then it was busy, and whoever gave up is not let in later."""
    places = Places(1)
    assert places.take()
    with pytest.raises(NoAnswerError) as caught:
        await places.wait(exchange(), 0.0)
    assert caught.value.failure == "busy"
    places.leave()
    assert places.take()


async def test_closed_while_one_is_in() -> None:
    """Who waits is told at once, nobody comes in, and it is closed when the last has left."""
    places = Places(2)
    assert places.take()
    assert places.take()
    waiting = asyncio.create_task(places.wait(exchange(), 60.0))
    await turns()
    closing = asyncio.create_task(places.close(60.0))
    await turns()
    with pytest.raises(LoopError):
        await waiting
    with pytest.raises(LoopError):
        await places.wait(exchange(), 60.0)
    places.leave()
    await turns()
    assert not places.take()
    assert not closing.done()
    places.leave()
    await turns()
    assert closing.done()
    assert not places.take()


async def test_closed_while_nobody_is_in() -> None:
    """There is nothing to wait for; nor is there the second time."""
    places = Places(1)
    for _ in range(2):
        closing = asyncio.create_task(places.close(60.0))
        await turns()
        assert closing.done()


async def test_closed_by_force() -> None:
    """Whoever does not leave is not waited for any longer."""
    places = Places(1)
    assert places.take()
    await places.close(0.0)
    places.leave()
