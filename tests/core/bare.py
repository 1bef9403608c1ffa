"""A backend that can do what every backend must, and has no power besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memlane.filters import Filter
from memlane.local import InMemoryBackend
from memlane.protocols import (
    Candidates,
    Capabilities,
    EmbeddingSpace,
    IndexedRecord,
    ScanPage,
    VectorQuery,
)
from memlane.scope import Reach, Scope


class BareBackend:
    """Records in memory, and nothing but the calls of `VectorBackend`.

    Args:
        exact: What its capabilities say of that.
    """

    def __init__(self, *, exact: bool = True) -> None:
        self.inner = InMemoryBackend()
        self._exact = exact
        self.scans = 0

    @property
    def capabilities(self) -> Capabilities:
        """As of the one in memory."""
        return replace(self.inner.capabilities, exact=self._exact)

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        """See to an index."""
        await self.inner.ensure_index(scope=scope, space=space)

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        """Store records."""
        await self.inner.upsert(records, scope=scope, expected_version=expected_version)

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        """Find candidates."""
        return await self.inner.query(query, reach=reach)

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        """Return records."""
        return await self.inner.fetch(record_ids, reach=reach, vectors=vectors)

    async def scan(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> ScanPage:
        """Return a page, and count that it was asked for."""
        self.scans += 1
        return await self.inner.scan(
            reach=reach, namespace=namespace, filter=filter, cursor=cursor, limit=limit
        )

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        """Delete records."""
        return await self.inner.delete(record_ids, reach=reach)
