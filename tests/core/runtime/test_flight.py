"""One execution serves all who ask at once, and outlives the one who asked first."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import pytest
import trio

from core.runtime.surroundings import ForeignLoop
from memlane.errors import MemlaneError
from memlane.runtime import OwnedLoop, SingleFlight


class Source:
    """Something dear that is asked for, and answers when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.asked = threading.Event()
        self.release = threading.Event()

    async def __call__(self) -> str:
        self.calls += 1
        self.asked.set()
        while not self.release.is_set():
            await anyio.lowlevel.checkpoint()
        return f"answer {self.calls}"


def follower(flight: SingleFlight[str], count: int = 1) -> bool:
    """Tell whether `count` callers wait for somebody else's execution."""
    return any(len(f.waiting) >= count for f in flight._flights.values())


async def followed(flight: SingleFlight[str], count: int = 1) -> None:
    while not follower(flight, count):
        await anyio.lowlevel.checkpoint()


async def test_callers_with_one_key_share_one_execution() -> None:
    """A hundred callers, one call."""
    flight: SingleFlight[str] = SingleFlight()
    source = Source()
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await flight.run("key", source))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
        await followed(flight, 99)
        source.release.set()
    assert answers == ["answer 1"] * 100
    assert source.calls == 1


async def test_nothing_is_cached_and_keys_do_not_meet() -> None:
    """The next caller runs again; another key is another flight."""
    flight: SingleFlight[str] = SingleFlight()
    source = Source()
    source.release.set()
    assert await flight.run("a", source) == "answer 1"
    assert await flight.run("a", source) == "answer 2"
    assert await flight.run("b", source) == "answer 3"


async def test_what_fails_for_want_of_time_fails_for_its_caller_alone() -> None:
    """Who waits with more time runs its own; it is not told that another had none left."""
    flight: SingleFlight[str] = SingleFlight()
    source, patient = Source(), Source()
    patient.release.set()
    answers: list[str] = []

    async def hurried() -> str:
        await source()
        error = MemlaneError("the call has 0.0 seconds left")
        error.is_hurried = True
        raise error

    async def lead() -> None:
        with pytest.raises(MemlaneError, match="seconds left"):
            await flight.run("key", hurried)

    async def follow() -> None:
        answers.append(await flight.run("key", patient))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lead)
        while not source.asked.is_set():
            await anyio.lowlevel.checkpoint()
        tasks.start_soon(follow)
        tasks.start_soon(follow)
        await followed(flight, 2)
        source.release.set()
    assert answers == ["answer 1"] * 2
    assert patient.calls == 1


async def test_an_exception_is_shared_and_not_kept() -> None:
    """Everybody who waited sees it; who comes later tries anew."""
    flight: SingleFlight[str] = SingleFlight()
    source = Source()
    errors: list[ValueError] = []

    async def fail() -> str:
        await source()
        raise ValueError("denied")

    async def ask() -> None:
        try:
            await flight.run("key", fail)
        except ValueError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
        await followed(flight, 2)
        source.release.set()
    assert len(errors) == 3
    assert len({id(error) for error in errors}) == 1
    assert await flight.run("key", source) == "answer 2"


async def test_a_cancelled_leader_is_replaced_by_one_who_waits() -> None:
    """The others lose nothing but time."""
    flight: SingleFlight[str] = SingleFlight()
    source = Source()
    answers: list[str] = []
    leader = anyio.CancelScope()

    async def lead() -> None:
        with leader:
            await flight.run("key", source)

    async def ask() -> None:
        answers.append(await flight.run("key", source))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lead)
        while not source.asked.is_set():
            await anyio.lowlevel.checkpoint()
        for _ in range(5):
            tasks.start_soon(ask)
        await followed(flight, 5)
        leader.cancel()
        await followed(flight, 4)
        source.release.set()
    assert answers == ["answer 2"] * 5
    assert source.calls == 2


async def test_a_cancelled_follower_leaves_the_flight_alone() -> None:
    """The one who leads is not disturbed, and nothing remembers the one who left."""
    flight: SingleFlight[str] = SingleFlight()
    source = Source()
    answers: list[str] = []
    impatient = anyio.CancelScope()

    async def ask() -> None:
        answers.append(await flight.run("key", source))

    async def ask_impatiently() -> None:
        with impatient:
            await ask()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        while not source.asked.is_set():
            await anyio.lowlevel.checkpoint()
        tasks.start_soon(ask_impatiently)
        await followed(flight)
        impatient.cancel()
        while follower(flight):
            await anyio.lowlevel.checkpoint()
        source.release.set()
    assert answers == ["answer 1"]


def test_callers_on_eight_loops_and_trio_share_one_execution() -> None:
    """Loops in threads of their own, one of them trio's."""
    flight: SingleFlight[str] = SingleFlight()
    source = Source()

    async def ask() -> str:
        return await flight.run("key", source)

    with ThreadPoolExecutor(9) as threads:
        asking = [threads.submit(asyncio.run, ask()) for _ in range(8)]
        asking.append(threads.submit(trio.run, ask))
        while not follower(flight, 8):
            assert not any(caller.done() for caller in asking)
        source.release.set()
        assert {caller.result(10) for caller in asking} == {"answer 1"}
    assert source.calls == 1


def test_a_leader_whose_loop_is_closed_is_replaced(foreign: ForeignLoop) -> None:
    """Nobody is told of it, so the one who waits looks; it even works while the task lives on."""
    flight: SingleFlight[str] = SingleFlight(probe_seconds=0.01)
    source = Source()
    leading = foreign.spawn(flight.run("key", source))
    assert source.asked.wait(10)

    async def follow() -> str:
        answer, _ = await asyncio.gather(flight.run("key", source), abandon())
        return answer

    async def abandon() -> None:
        await followed(flight)
        foreign.silence()
        await asyncio.to_thread(foreign.abandon)
        source.release.set()

    assert asyncio.run(follow()) == "answer 2"
    assert not leading.done()
    del leading
    gc.collect()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_leader_that_is_thrown_away_hands_over_at_once() -> None:
    """A coroutine collected half way tells the others, who need not look."""
    flight: SingleFlight[str] = SingleFlight(probe_seconds=3600)
    source = Source()
    leading = flight.run("key", source)
    leading.send(None)
    following = asyncio.create_task(flight.run("key", source))
    await followed(flight)
    source.release.set()
    leading.close()
    assert await following == "answer 2"


@pytest.mark.usefixtures("blocking_is_meant")
def test_a_leader_blocked_by_a_synchronous_call_is_replaced(owned: OwnedLoop) -> None:
    """Who blocks his own loop for an answer does not wait for a task of that very loop."""
    flight: SingleFlight[str] = SingleFlight()
    source, other = Source(), Source()
    other.release.set()

    async def main() -> tuple[str, str]:
        leading = asyncio.create_task(flight.run("key", source))
        while not source.asked.is_set():
            await anyio.lowlevel.checkpoint()
        blocking = owned.call_sync(flight.run, "key", other, timeout=10)
        source.release.set()
        return blocking, await leading

    assert asyncio.run(main()) == ("answer 1", "answer 1")
    assert other.calls == 1


@pytest.mark.usefixtures("blocking_is_meant")
def test_who_waits_already_when_the_leader_is_blocked_takes_over(owned: OwnedLoop) -> None:
    """A look now and then finds out; the flight goes on elsewhere."""
    flight: SingleFlight[str] = SingleFlight(probe_seconds=0.01)
    source, other = Source(), Source()
    other.release.set()

    async def asked() -> None:
        await asyncio.to_thread(other.asked.wait)

    async def main() -> tuple[str, str]:
        leading = asyncio.create_task(flight.run("key", source))
        while not source.asked.is_set():
            await anyio.lowlevel.checkpoint()
        following = asyncio.create_task(owned.call(flight.run, "key", other))
        await followed(flight)
        await asyncio.sleep(0)
        owned.call_sync(asked, timeout=10)
        source.release.set()
        return await following, await leading

    assert asyncio.run(main()) == ("answer 1", "answer 1")
    assert other.calls == 1


@pytest.mark.usefixtures("blocking_is_meant")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_leader_whose_thread_somebody_else_blocks_is_replaced(
    owned: OwnedLoop, backend: str
) -> None:
    """A framework's own bridge from synchronous code tells nobody that a loop stands still."""
    flight: SingleFlight[str] = SingleFlight(probe_seconds=0.02)
    source, other = Source(), Source()
    other.release.set()
    answers: list[str] = []

    def follow() -> None:
        answers.append(owned.call_sync(flight.run, "key", other, timeout=10))

    async def lead() -> None:
        answers.append(await flight.run("key", source))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lead)
            while not source.asked.is_set():
                await anyio.lowlevel.checkpoint()
            thread = threading.Thread(target=follow)
            thread.start()
            thread.join(10)
            assert answers == ["answer 1"]
            source.release.set()

    anyio.run(main, backend=backend)
    assert answers == ["answer 1", "answer 1"]
    assert (source.calls, other.calls) == (1, 1)


def test_a_leader_that_is_only_slow_is_waited_for(owned: OwnedLoop) -> None:
    """Its loop turns whenever it is asked to, so nobody does its work again."""
    flight: SingleFlight[str] = SingleFlight(probe_seconds=0.005)
    source, other = Source(), Source()

    async def main() -> tuple[str, str]:
        leading = asyncio.create_task(flight.run("key", source))
        while not source.asked.is_set():
            await anyio.lowlevel.checkpoint()
        following = asyncio.create_task(owned.call(flight.run, "key", other))
        await asyncio.sleep(0.1)
        source.release.set()
        return await following, await leading

    assert asyncio.run(main()) == ("answer 1", "answer 1")
    assert other.calls == 0
