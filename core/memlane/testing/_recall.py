"""What recall owes, said without the code that ranks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from memlane.testing._choices import VOCABULARY
from memlane.testing._records import exact
from memlane.types import Match, MemoryContext, MemoryRecord, RetrievalMode

__all__ = ("check_context", "check_matches", "wanted_by")


def _words(text: str) -> set[str]:
    spoken = text.lower().replace(".", " ").split()
    assert set(spoken) <= set(VOCABULARY)
    return set(spoken)


def _place(record: MemoryRecord) -> tuple[str, str]:
    return record.scope.agent or "", record.id


def wanted_by(
    query: str,
    eligible: Sequence[MemoryRecord],
    *,
    mode: RetrievalMode,
    min_similarity: float | None,
) -> Sequence[MemoryRecord] | None:
    """Return what an answer without a limit holds; None where only the embedder knows."""
    if min_similarity is not None:
        return None
    if mode == "text":
        return [record for record in eligible if _words(record.text) & _words(query)]
    return eligible


def check_matches(
    matches: Sequence[Match],
    eligible: Sequence[MemoryRecord],
    wanted: Sequence[MemoryRecord] | None,
    *,
    limit: int,
    mode: RetrievalMode,
    min_similarity: float | None,
) -> None:
    """Fail unless matches are eligible, whole, distinct, ordered, and none is missing."""
    known = {_place(record): exact(record) for record in eligible}
    found = [_place(match.record) for match in matches]
    assert len(found) == len(set(found)), "a record was recalled twice"
    assert len(found) <= limit
    for match in matches:
        assert exact(match.record) == known.get(_place(match.record)), "recalled out of reach"
        assert 0 <= match.score <= 1
        assert match.passage in match.record.text
        assert abs(sum(match.features.values()) - match.score) < 1e-3
        assert (match.similarity is None) == (mode == "text")
        if match.similarity is not None:
            assert 0 <= match.similarity <= 1
        if min_similarity is not None and match.similarity is not None:
            assert match.similarity >= min_similarity
    assert all(one.score >= other.score for one, other in pairwise(matches))
    if wanted is not None:
        assert len(found) == min(limit, len(wanted))
        assert set(found) <= {_place(record) for record in wanted}


def check_context(block: object, matches: Sequence[Match], *, max_tokens: int) -> None:
    """Fail unless the block holds the best of the matches within its budget, and nothing else."""
    assert isinstance(block, MemoryContext), block
    assert block.tokens <= max_tokens
    places = [_place(match.record) for match in matches]
    chosen = [_place(match.record) for match in block.matches]
    assert chosen == [place for place in places if place in chosen], "in another order"
    assert block.omitted == len(matches) - len(block.matches)
    assert block.text.count("<memory ") == len(block.matches)
    assert bool(block.text) == bool(block.matches)
