"""How synchronous code makes a call, and hears afterwards what it took."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from memlane import CallReceipt
from memlane.metering import last_receipt
from memlane.runtime import SyncBridge

__all__ = ("SyncCalls",)

T = TypeVar("T")

# Calls run in a copy of the caller's context, so what they note there has to be carried back.
_last: ContextVar[CallReceipt | None] = ContextVar("memlane_plain_last_receipt", default=None)


class SyncCalls:
    """Runs async verbs on a loop that memlane owns."""

    def __init__(self) -> None:
        self._bridge = SyncBridge()

    def last_receipt(self) -> CallReceipt | None:
        """Return what the last call of this thread took; None before the first."""
        return _last.get()

    def _call(self, verb: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        noted: list[CallReceipt | None] = [None]

        async def run() -> T:
            try:
                return await verb(*args, **kwargs)
            finally:
                noted[0] = last_receipt()

        try:
            return self._bridge.call(run)
        finally:
            _last.set(noted[0])

    def _iterate(self, source: AsyncIterator[T], *, ahead: int = 1) -> Iterator[T]:
        noted: list[CallReceipt | None] = [None]

        def note() -> None:
            # Each step has a context of its own, and most make no call.
            noted[0] = last_receipt() or noted[0]

        async def noting() -> AsyncIterator[T]:
            try:
                async with aclosing(cast("AsyncGenerator[T]", source)) as found:
                    async for each in found:
                        note()
                        yield each
            finally:
                note()

        try:
            for each in self._bridge.iterate(noting(), ahead=ahead):
                _last.set(noted[0])
                yield each
        finally:
            _last.set(noted[0])
