"""What near means differs by model: two medians, measured on a few facts, make it one scale."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memlane.calibration import FACTS, MEASURED, Calibration, calibrate, relevance
from memlane.errors import EmbeddingSpaceError
from memlane.lexical import terms
from memlane.local import MiniLMEmbedder
from memlane.protocols import EmbeddingSpace, Purpose, Vector
from memlane.testing import HashingEmbedder

QUICK = settings(deadline=None, max_examples=150)
USUAL = Calibration(unrelated=0.1, paraphrase=0.6)
pairs = st.tuples(st.floats(0, 0.8), st.floats(0.15, 1)).filter(
    lambda pair: pair[1] - pair[0] > 0.1
)
shares = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=2, max_side=9), elements=st.floats(0, 1, width=32)
)


class Meanings(HashingEmbedder):
    """Knows every fact: its texts share a direction, beside one that all texts share."""

    def __init__(
        self, *, base: float = 0.0, own: float = 1.0, length: float = 1.0, batch: int = 7
    ) -> None:
        dimensions = 1 + len(FACTS) * 4
        super().__init__(dimensions, max_batch=batch, max_chars=200)
        self._place = EmbeddingSpace(model="meanings", dimensions=dimensions, normalized=False)
        self._base, self._own, self._length = base, own, length
        self._known = {text: at for at, text in enumerate(chain(*FACTS))}
        self.asked: list[tuple[Purpose, int]] = []

    @property
    def space(self) -> EmbeddingSpace:
        return self._place

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        self.asked.append((purpose, len(inputs)))
        rows = np.zeros((len(inputs), self.space.dimensions), dtype=np.float32)
        for row, text in zip(rows, inputs, strict=True):
            at = self._known[text]
            row[0] = self._base**0.5
            row[1 + at // 3] = self._own**0.5
            row[1 + len(FACTS) + at] = max(0.0, 1 - self._base - self._own) ** 0.5
        return rows * np.float32(self._length)


@QUICK
@given(pairs, shares)
def test_calibrated_rises_from_unrelated_to_paraphrase(
    pair: tuple[float, float], near: np.ndarray
) -> None:
    """0 up to the one median, 1 from the other on, between them in proportion; shapes are kept."""
    known = Calibration(*pair)
    found = known.calibrated(near)
    assert found.dtype == np.float32
    assert found.shape == near.shape
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[near <= known.unrelated - 1e-6] == 0).all()
    assert (found[near >= known.paraphrase + 1e-6] == 1).all()
    order = np.argsort(near, axis=None)
    assert (np.diff(found.reshape(-1)[order]) >= 0).all()
    middle = known.similarity_at(0.5)
    assert middle == pytest.approx(sum(pair) / 2)
    assert float(known.calibrated(middle)) == pytest.approx(0.5, abs=1e-5)


def test_calibrated_takes_numbers_and_rows_without_a_vector() -> None:
    """One number gives one; NaN is near to nothing."""
    assert float(USUAL.calibrated(0.35)) == pytest.approx(0.5)
    assert USUAL.calibrated(np.array([np.nan, 1.0], dtype=np.float32)).tolist() == [0, 1]
    assert USUAL.calibrated(np.zeros(0, dtype=np.float32)).shape == (0,)


@pytest.mark.parametrize(
    ("unrelated", "paraphrase"),
    [(0.5, 0.5), (0.6, 0.1), (0.5, 0.59), (float("nan"), 0.6), (0.1, float("inf"))],
)
def test_medians_that_are_not_apart_are_refused(unrelated: float, paraphrase: float) -> None:
    """A scale without length would call everything relevant, or nothing."""
    with pytest.raises(EmbeddingSpaceError, match="tells no meanings apart") as caught:
        Calibration(unrelated, paraphrase)
    assert caught.value.operation == "calibrate"
    assert caught.value.remedy


async def test_calibrate_measures_the_two_medians() -> None:
    """Of vectors whose cosines are known: the base for all, base and own for the same fact."""
    found = await calibrate(Meanings(base=0.3, own=0.5))
    assert found.unrelated == pytest.approx(0.3, abs=1e-6)
    assert found.paraphrase == pytest.approx(0.8, abs=1e-6)


async def test_calibrate_looks_at_directions_alone() -> None:
    """A model whose vectors have any length is measured as one whose vectors have length one."""
    long = await calibrate(Meanings(base=0.3, own=0.5, length=900.0))
    short = await calibrate(Meanings(base=0.3, own=0.5))
    assert long.unrelated == pytest.approx(short.unrelated, abs=1e-6)
    assert long.paraphrase == pytest.approx(short.paraphrase, abs=1e-6)


async def test_calibrate_refuses_what_tells_nothing_apart() -> None:
    """A model that puts all texts into one place has no scale."""
    with pytest.raises(EmbeddingSpaceError, match="tells no meanings apart"):
        await calibrate(Meanings(base=0.95, own=0.04))


async def test_calibrate_keeps_the_bounds_of_the_embedder() -> None:
    """Batches no larger than it takes, facts as documents, what is asked as queries."""
    embedder = Meanings(own=0.9, batch=7)
    await calibrate(embedder)
    assert max(count for _, count in embedder.asked) == 7
    asked = {"document": 0, "query": 0}
    for purpose, count in embedder.asked:
        asked[purpose] += count
    assert asked == {"document": 40, "query": 80}


async def test_calibrate_refuses_vectors_of_another_shape() -> None:
    """A model that answers what was not asked is named, not measured."""

    class Wrong(HashingEmbedder):
        async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
            return (await super().embed(inputs, purpose=purpose))[:, :-1]

    with pytest.raises(EmbeddingSpaceError, match="shape"):
        await calibrate(Wrong(16))


async def test_calibrate_is_the_same_each_time() -> None:
    """The facts are fixed: two measurements of one model are equal."""
    assert await calibrate(HashingEmbedder(256)) == await calibrate(HashingEmbedder(256))


async def test_the_built_in_model_is_where_its_record_says() -> None:
    """What is published is what is measured here; int8 kernels differ between processors."""
    embedder = MiniLMEmbedder(threads=1)
    found = await calibrate(embedder)
    published = MEASURED[embedder.space.id]
    await embedder.aclose()
    assert found.unrelated == pytest.approx(published.unrelated, abs=0.02)
    assert found.paraphrase == pytest.approx(published.paraphrase, abs=0.02)


def test_facts_are_of_different_matters_and_paraphrased_freely() -> None:
    """No text occurs twice, and a paraphrase has few words of its fact."""
    texts = list(chain(*FACTS))
    assert len(FACTS) == 40
    assert len(set(texts)) == len(texts)
    shared: list[float] = []
    for fact, question, paraphrase in FACTS:
        assert question.endswith("?")
        words = set(terms(fact).tolist())
        shared.append(len(words & set(terms(paraphrase).tolist())) / len(words))
    assert float(np.mean(shared)) < 0.25


@QUICK
@given(pairs, shares, st.floats(0, 1))
def test_relevance_is_meaning_or_words(
    pair: tuple[float, float], near: np.ndarray, words: float
) -> None:
    """Either alone is enough, both together are more, and neither is nothing."""
    known = Calibration(*pair)
    found = relevance(near, words, known)
    meaning = known.calibrated(near)
    assert found.dtype == np.float32
    assert found.shape == near.shape
    assert ((found >= 0) & (found <= 1)).all()
    assert (found >= np.maximum(meaning, np.float32(words)) - 1e-6).all()
    assert (found <= meaning + words + 1e-6).all()
    assert relevance(near, 0.0, known) == pytest.approx(meaning, abs=1e-6)
    assert relevance(near, 1.0, known) == pytest.approx(1.0)


def test_relevance_of_columns() -> None:
    """Row by row; a row without a vector has its words."""
    near = np.array([0.1, 0.35, 0.6, np.nan], dtype=np.float32)
    words = np.array([0.0, 0.5, 0.2, 0.4], dtype=np.float32)
    assert relevance(near, words, USUAL).tolist() == pytest.approx([0, 0.75, 1, 0.4])
