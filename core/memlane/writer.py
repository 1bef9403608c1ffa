"""Writing records: prepared as a whole before anything is paid for, durable when it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from memlane.embeddings import Embeddings
from memlane.errors import (
    ConflictError,
    PartialWriteError,
    ValidationError,
)
from memlane.protocols import Clock, IndexedRecord, VectorBackend
from memlane.reader import only
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord, NewMemory
from memlane.writing import RecordIds, changed, new_record

__all__ = ("Writer",)

_ATTEMPTS = 8  # an update that loses this many races in a row has found a hot spot to report


@dataclass(frozen=True, slots=True)
class _Planned:
    record: MemoryRecord
    chosen_id: bool  # the caller named it, so it must not exist yet
    idempotent: bool  # the caller named the event, so it may exist and is then returned


class Writer:
    """The writing half of a client.

    Args:
        backend: Where records go.
        embeddings: How texts become vectors.
        clock: When it is.
        batch: Records embedded and written at a time.
    """

    def __init__(
        self, backend: VectorBackend, embeddings: Embeddings, *, clock: Clock, batch: int
    ) -> None:
        self._backend = backend
        self._embeddings = embeddings
        self._clock = clock
        self._batch = max(1, min(batch, backend.capabilities.max_batch))
        self._ids = RecordIds()

    async def store_many(self, items: Iterable[NewMemory], *, scope: Scope) -> list[MemoryRecord]:
        """Store items in order; nothing is written unless all of them can be.

        Raises:
            PartialWriteError: Some batches were durable before one failed.
        """
        planned = self._plan(items, scope)
        stored: list[MemoryRecord] = []
        for at in range(0, len(planned), self._batch):
            try:
                stored += await self._store_batch(planned[at : at + self._batch], scope)
            except Exception as exc:
                if not stored:
                    raise
                raise PartialWriteError(
                    f"{len(stored)} of {len(planned)} records were stored before a failure",
                    stored=stored,
                    operation="store_many",
                    scope=scope,
                    remedy=f"store the last {len(planned) - len(stored)} again",
                ) from exc
        return stored

    def _plan(self, items: Iterable[NewMemory], scope: Scope) -> list[_Planned]:
        now = self._clock.now()
        planned: list[_Planned] = []
        seen: dict[str, str] = {}
        for place, item in enumerate(items):
            if not isinstance(item, NewMemory):
                raise ValidationError(
                    f"item {place} must be a NewMemory, not {type(item).__name__}",
                    remedy="pass NewMemory(content=...)",
                )
            try:
                record = new_record(
                    item, scope=scope, now=now, ids=self._ids, space=self._embeddings.space.id
                )
            except ValidationError as error:
                if place:
                    error.reason = f"item {place}: {error.reason}"
                raise
            idempotent = item.idempotency_key is not None
            if record.id in seen and not (idempotent and seen[record.id] == record.text):
                raise ConflictError(
                    f"item {place} has the id of an item before it",
                    remedy="give each item an id of its own",
                )
            seen[record.id] = record.text
            planned.append(
                _Planned(record, chosen_id=item.record_id is not None, idempotent=idempotent)
            )
        return planned

    async def _store_batch(self, planned: Sequence[_Planned], scope: Scope) -> list[MemoryRecord]:
        known = await self._known(planned, scope)
        fresh = {plan.record.id: plan for plan in planned if plan.record.id not in known}
        await self._write(list(fresh.values()), scope, known)
        return [known.get(plan.record.id, plan.record) for plan in planned]

    async def _known(self, planned: Sequence[_Planned], scope: Scope) -> dict[str, MemoryRecord]:
        """Return what earlier calls with the same idempotency keys stored, by id."""
        wanted = {plan.record.id: plan.record for plan in planned if plan.idempotent}
        if not wanted:
            return {}
        reach = Reach.point(scope, now=self._clock.now())
        found = await self._backend.fetch(list(wanted), reach=reach)
        for indexed in found:
            if indexed.record.text != wanted[indexed.record.id].text:
                raise ConflictError(
                    "this idempotency_key was used for another content",
                    remedy="use a new key for a new event, or `update` to change the record",
                )
        return {indexed.record.id: indexed.record for indexed in found}

    async def _write(
        self, planned: Sequence[_Planned], scope: Scope, known: dict[str, MemoryRecord]
    ) -> None:
        if not planned:
            return
        parts = await self._embeddings.document_parts([plan.record.text for plan in planned])
        indexed = [
            (plan, IndexedRecord(record=plan.record, parts=part))
            for plan, part in zip(planned, parts, strict=True)
        ]
        # Runs of one condition keep the order in which the records were given.
        for chosen, run in groupby(indexed, key=lambda pair: pair[0].chosen_id):
            pairs = list(run)
            racing = [pair for pair in pairs if pair[0].idempotent]
            steady = [pair[1] for pair in pairs if not pair[0].idempotent]
            if not racing:
                await self._backend.upsert(
                    steady, scope=scope, expected_version=0 if chosen else None
                )
                continue
            for plan, one in pairs:
                await self._write_idempotent(plan, one, scope, known)

    async def _write_idempotent(
        self,
        plan: _Planned,
        indexed: IndexedRecord,
        scope: Scope,
        known: dict[str, MemoryRecord],
    ) -> None:
        if not plan.idempotent:
            await self._backend.upsert([indexed], scope=scope)
            return
        try:
            await self._backend.upsert([indexed], scope=scope, expected_version=0)
        except ConflictError:
            # Somebody else stored the same event meanwhile: theirs is the record.
            theirs = await self._known([plan], scope)
            if plan.record.id not in theirs:
                raise
            known |= theirs

    async def update(
        self,
        record_id: str,
        *,
        reach: Reach,
        expected_version: int | None,
        changes: Mapping[str, Any],
    ) -> MemoryRecord:
        """Store the next version of a record, read and replaced without losing another's change.

        Raises:
            NotFoundError: No such record in reach.
            ConflictError: It is at another version than expected, or changes too fast.
        """
        for _ in range(_ATTEMPTS):
            before = await self._one(record_id, reach)
            record = before.record
            if expected_version is not None and record.version != expected_version:
                raise ConflictError(
                    f"the record is at version {record.version}, not {expected_version}",
                    remedy="read it again and repeat the change",
                )
            after = changed(
                record, now=self._clock.now(), space=self._embeddings.space.id, **changes
            )
            parts = before.parts
            if after.text != record.text or after.space != record.space or not parts:
                parts = (await self._embeddings.document_parts([after.text]))[0]
            try:
                await self._backend.upsert(
                    [IndexedRecord(record=after, parts=parts)],
                    scope=record.scope,
                    expected_version=record.version,
                )
            except ConflictError:
                if expected_version is not None:
                    raise
                continue
            return after
        raise ConflictError(
            f"the record changed {_ATTEMPTS} times while it was being updated",
            remedy="pass expected_version and decide which change wins",
        )

    async def _one(self, record_id: str, reach: Reach) -> IndexedRecord:
        found = await self._backend.fetch([record_id], reach=reach, vectors=True)
        return only(found, record_id=record_id, reach=reach)
