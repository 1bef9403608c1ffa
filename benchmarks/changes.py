"""What is gained when newer statements take the place of older ones, and what does it cost?"""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from typing import Final, NamedTuple, TypeAlias

import anyio

from benchmarks.corpus import POOLED, Corpus, generate
from benchmarks.measures import Row, measures
from benchmarks.recall import scope_of, store_corpus
from benchmarks.rounds import keep
from memlane import RetrievalOptions
from memlane_plain import connect

CHANGED: Final = ("update", "correction")
"""Categories that a newer statement answers; of the others nothing should be lost."""
MEASURES: Final = ("R@1", "R@5", "R@10", "stale@1")
_OFF: Final = RetrievalOptions(supersede=False)
_SURE: Final = 1.96  # standard errors to each side of what is true 95 times of 100

_Pairs: TypeAlias = dict[str, list[tuple[Row, Row]]]


class Difference(NamedTuple):
    """What the switch changes, in points.

    Args:
        off: Percent without it.
        on: Percent with it.
        points: The one less the other, of the same questions.
        within: Half the width of the interval that holds it 95 times of 100.
    """

    off: float
    on: float
    points: float
    within: float


def difference(pairs: list[tuple[float, float]]) -> Difference:
    """Return what pairs of shares, without and with, say of all such questions."""
    gains = [100 * (on - off) for off, on in pairs]
    within = _SURE * statistics.pstdev(gains) / math.sqrt(len(gains))
    off = 100 * statistics.fmean(off for off, _ in pairs)
    points = statistics.fmean(gains)
    return Difference(round(off, 1), round(off + points, 1), round(points, 2), round(within, 2))


async def _asked(corpus: Corpus, pairs: _Pairs) -> None:
    async with connect("memory://") as client:
        await store_corpus(client, corpus.said)
        for query in corpus.queries:
            if not query.evidence:
                continue
            scope = scope_of(query.user)
            off = await client.retrieve(query.text, scope=scope, options=_OFF)
            on = await client.retrieve(query.text, scope=scope)
            rows = [measures(query, [match.record.id for match in found]) for found in (off, on)]
            pairs[query.category].append((rows[0], rows[1]))


def _row(pairs: list[tuple[Row, Row]]) -> dict[str, Difference]:
    return {
        measure: difference([(off[measure], on[measure]) for off, on in pairs])
        for measure in MEASURES
        if measure in pairs[0][0]
    }


def _print(category: str, questions: int, row: dict[str, Difference]) -> None:
    cells = "".join(
        f"  {measure} {one.off:5.1f} {one.points:+6.2f} ±{one.within:.2f}"
        for measure, one in row.items()
    )
    print(f"{category:16}{questions:>6}{cells}")


def _mean(table: dict[str, dict[str, Difference]], measure: str) -> float:
    of = [row[measure].points for category, row in table.items() if category not in CHANGED]
    return round(statistics.fmean(of), 2)


def main(
    *,
    seeds: tuple[int, ...] = POOLED,
    distractors: int = 100,
    users: int = 21,
    name: str = "recall_changes",
) -> None:
    """Ask every question with the switch off and on, and keep the differences.

    Args:
        seeds: Of the corpus; as many as make the intervals narrow.
        distractors: Messages of small talk for each user.
        users: Users of each seed.
        name: Of the result.
    """
    began = time.perf_counter()
    pairs: _Pairs = defaultdict(list)
    for seed in seeds:
        anyio.run(_asked, generate(seed, users=users, distractors=distractors), pairs)
    table: dict[str, dict[str, Difference]] = {}
    for category, rows in pairs.items():
        table[category] = _row(rows)
        _print(category, len(rows), table[category])
    changed = [pair for category in CHANGED for pair in pairs[category]]
    _print("both changed", len(changed), _row(changed))
    others = {measure: _mean(table, measure) for measure in ("R@1", "R@5", "R@10")}
    told = ", ".join(f"{measure} {points:+.2f}" for measure, points in others.items())
    print(f"mean of what does not change: {told}; {time.perf_counter() - began:.0f} s")
    keep(
        name,
        "percent of the evidence found in generated conversations with supersede=False, with it "
        "on, and the difference in points with half its 95 % interval, of the same questions",
        {
            "seeds": list(seeds),
            "questions": {category: len(rows) for category, rows in pairs.items()},
            "mean_of_what_does_not_change": others,
            "both_that_change": {measure: one._asdict() for measure, one in _row(changed).items()},
            "categories": {
                category: {measure: one._asdict() for measure, one in row.items()}
                for category, row in table.items()
            },
        },
    )


if __name__ == "__main__":
    main()
