"""A backend that stores a batch in several steps may store any of it: what is told is exact."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.embeddings import Embeddings
from memlane.errors import BackendError, PartialWriteError
from memlane.local import InMemoryBackend
from memlane.protocols import IndexedRecord
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope
from memlane.testing import FakeClock, HashingEmbedder, WrappedBackend
from memlane.testing.samples import read_all
from memlane.types import MemoryRecord, NewMemory
from memlane.writer import Writer

ADA = Scope("ada-lovelace", tenant="acme", agent="support")


class Scattering(WrappedBackend):
    """Of one batch, stores only records at certain places, and tells of these."""

    def __init__(self, kept: Sequence[bool], *, after: int, remedy: str | None = None) -> None:
        super().__init__(InMemoryBackend())
        self._kept = kept
        self._after = after
        self._remedy = remedy

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        self._after -= 1
        if self._after != -1:
            await self.inner.upsert(records, scope=scope, expected_version=expected_version)
            return
        some = [one for one, keep in zip(records, self._kept, strict=False) if keep]
        if not some:
            raise BackendError("the wire broke")
        await self.inner.upsert(some, scope=scope, expected_version=expected_version)
        stored = [replace(one.record) for one in some]  # copies: nobody owes the same objects
        raise PartialWriteError(
            "the wire broke", stored=stored, remedy=self._remedy
        ) from BackendError("the wire broke")


def _writer(backend: WrappedBackend, *, batch: int) -> Writer:
    embeddings = Embeddings(
        HashingEmbedder(), workers=WorkerThreads("writing-in-test", 1), cached_queries=0
    )
    return Writer(backend, embeddings, clock=FakeClock(), batch=batch)


sorts = st.lists(st.sampled_from(["ours", "chosen", "event", "known"]), max_size=12)


@settings(deadline=None, max_examples=80)
@given(
    sorts, st.lists(st.booleans(), min_size=12, max_size=12), st.integers(1, 6), st.integers(0, 4)
)
async def test_what_is_told_is_what_is_there(
    plan: list[str], kept: list[bool], batch: int, after: int
) -> None:
    """In the order given, with gaps; who stores the places the remedy names has it all, once."""
    backend = Scattering(kept, after=after + 1)
    writer = _writer(backend, batch=batch)
    await writer.store_many([NewMemory(content="known", idempotency_key="known")], scope=ADA)
    items = [
        NewMemory(
            content=sort if sort == "known" else f"{place}",
            record_id=f"{place}" if sort == "chosen" else None,
            idempotency_key={"event": f"{place}", "known": "known"}.get(sort),
        )
        for place, sort in enumerate(plan)
    ]
    told: Sequence[MemoryRecord] = ()
    left: list[int] = []
    failure: Exception | None = None
    try:
        told = await writer.store_many(items, scope=ADA)
    except (BackendError, PartialWriteError) as error:
        failure = error
    if isinstance(failure, PartialWriteError):
        told, left = failure.stored, _places(str(failure.remedy), len(items))
        assert type(failure.__cause__) is BackendError
        assert f"{len(told)} of {len(items)}" in str(failure)
        assert told
    elif failure is not None:
        left = [*range(len(items))]
    assert [record.text for record in told] == [
        item.content for place, item in enumerate(items) if place not in left
    ]
    there = {record.text for record in await read_all(backend, Reach.whole(ADA, now=None))}
    assert there - {"known"} == {record.text for record in told} - {"known"}
    await writer.store_many([items[place] for place in left], scope=ADA)
    texts = [record.text for record in await read_all(backend, Reach.whole(ADA, now=None))]
    assert sorted(texts) == sorted({"known", *(str(item.content) for item in items)})


def _places(remedy: str, count: int) -> list[int]:
    last = re.fullmatch(r"store the last (\d+) again", remedy)
    if last:
        return [*range(count - int(last[1]), count)]
    named = re.fullmatch(
        r"store again those that are not in `stored`: items ([-, \d]+), counted from 0", remedy
    )
    assert named, remedy
    found: list[int] = []
    for run in named[1].split(", "):
        first, _, end = run.partition("-")
        found += range(int(first), int(end or first) + 1)
    return found


async def test_places_are_short_and_a_warning_is_passed_on() -> None:
    """Runs are told as such, and what the backend says to do first stays in front."""
    kept = [False, True, False, False, False, True, False, False]
    writer = _writer(Scattering(kept, after=0, remedy="look first"), batch=8)
    with pytest.raises(PartialWriteError) as caught:
        await writer.store_many([NewMemory(content=f"{n}") for n in range(8)], scope=ADA)
    assert [record.text for record in caught.value.stored] == ["1", "5"]
    assert caught.value.remedy == "look first: items 0, 2-4, 6-7, counted from 0"
