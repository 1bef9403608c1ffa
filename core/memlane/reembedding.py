"""A tenant from one embedding space to another: planned, resumable, verified, cut over."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from memlane.embeddings import Embeddings
from memlane.errors import (
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    IsolationError,
    TenantNotOnboardedError,
)
from memlane.images import unseen
from memlane.powers import SupportsReembed, SupportsTenants
from memlane.prices import Prices
from memlane.protocols import Embedder, EmbeddingSpace, IndexedRecord, VectorBackend
from memlane.receipts import Progress, ReembedPlan, ReembedReceipt
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord
from memlane.windows import clip, windows

__all__ = ("plan_reembed", "reembed")

_PAGE: Final = 200
_CHARS_AT_ONCE: Final = 60_000
"""Of what is embedded together: two records of the longest, and some 20 MB of their vectors."""

_USERS: Final = 100
_ROUNDS: Final = 10
"""A tenant that is written to meanwhile is looked through again; one that never rests, in vain."""

_CHARS_PER_TOKEN: Final = 3.5
_LAST_ASCII: Final = 127


async def plan_reembed(
    backend: VectorBackend,
    shadows: SupportsReembed,
    embedder: Embedder,
    *,
    scope: Scope,
    now: datetime,
) -> ReembedPlan:
    """Return what it will cost; nothing is embedded, and nothing is made.

    Args:
        backend: Where the tenant's records are.
        shadows: The same, as one that can do it.
        embedder: Of the new space.
        scope: Whose tenant.
        now: Records that have expired by then are not counted.
    """
    space = embedder.space
    workers = WorkerThreads("memlane-plan", 1)
    try:
        try:
            counted = await _count(_pending(shadows, space, scope), embedder, workers, now)
            is_begun = True
        except ConflictError:  # nobody has begun, or to somewhere else
            counted = await _count(_everything(backend, scope, now), embedder, workers, now)
            is_begun = False
    finally:
        workers.close()
    begun = 0
    if is_begun and isinstance(backend, SupportsTenants):
        # Without an index an earlier call was killed in the cut-over, and all is embedded.
        with suppress(TenantNotOnboardedError):
            stats = await backend.stats(scope=scope, now=now)
            if space.id not in stats.spaces:
                begun = max(0, stats.records - counted[0])
    records, characters, tokens = counted
    return ReembedPlan(
        space=space.id,
        records=records,
        characters=characters,
        tokens=tokens,
        dollars=Prices().tokens(tokens, space=space.id),
        begun=begun,
    )


async def reembed(
    backend: VectorBackend,
    shadows: SupportsReembed,
    embedder: Embedder,
    *,
    scope: Scope,
    now: datetime,
    on_progress: Callable[[Progress], object] | None = None,
) -> ReembedReceipt:
    """Take a tenant to the embedder's space; cut short, the next call goes on.

    Args:
        backend: Where the tenant's records are.
        shadows: The same, as one that can do it.
        embedder: Of the new space.
        scope: Whose tenant.
        now: When it is.
        on_progress: Told after each page of records.

    Raises:
        ConflictError: Somebody is taking it elsewhere, or records change faster than this reads.
        EmbeddingSpaceError: The embedder answers something unfit.
        BackendError: What is there afterwards is not what should be.
    """
    space = embedder.space
    try:
        await shadows.begin_reembed(scope=scope, space=space)
    except EmbeddingSpaceError:
        # Raised as well where an earlier call came to its end and could not tell.
        await backend.ensure_index(scope=scope, space=space)
        return await _verified(backend, scope, space, now, embedded=0)
    workers = WorkerThreads("memlane-reembed", 1)
    embeddings = Embeddings(embedder, workers=workers, cached_queries=0)
    total = await _total(backend, scope, now)
    done = 0
    try:
        for _ in range(_ROUNDS):
            async with aclosing(_pending(shadows, space, scope)) as pages:
                async for page in pages:
                    for records in _lots(page):
                        parts = await embeddings.document_parts([each.text for each in records])
                        anew = [
                            IndexedRecord(
                                record=replace(record, images=unseen(record.images)), parts=each
                            )
                            for record, each in zip(records, parts, strict=True)
                        ]
                        await shadows.shadow(anew, scope=scope, space=space)
                        done += len(anew)
                        if on_progress is not None:
                            on_progress(Progress(done=done, total=total))
            # Where it is not one step, what was there before must be there after it.
            least = None if backend.capabilities.atomic_conditions else total
            if least is not None:
                least = await _total(backend, scope, now)
            if await shadows.cut_over(scope=scope, space=space):
                return await _verified(backend, scope, space, now, embedded=done, least=least)
    finally:
        workers.close()
    raise ConflictError(
        f"records were stored or changed all {_ROUNDS} times that the last ones were embedded",
        remedy="let the tenant's writers rest and call it again; what is embedded is kept",
    )


async def _verified(
    backend: VectorBackend,
    scope: Scope,
    space: EmbeddingSpace,
    now: datetime,
    *,
    embedded: int,
    least: int | None = None,
) -> ReembedReceipt:
    records = embedded
    await backend.ensure_index(scope=scope, space=space)
    if isinstance(backend, SupportsTenants):
        stats = await backend.stats(scope=scope, now=now)
        records = stats.records
        if not stats.spaces.keys() <= {space.id}:
            left = sum(count for name, count in stats.spaces.items() if name != space.id)
            raise BackendError(
                f"{left} records are of another embedding space after the cut-over",
                remedy="call it again",
            )
        if least is not None and records < least:
            raise BackendError(
                f"{least - records} of {least} records are missing after the cut-over",
                remedy="if nobody deleted them meanwhile, restore the tenant from an export",
            )
    return ReembedReceipt(space=space.id, records=records, embedded=embedded)


async def _total(backend: VectorBackend, scope: Scope, now: datetime) -> int | None:
    if not isinstance(backend, SupportsTenants):
        return None
    try:
        return (await backend.stats(scope=scope, now=now)).records
    except TenantNotOnboardedError:
        return None  # killed in the cut-over: there is nothing left to embed


async def _pending(
    shadows: SupportsReembed, space: EmbeddingSpace, scope: Scope
) -> AsyncGenerator[Sequence[MemoryRecord]]:
    cursor: str | None = None
    while True:
        page = await shadows.pending(scope=scope, space=space, cursor=cursor, limit=_PAGE)
        if page.records:
            yield _of_tenant(page.records, scope)
        if (cursor := page.cursor) is None:
            return


def _lots(records: Sequence[MemoryRecord]) -> Iterator[Sequence[MemoryRecord]]:
    """Yield records in lots whose vectors fit into memory, however long they are."""
    lot: list[MemoryRecord] = []
    size = 0
    for record in records:
        if lot and size + len(record.text) > _CHARS_AT_ONCE:
            yield lot
            lot, size = [], 0
        lot.append(record)
        size += len(record.text)
    yield lot


async def _everything(
    backend: VectorBackend, scope: Scope, now: datetime
) -> AsyncGenerator[Sequence[MemoryRecord]]:
    users: str | None = None
    while isinstance(backend, SupportsTenants):
        names = await backend.users(scope=scope, cursor=users, limit=_USERS)
        for user in names.names:
            reach = Reach.whole(Scope(user, tenant=scope.tenant), now=now)
            place: str | None = None
            while True:
                page = await backend.scan(reach=reach, cursor=place, limit=_PAGE)
                yield _of_tenant(page.records, scope)
                if (place := page.cursor) is None:
                    break
        if (users := names.cursor) is None:
            return


def _of_tenant(records: Sequence[MemoryRecord], scope: Scope) -> Sequence[MemoryRecord]:
    if any(record.scope.tenant != scope.tenant for record in records):
        raise IsolationError(
            "the backend returned another tenant's record; nothing of it was embedded",
            remedy="run the backend through memlane.testing's isolation suite",
        )
    return records


async def _count(
    pages: AsyncGenerator[Sequence[MemoryRecord]],
    embedder: Embedder,
    workers: WorkerThreads,
    now: datetime,
) -> tuple[int, int, int]:
    """Return how many records there are, and their characters and tokens."""
    count = characters = tokens = 0
    async with aclosing(pages):
        async for records in pages:
            texts = [
                record.text
                for record in records
                if record.expires_at is None or record.expires_at > now
            ]
            count += len(texts)
            characters += sum(map(len, texts))
            tokens += await workers.run(_tokens, texts, embedder.max_chars)
    return count, characters, tokens


def _tokens(texts: Sequence[str], max_chars: int) -> int:
    """Return a cautious estimate of what the model will be given: long texts in windows, too."""
    total = 0
    for text in texts:
        pieces = [clip(text, max_chars)]
        pieces += [text[start:end] for start, end in windows(text, max_chars=max_chars)]
        for piece in pieces:
            wide = 0 if piece.isascii() else sum(ord(char) > _LAST_ASCII for char in piece)
            total += wide + math.ceil((len(piece) - wide) / _CHARS_PER_TOKEN)
    return total
