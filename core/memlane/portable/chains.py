"""Records to be, made of a file's, each with what it was before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from memlane.embeddings import check_vectors
from memlane.errors import EmbeddingSpaceError, ImportFileError, ValidationError
from memlane.images import unseen
from memlane.layout import ulid
from memlane.marks import marked_terms
from memlane.metadata import payload_bytes
from memlane.portable.fields import FileRecord, Said, damaged
from memlane.protocols import EmbeddingSpace, IndexedRecord, RecordPart
from memlane.scope import Scope
from memlane.sizing import check_budget
from memlane.types import MemoryRecord, NewMemory
from memlane.writing import RecordIds, new_record

__all__ = ("Chain", "Planned", "chain_of", "planned", "refused", "steps_of")

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MOST_SPANNED: Final = 2_000_000
"""Characters of all vectors of a record: the longest text, its windows, once for each picture."""
_A_WHILE: Final = timedelta(hours=1)
"""No import takes as long from one version of a record to the next."""
_NO_TERMS: Final = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Planned:
    """A record of a file and whose it will be.

    Args:
        given: What the file has.
        id: Its new id: the same file for the same owner gives the same one.
        scope: Whose it will be.
        said: What is still to be stored, the oldest first.
        there: What of it is there already; None when nothing is.
    """

    given: FileRecord
    id: str
    scope: Scope
    said: Sequence[Said]
    there: MemoryRecord | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Versions of one record to be stored one after the other.

    Args:
        planned: What they are of.
        records: The oldest first; the last is the record.
        parts: Vectors of the last one; none where they are to be made.
    """

    planned: Planned
    records: tuple[MemoryRecord, ...]
    parts: tuple[RecordPart, ...] = ()


def planned(given: FileRecord, scope: Scope) -> Planned:
    """Return whose a record will be: the scope's, where that says so, else as in the file.

    Raises:
        ImportFileError: The file names somebody by what is no id.
    """
    try:
        owner = replace(
            scope,
            agent=given.agent if scope.agent is None else scope.agent,
            session=given.session if scope.session is None else scope.session,
        )
    except ValidationError as exc:
        raise refused(given, exc) from exc
    stored = given.now.stored_at
    # Two users' exports may name different records alike; when each was stored tells them apart.
    whole = [scope.tenant, scope.user, given.agent, given.id, stored.isoformat()]
    digest = hashlib.sha256(json.dumps(whole).encode()).digest()
    moment = max(0, (stored - _UNIX) // _MILLISECOND)
    return Planned(given, ulid(moment, int.from_bytes(digest[:10])), owner, given.said)


def refused(given: FileRecord, error: ValidationError) -> ImportFileError:
    """Return the error of a record that cannot be stored."""
    return damaged(
        given.line,
        f"cannot be stored: {error.reason}",
        error.remedy or "export without it",
    )


def chain_of(
    plan: Planned,
    items: Sequence[NewMemory],
    *,
    now: datetime,
    ids: RecordIds,
    space: EmbeddingSpace,
) -> Chain:
    """Return the records that `items` ask for, which are what is still to be stored of a plan.

    Args:
        plan: What they are of.
        items: What is still to be stored, as it may be.
        now: When it is.
        ids: Gives ids.
        space: The client's own.

    Raises:
        ImportFileError: One of them cannot be stored.
    """
    try:
        records = tuple(
            _record(plan, said, item, ids=ids, space=space)
            for said, item in zip(plan.said, items, strict=True)
        )
    except ValidationError as exc:
        raise refused(plan.given, exc) from exc
    *older, last = records
    records = (*(_lasting(record, last, now + _A_WHILE) for record in older), last)
    before = 0 if plan.there is None else plan.there.version
    for record in records:
        if record.version < before:
            raise damaged(plan.given.line, "has versions out of order")
        before = record.version
    given, text = plan.given, records[-1].text
    if given.parts and given.now.space == space.id and text == given.now.new.content:
        if sum(note.embedded for note in records[-1].images) >= len(given.parts):
            raise damaged(given.line, "has pictures whose vectors it has not")
        return Chain(plan, records, _parts(given, text, space))
    last = replace(records[-1], images=unseen(records[-1].images))
    return Chain(plan, (*records[:-1], last))


def _record(
    plan: Planned, said: Said, item: NewMemory, *, ids: RecordIds, space: EmbeddingSpace
) -> MemoryRecord:
    # What had an end had one to come when it was stored, or when it was changed: the clock may
    # have gone back between the two. How long to keep it counts from when it was stored.
    changed = said.stored_at if item.ttl is not None else said.updated_at
    made = new_record(
        replace(item, record_id=plan.id, source="import"),
        scope=plan.scope,
        now=min(said.stored_at, changed),
        ids=ids,
        space=space.id,
    )
    record = replace(
        made, version=said.version, stored_at=said.stored_at, updated_at=said.updated_at
    )
    check_budget(metadata=record.metadata, tags=record.tags, payload_bytes=payload_bytes(record))
    return record


def _lasting(record: MemoryRecord, last: MemoryRecord, soon: datetime) -> MemoryRecord:
    """Return what a record was, with an end at which no sweep takes it before the next one is put.

    For a moment it is the record. A backend keeps in the history what lay there, so that an end
    that is far enough stays its own.
    """
    end = last.expires_at
    if record.expires_at is None or record.expires_at > soon:
        return record
    if end is not None and end <= record.expires_at:
        return record
    return replace(record, expires_at=end)


def _parts(given: FileRecord, text: str, space: EmbeddingSpace) -> tuple[RecordPart, ...]:
    spans = [(part.start, part.end) for part in given.parts]
    if spans[0] != (0, len(text)) or not all(0 <= a <= b <= len(text) for a, b in spans):
        raise damaged(given.line, "has a vector of what is not its text")
    if sum(end - start for start, end in spans) > _MOST_SPANNED:
        raise damaged(given.line, "has more vectors than its text has windows")
    if any(len(part.vector) != space.dimensions for part in given.parts):
        raise damaged(given.line, f"has a vector that is not of {space.dimensions} dimensions")
    try:
        vectors = check_vectors(
            np.stack([part.vector for part in given.parts]), count=len(spans), space=space
        )
    except EmbeddingSpaceError as exc:
        raise damaged(given.line, "has a vector that is zero, or not of finite numbers") from exc
    return tuple(
        RecordPart(start=start, end=end, vector=vector, terms=marked_terms(text[start:end]))
        for (start, end), vector in zip(spans, vectors, strict=True)
    )


def steps_of(chain: Chain, parts: Sequence[RecordPart]) -> list[tuple[int, IndexedRecord]]:
    """Return what to store, one after the other, and the version that must be there before each.

    What a record was is never looked for by its vector, so that it needs none of its own; it has
    the one its record will have, for the moment that it is the record.
    """
    before = chain.planned.there
    steps: list[tuple[int, IndexedRecord]] = []
    for record in chain.records:
        whole = RecordPart(start=0, end=len(record.text), vector=parts[0].vector, terms=_NO_TERMS)
        found = tuple(parts) if record is chain.records[-1] else (whole,)
        indexed = IndexedRecord(record=record, parts=found, replaces=before)
        steps.append((0 if before is None else before.version, indexed))
        before = record
    return steps
