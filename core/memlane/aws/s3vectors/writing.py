"""Changing what an index holds: storing, replacing and deleting.

S3 Vectors overwrites without asking. A version is compared after reading it, in turns within this
process; between processes the later one wins, and looks for what the earlier one left (`strays`).

A reader, or whoever comes after a crash, may find less of a record, and never an old text beside a
new one; and what is refused has changed nothing. So the windows that a record has no more are
emptied by the very request that stores it, and deleted after that. Only one that takes several
requests loses all its windows first, pictures too.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import anyio
import anyio.lowlevel

from memlane.aws.s3vectors.deleting import ToItsEnd, delete_records, windows_of, within_session
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import Listing, listed, name_of, record_of
from memlane.aws.s3vectors.listings import Listings
from memlane.aws.s3vectors.putting import Outgoing, put_records
from memlane.aws.s3vectors.reading import keys_of
from memlane.aws.s3vectors.records import (
    decoded,
    encoded,
    first_of,
    flat_of,
    micros,
    parts_of,
    version_in,
)
from memlane.aws.s3vectors.strays import Replaced, clean_behind, clean_replaced, emptied
from memlane.aws.s3vectors.versions import copies_beside
from memlane.checks import check_condition, check_upsert, check_version
from memlane.errors import BackendError, ValidationError
from memlane.layout import agent_prefix, parse_vector_key, record_key, ulid_time
from memlane.protocols import Clock, IndexedRecord
from memlane.runtime import fork, together
from memlane.runtime.turns import Turns
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("Writing",)

_FRESH: Final = timedelta(hours=1)
_DRIFT_MS: Final = 60_000
_AT_A_TIME: Final = 500
_ENCODED_AT_A_TIME: Final = 64  # vectors; of 1,024 dimensions they take some three milliseconds

_log = logging.getLogger(__name__)


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
            async with ToItsEnd(scope):
                (await put_records(index, sent)).check(sent)
            return
        async with self.turns_at(index, keyed):
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
        if expected_version is not None:
            for key, item in keyed.items():
                _check(key, item, there.get(key), expected_version, scope)
        sent = await self._encoded(index, description, keyed, there)
        replaced = {
            key: Replaced(each.record, len(each.vectors), parts_of(there[key]))
            for key, each in sent.items()
            if key in there
        }
        gone: list[str] = []
        begun: list[str] = []
        for key, each in replaced.items():
            if sent[key].is_long:
                gone += windows_of(key, each.before)
            if each.record.version == 1 and version_in(there[key]) > 1:
                begun.append(key)
        if begun:
            # A life of its own, of which what was there before is no version.
            beside = (await listed(index, reach=reach)).beside()
            gone += [key for whole in begun for key in beside.get(whole, ()) if "#v" in key]
        async with ToItsEnd(scope):
            if gone:
                await index.delete(gone)
            result = await put_records(index, sent)
            twins = [older[key] for key in result.stored if key in older]
            if twins:
                await index.delete(twins)
            await _cleaned(index, {key: replaced[key] for key in replaced if key in result.stored})
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
        for now, (key, item) in enumerate(keyed.items(), self._moments(len(keyed))):
            before = there.get(key)
            first = now if before is None else first_of(before)
            vectors = encoded(
                item,
                key=key,
                first=first,
                description=description,
                shared=index.shared,
                kept=item.replaces is not None,
            )
            copies: dict[str, bytes] = {}
            if item.replaces is not None:
                copies = copies_beside(item.record, item.replaces, key, before, description)
                self._listings.met(index, key, copies)
            beside = [*copies.values()]
            if before is not None:
                replaced = Replaced(item.record, len(vectors), parts_of(before))
                beside += emptied(key, replaced, description)
            found[key] = Outgoing(item.record, vectors, before is None, beside)
            at_once += len(item.parts)
            if at_once >= _ENCODED_AT_A_TIME:
                at_once = 0
                await anyio.lowlevel.checkpoint()
        return found

    async def delete(self, index: Index, record_ids: Sequence[str], *, reach: Reach) -> int:
        """Delete records within reach, with windows and kept versions; return how many existed.

        Without a moment in the reach, which is forgetting, what lost its record goes too.
        """
        if not record_ids:
            return 0
        forgets = reach.now is None
        listing: Listing | None = None
        if reach.any_agent:
            listing = await listed(index, reach=reach)
            keys = listing.named(record_ids)
        else:
            keys = keys_of(index, record_ids, reach)
        async with self.turns_at(index, keys):
            doomed = await _doomed(index, keys, reach)
            lost: set[str] = set()
            if forgets or listing is not None:
                lost = {record_key("", each) for each in record_ids} - doomed.names
            if listing is None and (doomed.updated or lost):
                listing = await listed(index, reach=reach)
            others = doomed.windows
            if listing is not None:
                beside = listing.beside()
                others += [
                    k for whole in doomed.updated for k in beside.get(whole, ()) if "#v" in k
                ]
                others += await _orphans(index, listing, beside, lost, reach)
            async with ToItsEnd(index.scope):
                await delete_records(index, [*doomed.parts], [*dict.fromkeys(others)])
                if not forgets:  # who forgets looks again
                    # A deletion that was cut off is repeated, and then there is no record.
                    again = doomed.missing if listing is None and reach.any_session else ()
                    await clean_behind(index, {**doomed.parts, **dict.fromkeys(again, 1)})
            return len(doomed.parts)

    async def erase(self, index: Index, *, reach: Reach) -> int:
        """Delete all within reach, expiry aside; return how many records that were.

        Keys say what there is, so nothing is read, unless only a session's is to go. Of several
        requests one may be refused: what that left is there for who reads again.
        """
        listing = await listed(index, reach=reach)
        wholes = [*listing.records, *listing.older]
        others = [*listing.windows, *listing.copies]
        if not reach.any_session:
            wholes = await within_session(index, wholes, reach)
            others = await within_session(index, others, reach)
        # Cut off in between, what is left is still a record, to be deleted again.
        await delete_records(index, [], others)

        trouble: list[BackendError] = []

        async def gone(keys: Sequence[str]) -> int:
            try:
                async with self.turns_at(index, keys):
                    await delete_records(index, keys, [])
            except BackendError as error:
                trouble.append(error)
                return 0
            return len(keys)

        counts = await together(
            functools.partial(gone, wholes[at : at + _AT_A_TIME])
            for at in range(0, len(wholes), _AT_A_TIME)
        )
        count = sum(counts)
        if trouble and not count:
            raise trouble[0]
        return count

    def turns_at(self, index: Index, keys: Iterable[str]) -> AbstractAsyncContextManager[None]:
        """Return what is entered to change records, by key, while nobody of this process does."""
        return self._turns.taken(f"{index.target.index} {key}" for key in keys)

    def _all_fresh(self, records: Iterable[IndexedRecord]) -> bool:
        """Say whether nobody can have stored any of these before: their ids were made just now."""
        now = self._clock.now()
        return all(_is_fresh(item.record, now) for item in records)

    def _moments(self, count: int) -> int:
        """Return the first of so many moments, one after the other, that no other record has.

        They are later than those of every other record of this process.
        """
        now = micros(self._clock.now())
        with self._lock:
            first = max(now, self._last + 1)
            self._last = first + count - 1
            return first

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


def _is_fresh(record: MemoryRecord, now: datetime) -> bool:
    if record.version != 1 or abs(now - record.stored_at) > _FRESH:
        return False
    made = ulid_time(record.id)
    # An id runs ahead of its time where many are made at once, or the clock went back.
    return made is not None and -1 <= made - record.stored_at.timestamp() * 1000 <= _DRIFT_MS


def _check(
    key: str, item: IndexedRecord, flat: Mapping[str, Any] | None, expected: int, scope: Scope
) -> None:
    """Compare what is there with what is expected.

    Raises:
        ConflictError: It is at another version, or another record.
    """
    if flat is not None and "payload" not in flat:
        # Another tool wrote it, and counts none.
        check_version(item.record.id, 1, expected, scope=scope)
        return
    there = None if flat is None else decoded(key, flat, tenant=scope.tenant)
    check_condition(item, there, expected, scope=scope)


class _Doomed(NamedTuple):
    """What a deletion takes.

    Args:
        parts: How many vectors each record has, by the key of its whole text.
        updated: Keys of those of which versions may be kept.
        missing: Keys under which there is nothing, in reach or out of it.
    """

    parts: dict[str, int]
    updated: list[str]
    missing: list[str]

    @property
    def names(self) -> set[str]:
        """The ids, as they stand in keys."""
        return {*map(name_of, self.parts)}

    @property
    def windows(self) -> list[str]:
        """The keys of their windows."""
        return [name for key, count in self.parts.items() for name in windows_of(key, count)]


async def _doomed(index: Index, keys: Sequence[str], reach: Reach) -> _Doomed:
    found = _Doomed({}, [], [])
    vectors = await index.get(keys)
    there = {vector["key"] for vector in vectors}
    found.missing.extend(key for key in keys if key not in there)
    for vector in vectors:
        record = record_of(vector, reach)
        if record is not None:
            found.parts[vector["key"]] = parts_of(flat_of(vector))
            if record.version > 1:
                found.updated.append(vector["key"])
    return found


async def _cleaned(index: Index, replaced: Mapping[str, Replaced]) -> None:
    try:
        await clean_replaced(index, replaced)
    except BackendError as error:
        # What was asked for is done; a sweep finds what is left.
        _log.warning("what was replaced is not all deleted: %s", type(error).__name__)


async def _orphans(
    index: Index,
    listing: Listing,
    beside: Mapping[str, Sequence[str]],
    names: Container[str],
    reach: Reach,
) -> list[str]:
    """Return the keys of windows and copies, of records that are gone, within reach."""
    there = {*listing.records}
    keys = [
        key
        for whole, mine in beside.items()
        if name_of(whole) in names and whole not in there
        for key in mine
    ]
    return keys if reach.any_session else await within_session(index, keys, reach)
