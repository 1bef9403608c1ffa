"""Names over the wire: learnt once, asked for once a minute, forgotten with their user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from memlane import MemoryClient, NewMemory, RetrievalOptions, Scope
from memlane.aws.credentials import HostCredentials, StaticCredentials, TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.aws.s3vectors.actors import actors_key
from memlane.testing import FakeClock, HashingEmbedder
from memlane.testing.emulator import Emulator

ADA = Scope("ada", tenant="acme")
QUESTION = "What does Bob say about the green tea?"


@asynccontextmanager
async def _opened(emulator: Emulator, clock: FakeClock) -> AsyncIterator[MemoryClient]:
    admin = StaticCredentials(emulator.admin.access_key, emulator.admin.secret_key)
    backend = S3VectorsBackend(
        "memories",
        plane=DataPlane(region=emulator.region, endpoint_urls={"*": emulator.url}),
        credentials=TenantCredentials(admin),
        host=HostCredentials(admin),
        auto_onboard=True,
        clock=clock,
        owns_plane=True,
    )
    async with MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=clock, owned=[backend]
    ) as client:
        yield client


@pytest.fixture
async def clients(
    emulator: Emulator, clock: FakeClock
) -> AsyncIterator[tuple[MemoryClient, MemoryClient]]:
    """Two clients of one bucket, as in two processes."""
    await emulator.create_bucket("memories")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(_opened(emulator, clock))
        second = await stack.enter_async_context(_opened(emulator, clock))
        yield first, second


async def _asked(emulator: Emulator) -> tuple[int, int]:
    """Return how often was queried and read since the last time."""
    requests = (await emulator.counters(reset=True)).requests
    return requests.get("QueryVectors", 0), requests.get("GetVectors", 0)


async def test_whom_a_question_names_is_found_from_another_process(
    emulator: Emulator, clock: FakeClock, clients: tuple[MemoryClient, MemoryClient]
) -> None:
    """A second query for a name it has read; one query for a question that names nobody."""
    here, there = clients
    others = [
        NewMemory(content=f"green tea number {n}, says the green tea lover", actor="Eve")
        for n in range(20)
    ]
    text = "Green tea? I would much rather have coffee, juice, water or nothing at all"
    await here.store_many([*others, NewMemory(content=text, actor="Bob")], scope=ADA)
    few = RetrievalOptions(candidates=5)
    await there.retrieve("anything", scope=ADA, options=few)
    await _asked(emulator)
    clock.advance(timedelta(seconds=61))
    named = await there.retrieve(QUESTION, scope=ADA, options=few, limit=6)
    assert "Bob" in {match.record.actor for match in named}
    assert len({match.record.id for match in named}) == len(named) == 6
    assert await _asked(emulator) == (2, 1)
    await there.retrieve(QUESTION, scope=ADA, options=few)
    assert await _asked(emulator) == (2, 0)
    unnamed = await there.retrieve("Who talks of the green tea?", scope=ADA, options=few)
    assert {match.record.actor for match in unnamed} == {"Eve"}
    assert await _asked(emulator) == (1, 0)


async def test_names_are_in_no_answer_and_go_with_their_user(
    emulator: Emulator, clients: tuple[MemoryClient, MemoryClient]
) -> None:
    """The vector that holds them is counted, listed and found by nobody, and forgotten."""
    here, there = clients
    await here.store("I like green tea", scope=ADA, actor="Bob")
    stored = await emulator.vectors("memories", "memory-acme")
    assert actors_key(ADA) in stored
    assert "user_id" not in stored[actors_key(ADA)].metadata
    for client in clients:
        assert await client.count(scope=ADA) == 1
        assert len((await client.list(scope=ADA)).items) == 1
        assert len(await client.retrieve("Bob and tea", scope=ADA)) == 1
    receipt = await there.forget(ADA)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (1, 1, True)
    assert actors_key(ADA) not in await emulator.vectors("memories", "memory-acme")
