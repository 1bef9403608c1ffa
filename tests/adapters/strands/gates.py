"""A door in front of a backend, for calls from any loop and any thread."""

from __future__ import annotations

import threading

import anyio.to_thread

from memlane.protocols import VectorBackend
from memlane.runtime import WorkerThreads
from memlane.testing import WrappedBackend
from memlane.testing.wrappers import Operation

_PATIENCE = 30  # seconds; a test that waits this long has failed already


class Door(WrappedBackend):
    """Holds every call of one operation until it is opened.

    Args:
        inner: The backend that does the work.
        operation: What to hold.
    """

    def __init__(self, inner: VectorBackend, operation: Operation) -> None:
        super().__init__(inner)
        self._operation = operation
        self._open = threading.Event()
        self._arrived = threading.Event()
        self._threads = WorkerThreads("door", 16)

    async def before(self, operation: Operation) -> None:
        if operation == self._operation and not self._open.is_set():
            self._arrived.set()
            await self._threads.run(self._open.wait, _PATIENCE)

    async def arrived(self) -> None:
        """Wait until a call stands at the door."""
        assert await anyio.to_thread.run_sync(self._arrived.wait, _PATIENCE)

    def open(self) -> None:
        """Let all calls through, those that wait and those to come."""
        self._open.set()
        self._threads.close()
