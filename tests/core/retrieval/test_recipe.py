"""Ranking is one sum: within its range, explained to the last part, the same every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.retrieval.test_features import QUESTIONS, VOCABULARY, columns, rows
from memlane.protocols import Candidates, Vector
from memlane.retrieval.features import (
    date_fit,
    only_asks,
    owner_fit,
    previous_evidence,
    records_of,
    session_evidence,
    tells_when,
)
from memlane.retrieval.question import Question, read_question
from memlane.retrieval.recipe import Ranked, _best, period_of, rank, weights_for
from memlane.types import RetrievalMode

QUICK = settings(deadline=None, max_examples=80)
MODES = st.sampled_from(["hybrid", "vector", "text"])
NAN = float("nan")


def _ask(text: str) -> Question:
    return read_question(text, actors=["Ada", "Eve", "Bob"])


def _rank(
    candidates: Candidates,
    text: str = "green tea",
    mode: RetrievalMode = "hybrid",
    **options: Any,
) -> Ranked:
    bounds = {"limit": 100, **options}
    return rank(candidates, _ask(text), weights=weights_for(mode), **bounds)


def _ids(candidates: Candidates, ranked: Ranked) -> list[str]:
    return [candidates.record_ids[row] for row in ranked.rows]


@QUICK
@given(rows, st.sampled_from(QUESTIONS), MODES, st.integers(1, 20))
def test_scores_are_sorted_shares_of_one(
    records: list[Any], text: str, mode: RetrievalMode, limit: int
) -> None:
    """Each record once, best first, 0..1, at most `limit`, and the reasons add up to the score."""
    candidates = columns(records)
    ranked = _rank(candidates, text, mode, limit=limit)
    ids = _ids(candidates, ranked)
    assert len(ids) == len(set(ids)) <= limit
    if mode != "text":
        assert len(ids) == min(limit, len(records))
    assert np.isfinite(ranked.scores).all()
    assert ((ranked.scores >= 0) & (ranked.scores <= 1)).all()
    assert (np.diff(ranked.scores) <= 0).all()
    assert ((ranked.similarity >= 0) & (ranked.similarity <= 1)).all()
    total = np.sum([*ranked.features.values()], axis=0)
    assert np.clip(total, 0, 1) == pytest.approx(ranked.scores, abs=1e-6)
    doubt = ranked.features.get("asking", np.zeros(1))
    assert (doubt <= 0).all()
    assert all((share >= 0).all() for name, share in ranked.features.items() if name != "asking")
    assert (candidates.order[ranked.rows] == candidates.order[ranked.first]).all()


@QUICK
@given(rows, st.sampled_from(QUESTIONS), MODES)
def test_the_same_question_has_the_same_answer(
    records: list[Any], text: str, mode: RetrievalMode
) -> None:
    """Twice the same to the last bit, and a smaller limit is the beginning of a larger one."""
    candidates = columns(records)
    first, second = (_rank(candidates, text, mode) for _ in range(2))
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.scores, second.scores)
    for limit in (1, 3):
        fewer = _rank(candidates, text, mode, limit=limit)
        assert np.array_equal(fewer.rows, first.rows[:limit])


@QUICK
@given(rows, st.sampled_from(QUESTIONS), st.floats(0, 1))
def test_a_bound_on_similarity_holds(records: list[Any], text: str, bound: float) -> None:
    """What is further away is left out, and the order of the rest is what it was."""
    candidates = columns(records)
    everything = _rank(candidates, text)
    some = _rank(candidates, text, min_similarity=bound)
    near = everything.similarity >= np.float32(bound)
    assert np.array_equal(some.rows, everything.rows[near])


@QUICK
@given(rows, st.sampled_from(QUESTIONS))
def test_without_similarity_a_word_is_needed(records: list[Any], text: str) -> None:
    """A search by words returns exactly the records that hold one of them."""
    candidates = columns(records)
    found = set(_ids(candidates, _rank(candidates, text, "text")))
    wanted = set(_ask(text).terms.tolist())
    holding = {
        candidates.record_ids[row]
        for row in range(len(candidates))
        if wanted
        & set(candidates.terms[candidates.offsets[row] : candidates.offsets[row + 1]].tolist())
    }
    assert found == holding


@QUICK
@given(rows)
def test_pure_vector_search_is_the_models_own_order(records: list[Any]) -> None:
    """The score is the similarity: no word, name, date or session counts."""
    candidates = columns(records)
    ranked = _rank(candidates, "When did Ada drink tea in 2023?", "vector")
    assert ranked.scores == pytest.approx(ranked.similarity, abs=1e-7)
    assert set(ranked.features) == {"similarity", "words"}
    assert not ranked.features["words"].any()


@QUICK
@given(rows, st.sampled_from([*QUESTIONS, "tea of Ada on 2 January 2020"]), MODES)
def test_what_is_left_out_would_add_nothing(
    records: list[Any], text: str, mode: RetrievalMode
) -> None:
    """Scores are to the last bit those of all reasons, whether or not they tell anything apart."""
    candidates, weights, question = columns(records), weights_for(mode), _ask(text)
    found = records_of(candidates, question, word_weight=weights.words)
    sessions = candidates.sessions[found.first]
    occurred = candidates.occurred[found.first]
    near, words = weights.similarity * found.similarity, weights.words * found.words
    both = max(weights.similarity + weights.words, 1e-9)
    evidence: Vector = ((near + words) / both).astype(np.float32)
    named = np.array([["Ada", "Eve", "Bob"].index(name) for name in question.named], np.int32)
    nothing = np.zeros_like(near)
    period = period_of(question, occurred)
    total: Any = near + words
    for weight, share in (
        (weights.owner, owner_fit(candidates.actors[found.first], named)),
        (weights.previous, previous_evidence(evidence, sessions)),
        (weights.session, session_evidence(evidence, sessions)),
        (weights.date, date_fit(occurred, period) if period else nothing),
        (weights.when, tells_when(candidates, found) if question.when else nothing),
    ):
        total = total + weight * share
    asking = 0 if question.asked else weights.asking
    total = total - asking * only_asks(candidates, found) * total
    scores = dict(zip(found.rows.tolist(), np.clip(total / weights.total, 0, 1), strict=True))
    ranked = _rank(candidates, text, mode)
    assert ranked.scores.tolist() == [scores[row] for row in ranked.rows.tolist()]


def test_nothing_found_is_an_empty_answer() -> None:
    """No rows, or rows that say nothing, are no error in any mode."""
    silent = columns([(-1, -1, [(NAN, [])], 0)] * 3)
    for mode in ("hybrid", "vector", "text"):
        empty = _rank(columns([]), mode=mode)
        assert len(empty.rows) == len(empty.scores) == 0
        told = _rank(silent, mode=mode)
        assert not told.scores.any()
        assert len(told.rows) == (0 if mode == "text" else 3)


@QUICK
@given(st.integers(1, 900), st.integers(1, 300), st.integers(1, 2), st.integers(0, 99))
def test_the_best_are_those_of_sorting_all(count: int, limit: int, step: int, seed: int) -> None:
    """However many there are; of equals the one stored last."""
    total = np.random.default_rng(seed).integers(0, 40, count).astype(np.float32)
    stored = np.arange(count)[::-1].copy()
    chosen = np.arange(count)[::step]
    expected = sorted(chosen.tolist(), key=lambda row: (-total[row], -stored[row]))[:limit]
    assert _best(total, stored, chosen, limit).tolist() == expected


def test_equals_come_newest_first() -> None:
    """Where nothing tells two records apart, what was stored last is first."""
    candidates = columns([(-1, -1, [(0.5, [3])], 0)] * 4)
    for mode in ("hybrid", "vector", "text"):
        ranked = _rank(candidates, mode=mode)
        assert _ids(candidates, ranked) == ["r3", "r2", "r1", "r0"]


@pytest.mark.parametrize(
    ("text", "better", "worse", "reason"),
    [
        ("green tea", (-1, -1, [(0.2, [])], 0), (-1, -1, [(0.4, [])], 0), "similarity"),
        ("green tea", (-1, -1, [(0.4, [2, 3])], 0), (-1, -1, [(0.4, [7])], 0), "words"),
        ("tea of Ada", (-1, 0, [(0.4, [])], 0), (-1, 1, [(0.4, [])], 0), "owner"),
        ("on 2 January 2020", (-1, -1, [(0.4, [])], 1500), (-1, -1, [(0.4, [])], 1400), "date"),
        ("When was it?", (-1, -1, [(0.4, [4])], 0), (-1, -1, [(0.4, [7])], 0), "when"),
    ],
)
def test_each_reason_decides_where_all_else_is_equal(
    text: str, better: Any, worse: Any, reason: str
) -> None:
    """The better record is first whichever was stored first, and the reason is named."""
    for records in ([better, worse], [worse, better]):
        candidates = columns(records)
        ranked = _rank(candidates, text)
        assert ranked.rows[0] == records.index(better)
        assert ranked.features[reason][0] > ranked.features[reason][1]


def test_a_reply_is_found_by_the_question_before_it() -> None:
    """What was said just before in the same session counts, in another session it does not."""
    asked, reply = [(0.1, [2, 3])], [(0.7, [7])]
    same = columns([(0, -1, asked, 0), (0, -1, reply, 0), (1, -1, reply, 0)])
    ranked = _rank(same)
    assert _ids(same, ranked) == ["r0", "r1", "r2"]
    assert ranked.features["previous"].tolist()[2] == 0
    assert ranked.features["previous"].tolist()[1] > 0


def test_a_person_called_like_a_month_does_not_date_the_question() -> None:
    """Where April has spoken, "What does April like?" prefers her words, not that month's."""
    april: Any = (-1, 0, [(0.5, [])], 0)
    spring: Any = (-1, 1, [(0.5, [])], 60 * 24 * 100)  # in April 2020
    candidates = replace(columns([april, spring]), actor_names=["April", "Eve"])
    question = read_question("What does April like?", actors=["April", "Eve"])
    ranked = rank(candidates, question, limit=2, weights=weights_for("hybrid"))
    assert "date" not in ranked.features
    assert _ids(candidates, ranked) == ["r0", "r1"]


@pytest.mark.parametrize("occurred", [-1_061_856_000, 4_197_000_000])
def test_records_at_the_ends_of_time_can_be_ranked(occurred: int) -> None:
    """A record dated in the year 1 or 9999 does not break a question that names a month."""
    candidates = columns([(-1, -1, [(0.5, [3])], occurred), (-1, -1, [(0.5, [3])], 0)])
    assert len(_rank(candidates, "What happened in December?").rows) == 2


def test_a_bare_question_ranks_behind_what_answers() -> None:
    """It has the words and is nearer; but who asks what was asked gets it first."""
    tea, asks = 3, len(VOCABULARY) - 1
    candidates = columns([(0, 0, [(0.3, [tea, asks])], 0), (1, 0, [(0.4, [tea])], 0)])
    answers: dict[RetrievalMode, list[str]] = {
        "hybrid": ["r1", "r0"],
        "text": ["r1", "r0"],
        "vector": ["r0", "r1"],
    }
    for mode, expected in answers.items():
        assert _ids(candidates, _rank(candidates, "green tea", mode)) == expected
    ranked = _rank(candidates, "who asked about tea?")
    assert _ids(candidates, ranked) == ["r0", "r1"]
    assert "asking" not in ranked.features
