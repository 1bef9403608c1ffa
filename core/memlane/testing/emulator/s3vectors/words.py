"""Full-text search: BM25 over one metadata key of an index."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from memlane.stemming import stem

__all__ = ("ranked",)

# Lucene's constants, whose "standard" analyzer the documentation names [?].
_K1: Final = 1.2
_B: Final = 0.75
_WORD: Final = re.compile(r"\w+")


@lru_cache(maxsize=100_000)
def _counted(text: str, stems: bool) -> Counter[str]:
    """Return the words a text is searched by; a query looks at those of every text."""
    found = _WORD.findall(text.lower())
    return Counter(map(stem, found) if stems else found)


def ranked(
    query: str,
    metadata: Mapping[int, Mapping[str, Any]],
    *,
    key: str,
    stems: bool,
) -> list[tuple[int, float]]:
    """Return rows whose text holds a word of the query, with their scores, best first.

    Args:
        query: What is looked for.
        metadata: Of each row that may be found; the statistics are theirs too.
        key: The metadata key that holds the text.
        stems: Whether words are compared by their stems.
    """
    texts = {
        row: _counted(value, stems)
        for row, one in metadata.items()
        if isinstance(value := one.get(key), str)
    }
    wanted = set(_counted(query, stems))
    usual = sum(count.total() for count in texts.values()) / max(1, len(texts))
    weights = {word: _rarity(word, list(texts.values())) for word in wanted}
    scores = {row: _score(count, weights, usual) for row, count in texts.items()}
    return sorted(
        ((row, score) for row, score in scores.items() if score > 0), key=lambda pair: -pair[1]
    )


def _rarity(word: str, texts: Sequence[Counter[str]]) -> float:
    having = sum(word in count for count in texts)
    return math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))


def _score(count: Counter[str], weights: Mapping[str, float], usual: float) -> float:
    room = _K1 * (1 - _B + _B * count.total() / usual) if usual else _K1
    return sum(
        weight * times * (_K1 + 1) / (times + room)
        for word, weight in weights.items()
        if (times := count[word])
    )
