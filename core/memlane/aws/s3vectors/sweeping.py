"""Clearing an index of what is nobody's any more: expired records, lost windows, too old versions.

Whatever a listing shows is looked at once more before it is deleted, so several may sweep at once,
and beside those who store. What another process stores in the moment between is met by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Final, TypeAlias

import anyio.lowlevel

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.copies import is_copy_key, whole_of
from memlane.aws.s3vectors.deleting import delete_records, windows_of, within_session
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import listed
from memlane.aws.s3vectors.records import decoded, flat_of, is_version_kept
from memlane.aws.s3vectors.strays import (
    UNKNOWN,
    clean_behind,
    clean_beside,
    is_surplus,
    parts_in,
)
from memlane.errors import BackendError
from memlane.layout import MAX_VERSIONS, parse_vector_key
from memlane.scope import Reach

__all__ = ("clear", "left", "sweep")

TurnsAt: TypeAlias = Callable[[Index, Iterable[str]], AbstractAsyncContextManager[None]]
Vector: TypeAlias = Mapping[str, Any]

_AT_A_TIME: Final = 500  # records; so that nobody who stores waits long for a turn


async def clear(index: Index, turns_at: TurnsAt, *, reach: Reach) -> None:
    """Delete windows and versions within reach whose record is gone, and windows it has no more."""
    listing = await listed(index, reach=reach)
    beside = {whole: dict.fromkeys(keys, "") for whole, keys in listing.beside().items()}
    await _clean(index, turns_at, beside)


async def left(index: Index, *, reach: Reach, limit: int) -> list[str]:
    """Return ids of which anything is left within reach, be it a window or a version alone."""
    listing = await listed(index, reach=reach)
    keys = [*listing.records, *listing.windows, *listing.copies]
    if not reach.any_session:
        keys = await within_session(index, keys, reach)
    found = {parsed.record_id: None for key in keys if (parsed := parse_vector_key(whole_of(key)))}
    older = listing.older
    if not reach.any_session:
        older = await within_session(index, older, reach)
    return [*found, *older][:limit]


async def sweep(index: Index, turns_at: TurnsAt, *, now: datetime) -> int:
    """Delete what is nobody's any more; return how many records had expired.

    Reads the metadata of the whole index.
    """
    sweeper = _Sweeper(index, turns_at, now)
    await index.each_page(sweeper.take, metadata=True)
    await _clean(index, turns_at, sweeper.suspects())
    return sweeper.count


class _Sweeper:
    """What one sweep has seen so far."""

    def __init__(self, index: Index, turns_at: TurnsAt, now: datetime) -> None:
        self.count = 0
        self._index = index
        self._turns_at = turns_at
        self._now = now
        self._beside: dict[str, dict[str, str]] = {}
        self._wholes: dict[str, tuple[int, str]] = {}

    async def take(self, vectors: Sequence[Vector]) -> None:
        """Look at a page; pages come several at a time."""
        tenant = self._index.scope.tenant
        ended: list[str] = []
        for vector in vectors:
            key = vector["key"]
            if parse_vector_key(whole_of(key)) is None or not self._is_mine(vector):
                continue
            whole = whole_of(key)
            if whole != key:
                born = flat_of(vector).get("stored_at", "") if is_copy_key(key) else ""
                self._beside.setdefault(whole, {})[key] = born
                continue
            parts = parts_in(vector)
            if parts > 1 or is_version_kept(flat_of(vector)):
                self._wholes[key] = parts, flat_of(vector).get("stored_at", "")
            if _has_ended(vector, now=self._now, tenant=tenant):
                ended.append(key)
        if ended:
            gone = await self._end(ended)
            self.count += gone  # read after the wait

    def suspects(self) -> dict[str, Mapping[str, str]]:
        """Return what lies beside records of which something is too much."""
        found: dict[str, Mapping[str, str]] = {}
        for whole, keys in self._beside.items():
            parts, born = self._wholes.get(whole, (0, ""))
            if (
                not parts
                or any(is_surplus(key, life, parts=parts, born=born) for key, life in keys.items())
                or (len(keys) > MAX_VERSIONS and sum(map(is_copy_key, keys)) > MAX_VERSIONS)
            ):
                found[whole] = keys
        return found

    def _is_mine(self, vector: Vector) -> bool:
        if not self._index.shared:
            return True
        try:
            tenant: str | None = orjson.loads(flat_of(vector)["payload"]).get("tenant")
        except (AttributeError, KeyError, TypeError, ValueError):
            return False  # damaged, or none of ours
        return tenant == self._index.scope.tenant

    async def _end(self, ended: Sequence[str]) -> int:
        """Delete records that a page showed as expired, where nobody has stored them anew."""
        tenant = self._index.scope.tenant
        async with self._turns_at(self._index, ended):
            parts: dict[str, int] = {}
            for vector in await self._index.get(ended):
                if _has_ended(vector, now=self._now, tenant=tenant):
                    count = parts_in(vector)
                    # Where nobody knows how many there are, they are found as lost ones.
                    parts[vector["key"]] = 1 if count == UNKNOWN else count
            windows = [name for key, count in parts.items() for name in windows_of(key, count)]
            await delete_records(self._index, [*parts], windows)
            await clean_behind(self._index, parts)
        for key in parts:
            self._wholes.pop(key, None)  # whatever lies beside it is lost now
        return len(parts)


async def _clean(index: Index, turns_at: TurnsAt, beside: Mapping[str, Mapping[str, str]]) -> None:
    """Delete what lies beside records and is too much; see `clean_beside`."""
    wholes = [*beside]
    for at in range(0, len(wholes), _AT_A_TIME):
        some = {whole: beside[whole] for whole in wholes[at : at + _AT_A_TIME]}
        async with turns_at(index, some):
            await clean_beside(index, some)
        await anyio.lowlevel.checkpoint()


def _has_ended(vector: Vector, *, now: datetime, tenant: str | None) -> bool:
    flat = flat_of(vector)
    if "expires" not in flat or parse_vector_key(vector["key"]) is None:
        return False
    try:
        record = decoded(vector["key"], flat, tenant=tenant)
    except BackendError:
        return False  # damaged: forgetting takes it along, and nothing else does
    mine = record.scope.tenant == tenant
    return mine and record.expires_at is not None and record.expires_at <= now
