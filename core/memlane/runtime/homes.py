"""A transport is bound to a loop, and its users are not: it gets two homes and never a third.

A cache with one transport per loop would leak every loop (the transport refers to it), and a new
connection for each `asyncio.run`. So the loop that entered has one, used directly, and everybody
else shares the one on the I/O loop.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar, TypeVarTuple

from memlane.errors import LoopError
from memlane.runtime import fork
from memlane.runtime.flight import SingleFlight
from memlane.runtime.loops import OwnedLoop, io_loop
from memlane.runtime.place import running_loop

if TYPE_CHECKING:
    import asyncio

__all__ = ("Homes",)

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_closing: set[asyncio.Task[None]] = set()


class _Home(Generic[T]):
    """One resource on one loop; touched on that loop only."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        open_: Callable[[], Awaitable[T]],
        close: Callable[[T], Awaitable[None]],
    ) -> None:
        self.loop = loop
        self.is_closed = False
        self._open = open_
        self._close = close
        self._opening: SingleFlight[T] = SingleFlight()
        self._resource: list[T] = []
        self.forget_exit: Callable[[], None] = lambda: None

    async def resource(self) -> T:
        if self._resource:
            return self._resource[0]
        return await self._opening.run("open", self._open_once)

    async def aclose(self) -> None:
        self.is_closed = True
        while self._resource:
            await self._close(self._resource.pop())

    async def _open_once(self) -> T:
        if self._resource:
            return self._resource[0]
        resource = await self._open()
        if self.is_closed:
            await self._close(resource)
            raise LoopError("the client was closed while its transport was being opened")
        self._resource.append(resource)
        return resource


class Homes(Generic[T]):
    """A loop-bound resource, usable from any loop, thread's loop, or trio.

    Nothing is opened until it is used, with or without `enter`.

    Args:
        open: Makes the resource; awaited on the loop it will belong to.
        close: Ends it; awaited on that same loop.
        owned: The loop for everybody who has not entered; the I/O loop if None.
    """

    def __init__(
        self,
        open: Callable[[], Awaitable[T]],  # noqa: A002  (what it does)
        close: Callable[[T], Awaitable[None]],
        *,
        owned: OwnedLoop | None = None,
    ) -> None:
        self._open = open
        self._close = close
        self._owned_loop = io_loop() if owned is None else owned
        self._lock = threading.Lock()
        self._entered: _Home[T] | None = None
        self._owned: _Home[T] | None = None
        fork.watch(self._after_fork)

    async def enter(self) -> None:
        """Give the calling loop a resource of its own, unless another live loop has entered.

        On trio, and on the owned loop, this changes nothing: the owned loop's serves them.

        Raises:
            LoopError: The caller runs on no event loop.
        """
        here = running_loop()
        if here is None or self._owned_loop.is_here:
            return
        with self._lock:
            if self._entered is None or self._entered.loop.is_closed():
                self._entered = _Home(here, self._open, self._close)

    async def run(self, fn: Callable[[T, *Ts], Awaitable[R]], *args: *Ts) -> R:
        """Return `await fn(resource, *args)`, on the loop of the resource.

        Directly when the caller is on the loop that entered, otherwise on the owned loop.

        Raises:
            LoopError: The caller runs on no event loop, or the resource was closed while opening.
        """
        entered = self._entered
        if entered is not None:
            if entered.loop is running_loop():
                return await fn(await entered.resource(), *args)
            if entered.loop.is_closed():
                # Its sockets went with it; there is nothing left that could be closed.
                with self._lock:
                    if self._entered is entered:
                        self._entered = None
        return await self._owned_loop.call(self._run_owned, fn, *args)

    async def aclose(self) -> None:
        """Close both resources, each on its loop; a later `run` opens a new one.

        From another loop than the one that entered, closing that one's resource is requested of
        it and not awaited: it may be waiting for the caller.
        """
        with self._lock:
            entered, self._entered = self._entered, None
        try:
            if entered is not None:
                if entered.loop is running_loop():
                    await entered.aclose()
                else:
                    _request_close(entered)
        finally:
            if self._owned is not None:
                await self._owned_loop.call(self._close_owned)

    async def _run_owned(self, fn: Callable[[T, *Ts], Awaitable[R]], *args: *Ts) -> R:
        home = self._owned
        if home is None or home.is_closed or home.loop.is_closed():
            here = running_loop()
            if here is None:
                raise LoopError("an owned loop is asyncio's, and this is not one")
            home = self._owned = _Home(here, self._open, self._close)
            home.forget_exit = self._owned_loop.on_exit(home.aclose, last=True)
        return await fn(await home.resource(), *args)

    async def _close_owned(self) -> None:
        home, self._owned = self._owned, None
        if home is not None:
            home.forget_exit()
            await home.aclose()

    def _after_fork(self) -> None:
        fork.keep(self._entered, self._owned)
        self._lock = threading.Lock()
        self._entered = self._owned = None


def _request_close(home: _Home[T]) -> None:
    def begin() -> None:
        task = home.loop.create_task(home.aclose())
        # The loop holds its tasks weakly.
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    with contextlib.suppress(RuntimeError):  # closed, and its sockets with it
        home.loop.call_soon_threadsafe(begin)
