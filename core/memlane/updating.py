"""The next version of a record: read and replaced without losing another's change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from memlane.embeddings import Embeddings
from memlane.errors import ConflictError, NotFoundError
from memlane.layout import owner_prefix
from memlane.limits import check_version
from memlane.protocols import Clock, IndexedRecord, VectorBackend
from memlane.reader import Reader, only
from memlane.runtime.turns import Turns
from memlane.scope import Reach
from memlane.sizing import check_tags
from memlane.types import MemoryRecord
from memlane.writing import changed, restored

__all__ = ("Updater",)

_ATTEMPTS = 8  # an update that loses this many races in a row has found a hot spot to report


class Updater:
    """Makes the next versions of records; what they replace is handed to the backend to keep.

    Args:
        backend: Where records live.
        embeddings: How texts become vectors.
        clock: When it is.
    """

    def __init__(self, backend: VectorBackend, embeddings: Embeddings, *, clock: Clock) -> None:
        self._backend = backend
        self._embeddings = embeddings
        self._clock = clock
        self._reader = Reader(backend)
        self._turns = Turns()

    async def update(
        self,
        record_id: str,
        *,
        reach: Reach,
        expected_version: int | None,
        changes: Mapping[str, Any],
    ) -> MemoryRecord:
        """Store the next version of a record with some fields replaced.

        Raises:
            NotFoundError: No such record in reach.
            ConflictError: It is at another version than expected, or changes too fast.
        """

        async def change(record: MemoryRecord) -> MemoryRecord:
            space = self._embeddings.space.id
            return changed(record, now=self._clock.now(), space=space, **changes)

        return await self._next(record_id, reach, expected_version, change)

    async def restore(
        self,
        record_id: str,
        *,
        reach: Reach,
        version: int,
        expected_version: int | None,
        allowed: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]] | None = None,
    ) -> MemoryRecord:
        """Store what a record once said as its next version.

        Args:
            record_id: The record.
            reach: Where it must be.
            version: Which of its history.
            expected_version: The version it must be at now.
            allowed: Returns what of an older text may be stored today; all of it if None.

        Raises:
            NotFoundError: No such record in reach, or no such version of it.
            ConflictError: It is at another version than expected, or changes too fast.
        """
        check_version(version, name="version")

        async def restore(record: MemoryRecord) -> MemoryRecord:
            kept = await self._reader.versions(record, reach=reach)
            # Of two that raced under one number the record has one already; meant is the other.
            for old in (*kept, record):
                if old.version == version:
                    now, space = self._clock.now(), self._embeddings.space.id
                    meant = old if allowed is None else await _redacted(old, allowed)
                    return restored(record, meant, now=now, space=space)
            raise NotFoundError(
                f"no version {version} of this record is kept",
                remedy="see `history` for those that are",
            )

        return await self._next(record_id, reach, expected_version, restore)

    async def _next(
        self,
        record_id: str,
        reach: Reach,
        expected_version: int | None,
        change: Callable[[MemoryRecord], Awaitable[MemoryRecord]],
    ) -> MemoryRecord:
        if expected_version is not None:
            check_version(expected_version, name="expected_version")
        after = await self._tried(record_id, reach, expected_version, change)
        if after is not None:
            return after
        # Who lost a race waits in line, or all who lost would race again.
        async with self._turns.taken([f"{owner_prefix(reach.scope)}{record_id}"]):
            for _ in range(_ATTEMPTS - 1):
                after = await self._tried(record_id, reach, expected_version, change)
                if after is not None:
                    return after
        raise ConflictError(
            f"the record changed {_ATTEMPTS} times while it was being updated",
            remedy="pass expected_version and decide which change wins",
        )

    async def _tried(
        self,
        record_id: str,
        reach: Reach,
        expected_version: int | None,
        change: Callable[[MemoryRecord], Awaitable[MemoryRecord]],
    ) -> MemoryRecord | None:
        """Return the next version, or None where somebody else was first."""
        found = await self._backend.fetch([record_id], reach=reach, vectors=True)
        before = only(found, record_id=record_id, reach=reach)
        record = before.record
        if expected_version is not None and record.version != expected_version:
            raise ConflictError(
                f"the record is at version {record.version}, not {expected_version}",
                remedy="read it again and repeat the change",
            )
        after = await change(record)
        made = IndexedRecord(record=after, parts=before.parts)
        if after.text != record.text or after.space != record.space or not before.parts:
            made = await self._embeddings.changed_parts(after, before)
        try:
            await self._backend.upsert(
                [replace(made, replaces=record)],
                scope=record.scope,
                expected_version=record.version,
            )
        except ConflictError:
            if expected_version is not None:
                raise
            return None
        return made.record


async def _redacted(
    old: MemoryRecord, allowed: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
) -> MemoryRecord:
    """Return an older version as it may be stored today."""
    said = await allowed({"text": old.text, "metadata": old.metadata, "tags": old.tags})
    tags = check_tags([*said["tags"], *said.get("labels", ())])
    return replace(old, text=said["text"], metadata=said["metadata"], tags=tags)
