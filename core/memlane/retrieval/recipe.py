"""The one sum by which memories are ranked; docs/concepts tells what each weight is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from memlane.calibration import Calibration, relevance
from memlane.layout import EPOCH, from_minutes
from memlane.protocols import Candidates, Integers, Vector
from memlane.retrieval.dates import named_period
from memlane.retrieval.features import (
    date_fit,
    only_asks,
    owner_fit,
    previous_evidence,
    records_of,
    session_evidence,
    tells_when,
)
from memlane.retrieval.question import Question
from memlane.types import RetrievalMode

__all__ = ("HYBRID", "Place", "Ranked", "Weights", "period_of", "rank", "weights_for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each feature counts. Round numbers: results are flat around them."""

    similarity: float = 1.0
    words: float = 0.8
    owner: float = 0.3
    previous: float = 0.3
    session: float = 0.2
    date: float = 0.2
    when: float = 0.1
    asking: float = 0.3
    """Not a reason but a doubt: the share of its score that a bare question loses."""

    @property
    def total(self) -> float:
        """The sum that makes a score of 1."""
        return (
            self.similarity
            + self.words
            + self.owner
            + self.previous
            + self.session
            + self.date
            + self.when
        )


_FEW = 256  # records; to sort them takes less than to find out which need be
HYBRID = Weights()
_VECTOR = Weights(words=0, owner=0, previous=0, session=0, date=0, when=0, asking=0)
_TEXT = Weights(similarity=0, previous=0, session=0)


def weights_for(mode: RetrievalMode) -> Weights:
    """Return the weights of a retrieval mode."""
    return {"hybrid": HYBRID, "vector": _VECTOR, "text": _TEXT}[mode]


class Place(NamedTuple):
    """A record's place in an answer: the row of its best part, and what it earned.

    Args:
        row: Of its best part.
        score: 0..1.
        similarity: 0..1.
        relevance: 0..1; None where the model's scale is not known.
        explain: Returns what of the score is due to each feature, for the few that are read.
    """

    row: int
    score: float
    similarity: float
    relevance: float | None
    explain: Callable[[], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Records in the order they answer, as columns.

    Args:
        rows: int64 (m,): the row of each record's best part in the candidates, best first.
        first: int64 (m,): the first row of each record.
        scores: float32 (m,): 0..1.
        similarity: float32 (m,): 0..1; of the best part.
        relevance: float32 (m,): 0..1; None where the model's scale is not known.
        features: Weighted share of each feature in the scores, float32 (m,) by name.
    """

    rows: Integers
    first: Integers
    scores: Vector
    similarity: Vector
    relevance: Vector | None
    features: Mapping[str, Vector]

    def places(self) -> list[Place]:
        """Return a place for each record, with plain numbers."""
        relevance = [None] * len(self.rows) if self.relevance is None else self.relevance.tolist()
        columns = [(name, share.tolist()) for name, share in self.features.items()]
        found = zip(
            self.rows.tolist(),
            self.scores.tolist(),
            self.similarity.tolist(),
            relevance,
            strict=True,
        )
        return [Place(*place, partial(_shares, columns, at)) for at, place in enumerate(found)]


def period_of(question: Question, occurred: Integers) -> tuple[int, int] | None:
    """Return the period a question names, as minutes since the epoch of `layout`, end excluded.

    Args:
        question: The question.
        occurred: int64 (n,): when what is remembered happened, in minutes.
    """
    latest = from_minutes(int(occurred.max())) if len(occurred) else EPOCH
    names = {word.lower() for name in question.named for word in name.split()}
    return named_period(question.text, latest=latest, names=names)


def rank(
    candidates: Candidates,
    question: Question,
    *,
    limit: int,
    weights: Weights,
    min_similarity: float | None = None,
    calibration: Calibration | None = None,
) -> Ranked:
    """Rank candidates and return the best `limit` records, ties in stored order, newest first.

    With no weight on similarity a record must hold at least one word of the question.
    """
    records = records_of(candidates, question, word_weight=weights.words)
    rows = records.rows
    sessions = candidates.sessions[records.first]
    named = np.array(
        [i for i, name in enumerate(candidates.actor_names) if name in question.named],
        dtype=np.int32,
    )
    shares: dict[str, Vector] = {
        "similarity": weights.similarity * records.similarity,
        "words": weights.words * records.words,
    }
    # What can tell nothing apart is left out: mostly that is most of what follows.
    if weights.owner and len(named):
        shares["owner"] = weights.owner * owner_fit(candidates.actors[records.first], named)
    if (weights.previous or weights.session) and (sessions >= 0).any():
        either = max(weights.similarity + weights.words, 1e-9)
        blended = shares["similarity"] + shares["words"]
        evidence: Vector = (blended / either).astype(np.float32)
        shares["previous"] = weights.previous * previous_evidence(evidence, sessions)
        shares["session"] = weights.session * session_evidence(evidence, sessions)
    occurred = candidates.occurred[records.first]
    period = period_of(question, occurred) if weights.date else None
    if period is not None:
        shares["date"] = weights.date * date_fit(occurred, period)
    if weights.when and question.when:
        shares["when"] = weights.when * tells_when(candidates, records)
    doubt: Vector | float = 0.0
    if weights.asking and not question.asked:
        doubt = weights.asking * only_asks(candidates, records)
        shares["asking"] = -doubt * _sum(shares)
    whole = weights.total
    total = _sum(shares) / whole
    chosen = np.arange(len(records))
    if min_similarity is not None:
        chosen = chosen[records.similarity[chosen] >= min_similarity]
    if not weights.similarity:
        chosen = chosen[records.words[chosen] > 0]
    relevant: Vector | None = None
    if calibration is not None and weights.similarity:
        words = records.words if weights.words else np.zeros_like(records.words)
        relevant = (1 - doubt) * relevance(records.similarity, words, calibration)
    order = _best(total, candidates.order[records.first], chosen, limit)
    return Ranked(
        rows=rows[order],
        first=records.first[order],
        scores=np.minimum(np.maximum(total[order], 0.0), 1.0).astype(np.float32, copy=False),
        similarity=records.similarity[order],
        relevance=None if relevant is None else relevant[order],
        features=MappingProxyType({name: share[order] / whole for name, share in shares.items()}),
    )


def _shares(columns: Sequence[tuple[str, Sequence[float]]], at: int) -> dict[str, float]:
    return {name: shares[at] for name, shares in columns if shares[at]}


def _sum(shares: Mapping[str, Vector]) -> Vector:
    first, *others = shares.values()
    total = first.copy()
    for share in others:
        total += share
    return total


def _best(total: Vector, stored: Integers, chosen: Integers, limit: int) -> Integers:
    """Return the best of the chosen, best first, the one stored last first among equals."""
    if limit < len(chosen) and len(chosen) > _FEW:
        # Sorting a large scope for the few that win would take longer than all else here.
        scores = total[chosen]
        least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        chosen = chosen[scores >= least]
    # The last key of a lexsort is the first to count.
    found: Integers = chosen[np.lexsort((-stored[chosen], -total[chosen]))][:limit]
    return found
