"""Everything here is called from any loop and any thread, so code has to know where it stands."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memlane.errors import LoopError
from memlane.runtime import fork

if TYPE_CHECKING:
    import asyncio

__all__ = (
    "Place",
    "carried_context",
    "is_cancellation",
    "owned",
    "owned_loop_here",
    "running_loop",
    "standing_still",
)


class _StillThreads:
    """The threads that are blocked in a synchronous call."""

    def __init__(self) -> None:
        self.idents: set[int] = set()
        fork.watch(self._after_fork)

    def _after_fork(self) -> None:
        self.idents.clear()


_still = _StillThreads()


def _in_trio_task() -> bool:
    # Never imports trio, and survives another thread being half way through importing it.
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    in_trio_task = getattr(lowlevel, "in_trio_task", None)
    return in_trio_task is not None and in_trio_task()


class _Owned(threading.local):
    name: str | None = None


owned = _Owned()
"""Of this thread: the name of the owned loop that it is for, set by its engine."""


def owned_loop_here() -> str | None:
    """Return the name of the owned loop whose thread this is, or None."""
    return owned.name


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    # Nobody runs a loop of asyncio's who has not imported it; importing it here would make
    # `import memlane` as dear for those who use trio, or none.
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    loop: asyncio.AbstractEventLoop | None = running() if running is not None else None
    return loop


def is_cancellation(error: BaseException) -> bool:
    """Tell whether an error is asyncio's cancellation."""
    cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", None)
    return cancelled is not None and isinstance(error, cancelled)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the asyncio loop that runs the calling task, or None in a trio task.

    Raises:
        LoopError: The caller runs on neither.
    """
    loop = _asyncio_loop()
    if "trio" in sys.modules and _in_trio_task():
        # Both at once: trio as a guest of asyncio, or asyncio inside trio. sniffio, which trio
        # needs, is told by either which one is awaited here.
        if loop is None or sys.modules["sniffio"].current_async_library() == "trio":
            return None
        return loop
    if loop is None:
        raise LoopError(
            "an async method was awaited outside asyncio and trio",
            remedy="await it from a task of either, or use SyncMemoryClient",
        )
    return loop


def carried_context() -> contextvars.Context:
    """Return a copy of the caller's context that is fit to run elsewhere.

    sniffio keeps the name of the caller's event loop in a context variable; carried along, it
    would make anyio take an asyncio loop, or a plain thread, for trio.
    """
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        library: contextvars.ContextVar[Any] = sniffio.current_async_library_cvar
        if context.get(library) is not None:
            context.run(library.set, None)
    return context


class Place:
    """A task's loop and thread, remembered to ask later whether it can still make progress."""

    __slots__ = ("_asked_at", "_loop", "_post", "_thread")

    def __init__(self) -> None:
        self._loop = loop = running_loop()
        self._post: Callable[[Callable[[], object]], object] = (
            sys.modules["trio"].lowlevel.current_trio_token().run_sync_soon
            if loop is None
            else loop.call_soon_threadsafe
        )
        self._thread = threading.get_ident()
        self._asked_at: float | None = None

    def is_stuck(self) -> bool:
        """Tell whether the loop was closed or left, or its thread waits in a synchronous call."""
        if self._thread in _still.idents:
            return True
        # Trio never ends with a task half way, so there is nothing to ask it.
        return self._loop is not None and not self._loop.is_running()

    def is_silent(self, seconds: float) -> bool:
        """Tell whether the loop has not turned for so long since this was first asked.

        Its thread may be blocked by somebody who tells us nothing, such as a framework's own
        bridge from synchronous code. To ask is free of harm: the loop is only made to turn.
        """
        asked_at = self._asked_at
        if asked_at is not None:
            return time.monotonic() - asked_at >= seconds
        self._asked_at = time.monotonic()
        try:
            self._post(self._answer)
        except RuntimeError:  # closed; trio's error for that is one too
            return True
        return False

    def _answer(self) -> None:
        self._asked_at = None


@contextmanager
def standing_still() -> Generator[None]:
    """Mark this thread, and so any loop it runs, as making no progress until the block ends."""
    thread = threading.get_ident()
    nested = thread in _still.idents
    _still.idents.add(thread)
    try:
        yield
    finally:
        if not nested:
            _still.idents.discard(thread)
