"""Some callers cannot await; they block their own thread while the work loop awaits for them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, TypeVar

from memlane.errors import LoopError
from memlane.runtime.loops import OwnedLoop, work_loop

__all__ = ("SyncBridge",)

T = TypeVar("T")


class SyncBridge:
    """Synchronous calls of async functions, from any thread that memlane does not own.

    Also from inside a running loop, which then stands still: that is what a synchronous call
    means there.

    Args:
        loop: Where the functions run; the work loop if None.
    """

    def __init__(self, loop: OwnedLoop | None = None) -> None:
        self._loop = work_loop() if loop is None else loop

    def call(
        self,
        fn: Callable[..., Awaitable[T]],
        *args: Any,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> T:
        """Return `await fn(*args, **kwargs)`; a KeyboardInterrupt meanwhile cancels it.

        Args:
            fn: An async function.
            *args: Its arguments.
            timeout: Seconds after which the call is cancelled; None for no limit.
            **kwargs: Its keyword arguments.

        Raises:
            LoopError: This is the thread of a loop that memlane owns: await instead.
            DeadlineExceededError: The call took longer than `timeout`.
        """

        async def run() -> T:
            return await fn(*args, **kwargs)

        return self._loop.call_sync(run, timeout=timeout)

    def iterate(self, source: AsyncIterator[T], *, ahead: int = 1) -> Generator[T]:
        """Yield what `source` yields; closing the generator closes the source, not waiting for it.

        Args:
            source: An async iterator; each step runs on the work loop.
            ahead: How many items to fetch in one step. More than one costs fewer hops, and
                leaves the source further than the caller when the caller stops.

        Raises:
            LoopError: This is the thread of a loop that memlane owns: iterate with `async for`.
        """
        exhausted = False
        generation = self._loop.generation
        try:
            while not exhausted:
                items, error, exhausted = self._loop.call_sync(_take, source, ahead)
                yield from items
                if error is not None:
                    raise error
        finally:
            # In a forked child the source is the parent's. And this may be a finaliser on any
            # thread, an owned one included: it must not block.
            if not exhausted and generation == self._loop.generation:
                with contextlib.suppress(LoopError):
                    self._loop.start(_close, source)


async def _take(source: AsyncIterator[T], count: int) -> tuple[list[T], Exception | None, bool]:
    items: list[T] = []
    try:
        for _ in range(count):
            items.append(await anext(source))  # noqa: PERF401  (what came before an error counts)
    except StopAsyncIteration:
        return items, None, True
    except Exception as error:
        if not items:
            raise
        return items, error, True
    return items, None, False


async def _close(source: AsyncIterator[Any]) -> None:
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()
