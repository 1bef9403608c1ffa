"""How often does recall find what was said, beside plain dense search, BM25 and their fusion?"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, TypeAlias

import anyio
import numpy as np

from benchmarks.corpus import CATEGORIES, HELD_OUT, Corpus, Said, generate
from benchmarks.measures import COLUMNS, Row, macro, mean_of, measures
from benchmarks.rounds import keep
from memlane import MemoryClient, NewMemory, RetrievalOptions, Scope
from memlane.embeddings import embed_all
from memlane.lexical import coverage, terms
from memlane.local import MiniLMEmbedder
from memlane.protocols import Vector
from memlane.windows import clip
from memlane_plain import connect

SYSTEMS: Final = ("hybrid", "as ranked", "dense", "bm25", "rrf60", "vector")
"""Hybrid and vector are memlane's modes, "as ranked" is hybrid with `supersede=False`; the other
three are made here of the same texts."""
_OFF: Final = RetrievalOptions(supersede=False)
DEPTH: Final = 100
_Found: TypeAlias = dict[str, list[str]]
_Report: TypeAlias = dict[str, dict[str, Row]]


def scope_of(user: str, session: str | None = None) -> Scope:
    """Return where a user of the corpus is kept."""
    return Scope(user, tenant="acme", session=session)


async def store_corpus(client: MemoryClient, said: Sequence[Said]) -> None:
    """Store every message under its own id, a session at a time."""
    by_session: dict[tuple[str, str], list[NewMemory]] = defaultdict(list)
    for one in said:
        by_session[one.user, one.session].append(
            NewMemory(content=one.text, actor=one.actor, occurred_at=one.at, record_id=one.id)
        )
    for (user, session), notes in by_session.items():
        await client.store_many(notes, scope=scope_of(user, session))


class _Plain:
    """One user's messages as a plain vector store and a plain word index have them."""

    def __init__(self, said: Sequence[Said], vectors: Vector) -> None:
        # Newest first, so that a stable sort gives ties to the newer, as retrieval does.
        self._ids = [one.id for one in reversed(said)]
        self._vectors = vectors[::-1]
        rows = [terms(one.text) for one in reversed(said)]
        self._terms = np.concatenate(rows)
        self._offsets = np.cumsum([0, *(len(row) for row in rows)])

    def dense(self, question: Vector) -> list[str]:
        order = np.argsort(-(self._vectors @ question), kind="stable")[:DEPTH]
        return [self._ids[place] for place in order]

    def bm25(self, question: str) -> list[str]:
        score = coverage(self._terms, self._offsets, terms(question))
        order = np.argsort(-score, kind="stable")[:DEPTH]
        return [self._ids[place] for place in order if score[place] > 0]


def _fused(*rankings: Sequence[str]) -> list[str]:
    score: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, record in enumerate(ranking, start=1):
            score[record] += 1 / (60 + place)
    return sorted(score, key=lambda record: (-score[record], record))


async def _embedded(embedder: MiniLMEmbedder, texts: Sequence[str]) -> Vector:
    # As the model would: what is beyond its bounds is not read.
    cut = [clip(text, embedder.max_chars) for text in texts]
    return await embed_all(embedder, cut, purpose="document")


async def _answers(corpus: Corpus) -> tuple[list[_Found], int]:
    """Return what each system finds for each question, and how many foreign records came."""
    by_user: dict[str, list[Said]] = defaultdict(list)
    for one in corpus.said:
        by_user[one.user].append(one)
    answers: list[_Found] = []
    foreign = 0
    embedder = MiniLMEmbedder()
    async with connect("memory://") as client:
        await store_corpus(client, corpus.said)
        plain = {
            user: _Plain(said, await _embedded(embedder, [one.text for one in said]))
            for user, said in by_user.items()
        }
        questions = await _embedded(embedder, [query.text for query in corpus.queries])
        for query, vector in zip(corpus.queries, questions, strict=True):
            scope = scope_of(query.user)
            hybrid = await client.retrieve(query.text, scope=scope, limit=10)
            ranked = await client.retrieve(query.text, scope=scope, limit=10, options=_OFF)
            near = await client.retrieve(query.text, scope=scope, limit=10, mode="vector")
            foreign += sum(
                match.record.scope.user != query.user for match in (*hybrid, *ranked, *near)
            )
            dense = plain[query.user].dense(vector)
            lexical = plain[query.user].bm25(query.text)
            answers.append(
                {
                    "hybrid": [match.record.id for match in hybrid],
                    "as ranked": [match.record.id for match in ranked],
                    "dense": dense,
                    "bm25": lexical,
                    "rrf60": _fused(dense, lexical),
                    "vector": [match.record.id for match in near],
                }
            )
    await embedder.aclose()
    return answers, foreign


def _print(report: _Report, counts: dict[str, int]) -> None:
    print(f"{'category':16}{'n':>5}  " + "".join(f"{system:>23}" for system in SYSTEMS))
    print(f"{'':21}" + "      R@1  R@5 R@10 nDCG" * len(SYSTEMS))
    for category in report["hybrid"]:
        cells = "".join(
            "   " + "".join(f"{report[system][category][name]:5.0f}" for name in COLUMNS)
            for system in SYSTEMS
        )
        print(f"{category:16}{counts.get(category, sum(counts.values())):>5}{cells}")
    for category in ("update", "correction", "point in time", "past"):
        for system in SYSTEMS:
            row = report[system][category]
            print(f"{category}, {system}: stale@1 {row['stale@1']}, beside R@1 {row['R@1']}")


def main(
    *,
    seeds: tuple[int, ...] = HELD_OUT[:1],
    distractors: int = 100,
    users: int = 21,
    name: str = "recall",
) -> None:
    """Ask every question of every seed and keep the percents.

    Args:
        seeds: Of the corpus.
        distractors: Messages of small talk for each user, 100 to 10,000.
        users: Users of each seed.
        name: Of the result.
    """
    began = time.perf_counter()
    rows: dict[str, dict[str, list[Row]]] = {system: defaultdict(list) for system in SYSTEMS}
    counts = dict.fromkeys(CATEGORIES, 0)
    foreign = records = 0
    for seed in seeds:
        corpus = generate(seed, users=users, distractors=distractors)
        records += len(corpus.said)
        answers, leaked = anyio.run(_answers, corpus)
        foreign += leaked
        for query, found in zip(corpus.queries, answers, strict=True):
            counts[query.category] += 1
            if query.evidence:
                for system in SYSTEMS:
                    rows[system][query.category].append(measures(query, found[system]))
    report: _Report = {}
    for system in SYSTEMS:
        table = {category: mean_of(each) for category, each in rows[system].items()}
        report[system] = {"macro": macro(table), **table}
    _print(report, counts)
    print(f"foreign records: {foreign}; {records:,} records, {time.perf_counter() - began:.0f} s")
    assert foreign == 0
    keep(
        name,
        "percent of the evidence found in generated conversations, by category; stale@1: an "
        "outdated statement (at a point in time: a later one) comes first; no answer is asked "
        "too, and counts in foreign records only",
        {
            "seeds": list(seeds),
            "records": records,
            "distractors_per_user": distractors,
            "questions": counts,
            "foreign_records": foreign,
            "systems": report,
        },
    )


def full() -> None:
    """The same over all held-out seeds."""
    main(seeds=HELD_OUT, name="recall_full")


def many() -> None:
    """The same among a thousand messages of small talk for each user."""
    main(distractors=1_000, users=10, name="recall_many")


if __name__ == "__main__":
    main()
