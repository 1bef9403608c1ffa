"""What is newer comes before what it replaces: told from the texts, when a question is asked.

Told at query time because then it harms nobody: nothing in the store is closed, and a mistake
costs a place in one answer. To be near in meaning is not enough: a plan, the past, the same thing
of somebody else and another thing of the same kind are as near as a change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from memlane.layout import to_minutes
from memlane.lexical import terms
from memlane.marks import ASKS
from memlane.protocols import Candidates, Integers, Vector
from memlane.retrieval.question import Question
from memlane.retrieval.recipe import Place, period_of
from memlane.retrieval.statements import (
    Outline,
    Statement,
    asks_of_then,
    read_outline,
    read_statement,
)
from memlane.retrieval.things import Things, read_things
from memlane.trust import may_replace
from memlane.types import MemoryRecord

__all__ = ("POOL", "Seen", "Succession")

POOL: Final = 30
"""Places looked at. What changed is seldom further from the question than that."""

# Round numbers: what is found is much the same around them, see benchmarks/recall.py.
_ENOUGH: Final = 0.75
_CHANGES: Final = 0.3  # it says that something is otherwise now
_STANDS_OUT: Final = 0.2  # times how far it stands out from what else was found
_DOUBT: Final = -0.3  # for each of at most two words of doubt
_DENIES: Final = -0.3  # one says yes and the other says no
_NUMBER: Final = -0.2  # one has a number and the other has none
_ASIDE: Final = -1.0  # times the share of the question's words that only the older one has
_SENTENCE: Final = -0.1  # for each sentence beyond the first, six at most: talk, not a statement
_BARE: Final = -0.1  # what a bare reply is about is told by what was said before it
_MOST_DOUBTS: Final = 2
_MOST_SENTENCES: Final = 6

_LOSS: Final = 0.1
"""The share of its score that what is replaced loses."""

_BARE_TERMS: Final = 8
_TURN: Final = 10  # minutes between what was said and the reply to it
_BACK: Final = 50  # rows; one turn of a session lies close behind the other
_NONE: Final = -1
_ASKS: Final = int(ASKS)

_Newness: TypeAlias = tuple[bool, float, int]


class Seen(NamedTuple):
    """A record that may be recalled, as it is returned.

    Args:
        record: As it is, or was at the time that is asked about.
        passage: What of it answers.
        label: What is said of it.
    """

    record: MemoryRecord
    passage: str
    label: str = ""


class _Pair(NamedTuple):
    """The rows of two places, the better one first, and what their vectors tell.

    Args:
        above: Row of the better one.
        below: Row of the other.
        near: Cosine of the two.
        below_heard: Cosine of the one above and what was said before the one below; or -1.
        above_heard: The other way round.
        stands: 0..1, how far the one below stands out from what else was found.
    """

    above: int
    below: int
    near: float
    below_heard: float
    above_heard: float
    stands: float


class Succession:
    """Which of the best places of an answer another one should have.

    A question with a date keeps to what was said before it ended; where it asks what held then,
    what came later even makes way for what it replaced.

    Args:
        candidates: What was found.
        question: What was asked.
        places: The best, best first, more than the answer needs.
        limit: Places of the answer.
    """

    def __init__(
        self, candidates: Candidates, question: Question, places: Sequence[Place], *, limit: int
    ) -> None:
        self._candidates = candidates
        self._asked = frozenset(terms(question.embedded).tolist())
        period = period_of(question, candidates.occurred)
        self._until = None if period is None else period[1]
        self._then = period is not None and asks_of_then(question.text)
        self._pairs = self._possible(places[:POOL], limit)

    @property
    def rows(self) -> list[int]:
        """Rows of the places, beyond the answer's own, that may come into it."""
        return [pair.below for pair in self._pairs]

    def settle(self, places: Sequence[Place], seen: Mapping[int, Seen]) -> list[Place]:
        """Return the places, each newer statement in the place of the one that it replaces.

        Args:
            places: Those of records that may be recalled, best first.
            seen: The records by row. What is not among them replaces nothing.
        """
        if not self._pairs:
            return [*places]
        judge = _Judge(self._candidates, seen, self._asked, until=self._until, then=self._then)
        takes: dict[int, list[int]] = {}
        for pair in self._pairs:
            if pair.above in seen and pair.below in seen and judge.replaces(pair):
                takes.setdefault(pair.above, []).append(pair.below)
        return _moved([*places], takes, judge) if takes else [*places]

    def _possible(self, places: Sequence[Place], limit: int) -> list[_Pair]:
        """Return the pairs of which texts could say that one replaces the other."""
        found = self._candidates
        if found.directions is None or len(places) < 2:  # noqa: PLR2004 - a pair
            return []
        rows = np.array([place.row for place in places], dtype=np.int64)
        scores = np.array([place.score for place in places], dtype=np.float32)
        near, heard = self._nearness(rows, found.directions)
        # In a small store all are looked at, and none of them need be beside the point.
        least = scores[-1] if len(places) == POOL else np.float32(0)
        stands = (scores - least) / max(float(scores[0] - least), 1e-9)
        most = np.maximum(near, np.maximum(heard, heard.T))[:limit] + _STANDS_OUT * stands
        actors, occurred = found.actors[rows].tolist(), found.occurred[rows].tolist()
        return [
            _Pair(
                int(rows[above]),
                int(rows[below]),
                float(near[above, below]),
                float(heard[below, above]),
                float(heard[above, below]),
                float(stands[below]),
            )
            for above, below in np.argwhere(most + _CHANGES >= _ENOUGH).tolist()
            if above < below
            and actors[above] == actors[below]
            and (self._then or occurred[above] <= occurred[below])
        ]

    def _nearness(
        self, rows: Integers, directions: Callable[[Sequence[int]], Vector]
    ) -> tuple[Vector, Vector]:
        """Return the cosines of the rows, and of what was said before each (row) and each."""
        before = self._said_before(rows)
        vectors = directions([*rows.tolist(), *(row for row in before if row >= 0)])
        count = len(rows)
        heard = np.full((count, count), -1.0, dtype=np.float32)
        replies = [at for at, row in enumerate(before) if row >= 0]
        if replies:
            heard[replies] = vectors[count:] @ vectors[:count].T
        return vectors[:count] @ vectors[:count].T, heard

    def _said_before(self, rows: Integers) -> list[int]:
        """Return the row of the turn before each short one in its session; -1 if there is none."""
        found = self._candidates
        short = found.offsets[rows + 1] - found.offsets[rows] <= _BARE_TERMS
        return [
            self._turn_before(row) if is_short and not found.parts[row] else _NONE
            for row, is_short in zip(rows.tolist(), short.tolist(), strict=True)
        ]

    def _turn_before(self, row: int) -> int:
        sessions, occurred = self._candidates.sessions, self._candidates.occurred
        session = sessions[row]
        if session < 0:
            return _NONE
        for before in range(row - 1, max(row - 1 - _BACK, -1), -1):
            if sessions[before] == session:
                return before if 0 <= occurred[row] - occurred[before] <= _TURN else _NONE
        return _NONE


class _Judge:
    def __init__(
        self,
        candidates: Candidates,
        seen: Mapping[int, Seen],
        asked: frozenset[int],
        *,
        until: int | None,
        then: bool,
    ) -> None:
        self._candidates = candidates
        self._seen = seen
        self._asked = asked
        self._until = until
        self._then = then
        self._read: dict[int, Statement] = {}
        self._outlined: dict[int, Outline] = {}
        self._new: dict[int, _Newness] = {}
        self._terms: dict[int, frozenset[int]] = {}
        self._named: dict[int, Things] = {}

    def newness(self, row: int) -> _Newness:
        """Return what sorts by newness; what came after the time asked about comes first."""
        found = self._new.get(row)
        if found is None:
            record = self._seen[row].record
            in_time = (
                self._until is None
                or to_minutes(record.valid_from or record.occurred_at) < self._until
            )
            told = record.occurred_at.timestamp()
            found = self._new[row] = in_time, told, int(self._candidates.order[row])
        return found

    def replaces(self, pair: _Pair) -> bool:
        """Say whether the one below should have the place of the one above."""
        above, below = self.newness(pair.above), self.newness(pair.below)
        if not below[0] or above > below:
            return False
        if above[1:] < below[1:]:
            newer, older, heard = pair.below, pair.above, pair.below_heard
        elif self._then:
            newer, older, heard = pair.above, pair.below, pair.above_heard
        else:
            return False
        new, old = self._seen[newer].record, self._seen[older].record
        if not _of_one_owner(new, old) or not may_replace(new.source, old.source):
            return False
        sure = _STANDS_OUT * pair.stands + self._told(newer, older, near=pair.near, heard=heard)
        # Whatever the older one says of itself lowers it, so that mostly it need not be read.
        if sure < _ENOUGH or sure + self._contrast(newer, older) < _ENOUGH:
            return False
        # A bare reply names nothing: it is about what was said before it.
        if self._statement(newer).bare:
            return True
        mine, known = self._things(newer), self._words(older) | self._asked
        return mine.named <= known or not mine.apart(
            self._things(older), known=known, asked=self._asked
        )

    def _told(self, newer: int, older: int, *, near: float, heard: float) -> float:
        """Return how sure it is by what the newer one says that it replaces the other."""
        its, others = self._words(newer), self._words(older)
        if _ASKS in its or _ASKS in others:
            return -1.0
        new = self._statement(newer)
        if new.adds:
            return -1.0
        aside = 0.0 if new.bare else self._aside(its, others)
        sure = (max(near, heard) + _BARE) if new.bare else near
        # "Now" may be said of anything: it tells of a change only where the same thing is named.
        sure += _CHANGES if new.changes and not (new.only_now and aside) else _ASIDE * aside
        return sure + _DOUBT * min(new.doubts, _MOST_DOUBTS)

    def _contrast(self, newer: int, older: int) -> float:
        """Return what tells against it in the two beside each other."""
        new, old = self._statement(newer), self._read.get(older) or self._outline(older)
        talk = new.sentences + old.sentences - 2
        against = _SENTENCE * min(talk, _MOST_SENTENCES)
        if new.numbers != old.numbers:
            against += _NUMBER
        if new.negative != old.negative and not new.bare:
            against += _DENIES
        return against

    def _aside(self, newer: frozenset[int], older: frozenset[int]) -> float:
        """Return how much of what the question names only the older one does.

        Of two alike, "the front gate" and "the back gate", each has a word that the other lacks.
        What shares no word with the question says it in words of its own, which tells nothing.
        """
        named, shared = self._asked & older, self._asked & newer
        return len(named - shared) / len(named) if named and shared else 0.0

    def _words(self, row: int) -> frozenset[int]:
        found = self._terms.get(row)
        if found is None:
            start, end = self._candidates.offsets[row], self._candidates.offsets[row + 1]
            found = self._terms[row] = frozenset(self._candidates.terms[start:end].tolist())
        return found

    def _statement(self, row: int) -> Statement:
        found = self._read.get(row)
        if found is None:
            found = self._read[row] = read_statement(self._said(row))
        return found

    def _outline(self, row: int) -> Outline:
        found = self._outlined.get(row)
        if found is None:
            found = self._outlined[row] = read_outline(self._said(row))
        return found

    def _things(self, row: int) -> Things:
        found = self._named.get(row)
        if found is None:
            found = self._named[row] = read_things(self._said(row))
        return found

    def _said(self, row: int) -> str:
        # The window alone: the sentences around it, which a passage has too, are other statements.
        text = self._seen[row].record.text
        if not self._candidates.parts[row]:
            return text
        start, end = self._candidates.spans[row].tolist()
        return text[start:end]


def _of_one_owner(one: MemoryRecord, other: MemoryRecord) -> bool:
    # What nobody is named for is the agent's own.
    return one.actor == other.actor and (
        one.actor is not None or one.scope.agent == other.scope.agent
    )


def _moved(line: list[Place], takes: Mapping[int, Sequence[int]], judge: _Judge) -> list[Place]:
    at = 0
    while at < len(line):
        place = line[at]
        takers = takes.get(place.row)
        if takers is None:
            at += 1
            continue
        below = [one.row for one in line[at + 1 :]]
        heirs = [row for row in takers if row in below]
        if not heirs:
            at += 1
            continue
        heir = line.pop(at + 1 + below.index(max(heirs, key=judge.newness)))
        line[at] = _changed(place, "superseded", -_LOSS * place.score)
        # What takes a place may itself have been replaced: it is looked at next.
        line.insert(at, _changed(heir, "supersedes", place.score - heir.score))
    # Of equals what came first stays first.
    return sorted(line, key=lambda place: -place.score)


def _changed(place: Place, reason: str, share: float) -> Place:
    def explain() -> dict[str, float]:
        reasons = place.explain()
        return {**reasons, reason: reasons.get(reason, 0.0) + share}

    row, score, similarity, relevance, _ = place
    return Place(row, score + share, similarity, relevance, explain)
