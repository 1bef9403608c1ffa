"""The records of an export, into a scope that may be anybody's, on any backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from memlane.embeddings import Embeddings
from memlane.errors import ConflictError, ImportFileError, ValidationError
from memlane.keeper import Keeper
from memlane.portable.chains import Chain, Planned, chain_of, planned, refused, steps_of
from memlane.portable.fields import FileRecord, Said, damaged
from memlane.portable.pages import FilePage, FilePages, GivenLines
from memlane.powers import SupportsVersions
from memlane.protocols import Clock, IndexedRecord, VectorBackend
from memlane.reader import within_reach
from memlane.receipts import ImportReceipt, Progress
from memlane.redaction import Redacting
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord, NewMemory
from memlane.writing import RecordIds

__all__ = ("Importer", "import_lines")

_REMEMBERED: Final = 100_000  # ids of a file; one that is there twice further apart is skipped

_Steps: TypeAlias = "list[tuple[Chain, IndexedRecord]]"


async def import_lines(
    lines: GivenLines, importer: Importer, on_progress: Callable[[Progress], object] | None = None
) -> ImportReceipt:
    """Store the lines of an export, each page when it is known to be whole.

    Raises:
        ImportFileError: A line is damaged; what was whole before it is stored.
    """
    workers = WorkerThreads("memlane-import", 1)
    try:
        pages = FilePages(lines, workers)
        while (page := await pages.next()) is not None:
            await importer.take(page, workers)
            if on_progress is not None:
                on_progress(Progress(done=importer.imported + importer.skipped))
    except ImportFileError as error:
        error.imported = importer.imported
        raise
    finally:
        workers.close()
    return ImportReceipt(
        imported=importer.imported, skipped=importer.skipped, embedded=importer.embedded
    )


class Importer:
    """Stores pages of a file for one scope.

    Args:
        backend: Where records go.
        embeddings: How texts become vectors, where the file has none that fit.
        keeper: Gives records their end, and makes room.
        redacting: Sees all that is to be stored.
        clock: When it is.
        batch: Records embedded and written at a time.
        scope: Whose they will be.
    """

    def __init__(
        self,
        backend: VectorBackend,
        embeddings: Embeddings,
        *,
        keeper: Keeper,
        redacting: Redacting,
        clock: Clock,
        batch: int,
        scope: Scope,
    ) -> None:
        self._backend = backend
        self._embeddings = embeddings
        self._keeper = keeper
        self._redacting = redacting
        self._clock = clock
        self._batch = max(1, min(batch, backend.capabilities.max_batch))
        self._scope = scope
        self._keeps_versions = isinstance(backend, SupportsVersions)
        self._ids = RecordIds()
        self._met: dict[str, bytes] = {}
        self.imported = 0
        self.skipped = 0
        self.embedded = 0

    async def take(self, page: FilePage, workers: WorkerThreads) -> None:
        """Store a page; nothing of it when one of its records cannot be."""
        wanted = await workers.run(self._planned, page)
        chains: dict[Scope, list[Chain]] = {}
        for agent, mine in _by_agent(wanted).items():
            lane = replace(self._scope, agent=agent, session=None)
            missing = await self._missing(mine, lane)
            items = await self._items(missing)
            chains[lane] = await workers.run(self._chains, missing, items)
        for lane, found in chains.items():
            new = [chain.planned.given.now.new for chain in found if chain.planned.there is None]
            async with self._keeper.room(new, scope=lane):
                for at in range(0, len(found), self._batch):
                    await self._store(found[at : at + self._batch], lane)

    def _planned(self, page: FilePage) -> list[Planned]:
        now = self._clock.now()
        wanted: list[Planned] = []
        for given in page.records:
            plan = planned(given, self._scope)
            if self._is_repeated(plan):
                self.skipped += 1
                continue
            expires = given.now.new.expires_at
            if expires is not None and expires <= now:
                self.skipped += 1
                continue
            wanted.append(plan)
        return wanted

    def _is_repeated(self, plan: Planned) -> bool:
        met = self._met.get(plan.id)
        if met is None:
            self._met[plan.id] = plan.given.digest
            if len(self._met) > _REMEMBERED:
                del self._met[next(iter(self._met))]
            return False
        if met != plan.given.digest:
            raise damaged(plan.given.line, "has the id of a record before it, and says otherwise")
        return True

    async def _missing(self, plans: Sequence[Planned], lane: Scope) -> list[Planned]:
        """Return those of which something is still to be stored, with what is there."""
        there = await self._there([plan.id for plan in plans], lane)
        missing: list[Planned] = []
        for plan in plans:
            mine = there.get(plan.id)
            said = plan.said if mine is None else await self._behind(plan.given, mine)
            if said:
                left = said if self._keeps_versions else said[-1:]
                missing.append(replace(plan, there=mine, said=left))
        self.skipped += len(plans) - len(missing)
        return missing

    async def _behind(self, given: FileRecord, there: MemoryRecord) -> Sequence[Said]:
        """Return what a file has behind what is there; nothing where somebody has changed that."""
        for place, said in enumerate(given.before, start=1):
            is_of_then = (said.version, said.updated_at) == (there.version, there.updated_at)
            if is_of_then and await self._says(said, there, given):
                return given.said[place:]
        return ()

    async def _says(self, said: Said, there: MemoryRecord, given: FileRecord) -> bool:
        """Say whether what is there is what an import has made of a version."""
        if said.new.content == there.text:
            return True
        try:
            [allowed] = await self._redacting.new_memories([said.new])
        except ValidationError as exc:
            raise refused(given, exc) from exc
        return allowed.content == there.text

    async def _there(self, record_ids: Sequence[str], lane: Scope) -> dict[str, MemoryRecord]:
        # Expired ones too: they are in the way until they are swept.
        reach = replace(Reach.point(lane, now=self._clock.now()), now=None)
        fetched = await self._backend.fetch(record_ids, reach=reach)
        return {
            record.id: record for record in within_reach((each.record for each in fetched), reach)
        }

    async def _items(self, plans: Sequence[Planned]) -> list[list[NewMemory]]:
        """Return what is to be stored for each plan, as it may be."""
        timed = self._keeper.timed([plan.given.now.new for plan in plans])
        items = [
            [*(said.new for said in plan.said[:-1]), last]
            for plan, last in zip(plans, timed, strict=True)
        ]
        try:
            clean = iter([*await self._redacting.new_memories([new for of in items for new in of])])
        except ValidationError:
            for plan, mine in zip(plans, items, strict=True):
                try:
                    await self._redacting.new_memories(mine)
                except ValidationError as exc:
                    raise refused(plan.given, exc) from exc
            raise
        return [[next(clean) for _ in mine] for mine in items]

    def _chains(
        self, plans: Sequence[Planned], items: Sequence[Sequence[NewMemory]]
    ) -> list[Chain]:
        now = self._clock.now()
        found: list[Chain] = []
        for plan, mine in zip(plans, items, strict=True):
            chain = chain_of(plan, mine, now=now, ids=self._ids, space=self._embeddings.space)
            expires = chain.records[-1].expires_at
            if expires is not None and expires <= now:
                self.skipped += 1  # the retention here would not have it any more
            else:
                found.append(chain)
        return found

    async def _store(self, chains: Sequence[Chain], lane: Scope) -> None:
        bare = [chain for chain in chains if not chain.parts]
        texts = [chain.records[-1].text for chain in bare]
        made = await self._embeddings.document_parts(texts) if texts else []
        parts = dict(zip((id(chain) for chain in bare), made, strict=True))
        rounds: dict[tuple[int, int], _Steps] = {}
        for chain in chains:
            own = parts.get(id(chain), chain.parts)
            for turn, (expected, step) in enumerate(steps_of(chain, own)):
                rounds.setdefault((turn, expected), []).append((chain, step))
        theirs: set[int] = set()
        for (_, expected), steps in sorted(rounds.items(), key=lambda each: each[0]):
            mine = [(chain, step) for chain, step in steps if id(chain) not in theirs]
            await self._write(mine, lane, expected, theirs)
        stored = [chain for chain in chains if id(chain) not in theirs]
        self.imported += len(stored)
        self.skipped += len(theirs)
        self.embedded += sum(id(chain) in parts for chain in stored)
        await self._keeper.stored([chain.records[-1] for chain in stored], scope=lane)

    async def _write(self, steps: _Steps, lane: Scope, expected: int, theirs: set[int]) -> None:
        if not steps:
            return
        try:
            await self._upsert([step for _, step in steps], lane, expected)
        except ConflictError:
            # Somebody imports the same just now. What they have stored is left to them.
            for chain, step in steps:
                try:
                    await self._upsert([step], lane, expected)
                except ConflictError:
                    if not await self._there([step.record.id], lane):
                        raise
                    theirs.add(id(chain))

    async def _upsert(self, steps: Sequence[IndexedRecord], lane: Scope, expected: int) -> None:
        await self._backend.upsert(steps, scope=lane, expected_version=expected)


def _by_agent(plans: Sequence[Planned]) -> dict[str | None, list[Planned]]:
    found: dict[str | None, list[Planned]] = {}
    for plan in plans:
        found.setdefault(plan.scope.agent, []).append(plan)
    return found
