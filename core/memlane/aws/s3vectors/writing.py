"""Changing what an index holds: storing, replacing, deleting, and clearing what was left behind.

S3 Vectors overwrites without asking. A version is compared after reading it, in turns within this
process; between processes the later one wins. A record whose windows become fewer loses those
first, and one that takes several requests loses all: a reader, or whoever comes after a crash, may
find less of a record, and never an old text beside a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final

import anyio
import anyio.lowlevel

from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import Listings, listed, record_of
from memlane.aws.s3vectors.putting import Outgoing, put_records
from memlane.aws.s3vectors.reading import keys_of
from memlane.aws.s3vectors.records import (
    decoded,
    encoded,
    first_of,
    flat_of,
    is_oversized,
    micros,
    parts_of,
)
from memlane.checks import check_upsert, check_version
from memlane.errors import DeadlineExceededError, ValidationError
from memlane.layout import agent_prefix, parse_vector_key, record_key, ulid_time
from memlane.protocols import Clock, IndexedRecord
from memlane.runtime import fork
from memlane.runtime.turns import Turns
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("Writing",)

_FRESH: Final = timedelta(hours=1)
_DRIFT_MS: Final = 60_000
_ENCODED_AT_A_TIME: Final = 64  # vectors; of 1,024 dimensions they take some three milliseconds
_ONE_REQUEST: Final = 500


class Writing:
    """Writes for callers on any loop.

    Args:
        listings: What is listed just now.
        clock: When a record is stored.
    """

    def __init__(self, listings: Listings, *, clock: Clock) -> None:
        self._listings = listings
        self._clock = clock
        self._turns = Turns()
        self._lock = threading.Lock()
        self._last = 0
        fork.watch(self._after_fork)

    async def upsert(
        self,
        index: Index,
        description: Description,
        records: Sequence[IndexedRecord],
        *,
        expected_version: int | None,
    ) -> None:
        """Store records of the index's scope, replacing those with the same ids.

        Once the first vector is on its way a cancelled caller waits for the last: what was begun
        is not left half done.

        Raises:
            PartialWriteError: Only some of several are stored.
        """
        scope = index.scope
        check_upsert(records, scope=scope, expected_version=expected_version)
        if any(not item.parts for item in records):
            raise ValidationError(
                "a record without a vector cannot be stored", remedy="embed its text first"
            )
        prefix = agent_prefix(scope)
        keyed = {record_key(prefix, item.record.id): item for item in records}
        self._listings.met(index, prefix, keyed)
        if expected_version is None and len(keyed) == len(records) and self._all_fresh(records):
            sent = await self._encoded(index, description, keyed, {})
            async with _ToItsEnd(scope):
                (await put_records(index, sent)).check(sent)
            return
        async with self._turns_at(index, keyed):
            await self._replace(index, description, keyed, expected_version)

    async def _replace(
        self,
        index: Index,
        description: Description,
        keyed: Mapping[str, IndexedRecord],
        expected_version: int | None,
    ) -> None:
        scope = index.scope
        ids = [item.record.id for item in keyed.values()]
        reach = Reach(scope=scope, any_agent=False, any_session=True, now=None)
        there: dict[str, Mapping[str, Any]] = {}
        older: dict[str, str] = {}
        for vector in await index.get(keys_of(index, ids, reach)):
            key, flat = vector["key"], flat_of(vector)
            if parse_vector_key(key) is not None:
                there[key] = flat
            elif record_of(vector, reach) is not None:
                older[record_key(agent_prefix(scope), key)] = key
                there.setdefault(record_key(agent_prefix(scope), key), flat)
        for key, item in keyed.items():
            have = _version(key, there[key], older, scope) if key in there else 0
            check_version(item.record.id, have, expected_version, scope=scope)
        sent = await self._encoded(index, description, keyed, there)
        surplus: list[str] = []
        for key, each in sent.items():
            if key in there:
                kept = 1 if is_oversized(each.vectors) else len(each.vectors)
                surplus += [f"{key}#w{n}" for n in range(kept, parts_of(there[key]))]
        async with _ToItsEnd(scope):
            if surplus:
                await index.delete(surplus)
            result = await put_records(index, sent)
            gone = [older[key] for key in result.stored if key in older]
            if gone:
                await index.delete(gone)
            result.check(sent)

    async def _encoded(
        self,
        index: Index,
        description: Description,
        keyed: Mapping[str, IndexedRecord],
        there: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Outgoing]:
        found: dict[str, Outgoing] = {}
        at_once = 0
        for key, item in keyed.items():
            before = there.get(key)
            first = self._now() if before is None else first_of(before)
            vectors = encoded(
                item, key=key, first=first, description=description, shared=index.shared
            )
            found[key] = Outgoing(item.record, vectors, is_new=before is None)
            at_once += len(item.parts)
            if at_once >= _ENCODED_AT_A_TIME:
                at_once = 0
                await anyio.lowlevel.checkpoint()
        return found

    async def delete(
        self,
        index: Index,
        description: Description,
        record_ids: Sequence[str],
        *,
        reach: Reach,
    ) -> int:
        """Delete records within reach, windows too, and return how many existed."""
        del description  # every index may hold what other tools wrote
        if not record_ids:
            return 0
        if reach.any_agent:
            # Only forgetting, which looks again, may trust what was listed a moment ago.
            known = None
            if reach.now is None:
                known = self._listings.named(index, reach.scope, record_ids)
            keys = (await listed(index, reach=reach)).named(record_ids) if known is None else known
        else:
            keys = keys_of(index, record_ids, reach)
        async with self._turns_at(index, keys):
            wholes: list[str] = []
            windows: list[str] = []
            for vector in await index.get(keys):
                if record_of(vector, reach) is not None:
                    wholes.append(vector["key"])
                    windows += _windows(vector)
            await _delete(index, wholes, windows)
            return len(wholes)

    async def clear(self, index: Index, *, reach: Reach) -> None:
        """Delete windows within reach whose record is gone, or has fewer."""
        listing = await listed(index, reach=reach)
        if not listing.windows:
            return
        by_record: dict[str, list[str]] = {}
        for key in listing.windows:
            by_record.setdefault(key[: key.index("#")], []).append(key)
        async with self._turns_at(index, by_record):
            there = await index.get([*by_record])
            counts = {vector["key"]: parts_of(flat_of(vector)) for vector in there}
            await _delete(
                index,
                [],
                [
                    key
                    for whole, windows in by_record.items()
                    for key in windows
                    if int(key[key.index("#w") + 2 :]) >= counts.get(whole, 0)
                ],
            )

    async def sweep(self, index: Index, *, now: datetime) -> int:
        """Delete the tenant's records that expired at or before `now`; return how many."""
        count = 0

        async def take(vectors: Sequence[Mapping[str, Any]]) -> None:
            nonlocal count
            ended: dict[str, list[str]] = {}
            for vector in vectors:
                if _has_ended(vector, now=now, tenant=index.scope.tenant):
                    ended.setdefault(vector["key"].partition("#")[0], []).append(vector["key"])
            if ended:
                gone = await self._end(index, ended, now)
                count += gone  # read after the wait: pages come several at a time

        await index.each_page(take, metadata=True)
        return count

    async def _end(self, index: Index, ended: Mapping[str, Sequence[str]], now: datetime) -> int:
        """Delete records that a page showed as expired, where nobody has stored them anew."""
        async with self._turns_at(index, ended):
            there = {vector["key"]: vector for vector in await index.get([*ended])}
            wholes: list[str] = []
            windows: list[str] = []
            for whole, shown in ended.items():
                vector = there.get(whole)
                if vector is None:
                    windows += shown  # of a record that is gone
                elif _has_ended(vector, now=now, tenant=index.scope.tenant):
                    wholes.append(whole)
                    windows += _windows(vector)
            await _delete(index, wholes, windows)
            return len(wholes)

    def _turns_at(self, index: Index, keys: Iterable[str]) -> AbstractAsyncContextManager[None]:
        return self._turns.taken(f"{index.target.index} {key}" for key in keys)

    def _all_fresh(self, records: Iterable[IndexedRecord]) -> bool:
        """Say whether nobody can have stored any of these before: their ids were made just now."""
        now = self._clock.now()
        return all(_is_fresh(item.record, now) for item in records)

    def _now(self) -> int:
        """Return a moment for a new record, later than that of every other one of this process."""
        now = micros(self._clock.now())
        with self._lock:
            self._last = max(now, self._last + 1)
            return self._last

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


def _is_fresh(record: MemoryRecord, now: datetime) -> bool:
    if record.version != 1 or abs(now - record.stored_at) > _FRESH:
        return False
    made = ulid_time(record.id)
    # An id runs ahead of its time where many are made at once, or the clock went back.
    return made is not None and -1 <= made - record.stored_at.timestamp() * 1000 <= _DRIFT_MS


def _version(key: str, flat: Mapping[str, Any], older: Mapping[str, str], scope: Scope) -> int:
    if key in older and "payload" not in flat:
        return 1  # another tool wrote it, and counts none
    return decoded(key, flat, tenant=scope.tenant).version


def _has_ended(vector: Mapping[str, Any], *, now: datetime, tenant: str | None) -> bool:
    flat = flat_of(vector)
    if "expires" not in flat or parse_vector_key(vector["key"]) is None:
        return False
    record = decoded(vector["key"], flat, tenant=tenant)
    mine = record.scope.tenant == tenant
    return mine and record.expires_at is not None and record.expires_at <= now


def _windows(whole: Mapping[str, Any]) -> list[str]:
    """Return the keys of the windows that a record has besides its whole text."""
    return [f"{whole['key']}#w{number}" for number in range(1, parts_of(flat_of(whole)))]


async def _delete(index: Index, wholes: Sequence[str], windows: Sequence[str]) -> None:
    if not wholes and not windows:
        return
    async with _ToItsEnd(index.scope):
        if len(wholes) + len(windows) <= _ONE_REQUEST:
            await index.delete([*wholes, *windows])
            return
        # Cut off in between, what is left is still a record, to be deleted again.
        if windows:
            await index.delete(windows)
        if wholes:
            await index.delete(wholes)


class _ToItsEnd:
    """Lets a block end though its caller is cancelled; the caller's own deadline still holds."""

    __slots__ = ("_scope", "_shield")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._shield = anyio.CancelScope(shield=True, deadline=anyio.current_effective_deadline())

    async def __aenter__(self) -> None:
        self._shield.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        swallowed = self._shield.__exit__(exc_type, exc, traceback)
        if self._shield.cancelled_caught:
            await anyio.lowlevel.checkpoint()  # where the deadline is the caller's, this is it
            raise DeadlineExceededError("not finished in time", scope=self._scope)
        return swallowed
