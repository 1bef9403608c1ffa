"""The backend behind `memory://`: nothing but a dictionary, so that it is obviously right.

It is the twin the file's backend is compared with, and it forgets everything with the process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

from memlane.checks import (
    check_condition,
    check_dimensions,
    check_limit,
    check_space,
    check_upsert,
    former_error,
)
from memlane.columns import candidates_of
from memlane.filters import Filter
from memlane.layout import MAX_VERSIONS
from memlane.local.memory_tenants import Entry, TenantsInMemory, own, own_record
from memlane.local.places import (
    decode_place,
    encode_place,
)
from memlane.pages import lists
from memlane.protocols import (
    Candidates,
    Capabilities,
    EmbeddingSpace,
    IndexedRecord,
    ScanPage,
    VectorQuery,
)
from memlane.receipts import Residue
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("InMemoryBackend",)

_CAPABILITIES: Final = Capabilities(name="memory", exact=True, atomic_conditions=True)


class InMemoryBackend(TenantsInMemory):
    """Keeps records in this process; safe from any thread and any event loop."""

    @property
    def capabilities(self) -> Capabilities:
        """Exact, and conditions hold: there is no other process."""
        return _CAPABILITIES

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        with self._lock:
            self._check_open("ensure_index")
            self._register(scope, space)

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
            # Of one id given twice the last counts, in the place of the first.
            items = list({item.record.id: item for item in records}.values())
            for item in items:
                there = mine.get((scope.agent, item.record.id))
                have = there.item.record if there else None
                check_condition(item, have, expected_version, scope=scope)
            spaces: dict[str, int] = dict(self._spaces.get(scope.tenant, {}))
            begins = not self._has_records(scope.tenant)
            for item in items:
                space = item.record.space
                if space not in spaces and space in self._former.get(scope.tenant, ()):
                    raise former_error(space, scope=scope, operation="upsert")
                if item.parts and not spaces.get(space):
                    if begins:  # then others were registered and not used
                        spaces = {name: size for name, size in spaces.items() if name == space}
                    check_space(space, {name for name, size in spaces.items() if size}, scope=scope)
                spaces.setdefault(space, 0)
                for part in item.parts:
                    check_dimensions(space, len(part.vector), spaces[space], scope=scope)
                    spaces[space] = len(part.vector)
            copies = [(own(item), _own_replaced(item)) for item in items]
            if not copies:
                return
            # Nothing can fail from here on.
            self._spaces[scope.tenant] = spaces
            mine = self._owners.setdefault((scope.tenant, scope.user), {})
            for item, replaced in copies:
                key = (scope.agent, item.record.id)
                there = mine.get(key)
                if there is None:
                    self._last += 1
                    kept = () if replaced is None else (replaced,)
                    mine[key] = Entry(self._last, item, kept)
                else:
                    mine[key] = Entry(there.order, item, _history(there, item, replaced))

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        with self._lock:
            self._check_open("query")
            known = self._spaces.get(reach.scope.tenant, {})
            if query.space not in known and query.space in self._former.get(reach.scope.tenant, ()):
                raise former_error(query.space, scope=reach.scope, operation="query")
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
            for order, item, _ in self._within(reach):
                record = item.record
                if order <= after or not lists(record, namespace=namespace, filter=filter):
                    continue
                if len(page) == limit:
                    return ScanPage(records=tuple(page), cursor=encode_place(0, after))
                page.append(record)
                after = order
        return ScanPage(records=tuple(page), cursor=None)

    async def remains(self, *, reach: Reach, limit: int = 1_000) -> Sequence[str]:
        """Return ids of which anything is left within reach; with a record goes all that it has."""
        lasting = dataclasses.replace(reach, now=None)
        with self._lock:
            self._check_open("remains")
            ids = dict.fromkeys(entry.item.record.id for entry in self._within(lasting))
        return list(ids)[:limit]

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        wanted = set(record_ids)
        owner = (reach.scope.tenant, reach.scope.user)
        with self._lock:
            self._check_open("delete")
            found = [e.item.record for e in self._within(reach) if e.item.record.id in wanted]
            self._drop(owner, found)
        return len(found)

    async def count(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
    ) -> int:
        """Return how many records are within reach and meet the conditions."""
        with self._lock:
            self._check_open("count")
            return sum(
                lists(entry.item.record, namespace=namespace, filter=filter)
                for entry in self._within(reach)
            )

    async def versions(self, record_id: str, *, reach: Reach) -> Sequence[MemoryRecord]:
        """Return what updates have replaced of the records of an id, the newest first."""
        # How long a version was to be kept says nothing any more: it goes with its record.
        lasting = dataclasses.replace(reach, now=None)
        with self._lock:
            self._check_open("versions")
            entries = sorted(self._within(reach), key=lambda one: one.item.record.scope.agent or "")
            found = [
                old
                for entry in entries
                if entry.item.record.id == record_id
                for old in reversed(entry.kept)
                if lasting.covers(old.scope)
            ]
        return sorted(found, key=lambda old: (old.version, old.updated_at), reverse=True)

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
            for kept in (self._owners, self._spaces, self._former, self._shadows):
                kept.clear()

    def _within(self, reach: Reach) -> Iterator[Entry]:
        # A dictionary keeps a replaced key's place, so this is stored order.
        for entry in self._owners.get((reach.scope.tenant, reach.scope.user), {}).values():
            record = entry.item.record
            if reach.covers(record.scope, expires_at=record.expires_at):
                yield entry


def _history(
    there: Entry, item: IndexedRecord, replaced: MemoryRecord | None
) -> tuple[MemoryRecord, ...]:
    if replaced is not None:
        # What lies there, whatever the writer believed: neither text is lost.
        return (*there.kept, there.item.record)[-MAX_VERSIONS:]
    # Version 1 is another record that took the id of one that had expired.
    return () if item.record.version == 1 else there.kept


def _own_replaced(item: IndexedRecord) -> MemoryRecord | None:
    return None if item.replaces is None else own_record(item.replaces)
