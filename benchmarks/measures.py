"""One yardstick for every question of recall: a percent here is a percent there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from benchmarks.corpus import Query

__all__ = ("COLUMNS", "Row", "macro", "mean_of", "measures")

Row: TypeAlias = dict[str, float]
COLUMNS: Final = ("R@1", "R@5", "R@10", "nDCG@10")
_DEPTH: Final = 10


def measures(query: Query, found: Sequence[str]) -> Row:
    """Return how much of a question's evidence was found, 0 to 1.

    Args:
        query: A question with evidence.
        found: Ids of messages, best first.

    Returns:
        R@k, the share of the evidence among the first k; nDCG@10; and, for a fact that changed,
        stale@1: whether what is not true at that time comes first.
    """
    wanted = set(query.evidence)
    gain = sum(1 / math.log2(i + 2) for i, one in enumerate(found[:_DEPTH]) if one in wanted)
    ideal = sum(1 / math.log2(i + 2) for i in range(min(len(wanted), _DEPTH)))
    row = {f"R@{top}": len(wanted & set(found[:top])) / len(wanted) for top in (1, 5, _DEPTH)}
    row["nDCG@10"] = gain / ideal
    if query.stale:
        row["stale@1"] = float(bool(found) and found[0] in query.stale)
    return row


def mean_of(rows: Sequence[Row]) -> Row:
    """Return the mean of each measure in percent."""
    return {name: round(100 * sum(row[name] for row in rows) / len(rows), 1) for name in rows[0]}


def macro(by_category: dict[str, Row]) -> Row:
    """Return the mean over categories, each counting alike."""
    rows = list(by_category.values())
    return {name: round(sum(row[name] for row in rows) / len(rows), 1) for name in COLUMNS}
