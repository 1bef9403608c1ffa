"""What a memory should do, as a dictionary: the state machine compares every answer with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from memlane.errors import ConflictError, MemlaneError, NotFoundError
from memlane.scope import Scope
from memlane.testing.samples import contains, lies_within
from memlane.types import MemoryRecord, Source

__all__ = ("Address", "MemoryModel", "below", "held_at", "next_version", "restored_from")

Address: TypeAlias = tuple[str | None, str, str | None, str]
"""Tenant, user, agent and id: what names a record."""

_NEVER = datetime.max.replace(tzinfo=UTC)
_TRUST: tuple[Source, ...] = ("app", "user", "assistant", "tool", "import")
_SAID = (
    "text", "metadata", "tags", "namespace", "kind", "actor", "occurred_at", "valid_from",
    "valid_to",
)  # fmt: skip


def address_of(scope: Scope, record_id: str) -> Address:
    """Return where a record of that id lies."""
    return scope.tenant, scope.user, scope.agent, record_id


def below(namespace: str, asked: str | None) -> bool:
    """Say by whole segments whether a namespace lies in the subtree asked for."""
    own = namespace.strip("/").split("/")
    top = (asked or "/").strip("/").split("/")
    return top == [""] or own[: len(top)] == top


def held_at(record: MemoryRecord, moment: datetime) -> bool:
    """Say whether what a record says was true at a moment."""
    begun = record.valid_from is None or record.valid_from <= moment
    return begun and (record.valid_to is None or moment < record.valid_to)


def next_version(
    record: MemoryRecord, changes: Mapping[str, Any], *, now: datetime, space: str
) -> MemoryRecord:
    """Return what an update makes of a record; nobody is trusted more for having changed it."""
    changes = dict(changes)
    if "source" in changes:
        changes["source"] = max(record.source, changes["source"], key=_TRUST.index)
    return replace(record, **changes, version=record.version + 1, updated_at=now, space=space)


def restored_from(
    record: MemoryRecord, old: MemoryRecord, *, now: datetime, space: str
) -> MemoryRecord:
    """Return what restoring one of its versions makes of a record."""
    said = {name: getattr(old, name) for name in _SAID}
    return next_version(record, {**said, "source": old.source}, now=now, space=space)


@dataclass
class MemoryModel:
    """Records by address, expired ones among them until they are forgotten or swept.

    Args:
        records: What is there.
        kept: What was replaced of it, the oldest first.
        keys: Where each owner's idempotency keys led to.
        keeps: Whether the backend keeps what is replaced.
    """

    records: dict[Address, MemoryRecord] = field(default_factory=dict)
    kept: dict[Address, tuple[MemoryRecord, ...]] = field(default_factory=dict)
    keys: dict[Address, Address] = field(default_factory=dict)
    keeps: bool = True

    def alive(self, now: datetime) -> Iterator[MemoryRecord]:
        """Yield what has not expired."""
        for record in self.records.values():
            if record.expires_at is None or record.expires_at > now:
                yield record

    def within(
        self, scope: Scope, *, any_agent: bool, only_session: bool, now: datetime
    ) -> list[MemoryRecord]:
        """Return what point calls and recall see from a scope."""
        return [
            record
            for record in self.alive(now)
            if lies_within(scope, record.scope, any_agent=any_agent, any_session=not only_session)
        ]

    def whole(self, scope: Scope, *, now: datetime | None) -> list[MemoryRecord]:
        """Return what whole-scope calls see from a scope; with None, what has expired too."""
        there = self.records.values() if now is None else self.alive(now)
        return [record for record in there if contains(scope, record.scope)]

    def of_tenant(
        self, tenant: str | None, *, expired: datetime | None = None
    ) -> list[MemoryRecord]:
        """Return all that a tenant has; with a moment, what has expired by then."""
        return [
            record
            for record in self.records.values()
            if record.scope.tenant == tenant
            and (expired is None or (record.expires_at or _NEVER) <= expired)
        ]

    def one(
        self,
        record_id: str,
        scope: Scope,
        *,
        any_agent: bool,
        only_session: bool,
        now: datetime,
    ) -> MemoryRecord | type[MemlaneError]:
        """Return the record an id means, or the error that says it means none or several."""
        found = [
            record
            for record in self.within(
                scope, any_agent=any_agent, only_session=only_session, now=now
            )
            if record.id == record_id
        ]
        if not found:
            return NotFoundError
        return found[0] if len(found) == 1 else ConflictError

    def at(self, scope: Scope, record_id: str) -> MemoryRecord | None:
        """Return what lies at an address, expired or not."""
        return self.records.get(address_of(scope, record_id))

    def keyed(self, scope: Scope, key: str) -> MemoryRecord | None:
        """Return what an idempotency key led to, if that is still there, expired or not."""
        place = self.keys.get(address_of(scope, key))
        return None if place is None else self.records.get(place)

    def history(self, record: MemoryRecord, *, session: str | None = None) -> list[MemoryRecord]:
        """Return a record and what it was, the newest first; of one session only, if one is named.

        An import of the same record into another session takes it there, and not its past.
        """
        kept = self.kept.get(address_of(record.scope, record.id), ())
        seen = [old for old in reversed(kept) if session in {None, old.scope.session}]
        return [record, *seen]

    def stood(
        self, record: MemoryRecord, moment: datetime, *, session: str | None = None
    ) -> MemoryRecord | None:
        """Return a record in the words it had at a moment; None when nobody knows them.

        What was stored only later, about something before, stood in its first words.
        """
        versions = self.history(record, session=session)
        for version in versions:
            if version.updated_at <= moment or record.version == 1:
                return version
        first = versions[-1]
        return first if first is not record and first.updated_at <= first.stored_at else None

    def put(self, record: MemoryRecord, *, key: str | None = None) -> None:
        """Store a new record; it has none of the past of what lay there."""
        place = address_of(record.scope, record.id)
        self.records[place] = record
        self.kept.pop(place, None)
        if key is not None:
            self.keys[address_of(record.scope, key)] = place

    def change(self, after: MemoryRecord) -> MemoryRecord:
        """Store and return the next version of a record, and keep what it replaces."""
        place = address_of(after.scope, after.id)
        if self.keeps:
            self.kept[place] = (*self.kept.get(place, ()), self.records[place])
        self.records[place] = after
        return after

    def bring(self, chain: Sequence[MemoryRecord]) -> None:
        """Store versions of a record one after the other, behind what is there of it."""
        for record in chain:
            if address_of(record.scope, record.id) in self.records:
                self.change(record)
            else:
                self.put(record)

    def remove(self, records: Sequence[MemoryRecord]) -> None:
        """Take records away, and what they were."""
        for record in records:
            place = address_of(record.scope, record.id)
            del self.records[place]
            self.kept.pop(place, None)

    def move(self, tenant: str | None, space: str) -> None:
        """Let a tenant's records be of another embedding space."""
        for place, record in self.records.items():
            if record.scope.tenant == tenant:
                self.records[place] = replace(record, space=space)
