"""What a call that failed may have left: each record it was about as it was, or as it should be.

Nothing else, and nothing torn. Reading the backend settles which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from memlane.embeddings import Embeddings
from memlane.protocols import Embedder, IndexedRecord, RecordPart, VectorBackend
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope
from memlane.testing._records import exact
from memlane.testing.model import Address, MemoryModel, address_of
from memlane.types import MemoryRecord

__all__ = ("Doubts", "PartsOracle", "place_of", "read_everything")

_PRECISION = 2e-3  # of a component of a vector of length one, as in the conformance suite


def place_of(record: MemoryRecord) -> Address:
    """Return where a record lies."""
    return address_of(record.scope, record.id)


async def read_everything(
    backend: VectorBackend, scopes: Sequence[Scope]
) -> dict[Address, IndexedRecord]:
    """Return what a backend holds for whole scopes, expired records and vectors too."""
    found: dict[Address, IndexedRecord] = {}
    for scope in scopes:
        reach = Reach.whole(scope, now=None)
        listed: set[Address] = set()
        cursor: str | None = None
        while True:
            page = await backend.scan(reach=reach, cursor=cursor, limit=1_000)
            listed.update(map(place_of, page.records))
            if (cursor := page.cursor) is None:
                break
        ids = list({place[-1] for place in listed})
        items = await backend.fetch(ids, reach=reach, vectors=True) if ids else ()
        fetched = {place_of(item.record): item for item in items}
        assert fetched.keys() == listed, "a record is listed and cannot be fetched, or other way"
        found |= fetched
    return found


@dataclass
class Doubts:
    """States that are allowed beside the one before the call.

    Args:
        coming: Records as they may be now, with their idempotency keys; "" is an unknown id.
        going: Where there may be nothing now.
    """

    coming: list[tuple[MemoryRecord, str | None]] = field(default_factory=list)
    going: set[Address] = field(default_factory=set)

    def settle(self, model: MemoryModel, there: Mapping[Address, MemoryRecord]) -> set[Address]:
        """Bring a model to what is there, and return the places that were in doubt.

        Raises:
            AssertionError: Something is there, or is missing, that no allowed state explains.
        """
        touched = {*self.going, *(place_of(record) for record, _ in self.coming if record.id)}
        left = list(self.coming)
        for place in {*there, *model.records}:
            before, now = model.records.get(place), there.get(place)
            if now is None:
                assert place in self.going, f"what was acknowledged is gone: {before}"
                del model.records[place]
            elif before is None or exact(before) != exact(now):
                came = next((one for one in left if _is(now, one[0])), None)
                assert came is not None, f"neither as it was nor as it should be: {now}; {before}"
                left.remove(came)
                model.put(now, key=came[1])
                touched.add(place)
        return touched


def _is(record: MemoryRecord, expected: MemoryRecord) -> bool:
    named = expected if expected.id else replace(expected, id=record.id)
    return exact(record) == exact(named)


class PartsOracle:
    """Says whether spans, words and vectors are those of a record's text.

    Args:
        embedder: The one the records were stored with.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._workers = WorkerThreads("memlane-oracle", 1)
        self._embeddings = Embeddings(embedder, workers=self._workers, cached_queries=0)
        self._known: dict[str, tuple[RecordPart, ...]] = {}

    async def check(self, item: IndexedRecord) -> None:
        """Fail on a record whose parts are of another text."""
        text = item.record.text
        if text not in self._known:
            self._known[text] = (await self._embeddings.document_parts([text]))[0]
        expected = self._known[text]
        assert len(item.parts) == len(expected), f"parts of another text: {item.record}"
        for part, due in zip(item.parts, expected, strict=True):
            assert (part.start, part.end) == (due.start, due.end), f"spans: {item.record}"
            assert np.array_equal(part.terms, due.terms), f"words of another text: {item.record}"
            same = np.allclose(part.vector, due.vector, atol=_PRECISION)
            assert same, f"a vector of another text: {item.record}"

    def close(self) -> None:
        """Let the threads go."""
        self._workers.close()
