"""Can memory say that it holds nothing relevant, and what does it cost those it could answer?"""

from __future__ import annotations

import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, TypeAlias

import anyio
import numpy as np

from benchmarks.corpus import HELD_OUT, Corpus, Query, generate
from benchmarks.corpus.kinds import KINDS
from benchmarks.corpus.model import Kind
from benchmarks.corpus.wording import to_the_face
from benchmarks.recall import scope_of, store_corpus
from benchmarks.rounds import keep
from memlane import Match
from memlane.calibration import RELEVANT, Calibration, calibrate
from memlane.local import MiniLMEmbedder
from memlane.protocols import Vector
from memlane.retrieval.recipe import HYBRID
from memlane_plain import connect

ANSWERED: Final = "answered"
NEAR_MISS: Final = "no answer"
"""Only somebody else's fact, a plan, the past or the question was said of the matter."""
UNSAID: Final = "unsaid"
"""Nobody spoke of the matter."""
TOLD_ONCE: Final = "told once"
"""Answered by one message; all others about the matter are taken out of what was found.

The corpus sets two or three traps about every fact. A message that only looks like the answer lets
an answer pass as well as the answer itself, so that without this the figures would flatter.
"""
THRESHOLDS: Final = tuple(round(0.3 + step / 20, 2) for step in range(12))
_OF_ONE_KIND: Final = {"single", "update", "point in time", "paraphrase", "long message"}
_UNSAID_EACH: Final = 8  # of some thirty kinds of facts that a user does not speak of
_DEPTH: Final = 100
_TOP: Final = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What recall found for a question, best first.

    Args:
        query: The question.
        similarity: float32 (n,): cosine, 0..1.
        words: float32 (n,): how much of the question's words is covered, 0..1.
        score: float32 (n,): the recipe's.
        relevance: float32 (n,): calibrated, 0..1.
        evidence: Places of what answers the question.
    """

    query: Query
    similarity: Vector
    words: Vector
    score: Vector
    relevance: Vector
    evidence: tuple[int, ...]

    def kept(self, least: float, *, each: bool) -> float:
        """Return the share of the evidence among the first five that a threshold leaves.

        Args:
            least: The relevance asked for.
            each: It is asked of each match; else the best match lets the whole answer pass.
        """
        if not self.query.evidence or not (self.relevance >= least).any():
            return 0.0
        left = self.relevance >= least if each else np.ones(len(self.relevance), dtype=np.bool_)
        first = set(np.flatnonzero(left)[:_TOP].tolist())
        return len(first & set(self.evidence)) / len(self.query.evidence)


_Signal: TypeAlias = Callable[[Answer], float]
_ByKind: TypeAlias = dict[str, list[Answer]]
_Row: TypeAlias = dict[str, float]

SIGNALS: Final[dict[str, _Signal]] = {
    "similarity": lambda found: float(found.similarity.max()),
    "words": lambda found: float(found.words.max()),
    "score": lambda found: float(found.score.max()),
    "lead of the first": lambda found: float(found.score[0] - found.score[1]),
    "relevance": lambda found: float(found.relevance.max()),
}


def auc(answered: Sequence[float], unanswered: Sequence[float]) -> float:
    """Return how often an answered question is above an unanswered one, 0 to 1; ties are half."""
    low = np.sort(np.asarray(unanswered))
    above = np.searchsorted(low, answered, side="left") + np.searchsorted(low, answered, "right")
    return round(float(above.sum()) / (2 * len(answered) * len(low)), 3)


@cache
def _wordings(kind: Kind) -> tuple[str, ...]:
    """Return all that can be said about a kind of fact, traps included."""
    forms = (*kind.says, kind.apart[0], kind.plan, kind.past)
    told = [form.format(v=value) for value in kind.values for form in forms]
    asked = map(to_the_face, (*kind.asks, kind.apart[1]))
    return tuple(text.casefold() for text in (*told, *asked))


@cache
def _questions() -> tuple[tuple[re.Pattern[str], Kind], ...]:
    return tuple(
        (re.compile(re.escape(ask.casefold()).replace(re.escape("{n}"), r"\w+")), kind)
        for kind in KINDS
        for ask in (*kind.asks, kind.apart[1])
    )


def _told_once(query: Query, matches: Sequence[Match]) -> list[Match]:
    """Return the matches without those that are about the matter and do not answer."""
    asked = query.text.casefold()
    [kind, *_] = [kind for form, kind in _questions() if form.search(asked)]
    return [
        match
        for match in matches
        if match.record.id in query.evidence
        or not any(form in match.record.text.casefold() for form in _wordings(kind))
    ]


def unsaid(corpus: Corpus) -> list[Query]:
    """Return questions about kinds of facts that neither the user nor the other speaks of."""
    spoken: dict[str, list[str]] = defaultdict(list)
    for one in corpus.said:
        spoken[one.user].append(one.text.casefold())
    actors = {one.id: one.actor for one in corpus.said}
    names = {
        query.user: actors[query.evidence[0]]
        for query in corpus.queries
        if query.category == "update"
    }
    queries: list[Query] = []
    for user, texts in spoken.items():
        whole = "\n".join(texts)
        draw = random.Random(user)
        free = [kind for kind in KINDS if not any(form in whole for form in _wordings(kind))]
        for kind in draw.sample(free, _UNSAID_EACH):
            text = draw.choice(kind.asks).format(n=names[user])
            queries.append(Query(user=user, category=UNSAID, text=text, evidence=()))
    return queries


def _column(values: Iterator[float]) -> Vector:
    return np.fromiter(values, dtype=np.float32)


def _answer(query: Query, matches: Sequence[Match]) -> Answer:
    similarity = _column(match.similarity or 0.0 for match in matches)
    weight = HYBRID.words / HYBRID.total
    words = _column(match.features.get("words", 0.0) / weight for match in matches)
    return Answer(
        query=query,
        similarity=similarity,
        words=words,
        score=_column(match.score for match in matches),
        relevance=_column(match.relevance or 0.0 for match in matches),
        evidence=tuple(
            place for place, match in enumerate(matches) if match.record.id in query.evidence
        ),
    )


async def _answers(corpus: Corpus) -> list[Answer]:
    answers: list[Answer] = []
    async with connect("memory://") as client:
        await store_corpus(client, corpus.said)
        for query in (*corpus.queries, *unsaid(corpus)):
            scope = scope_of(query.user)
            matches = await client.retrieve(query.text, scope=scope, limit=_DEPTH)
            answers.append(_answer(query, matches))
            if query.category in _OF_ONE_KIND:
                once = replace(query, category=TOLD_ONCE)
                answers.append(_answer(once, _told_once(query, matches)))
    return answers


async def _calibrated() -> Calibration:
    embedder = MiniLMEmbedder()
    try:
        return await calibrate(embedder)
    finally:
        await embedder.aclose()


def _percent(shares: Sequence[float]) -> float:
    return round(100 * sum(shares) / len(shares), 1)


def _curve(by_kind: _ByKind) -> dict[str, _Row]:
    answered, once = by_kind[ANSWERED], by_kind[TOLD_ONCE]
    curve: dict[str, _Row] = {}
    for least in (0.0, *THRESHOLDS):
        row = {
            "R@5": _percent([one.kept(least, each=False) for one in answered]),
            "R@5 told once": _percent([one.kept(least, each=False) for one in once]),
            "R@5 each passes": _percent([one.kept(least, each=True) for one in answered]),
        }
        for kind, name in ((NEAR_MISS, "near misses refused"), (UNSAID, "unsaid refused")):
            best = [SIGNALS["relevance"](one) for one in by_kind[kind]]
            row[name] = _percent([float(value < least) for value in best])
        curve[f"{least:.2f}"] = row
    return curve


def _areas(by_kind: _ByKind) -> dict[str, _Row]:
    pairs = ((ANSWERED, NEAR_MISS), (ANSWERED, UNSAID), (TOLD_ONCE, UNSAID))
    return {
        signal: {
            f"{high} / {low}": auc(
                [of(one) for one in by_kind[high]], [of(one) for one in by_kind[low]]
            )
            for high, low in pairs
        }
        for signal, of in SIGNALS.items()
    }


def _print(title: str, rows: dict[str, _Row]) -> None:
    columns = next(iter(rows.values()))
    print(f"\n{title:20}" + "".join(f"{column:>22}" for column in columns))
    for name, row in rows.items():
        print(f"{name:20}" + "".join(f"{value:22g}" for value in row.values()))


def main(
    *,
    seeds: tuple[int, ...] = HELD_OUT[:1],
    distractors: int = 100,
    users: int = 10,
    name: str = "abstention",
) -> None:
    """Ask what can be answered and what cannot, and keep how far the two are apart.

    Args:
        seeds: Of the corpus.
        distractors: Messages of small talk for each user, 100 to 10,000.
        users: Users of each seed.
        name: Of the result.
    """
    began = time.perf_counter()
    calibration = anyio.run(_calibrated)
    by_kind: _ByKind = defaultdict(list)
    for seed in seeds:
        corpus = generate(seed, users=users, distractors=distractors)
        for found in anyio.run(_answers, corpus):
            category = found.query.category
            apart = category in {NEAR_MISS, UNSAID, TOLD_ONCE}
            by_kind[category if apart else ANSWERED].append(found)
    areas = _areas(by_kind)
    curve = _curve(by_kind)
    middle = {"unrelated": calibration.unrelated, "paraphrase": calibration.paraphrase}
    print("medians: " + ", ".join(f"{kind} {value:.3f}" for kind, value in middle.items()))
    _print("AUC of the best", areas)
    _print("least relevance", curve)
    print(f"{sum(map(len, by_kind.values()))} questions, {time.perf_counter() - began:.0f} s")
    keep(
        name,
        "how well the best match of an answer tells questions that can be answered from near "
        "misses and from what nobody spoke of (AUC, 0.5 is chance), and what is kept and refused "
        "in percent when relevance must reach a threshold: of the best match, or of each match; "
        "told once: the traps about the same fact are taken out of the answer",
        {
            "seeds": list(seeds),
            "distractors_per_user": distractors,
            "questions": {kind: len(answers) for kind, answers in by_kind.items()},
            "calibration": {kind: round(value, 4) for kind, value in middle.items()},
            "auc": areas,
            "recommended": RELEVANT,
            "by_threshold": curve,
        },
    )


if __name__ == "__main__":
    main()
