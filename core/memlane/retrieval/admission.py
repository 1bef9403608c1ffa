"""What a backend found is looked at again before it is recalled: whose, whether true, by whom."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memlane.filters import Filter
from memlane.layout import in_namespace
from memlane.metadata import record_fields
from memlane.powers import SupportsVersions
from memlane.protocols import Candidates, VectorBackend
from memlane.reader import within_reach
from memlane.retrieval.supersession import Seen
from memlane.retrieval.validity import changed_since, held, said_by, words_then
from memlane.runtime import together
from memlane.scope import Reach
from memlane.trust import TrustPolicy, TrustVerdict
from memlane.types import MemoryRecord
from memlane.windows import around

__all__ = ("Admission",)

_PLAIN = TrustVerdict()


@dataclass(slots=True, kw_only=True)
class Admission:
    """What a record must be to be recalled by one call.

    Args:
        backend: Where records are fetched from.
        reach: Whose records.
        path: The subtree they lie in.
        condition: What each meets.
        as_of: When it is meant to be; None is now.
        trust: The client's policy.
    """

    backend: VectorBackend
    reach: Reach
    path: str
    condition: Filter | None
    as_of: datetime | None
    trust: TrustPolicy | None

    async def look(self, candidates: Candidates, rows: Sequence[int]) -> dict[int, Seen | None]:
        """Return what may be recalled of each row, None for what may not.

        Raises:
            IsolationError: The backend returned a record out of reach.
            ScannerError: The policy's scanner could not say.
        """
        found: dict[int, Seen | None] = dict.fromkeys(rows)
        current = dict(zip(rows, await self._records(candidates, rows), strict=True))
        then = current if self.as_of is None else await self._as_they_were(current, self.as_of)
        left = {
            row: record
            for row, record in then.items()
            if record is not None and self._allows(record)
        }
        if self.trust is None:
            verdicts = [_PLAIN] * len(left)
        else:
            verdicts = await self.trust.scanned(list(left.values()))
        for (row, record), verdict in zip(left.items(), verdicts, strict=True):
            if verdict.allowed:
                # A window's place in the text is a place in the words of today.
                whole = record is not current[row]
                passage = record.text if whole else _passage(record.text, candidates, row)
                found[row] = Seen(record, passage, verdict.label)
        return found

    def _allows(self, record: MemoryRecord) -> bool:
        now = self.reach.now
        # It may have been changed since the candidates were found.
        if self.path != "/" and not in_namespace(record.namespace, self.path):
            return False
        if self.condition is not None and not self.condition.matches(record_fields(record)):
            return False
        if self.as_of is not None:
            if not said_by(record, self.as_of):
                return False
        elif now is not None and not held(record, now):
            return False
        return self.trust is None or now is None or self.trust.admits(record, now=now)

    async def _records(
        self, candidates: Candidates, rows: Sequence[int]
    ) -> list[MemoryRecord | None]:
        """Return the record of each row, None for one that is there no more."""
        if candidates.records is not None:
            found = [candidates.records[row] for row in rows]
            within_reach(found, self.reach)
            return [*found]
        names = [(candidates.agents[row], candidates.record_ids[row]) for row in rows]
        ids = list(dict.fromkeys(record_id for _, record_id in names))
        fetched = within_reach(
            (one.record for one in await self.backend.fetch(ids, reach=self.reach)), self.reach
        )
        by_name = {(record.scope.agent, record.id): record for record in fetched}
        return [by_name.get(name) for name in names]

    async def _as_they_were(
        self, current: dict[int, MemoryRecord | None], moment: datetime
    ) -> dict[int, MemoryRecord | None]:
        """Return the records in the words they had at a moment."""
        rows = {
            row: functools.partial(self._words_of, record, moment)
            for row, record in current.items()
            if record is not None and changed_since(record, moment)
        }
        return current | dict(zip(rows, await together(rows.values()), strict=True))

    async def _words_of(self, record: MemoryRecord, moment: datetime) -> MemoryRecord | None:
        if not isinstance(self.backend, SupportsVersions):
            return None  # what it said then nobody knows
        kept = await self.backend.versions(record.id, reach=self.reach)
        # That an old version was to expire says nothing of the record.
        within_reach(kept, dataclasses.replace(self.reach, now=None))
        mine = [version for version in kept if version.scope.agent == record.scope.agent]
        return words_then(mine, moment)


def _passage(text: str, candidates: Candidates, row: int) -> str:
    if not candidates.parts[row]:
        return text
    start, end = (int(edge) for edge in candidates.spans[row])
    if start >= len(text):
        return text  # shortened meanwhile: nothing of the window is left
    start, end = around(text, start, min(end, len(text)))
    return text[start:end]
