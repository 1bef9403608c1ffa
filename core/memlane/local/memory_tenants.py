"""Everything a process remembers, by tenant and user, and what is done with a tenant as a whole."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

import numpy as np

from memlane.checks import (
    check_limit,
    check_shadowed,
    check_space,
    closed_error,
    shadow_error,
    spaced_error,
)
from memlane.local.codec import metadata_json, parse_metadata
from memlane.local.places import decode_member, decode_name, encode_member, encode_name
from memlane.local.shadow import Shadow, respaced
from memlane.powers import NamePage, PendingPage
from memlane.protocols import EmbeddingSpace, IndexedRecord, RecordPart
from memlane.receipts import ForgetReceipt, TenantStats
from memlane.scope import Scope
from memlane.types import MemoryRecord

__all__ = ("Entry", "TenantsInMemory", "own", "own_record")


class Entry(NamedTuple):
    """A record with its place in stored order, and what updates have replaced, the oldest first."""

    order: int
    item: IndexedRecord
    kept: tuple[MemoryRecord, ...]


_OwnerName: TypeAlias = "tuple[str | None, str]"  # tenant and user
_Owner: TypeAlias = "dict[tuple[str | None, str], Entry]"  # by agent and id, in stored order


class TenantsInMemory:
    """What `InMemoryBackend` keeps, and its verbs about whole tenants."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: dict[_OwnerName, _Owner] = {}
        self._spaces: dict[str | None, dict[str, int]] = {}
        self._former: dict[str | None, set[str]] = {}
        self._shadows: dict[str | None, Shadow] = {}
        self._last = 0
        self._closed = False

    async def onboard(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Remember the tenant's embedding space; there is nothing else to make."""
        with self._lock:
            self._check_open("onboard")
            fresh = space.id not in self._spaces.get(scope.tenant, {})
            self._register(scope, space)
        return fresh

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        """Delete the tenant's records that expired at or before `now` and return how many."""
        count = 0
        with self._lock:
            self._check_open("sweep")
            for owner, entries in self._of_tenant(scope.tenant):
                gone = [e.item.record for e in entries.values() if _expired(e.item.record, now)]
                self._drop(owner, gone)
                count += len(gone)
        return count

    async def users(self, *, scope: Scope, cursor: str | None = None, limit: int = 100) -> NamePage:
        """Return users of the tenant by name."""
        check_limit(limit)
        after = decode_name(cursor)
        with self._lock:
            self._check_open("users")
            names = sorted(user for (_, user), _ in self._of_tenant(scope.tenant) if user > after)
        return NamePage(
            names=tuple(names[:limit]),
            cursor=encode_name(names[limit - 1]) if len(names) > limit else None,
        )

    async def stats(self, *, scope: Scope, now: datetime) -> TenantStats:
        """Count what the tenant has."""
        with self._lock:
            self._check_open("stats")
            owners = self._of_tenant(scope.tenant)
            entries = [entry for _, owner in owners for entry in owner.values()]
        records = [e.item.record for e in entries if not _expired(e.item.record, now)]
        return TenantStats(
            users=len(owners),
            records=len(records),
            expired=len(entries) - len(records),
            versions=sum(len(entry.kept) for entry in entries),
            vectors=sum(len(entry.item.parts) for entry in entries),
            text_bytes=sum(len(record.text.encode()) for record in records),
            spaces=dict(Counter(record.space for record in records)),
        )

    async def forget_tenant(self, *, scope: Scope) -> ForgetReceipt:
        """Delete all that the tenant has, at once."""
        with self._lock:
            self._check_open("forget")
            found = 0
            for owner, entries in self._of_tenant(scope.tenant):
                found += len(entries)
                self._drop(owner, [entry.item.record for entry in entries.values()])
            self._drop_notes(scope.tenant)
        return ForgetReceipt(
            found=found, deleted=found, failed=(), verified_empty=True, residue="none"
        )

    async def begin_reembed(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        """Make the shadow, or find it again."""
        with self._lock:
            self._check_open("reembed")
            shadow = self._shadows.get(scope.tenant)
            if shadow is not None:
                shadow.check(space, scope=scope)
            elif self._has_records(scope.tenant) and self._settled(scope, space):
                raise spaced_error(space.id, scope=scope)
            else:
                self._shadows[scope.tenant] = Shadow(space)

    async def pending(
        self, *, scope: Scope, space: EmbeddingSpace, cursor: str | None = None, limit: int = 100
    ) -> PendingPage:
        """Return records that the shadow lacks, by user, agent and stored order."""
        check_limit(limit)
        after = decode_member(cursor)
        with self._lock:
            self._check_open("reembed")
            shadow = self._shadow(scope, space)
            if shadow is None:
                return PendingPage(records=(), cursor=None)
            found = sorted(
                (place, entry.item.record)
                for place, entry in self._places(scope.tenant)
                if place > after and not shadow.has(entry.item.record)
            )
        more = len(found) > limit
        return PendingPage(
            records=tuple(record for _, record in found[:limit]),
            cursor=encode_member(*found[limit - 1][0]) if more else None,
        )

    async def shadow(
        self, records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
    ) -> None:
        """Put vectors into the shadow, but those of records that have changed meanwhile."""
        check_shadowed(records, scope=scope, space=space)
        with self._lock:
            self._check_open("reembed")
            shadow = self._shadow(scope, space)
            if shadow is None:
                return
            for item in map(own, records):
                theirs = item.record.scope
                mine = self._owners.get((theirs.tenant, theirs.user), {})
                there = mine.get((theirs.agent, item.record.id))
                if there is not None:
                    shadow.put(item, there.item.record)

    async def cut_over(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Put the shadow in the old vectors' place."""
        with self._lock:
            self._check_open("reembed")
            shadow = self._shadow(scope, space)
            if shadow is None:
                return True
            owners = self._of_tenant(scope.tenant)
            if not all(shadow.has(e.item.record) for _, mine in owners for e in mine.values()):
                return False
            former = self._former.pop(scope.tenant, set()) | set(self._spaces.get(scope.tenant, {}))
            self._drop_notes(scope.tenant)
            self._spaces[scope.tenant] = {space.id: space.dimensions}
            if owners:
                self._former[scope.tenant] = former - {space.id}
            for _, mine in owners:
                for key, entry in mine.items():
                    mine[key] = Entry(
                        entry.order,
                        shadow.taken(entry.item.record),
                        tuple(respaced(old, space.id) for old in entry.kept),
                    )
        return True

    async def abandon_reembed(self, *, scope: Scope) -> bool:
        """Remove a shadow; False when there was none."""
        with self._lock:
            self._check_open("reembed")
            return self._shadows.pop(scope.tenant, None) is not None

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise closed_error(operation)

    def _has_records(self, tenant: str | None) -> bool:
        return any(owner == tenant for owner, _ in self._owners)

    def _of_tenant(self, tenant: str | None) -> list[tuple[_OwnerName, _Owner]]:
        return [(owner, mine) for owner, mine in self._owners.items() if owner[0] == tenant]

    def _places(self, tenant: str | None) -> Iterator[tuple[tuple[str, str, int], Entry]]:
        for (_, user), mine in self._of_tenant(tenant):
            for (agent, _), entry in mine.items():
                yield (user, agent or "", entry.order), entry

    def _register(self, scope: Scope, space: EmbeddingSpace) -> None:
        known = self._spaces.setdefault(scope.tenant, {})
        if not self._has_records(scope.tenant):
            known.clear()
        check_space(space.id, known, scope=scope)
        known[space.id] = space.dimensions

    def _drop(self, owner: _OwnerName, records: Sequence[MemoryRecord]) -> None:
        for record in records:
            del self._owners[owner][record.scope.agent, record.id]
        if records and not self._owners[owner]:
            del self._owners[owner]
            if not self._has_records(owner[0]):
                self._drop_notes(owner[0])

    def _drop_notes(self, tenant: str | None) -> None:
        for notes in (self._spaces, self._former, self._shadows):
            notes.pop(tenant, None)

    def _settled(self, scope: Scope, space: EmbeddingSpace) -> bool:
        return all(name == space.id for name in self._spaces.get(scope.tenant, {}))

    def _shadow(self, scope: Scope, space: EmbeddingSpace) -> Shadow | None:
        """Return the shadow of a space; None where none is needed any more."""
        shadow = self._shadows.get(scope.tenant)
        if shadow is not None:
            shadow.check(space, scope=scope)
        elif not self._settled(scope, space):
            raise shadow_error(space.id, None, scope=scope, operation="reembed")
        return shadow


def _expired(record: MemoryRecord, now: datetime) -> bool:
    return record.expires_at is not None and record.expires_at <= now


def own_record(record: MemoryRecord) -> MemoryRecord:
    """Return a record that nobody else can change."""
    return dataclasses.replace(record, metadata=parse_metadata(metadata_json(record.metadata)))


def own(item: IndexedRecord) -> IndexedRecord:
    """Return a record with its parts that nobody else can change."""
    # What the caller changes afterwards must not change what is stored, as with a file.
    return IndexedRecord(record=own_record(item.record), parts=tuple(map(_own_part, item.parts)))


def _own_part(part: RecordPart) -> RecordPart:
    vector = np.array(part.vector, dtype=np.float32)
    terms = np.array(part.terms, dtype=np.uint32)
    vector.flags.writeable = terms.flags.writeable = False
    return RecordPart(start=part.start, end=part.end, vector=vector, terms=terms)
