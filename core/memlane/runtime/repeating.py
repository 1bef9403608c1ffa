"""Some work is nobody's call: it is done every so often, for as long as somebody is left to do it.

Between two times nothing runs and nothing is held: a timer on the work loop knows its owner weakly,
so an owner that everybody forgot is collected, and the interpreter's exit waits for no timer.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from memlane.errors import LoopError
from memlane.runtime import fork
from memlane.runtime.loops import OwnedLoop, work_loop

if TYPE_CHECKING:
    import asyncio

__all__ = ("Later", "Repeating")

Later: TypeAlias = Callable[[float, Callable[[], object]], object]
"""Calls a function in so many seconds; called on the loop."""

_log = logging.getLogger(__name__)


class Repeating:
    """A method awaited again and again on the work loop, never twice at once.

    A failure is logged by its class alone, for its text may be about somebody, and the next time
    comes as usual. A forked child begins anew with its own `start`.

    Args:
        method: A bound async method; its object is held weakly.
        seconds: From the end of one time to the beginning of the next.
        loop: Where it runs; the work loop if None.
        later: How to wait; the loop's own timers if None.
    """

    def __init__(
        self,
        method: Callable[[], Awaitable[object]],
        seconds: float,
        *,
        loop: OwnedLoop | None = None,
        later: Later | None = None,
    ) -> None:
        self._method = weakref.WeakMethod(method)
        self._seconds = seconds
        self._loop = work_loop() if loop is None else loop
        self._later = later
        self._generation: int | None = None
        self._stopped = False
        self._task: asyncio.Task[object] | None = None
        fork.watch(self._after_fork)

    def start(self) -> None:
        """Let it begin, unless it has; callable from any thread, at any time."""
        if self._stopped or self._generation == self._loop.generation:
            return
        self._generation = self._loop.generation
        self._post(self._wait)

    async def stop(self) -> None:
        """End it for good; what is under way is cancelled and has ended when this returns."""
        self._stopped = True
        if self._task is not None:
            await self._loop.call(self._end)

    async def _wait(self) -> None:
        later = self._later
        if later is None:
            import asyncio

            later = asyncio.get_running_loop().call_later
        later(self._seconds, functools.partial(_wake, weakref.ref(self)))

    async def _time(self) -> None:
        import asyncio

        self._task = asyncio.current_task()
        try:
            if (method := self._method()) is not None and not self._stopped:
                await method()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next time comes
            name = type(error).__name__
            _log.warning("background work failed with %s and is tried again later", name)
        finally:
            self._task = None
        if not self._stopped:
            await self._wait()

    async def _end(self) -> None:
        import asyncio

        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    def _post(self, fn: Callable[[], Awaitable[object]]) -> None:
        try:
            # In a context of its own: the caller's is of a call that ends.
            contextvars.Context().run(self._loop.start, fn)
        except LoopError:  # the interpreter exits
            self._stopped = True

    def wake(self) -> None:
        """Let its time come now."""
        if not self._stopped and self._generation == self._loop.generation:
            self._post(self._time)

    def _after_fork(self) -> None:
        # The loop's generation has grown, so that the next `start` begins anew.
        fork.keep(self._task)
        self._task = None


def _wake(ref: weakref.ref[Repeating]) -> None:
    if (repeating := ref()) is not None:
        repeating.wake()
