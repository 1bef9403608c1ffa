"""Synchronous callers get results, iterators and errors of asynchronous functions."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator

import pytest

from memlane.errors import DeadlineExceededError, LoopError
from memlane.runtime import OwnedLoop, SyncBridge, io_loop, work_loop


@pytest.fixture
def bridge(owned: OwnedLoop) -> SyncBridge:
    return SyncBridge(owned)


class Numbers:
    """An async generator that says how far it came and whether it was closed."""

    def __init__(self) -> None:
        self.produced = 0
        self.closed = threading.Event()

    async def up_to(self, limit: int, *, then: Exception | None = None) -> AsyncIterator[int]:
        try:
            for number in range(limit):
                await asyncio.sleep(0)
                self.produced += 1
                yield number
            if then is not None:
                raise then
        finally:
            self.closed.set()


async def join(*words: str, separator: str) -> str:
    await asyncio.sleep(0)
    return separator.join(words)


def test_a_call_takes_arguments_and_keywords(bridge: SyncBridge) -> None:
    """As the function itself would."""
    assert bridge.call(join, "a", "b", separator="-", timeout=10) == "a-b"


def test_a_call_runs_on_the_work_loop_by_default() -> None:
    """Where user code may run."""

    async def here() -> bool:
        return work_loop().is_here and not io_loop().is_here

    assert SyncBridge().call(here)


@pytest.mark.usefixtures("blocking_is_meant")
def test_a_call_inside_a_running_loop_returns(bridge: SyncBridge) -> None:
    """Jupyter and frameworks with synchronous hooks."""

    async def main() -> str:
        return bridge.call(join, "a", "b", separator="+")

    assert asyncio.run(main()) == "a+b"


def test_a_call_has_a_deadline(bridge: SyncBridge) -> None:
    """In seconds; afterwards the work is cancelled."""
    with pytest.raises(DeadlineExceededError):
        bridge.call(asyncio.Event().wait, timeout=0.01)


@pytest.mark.parametrize("loop", [io_loop(), work_loop()], ids=["io", "work"])
def test_on_an_owned_loop_both_refuse(loop: OwnedLoop) -> None:
    """A call and an iteration would block the loop they wait for."""
    bridge = SyncBridge()

    async def call() -> None:
        bridge.call(join, separator="")

    async def iterate() -> None:
        list(bridge.iterate(Numbers().up_to(3)))

    for misuse in (call, iterate):
        with pytest.raises(LoopError, match="await the async client"):
            loop.call_sync(misuse, timeout=10)


@pytest.mark.parametrize("ahead", [1, 4, 100])
def test_an_async_iterator_is_iterated(bridge: SyncBridge, ahead: int) -> None:
    """In order and to the end, however many are fetched at once."""
    assert list(bridge.iterate(Numbers().up_to(10), ahead=ahead)) == list(range(10))


def test_iteration_is_lazy_and_closing_it_closes_the_source(bridge: SyncBridge) -> None:
    """Nothing is fetched before it is asked for, and a break ends the source too."""
    numbers = Numbers()
    taken: list[int] = []
    iterating = bridge.iterate(numbers.up_to(10))
    assert numbers.produced == 0
    with contextlib.closing(iterating):
        for number in iterating:
            taken.append(number)
            if number == 2:
                break
    assert taken == [0, 1, 2]
    assert numbers.produced == 3
    assert numbers.closed.wait(10)


@pytest.mark.parametrize("ahead", [1, 4, 100])
def test_an_error_comes_after_what_was_yielded_before_it(bridge: SyncBridge, ahead: int) -> None:
    """Fetching ahead does not swallow items."""
    taken: list[int] = []
    broken = Numbers().up_to(5, then=ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        taken.extend(bridge.iterate(broken, ahead=ahead))
    assert taken == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("control_c")
def test_a_keyboard_interrupt_cancels_the_call(bridge: SyncBridge) -> None:
    """Control-C ends the work as well."""
    cancelled = threading.Event()
    caller = threading.get_ident()

    async def hang() -> None:
        signal.pthread_kill(caller, signal.SIGINT)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        bridge.call(hang)
    assert cancelled.wait(10)
