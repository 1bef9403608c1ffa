"""The client for synchronous code: the same verbs, run on a loop that memlane owns."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self, TypeAlias

from memlane import (
    ForgetReceipt,
    ImportReceipt,
    Match,
    MemoryClient,
    MemoryContext,
    MemoryRecord,
    MetadataValue,
    NewMemory,
    Page,
    Progress,
    RetrievalMode,
    RetrievalOptions,
    Scope,
    Source,
)
from memlane.filters import FilterLike
from memlane.retrieval import estimate_tokens
from memlane.types import Content, Duplicates
from memlane.writing import UNSET, Unset
from memlane_plain.sync_admin import SyncTenantAdmin
from memlane_plain.sync_calls import SyncCalls

__all__ = ("SyncMemoryClient",)

_Matches: TypeAlias = Sequence[Match]
_Records: TypeAlias = Sequence[MemoryRecord]
_Ids: TypeAlias = str | Iterable[str]

_LINES_AHEAD: Final = 100  # of an export: one hop between threads for so many


class SyncMemoryClient(SyncCalls):
    """A `MemoryClient` for code without `await`.

    Safe from any thread, also from one whose event loop is running (which then waits). A call
    from a loop that memlane owns raises `LoopError` instead of waiting for itself.

    Args:
        client: The client; `close` closes it.
    """

    def __init__(self, client: MemoryClient) -> None:
        super().__init__()
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish what was accepted and close the client; may be called twice."""
        self._bridge.call(self._client.aclose)

    def admin(self, tenant: str | None) -> SyncTenantAdmin:
        """Return what is done for a tenant as a whole."""
        return SyncTenantAdmin(self._client.admin(tenant))

    def store(
        self,
        content: Content,
        *,
        scope: Scope,
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
        """Remember one thing; it is durable when this returns."""
        return self._call(
            self._client.store,
            content,
            scope=scope,
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

    def store_many(self, items: Iterable[NewMemory], *, scope: Scope) -> _Records:
        """Remember several things in order."""
        return self._call(self._client.store_many, items, scope=scope)

    def retrieve(
        self,
        query: str,
        *,
        scope: Scope,
        limit: int = 10,
        min_similarity: float | None = None,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        mode: RetrievalMode = "hybrid",
        options: RetrievalOptions | None = None,
        deadline: float | None = None,
    ) -> _Matches:
        """Recall what answers a query, best first."""
        return self._call(
            self._client.retrieve,
            query,
            scope=scope,
            limit=limit,
            min_similarity=min_similarity,
            namespace=namespace,
            filter=filter,
            mode=mode,
            options=options,
            deadline=deadline,
        )

    def context(
        self,
        query: str,
        *,
        scope: Scope,
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
        return self._call(
            self._client.context,
            query,
            scope=scope,
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

    def get(
        self,
        record_id: str,
        *,
        scope: Scope,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Return one record."""
        return self._call(
            self._client.get,
            record_id,
            scope=scope,
            include_agents=include_agents,
            only_session=only_session,
        )

    def history(
        self,
        record_id: str,
        *,
        scope: Scope,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> _Records:
        """Return a record as it is and as it was, the newest version first."""
        return self._call(
            self._client.history,
            record_id,
            scope=scope,
            include_agents=include_agents,
            only_session=only_session,
        )

    def list(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[MemoryRecord]:
        """Return some of all the scope contains."""
        return self._call(
            self._client.list,
            scope=scope,
            namespace=namespace,
            filter=filter,
            cursor=cursor,
            limit=limit,
        )

    def iterate(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
    ) -> Iterator[MemoryRecord]:
        """Yield all the scope contains, page by page."""
        return self._iterate(self._client.iterate(scope=scope, namespace=namespace, filter=filter))

    def count(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
    ) -> int:
        """Return how many records the scope contains."""
        return self._call(self._client.count, scope=scope, namespace=namespace, filter=filter)

    def export(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        vectors: bool = False,
        after: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Iterator[str]:
        """Yield all the scope contains as lines of JSON, page by page, in bounded memory."""
        lines = self._client.export(
            scope=scope,
            namespace=namespace,
            filter=filter,
            vectors=vectors,
            after=after,
            on_progress=on_progress,
        )
        return self._iterate(lines, ahead=_LINES_AHEAD)

    def import_records(
        self,
        lines: Iterable[str | bytes] | AsyncIterable[str | bytes],
        *,
        scope: Scope,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ImportReceipt:
        """Store what `export` wrote; repeated, it goes on where it was cut short."""
        return self._call(self._client.import_records, lines, scope=scope, on_progress=on_progress)

    def update(
        self,
        record_id: str,
        *,
        scope: Scope,
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
        return self._call(
            self._client.update,
            record_id,
            scope=scope,
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

    def restore(
        self,
        record_id: str,
        *,
        scope: Scope,
        version: int,
        expected_version: int | None = None,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Make what a record once said its next version, and return that."""
        return self._call(
            self._client.restore,
            record_id,
            scope=scope,
            version=version,
            expected_version=expected_version,
            include_agents=include_agents,
            only_session=only_session,
        )

    def delete(
        self,
        record_ids: _Ids,
        *,
        scope: Scope,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> int:
        """Delete records by id and return how many existed."""
        return self._call(
            self._client.delete,
            record_ids,
            scope=scope,
            include_agents=include_agents,
            only_session=only_session,
        )

    def forget(self, scope: Scope) -> ForgetReceipt:
        """Delete all the scope contains and prove it."""
        return self._call(self._client.forget, scope)
