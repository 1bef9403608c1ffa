"""From a question to matches: a backend is not believed, and what changed meanwhile is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from memlane.embeddings import Embeddings
from memlane.errors import IsolationError
from memlane.filters import Filter
from memlane.local import InMemoryBackend
from memlane.protocols import Candidates, IndexedRecord, VectorBackend, VectorQuery
from memlane.retrieval import Retriever, subtrees
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope
from memlane.testing import CountingBackend, HashingEmbedder, LyingBackend, WrappedBackend
from memlane.testing.samples import NOW, make_record
from memlane.types import Match, MemoryRecord, NamespaceQuery, RetrievalOptions

ADA = Scope("ada", tenant="acme", agent="support", session="s1")
HERE = Reach.point(ADA, now=NOW)
SPACE = HashingEmbedder().space.id
TEXTS = ("Ada drinks green tea", "Eve drinks black coffee", "The cat sleeps all day")


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerThreads]:
    """A thread to rank on."""
    threads = WorkerThreads("ranking-in-test", 1)
    yield threads
    threads.close()


def _embeddings(workers: WorkerThreads) -> Embeddings:
    return Embeddings(HashingEmbedder(), workers=workers, cached_queries=16)


async def _indexed(workers: WorkerThreads, *records: MemoryRecord) -> list[IndexedRecord]:
    parts = await _embeddings(workers).document_parts([record.text for record in records])
    return [
        IndexedRecord(record=replace(record, space=SPACE), parts=part)
        for record, part in zip(records, parts, strict=True)
    ]


async def _fill(workers: WorkerThreads, backend: VectorBackend, *records: MemoryRecord) -> None:
    given = records or [
        make_record(f"r{n}", text, scope=ADA, actor=text.split()[0]) for n, text in enumerate(TEXTS)
    ]
    for item in await _indexed(workers, *given):
        await backend.upsert([item], scope=item.record.scope)


async def _ask(
    workers: WorkerThreads,
    backend: VectorBackend,
    text: str = "Who drinks green tea?",
    *,
    reach: Reach = HERE,
    options: RetrievalOptions | None = None,
    namespace: str | None = None,
    limit: int = 10,
    **rest: Any,
) -> list[Match]:
    asked = subtrees(
        options or RetrievalOptions(),
        namespace=namespace,
        limit=limit,
        min_similarity=None,
        most=1_000,
    )
    bounds = {"mode": "hybrid", "condition": None, **rest}
    retriever = Retriever(backend, _embeddings(workers), workers)
    return await retriever.answer(text, reach=reach, asked=asked, limit=limit, **bounds)


class Lean(WrappedBackend):
    """A backend whose candidates come without their records, as a large store's do."""

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        return replace(await super().query(query, reach=reach), records=None)


@pytest.mark.parametrize("wrap", [WrappedBackend, Lean])
async def test_matches_say_what_and_why(workers: WorkerThreads, wrap: type[WrappedBackend]) -> None:
    """Best first, each with its record, its similarity and the reasons that add up to its score."""
    backend = wrap(InMemoryBackend())
    await _fill(workers, backend)
    found = await _ask(workers, backend)
    assert found[0].record.text == TEXTS[0]
    assert {match.record.id for match in found} == {"r0", "r1", "r2"}
    assert [match.score for match in found] == sorted(
        (match.score for match in found), reverse=True
    )
    for match in found:
        assert match.passage == match.record.text
        assert match.similarity is not None
        assert 0 <= match.similarity <= 1
        assert sum(match.features.values()) == pytest.approx(match.score, abs=1e-6)
        assert all(match.features.values())
        assert isinstance(match.score, float)


async def test_modes_use_their_own_legs(workers: WorkerThreads) -> None:
    """Words alone have no similarity and need a word; the vector alone asks nobody's name."""
    backend = CountingBackend(InMemoryBackend())
    await _fill(workers, backend)
    by_words = await _ask(workers, backend, "green tea", mode="text")
    assert [match.record.id for match in by_words] == ["r0"]
    assert by_words[0].similarity is None
    assert not await _ask(workers, backend, "nothing of the sort", mode="text")
    asked = backend.calls["actors"]
    by_vector = await _ask(workers, backend, "green tea", mode="vector")
    assert backend.calls["actors"] == asked
    assert [match.score for match in by_vector] == pytest.approx(
        [match.similarity for match in by_vector]
    )


async def test_a_name_leads_to_who_said_it(workers: WorkerThreads) -> None:
    """The owner counts where somebody known is named."""
    backend = InMemoryBackend()
    await _fill(workers, backend)
    found = await _ask(workers, backend, "What does Eve drink?")
    assert found[0].record.actor == "Eve"
    assert found[0].features["owner"] > 0
    assert all("owner" not in match.features for match in found[1:])


FOREIGN = (
    Scope("eve", tenant="acme", agent="support"),
    Scope("ada", tenant="other", agent="support"),
    Scope("ada", agent="support"),
    Scope("ada", tenant="acme", agent="sales"),
    Scope("ada", tenant="acme"),
)


@pytest.mark.parametrize("scope", FOREIGN, ids=str)
@pytest.mark.parametrize("lean", [False, True], ids=["with records", "fetched"])
async def test_a_foreign_record_is_never_returned(
    workers: WorkerThreads, scope: Scope, lean: bool
) -> None:
    """Of another user, tenant or agent: the whole answer is refused, and the error is silent."""
    foreign = await _indexed(workers, make_record("r0", "the secret green tea", scope=scope))
    backend: WrappedBackend = LyingBackend(InMemoryBackend(), foreign)
    await _fill(workers, backend.inner)
    if lean:
        backend = Lean(backend)
    with pytest.raises(IsolationError, match="nothing is returned") as caught:
        await _ask(workers, backend)
    assert "secret" not in str(caught.value)
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize("lean", [False, True], ids=["with records", "fetched"])
async def test_a_record_beyond_its_time_is_never_returned(
    workers: WorkerThreads, lean: bool
) -> None:
    """A backend that forgets about expiry is refused too."""
    stale = await _indexed(
        workers, make_record("r0", TEXTS[0], scope=ADA, expires_at=NOW - timedelta(1))
    )
    backend: WrappedBackend = LyingBackend(InMemoryBackend(), stale)
    if lean:
        backend = Lean(backend)
    with pytest.raises(IsolationError):
        await _ask(workers, backend)


async def test_only_the_session_means_only_the_session(workers: WorkerThreads) -> None:
    """A record of another session is foreign where only this one is asked for."""
    other = await _indexed(workers, make_record("r0", TEXTS[0], scope=replace(ADA, session="s2")))
    backend = LyingBackend(InMemoryBackend(), other)
    assert len(await _ask(workers, backend)) == 1
    with pytest.raises(IsolationError):
        await _ask(workers, backend, reach=Reach.point(ADA, now=NOW, only_session=True))


class Changing(Lean):
    """Something happens to the store between finding candidates and reading them."""

    def __init__(self, *after: IndexedRecord, deleted: Sequence[str] = ()) -> None:
        super().__init__(InMemoryBackend())
        self.after = after
        self.deleted = deleted

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        await self.inner.delete(self.deleted, reach=reach)
        for item in self.after:
            await self.inner.upsert([item], scope=item.record.scope)
        return await self.inner.fetch(record_ids, reach=reach, vectors=vectors)


async def test_what_is_deleted_meanwhile_is_left_out(workers: WorkerThreads) -> None:
    """The rest of the answer is as it was."""
    backend = Changing(deleted=["r0"])
    await _fill(workers, backend.inner)
    found = await _ask(workers, backend)
    assert {match.record.id for match in found} == {"r1", "r2"}


async def test_what_no_longer_meets_the_conditions_is_left_out(workers: WorkerThreads) -> None:
    """Moved to another namespace or changed under a filter: it is no answer any more."""
    moved = make_record("r0", TEXTS[0], scope=ADA, namespace="/other/", version=2)
    retagged = make_record("r1", TEXTS[1], scope=ADA, namespace="/a/", tags=("new",), version=2)
    kept = make_record("r2", TEXTS[2], scope=ADA, namespace="/a/", tags=("old",))
    backend = Changing(*await _indexed(workers, moved, retagged))
    before = [replace(each, namespace="/a/", tags=("old",)) for each in (moved, retagged, kept)]
    await _fill(workers, backend.inner, *before)
    found = await _ask(workers, backend, namespace="/a/", condition=Filter.eq("@tags", "old"))
    assert [match.record.id for match in found] == ["r2"]


LONG = " ".join(
    [*(f"Sentence {n} is about the weather and nothing else at all." for n in range(20)),
     "The diamonds are hidden under the old oak.",
     *(f"Sentence {n} is about the traffic and nothing else at all." for n in range(20))]
)  # fmt: skip


@pytest.mark.parametrize("wrap", [WrappedBackend, Lean])
async def test_the_passage_is_the_window_that_answers(
    workers: WorkerThreads, wrap: type[WrappedBackend]
) -> None:
    """Of a long text the match shows the part that holds the answer, as it stands in the text."""
    backend = wrap(InMemoryBackend())
    await _fill(workers, backend, make_record("long", LONG, scope=ADA))
    for mode in ("hybrid", "vector", "text"):
        [match] = await _ask(workers, backend, "where are the diamonds hidden", mode=mode)
        assert "diamonds are hidden under the old oak" in match.passage
        assert match.passage in match.record.text
        # A window and the sentences around it, whole ones on both sides.
        assert 200 < len(match.passage) <= 400
        assert match.passage.startswith("Sentence ")
        assert match.passage.endswith("nothing else at all.")
        assert "weather" in match.passage.partition("diamonds")[0]
        assert match.passage.partition("diamonds")[2].count("traffic") > 1


async def test_a_text_that_was_shortened_meanwhile_has_a_passage(workers: WorkerThreads) -> None:
    """The old window does not exist any more: then the new text is the passage."""
    short = make_record("long", "Moved to the bank.", scope=ADA, version=2)
    backend = Changing(*await _indexed(workers, short))
    await _fill(workers, backend.inner, make_record("long", LONG, scope=ADA))
    [match] = await _ask(workers, backend, "where are the diamonds hidden")
    assert match.passage == match.record.text == "Moved to the bank."


async def test_subtrees_keep_their_own_limits(workers: WorkerThreads) -> None:
    """Each subtree answers with as many as it may; a record in two of them answers once."""
    backend = InMemoryBackend()
    records = [
        make_record(f"{path}{n}", f"green tea number {n}", scope=ADA, namespace=f"/{path}/")
        for path in ("a", "b", "c")
        for n in range(5)
    ]
    await _fill(workers, backend, *records)

    async def ask(*namespaces: NamespaceQuery, limit: int = 100) -> list[str]:
        options = RetrievalOptions(namespaces=namespaces)
        found = await _ask(workers, backend, "green tea", options=options, limit=limit)
        scores = [match.score for match in found]
        assert scores == sorted(scores, reverse=True)
        return [match.record.id for match in found]

    two = await ask(NamespaceQuery(path="/a/", limit=2), NamespaceQuery(path="/b/", limit=3))
    assert sorted(each[0] for each in two) == ["a", "a", "b", "b", "b"]
    both = await ask(NamespaceQuery(path="/a/", limit=5), NamespaceQuery(path="/", limit=15))
    assert len(both) == len(set(both)) == 15
    assert len(await ask(NamespaceQuery(path="/a/"), NamespaceQuery(path="/b/"), limit=4)) == 4
    assert len(await ask(NamespaceQuery(path="/a/", limit=5), limit=4)) == 4
    near = NamespaceQuery(path="/a/", limit=5, min_similarity=1.0)
    assert [each[0] for each in await ask(near, NamespaceQuery(path="/c/", limit=1))] == ["c"]


async def test_one_id_of_two_agents_is_two_matches(workers: WorkerThreads) -> None:
    """The supervisor's view tells records of one id apart, fetched or not."""
    for backend in (WrappedBackend(InMemoryBackend()), Lean(InMemoryBackend())):
        scopes = [replace(ADA, agent=agent) for agent in (None, "a", "b")]
        records = [
            make_record("same", f"green tea of {scope.agent}", scope=scope) for scope in scopes
        ]
        await _fill(workers, backend, *records)
        reach = Reach.point(ADA, now=NOW, include_agents=True)
        found = await _ask(workers, backend, "green tea", reach=reach)
        assert sorted(match.record.text for match in found) == [
            "green tea of None",
            "green tea of a",
            "green tea of b",
        ]


async def test_an_empty_store_answers_nothing(workers: WorkerThreads) -> None:
    """Empty means empty, in every mode."""
    for mode in ("hybrid", "vector", "text"):
        assert await _ask(workers, InMemoryBackend(), mode=mode) == []
