"""What recall owes, said without the code that ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

from memlane.testing._choices import VOCABULARY
from memlane.testing._records import exact, past
from memlane.testing.model import MemoryModel, held_at
from memlane.types import Match, MemoryContext, MemoryRecord, RetrievalMode

__all__ = ("as_they_stood", "check_context", "check_matches", "wanted_by")


def _words(text: str) -> set[str]:
    spoken = text.lower().replace(".", " ").split()
    assert set(spoken) <= set(VOCABULARY)
    return set(spoken)


def _place(record: MemoryRecord) -> tuple[str, str]:
    return record.scope.agent or "", record.id


def as_they_stood(
    model: MemoryModel,
    near: Sequence[MemoryRecord],
    *,
    now: datetime,
    moment: datetime | None,
    session: str | None,
    holds: Callable[[MemoryRecord], bool],
) -> tuple[list[MemoryRecord], list[MemoryRecord]]:
    """Return what may be recalled, as it was told, and what of it must be found, as it is now.

    A record is looked for by what it says now. So one that was changed is found for what it said
    only where it still meets the condition, and still tells of a time before the moment.

    Args:
        model: What was done.
        near: Records within reach.
        now: When it is.
        moment: When it is meant to be; None is now.
        session: The one conversation that is asked for, if only one is.
        holds: The condition.
    """
    if moment is None:
        found = [record for record in near if holds(record) and held_at(record, now)]
        return found, found
    then: list[MemoryRecord] = []
    must: list[MemoryRecord] = []
    for record in near:
        old = model.stood(record, moment, session=session)
        if old is None or not holds(old) or not held_at(old, moment):
            continue
        if (old.valid_from or old.occurred_at) > moment:
            continue
        then.append(old)
        times = (record.occurred_at, record.stored_at, record.valid_from or record.stored_at)
        if holds(record) and min(times) <= moment:
            must.append(record)
    return then, must


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
    may_be_more: bool = False,
) -> None:
    """Fail unless matches are eligible, whole, distinct, ordered, and none is missing."""
    told = past if may_be_more else exact
    known = {_place(record): told(record) for record in eligible}
    found = [_place(match.record) for match in matches]
    assert len(found) == len(set(found)), "a record was recalled twice"
    assert len(found) <= limit
    for match in matches:
        assert told(match.record) == known.get(_place(match.record)), "recalled out of reach"
        assert 0 <= match.score <= 1
        assert match.passage in match.record.text
        assert abs(sum(match.features.values()) - match.score) < 1e-3
        assert (match.similarity is None) == (mode == "text")
        if match.similarity is not None:
            assert 0 <= match.similarity <= 1
        if min_similarity is not None and match.similarity is not None:
            assert match.similarity >= min_similarity
    assert all(one.score >= other.score for one, other in pairwise(matches))
    if wanted is None:
        return
    if may_be_more:
        assert len(found) >= min(limit, len(wanted))
        missing = {_place(record) for record in wanted} - {*found}
        assert not missing or len(found) == limit
    else:
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
