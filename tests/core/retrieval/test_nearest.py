"""Few rows ranked without numpy: the same answer as the recipe's, whatever the rows are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.calibration import Calibration
from memlane.columns import candidates_of
from memlane.embeddings import Embeddings
from memlane.errors import LoopError
from memlane.local import InMemoryBackend
from memlane.protocols import Candidates, IndexedRecord
from memlane.retrieval import Retriever
from memlane.retrieval.nearest import are_few, nearest
from memlane.retrieval.question import read_question, unread_question
from memlane.retrieval.recipe import Place, rank, weights_for
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope
from memlane.testing import HashingEmbedder
from memlane.testing.samples import NOW, indexed, make_record, query_for, unit
from memlane.types import NamespaceQuery, RetrievalMode

ADA = Scope("ada", tenant="acme")
SCALE = Calibration(unrelated=0.1, paraphrase=0.8)
_MARKED = (0.0, 0.25, 0.3, 0.5, 0.5000001, 1.0, 1.5, 2.0, float("nan"))
_DISTANCES = st.sampled_from(_MARKED) | st.floats(0, 2, width=32)


def _table(parts: list[int], distances: list[float]) -> Candidates:
    items = [
        indexed(make_record(f"r{n}", "some text", scope=ADA), *[unit(k) for k in range(count)])
        for n, count in enumerate(parts)
    ]
    found = candidates_of(items, query_for(unit(0)))
    return replace(found, distances=np.array(distances[: len(found)], dtype=np.float32))


def _by_recipe(
    table: Candidates, limit: int, least: float | None, scale: Calibration | None
) -> list[Place]:
    return rank(
        table,
        unread_question("anything"),
        limit=limit,
        weights=weights_for("vector"),
        min_similarity=least,
        calibration=scale,
    ).places()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(1, 4), max_size=8),
    st.lists(_DISTANCES, min_size=32, max_size=32),
    st.integers(1, 10),
    st.sampled_from([None, 0.0, 0.5, 0.7, 1.0]),
    st.sampled_from([None, SCALE]),
)
def test_it_is_the_recipe_in_vector_mode(
    parts: list[int],
    distances: list[float],
    limit: int,
    least: float | None,
    scale: Calibration | None,
) -> None:
    """Rows, order, ties, bounds, similarities, relevance and features are the same."""
    table = _table(parts, distances)
    mine = nearest(table, limit=limit, min_similarity=least, calibration=scale)
    theirs = _by_recipe(table, limit, least, scale)
    assert [place.row for place in mine] == [place.row for place in theirs]
    for one, other in zip(mine, theirs, strict=True):
        assert one.score == other.score
        assert one.similarity == other.similarity
        assert one.explain() == other.explain()
        assert (one.relevance is None) == (other.relevance is None)
        if one.relevance is not None:
            assert one.relevance == pytest.approx(other.relevance, abs=1e-6)


def test_a_bound_is_met_by_what_equals_it() -> None:
    """0.7 has no exact float32; what is stored as 0.7 is still within a bound of 0.7."""
    table = _table([1, 1], [1 - 0.7, 0.5])
    assert [place.row for place in nearest(table, limit=5, min_similarity=0.7)] == [0]
    assert [place.row for place in _by_recipe(table, 5, 0.7, None)] == [0]


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="aB ?.!,\t\né\u00a0", max_size=20).filter(lambda text: bool(text.strip())))
def test_an_unread_question_embeds_what_a_read_one_does(text: str) -> None:
    """Reading a question without known actors changes nothing of what is embedded."""
    unread = unread_question(text)
    assert unread.embedded == read_question(text, actors=()).embedded
    assert (unread.text, unread.named, len(unread.terms)) == (text, (), 0)


@pytest.mark.parametrize(
    ("rows", "terms", "few"),
    [(1, 0, True), (200, 20_000, True), (201, 0, False), (5, 20_001, False)],
)
def test_what_is_few(rows: int, terms: int, *, few: bool) -> None:
    """By rows, and by words: a few long texts are work as well."""
    table = replace(
        _table([1], [0.5]), record_ids=["r"] * rows, terms=np.zeros(terms, dtype=np.uint32)
    )
    assert are_few(table) is few


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
async def test_few_are_ranked_without_a_thread(mode: RetrievalMode) -> None:
    """A hop costs more than the ranking; many take it, so that no loop stands still for them."""
    workers = WorkerThreads("closed-in-test", 1)
    embeddings = Embeddings(HashingEmbedder(), workers=workers, cached_queries=4)
    backend = InMemoryBackend()
    text = "green tea"
    parts = (await embeddings.document_parts([text]))[0]
    space = HashingEmbedder().space.id
    records = [
        IndexedRecord(record=make_record(f"r{n}", text, scope=ADA, space=space), parts=parts)
        for n in range(201)
    ]
    workers.close()
    retriever = Retriever(backend, embeddings, workers)

    async def ask() -> int:
        found = await retriever.answer(
            text,
            reach=Reach.point(ADA, now=NOW),
            asked=[NamespaceQuery(path="/")],
            limit=10,
            mode=mode,
            condition=None,
        )
        return len(found)

    await backend.upsert(records[:200], scope=ADA)
    assert await ask() == 10
    await backend.upsert(records[200:], scope=ADA)
    with pytest.raises(LoopError, match="closed-in-test"):
        await ask()
