"""Where a backend finds only the nearest, whom a question names is asked for besides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import anyio
import numpy as np
import pytest

from memlane import MemoryClient, NewMemory, RetrievalOptions, Scope
from memlane.errors import BackendError, ThrottledError, ValidationError
from memlane.local import InMemoryBackend
from memlane.protocols import Candidates, Capabilities, VectorQuery
from memlane.scope import Reach
from memlane.testing import FakeClock, HashingEmbedder, WrappedBackend

ADA = Scope("ada", tenant="acme")
QUESTION = "What does Bob say about the green tea?"


class Nearest(WrappedBackend):
    """An approximate backend: so many rows as were asked for, the nearest, and not one more."""

    def __init__(self) -> None:
        super().__init__(InMemoryBackend())
        self.queries: list[VectorQuery] = []
        self.warmed: list[Scope] = []
        self.asked = anyio.Event()
        self.together = False
        self.errors: dict[bool, Exception] = {}

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(name="nearest", exact=False, atomic_conditions=True)

    def warm(self, scope: Scope) -> None:
        """Remember that it was told."""
        self.warmed.append(scope)

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        self.queries.append(query)
        if self.together:
            # Answered only when the other one has been asked too.
            if len(self.queries) > 1:
                self.asked.set()
            with anyio.fail_after(10):
                await self.asked.wait()
        error = self.errors.get(query.actor is not None)
        if error is not None:
            raise error
        found = await super().query(query, reach=reach)
        rows = sorted(found.distances.argsort(kind="stable")[: query.limit].tolist())
        return _rows(found, rows)


def _rows(found: Candidates, rows: Sequence[int]) -> Candidates:
    assert found.records is not None
    terms = [found.terms[found.offsets[row] : found.offsets[row + 1]] for row in rows]
    offsets = found.offsets[: len(rows) + 1].copy()
    offsets[1:] = 0
    for place, each in enumerate(terms):
        offsets[place + 1] = offsets[place] + len(each)
    picked = {
        name: getattr(found, name)[list(rows)]
        for name in ("parts", "spans", "distances", "actors", "sessions", "order", "occurred")
    }
    return replace(
        found,
        record_ids=[found.record_ids[row] for row in rows],
        agents=[found.agents[row] for row in rows],
        records=[found.records[row] for row in rows],
        terms=np.concatenate([*terms, found.terms[:0]]),
        offsets=offsets,
        complete=False,
        **picked,
    )


@pytest.fixture
def backend() -> Nearest:
    """An approximate backend over a store in memory."""
    return Nearest()


@pytest.fixture
async def client(
    backend: Nearest, clock: FakeClock, embedder: HashingEmbedder
) -> AsyncIterator[MemoryClient]:
    """A client whose one user heard much of tea, and one other thing of Bob's."""
    async with MemoryClient(backend=backend, embedder=embedder, clock=clock) as opened:
        others = [
            NewMemory(content=f"green tea number {n}, says the green tea lover", actor="Eve")
            for n in range(20)
        ]
        bob = NewMemory(
            content="Green tea? I would much rather have coffee, juice, water or nothing at all",
            actor="Bob",
        )
        await opened.store_many([*others[:10], bob, *others[10:]], scope=ADA)
        yield opened


FEW = RetrievalOptions(candidates=5)


async def test_whom_the_question_names_is_found(client: MemoryClient, backend: Nearest) -> None:
    """Twenty others' words are nearer; among the nearest five Bob is not."""
    unnamed = await client.retrieve("Who talks of the green tea?", scope=ADA, options=FEW)
    assert "Bob" not in {match.record.actor for match in unnamed}
    assert [query.actor for query in backend.queries] == [None]
    backend.queries.clear()
    named = await client.retrieve(QUESTION, scope=ADA, options=FEW, limit=6)
    assert "Bob" in {match.record.actor for match in named}
    assert sorted(query.actor or "" for query in backend.queries) == ["", "Bob"]
    one, other = backend.queries
    assert replace(one, actor=None) == replace(other, actor=None)
    assert len({match.record.id for match in named}) == len(named) == 6


async def test_both_are_asked_at_once(client: MemoryClient, backend: Nearest) -> None:
    """Neither waits for the other's answer."""
    backend.together = True
    assert await client.retrieve(QUESTION, scope=ADA, options=FEW)
    assert len(backend.queries) == 2


@pytest.mark.parametrize("mode", ["vector", "text"])
async def test_other_modes_ask_once(client: MemoryClient, backend: Nearest, mode: str) -> None:
    """The model's own answer has no names in it, and words find names by themselves."""
    await client.retrieve(QUESTION, scope=ADA, mode=mode, options=FEW)  # type: ignore[arg-type] # one of the modes
    assert [query.actor for query in backend.queries] == [None]


async def test_two_named_are_asked_for_by_nobody(client: MemoryClient, backend: Nearest) -> None:
    """Whose words are meant is not known then."""
    await client.retrieve("Do Bob and Eve like tea?", scope=ADA, options=FEW)
    assert [query.actor for query in backend.queries] == [None]


async def test_an_exact_backend_is_asked_once(clock: FakeClock, embedder: HashingEmbedder) -> None:
    """It has looked at everything already."""
    asked: list[str | None] = []

    class Exact(WrappedBackend):
        async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
            asked.append(query.actor)
            return await super().query(query, reach=reach)

    async with MemoryClient(
        backend=Exact(InMemoryBackend()), embedder=embedder, clock=clock
    ) as client:
        await client.store("I like tea", scope=ADA, actor="Bob")
        assert await client.retrieve(QUESTION, scope=ADA)
    assert asked == [None]


@pytest.mark.parametrize("narrowed", [True, False])
async def test_a_failure_of_either_is_the_calls(
    client: MemoryClient, backend: Nearest, *, narrowed: bool
) -> None:
    """Itself, not wrapped in a group, and with the verb in it."""
    backend.errors[narrowed] = ThrottledError("busy", service="s3vectors")
    with pytest.raises(ThrottledError, match="retrieve") as caught:
        await client.retrieve(QUESTION, scope=ADA)
    assert caught.value is backend.errors[narrowed]


async def test_a_failure_does_not_wait_for_the_other(
    client: MemoryClient, backend: Nearest
) -> None:
    """The one still under way is given up."""
    backend.errors[True] = BackendError("gone")
    inner = backend.query

    async def query(query: VectorQuery, *, reach: Reach) -> Candidates:
        if query.actor is None:
            await anyio.sleep_forever()
        return await inner(query, reach=reach)

    backend.query = query  # type: ignore[method-assign] # one of the two never answers
    with anyio.fail_after(10), pytest.raises(BackendError, match="gone"):
        await client.retrieve(QUESTION, scope=ADA)


@pytest.mark.parametrize(
    ("candidates", "limit", "asked"), [(None, 5, 100), (5, 5, 5), (5, 9, 9), (10_000, 1, 10_000)]
)
async def test_candidates_are_what_is_asked_for(
    client: MemoryClient, backend: Nearest, candidates: int | None, limit: int, asked: int
) -> None:
    """A hundred unless told otherwise, and never fewer than the answer may have."""
    options = RetrievalOptions(candidates=candidates)
    found = await client.retrieve("green tea", scope=ADA, limit=limit, options=options)
    assert [query.limit for query in backend.queries] == [asked]
    assert len(found) <= limit


@pytest.mark.parametrize("candidates", [0, -1, 10_001, 2.0, True, "5"])
async def test_bad_candidates_are_refused(client: MemoryClient, candidates: object) -> None:
    """Before anything is paid for."""
    options = RetrievalOptions(candidates=candidates)  # type: ignore[arg-type] # that is the test
    with pytest.raises(ValidationError, match="candidates"):
        await client.retrieve("green tea", scope=ADA, options=options)


async def test_a_backend_is_warmed_before_the_embedding(
    client: MemoryClient, backend: Nearest, embedder: HashingEmbedder
) -> None:
    """Told of the scope when the call begins, from the second call of a tenant on."""
    backend.warmed.clear()
    order: list[str] = []
    embed, warm = embedder.embed, backend.warm
    embedder.embed = lambda *args, **more: (order.append("embed"), embed(*args, **more))[1]  # type: ignore[method-assign, func-returns-value] # seen on the way
    backend.warm = lambda scope: (order.append("warm"), warm(scope))[1]  # type: ignore[method-assign, func-returns-value] # seen on the way
    await client.retrieve("something new", scope=ADA)
    await client.store("something else", scope=ADA)
    assert order == ["warm", "embed", "warm", "embed"]
    assert backend.warmed == [ADA, ADA]
