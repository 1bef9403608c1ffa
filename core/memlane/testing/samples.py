"""Records and vectors the suites agree on, made without the code they test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from memlane.filters import Filter
from memlane.protocols import (
    EmbeddingSpace,
    IndexedRecord,
    RecordPart,
    Terms,
    Vector,
    VectorBackend,
    VectorQuery,
)
from memlane.scope import Reach, Scope
from memlane.testing.fakes import START
from memlane.types import MemoryRecord, MetadataValue

__all__ = (
    "NOW",
    "SCOPE",
    "SPACE",
    "SUSPECTS",
    "contains",
    "directions",
    "ids_of",
    "indexed",
    "lies_within",
    "make_record",
    "put",
    "query_for",
    "read_all",
    "unit",
    "words",
)

NOW = START
SPACE = EmbeddingSpace(model="conformance", dimensions=16)
SCOPE = Scope("ada", tenant="acme", agent="support", session="monday")

SUSPECTS: tuple[Scope, ...] = (
    Scope("u1", tenant="acme"),
    Scope("u1", tenant="acme", session="s1"),
    Scope("u1", tenant="acme", agent="a"),
    Scope("u1", tenant="acme", agent="a", session="s1"),
    Scope("u1", tenant="acme", agent="A"),
    Scope("u1", tenant="acme", agent="default"),
    Scope("u1", tenant="acme", agent="None"),
    Scope("u10", tenant="acme"),
    Scope("U1", tenant="acme"),
    Scope("u1 ", tenant="acme"),
    Scope("u1/a", tenant="acme"),
    Scope("u1#w1", tenant="acme"),
    Scope("u1%", tenant="acme"),
    Scope("u_", tenant="acme"),
    Scope("\u057d1", tenant="acme"),  # an Armenian letter that looks like "u"
    Scope("caf\u00e9", tenant="acme"),
    Scope("cafe\u0301", tenant="acme"),  # the same word in another normal form
    Scope("u1", tenant="Acme"),
    Scope("u1", tenant="acme2"),
    Scope("acme", tenant="u1"),
    Scope("u1", tenant="acme/u1"),
    Scope("u1"),
    Scope("u1", agent="acme"),
)
"""Scopes that a careless key, prefix, pattern or comparison takes for one another."""

_MOST_PAGES = 500


def lies_within(mine: Scope, other: Scope, *, any_agent: bool, any_session: bool) -> bool:
    """Say by the design's table, and not by `Reach`, whether a record of `other` is in reach."""
    if (mine.tenant, mine.user) != (other.tenant, other.user):
        return False
    if not any_agent and mine.agent != other.agent:
        return False
    return any_session or mine.session == other.session


def contains(mine: Scope, other: Scope) -> bool:
    """Say whether a whole-scope call about `mine` covers a record of `other`."""
    return lies_within(mine, other, any_agent=mine.agent is None, any_session=mine.session is None)


def make_record(
    record_id: str,
    text: str = "prefers window seats",
    *,
    scope: Scope = SCOPE,
    namespace: str = "/",
    kind: str = "fact",
    metadata: Mapping[str, MetadataValue] | None = None,
    tags: tuple[str, ...] = (),
    actor: str | None = None,
    occurred_at: datetime = NOW,
    expires_at: datetime | None = None,
    version: int = 1,
    space: str = SPACE.id,
) -> MemoryRecord:
    """Return a record; what is not given is plain."""
    return MemoryRecord(
        id=record_id,
        text=text,
        scope=scope,
        namespace=namespace,
        kind=kind,
        metadata=metadata or {},
        tags=tags,
        actor=actor,
        occurred_at=occurred_at,
        stored_at=NOW,
        updated_at=NOW + timedelta(microseconds=version),
        expires_at=expires_at,
        version=version,
        space=space,
    )


def directions(count: int, *, seed: int = 7, dimensions: int = SPACE.dimensions) -> Vector:
    """Return `count` random vectors of length one, the same for the same seed."""
    rows = np.random.default_rng(seed).normal(size=(count, dimensions))
    found: Vector = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def unit(axis: int, *, dimensions: int = SPACE.dimensions) -> Vector:
    """Return the vector of length one along an axis."""
    row = np.zeros(dimensions, dtype=np.float32)
    row[axis % dimensions] = 1.0
    return row


def words(*hashes: int) -> Terms:
    """Return hashes as a part's terms."""
    return np.array(hashes, dtype=np.uint32)


def indexed(record: MemoryRecord, *vectors: Vector, terms: Sequence[Terms] = ()) -> IndexedRecord:
    """Return a record with a part for each vector: the whole text, then windows of it."""
    given = vectors or (unit(0),)
    size = len(record.text)
    return IndexedRecord(
        record=record,
        parts=tuple(
            RecordPart(
                start=0 if number == 0 else min(number - 1, size),
                end=size if number == 0 else min(number, size),
                vector=vector,
                terms=terms[number] if number < len(terms) else words(1, 2, 2),
            )
            for number, vector in enumerate(given)
        ),
    )


async def put(
    backend: VectorBackend, *items: IndexedRecord, expected_version: int | None = None
) -> None:
    """Store records, those of each owner in a call of their own."""
    owners: dict[Scope, list[IndexedRecord]] = {}
    for item in items:
        owners.setdefault(replace(item.record.scope, session=None), []).append(item)
    for scope, theirs in owners.items():
        await backend.ensure_index(scope=scope, space=SPACE)
        await backend.upsert(theirs, scope=scope, expected_version=expected_version)


async def read_all(
    backend: VectorBackend,
    reach: Reach,
    *,
    namespace: str = "/",
    condition: Filter | None = None,
    limit: int = 100,
) -> list[MemoryRecord]:
    """Return everything in reach, page by page."""
    found: list[MemoryRecord] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await backend.scan(
            reach=reach, namespace=namespace, filter=condition, cursor=cursor, limit=limit
        )
        assert len(page.records) <= limit, "a page holds more than was asked for"
        found += page.records
        if (cursor := page.cursor) is None:
            return found
    raise AssertionError("scanning does not come to an end")


def query_for(
    vector: Vector | None,
    *,
    limit: int = 100,
    terms: Terms | None = None,
    space: str = SPACE.id,
    actor: str | None = None,
    namespace: str = "/",
    condition: Filter | None = None,
) -> VectorQuery:
    """Return a query in the suites' space."""
    return VectorQuery(
        vector=vector,
        terms=words() if terms is None else terms,
        space=space,
        limit=limit,
        actor=actor,
        namespace=namespace,
        filter=condition,
    )


def ids_of(records: Iterable[MemoryRecord | IndexedRecord]) -> list[str]:
    """Return the ids, sorted, repeats included."""
    return sorted(
        item.record.id if isinstance(item, IndexedRecord) else item.id for item in records
    )
