"""What recall gives back: matches, contexts, and bounds on both."""

from __future__ import annotations

import pytest

from memlane import (
    DeadlineExceededError,
    MemoryClient,
    NamespaceQuery,
    RetrievalOptions,
    Scope,
)
from memlane.local import InMemoryBackend
from memlane.testing import FakeClock, GatedBackend, HashingEmbedder

ADA = Scope("ada", tenant="acme", session="monday")


async def test_retrieve_finds_the_words_and_the_meaning(client: MemoryClient) -> None:
    """The best match comes first in every mode, with similarity except in text mode."""
    for text in ("Prefers window seats", "Has a dog called Rex", "Works at the harbour"):
        await client.store(text, scope=ADA)
    for mode in ("hybrid", "vector", "text"):
        matches = await client.retrieve("which seats: window?", scope=ADA, mode=mode, limit=2)
        assert matches[0].record.text == "Prefers window seats"
        assert [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)
        assert (matches[0].similarity is None) == (mode == "text")
        assert matches[0].passage == "Prefers window seats"
        assert matches[0].features
    assert len(await client.retrieve("window", scope=ADA, mode="text")) == 1


async def test_empty_means_empty(client: MemoryClient) -> None:
    """Nothing stored: nothing found, listed, counted or deleted, and no error."""
    assert list(await client.retrieve("anything", scope=ADA)) == []
    context = await client.context("anything", scope=ADA, max_tokens=100)
    assert (context.text, context.matches, context.tokens, context.omitted) == ("", (), 0, 0)
    page = await client.list(scope=ADA)
    assert (page.items, page.cursor) == ((), None)
    assert [record async for record in client.iterate(scope=ADA)] == []
    assert await client.count(scope=ADA) == 0
    assert await client.delete(["a"], scope=ADA) == 0
    receipt = await client.forget(ADA)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (0, 0, True)


async def test_long_texts_are_found_by_a_sentence(client: MemoryClient) -> None:
    """A sentence deep in a long text is its passage, the text itself is returned whole."""
    filler = "The harbour was quiet and the boats did not move at all that day. " * 40
    text = f"{filler}Her locker code is zebra quartz nine. {filler}"
    await client.store(text, scope=ADA)
    (match,) = await client.retrieve("locker code zebra quartz", scope=ADA)
    assert match.record.text == text
    assert "zebra quartz" in match.passage
    assert len(match.passage) < len(text) / 4


async def test_min_similarity_leaves_out_what_is_far(client: MemoryClient) -> None:
    """Only matches at least that similar are returned; 0 keeps all, 1 the same words only."""
    for text in ("window seats", "zebra quartz"):
        await client.store(text, scope=ADA)
    for edge in (0.0, 0.5, 0.99):
        matches = await client.retrieve("window seats", scope=ADA, min_similarity=edge)
        assert all(match.similarity is not None for match in matches)
        assert all((match.similarity or 0) >= edge for match in matches)
    assert [match.record.text for match in matches] == ["window seats"]


async def test_several_namespaces_have_limits_of_their_own(client: MemoryClient) -> None:
    """Each subtree gives at most its own limit; together they are one answer, best first."""
    for path in ("/a/", "/a/b/", "/c/"):
        for n in range(3):
            await client.store(f"window seat {n} in {path}", scope=ADA, namespace=path)
    options = RetrievalOptions(
        namespaces=(NamespaceQuery(path="/a/", limit=2), NamespaceQuery(path="/c", limit=1))
    )
    matches = await client.retrieve("window seat", scope=ADA, options=options)
    places = [match.record.namespace for match in matches]
    assert len(places) == 3
    assert places.count("/c/") == 1
    assert [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)


async def test_context_is_data_within_a_budget(client: MemoryClient) -> None:
    """The block is fenced, escaped and no larger than allowed; what does not fit is counted."""
    for n in range(5):
        await client.store(f"</memories> window <b>seat</b> {n}", scope=ADA)
    block = await client.context("window seat", scope=ADA, max_tokens=120)
    assert block.text.count("</memories>") == 1
    assert block.text.startswith("<memories")
    assert "&lt;b&gt;seat" in block.text
    assert block.tokens <= 120
    assert len(block.matches) + block.omitted == 5
    assert block.omitted
    tiny = await client.context("window seat", scope=ADA, max_tokens=1)
    assert (tiny.text, tiny.omitted) == ("", 5)
    counted = await client.context("window seat", scope=ADA, max_tokens=1_000, count_tokens=len)
    assert len(counted.text) <= 1_000


async def test_context_passes_its_arguments_on(client: MemoryClient) -> None:
    """Namespace, filter, limit and mode narrow a context as they narrow retrieve."""
    await client.store("window one", scope=ADA, namespace="/a/", metadata={"n": 1})
    await client.store("window two", scope=ADA, namespace="/a/", metadata={"n": 2})
    await client.store("window three", scope=ADA)
    block = await client.context(
        "window", scope=ADA, max_tokens=500, namespace="/a/", filter={"n": 2}, mode="text", limit=1
    )
    assert [match.record.text for match in block.matches] == ["window two"]


async def test_namespace_and_filter_narrow_every_listing(client: MemoryClient) -> None:
    """List, iterate, count and retrieve take the same namespace and filter."""
    for path, n in (("/users/u1/", 1), ("/users/u10/", 1), ("/users/u1/a/", 2)):
        await client.store(f"window {path}", scope=ADA, namespace=path, metadata={"n": n})
    inside = {"window /users/u1/", "window /users/u1/a/"}
    page = await client.list(scope=ADA, namespace="/users/u1")
    assert {record.text for record in page.items} == inside
    assert await client.count(scope=ADA, namespace="/users/u1/") == 2
    assert await client.count(scope=ADA, namespace="/users/u1/", filter={"n": {"$lt": 2}}) == 1
    found = await client.retrieve("window", scope=ADA, namespace="/users/u1/")
    assert {match.record.text for match in found} == inside
    iterated = client.iterate(scope=ADA, namespace="/users/u1/", filter={"n": 2})
    assert [record.text async for record in iterated] == ["window /users/u1/a/"]


async def test_a_deadline_ends_a_call(clock: FakeClock, embedder: HashingEmbedder) -> None:
    """A retrieve that takes longer raises DeadlineExceededError and leaves the client usable."""
    gated = GatedBackend(InMemoryBackend(), "query")
    client = MemoryClient(backend=gated, embedder=embedder, clock=clock)
    await client.store("window", scope=ADA)
    with pytest.raises(DeadlineExceededError) as caught:
        await client.retrieve("window", scope=ADA, deadline=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.operation == "retrieve"
    gated.open()
    assert len(await client.retrieve("window", scope=ADA, deadline=30)) == 1


async def test_several_namespaces_of_several_agents(client: MemoryClient) -> None:
    """Records of one id but of two agents are both recalled; one in two subtrees once."""
    for agent in (None, "sales"):
        scope = Scope("ada", tenant="acme", agent=agent)
        await client.store("window", scope=scope, record_id="same", namespace="/a/b/")
    options = RetrievalOptions(
        include_agents=True, namespaces=(NamespaceQuery(path="/a/"), NamespaceQuery(path="/a/b/"))
    )
    matches = await client.retrieve("window", scope=ADA, options=options)
    assert {match.record.scope.agent for match in matches} == {None, "sales"}
    assert len(matches) == 2
