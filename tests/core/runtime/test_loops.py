"""The owned loop answers everybody: other loops, threads, trio, and itself."""

import asyncio
import concurrent.futures
import contextvars
import gc
import logging
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from core.runtime.surroundings import ForeignLoop
from memlane.errors import DeadlineExceededError, LoopError
from memlane.runtime import OwnedLoop, io_loop, work_loop


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def where() -> int:
    return threading.get_ident()


async def test_a_call_runs_in_the_owned_thread_and_returns(owned: OwnedLoop) -> None:
    """Callers on asyncio and on trio get their result."""
    assert await owned.call(double, 21) == 42
    assert await owned.call(where) != threading.get_ident()


async def test_a_call_from_the_owned_loop_itself_is_awaited_directly(owned: OwnedLoop) -> None:
    """No hop, and no second task."""

    async def outer() -> bool:
        task = asyncio.current_task()

        async def inner() -> bool:
            return asyncio.current_task() is task

        return await owned.call(inner)

    assert await owned.call(outer)


def test_two_runs_in_a_row_use_the_same_loop(owned: OwnedLoop) -> None:
    """What a first `asyncio.run` started serves the second one."""
    assert asyncio.run(owned.call(where)) == asyncio.run(owned.call(where))


def test_eight_threads_with_loops_of_their_own(owned: OwnedLoop) -> None:
    """Four hundred calls from eight loops all get their own answer."""

    async def many(thread: int) -> list[int]:
        return list(await asyncio.gather(*(owned.call(double, 50 * thread + n) for n in range(50))))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda thread: asyncio.run(many(thread)), range(8)))
    assert [n for answer in answers for n in answer] == [2 * n for n in range(400)]


@pytest.mark.usefixtures("blocking_is_meant")
def test_a_synchronous_call_inside_a_running_loop_blocks_and_returns(owned: OwnedLoop) -> None:
    """That is what a synchronous call means, and it cannot deadlock."""

    async def main() -> int:
        return owned.call_sync(double, 4)

    assert asyncio.run(main()) == 8


@pytest.mark.parametrize("here", [io_loop(), work_loop()], ids=["from-io", "from-work"])
@pytest.mark.parametrize("there", [io_loop(), work_loop()], ids=["to-io", "to-work"])
def test_a_synchronous_call_on_an_owned_thread_is_refused(
    here: OwnedLoop, there: OwnedLoop
) -> None:
    """It would block a loop that others wait for; the error says what to do instead."""

    async def call() -> int:
        return there.call_sync(double, 1)

    with pytest.raises(LoopError, match=r"memlane-(io|work) loop.*await the async client"):
        here.call_sync(call, timeout=10)


def test_an_owned_loop_awaits_the_other_one() -> None:
    """From the work loop to the I/O loop there is a hop like any other."""

    async def at_work() -> int:
        return await io_loop().call(double, 3)

    assert work_loop().call_sync(at_work) == 6


async def test_two_hundred_timeouts_cancel_two_hundred_tasks(owned: OwnedLoop) -> None:
    """A caller's cancellation reaches the owned loop, on asyncio and trio."""
    started: list[int] = []
    all_cancelled = threading.Event()
    cancelled: list[int] = []

    async def hang(number: int) -> None:
        started.append(number)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.append(number)
            if len(cancelled) == 200:
                all_cancelled.set()

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(owned.call, hang, number)
        while len(started) < 200:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(all_cancelled.wait, 10)
    assert sorted(cancelled) == list(range(200))


async def test_a_call_cancelled_at_once_never_runs_or_is_cancelled(owned: OwnedLoop) -> None:
    """A cancellation that overtakes the start leaves no job behind."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await owned.call(anyio.sleep_forever)
    assert scope.cancelled_caught
    assert await owned.call(double, 1) == 2


async def test_an_exception_reaches_the_caller_as_it_is(owned: OwnedLoop) -> None:
    """The very object, with its traceback."""
    error = KeyError("missing")

    async def fail() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        await owned.call(fail)
    assert caught.value is error


async def test_an_exit_request_goes_to_the_caller_and_not_to_the_loop(owned: OwnedLoop) -> None:
    """SystemExit in a job does not end the thread that serves everybody."""

    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await owned.call(leave)
    assert await owned.call(double, 1) == 2


def test_a_callback_that_raises_system_exit_does_not_end_the_loop(
    owned: OwnedLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when it was scheduled behind our back."""

    def leave() -> None:
        raise SystemExit(3)

    async def schedule() -> None:
        asyncio.get_running_loop().call_soon(leave)

    owned.call_sync(schedule)
    assert owned.call_sync(double, 1) == 2
    assert "goes on" in caplog.text


async def test_work_cancelled_on_the_owned_loop_tells_the_caller(
    owned: OwnedLoop, anyio_backend: str
) -> None:
    """An asyncio caller sees a cancellation, a trio caller an ordinary exception."""

    async def give_up() -> None:
        raise asyncio.CancelledError("from within")

    expected: type[BaseException] = asyncio.CancelledError
    if anyio_backend == "trio":
        expected = concurrent.futures.CancelledError
    with pytest.raises(expected) as caught:
        await owned.call(give_up)
    assert caught.value.args == ()


async def test_context_variables_are_seen_inside(owned: OwnedLoop) -> None:
    """The job sees the caller's values, and its own changes stay inside."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    user.set("ada")

    async def read() -> str:
        before = user.get()
        user.set("eve")
        return before

    assert await owned.call(read) == "ada"
    assert user.get() == "ada"


async def test_anyio_works_inside_whoever_calls(owned: OwnedLoop) -> None:
    """A trio caller's context does not make anyio take the owned loop for trio."""

    async def inside() -> str:
        await anyio.lowlevel.checkpoint()
        return await anyio.to_thread.run_sync(lambda: "slept")

    assert await owned.call(inside) == "slept"


def test_a_foreign_loop_closed_under_its_call(owned: OwnedLoop, foreign: ForeignLoop) -> None:
    """The work completes, nothing is left of the loop, and the next call works."""
    started, release, completed = threading.Event(), threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        await asyncio.to_thread(release.wait)
        gc.collect()  # the caller is gone: nobody but the owned loop holds this task
        await asyncio.sleep(0)
        completed.set()

    foreign.spawn(owned.call(work))
    assert started.wait(10)
    foreign.silence()
    foreign.abandon()
    gone = weakref.ref(foreign.loop)
    del foreign.loop
    release.set()
    assert completed.wait(10)
    assert owned.call_sync(double, 5) == 10
    gc.collect()
    assert gone() is None
    foreign.loop = asyncio.new_event_loop()
    foreign.loop.close()


def test_a_plain_thread_gets_results_errors_and_context(owned: OwnedLoop) -> None:
    """The synchronous call is the asynchronous one without await."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    user.set("ada")

    async def read() -> str:
        return user.get()

    async def fail() -> None:
        raise ValueError("no")

    assert owned.call_sync(double, 1) == 2
    assert owned.call_sync(read) == "ada"
    with pytest.raises(ValueError, match="no"):
        owned.call_sync(fail)


def test_a_synchronous_call_has_a_deadline(owned: OwnedLoop) -> None:
    """What took too long is cancelled on the owned loop."""
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    with pytest.raises(DeadlineExceededError):
        owned.call_sync(hang, timeout=0.01)
    assert cancelled.wait(10)


@pytest.mark.usefixtures("control_c")
def test_a_keyboard_interrupt_cancels_a_synchronous_call(owned: OwnedLoop) -> None:
    """Control-C in the caller's thread ends the work as well."""
    cancelled = threading.Event()
    caller = threading.get_ident()

    async def hang() -> None:
        signal.pthread_kill(caller, signal.SIGINT)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        owned.call_sync(hang)
    assert cancelled.wait(10)


def test_a_started_job_runs_unobserved_and_its_failure_is_logged(
    owned: OwnedLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for it, so the log is where it is seen."""

    async def fail() -> None:
        raise ValueError("unseen")

    with caplog.at_level(logging.ERROR):
        owned.start(fail)
        owned.stop()
    assert "unseen" in caplog.text


def test_a_started_job_can_be_cancelled(owned: OwnedLoop) -> None:
    """From any thread, by the function that starting it returned."""
    started, cancelled = threading.Event(), threading.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    cancel = owned.start(hang)
    assert started.wait(10)
    cancel()
    assert cancelled.wait(10)
