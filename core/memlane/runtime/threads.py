"""SQLite and the model block; a few threads of our own run them, bound to nobody's loop.

Own threads and no executor: `concurrent.futures` refuses work as soon as the interpreter begins
to exit, which is when a write that was accepted must still reach the disk.
"""

from __future__ import annotations

import atexit
import contextvars
import functools
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, TypeVarTuple

from memlane.errors import LoopError
from memlane.runtime import fork
from memlane.runtime.delivery import Answer, expect
from memlane.runtime.place import carried_context

__all__ = ("WorkerThreads", "register_exit")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# How long exiting waits for jobs that are queued or running, over all pools together.
EXIT_SECONDS: Final = 5.0


class _Job(Generic[T]):
    """A call on its way to a thread: run once, or taken back before it starts."""

    __slots__ = ("_load",)

    def __init__(
        self, work: Callable[[], T], context: contextvars.Context, answer: Answer[T] | None
    ) -> None:
        # Popping is atomic: either a thread gets the call, or its caller gets it back.
        self._load = [(work, context, answer)]

    def take_back(self) -> bool:
        """Return True when the job had not started; then it never will."""
        try:
            self._load.pop()
        except IndexError:
            return False
        return True

    def run(self) -> Callable[[], None]:
        """Make the call; return what hands the result over."""
        try:
            work, context, answer = self._load.pop()
        except IndexError:
            return _nothing
        try:
            value = context.run(work)
        except BaseException as error:  # noqa: BLE001  (SystemExit too belongs to the caller)
            tell = _log_failure if answer is None else answer.set_exception
            return functools.partial(tell, error)
        return _nothing if answer is None else functools.partial(answer.set_result, value)


def _nothing() -> None:
    pass


def _log_failure(error: BaseException) -> None:
    import logging

    logging.getLogger(__name__).error("a job failed and nobody waits for it", exc_info=error)


class _Crew:
    """The threads of one pool in one process, and the queue they share."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        # Re-entrant: a finaliser that runs while a thread is being started may post a job.
        self._lock = threading.RLock()
        self._closed = False
        self._unfinished = 0
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []

    def submit(self, job: _Job[Any]) -> None:
        with self._lock:
            if self._closed:
                raise LoopError(f"the threads '{self._name}' are closed")
            self._unfinished += 1
            short = len(self.threads) < min(self._unfinished, self._size)
            staffed = not short or self._hire()
            if staffed:
                self._jobs.put(job)
        if not staffed:
            self._perform(job)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self.dismiss()

    def dismiss(self) -> None:
        """Let the threads end when the queue is empty; lock-free, so fit for a finaliser."""
        self._jobs.put(None)

    def _hire(self) -> bool:
        """Add a thread; False when there is none at all to run a job."""
        thread = threading.Thread(
            target=self._labour, name=f"{self._name}-{len(self.threads)}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # From Python 3.12 on no thread can be started while the interpreter exits. The jobs
            # that come then are the last ones, and the caller has nothing better to do.
            return bool(self.threads)
        self.threads.append(thread)
        return True

    def _labour(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._perform(job)
            del job
        self._jobs.put(None)

    def _perform(self, job: _Job[Any]) -> None:
        hand_over = job.run()
        # Counted before the caller hears of it: a job it then submits finds this thread free.
        with self._lock:
            self._unfinished -= 1
        hand_over()


class WorkerThreads:
    """A few daemon threads for blocking calls, started when needed, usable from any loop.

    Args:
        name: The threads' name in a debugger.
        size: How many threads at most.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._closed = False
        self._crew = _Crew(name, size)
        fork.watch(self._after_fork)
        _pools.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_crew"):
            self._crew.dismiss()

    async def run(self, fn: Callable[[*Ts], T], *args: *Ts, shield: bool = False) -> T:
        """Return `fn(*args)` from one of the threads, which sees the caller's context variables.

        A caller cancelled while the job is queued takes the job back: it never runs. One that is
        cancelled while it runs is released at once and the result is dropped.

        Args:
            fn: A blocking function.
            *args: Its arguments.
            shield: Raise the cancellation only when a job that runs has ended; if it failed,
                its exception is the cancellation's `__cause__`. For writes: after the
                cancellation the job is either complete or will never start.

        Raises:
            LoopError: The pool is closed, or the caller runs on no event loop.
        """
        answer: Answer[T] = expect()
        job = _Job(lambda: fn(*args), carried_context(), answer)
        self._crew.submit(job)
        return await answer.wait(job.take_back, shield=shield)

    def post(self, fn: Callable[[*Ts], object], *args: *Ts) -> None:
        """Run `fn(*args)` on one of the threads, waiting for nothing; a failure is logged.

        Raises:
            LoopError: The pool is closed.
        """
        self._crew.submit(_Job(lambda: fn(*args), carried_context(), None))

    def close(self) -> None:
        """Refuse new jobs; the threads end after those already queued. Does not block."""
        self._closed = True
        self._crew.close()

    def join(self, timeout: float | None = None) -> bool:
        """Block until the threads of a closed pool have ended.

        Args:
            timeout: Seconds, or None for no limit.

        Returns:
            Whether all of them have.
        """
        until = None if timeout is None else time.monotonic() + timeout
        for thread in list(self._crew.threads):
            thread.join(None if until is None else max(until - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._crew.threads)

    def _after_fork(self) -> None:
        # The queued jobs hold connections and files of the parent.
        fork.keep(self._crew)
        self._crew = _Crew(self._name, self._size)
        if self._closed:
            self._crew.close()


_pools: weakref.WeakSet[WorkerThreads] = weakref.WeakSet()


def _finish_at_exit() -> None:
    # Native code in a daemon thread must not meet the teardown of the libraries it runs in.
    until = time.monotonic() + EXIT_SECONDS
    pools = list(_pools)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.join(max(until - time.monotonic(), 0))


@functools.cache
def register_exit() -> None:
    """Have all threads finish at the interpreter's exit, after whatever is registered later."""
    atexit.register(_finish_at_exit)


register_exit()
