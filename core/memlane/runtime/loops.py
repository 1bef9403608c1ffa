"""Transports and background work need a loop that outlives every caller's; these are ours.

Two loops in daemon threads: the I/O loop runs transports and no user code, so its answers are
never late; the work loop runs background jobs and synchronous calls, user code included.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

from memlane.errors import LoopError
from memlane.runtime import fork, threads
from memlane.runtime.delivery import Answer, ThreadAnswer, expect
from memlane.runtime.place import carried_context, owned_loop_here, running_loop, standing_still

if TYPE_CHECKING:
    from memlane.runtime.engine import Engine, ExitCall

__all__ = ("OwnedLoop", "io_loop", "work_loop")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EXIT_CALL_SECONDS: Final = 5.0


_EXITING: Final = "make the call before the interpreter exits"


class OwnedLoop:
    """An asyncio loop in a daemon thread of its own, started by the first call.

    A forked child starts its own; what the parent opened on the old one stays referenced there
    and is never closed.

    Args:
        name: The thread's name, and the loop's name in errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        # Re-entrant: a finaliser that runs while the loop is being started may post to it.
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._generation = 0
        self._exit_calls: dict[object, ExitCall] = {}
        fork.watch(self._after_fork)

    @property
    def generation(self) -> int:
        """Grows when the loop is gone: what was opened on an older one must be opened anew."""
        return self._generation

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on this very loop."""
        engine = self._engine
        return engine is not None and threading.get_ident() == engine.thread.ident

    async def call(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Return `await fn(*args)`, run on this loop; directly when the caller is on it already.

        The caller, a task of any asyncio loop or of trio, is never blocked, its context variables
        are seen inside, and its cancellation cancels the call without waiting for it to unwind.

        Raises:
            LoopError: The interpreter exits, or the caller runs on no event loop.
            asyncio.CancelledError: The call was cancelled here, not by its caller; on trio
                `concurrent.futures.CancelledError`.
        """
        engine = self._running()
        if running_loop() is engine.loop:
            return await fn(*args)
        answer: Answer[T] = expect()
        job = engine.job(fn, args, carried_context(), answer)
        self._post(engine, job.start)
        return await answer.wait(job.cancel)

    def call_sync(
        self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, timeout: float | None = None
    ) -> T:
        """Return `await fn(*args)`, run on this loop, and block this thread until it is there.

        A loop that this thread may be running stands still meanwhile.

        Args:
            fn: An async function.
            *args: Its arguments.
            timeout: Seconds after which the call is cancelled; None for no limit.

        Raises:
            LoopError: This is the thread of a loop that memlane owns.
            DeadlineExceededError: The call took longer than `timeout`.
            concurrent.futures.CancelledError: The call was cancelled where it ran.
        """
        here = owned_loop_here()
        if here is not None:
            raise LoopError(
                f"a synchronous call was made on the thread of memlane's {here} loop and would "
                f"block it",
                remedy="await the async client here, or make the call in a thread, for instance "
                "with anyio.to_thread.run_sync",
            )
        engine = self._running()
        answer: ThreadAnswer[T] = ThreadAnswer()
        job = engine.job(fn, args, carried_context(), answer)
        try:
            self._post(engine, job.start)
            with standing_still():
                return answer.wait(timeout)
        except BaseException:
            # A deadline or a KeyboardInterrupt; for a call that has ended this does nothing.
            job.cancel()
            raise

    def start(self, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> Callable[[], object]:
        """Start `fn(*args)` on this loop and do not wait; a failure is logged.

        Exiting waits for it, within bounds.

        Returns:
            A function that cancels it, callable from any thread.

        Raises:
            LoopError: The interpreter exits.
        """
        engine = self._running()
        from memlane.runtime.engine import LoggedReply

        job = engine.job(fn, args, carried_context(), LoggedReply(self.name))
        self._post(engine, job.start)
        return job.cancel

    def on_exit(
        self,
        fn: Callable[[], Awaitable[object]],
        *,
        seconds: float = EXIT_CALL_SECONDS,
        last: bool = False,
    ) -> Callable[[], None]:
        """Have `fn` awaited on this loop before it stops, if it was ever started.

        Args:
            fn: An async function, such as the draining of a queue. A failure is logged.
            seconds: After which it is cancelled.
            last: Run after all others: for closing what they may still use.

        Returns:
            A function that takes the registration back.
        """
        from memlane.runtime.engine import ExitCall

        key = object()
        self._exit_calls[key] = ExitCall(fn, seconds, last=last)

        def forget() -> None:
            self._exit_calls.pop(key, None)

        return forget

    def stop(self) -> None:
        """Let pending calls and the exit calls finish, within bounds, and end the thread.

        Happens by itself when the interpreter exits. A later call starts a new loop.

        Raises:
            LoopError: This is the thread of a loop that memlane owns.
        """
        if owned_loop_here() is not None:
            raise LoopError("an owned loop was stopped from an owned loop's thread")
        engine = self._engine
        if engine is None:
            return
        # Still in its place meanwhile: what runs there at the end calls this loop directly.
        engine.wind_down(self._exit_calls)
        with self._lock:
            if self._engine is engine:
                self._engine = None
                self._generation += 1
                _started.pop(self, None)

    def _running(self) -> Engine:
        engine = self._engine
        if engine is not None:
            return engine
        with self._lock:
            if self._engine is None:
                if _exit.has_begun:
                    raise LoopError(f"memlane's {self.name} loop has stopped", remedy=_EXITING)
                from memlane.runtime.engine import Engine  # and asyncio with it

                self._engine = Engine(self.name)
                _started[self] = None
            return self._engine

    def _post(self, engine: Engine, letter: Callable[[], object]) -> None:
        if not engine.mailbox.post(letter):
            raise LoopError(f"memlane's {self.name} loop has stopped", remedy=_EXITING)

    def _after_fork(self) -> None:
        fork.keep(self._engine, self._exit_calls)
        self._lock = threading.RLock()
        self._engine = None
        self._exit_calls = {}
        self._generation += 1


class _Exit:
    has_begun = False


_exit = _Exit()
_started: dict[OwnedLoop, None] = {}
_io = OwnedLoop("memlane-io")
_work = OwnedLoop("memlane-work")


def io_loop() -> OwnedLoop:
    """Return the loop that runs transports for every caller who has no loop of its own for it."""
    return _io


def work_loop() -> OwnedLoop:
    """Return the loop that runs background jobs and synchronous calls, user code included."""
    return _work


def _finish_at_exit() -> None:
    # The I/O loop last: what ends on the others still needs its transports.
    for loop in sorted(_started, key=lambda loop: loop is _io):
        loop.stop()
    _exit.has_begun = True


# Exits run last in, first out: what runs on a loop at the end still needs its threads, so theirs is
# registered first.
threads.register_exit()
atexit.register(_finish_at_exit)
