"""What gathers, in memory, of a tenant's vectors in another embedding space."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from memlane.checks import shadow_error
from memlane.media import unseen
from memlane.protocols import EmbeddingSpace, IndexedRecord, RecordPart
from memlane.scope import Scope
from memlane.types import MemoryRecord

__all__ = ("Shadow", "respaced")

_Name: TypeAlias = tuple[str, str | None, str]  # user, agent and id


class Shadow:
    """Vectors by the very record they were made for: of a record that changed there are none.

    Args:
        space: The space of the vectors.
    """

    def __init__(self, space: EmbeddingSpace) -> None:
        self._space = space
        self._made: dict[_Name, tuple[MemoryRecord, tuple[RecordPart, ...]]] = {}

    def check(self, space: EmbeddingSpace, *, scope: Scope) -> None:
        """Refuse another space than this shadow's."""
        if space.id != self._space.id:
            raise shadow_error(space.id, self._space.id, scope=scope, operation="reembed")

    def put(self, item: IndexedRecord, stored: MemoryRecord) -> None:
        """Keep vectors, if they were made for a record as it is stored."""
        # Its pictures' vectors are not made anew, and its notes may say so already.
        same = dataclasses.replace(item.record, space=stored.space, images=stored.images)
        if same == stored:
            self._made[_name(stored)] = (stored, item.parts)

    def has(self, stored: MemoryRecord) -> bool:
        """Say whether there are vectors for a record as it is stored."""
        made = self._made.get(_name(stored))
        return made is not None and made[0] is stored

    def taken(self, stored: MemoryRecord) -> IndexedRecord:
        """Return a record in this space."""
        return IndexedRecord(
            record=respaced(stored, self._space.id),
            parts=self._made[_name(stored)][1],
        )


def respaced(record: MemoryRecord, space: str) -> MemoryRecord:
    """Return a record of another space, which has no vectors of its pictures."""
    return dataclasses.replace(record, space=space, images=unseen(record.images))


def _name(record: MemoryRecord) -> _Name:
    return record.scope.user, record.scope.agent, record.id
