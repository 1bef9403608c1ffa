"""A real file, a model without the wait; LangChain runs on asyncio alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from memlane import MemoryClient, Scope
from memlane.testing import HashingEmbedder
from memlane_langchain import MemlaneRetriever
from memlane_plain import SyncMemoryClient, connect

TEXTS = (
    "Ada prefers window seats",
    "Ada drinks green tea",
    "Ada keeps bees in Graz",
    "Ada sails on Sundays",
    "Ada is allergic to nuts",
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """LangChain runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
def ada() -> Scope:
    return Scope("ada", tenant="acme")


@pytest.fixture
def client(tmp_path: Path, ada: Scope) -> Iterator[MemoryClient]:
    """A client over a file with five memories of Ada's and one of Eve's."""
    made = connect(f"sqlite:///{tmp_path}/memory.db", embedder=HashingEmbedder())
    with SyncMemoryClient(made) as memory:
        for text in TEXTS:
            memory.store(text, scope=ada, tags=[text.split()[1]])
        memory.store("Eve prefers aisle seats", scope=Scope("eve", tenant="acme"))
        yield made


@pytest.fixture
def retriever(client: MemoryClient, ada: Scope) -> MemlaneRetriever:
    return MemlaneRetriever(client=client, scope=ada)


@pytest.fixture
def blocking_is_meant(blockbuster: BlockBuster) -> Iterator[None]:
    """Let a synchronous call block the loop it is made in: that is what it does there."""
    blockbuster.deactivate()
    yield
    blockbuster.activate()
