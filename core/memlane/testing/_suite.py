"""What all parts of the backend suite stand on: the marker that runs them, and the oracle."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import anyio.to_thread
import pytest

from memlane.client import MemoryClient
from memlane.protocols import Clock, Embedder, VectorBackend
from memlane.testing.fakes import FakeClock, HashingEmbedder

__all__ = ("BackendSuite", "IsolationSuite")


class BackendSuite:
    """Part of a suite; run by anyio's pytest plugin on every event loop it knows.

    Attributes:
        moves: A tenant can be taken to another embedding space, if the backend has the verbs for
            it; else the backend must say that it cannot.
    """

    moves: ClassVar[bool] = True
    pytestmark = pytest.mark.anyio

    def raw_ids(self, backend: VectorBackend) -> Collection[str] | None:
        """Return the ids of all records that are really there, read behind the backend's back.

        Override it with code that shares nothing with the backend, such as SQL on its file. It is
        called on a thread of its own and may block. None leaves out the checks that need it.
        """
        del backend
        return None

    async def check_raw(self, backend: VectorBackend, expected: Collection[str]) -> None:
        """Compare what is really there with what should be."""
        found = await anyio.to_thread.run_sync(self.raw_ids, backend)
        if found is not None:
            assert sorted(found) == sorted(expected), "the store itself holds other records"


class IsolationSuite(BackendSuite):
    """Part of the isolation suite, which looks at a backend through a client."""

    def make_client(
        self,
        backend: VectorBackend,
        *,
        embedder: Embedder | None = None,
        clock: Clock | None = None,
    ) -> MemoryClient:
        """Return a client over `backend`, which may be a wrapper around the one under test."""
        return MemoryClient(
            backend=backend, embedder=embedder or HashingEmbedder(), clock=clock or FakeClock()
        )
