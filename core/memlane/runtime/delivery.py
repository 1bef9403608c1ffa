"""Results are made on other threads; whoever waits does so on a loop that nobody else may touch."""

from __future__ import annotations

import functools
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

import anyio

from memlane.errors import DeadlineExceededError
from memlane.runtime.mailbox import Mailbox
from memlane.runtime.place import is_cancellation, running_loop

if TYPE_CHECKING:
    import asyncio

__all__ = ("Answer", "Reply", "ThreadAnswer", "expect")

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Reply(Protocol[T_contra]):
    """Where a producer puts its one result; callable from any thread."""

    def set_result(self, value: T_contra, /) -> None:
        """Hand over what was asked for."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """Hand over why there is none."""
        ...


class _Here(threading.local):
    # Weak: a mailbox lives in the answers that wait for it, so a loop that was closed under its
    # callers leaves nothing behind that would have to be purged.
    mailbox: weakref.ref[Mailbox] | None = None


_here = _Here()


def _mailbox_of(
    home: object,
    wake: Callable[[Callable[[], object]], object],
    again: Callable[[Callable[[], object]], object],
) -> Mailbox:
    mailbox = _here.mailbox() if _here.mailbox is not None else None
    if mailbox is None or mailbox.home is not home:
        mailbox = Mailbox(home, wake, again)
        _here.mailbox = weakref.ref(mailbox)
    return mailbox


class Answer(ABC, Generic[T]):
    """One result, awaited by the task that made the answer and delivered from any thread.

    A loop closed in between is nobody's error: the result is dropped.
    """

    __slots__ = ("_abandoned", "_error", "_mailbox", "_rung", "_value")

    # What a task of this library sees when it is cancelled, and what it is told when the work it
    # waited for was: trio's own Cancelled cannot be raised by hand.
    interruption: ClassVar[type[BaseException]]
    work_cancelled: ClassVar[type[BaseException]]

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._value: T | None = None
        self._error: BaseException | None = None
        self._rung = False
        self._abandoned = False

    def set_result(self, value: T) -> None:
        """Deliver a result; callable from any thread."""
        self._value = value
        if not self._abandoned:
            self._mailbox.post(self._ring)

    def set_exception(self, error: BaseException) -> None:
        """Deliver a failure; callable from any thread."""
        self._error = error
        if not self._abandoned:
            self._mailbox.post(self._ring)

    async def wait(self, withdraw: Callable[[], bool], *, shield: bool = False) -> T:
        """Return the result, or raise the failure.

        Args:
            withdraw: Called when the waiting task is cancelled first. True when the work will
                not run or was told to stop, False when it cannot be stopped.
            shield: Let a cancellation wait for work that cannot be stopped; the failure of the
                work, if any, is then the cancellation's `__cause__`.

        Raises:
            asyncio.CancelledError: The work itself was cancelled (waiting on asyncio).
            concurrent.futures.CancelledError: The same, waiting on trio.
        """
        try:
            await self._listen()
        except self.interruption as interruption:
            if not self._rung and not withdraw() and shield:
                with anyio.CancelScope(shield=True):
                    await self._outlast()
            self._abandoned = True
            error, self._error = self._error, None
            if shield and error is not None:
                raise interruption from error
            raise
        return self._take()

    def _take(self) -> T:
        error, self._error = self._error, None
        if error is None:
            return cast("T", self._value)
        try:
            if is_cancellation(error):
                raise self.work_cancelled
            raise error
        finally:
            # The error's traceback holds this frame: without this they would be a cycle.
            del error

    @abstractmethod
    def _ring(self) -> None: ...

    @abstractmethod
    async def _listen(self) -> None: ...

    @abstractmethod
    async def _outlast(self) -> None: ...


@functools.cache
def _asyncio_answer() -> Callable[[asyncio.AbstractEventLoop], Answer[Any]]:
    import asyncio  # imported by whoever runs the loop that asks

    class AsyncioAnswer(Answer[Any]):
        __slots__ = ("_bell", "_loop")

        interruption = asyncio.CancelledError
        work_cancelled = asyncio.CancelledError

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(_mailbox_of(loop, loop.call_soon_threadsafe, loop.call_soon))
            self._loop = loop
            self._bell: asyncio.Future[None] = loop.create_future()

        def _ring(self) -> None:
            self._rung = True
            if not self._bell.done():
                self._bell.set_result(None)

        async def _listen(self) -> None:
            await self._bell

        async def _outlast(self) -> None:
            while not self._rung:
                self._bell = self._loop.create_future()
                try:
                    await self._bell
                except asyncio.CancelledError:
                    # A second cancel() of the task; the first one is raised when the work is done.
                    continue

    return AsyncioAnswer


@functools.cache
def _trio_answer() -> Callable[[], Answer[Any]]:
    import concurrent.futures

    import trio  # only trio users pay for it, and they have it already

    class TrioAnswer(Answer[Any]):
        __slots__ = ("_bell",)

        interruption = trio.Cancelled
        work_cancelled = concurrent.futures.CancelledError

        def __init__(self) -> None:
            token = trio.lowlevel.current_trio_token()
            super().__init__(_mailbox_of(token, token.run_sync_soon, token.run_sync_soon))
            self._bell = trio.Event()

        def _ring(self) -> None:
            self._rung = True
            self._bell.set()

        async def _listen(self) -> None:
            await self._bell.wait()

        async def _outlast(self) -> None:
            await self._bell.wait()

    return TrioAnswer


def expect() -> Answer[Any]:
    """Make an answer for the calling task, on asyncio or trio."""
    loop = running_loop()
    if loop is None:
        return _trio_answer()()
    return _asyncio_answer()(loop)


class ThreadAnswer(Generic[T]):
    """One result, waited for by a plain thread."""

    __slots__ = ("_error", "_latch", "_value")

    def __init__(self) -> None:
        self._value: T | None = None
        self._error: BaseException | None = None
        # A bare lock: a Condition or an Event costs several times as much per call.
        self._latch = threading.Lock()
        self._latch.acquire()

    def set_result(self, value: T) -> None:
        """Deliver a result; callable from any thread."""
        self._value = value
        self._latch.release()

    def set_exception(self, error: BaseException) -> None:
        """Deliver a failure; callable from any thread."""
        self._error = error
        self._latch.release()

    def wait(self, timeout: float | None) -> T:
        """Block until there is a result, and return it or raise the failure.

        Args:
            timeout: Seconds, or None for no limit.

        Raises:
            DeadlineExceededError: Nothing came within `timeout`.
            concurrent.futures.CancelledError: The work was cancelled where it ran.
        """
        if not self._latch.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            raise DeadlineExceededError(f"no answer within {timeout} seconds")
        error, self._error = self._error, None
        if error is None:
            return cast("T", self._value)
        try:
            if is_cancellation(error):
                import concurrent.futures

                raise concurrent.futures.CancelledError
            raise error
        finally:
            del error
