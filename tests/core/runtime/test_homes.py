"""A connection has two homes: the loop that entered, and the owned one for everybody else."""

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
import trio

from core.runtime.surroundings import EchoServer, ForeignLoop, Line
from memlane.errors import LoopError
from memlane.runtime import Homes, OwnedLoop


class Lines:
    """Opens and closes connections to the echo server, and counts."""

    def __init__(self, port: int) -> None:
        self.opened: list[Line] = []
        self.closed: list[Line] = []
        self._port = port

    async def open(self) -> Line:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        line = Line(reader, writer)
        self.opened.append(line)
        return line

    async def close(self, line: Line) -> None:
        await line.close()
        self.closed.append(line)


@pytest.fixture
def lines(echo_server: EchoServer) -> Lines:
    return Lines(echo_server.port)


@pytest.fixture
def homes(lines: Lines, owned: OwnedLoop) -> Iterator[Homes[Line]]:
    made = Homes(lines.open, lines.close, owned=owned)
    yield made
    owned.call_sync(made.aclose)


async def thread_of(line: Line) -> int:
    await line.ask("hello")
    return threading.get_ident()


def test_making_homes_opens_nothing(homes: Homes[Line], lines: Lines, owned: OwnedLoop) -> None:
    """No connection, no loop, no thread before the first use."""
    asyncio.run(homes.enter())
    asyncio.run(homes.aclose())
    assert lines.opened == []
    assert owned._engine is None


async def test_everybody_shares_the_owned_one_without_entering(
    homes: Homes[Line], lines: Lines
) -> None:
    """From asyncio and trio, a hundred at once: one connection."""
    answers: list[str] = []

    async def ask(number: int) -> None:
        answers.append(await homes.run(Line.ask, str(number)))

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(ask, number)
    assert sorted(answers, key=int) == [str(number) for number in range(100)]
    assert len(lines.opened) == 1
    await homes.aclose()
    assert lines.closed == lines.opened


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_loop_that_entered_uses_its_own_directly(
    homes: Homes[Line], lines: Lines
) -> None:
    """No hop; and other callers still get the owned one. Never a third."""
    await homes.enter()
    await homes.enter()
    assert await homes.run(thread_of) == threading.get_ident()

    def elsewhere() -> set[int]:
        with ThreadPoolExecutor(5) as threads:
            asking = [threads.submit(asyncio.run, homes.run(thread_of)) for _ in range(4)]
            asking.append(threads.submit(trio.run, homes.run, thread_of))
            return {asked.result(10) for asked in asking}

    (other,) = await asyncio.to_thread(elsewhere)
    assert other != threading.get_ident()
    assert len(lines.opened) == 2
    await homes.aclose()
    assert set(lines.closed) == set(lines.opened)


def test_entering_on_trio_means_the_owned_one(homes: Homes[Line], lines: Lines) -> None:
    """An asyncio connection cannot live on trio."""

    async def main() -> int:
        await homes.enter()
        return await homes.run(thread_of)

    assert trio.run(main) != threading.get_ident()
    assert len(lines.opened) == 1


def test_entering_on_the_owned_loop_means_the_owned_one(
    homes: Homes[Line], lines: Lines, owned: OwnedLoop
) -> None:
    """It has a connection there anyway."""

    async def main() -> int:
        await homes.enter()
        return await homes.run(thread_of)

    assert owned.call_sync(main) == asyncio.run(homes.run(thread_of))
    assert len(lines.opened) == 1


def test_a_second_live_loop_does_not_take_over(homes: Homes[Line], foreign: ForeignLoop) -> None:
    """The first one keeps its connection; the second one uses the owned one."""

    async def main() -> bool:
        await homes.enter()
        mine = await homes.run(thread_of)
        await asyncio.wrap_future(foreign.spawn(homes.enter()))
        theirs = await asyncio.wrap_future(foreign.spawn(homes.run(thread_of)))
        again = await homes.run(thread_of)
        await homes.aclose()
        return mine == again == threading.get_ident() != theirs

    assert asyncio.run(main())


def test_a_closed_entering_loop_is_forgotten(homes: Homes[Line], foreign: ForeignLoop) -> None:
    """What it had is dropped, and the next caller is served by the owned loop."""
    foreign.spawn(homes.enter()).result(10)
    foreign.abandon()

    assert asyncio.run(homes.run(thread_of)) != threading.get_ident()
    assert homes._entered is None


def test_a_closed_entering_loop_is_replaced_by_the_next_one(
    homes: Homes[Line], foreign: ForeignLoop
) -> None:
    """Entering again after an `asyncio.run` is over works as if for the first time."""
    foreign.spawn(homes.enter()).result(10)
    foreign.abandon()

    async def main() -> int:
        await homes.enter()
        try:
            return await homes.run(thread_of)
        finally:
            await homes.aclose()

    assert asyncio.run(main()) == threading.get_ident()
    assert asyncio.run(main()) == threading.get_ident()


def test_closing_from_elsewhere_asks_the_entering_loop(
    homes: Homes[Line], lines: Lines, foreign: ForeignLoop
) -> None:
    """Its connection is closed on its own loop, and nobody waits for that loop."""
    foreign.spawn(homes.enter()).result(10)
    foreign.spawn(homes.run(thread_of)).result(10)
    asyncio.run(homes.aclose())

    async def closed() -> None:
        while not lines.closed:
            await anyio.lowlevel.checkpoint()

    foreign.spawn(closed()).result(10)
    assert lines.closed == lines.opened


def test_closed_homes_open_again_when_used(homes: Homes[Line], lines: Lines) -> None:
    """Who may still use them is the client's decision."""
    first = asyncio.run(homes.run(thread_of))
    asyncio.run(homes.aclose())
    assert asyncio.run(homes.run(thread_of)) == first
    assert len(lines.opened) == 2
    assert len(lines.closed) == 1


def test_closed_homes_leave_no_exit_call(homes: Homes[Line], owned: OwnedLoop) -> None:
    """A program that opens and closes clients all day does not collect them."""
    asyncio.run(homes.run(thread_of))
    asyncio.run(homes.aclose())
    assert owned._exit_calls == {}


def test_a_failed_opening_is_tried_again(owned: OwnedLoop) -> None:
    """The error goes to who asked, and is not kept."""
    attempts: list[int] = []

    async def open_it() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("refused")
        return len(attempts)

    async def close(_: int) -> None:
        pass

    async def use(resource: int) -> int:
        return resource

    homes = Homes(open_it, close, owned=owned)
    with pytest.raises(ConnectionError):
        asyncio.run(homes.run(use))
    assert asyncio.run(homes.run(use)) == 2


def test_a_resource_that_opens_after_the_close_is_closed(owned: OwnedLoop) -> None:
    """The one who waited for it is told."""
    opening, release = threading.Event(), threading.Event()
    closed: list[str] = []

    async def open_it() -> str:
        opening.set()
        await asyncio.to_thread(release.wait)
        return "resource"

    async def close(resource: str) -> None:
        closed.append(resource)

    async def use(_: str) -> None:
        pass

    homes = Homes(open_it, close, owned=owned)

    async def main() -> None:
        using = asyncio.create_task(homes.run(use))
        await asyncio.to_thread(opening.wait)
        await homes.aclose()
        release.set()
        await using

    with pytest.raises(LoopError, match="closed while"):
        asyncio.run(main())
    assert closed == ["resource"]


def test_stopping_the_owned_loop_closes_what_nobody_closed(lines: Lines, owned: OwnedLoop) -> None:
    """A program that forgets to close exits cleanly all the same."""
    homes = Homes(lines.open, lines.close, owned=owned)
    asyncio.run(homes.run(thread_of))
    owned.stop()
    assert lines.closed == lines.opened
    asyncio.run(homes.run(thread_of))
    assert len(lines.opened) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in /proc")
def test_a_hundred_runs_leak_no_descriptor(homes: Homes[Line], lines: Lines) -> None:
    """With and without entering: the same two connections at most at any time."""

    async def entered() -> None:
        await homes.enter()
        await homes.run(thread_of)
        await homes.aclose()

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (as a count it is one call)

    asyncio.run(homes.run(thread_of))
    before = descriptors()
    for _ in range(100):
        asyncio.run(homes.run(thread_of))
    assert descriptors() <= before
    assert len(lines.opened) == 1
    for _ in range(100):
        asyncio.run(entered())
    asyncio.run(homes.run(thread_of))
    assert set(lines.closed) == set(lines.opened[:-1])
    assert descriptors() <= before + 1
