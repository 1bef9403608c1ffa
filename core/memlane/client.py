"""The client: every verb of memory, over any backend and embedder, on any loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeAlias, get_args

from memlane.admin import TenantAdmin
from memlane.calls import Call, Ready
from memlane.embeddings import Embeddings
from memlane.eraser import forget
from memlane.errors import ValidationError
from memlane.filters import FilterLike, as_filter
from memlane.layout import check_record_id, check_record_ids, normalize_namespace
from memlane.limits import Limits, check_deadline, check_limit, check_tokens
from memlane.protocols import (
    Capabilities,
    Clock,
    Embedder,
    EmbeddingSpace,
    SupportsClose,
    SupportsEnter,
    VectorBackend,
)
from memlane.reader import Reader
from memlane.retrieval import (
    Retriever,
    build_context,
    check_mode,
    check_options,
    estimate_tokens,
    subtrees,
)
from memlane.runtime import SystemClock, WorkerThreads, within
from memlane.scope import Reach, Scope, Tenancy, check_tenancy
from memlane.scoped import ScopedMemory
from memlane.sizing import check_query
from memlane.types import (
    ForgetReceipt,
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
from memlane.writer import Writer
from memlane.writing import UNSET, Unset

__all__ = ("MemoryClient",)

# A method called `list` would hide the type inside the class body.
_Matches: TypeAlias = Sequence[Match]
_Records: TypeAlias = Sequence[MemoryRecord]
_Ids: TypeAlias = str | Iterable[str]

_UNBOUND = nullcontext()
_TENANCIES = frozenset(get_args(Tenancy))


class MemoryClient:
    """Long-term memory for agents.

    Bound to no event loop: one client serves asyncio and trio, several loops, and, through
    `memlane_plain.SyncMemoryClient`, synchronous code. Nothing is opened before the first call.

    Args:
        backend: Where records live.
        embedder: How texts become vectors.
        tenancy: Whether a scope must, may or must not name a tenant.
        clock: When it is.
        limits: Bounds to keep.
        owned: Parts this client closes with itself; what somebody else opened is left open.
    """

    def __init__(
        self,
        *,
        backend: VectorBackend,
        embedder: Embedder,
        tenancy: Tenancy = "optional",
        clock: Clock | None = None,
        limits: Limits | None = None,
        owned: Sequence[SupportsClose] = (),
    ) -> None:
        if tenancy not in _TENANCIES:
            raise ValidationError(
                f"unknown tenancy {tenancy!r}", remedy=f"pass one of {sorted(_TENANCIES)}"
            )
        self._tenancy: Tenancy = tenancy
        self._backend = backend
        self._clock: Clock = clock or SystemClock()
        self._limits = limits or Limits()
        self._owned = tuple(owned)
        self._workers = WorkerThreads("memlane-rank", self._limits.rank_threads)
        self._embeddings = Embeddings(
            embedder, workers=self._workers, cached_queries=self._limits.cached_queries
        )
        self._retriever = Retriever(backend, self._embeddings, self._workers)
        self._reader = Reader(backend)
        self._writer = Writer(
            backend, self._embeddings, clock=self._clock, batch=self._limits.batch
        )
        self._ready = Ready(backend, embedder, per_user=tenancy == "per-user")

    @property
    def capabilities(self) -> Capabilities:
        """What the backend can do."""
        return self._backend.capabilities

    @property
    def space(self) -> EmbeddingSpace:
        """The embedding space new records are stored in."""
        return self._embeddings.space

    @property
    def tenancy(self) -> Tenancy:
        """What is demanded of a scope's tenant."""
        return self._tenancy

    @property
    def limits(self) -> Limits:
        """The bounds this client keeps."""
        return self._limits

    async def __aenter__(self) -> Self:
        for part in self._owned:
            if isinstance(part, SupportsEnter):
                await part.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was accepted and close what this client owns; may be called twice."""
        for part in self._owned:
            await part.aclose()
        self._workers.close()

    def admin(self, tenant: str | None) -> TenantAdmin:
        """Return what is done for a tenant as a whole, by whoever runs the service."""
        return TenantAdmin(
            self._backend, tenant, space=self.space, clock=self._clock, tenancy=self._tenancy
        )

    def scoped(self, scope: Scope) -> ScopedMemory:
        """Return the same verbs for one scope, to hand to code that must not choose it."""
        return ScopedMemory(self, check_tenancy(scope, self._tenancy, operation="scoped"))

    async def store(
        self,
        content: str,
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
    ) -> MemoryRecord:
        """Remember one thing; it is durable when this returns.

        Args:
            content: What to remember, up to 32 KiB with its metadata.
            scope: Whose it is.
            namespace: A path inside the scope, such as "/preferences/".
            kind: What sort of thing it is.
            metadata: Up to 32 keys of JSON, returned exactly; flat values can be filtered on.
            tags: Labels to filter by, as "@tags".
            actor: Who said it.
            occurred_at: When it happened, aware; now if left out.
            ttl: How long to keep it.
            expires_at: Until when to keep it, aware; instead of `ttl`.
            record_id: An id of your own; a ULID if left out.
            idempotency_key: The same key stores the same record once.
            source: Who vouches for it.

        Raises:
            ValidationError: Something cannot be stored; nothing was.
            ConflictError: `record_id` exists already; use `update`.
        """
        new = NewMemory(
            content=content,
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
        )
        with self._call("store", scope):
            await self._ready.ensure(scope)
            return (await self._writer.store_many([new], scope=scope))[0]

    async def store_many(self, items: Iterable[NewMemory], *, scope: Scope) -> _Records:
        """Remember several things in order; all are checked before the first is stored.

        Raises:
            ValidationError: An item cannot be stored; none was.
            PartialWriteError: Some were stored before a failure; `stored` has them.
        """
        with self._call("store_many", scope):
            await self._ready.ensure(scope)
            return await self._writer.store_many(items, scope=scope)

    async def retrieve(
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
        """Recall what answers a query, best first; an empty answer means there is nothing.

        Args:
            query: What to look for, in anyone's words.
            scope: Whose memory; exactly its agent, all its sessions, unless `options` says else.
            limit: Matches at most.
            min_similarity: 0..1; leave out what is further away.
            namespace: Look only in this subtree.
            filter: Look only at records that meet this condition.
            mode: "hybrid" ranks by meaning and words, "vector" by meaning, "text" by words.
            options: How recall differs from the default.
            deadline: Seconds the call may take.

        Raises:
            DeadlineExceededError: It took longer.
        """
        with self._call("retrieve", scope):
            chosen = check_options(options, mode=mode)
            check_limit(limit, most=self._limits.results)
            check_mode(mode, min_similarity=min_similarity)
            text, condition = check_query(query), as_filter(filter)
            asked = subtrees(
                chosen,
                namespace=namespace,
                limit=limit,
                min_similarity=min_similarity,
                most=self._limits.results,
            )
            reach = self._point(scope, chosen.include_agents, chosen.only_session)
            seconds = check_deadline(deadline)
            async with (
                _UNBOUND if seconds is None else within(seconds, operation="retrieve", scope=scope)
            ):
                await self._ready.ensure(scope)
                return await self._retriever.answer(
                    text,
                    reach=reach,
                    asked=asked,
                    limit=limit,
                    mode=mode,
                    condition=condition,
                    min_relevance=chosen.min_relevance,
                    candidates=chosen.candidates,
                )

    async def context(
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
        """Recall as a block of text for a model: escaped, fenced, labelled, within a budget.

        Args:
            query: What to look for; usually what the user just said.
            scope: Whose memory.
            max_tokens: Size of the block at most.
            limit: Matches considered at most.
            min_similarity: As in `retrieve`, like the arguments that follow.
            namespace: Look only in this subtree.
            filter: Look only at records that meet this condition.
            mode: How to rank.
            options: How recall differs from the default.
            deadline: Seconds the call may take.
            count_tokens: How to count; the default estimates cautiously for any model.
        """
        with self._call("context", scope):
            budget = check_tokens(max_tokens)
            matches = await self.retrieve(
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
            return build_context(matches, max_tokens=budget, count_tokens=count_tokens)

    async def get(
        self,
        record_id: str,
        *,
        scope: Scope,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Return one record.

        Raises:
            NotFoundError: There is none in this scope.
        """
        with self._call("get", scope):
            return await self._reader.get(
                check_record_id(record_id),
                reach=self._point(scope, include_agents, only_session),
            )

    async def list(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[MemoryRecord]:
        """Return some of all the scope contains, every agent and session of it.

        Raises:
            InvalidCursorError: The cursor was edited, or is of another scope or query.
        """
        with self._call("list", scope):
            check_limit(limit, most=self._limits.results)
            path = normalize_namespace("/" if namespace is None else namespace)
            condition = as_filter(filter)
            return await self._reader.page(
                reach=Reach.whole(scope, now=self._clock.now()),
                namespace=path,
                condition=condition,
                cursor=cursor,
                limit=limit,
            )

    async def iterate(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
    ) -> AsyncIterator[MemoryRecord]:
        """Yield all the scope contains, page by page, in bounded memory."""
        cursor: str | None = None
        while True:
            with self._call("iterate", scope):
                page = await self.list(
                    scope=scope, namespace=namespace, filter=filter, cursor=cursor, limit=500
                )
            for record in page.items:
                yield record
            if (cursor := page.cursor) is None:
                return

    async def count(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
    ) -> int:
        """Return how many records the scope contains, every agent and session of it."""
        with self._call("count", scope):
            path = normalize_namespace("/" if namespace is None else namespace)
            condition = as_filter(filter)
            return await self._reader.count(
                reach=Reach.whole(scope, now=self._clock.now()),
                namespace=path,
                condition=condition,
            )

    async def update(
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
        expected_version: int | None = None,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Replace fields of a record and return its next version; others stay as they are.

        Raises:
            NotFoundError: There is no such record in this scope.
            ConflictError: It is not at `expected_version`.
        """
        changes = {
            "text": text,
            "metadata": metadata,
            "tags": tags,
            "namespace": namespace,
            "kind": kind,
            "actor": actor,
            "occurred_at": occurred_at,
            "expires_at": expires_at,
        }
        with self._call("update", scope):
            await self._ready.ensure(scope)
            return await self._writer.update(
                check_record_id(record_id),
                reach=self._point(scope, include_agents, only_session),
                expected_version=expected_version,
                changes={k: v for k, v in changes.items() if not isinstance(v, Unset)},
            )

    async def delete(
        self,
        record_ids: _Ids,
        *,
        scope: Scope,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> int:
        """Delete records by id and return how many existed."""
        with self._call("delete", scope):
            ids = check_record_ids(record_ids)
            reach = self._point(scope, include_agents, only_session)
            step = self._backend.capabilities.max_batch
            return sum(
                [
                    await self._backend.delete(ids[at : at + step], reach=reach)
                    for at in range(0, len(ids), step)
                ]
            )

    async def forget(self, scope: Scope) -> ForgetReceipt:
        """Delete all the scope contains and read again to prove it; see the receipt."""
        with self._call("forget", scope):
            try:
                return await forget(
                    self._backend, scope, batch=self._backend.capabilities.max_batch
                )
            finally:
                # Last, so that what was asked meanwhile goes too; also when the backend failed.
                self._embeddings.forget(scope)

    def _call(self, operation: str, scope: Scope) -> Call:
        """Refuse a scope this client does not serve, and let errors name verb and scope."""
        return Call(operation, scope, self._tenancy, self._ready)

    def _point(self, scope: Scope, include_agents: bool, only_session: bool) -> Reach:
        now = self._clock.now()
        return Reach.point(scope, now=now, include_agents=include_agents, only_session=only_session)
