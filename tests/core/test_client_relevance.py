"""Memory can say that it has nothing to the matter, with the real model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio
import numpy as np
import pytest

from memlane import (
    EmbeddingSpaceError,
    MemlaneError,
    MemoryClient,
    NamespaceQuery,
    RetrievalOptions,
    Scope,
    ValidationError,
)
from memlane.local import InMemoryBackend, MiniLMEmbedder
from memlane.protocols import EmbeddingSpace, Purpose, Vector
from memlane.testing import HashingEmbedder

ADA = Scope("ada", tenant="acme")
SAID = ("I am allergic to hazelnuts.", "My sister moved to Bergen.", "The gate code is KX4-4821.")
RELEVANT = RetrievalOptions(min_relevance=0.5)


class Unknown:
    """The same model under a name whose scale nobody has measured."""

    def __init__(self, inner: MiniLMEmbedder) -> None:
        self._inner = inner
        self.space = EmbeddingSpace(model="unknown", dimensions=inner.space.dimensions)
        self.max_batch, self.max_chars = inner.max_batch, inner.max_chars
        self.texts = 0

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        self.texts += len(inputs)
        return await self._inner.embed(inputs, purpose=purpose)


class Failing(HashingEmbedder):
    """Fails when it is measured, once everybody waits for it."""

    def __init__(self) -> None:
        super().__init__(8)
        self.failing = anyio.Event()

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        if len(inputs) < 2:
            return await super().embed(inputs, purpose=purpose)
        await self.failing.wait()
        raise ConnectionError("I am allergic to hazelnuts")


class CutOff(Unknown):
    """Takes eight texts at a time, and is cancelled after some batches."""

    def __init__(self, inner: MiniLMEmbedder, *, batches: int) -> None:
        super().__init__(inner)
        self.max_batch = 8
        self.batches = batches
        self.scope = anyio.CancelScope()

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        if len(inputs) > 1:
            if not self.batches:
                self.scope.cancel()
                await anyio.sleep_forever()
            self.batches -= 1
        return await super().embed(inputs, purpose=purpose)


class Blind(HashingEmbedder):
    """Everything is the same to it."""

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        return np.ones_like(await super().embed(inputs, purpose=purpose))


@pytest.fixture
async def model() -> AsyncGenerator[MiniLMEmbedder]:
    embedder = MiniLMEmbedder(threads=1)
    yield embedder
    await embedder.aclose()


async def _filled(embedder: MiniLMEmbedder | Unknown) -> MemoryClient:
    client = MemoryClient(backend=InMemoryBackend(), embedder=embedder)
    for text in SAID:
        await client.store(text, scope=ADA, namespace="/facts/")
    return client


async def test_nothing_relevant_is_an_empty_answer(model: MiniLMEmbedder) -> None:
    """What nobody spoke of has no answer; what somebody did keeps all of its matches."""
    client = await _filled(model)
    for question in ("What is the capital of Mongolia?", "How do I boil an egg?"):
        assert await client.retrieve(question, scope=ADA)
        assert list(await client.retrieve(question, scope=ADA, options=RELEVANT)) == []
        context = await client.context(question, scope=ADA, max_tokens=200, options=RELEVANT)
        assert context.matches == ()
    for question, answer in zip(
        ("Which nuts can't she eat?", "Where does her sister live?", "KX4-4821"), SAID, strict=True
    ):
        plain = await client.retrieve(question, scope=ADA)
        matches = await client.retrieve(question, scope=ADA, options=RELEVANT)
        assert matches == plain
        assert len(matches) == len(SAID)
        assert matches[0].record.text == answer
        assert matches[0].relevance is not None
        assert matches[0].relevance >= 0.5
        assert min(match.relevance or 0.0 for match in matches) < 0.5


async def test_words_alone_are_relevant_in_hybrid_only(model: MiniLMEmbedder) -> None:
    """A code has no meaning: pure vector search judges by similarity, text mode cannot judge."""
    client = await _filled(model)
    (hybrid, *_) = await client.retrieve("4821", scope=ADA)
    (vector, *_) = await client.retrieve("4821", scope=ADA, mode="vector")
    (text,) = await client.retrieve("4821", scope=ADA, mode="text")
    assert hybrid.relevance is not None
    assert vector.relevance is not None
    assert hybrid.relevance > vector.relevance
    assert text.relevance is None
    with pytest.raises(ValidationError, match="mode='text'"):
        await client.retrieve("4821", scope=ADA, mode="text", options=RELEVANT)


async def test_one_relevant_subtree_is_enough(model: MiniLMEmbedder) -> None:
    """The answer is judged as a whole, over all namespaces that are asked."""
    client = await _filled(model)
    await client.store("It rained.", scope=ADA, namespace="/small-talk/")
    trees = (NamespaceQuery(path="/small-talk/"), NamespaceQuery(path="/facts/"))
    options = RetrievalOptions(min_relevance=0.5, namespaces=trees)
    found = await client.retrieve("What is she allergic to?", scope=ADA, options=options)
    assert {match.record.namespace for match in found} == {"/small-talk/", "/facts/"}
    options = RetrievalOptions(min_relevance=0.5, namespaces=trees[:1])
    assert not await client.retrieve("What is she allergic to?", scope=ADA, options=options)


async def test_an_unknown_model_is_measured_when_asked(model: MiniLMEmbedder) -> None:
    """Not before, since it may cost money, and once."""
    embedder = Unknown(model)
    client = await _filled(embedder)
    matches = await client.retrieve("Where does her sister live?", scope=ADA)
    assert all(match.relevance is None for match in matches)
    before = embedder.texts
    for _ in range(2):
        assert await client.retrieve("Where does her sister live?", scope=ADA, options=RELEVANT)
    assert embedder.texts == before + 120
    assert (await client.retrieve("Bergen", scope=ADA))[0].relevance is not None


async def test_who_waits_for_the_same_measurement_learns_of_nobody_else() -> None:
    """The error of a shared measurement is each caller's own: verb, tenant and user."""
    embedder = Failing()
    client = MemoryClient(backend=InMemoryBackend(), embedder=embedder)
    bob = Scope("bob", tenant="globex")
    for scope in (ADA, bob):
        await client.store("x", scope=scope)
    errors: dict[Scope, MemlaneError] = {}

    async def ask(scope: Scope) -> None:
        with pytest.raises(MemlaneError) as caught:
            await client.retrieve("x", scope=scope, options=RELEVANT)
        errors[scope] = caught.value

    async with anyio.create_task_group() as tasks:
        for scope in (ADA, bob):
            tasks.start_soon(ask, scope)
        await anyio.wait_all_tasks_blocked()
        embedder.failing.set()
    assert errors[ADA] is not errors[bob]
    for scope, error in errors.items():
        assert error.scope == scope
        assert f"tenant={scope.tenant}" in str(error)
        assert "hazelnuts" not in str(error)
        assert isinstance(error.__cause__, ConnectionError)


async def test_a_measurement_cut_short_goes_on_where_it_was(model: MiniLMEmbedder) -> None:
    """A deadline loses no text that was paid for, and the scale is known in the end."""
    embedder = CutOff(model, batches=5)
    client = await _filled(embedder)
    question, before = "Where does her sister live?", embedder.texts
    with embedder.scope:
        await client.retrieve(question, scope=ADA, options=RELEVANT)
    assert embedder.scope.cancelled_caught
    assert embedder.texts == before + 41  # the query and five batches
    embedder.batches = 100
    assert await client.retrieve(question, scope=ADA, options=RELEVANT)
    assert embedder.texts == before + 121


async def test_an_empty_scope_is_not_worth_a_measurement(model: MiniLMEmbedder) -> None:
    """Where nothing is stored there is nothing to judge, and nothing to pay for."""
    embedder = Unknown(model)
    client = MemoryClient(backend=InMemoryBackend(), embedder=embedder)
    assert not await client.retrieve("x", scope=ADA, options=RELEVANT)
    assert embedder.texts == 1


async def test_the_question_itself_is_no_answer(model: MiniLMEmbedder) -> None:
    """Who asks twice what nobody answered does not find it answered."""
    client = await _filled(model)
    question = "How do I boil an egg?"
    await client.store(question, scope=ADA)
    (again, *_) = await client.retrieve(question, scope=ADA)
    assert again.record.text == question
    assert again.relevance == pytest.approx(0.7, abs=0.01)
    (asked, *_) = await client.retrieve(f"Who asked: {question}", scope=ADA)
    assert (asked.relevance or 0) > 0.7


async def test_a_model_without_meanings_is_refused() -> None:
    """Where paraphrases are no nearer than anything else, relevance would be made up."""
    client = MemoryClient(backend=InMemoryBackend(), embedder=Blind(4))
    await client.store("x", scope=ADA)
    with pytest.raises(EmbeddingSpaceError, match="tells no meanings apart"):
        await client.retrieve("x", scope=ADA, options=RELEVANT)


@pytest.mark.parametrize("bound", [-0.1, 1.1, float("nan"), True, "0.5"])
async def test_a_bound_that_is_none(model: MiniLMEmbedder, bound: object) -> None:
    """Numbers from 0 to 1 only, and the error names the option."""
    client = MemoryClient(backend=InMemoryBackend(), embedder=model)
    options = RetrievalOptions(min_relevance=bound)  # type: ignore[arg-type] # what callers may do
    with pytest.raises(ValidationError, match="min_relevance"):
        await client.retrieve("x", scope=ADA, options=options)
