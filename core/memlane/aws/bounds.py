"""What ends attempts whose time is up: one timer for all, for one each is a tenth of their cost."""

from __future__ import annotations

import asyncio
import contextvars
from types import TracebackType

__all__ = ("Bounds",)


class Bounds:
    """The ends of all that is under way; made and used on one asyncio loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._under_way: set[_Bound] = set()
        self._timer: asyncio.TimerHandle | None = None
        # Else the timer, which is set again and again, would keep what its first caller had.
        self._context = contextvars.Context()

    def within(self, seconds: float) -> _Bound:
        """Return a `with` block that raises TimeoutError in its task when it takes longer."""
        return _Bound(self, self._loop.time() + seconds)

    def close(self) -> None:
        """End all that is under way: there is no time left."""
        under_way, self._under_way = self._under_way, set()
        self._set(None)
        for bound in under_way:
            bound.end()

    def add(self, bound: _Bound) -> None:
        """See to the end of a block."""
        self._under_way.add(bound)
        if self._timer is None or bound.ends < self._timer.when():
            self._set(bound.ends)

    def discard(self, bound: _Bound) -> None:
        """Leave a block alone. The timer stays, for it will be wanted again."""
        self._under_way.discard(bound)

    def _set(self, ends: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if ends is not None:
            self._timer = self._loop.call_at(ends, self._ring, context=self._context)

    def _ring(self) -> None:
        now = self._loop.time()
        for bound in [each for each in self._under_way if each.ends <= now]:
            self._under_way.discard(bound)
            bound.end()
        self._set(min((each.ends for each in self._under_way), default=None))


class _Bound:
    """One block and the task in it."""

    __slots__ = ("_all", "_cancelling", "_is_over", "_task", "ends")

    def __init__(self, bounds: Bounds, ends: float) -> None:
        self._all = bounds
        self.ends = ends
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - whoever awaits on asyncio is a task
        self._task = task
        self._cancelling = task.cancelling()
        self._all.add(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._all.discard(self)
        if not self._is_over:
            return
        # Cancelled by somebody else as well, the task stays cancelled.
        is_ours = self._task.uncancel() <= self._cancelling
        if is_ours and exc_type is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """Cancel the task: its time is up."""
        self._is_over = True
        self._task.cancel()
