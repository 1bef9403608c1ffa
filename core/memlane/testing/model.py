"""What a memory should do, as a dictionary: the state machine compares every answer with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from memlane.errors import ConflictError, MemlaneError, NotFoundError
from memlane.scope import Scope
from memlane.testing.samples import contains, lies_within
from memlane.types import MemoryRecord

__all__ = ("Address", "MemoryModel", "below")

Address: TypeAlias = tuple[str | None, str, str | None, str]
"""Tenant, user, agent and id: what names a record."""


def address_of(scope: Scope, record_id: str) -> Address:
    """Return where a record of that id lies."""
    return scope.tenant, scope.user, scope.agent, record_id


def below(namespace: str, asked: str | None) -> bool:
    """Say by whole segments whether a namespace lies in the subtree asked for."""
    own = namespace.strip("/").split("/")
    top = (asked or "/").strip("/").split("/")
    return top == [""] or own[: len(top)] == top


@dataclass
class MemoryModel:
    """Records by address, expired ones among them until they are forgotten.

    Args:
        records: What is there.
        keys: Where each owner's idempotency keys led to.
    """

    records: dict[Address, MemoryRecord] = field(default_factory=dict)
    keys: dict[Address, Address] = field(default_factory=dict)

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

    def put(self, record: MemoryRecord, *, key: str | None = None) -> None:
        """Store a record or its next version."""
        place = address_of(record.scope, record.id)
        self.records[place] = record
        if key is not None:
            self.keys[address_of(record.scope, key)] = place

    def remove(self, records: Sequence[MemoryRecord]) -> None:
        """Take records away."""
        for record in records:
            del self.records[address_of(record.scope, record.id)]

    def change(self, record: MemoryRecord, changes: Mapping[str, object]) -> MemoryRecord:
        """Store and return the next version of a record."""
        after = replace(record, version=record.version + 1, **changes)  # type: ignore[arg-type] # by name
        self.put(after)
        return after
