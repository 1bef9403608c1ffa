"""Each reason is between zero and one for any columns, and none crosses a session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.lexical import terms
from memlane.marks import ASKS
from memlane.protocols import Candidates
from memlane.retrieval import features
from memlane.retrieval.features import (
    date_fit,
    only_asks,
    owner_fit,
    previous_evidence,
    records_of,
    session_evidence,
    tells_when,
)
from memlane.retrieval.question import read_question

QUICK = settings(deadline=None, max_examples=100)
QUESTIONS = ("When did Ada drink tea?", "tea", "what is it", "???")
VOCABULARY = np.append(terms("ada drank green tea yesterday in monday morning cat dog"), ASKS)

rows = st.lists(
    st.tuples(
        st.integers(-1, 3),  # session
        st.integers(-1, 2),  # actor
        st.lists(  # parts: distance and words
            st.tuples(
                st.one_of(st.floats(0, 2, width=32), st.just(float("nan"))),
                st.lists(st.integers(0, len(VOCABULARY) - 1), max_size=6),
            ),
            min_size=1,
            max_size=3,
        ),
        st.integers(-1_061_000_000, 4_196_000_000),  # occurred, from the year 1 to 9999
    ),
    max_size=9,
)


def columns(records: list[Any]) -> Candidates:
    """Return candidates from records as lists of parts."""
    flat = [
        (at, session, actor, number, distance, words, occurred)
        for at, (session, actor, parts, occurred) in enumerate(records)
        for number, (distance, words) in enumerate(parts)
    ]
    spoken = [VOCABULARY[words] for *_, words, _ in flat if words]
    return Candidates(
        record_ids=[f"r{row[0]}" for row in flat],
        agents=[None] * len(flat),
        parts=np.array([row[3] for row in flat], dtype=np.int32),
        spans=np.zeros((len(flat), 2), dtype=np.int64),
        distances=np.array([row[4] for row in flat], dtype=np.float32),
        terms=np.concatenate(spoken) if spoken else np.zeros(0, dtype=np.uint32),
        offsets=np.append(0, np.cumsum([len(row[5]) for row in flat])).astype(np.int64),
        actors=np.array([row[2] for row in flat], dtype=np.int32),
        actor_names=["Ada", "Eve", "Bob"],
        sessions=np.array([row[1] for row in flat], dtype=np.int32),
        order=np.array([row[0] for row in flat], dtype=np.int64),
        occurred=np.array([row[6] for row in flat], dtype=np.int64),
        complete=True,
    )


def _share(values: np.ndarray, count: int) -> None:
    assert values.shape == (count,)
    assert np.isfinite(values).all()
    assert ((values >= 0) & (values <= 1 + 1e-6)).all()


@QUICK
@given(rows, st.sampled_from(QUESTIONS), st.floats(0, 2))
def test_every_reason_lies_between_zero_and_one(
    records: list[Any], text: str, word_weight: float
) -> None:
    """For arbitrary columns, NaN distances and no words among them."""
    candidates = columns(records)
    question = read_question(text, actors=candidates.actor_names)
    found = records_of(candidates, question, word_weight=word_weight)
    count = len(records)
    assert len(found) == count
    _share(found.similarity, count)
    _share(found.words, count)
    sessions = candidates.sessions[found.first]
    evidence = ((found.similarity + found.words) / 2).astype(np.float32)
    _share(previous_evidence(evidence, sessions), count)
    _share(session_evidence(evidence, sessions), count)
    _share(owner_fit(candidates.actors[found.first], np.array([0], np.int32)), count)
    _share(date_fit(candidates.occurred[found.first], (0, 10_000)), count)
    _share(tells_when(candidates, found), count)


@QUICK
@given(rows, st.floats(0, 2))
def test_a_records_best_part_speaks_for_it(records: list[Any], word_weight: float) -> None:
    """One row for each record: of its own, with the most evidence, and its best of each kind."""
    candidates = columns(records)
    question = read_question("tea yesterday", actors=[])
    found = records_of(candidates, question, word_weight=word_weight)
    alone = records_of(  # each row as a record of its own has its own evidence
        _split(candidates), question, word_weight=word_weight
    )
    evidence = alone.similarity + word_weight * alone.words
    for place in range(len(found)):
        first = int(found.first[place])
        mine = np.flatnonzero(candidates.order == candidates.order[first])
        assert first == mine[0]
        assert found.rows[place] in mine
        assert found.similarity[place] == alone.similarity[mine].max()
        assert evidence[found.rows[place]] >= evidence[mine].max() - 1e-6
    assert candidates.order[found.first].tolist() == sorted(set(candidates.order.tolist()))


def _split(candidates: Candidates) -> Candidates:
    fields = {name: getattr(candidates, name) for name in Candidates.__dataclass_fields__}
    return Candidates(**{**fields, "order": np.arange(len(candidates), dtype=np.int64)})


def test_windows_collapse_to_the_one_that_answers() -> None:
    """A long text is found by its third window, not by the vector of the whole."""
    long = (-1, -1, [(0.9, [0, 1, 2, 3]), (0.8, [0]), (0.2, [3]), (0.7, [4])], 0)
    short = (-1, -1, [(0.5, [5])], 0)
    candidates = columns([short, long])
    found = records_of(candidates, read_question("tea", actors=[]), word_weight=0.8)
    assert found.rows.tolist() == [0, 3]
    assert found.first.tolist() == [0, 1]
    assert found.similarity == pytest.approx([0.5, 0.8])
    assert found.words[1] > found.words[0] == 0


evidence_by_session = st.lists(
    st.tuples(st.integers(-1, 4), st.floats(0, 1, width=32)), min_size=1, max_size=30
)


@QUICK
@given(evidence_by_session)
def test_previous_evidence_is_that_of_the_row_before_in_the_session(
    pairs: list[tuple[int, float]],
) -> None:
    """The first of a session has none, and rows of no session never have any."""
    sessions = np.array([session for session, _ in pairs], dtype=np.int32)
    evidence = np.array([value for _, value in pairs], dtype=np.float32)
    last: dict[int, float] = {}
    expected: list[float] = []
    for session, value in pairs:
        expected.append(last.get(session, 0.0) if session >= 0 else 0.0)
        last[session] = value
    assert previous_evidence(evidence, sessions).tolist() == expected


@QUICK
@given(evidence_by_session)
def test_session_evidence_is_the_mean_of_the_sessions_three_best(
    pairs: list[tuple[int, float]],
) -> None:
    """A session of one or two counts the missing voices as silent; no session has none."""
    sessions = np.array([session for session, _ in pairs], dtype=np.int32)
    evidence = np.array([value for _, value in pairs], dtype=np.float32)
    expected = [
        0.0
        if session < 0
        else sum(sorted((v for s, v in pairs if s == session), reverse=True)[:3]) / 3
        for session, _ in pairs
    ]
    for way in (session_evidence, features._evidence_of_few, features._evidence_of_many):
        assert way(evidence, sessions) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(
        features._evidence_of_few(evidence, sessions),
        features._evidence_of_many(evidence, sessions),
    )


@QUICK
@given(evidence_by_session, st.integers(0, 4), st.floats(0, 1, width=32))
def test_no_evidence_crosses_a_session(
    pairs: list[tuple[int, float]], changed: int, value: float
) -> None:
    """Whatever is said in one session, the others' evidence is exactly the same."""
    sessions = np.array([session for session, _ in pairs], dtype=np.int32)
    before = np.array([each for _, each in pairs], dtype=np.float32)
    after = np.where(sessions == changed, np.float32(value), before)
    others = sessions != changed
    assert np.array_equal(
        previous_evidence(before, sessions)[others], previous_evidence(after, sessions)[others]
    )
    assert session_evidence(before, sessions)[others] == pytest.approx(
        session_evidence(after, sessions)[others], abs=1e-9
    )


def test_session_evidence_is_exact_in_a_large_store() -> None:
    """The hundred-thousandth record's session has the same mean as if it were alone."""
    rng = np.random.default_rng(7)
    evidence = rng.random(100_000, dtype=np.float32)
    sessions = np.repeat(np.arange(10_000, dtype=np.int32), 10)
    best = np.sort(evidence.reshape(-1, 10).astype(np.float64), axis=1)[:, -3:].mean(axis=1)
    found = session_evidence(evidence, sessions)
    assert np.abs(found - np.repeat(best, 10)).max() < 1e-6
    assert found.max() <= 1


def test_owners_dates_and_times_are_yes_or_no() -> None:
    """Said by one who is named; happened in the period, its end left out; holds a word of time."""
    actors = np.array([0, 1, -1, 2], dtype=np.int32)
    assert owner_fit(actors, np.array([0, 2], np.int32)).tolist() == [1, 0, 0, 1]
    occurred = np.array([9, 10, 19, 20], dtype=np.int64)
    assert date_fit(occurred, (10, 20)).tolist() == [0, 1, 1, 0]
    candidates = columns([(-1, -1, [(0.5, [4])], 0), (-1, -1, [(0.5, [2])], 0)])
    found = records_of(candidates, read_question("When was it?", actors=[]), word_weight=1)
    assert tells_when(candidates, found).tolist() == [1, 0]


def test_nothing_found_has_no_reasons() -> None:
    """Empty columns give empty reasons."""
    candidates = columns([])
    found = records_of(candidates, read_question("tea", actors=[]), word_weight=1)
    assert len(found) == 0
    assert tells_when(candidates, found).shape == (0,)
    none, nobody = np.zeros(0, np.float32), np.zeros(0, np.int32)
    assert previous_evidence(none, nobody).shape == (0,)
    assert session_evidence(none, nobody).shape == (0,)


@QUICK
@given(rows)
def test_a_record_only_asks_when_its_whole_text_does(records: list[Any]) -> None:
    """A window that only asks says nothing of its record; the first part is the whole text."""
    candidates = columns(records)
    found = only_asks(
        candidates, records_of(candidates, read_question("tea", actors=()), word_weight=1)
    )
    asks = len(VOCABULARY) - 1
    assert found.tolist() == [float(asks in parts[0][1]) for _, _, parts, _ in records]


def test_windows_alone_do_not_ask() -> None:
    """Where a backend found windows and not the whole text, nothing is known of the text."""
    asks = len(VOCABULARY) - 1
    candidates = columns([(0, 0, [(0.1, [1, asks]), (0.2, [asks])], 0)])
    windows = replace(candidates, parts=candidates.parts + 1)
    question = read_question("tea", actors=())
    for rows_, expected in ((candidates, 1.0), (windows, 0.0)):
        assert only_asks(rows_, records_of(rows_, question, word_weight=1)).tolist() == [expected]
