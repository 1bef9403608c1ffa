"""The backend behind `memory://`: nothing but a dictionary, so that it is obviously right.

It is the twin the file's backend is compared with, and it forgets everything with the process.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from memlane.checks import (
    check_dimensions,
    check_limit,
    check_space,
    check_upsert,
    check_version,
    closed_error,
)
from memlane.columns import candidates_of
from memlane.filters import Filter
from memlane.local.codec import metadata_json, parse_metadata
from memlane.local.places import decode_place, encode_place
from memlane.pages import lists
from memlane.protocols import (
    Candidates,
    Capabilities,
    EmbeddingSpace,
    IndexedRecord,
    RecordPart,
    ScanPage,
    VectorQuery,
)
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord, Residue

__all__ = ("InMemoryBackend",)

_CAPABILITIES: Final = Capabilities(name="memory", exact=True, atomic_conditions=True)


class _Entry(NamedTuple):
    order: int
    item: IndexedRecord


_Owner: TypeAlias = "dict[tuple[str | None, str], _Entry]"  # by agent and id, in stored order


class InMemoryBackend:
    """Keeps records in this process; safe from any thread and any event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: dict[tuple[str | None, str], _Owner] = {}
        self._spaces: dict[str | None, dict[str, int]] = {}
        self._last = 0
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """Exact, and conditions hold: there is no other process."""
        return _CAPABILITIES

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        with self._lock:
            self._check_open("ensure_index")
            known = self._spaces.setdefault(scope.tenant, {})
            if not self._has_records(scope.tenant):
                known.clear()
            check_space(space.id, known, scope=scope)
            known[space.id] = space.dimensions

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        with self._lock:
            self._check_open("upsert")
            check_upsert(records, scope=scope, expected_version=expected_version)
            mine = self._owners.get((scope.tenant, scope.user), {})
            for item in records:
                there = mine.get((scope.agent, item.record.id))
                have = there.item.record.version if there else 0
                check_version(item.record.id, have, expected_version, scope=scope)
            spaces = dict(self._spaces.get(scope.tenant, {}))
            for item in records:
                space = item.record.space
                spaces.setdefault(space, 0)
                for part in item.parts:
                    check_dimensions(space, len(part.vector), spaces[space], scope=scope)
                    spaces[space] = len(part.vector)
            copies = [_own(item) for item in records]
            if not copies:
                return
            # Nothing can fail from here on.
            self._spaces[scope.tenant] = spaces
            mine = self._owners.setdefault((scope.tenant, scope.user), {})
            for item in copies:
                key = (scope.agent, item.record.id)
                there = mine.get(key)
                if there is None:
                    self._last += 1
                mine[key] = _Entry(there.order if there else self._last, item)

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        with self._lock:
            self._check_open("query")
            items = [entry.item for entry in self._within(reach)]
        return candidates_of(items, query)

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        wanted = set(record_ids)
        with self._lock:
            self._check_open("fetch")
            found = [e.item for e in self._within(reach) if e.item.record.id in wanted]
        return found if vectors else [dataclasses.replace(item, parts=()) for item in found]

    async def scan(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> ScanPage:
        check_limit(limit)
        after = decode_place(cursor, owner=0)
        page: list[MemoryRecord] = []
        with self._lock:
            self._check_open("scan")
            for order, item in self._within(reach):
                record = item.record
                if order <= after or not lists(record, namespace=namespace, filter=filter):
                    continue
                if len(page) == limit:
                    return ScanPage(records=tuple(page), cursor=encode_place(0, after))
                page.append(record)
                after = order
        return ScanPage(records=tuple(page), cursor=None)

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        wanted = set(record_ids)
        owner = (reach.scope.tenant, reach.scope.user)
        with self._lock:
            self._check_open("delete")
            found = [e.item.record for e in self._within(reach) if e.item.record.id in wanted]
            for record in found:
                del self._owners[owner][record.scope.agent, record.id]
            if found and not self._owners[owner]:
                del self._owners[owner]
                if not self._has_records(reach.scope.tenant):
                    self._spaces.pop(reach.scope.tenant, None)
        return len(found)

    async def actors(self, *, reach: Reach) -> Sequence[str]:
        """Return the distinct actors within reach, sorted."""
        with self._lock:
            self._check_open("actors")
            names = {entry.item.record.actor for entry in self._within(reach)}
        return sorted(name for name in names if name is not None)

    async def scrub(self, *, scope: Scope) -> Residue:
        """Say that nothing is left: there is no file."""
        del scope
        with self._lock:
            self._check_open("scrub")
        return "none"

    async def aclose(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._owners.clear()
            self._spaces.clear()

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise closed_error(operation)

    def _has_records(self, tenant: str | None) -> bool:
        return any(owner == tenant for owner, _ in self._owners)

    def _within(self, reach: Reach) -> Iterator[_Entry]:
        # A dictionary keeps a replaced key's place, so this is stored order.
        for entry in self._owners.get((reach.scope.tenant, reach.scope.user), {}).values():
            record = entry.item.record
            if reach.covers(record.scope, expires_at=record.expires_at):
                yield entry


def _own(item: IndexedRecord) -> IndexedRecord:
    # What the caller changes afterwards must not change what is stored, as with a file.
    record = dataclasses.replace(
        item.record, metadata=parse_metadata(metadata_json(item.record.metadata))
    )
    return IndexedRecord(record=record, parts=tuple(map(_own_part, item.parts)))


def _own_part(part: RecordPart) -> RecordPart:
    vector = np.array(part.vector, dtype=np.float32)
    terms = np.array(part.terms, dtype=np.uint32)
    vector.flags.writeable = terms.flags.writeable = False
    return RecordPart(start=part.start, end=part.end, vector=vector, terms=terms)
