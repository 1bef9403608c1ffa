"""Forgetting a scope, and proving it."""

from __future__ import annotations

from memlane.protocols import SupportsScrub, VectorBackend
from memlane.reader import within_reach
from memlane.scope import Reach, Scope
from memlane.types import ForgetReceipt

__all__ = ("forget",)

_PASSES = 3  # records stored while the scope is being forgotten are met by a later pass


async def forget(backend: VectorBackend, scope: Scope, *, batch: int) -> ForgetReceipt:
    """Delete all that a scope contains, expired records too, then read again to prove it.

    Interrupted and repeated it ends in the same state. A caller that keeps storing meanwhile
    leaves `verified_empty` False.
    """
    reach = Reach.whole(scope, now=None)
    found: set[tuple[str | None, str]] = set()
    deleted = 0
    for _ in range(_PASSES):
        cursor: str | None = None
        met = 0
        while True:
            page = await backend.scan(reach=reach, cursor=cursor, limit=batch)
            records = within_reach(page.records, reach)
            ids = list(dict.fromkeys(record.id for record in records))
            met += len(ids)
            found.update((record.scope.agent, record.id) for record in records)
            if ids:
                deleted += await backend.delete(ids, reach=reach)
            if page.cursor is None:
                break
            cursor = page.cursor
        if not met:
            break
    again = await backend.scan(reach=reach, limit=batch)
    left = [record.id for record in within_reach(again.records, reach)]
    residue = await backend.scrub(scope=scope) if isinstance(backend, SupportsScrub) else "unknown"
    return ForgetReceipt(
        # Deleting an id takes all agents' records of it, also those on pages not read yet.
        found=max(len(found), deleted),
        deleted=deleted,
        failed=tuple(left),
        verified_empty=not left,
        residue=residue,
    )
