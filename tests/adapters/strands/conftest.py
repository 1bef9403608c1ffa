"""A real file, a model without the wait, and agents that run on asyncio alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.strands.scripted import patient
from memlane import MemoryClient, Scope
from memlane.testing import HashingEmbedder
from memlane_plain import SyncMemoryClient, connect
from memlane_strands import MemlanePlugin


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Strands runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
def ada() -> Scope:
    return Scope("ada", tenant="acme", session="monday")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MemoryClient]:
    made = connect(f"sqlite:///{tmp_path}/memory.db", embedder=HashingEmbedder())
    yield made
    SyncMemoryClient(made).close()


@pytest.fixture
def memory(client: MemoryClient) -> SyncMemoryClient:
    """The same memory, to prepare it and to look into it from the outside."""
    return SyncMemoryClient(client)


@pytest.fixture
def plugin(client: MemoryClient, ada: Scope) -> MemlanePlugin:
    return patient(client, scope=ada)
