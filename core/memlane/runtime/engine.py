"""One life of an owned loop: its thread, mailbox and jobs; a fork or a stop begins another."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from memlane.errors import LoopError
from memlane.runtime import fork
from memlane.runtime.delivery import Reply
from memlane.runtime.mailbox import Mailbox
from memlane.runtime.place import owned
from memlane.runtime.threads import WorkerThreads

__all__ = ("Engine", "ExitCall", "Job", "LoggedReply")

T = TypeVar("T")

# Exiting: how long jobs may go on, and how long what was then cancelled may take to clean up.
JOB_SECONDS: Final = 5.0
CLEANUP_SECONDS: Final = 1.0
# A start costs the loop far less than a caller's task costs a foreign one, and iterations are
# the dearer part here.
STARTS_PER_TURN: Final = 32
RESOLVER_THREADS: Final = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExitCall:
    """Something to await before the loop stops, for `seconds` at most."""

    fn: Callable[[], Awaitable[object]]
    seconds: float
    last: bool


class LoggedReply:
    """Where the result of a job goes that nobody waits for."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def set_result(self, value: object, /) -> None:
        """Drop it."""

    def set_exception(self, error: BaseException, /) -> None:
        """Log it, unless it is a cancellation."""
        if not isinstance(error, asyncio.CancelledError):
            _log.error("a job on memlane's %s loop failed", self._name, exc_info=error)


class Job(Generic[T]):
    """One call on its way to the loop, and the task it becomes there."""

    __slots__ = ("_args", "_begun", "_context", "_engine", "_fn", "_reply", "task")

    def __init__(
        self,
        engine: Engine,
        fn: Callable[..., Awaitable[T]],
        args: tuple[Any, ...],
        context: contextvars.Context,
        reply: Reply[T],
    ) -> None:
        self._engine = engine
        self._fn = fn
        self._args = args
        self._context = context
        self._reply = reply
        self._begun = False
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Become a task; on the loop's thread."""
        engine = self._engine
        if engine.loop.is_closed():
            self._reply.set_exception(LoopError("the loop stopped before the call began"))
            return
        self.task = engine.loop.create_task(self._run(), context=self._context)
        # The loop holds its tasks weakly, and the caller may be gone: this keeps the job alive.
        engine.jobs.add(self)

    def cancel(self) -> bool:
        """Cancel the task, or let it never begin; callable from any thread. Always True."""
        self._engine.mailbox.post(self.cancel_here)
        return True

    def cancel_here(self) -> None:
        """Cancel the task; on the loop's thread."""
        if self.task is not None and self.task.cancel() and not self._begun:
            self._engine.jobs.discard(self)
            self._reply.set_exception(asyncio.CancelledError())

    async def _run(self) -> None:
        self._begun = True
        try:
            value = await self._fn(*self._args)
        except asyncio.CancelledError as error:
            self._reply.set_exception(error)
            raise
        except BaseException as error:  # noqa: BLE001  (SystemExit must not end the loop)
            self._reply.set_exception(error)
        else:
            self._reply.set_result(value)
        finally:
            self._engine.jobs.discard(self)


class _Resolver(concurrent.futures.ThreadPoolExecutor):
    """The loop's default executor, which names are resolved in; works while Python exits."""

    def __init__(self, name: str) -> None:
        super().__init__(max_workers=1)  # asyncio insists on the type; its threads never start
        self._crew = WorkerThreads(f"{name}-resolver", RESOLVER_THREADS)

    def submit(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  (belongs to whoever waits)
                future.set_exception(error)
            else:
                future.set_result(result)

        self._crew.post(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._crew.close()
        super().shutdown(wait=wait, cancel_futures=cancel_futures)


class Engine:
    """A running loop.

    Args:
        name: Of the thread.

    Raises:
        LoopError: The interpreter exits and no thread can be started.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(_Resolver(name))
        self.mailbox = Mailbox(
            self.loop,
            self.loop.call_soon_threadsafe,
            self.loop.call_soon,
            per_turn=STARTS_PER_TURN,
        )
        self.jobs: set[Job[Any]] = set()
        fork.watch(self._after_fork)
        self._ending: asyncio.Task[None] | None = None
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise LoopError(
                f"memlane's {name} loop cannot be started while the interpreter exits"
            ) from error

    def job(
        self,
        fn: Callable[..., Awaitable[T]],
        args: tuple[Any, ...],
        context: contextvars.Context,
        reply: Reply[T],
    ) -> Job[T]:
        """Return a call that is ready to be posted."""
        return Job(self, fn, args, context, reply)

    def wind_down(self, exit_calls: dict[object, ExitCall]) -> None:
        """Finish jobs, then exit calls, cancel the rest and end the thread; each has its bound."""
        seconds = JOB_SECONDS + 2 * CLEANUP_SECONDS
        seconds += sum(call.seconds for call in list(exit_calls.values()))

        def begin() -> None:
            if self._ending is None:
                self._ending = self.loop.create_task(self._wind_down(exit_calls))

        if self.mailbox.post(begin):
            self.thread.join(seconds)

    def _after_fork(self) -> None:
        # If this is the thread that forked, the child runs no loop of ours in it.
        owned.name = None

    def _work(self) -> None:
        owned.name = self.name
        while self._ending is None or not self._ending.done():
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # Raised by a callback somebody scheduled; jobs deliver theirs to the caller.
                _log.exception("memlane's %s loop goes on", self.name)
        self.loop.close()
        self.mailbox.run_rest()

    async def _wind_down(self, exit_calls: dict[object, ExitCall]) -> None:
        try:
            await self._finish_jobs()
            # An exit call may register another one, such as the closing of what it just opened.
            for last in (False, True):
                while batch := [key for key, call in exit_calls.items() if call.last == last]:
                    await self._make(exit_calls.pop(key) for key in batch)
            await self._cancel_rest()
            await self.loop.shutdown_asyncgens()
        finally:
            self.loop.stop()

    async def _finish_jobs(self) -> None:
        until = self.loop.time() + JOB_SECONDS
        while self.jobs and self.loop.time() < until:
            tasks = {job.task for job in self.jobs if job.task is not None}
            await asyncio.wait(tasks, timeout=until - self.loop.time())

    async def _make(self, calls: Iterable[ExitCall]) -> None:
        async def bounded(call: ExitCall) -> None:
            try:
                async with asyncio.timeout(call.seconds):
                    await call.fn()
            except Exception:  # noqa: BLE001  (the others still have their turn)
                _log.exception("memlane's %s loop: an exit call failed", self.name)

        await asyncio.gather(*(bounded(call) for call in calls))

    async def _cancel_rest(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for job in list(self.jobs):
            job.cancel_here()
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=CLEANUP_SECONDS)
