"""Forgetting a scope, and proving it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from memlane.errors import BackendError
from memlane.powers import SupportsErase, SupportsRemains, SupportsScrub
from memlane.protocols import VectorBackend
from memlane.reader import within_reach
from memlane.receipts import ForgetReceipt, Residue
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("forget",)

_PASSES: Final = 3  # records stored while the scope is being forgotten are met by a later pass
_PATIENCE: Final = 3  # pages in a row that cannot be deleted: the store is away, not a record stuck

_NAMED: Final = 10_000

_log = logging.getLogger(__name__)


async def forget(backend: VectorBackend, scope: Scope, *, batch: int) -> ForgetReceipt:
    """Delete all that a scope contains, expired records too, then read again to prove it.

    A page that cannot be deleted is passed over and tried again; what stays is named, 10,000 ids
    of it at most. Interrupted and repeated it ends in the same state. A caller that keeps storing
    meanwhile leaves `verified_empty` False.

    Raises:
        BackendError: The scope cannot be read, or nothing of it deleted.
    """
    erasing = _Erasing(backend, scope, batch)
    left: Sequence[str] = ()
    for _ in range(_PASSES):
        await erasing.empty()
        left = await erasing.sweep_up()
        if not left:
            break
    if left:
        left = await erasing.name()
        if not erasing.deleted and erasing.trouble is not None:
            raise erasing.trouble
        if erasing.trouble is not None and isinstance(backend, SupportsErase):
            erasing.stuck.update(left)  # of what is erased at once not all was asked for by name
    residue: Residue = "unknown"
    if isinstance(backend, SupportsScrub):
        try:
            residue = await backend.scrub(scope=scope)
        except BackendError as error:
            if not left:
                raise
            # The receipt says already that not all is gone.
            _log.warning("what is left was not cleared: %s", type(error).__name__)
    return ForgetReceipt(
        found=erasing.deleted + len(erasing.stuck.intersection(left)),
        deleted=erasing.deleted,
        failed=tuple(left),
        verified_empty=not left,
        residue=residue,
    )


class _Erasing:
    """What was done so far."""

    def __init__(self, backend: VectorBackend, scope: Scope, batch: int) -> None:
        self._backend = backend
        self._reach = Reach.whole(scope, now=None)
        self._batch = batch
        self._failures = 0
        self.deleted = 0
        self.stuck: set[str] = set()
        """Ids of which not all went when they were to."""
        self.trouble: BackendError | None = None

    async def empty(self) -> None:
        """Delete page by page, to the end."""
        if isinstance(self._backend, SupportsErase):
            try:
                self.deleted += await self._backend.erase(reach=self._reach)
            except BackendError as error:
                # What stays is read again, and deleted page by page.
                self.trouble = error
                _log.warning("not all could be deleted at once: %s", type(error).__name__)
            return
        cursor: str | None = None
        while True:
            records, cursor = await self._page(cursor)
            if records:
                await self._delete([record.id for record in records])
            if cursor is None:
                return

    async def sweep_up(self) -> Sequence[str]:
        """Read again and return ids of what is there; what no page shows is deleted here."""
        if not isinstance(self._backend, SupportsRemains):
            records, _ = await self._page(None)
            return [record.id for record in records]
        left = await self._backend.remains(reach=self._reach, limit=self._batch)
        self._failures = 0  # those of an earlier pass are not in a row with these
        while left:
            await self._delete(left)
            again = await self._backend.remains(reach=self._reach, limit=self._batch)
            if len(left) < self._batch or again == left:
                return again
            left = again
        return ()

    async def name(self) -> Sequence[str]:
        """Return ids of all that is there."""
        found: dict[str, None] = {}
        if isinstance(self._backend, SupportsRemains):
            found |= dict.fromkeys(await self._backend.remains(reach=self._reach))
        cursor: str | None = None
        while len(found) < _NAMED:
            records, cursor = await self._page(cursor)
            found |= dict.fromkeys(record.id for record in records)
            if cursor is None:
                break
        return list(found)[:_NAMED]

    async def _page(self, cursor: str | None) -> tuple[Sequence[MemoryRecord], str | None]:
        page = await self._backend.scan(reach=self._reach, cursor=cursor, limit=self._batch)
        return within_reach(page.records, self._reach), page.cursor

    async def _delete(self, found: Sequence[str]) -> None:
        # An id takes all agents' records of it, also those on pages not read yet.
        ids = list(dict.fromkeys(found))
        try:
            gone = await self._backend.delete(ids, reach=self._reach)
        except BackendError as error:
            self.trouble = error
            self.stuck.update(ids)
            self._failures += 1
            if self._failures == _PATIENCE:
                raise
            _log.warning("%s records could not be deleted: %s", len(ids), type(error).__name__)
            return
        self._failures = 0
        self.deleted += gone
        if gone < len(ids):
            self.stuck.update(ids)
