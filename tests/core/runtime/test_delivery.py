"""Results reach the waiting task on whatever loop it runs, a few per iteration."""

import asyncio
import contextlib
import gc
import threading
import weakref
from collections import Counter

import anyio
import anyio.lowlevel
import pytest
import trio

from memlane.errors import LoopError
from memlane.runtime import Answer, expect


def never() -> bool:
    return False


class Turns:
    """Counts the iterations of the loop it is started on."""

    def __init__(self) -> None:
        self.count = 0

    def start(self, backend: str) -> None:
        if backend == "trio":
            turns = self

            class EachTurn(trio.abc.Instrument):
                def before_io_wait(self, timeout: float) -> None:
                    del timeout
                    turns.count += 1

            trio.lowlevel.add_instrument(EachTurn())
        else:
            self._tick()

    def _tick(self) -> None:
        self.count += 1
        asyncio.get_running_loop().call_soon(self._tick)


async def test_a_burst_of_completions_is_spread_over_iterations(anyio_backend: str) -> None:
    """Two hundred results at once wake at most eight tasks in one iteration of the loop."""
    turns = Turns()
    woken: Counter[int] = Counter()
    answers: list[Answer[int]] = []
    results: list[int] = []

    async def wait() -> None:
        answer = expect()
        answers.append(answer)
        results.append(await answer.wait(never))
        woken[turns.count] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(wait)
        while len(answers) < 200:
            await anyio.lowlevel.checkpoint()
        turns.start(anyio_backend)
        for number, answer in enumerate(answers):
            answer.set_result(number)
    assert sorted(results) == list(range(200))
    assert max(woken.values()) <= 8
    assert len(woken) >= 25


async def test_a_result_comes_from_another_thread() -> None:
    """A plain thread answers a task on asyncio and on trio."""
    answer: Answer[str] = expect()
    thread = threading.Thread(target=answer.set_result, args=("here",))
    thread.start()
    assert await answer.wait(never) == "here"
    thread.join()


async def test_a_failure_is_raised_as_it_is() -> None:
    """The very exception object reaches the caller."""
    answer: Answer[str] = expect()
    error = ValueError("no")
    answer.set_exception(error)
    with pytest.raises(ValueError, match="no") as caught:
        await answer.wait(never)
    assert caught.value is error


async def test_a_cancelled_caller_withdraws_the_work() -> None:
    """The producer is told once, and what it delivers later is dropped."""
    answer: Answer[str] = expect()
    withdrawn: list[bool] = []

    def withdraw() -> bool:
        withdrawn.append(True)
        return True

    with anyio.CancelScope() as scope:
        scope.cancel()
        await answer.wait(withdraw)
    answer.set_result("too late")
    await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert withdrawn == [True]


def test_outside_any_loop_there_is_nobody_to_wait() -> None:
    """Expecting an answer in a plain function is an error that names the remedy."""
    with pytest.raises(LoopError, match="SyncMemoryClient"):
        expect()


def test_an_answer_to_a_closed_loop_is_dropped_and_leaves_nothing() -> None:
    """A loop that was closed under its caller is collected, whether or not the answer came."""
    loop = asyncio.new_event_loop()
    answers: list[Answer[str]] = []

    async def wait() -> None:
        answers.append(expect())
        answers.append(expect())
        answers[0].set_result("scheduled, and never run")
        await answers[1].wait(never)

    task = loop.create_task(wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.set_exception_handler(lambda _loop, _context: None)  # the task that is half way
    loop.close()
    answers.pop().set_result("nobody is there")
    answers.clear()
    gone = weakref.ref(loop)
    del loop, task
    gc.collect()
    assert gone() is None


def test_trio_as_a_guest_of_asyncio_is_told_from_asyncio() -> None:
    """With both loops in one thread each task waits on the one that runs it."""

    async def trio_main() -> str:
        answer: Answer[str] = expect()
        threading.Thread(target=answer.set_result, args=("guest",)).start()
        return await answer.wait(never)

    async def host() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()
        trio.lowlevel.start_guest_run(
            trio_main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: done.set_result(outcome.unwrap()),
            host_uses_signal_set_wakeup_fd=True,
        )
        answer: Answer[str] = expect()
        threading.Thread(target=answer.set_result, args=("host",)).start()
        return await answer.wait(never), await done

    assert asyncio.run(host()) == ("host", "guest")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_second_cancel_does_not_end_a_shielded_wait() -> None:
    """A task cancelled again and again still learns only afterwards that the work has ended."""
    answer: Answer[str] = expect()
    waiting = asyncio.create_task(answer.wait(never, shield=True))
    for _ in range(5):
        await asyncio.sleep(0)
        waiting.cancel()
    assert not waiting.done()
    answer.set_exception(OSError("disk"))
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()
