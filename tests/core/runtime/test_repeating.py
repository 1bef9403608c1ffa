"""Background work comes again and again, while its owner lives, and holds up nothing."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import anyio
import pytest

from memlane.runtime import OwnedLoop, Repeating

_AT_MOST = 30.0  # seconds for what is done at once: a test that waits in vain fails


class Timers:
    """Timers that a test lets expire."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], object]]] = []
        self.came = threading.Semaphore(0)

    def __call__(self, seconds: float, call: Callable[[], object]) -> None:
        self.set.append((seconds, call))
        self.came.release()

    async def expire(self) -> None:
        """Wait until a timer is set, and let it expire."""
        assert await anyio.to_thread.run_sync(self.came.acquire, True, _AT_MOST)
        self.set.pop()[1]()


class Worker:
    """Something with work to do again and again."""

    def __init__(self, loop: OwnedLoop, timers: Timers) -> None:
        self.times = 0
        self.done = threading.Semaphore(0)
        self.error: Exception | None = None
        self.stays = False
        self.left = False
        self.repeating = Repeating(self.work, 60.0, loop=loop, later=timers)

    async def work(self) -> None:
        """Count."""
        self.times += 1
        self.done.release()
        if self.error is not None:
            raise self.error
        if self.stays:
            try:
                await anyio.sleep_forever()
            finally:
                self.left = True

    async def has_begun(self) -> None:
        """Wait until it begins once more."""
        assert await anyio.to_thread.run_sync(self.done.acquire, True, _AT_MOST)


@pytest.fixture
def loop() -> Iterator[OwnedLoop]:
    """A loop of the test's own."""
    made = OwnedLoop("memlane-test")
    yield made
    made.stop()


@pytest.fixture
def timers() -> Timers:
    """Timers of the test's own."""
    return Timers()


async def test_it_comes_again(loop: OwnedLoop, timers: Timers) -> None:
    """After so many seconds each, however often it is started."""
    worker = Worker(loop, timers)
    for _ in range(3):
        worker.repeating.start()
    for times in range(1, 4):
        await timers.expire()
        await worker.has_begun()
        assert worker.times == times
    await worker.repeating.stop()
    assert len(timers.set) <= 1


async def test_a_failure_is_logged_and_tried_again(
    loop: OwnedLoop, timers: Timers, caplog: pytest.LogCaptureFixture
) -> None:
    """By its class alone: its text may be about somebody."""
    worker = Worker(loop, timers)
    worker.error = ValueError("about ada")
    with caplog.at_level(logging.WARNING, logger="memlane"):
        worker.repeating.start()
        for _ in range(2):
            await timers.expire()
            await worker.has_begun()
        await worker.repeating.stop()
    assert worker.times == 2
    assert "ValueError" in caplog.text
    assert "ada" not in caplog.text


async def test_stopping_ends_what_is_under_way(loop: OwnedLoop, timers: Timers) -> None:
    """It is cancelled and has left when `stop` returns; nothing begins after that."""
    worker = Worker(loop, timers)
    worker.stays = True
    worker.repeating.start()
    await timers.expire()
    await worker.has_begun()
    await worker.repeating.stop()
    assert worker.left
    worker.repeating.start()
    worker.repeating.wake()
    await worker.repeating.stop()
    assert (worker.times, timers.set) == (1, [])


async def test_one_that_was_never_started_can_be_stopped(loop: OwnedLoop, timers: Timers) -> None:
    """And then never begins."""
    worker = Worker(loop, timers)
    await worker.repeating.stop()
    worker.repeating.start()
    assert timers.set == []


async def test_a_forgotten_owner_is_collected(loop: OwnedLoop, timers: Timers) -> None:
    """Its timer knows it weakly, and does nothing once it is gone."""
    worker: Worker | None = Worker(loop, timers)
    assert worker is not None
    worker.repeating.start()
    await timers.expire()
    await worker.has_begun()
    assert await anyio.to_thread.run_sync(
        timers.came.acquire, True, _AT_MOST
    )  # the next timer is set: nothing is running
    await loop.call(anyio.sleep, 0)
    gone = weakref.ref(worker)
    worker = None
    gc.collect()
    assert gone() is None
    timers.set.pop()[1]()
    await loop.call(anyio.sleep, 0)
    assert timers.set == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_begins_anew(loop: OwnedLoop) -> None:
    """The parent's timer is not there; the child's own `start` sets one."""
    timers = Timers()
    worker = Worker(loop, timers)
    worker.repeating.start()
    assert timers.came.acquire(timeout=10)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        timers.set.clear()
        worker.repeating.start()
        began = timers.came.acquire(timeout=10)
        os.write(writing, b"set" if began and timers.set else b"not")
        os._exit(0)
    assert os.read(reading, 3) == b"set"
    os.waitpid(child, 0)


def test_the_exit_waits_for_no_timer() -> None:
    """An interpreter that has hours to wait until the next time ends at once."""
    code = (
        "import threading\n"
        "from memlane.runtime import Repeating, work_loop\n"
        "import anyio\n"
        "class Worker:\n"
        "    async def work(self): pass\n"
        "worker = Worker()\n"
        "repeating = Repeating(worker.work, 3600.0)\n"
        "repeating.start()\n"
        "work_loop().call_sync(anyio.sleep, 0)\n"
        "jobs = work_loop()._engine.jobs\n"
        "work_loop().call_sync(anyio.sleep, 0)\n"
        "print(len(jobs) <= 1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
