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
        chains: Versions of which a beginning may have been stored, one after the other.
        spaces: Tenants that may be in another embedding space now, and in which.
    """

    coming: list[tuple[MemoryRecord, str | None]] = field(default_factory=list)
    going: set[Address] = field(default_factory=set)
    chains: list[tuple[MemoryRecord, ...]] = field(default_factory=list)
    spaces: dict[str | None, str] = field(default_factory=dict)

    def settle(self, model: MemoryModel, there: Mapping[Address, MemoryRecord]) -> set[Address]:
        """Bring a model to what is there, and return the places that were in doubt.

        Raises:
            AssertionError: Something is there, or is missing, that no allowed state explains.
        """
        touched = {*self.going, *(place_of(record) for record, _ in self.coming if record.id)}
        touched |= {place_of(chain[-1]) for chain in self.chains}
        self._move(model, there)
        left = list(self.coming)
        for place in {*there, *model.records}:
            before, now = model.records.get(place), there.get(place)
            if now is None:
                assert place in self.going, f"what was acknowledged is gone: {before}"
                assert before is not None
                model.remove([before])
            elif before is None or exact(before) != exact(now):
                chain = self._chain(now)
                if chain:
                    model.bring(chain)
                    continue
                came = next((one for one in left if _is(now, one[0])), None)
                assert came is not None, f"neither as it was nor as it should be: {now}; {before}"
                left.remove(came)
                if came[0].version > 1:
                    model.change(now)
                else:
                    model.put(now, key=came[1])
                touched.add(place)
        return touched

    def is_halfway(self, place: Address, record: MemoryRecord) -> bool:
        """Say whether a record is on the way to a version of a chain, and not there yet."""
        return any(
            place_of(step) == place and exact(step) == exact(record)
            for chain in self.chains
            for step in chain[:-1]
        )

    def _chain(self, now: MemoryRecord) -> tuple[MemoryRecord, ...]:
        for chain in self.chains:
            for end, record in enumerate(chain, start=1):
                if place_of(record) == place_of(now) and exact(record) == exact(now):
                    return chain[:end]
        return ()

    def _move(self, model: MemoryModel, there: Mapping[Address, MemoryRecord]) -> None:
        """Take tenants to the space that their records are in, all of them or none."""
        for tenant, space in self.spaces.items():
            found = {record.space for place, record in there.items() if place[0] == tenant}
            assert len(found) <= 1, f"the records of one tenant are of {found}"
            if found == {space}:
                model.move(tenant, space)


def _is(record: MemoryRecord, expected: MemoryRecord) -> bool:
    named = expected if expected.id else replace(expected, id=record.id)
    return exact(record) == exact(named)


class PartsOracle:
    """Says whether spans, words and vectors are those of a record's text.

    Args:
        embedders: Those the records were stored with.
    """

    def __init__(self, *embedders: Embedder) -> None:
        self._workers = WorkerThreads("memlane-oracle", 1)
        self._embeddings = {
            each.space.id: Embeddings(each, workers=self._workers, cached_queries=0)
            for each in embedders
        }
        self._known: dict[tuple[str, str], tuple[RecordPart, ...]] = {}

    async def check(self, item: IndexedRecord) -> None:
        """Fail on a record whose parts are of another text."""
        text, space = item.record.text, item.record.space
        if (space, text) not in self._known:
            (parts,) = await self._embeddings[space].document_parts([text])
            self._known[space, text] = tuple(parts)
        expected = self._known[space, text]
        assert len(item.parts) == len(expected), f"parts of another text: {item.record}"
        for part, due in zip(item.parts, expected, strict=True):
            assert (part.start, part.end) == (due.start, due.end), f"spans: {item.record}"
            assert np.array_equal(part.terms, due.terms), f"words of another text: {item.record}"
            same = np.allclose(part.vector, due.vector, atol=_PRECISION)
            assert same, f"a vector of another text: {item.record}"

    def close(self) -> None:
        """Let the threads go."""
        self._workers.close()
