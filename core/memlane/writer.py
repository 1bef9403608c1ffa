"""Writing records: prepared as a whole before anything is paid for, durable when it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, takewhile
from typing import Final, NamedTuple, TypeAlias

from memlane import metering
from memlane.duplicates import Near, NearDuplicates, among, check_duplicates
from memlane.embeddings import Embeddings
from memlane.errors import (
    ConflictError,
    PartialWriteError,
    ValidationError,
)
from memlane.images import Picture, pictures_of
from memlane.protocols import Clock, IndexedRecord, VectorBackend
from memlane.reader import within_reach
from memlane.scope import Reach, Scope
from memlane.types import Duplicates, MemoryRecord, NewMemory
from memlane.updating import Updater
from memlane.writing import RecordIds, new_record

__all__ = ("Writer",)


_ATTEMPTS: Final = 3  # to take an expired record's id: others may be sweeping, or at the same


class _Planned(NamedTuple):
    record: MemoryRecord
    chosen_id: bool  # the caller named it, so it must not exist yet
    idempotent: bool  # the caller named the event, so it may exist and is then returned
    pictures: tuple[Picture, ...] = ()
    duplicates: Duplicates = "keep"


_Pair: TypeAlias = tuple[_Planned, IndexedRecord]


class Writer(Updater):
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
        super().__init__(backend, embeddings, clock=clock)
        self._batch = max(1, min(batch, backend.capabilities.max_batch))
        self._ids = RecordIds()
        self._near = NearDuplicates(backend, clock=clock)

    async def store_many(self, items: Iterable[NewMemory], *, scope: Scope) -> list[MemoryRecord]:
        """Store items in order; nothing is written unless all of them can be.

        Raises:
            PartialWriteError: Some were durable before one failed, or beside it.
        """
        planned = self._plan(items, scope)
        durable: dict[str, MemoryRecord] = {}
        for at in range(0, len(planned), self._batch):
            try:
                await self._store_batch(planned[at : at + self._batch], scope, durable)
            except Exception as exc:
                _tell(planned, durable, exc, scope)
                raise  # nothing was written
        return [durable[plan.record.id] for plan in planned]

    def _plan(self, items: Iterable[NewMemory], scope: Scope) -> list[_Planned]:
        now, space = self._clock.now(), self._embeddings.space.id
        planned: list[_Planned] = []
        seen: dict[str, object] = {}
        if isinstance(items, NewMemory) or not isinstance(items, Iterable):
            raise ValidationError(
                f"items must be a list of NewMemory, not {type(items).__name__}",
                remedy="pass [NewMemory(content=...)]",
            )
        for place, item in enumerate(items):
            if not isinstance(item, NewMemory):
                raise ValidationError(
                    f"item {place} must be a NewMemory, not {type(item).__name__}",
                    remedy="pass NewMemory(content=...)",
                )
            try:
                record = new_record(item, scope=scope, now=now, ids=self._ids, space=space)
            except ValidationError as error:
                if place:
                    error.reason = f"item {place}: {error.reason}"
                raise
            idempotent = item.idempotency_key is not None
            if record.id in seen and not (idempotent and seen[record.id] == _said(record)):
                raise ConflictError(
                    f"item {place} has the id of an item before it",
                    remedy="give each item an id of its own",
                )
            seen[record.id] = _said(record) if idempotent else None
            chosen = item.record_id is not None
            wish = check_duplicates(item.duplicates)
            planned.append(_Planned(record, chosen, idempotent, pictures_of(item), wish))
        return planned

    async def _store_batch(
        self, planned: Sequence[_Planned], scope: Scope, durable: dict[str, MemoryRecord]
    ) -> None:
        """Store what is not there yet, adding to `durable` what is, record by record."""
        known = await self._known(planned, scope)
        # What an earlier batch of this very call wrote stays what it was: no copy of it.
        durable |= {id_: record for id_, record in known.items() if id_ not in durable}
        fresh: dict[str, _Planned] = {}
        for plan in planned:
            if plan.record.id not in durable:
                fresh.setdefault(plan.record.id, plan)
        await self._write(list(fresh.values()), scope, durable)

    async def _known(self, planned: Sequence[_Planned], scope: Scope) -> dict[str, MemoryRecord]:
        """Return what earlier calls with the same idempotency keys stored, by id."""
        wanted = {plan.record.id: plan.record for plan in planned if plan.idempotent}
        if not wanted:
            return {}
        reach = Reach.point(scope, now=self._clock.now())
        fetched = await self._backend.fetch(list(wanted), reach=reach)
        found = within_reach((indexed.record for indexed in fetched), reach)
        known = {record.id: record for record in found if record.id in wanted}
        for record in known.values():
            if not await self._was_said(wanted[record.id], record, reach):
                raise ConflictError(
                    "this idempotency_key was used for another content",
                    remedy="use a new key for a new event, or `update` to change the record",
                )
        return known

    async def _was_said(self, wanted: MemoryRecord, record: MemoryRecord, reach: Reach) -> bool:
        """Say whether a record is of the event wanted, as far as that can be known."""
        if _said(record) == _said(wanted):
            return True
        if record.version == 1:
            return False
        # It was changed since; what the event said is in its history, if that goes back so far.
        kept = await self._reader.versions(record, reach=reach)
        first = [old for old in kept if old.version == 1]
        return not first or any(_said(old) == _said(wanted) for old in kept)

    async def _write(
        self, planned: Sequence[_Planned], scope: Scope, durable: dict[str, MemoryRecord]
    ) -> None:
        if not planned:
            return
        parts = await self._embeddings.document_parts(
            [plan.record.text for plan in planned], pictures=[plan.pictures for plan in planned]
        )
        indexed = [
            (plan, IndexedRecord(record=plan.record, parts=part))
            for plan, part in zip(planned, parts, strict=True)
        ]
        in_place_of: dict[str, str] = {}
        if any(plan.duplicates != "keep" for plan in planned):
            indexed, in_place_of = await self._sifted(indexed, scope, durable)
        await self._write_runs(indexed, scope, durable)
        # Not before: what they stand for in this very batch might not have been stored.
        durable |= {id_: durable[other] for id_, other in in_place_of.items()}

    async def _sifted(
        self, pairs: Sequence[_Pair], scope: Scope, durable: dict[str, MemoryRecord]
    ) -> tuple[list[_Pair], dict[str, str]]:
        """Return what is to be stored, and which of it stands for what is not.

        What has its like in the store is taken as durable at once.
        """
        meter = metering.current()
        kept: list[_Pair] = []
        in_place_of: dict[str, str] = {}
        asked = [one for plan, one in pairs if plan.duplicates != "keep"]
        there = iter(await self._near.of_all(asked, scope=scope))
        for plan, one in pairs:
            near: list[Near] = []
            if plan.duplicates != "keep":
                near = [*next(there), *among(one, (other for _, other in kept))]
            if meter is not None:
                for each in near:
                    meter.near_duplicate(each.record.id)
            # An id of one's own must be there afterwards.
            same = next(
                (
                    each.record
                    for each in near
                    if each.is_same and (not plan.chosen_id or each.record.id == plan.record.id)
                ),
                None,
            )
            if same is None or plan.duplicates != "collapse":
                kept.append((plan, one))
            elif any(other.record is same for _, other in kept):
                in_place_of[plan.record.id] = same.id
            else:
                durable[plan.record.id] = same
        return kept, in_place_of

    async def _write_runs(
        self, indexed: Sequence[_Pair], scope: Scope, durable: dict[str, MemoryRecord]
    ) -> None:
        # Runs of one condition keep the order in which the records were given.
        for must_be_new, run in groupby(
            indexed, key=lambda pair: pair[0].chosen_id or pair[0].idempotent
        ):
            pairs = list(run)
            records = [one for _, one in pairs]
            if not must_be_new:
                await self._upsert(records, scope, durable, None)
                continue
            try:
                await self._write_new(records, scope, durable)
            except ConflictError:
                if not any(plan.idempotent for plan, _ in pairs):
                    raise
                # One of these events was stored by somebody else meanwhile: which one?
                for plan, one in pairs:
                    await self._write_alone(plan, one, scope, durable)

    async def _write_alone(
        self,
        plan: _Planned,
        indexed: IndexedRecord,
        scope: Scope,
        durable: dict[str, MemoryRecord],
    ) -> None:
        if plan.record.id in durable:
            return
        try:
            await self._write_new([indexed], scope, durable)
        except ConflictError:
            # Theirs is the record, if it is the same event.
            theirs = await self._known([plan], scope)
            if plan.record.id not in theirs:
                raise
            durable |= theirs

    async def _write_new(
        self, records: Sequence[IndexedRecord], scope: Scope, durable: dict[str, MemoryRecord]
    ) -> None:
        try:
            await self._upsert(records, scope, durable, 0)
        except ConflictError as exc:
            expired = await self._expired([one.record.id for one in records], scope)
            if not expired:
                raise _taken() from exc
            for one in records:
                await self._write_over(one, scope, durable)

    async def _write_over(
        self, one: IndexedRecord, scope: Scope, durable: dict[str, MemoryRecord]
    ) -> None:
        """Store a new record where at most an expired one is, which may be swept meanwhile."""
        for _ in range(_ATTEMPTS):
            there = (await self._expired([one.record.id], scope)).get(one.record.id)
            try:
                if there is None:
                    await self._upsert([one], scope, durable, 0)
                else:
                    over = replace(one, instead_of=there)
                    await self._upsert([over], scope, durable, there.version)
            except ConflictError:
                continue
            return
        raise _taken()

    async def _expired(self, record_ids: Sequence[str], scope: Scope) -> dict[str, MemoryRecord]:
        """Return the records that exist for nobody any more, but in the backend."""
        now = self._clock.now()
        reach = replace(Reach.point(scope, now=now), now=None)
        fetched = await self._backend.fetch(record_ids, reach=reach)
        return {
            record.id: record
            for record in within_reach((indexed.record for indexed in fetched), reach)
            if record.expires_at is not None and record.expires_at <= now
        }

    async def _upsert(
        self,
        records: Sequence[IndexedRecord],
        scope: Scope,
        durable: dict[str, MemoryRecord],
        expected_version: int | None,
    ) -> None:
        try:
            await self._backend.upsert(records, scope=scope, expected_version=expected_version)
        except PartialWriteError as error:
            stored = {record.id for record in error.stored}
            durable |= {one.record.id: one.record for one in records if one.record.id in stored}
            if any(one.record.id not in stored for one in records):
                raise
            return
        durable |= {indexed.record.id: indexed.record for indexed in records}


def _taken() -> ConflictError:
    return ConflictError(
        "a record of that id exists already",
        remedy="use `update` to change it, or store without an id",
    )


def _said(record: MemoryRecord) -> object:
    """Return what makes two events the same one: the words, and the very pictures."""
    return record.text, [note.sha256 for note in record.images]


def _tell(
    planned: Sequence[_Planned],
    durable: Mapping[str, MemoryRecord],
    error: Exception,
    scope: Scope,
) -> None:
    """Raise what was stored before an error; return where this call stored nothing.

    Raises:
        PartialWriteError: With what is durable, in the order given.
    """
    if all(durable.get(plan.record.id) is not plan.record for plan in planned):
        return
    # Writing keeps the order of what it awaits, so this is a beginning of what was given. Where
    # a backend stores one batch in several requests at once, more may be durable behind a gap.
    count = sum(1 for _ in takewhile(lambda plan: plan.record.id in durable, planned))
    left = [
        place
        for place, plan in enumerate(planned)
        if place >= count and durable.get(plan.record.id) is not plan.record
    ]
    gone = set(left)
    stored = [durable[plan.record.id] for at, plan in enumerate(planned) if at not in gone]
    remedy = f"store the last {len(left)} again"
    cause: BaseException = error
    if isinstance(error, PartialWriteError):
        what = error.remedy or "store again those that are not in `stored`"
        remedy = f"{what}: items {_places(left)}, counted from 0"
        cause = error.__cause__ or error
    raise PartialWriteError(
        f"{len(stored)} of {len(planned)} records were stored before a failure",
        stored=stored,
        operation="store_many",
        scope=scope,
        remedy=remedy,
    ) from cause


def _places(places: Iterable[int]) -> str:
    """Return numbers that rise as text: 3, 5-9."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1][1:] = [place]
        else:
            runs.append([place])
    return ", ".join("-".join(map(str, run)) for run in runs)
