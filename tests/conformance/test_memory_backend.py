"""The backend in memory is a backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

import pytest

from memlane.local import InMemoryBackend
from memlane.protocols import VectorBackend
from memlane.testing import TenantIsolationConformance, VectorBackendConformance


class TestInMemoryBackend(VectorBackendConformance, TenantIsolationConformance):
    """The one fixture, and the dictionary behind it as the oracle."""

    @pytest.fixture
    async def backend(self) -> AsyncIterator[InMemoryBackend]:
        opened = InMemoryBackend()
        yield opened
        await opened.aclose()

    def raw_ids(self, backend: VectorBackend) -> Collection[str] | None:
        assert isinstance(backend, InMemoryBackend)
        return [record_id for owner in backend._owners.values() for _, record_id in owner]
