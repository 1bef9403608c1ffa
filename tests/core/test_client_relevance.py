"""Memory can say that it has nothing to the matter, with the real model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest

from memlane import (
    EmbeddingSpaceError,
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
