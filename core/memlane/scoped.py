"""The client's verbs bound to one scope, for code that must not choose whose memory it touches."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from memlane.filters import FilterLike
from memlane.receipts import CallReceipt, ForgetReceipt, ImportReceipt, Progress
from memlane.retrieval import estimate_tokens
from memlane.scope import Scope
from memlane.types import (
    Content,
    Duplicates,
    Match,
    MemoryContext,
    MemoryRecord,
    MetadataValue,
    NewMemory,
    Page,
    RetrievalMode,
    RetrievalOptions,
    Source,
)
from memlane.writing import UNSET, Unset

if TYPE_CHECKING:
    from memlane.client import MemoryClient

__all__ = ("ScopedMemory",)

_Matches: TypeAlias = Sequence[Match]
_Records: TypeAlias = Sequence[MemoryRecord]
_Ids: TypeAlias = str | Iterable[str]


class ScopedMemory:
    """One scope's memory, made by `MemoryClient.scoped`; the verbs are documented there."""

    def __init__(self, client: MemoryClient, scope: Scope) -> None:
        self._client = client
        self._scope = scope

    @property
    def scope(self) -> Scope:
        """Whose memory this is."""
        return self._scope

    async def store(
        self,
        content: Content,
        *,
        namespace: str = "/",
        kind: str = "fact",
        metadata: Mapping[str, MetadataValue] | None = None,
        tags: Sequence[str] = (),
        actor: str | None = None,
        occurred_at: datetime | None = None,
        ttl: timedelta | None = None,
        expires_at: datetime | None = None,
        record_id: str | None = None,
        idempotency_key: str | None = None,
        source: Source = "app",
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        duplicates: Duplicates = "keep",
    ) -> MemoryRecord:
        """Remember one thing."""
        return await self._client.store(
            content,
            scope=self._scope,
            namespace=namespace,
            kind=kind,
            metadata=metadata,
            tags=tags,
            actor=actor,
            occurred_at=occurred_at,
            ttl=ttl,
            expires_at=expires_at,
            record_id=record_id,
            idempotency_key=idempotency_key,
            source=source,
            valid_from=valid_from,
            valid_to=valid_to,
            duplicates=duplicates,
        )

    async def store_many(self, items: Iterable[NewMemory]) -> _Records:
        """Remember several things in order."""
        return await self._client.store_many(items, scope=self._scope)

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 10,
        min_similarity: float | None = None,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        mode: RetrievalMode = "hybrid",
        options: RetrievalOptions | None = None,
        deadline: float | None = None,
    ) -> _Matches:
        """Recall what answers a query, best first."""
        return await self._client.retrieve(
            query,
            scope=self._scope,
            limit=limit,
            min_similarity=min_similarity,
            namespace=namespace,
            filter=filter,
            mode=mode,
            options=options,
            deadline=deadline,
        )

    async def context(
        self,
        query: str,
        *,
        max_tokens: int,
        limit: int = 20,
        min_similarity: float | None = None,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        mode: RetrievalMode = "hybrid",
        options: RetrievalOptions | None = None,
        deadline: float | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
    ) -> MemoryContext:
        """Recall as a block of text for a model."""
        return await self._client.context(
            query,
            scope=self._scope,
            max_tokens=max_tokens,
            limit=limit,
            min_similarity=min_similarity,
            namespace=namespace,
            filter=filter,
            mode=mode,
            options=options,
            deadline=deadline,
            count_tokens=count_tokens,
        )

    async def get(
        self, record_id: str, *, include_agents: bool = False, only_session: bool = False
    ) -> MemoryRecord:
        """Return one record."""
        return await self._client.get(
            record_id,
            scope=self._scope,
            include_agents=include_agents,
            only_session=only_session,
        )

    async def history(
        self, record_id: str, *, include_agents: bool = False, only_session: bool = False
    ) -> _Records:
        """Return a record as it is and as it was, the newest version first."""
        return await self._client.history(
            record_id,
            scope=self._scope,
            include_agents=include_agents,
            only_session=only_session,
        )

    async def list(
        self,
        *,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[MemoryRecord]:
        """Return some of all the scope contains."""
        return await self._client.list(
            scope=self._scope, namespace=namespace, filter=filter, cursor=cursor, limit=limit
        )

    def iterate(
        self,
        *,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
    ) -> AsyncIterator[MemoryRecord]:
        """Yield all the scope contains."""
        return self._client.iterate(scope=self._scope, namespace=namespace, filter=filter)

    async def count(
        self,
        *,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
    ) -> int:
        """Return how many records the scope contains."""
        return await self._client.count(scope=self._scope, namespace=namespace, filter=filter)

    def export(
        self,
        *,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        vectors: bool = False,
        after: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> AsyncIterator[str]:
        """Yield all the scope contains as lines of JSON."""
        return self._client.export(
            scope=self._scope,
            namespace=namespace,
            filter=filter,
            vectors=vectors,
            after=after,
            on_progress=on_progress,
        )

    async def import_records(
        self,
        lines: Iterable[str | bytes] | AsyncIterable[str | bytes],
        *,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ImportReceipt:
        """Store what `export` wrote; repeated, it goes on where it was cut short."""
        return await self._client.import_records(lines, scope=self._scope, on_progress=on_progress)

    async def update(
        self,
        record_id: str,
        *,
        text: str | Unset = UNSET,
        metadata: Mapping[str, MetadataValue] | Unset | None = UNSET,
        tags: Sequence[str] | Unset = UNSET,
        namespace: str | Unset = UNSET,
        kind: str | Unset = UNSET,
        actor: str | Unset | None = UNSET,
        occurred_at: datetime | Unset = UNSET,
        expires_at: datetime | Unset | None = UNSET,
        source: Source | Unset = UNSET,
        valid_from: datetime | Unset | None = UNSET,
        valid_to: datetime | Unset | None = UNSET,
        expected_version: int | None = None,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Replace fields of a record and return its next version."""
        return await self._client.update(
            record_id,
            scope=self._scope,
            text=text,
            metadata=metadata,
            tags=tags,
            namespace=namespace,
            kind=kind,
            actor=actor,
            occurred_at=occurred_at,
            expires_at=expires_at,
            source=source,
            valid_from=valid_from,
            valid_to=valid_to,
            expected_version=expected_version,
            include_agents=include_agents,
            only_session=only_session,
        )

    async def restore(
        self,
        record_id: str,
        *,
        version: int,
        expected_version: int | None = None,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Make what a record once said its next version, and return that."""
        return await self._client.restore(
            record_id,
            scope=self._scope,
            version=version,
            expected_version=expected_version,
            include_agents=include_agents,
            only_session=only_session,
        )

    async def delete(
        self, record_ids: _Ids, *, include_agents: bool = False, only_session: bool = False
    ) -> int:
        """Delete records by id and return how many existed."""
        return await self._client.delete(
            record_ids,
            scope=self._scope,
            include_agents=include_agents,
            only_session=only_session,
        )

    async def forget(self) -> ForgetReceipt:
        """Delete all the scope contains and prove it."""
        return await self._client.forget(self._scope)

    def last_receipt(self) -> CallReceipt | None:
        """Return what the last call of this task, or of this thread, took."""
        return self._client.last_receipt()
