"""A scope's records, page by page, as the lines of an export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, cast

from memlane.cursors import decode_cursor, encode_cursor
from memlane.filters import Filter
from memlane.pages import lists
from memlane.portable.lines import (
    PAGE_BYTES,
    PAGE_RECORDS,
    Checksum,
    end_line,
    header_line,
    page_line,
    record_line,
)
from memlane.powers import SupportsVersions
from memlane.protocols import IndexedRecord, VectorBackend
from memlane.reader import within_reach
from memlane.receipts import Progress
from memlane.runtime import WorkerThreads
from memlane.scope import Reach
from memlane.types import MemoryRecord

__all__ = ("ExportPage", "ExportPages")

_WITH_VECTORS: Final = 100
"""Records whose vectors are in memory at once; S3 Vectors reads as many in one request."""

_Told: TypeAlias = "tuple[IndexedRecord, Sequence[MemoryRecord]]"  # with what it was


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Some lines that are checked together, and how far the export is after them."""

    lines: Sequence[str]
    progress: Progress
    is_last: bool


class ExportPages:
    """The pages of one export, in the backend's own stable order.

    Args:
        backend: Where the records are.
        workers: Threads that make lines of them.
        reach: Whose records are told, as of each page.
        namespace: Only this subtree.
        condition: Only records that meet it.
        vectors: Tell vectors too.
        after: The cursor of the last whole page of an export that was cut short.
        space: Id of the embedding space that new records are stored in.

    Raises:
        InvalidCursorError: `after` is of another export, or was edited.
    """

    def __init__(
        self,
        backend: VectorBackend,
        workers: WorkerThreads,
        *,
        reach: Callable[[], Reach],
        namespace: str,
        condition: Filter | None,
        vectors: bool,
        after: str | None,
        space: str,
    ) -> None:
        self._backend = backend
        self._history = backend if isinstance(backend, SupportsVersions) else None
        self._workers = workers
        self._reach = reach
        self._namespace = namespace
        self._condition = condition
        self._vectors = vectors
        self._space = space
        self._limit = PAGE_RECORDS
        self._state = _State() if after is None else self._resumed(after)

    async def next(self) -> ExportPage:
        """Return the next page, the last one with the end of the export."""
        lines: list[str] = []
        if not self._state.over:
            lines, self._state = await self._page(self._state)
        state = self._state
        if state.over:
            lines.append(end_line(pages=state.pages, records=state.records))
        return ExportPage(lines, Progress(done=state.records), state.over)

    async def _page(self, state: _State) -> tuple[list[str], _State]:
        reach = self._reach()
        header = [] if state.pages else [self._header()]
        while True:
            checksum = Checksum()
            checksum.add(header)
            records, place = await self._scanned(reach, state.place)
            lines = await self._lines(records, reach, checksum)
            if lines is not None:
                break
            # Too much for one page. Asked anew for fewer, so that the cursor is behind the last.
            self._limit = max(1, min(self._limit, len(records)) // 2)
        if sum(map(len, lines)) < PAGE_BYTES // 2:
            self._limit = min(PAGE_RECORDS, self._limit * 2)
        after = _State(
            place=place,
            pages=state.pages + 1,
            records=state.records + len(lines),
            over=place is None,
        )
        behind = page_line(
            number=after.pages,
            records=len(lines),
            sha256=checksum.told,
            after=self._cursor(after),
        )
        return [*header, *lines, behind], after

    def _header(self) -> str:
        return header_line(
            space=self._space,
            namespace=self._namespace,
            condition=self._condition,
            vectors=self._vectors,
        )

    async def _scanned(
        self, reach: Reach, place: str | None
    ) -> tuple[list[MemoryRecord], str | None]:
        records: list[MemoryRecord] = []
        while len(records) < self._limit:
            page = await self._backend.scan(
                reach=reach,
                namespace=self._namespace,
                filter=self._condition,
                cursor=place,
                limit=self._limit - len(records),
            )
            records += within_reach(page.records, reach)
            place = page.cursor
            if place is None:
                break
        return records, place

    async def _lines(
        self, records: Sequence[MemoryRecord], reach: Reach, checksum: Checksum
    ) -> list[str] | None:
        """Return a line for each record, or None when they are more than a page holds."""
        step = _WITH_VECTORS if self._vectors else PAGE_RECORDS
        lines: list[str] = []
        size = 0
        for at in range(0, len(records), step):
            told = [IndexedRecord(record=record, parts=()) for record in records[at : at + step]]
            if self._vectors:
                told = await self._with_vectors([one.record for one in told], reach)
            batch: list[_Told] = []
            weight = 0
            for number, one in enumerate(told, start=1):
                before = await self._versions(one.record, reach)
                batch.append((one, before))
                weight += 1 + len(before)
                if weight < PAGE_RECORDS and number < len(told):
                    continue
                more = await self._workers.run(_encoded, batch, checksum)
                size += sum(map(len, more))
                lines += more
                if size > PAGE_BYTES and len(records) > 1:
                    return None
                batch, weight = [], 0
        return lines

    async def _with_vectors(
        self, records: Sequence[MemoryRecord], reach: Reach
    ) -> list[IndexedRecord]:
        """Return the records as they are now, with vectors; what was deleted since is left out."""
        by_agent: dict[str | None, list[str]] = {}
        for record in records:
            by_agent.setdefault(record.scope.agent, []).append(record.id)
        found: dict[tuple[str | None, str], IndexedRecord] = {}
        for agent, record_ids in by_agent.items():
            mine = _of_agent(reach, agent)
            fetched = await self._backend.fetch(record_ids, reach=mine, vectors=True)
            within_reach((one.record for one in fetched), mine)
            found |= {(agent, one.record.id): one for one in fetched}
        now = [found.get((record.scope.agent, record.id)) for record in records]
        return [
            one
            for one in now
            if one is not None
            and lists(one.record, namespace=self._namespace, filter=self._condition)
        ]

    async def _versions(self, record: MemoryRecord, reach: Reach) -> Sequence[MemoryRecord]:
        if self._history is None or record.version == 1:
            return ()
        # A version may have had an end that has passed: its record has none, or a later one.
        mine = replace(_of_agent(reach, record.scope.agent), now=None)
        kept = within_reach(await self._history.versions(record.id, reach=mine), mine)
        return [
            version
            for version in kept
            # What has replaced this record since belongs to its next export.
            if version.id == record.id
            and version.version <= record.version
            and (version.version, version.updated_at) != (record.version, record.updated_at)
        ]

    def _cursor(self, state: _State) -> str:
        place = f"{state.pages}.{state.records}.{'over' if state.place is None else 'at'}."
        cursor = encode_cursor(
            place + (state.place or ""),
            scope=self._reach().scope,
            namespace=self._namespace,
            condition=self._condition,
            use=self._use,
        )
        return cast("str", cursor)

    def _resumed(self, after: str) -> _State:
        scope = self._reach().scope
        place = decode_cursor(
            after,
            scope=scope,
            namespace=self._namespace,
            condition=self._condition,
            use=self._use,
        )
        pages, records, where, rest = cast("str", place).split(".", 3)
        over = where == "over"
        return _State(
            place=None if over else rest, pages=int(pages), records=int(records), over=over
        )

    @property
    def _use(self) -> str:
        # Pages with vectors and pages without do not belong into one file.
        return "export, vectors" if self._vectors else "export"


@dataclass(frozen=True, slots=True)
class _State:
    """How far an export is.

    Args:
        place: Where the next page begins, in the backend's words.
        pages: Pages told.
        records: Records told.
        over: There is no next page.
    """

    place: str | None = None
    pages: int = 0
    records: int = 0
    over: bool = False


def _of_agent(reach: Reach, agent: str | None) -> Reach:
    return replace(reach, scope=replace(reach.scope, agent=agent), any_agent=False)


def _encoded(told: Sequence[_Told], checksum: Checksum) -> list[str]:
    lines = [record_line(one.record, versions=versions, parts=one.parts) for one, versions in told]
    checksum.add(lines)
    return lines
