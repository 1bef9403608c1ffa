"""The verbs that look at, count, hand over and remove what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from memlane.client.parts import ClientParts, Ids, Records
from memlane.eraser import forget
from memlane.filters import FilterLike, as_filter
from memlane.layout import check_record_id, check_record_ids, normalize_namespace
from memlane.limits import check_limit
from memlane.portable import ExportPages
from memlane.receipts import ForgetReceipt, Progress
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord, Page

__all__ = ("Keeping",)


class Keeping(ClientParts):
    """The verbs of `MemoryClient` about what is there."""

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

    async def history(
        self,
        record_id: str,
        *,
        scope: Scope,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> Records:
        """Return a record as it is and as it was, the newest version first.

        Raises:
            NotFoundError: There is none in this scope.
        """
        with self._call("history", scope):
            return await self._reader.history(
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

    async def export(
        self,
        *,
        scope: Scope,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        vectors: bool = False,
        after: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> AsyncIterator[str]:
        """Yield all the scope contains as lines of JSON, checksummed page by page; see the docs.

        A line ends with a line feed, so that `file.writelines` writes what was yielded. Tenant and
        user are in no line. What others store meanwhile may be told or not; nothing is told twice.

        Args:
            scope: Whose memory, every agent and session of it.
            namespace: Only this subtree.
            filter: Only records that meet this condition.
            vectors: Write vectors too, so that an import into the same embedding space needs no
                model.
            after: The cursor of the last whole page of an export that was cut short; the lines
                that come belong behind that page.
            on_progress: Told after each page has been taken, counting from the export's beginning.

        Raises:
            InvalidCursorError: `after` is of another scope or query.
        """
        pages: ExportPages | None = None
        while True:
            # Entered anew for each page: between two of them other code runs.
            with self._call("export", scope):
                if pages is None:
                    pages = ExportPages(
                        self._backend,
                        self._workers,
                        reach=lambda: Reach.whole(scope, now=self._clock.now()),
                        namespace=normalize_namespace("/" if namespace is None else namespace),
                        condition=as_filter(filter),
                        vectors=vectors,
                        after=after,
                        space=self._embeddings.space.id,
                    )
                page = await pages.next()
            for line in page.lines:
                yield line
            if on_progress is not None:
                on_progress(page.progress)
            if page.is_last:
                return

    async def delete(
        self,
        record_ids: Ids,
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
                self._keeper.forget(scope)
