"""Why a memory answers a question: one small pure function for each reason, each 0..1 a record."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memlane.lexical import coverage
from memlane.marks import ASKS
from memlane.protocols import Candidates, Codes, Integers, Vector
from memlane.retrieval.dates import time_terms
from memlane.retrieval.question import Question
from memlane.scoring import similarities

__all__ = (
    "Records",
    "date_fit",
    "only_asks",
    "owner_fit",
    "previous_evidence",
    "records_of",
    "session_evidence",
    "tells_when",
)

_SESSION_VOICES = 3
_FEW = 256  # records


@dataclass(frozen=True, slots=True)
class Records:
    """Candidates with the windows of each record collapsed into its best part.

    Args:
        rows: int64 (m,): the row of the best part of each record.
        first: int64 (m,): the first row of each record.
        similarity: float32 (m,): of the best part.
        words: float32 (m,): how much of the question's words the record covers.
    """

    rows: Integers
    first: Integers
    similarity: Vector
    words: Vector

    def __len__(self) -> int:
        return len(self.rows)


def records_of(candidates: Candidates, question: Question, *, word_weight: float) -> Records:
    """Collapse rows into records: the part with the most evidence speaks for its record.

    A long text as one vector is near to nothing; its windows are near to what they say.
    """
    near = similarities(candidates.distances)
    whole = candidates.parts == 0
    every_whole = bool(whole.all())
    words = coverage(
        candidates.terms,
        candidates.offsets,
        question.terms,
        statistics_rows=None if every_whole else whole,
    )
    count = len(candidates)
    if every_whole:
        first = np.arange(count)
        return Records(first, first, near, words)
    begins = np.empty(count, dtype=np.bool_)
    begins[0] = True
    np.not_equal(candidates.order[1:], candidates.order[:-1], out=begins[1:])
    first = np.flatnonzero(begins)
    evidence = near + word_weight * words
    group = np.cumsum(begins) - 1
    # Sorting by group, then evidence, puts each record's best part last in its group.
    ranked = np.lexsort((evidence, group))
    last = np.append(first[1:], count) - 1
    best = ranked[last]
    return Records(
        best,
        first,
        np.maximum.reduceat(near, first),
        np.maximum.reduceat(words, first),
    )


def owner_fit(actors: Codes, named: npt.NDArray[np.int32]) -> Vector:
    """Return 1 for what somebody the question names said.

    Who is asked about is mostly who said it, but questions name the wrong person too: it must
    stay one reason among others.
    """
    return np.isin(actors, named).astype(np.float32)


def previous_evidence(evidence: Vector, sessions: Codes) -> Vector:
    """Return the evidence of what was said just before in the same session.

    A short reply holds the fact and the question before it holds the words to find it by.
    """
    before = np.zeros_like(evidence)
    if len(evidence) < 2:  # noqa: PLR2004 - a pair
        return before
    in_session = np.flatnonzero(sessions >= 0)
    if not len(in_session):
        return before
    ordered = in_session[np.argsort(sessions[in_session], kind="stable")]
    same = sessions[ordered[1:]] == sessions[ordered[:-1]]
    before[ordered[1:][same]] = evidence[ordered[:-1][same]]
    return before


def session_evidence(evidence: Vector, sessions: Codes) -> Vector:
    """Return the mean evidence of the three best records of each record's session.

    Where several messages of one session speak of the matter, its other messages likely do.
    """
    if len(evidence) <= _FEW:
        return _evidence_of_few(evidence, sessions)
    return _evidence_of_many(evidence, sessions)


def _evidence_of_few(evidence: Vector, sessions: Codes) -> Vector:
    # Twenty numpy calls cost as much as a hundred records do here.
    values: dict[int, list[float]] = {}
    codes = sessions.tolist()
    for code, value in zip(codes, evidence.tolist(), strict=True):
        if value > 0.0:
            values.setdefault(code, []).append(value)
    means = {
        code: sum(heapq.nlargest(_SESSION_VOICES, mine)) / _SESSION_VOICES
        for code, mine in values.items()
        if code >= 0
    }
    return np.array([means.get(code, 0.0) for code in codes], dtype=np.float32)


def _evidence_of_many(evidence: Vector, sessions: Codes) -> Vector:
    share = np.zeros_like(evidence)
    known = np.flatnonzero(sessions >= 0)
    if not len(known):
        return share
    codes = sessions[known]
    if (codes[1:] < codes[:-1]).any():
        by_session = np.argsort(codes, kind="stable")
        known, codes = known[by_session], codes[by_session]
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    lengths = np.diff(starts, append=len(codes))
    # The best three one after the other, each taken out before the next: sorting costs more.
    left = np.nan_to_num(evidence[known].astype(np.float64))
    total = np.zeros(len(starts))
    for _ in range(_SESSION_VOICES):
        best = np.maximum.reduceat(left, starts)
        total += np.maximum(best, 0.0)
        winners = np.flatnonzero(left == np.repeat(best, lengths))
        # Of equals one is taken out.
        groups = np.searchsorted(starts, winners, side="right")
        left[winners[np.append(True, groups[1:] != groups[:-1])]] = 0.0
    share[known] = np.repeat(total / _SESSION_VOICES, lengths)
    return share


def date_fit(occurred: Integers, period: tuple[int, int]) -> Vector:
    """Return 1 for what happened in the period the question names, in minutes."""
    return ((occurred >= period[0]) & (occurred < period[1])).astype(np.float32)


def only_asks(candidates: Candidates, records: Records) -> Vector:
    """Return 1 for what is a question and nothing else: it has the words of the answer, not it."""
    marked = np.flatnonzero(candidates.terms == ASKS)
    asking = np.zeros(len(candidates), dtype=np.float32)
    asking[np.searchsorted(candidates.offsets, marked, side="right") - 1] = 1
    # Where the whole text is not among the rows nothing is known of it.
    found: Vector = asking[records.first] * (candidates.parts[records.first] == 0)
    return found


def tells_when(candidates: Candidates, records: Records) -> Vector:
    """Return 1 for texts with a word of time: for questions that ask for a time."""
    hits = np.append(0, np.cumsum(np.isin(candidates.terms, time_terms())))
    rows = records.rows
    found = hits[candidates.offsets[rows + 1]] - hits[candidates.offsets[rows]]
    answers: Vector = (found > 0).astype(np.float32)
    return answers
