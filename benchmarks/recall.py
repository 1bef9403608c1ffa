"""How often does recall find what was said, beside plain dense search, BM25 and their fusion?"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import anyio
import numpy as np

from benchmarks.corpus import CATEGORIES, HELD_OUT, Corpus, Query, Said, generate
from benchmarks.rounds import keep
from memlane import MemoryClient, NewMemory, Scope
from memlane.lexical import coverage, terms
from memlane_plain import connect

SYSTEMS = ("hybrid", "dense", "bm25", "rrf60")
DEPTH = 100
_Found: TypeAlias = dict[str, list[str]]
_Row: TypeAlias = dict[str, float]


def _scope(user: str, session: str | None = None) -> Scope:
    return Scope(user, tenant="acme", session=session)


async def _store(client: MemoryClient, said: Sequence[Said]) -> None:
    by_session: dict[tuple[str, str], list[NewMemory]] = defaultdict(list)
    for one in said:
        by_session[one.user, one.session].append(
            NewMemory(content=one.text, actor=one.actor, occurred_at=one.at, record_id=one.id)
        )
    for (user, session), notes in by_session.items():
        await client.store_many(notes, scope=_scope(user, session))


class _Words:
    """BM25 over the whole texts of one user."""

    def __init__(self, said: Sequence[Said]) -> None:
        # Newest first, so that a stable sort gives ties to the newer, as retrieval does.
        self._ids = [one.id for one in reversed(said)]
        rows = [terms(one.text) for one in reversed(said)]
        self._terms = np.concatenate(rows)
        self._offsets = np.cumsum([0, *(len(row) for row in rows)])

    def best(self, question: str) -> list[str]:
        score = coverage(self._terms, self._offsets, terms(question))
        order = np.argsort(-score, kind="stable")[:DEPTH]
        return [self._ids[place] for place in order if score[place] > 0]


def _fused(*rankings: Sequence[str]) -> list[str]:
    score: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, record in enumerate(ranking, start=1):
            score[record] += 1 / (60 + place)
    return sorted(score, key=lambda record: (-score[record], record))


def _measures(query: Query, found: Sequence[str]) -> _Row:
    wanted = set(query.evidence)

    def share(top: int) -> float:
        return len(wanted & set(found[:top])) / len(wanted)

    gain = sum(1 / math.log2(i + 2) for i, record in enumerate(found[:10]) if record in wanted)
    ideal = sum(1 / math.log2(i + 2) for i in range(len(wanted)))
    row = {"R@1": share(1), "R@5": share(5), "R@10": share(10), "nDCG@10": gain / ideal}
    if query.stale:
        row["stale@1"] = float(bool(found) and found[0] in query.stale)
    return row


async def _answers(corpus: Corpus) -> tuple[list[_Found], int]:
    """Return what each system finds for each question, and how many foreign records came."""
    by_user: dict[str, list[Said]] = defaultdict(list)
    for one in corpus.said:
        by_user[one.user].append(one)
    words = {user: _Words(said) for user, said in by_user.items()}
    answers: list[_Found] = []
    foreign = 0
    async with connect("memory://") as client:
        await _store(client, corpus.said)
        for query in corpus.queries:
            scope = _scope(query.user)
            hybrid = await client.retrieve(query.text, scope=scope, limit=10)
            dense = await client.retrieve(query.text, scope=scope, limit=DEPTH, mode="vector")
            foreign += sum(match.record.scope.user != query.user for match in (*hybrid, *dense))
            near = [match.record.id for match in dense]
            lexical = words[query.user].best(query.text)
            answers.append(
                {
                    "hybrid": [match.record.id for match in hybrid],
                    "dense": near,
                    "bm25": lexical,
                    "rrf60": _fused(near, lexical),
                }
            )
    return answers, foreign


def _mean(rows: Sequence[_Row]) -> _Row:
    return {name: round(100 * sum(row[name] for row in rows) / len(rows), 1) for name in rows[0]}


def _report(by_category: dict[str, dict[str, list[_Row]]]) -> dict[str, dict[str, _Row]]:
    """Return percents by system and category; macro is the mean of categories."""
    report: dict[str, dict[str, _Row]] = {}
    for system in SYSTEMS:
        table = {category: _mean(rows) for category, rows in by_category[system].items()}
        macro = {
            name: round(sum(row[name] for row in table.values()) / len(table), 1)
            for name in ("R@1", "R@5", "R@10", "nDCG@10")
        }
        report[system] = {"macro": macro, **table}
    return report


def _print(report: dict[str, dict[str, _Row]], counts: dict[str, int]) -> None:
    print(f"{'category':16}{'n':>5}  " + "".join(f"{system:>24}" for system in SYSTEMS))
    print(f"{'':23}" + "       R@1  R@5 R@10 nDCG" * len(SYSTEMS))
    for category in report["hybrid"]:
        cells = "".join(
            "     " + "".join(f"{report[system][category][name]:5.0f}" for name in columns)[1:]
            for system in SYSTEMS
            for columns in [("R@1", "R@5", "R@10", "nDCG@10")]
        )
        print(f"{category:16}{counts.get(category, sum(counts.values())):>5}  {cells}")
    for category in ("update", "point in time"):
        for system in SYSTEMS:
            row = report[system][category]
            print(f"{category}, {system}: stale@1 {row['stale@1']}, beside R@1 {row['R@1']}")


def main(
    *, seeds: tuple[int, ...] = HELD_OUT[:1], distractors: int = 100, name: str = "recall"
) -> None:
    """Ask every question of every seed and keep the percents."""
    began = time.perf_counter()
    by_category: dict[str, dict[str, list[_Row]]] = {
        system: defaultdict(list) for system in SYSTEMS
    }
    counts = dict.fromkeys(CATEGORIES, 0)
    foreign = records = 0
    for seed in seeds:
        corpus = generate(seed, distractors=distractors)
        records += len(corpus.said)
        answers, leaked = anyio.run(_answers, corpus)
        foreign += leaked
        for query, found in zip(corpus.queries, answers, strict=True):
            counts[query.category] += 1
            if query.evidence:
                for system in SYSTEMS:
                    by_category[system][query.category].append(_measures(query, found[system]))
    report = _report(by_category)
    _print(report, counts)
    print(f"foreign records: {foreign}; {records:,} records, {time.perf_counter() - began:.0f} s")
    assert foreign == 0
    keep(
        name,
        "percent of the evidence found in generated conversations, by category; stale@1: an "
        "outdated statement (at a point in time: a later one) comes first",
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


if __name__ == "__main__":
    main()
