"""Records for other processes: the suites' samples would load pytest and hypothesis there.

That is a second for each of some forty interpreters.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from memlane.local import SqliteBackend
from memlane.protocols import EmbeddingSpace, IndexedRecord, RecordPart, VectorQuery
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = EmbeddingSpace(model="conformance", dimensions=16)
SCOPE = Scope("ada", tenant="acme", agent="support", session="monday")
POINT = Reach.point(SCOPE, now=NOW)


def record(record_id: str, text: str = "prefers window seats", *, parts: int = 1) -> IndexedRecord:
    """Return a record with some vectors that its id decides."""
    rows = np.random.default_rng(len(record_id)).normal(size=(parts, SPACE.dimensions))
    return IndexedRecord(
        record=MemoryRecord(
            id=record_id,
            text=text,
            scope=SCOPE,
            occurred_at=NOW,
            stored_at=NOW,
            updated_at=NOW,
            space=SPACE.id,
        ),
        parts=tuple(
            RecordPart(
                start=0,
                end=len(text),
                vector=row.astype(np.float32),
                terms=np.array([1, 2, 2], dtype=np.uint32),
            )
            for row in rows
        ),
    )


async def store(backend: SqliteBackend, *ids: str, text: str = "prefers window seats") -> None:
    """Store plain records."""
    await backend.upsert([record(each, text) for each in ids], scope=SCOPE)


async def ids_in(backend: SqliteBackend) -> list[str]:
    """Return the ids of all records, sorted."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await backend.scan(reach=POINT, cursor=cursor)
        found += [each.id for each in page.records]
        if (cursor := page.cursor) is None:
            return sorted(found)


async def rows_in(backend: SqliteBackend) -> list[str]:
    """Return the ids of what a query finds."""
    query = VectorQuery(
        vector=np.ones(SPACE.dimensions, dtype=np.float32),
        terms=np.zeros(0, dtype=np.uint32),
        space=SPACE.id,
        limit=100,
    )
    return list((await backend.query(query, reach=POINT)).record_ids)
