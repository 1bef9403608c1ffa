"""Blocking work runs on a few threads, and cancelling its caller says what became of it."""

import asyncio
import contextvars
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import sniffio

from memlane.errors import LoopError
from memlane.runtime import WorkerThreads


class Slow:
    """A blocking job that says when it runs and ends when it is told to."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.release = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> str:
        self.started.set()
        self.release.wait()
        self.ended.set()
        return "done"


async def seen(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, 10)


async def test_a_job_runs_on_another_thread_and_returns(pool: WorkerThreads) -> None:
    """With its arguments, on asyncio and trio."""
    assert await pool.run(divmod, 7, 2) == (3, 1)
    assert await pool.run(threading.get_ident) != threading.get_ident()


async def test_a_job_may_fail_or_ask_to_exit(pool: WorkerThreads) -> None:
    """The caller gets the exception and the thread lives on."""
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)

    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await pool.run(leave)
    assert await pool.run(divmod, 7, 2) == (3, 1)


async def test_a_job_sees_the_caller_s_context(pool: WorkerThreads) -> None:
    """But not the name of its event loop: there is none in this thread."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    user.set("ada")
    assert await pool.run(user.get) == "ada"
    with pytest.raises(sniffio.AsyncLibraryNotFoundError):
        await pool.run(sniffio.current_async_library)


async def test_threads_are_started_when_needed_and_no_more_than_allowed() -> None:
    """None at construction, one for one job, and never more than the size."""
    pool = WorkerThreads("grows", 2)
    try:
        assert names("grows") == []
        await pool.run(int)
        await pool.run(int)
        assert names("grows") == ["grows-0"]
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(pool.run, divmod, 7, 2)
        assert names("grows") == ["grows-0", "grows-1"]
    finally:
        pool.close()
    assert await anyio.to_thread.run_sync(pool.join, 10)


async def test_a_queued_job_of_a_cancelled_caller_never_runs(pool: WorkerThreads) -> None:
    """Shielded or not: what has not begun is taken back, and the caller goes at once."""
    slow = Slow()
    ran: list[bool] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run, slow)
        await seen(slow.started)
        for shield in (False, True):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await pool.run(ran.append, shield, shield=shield)
            assert scope.cancelled_caught
        slow.release.set()
    await pool.run(int)
    assert ran == []


async def test_a_running_job_is_left_to_itself(pool: WorkerThreads) -> None:
    """Its cancelled caller is released while it still runs, and the result is dropped."""
    slow = Slow()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run, slow)
        await seen(slow.started)
        tasks.cancel_scope.cancel()
    assert not slow.ended.is_set()
    slow.release.set()
    assert await pool.run(divmod, 7, 2) == (3, 1)


async def test_a_shielded_job_ends_before_its_caller_is_cancelled(pool: WorkerThreads) -> None:
    """Afterwards the write is either complete or will never start."""
    slow = Slow()
    ended_first: list[bool] = []

    async def write() -> None:
        try:
            await pool.run(slow, shield=True)
        finally:
            ended_first.append(slow.ended.is_set())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await seen(slow.started)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        assert ended_first == []
        slow.release.set()
    assert ended_first == [True]


async def test_a_shielded_job_that_fails_is_the_cause_of_the_cancellation(
    pool: WorkerThreads,
) -> None:
    """A cancelled writer can tell that its write was not committed."""
    slow = Slow()
    causes: list[BaseException | None] = []

    def fail() -> None:
        slow()
        raise OSError("disk full")

    async def write() -> None:
        try:
            await pool.run(fail, shield=True)
        except anyio.get_cancelled_exc_class() as cancelled:
            causes.append(cancelled.__cause__)
            raise

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await seen(slow.started)
        tasks.cancel_scope.cancel()
        slow.release.set()
    assert [str(cause) for cause in causes] == ["disk full"]


def test_many_loops_share_one_pool(pool: WorkerThreads) -> None:
    """Eight loops in eight threads, fifty jobs each."""

    async def many(thread: int) -> list[int]:
        return list(await asyncio.gather(*(pool.run(abs, -50 * thread - n) for n in range(50))))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda thread: asyncio.run(many(thread)), range(8)))
    assert [n for answer in answers for n in answer] == list(range(400))


async def test_a_closed_pool_finishes_its_queue_and_refuses_more() -> None:
    """Nothing that was accepted is lost."""
    pool = WorkerThreads("closing", 1)
    slow = Slow()
    ran: list[str] = []
    pool.post(slow)
    pool.post(ran.append, "queued")
    pool.close()
    with pytest.raises(LoopError, match="closing"):
        await pool.run(int)
    slow.release.set()
    assert await anyio.to_thread.run_sync(pool.join, 10)
    assert ran == ["queued"]


def test_a_posted_job_that_fails_is_logged(
    pool: WorkerThreads, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for it, so the log is where it is seen."""
    pool.post(divmod, 1, 0)
    pool.close()
    assert pool.join(10)
    assert "ZeroDivisionError" in caplog.text


def test_a_pool_that_is_dropped_ends_its_threads() -> None:
    """Forgetting to close costs nothing but time."""
    pool = WorkerThreads("dropped", 1)
    asyncio.run(pool.run(int))
    (thread,) = [t for t in threading.enumerate() if t.name == "dropped-0"]
    del pool
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def names(prefix: str) -> list[str]:
    return sorted(t.name for t in threading.enumerate() if t.name.startswith(prefix))
