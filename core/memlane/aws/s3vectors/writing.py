"""Changing what an index holds: storing, replacing and deleting.

S3 Vectors overwrites without asking. A version is compared after reading it, in turns within this
process; between processes the later one wins. A record whose windows become fewer loses those
first, and one that takes several requests loses all: a reader, or whoever comes after a crash, may
find less of a record, and never an old text beside a new one.
"""

from __future__ import annotations

import functools
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
from memlane.aws.s3vectors.listing import Listing, listed, name_of, prefix_of, record_of
from memlane.aws.s3vectors.listings import Listings, Shown
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
from memlane.aws.s3vectors.together import together
from memlane.aws.s3vectors.versions import copies_beside
from memlane.checks import check_upsert, check_version
from memlane.errors import BackendError, ValidationError
from memlane.layout import agent_prefix, parse_vector_key, record_key, ulid_time
from memlane.protocols import Clock, IndexedRecord
from memlane.runtime import fork
from memlane.runtime.turns import Turns
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("Writing",)

_FRESH: Final = timedelta(hours=1)
_DRIFT_MS: Final = 60_000
_AT_A_TIME: Final = 500
_ENCODED_AT_A_TIME: Final = 64  # vectors; of 1,024 dimensions they take some three milliseconds


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
        for key, item in keyed.items():
            have = _version(key, there[key], older, scope) if key in there else 0
            check_version(item.record.id, have, expected_version, scope=scope)
        sent = await self._encoded(index, description, keyed, there)
        surplus: list[str] = []
        begun: list[str] = []
        for key, each in sent.items():
            if key in there:
                kept = 1 if each.is_long else len(each.vectors)
                surplus += [f"{key}#w{n}" for n in range(kept, parts_of(there[key]))]
                if each.record.version == 1 and version_in(there[key]) > 1:
                    begun.append(key)
        if begun:
            # A life of its own, of which what was there before is no version.
            beside = (await listed(index, reach=reach)).beside()
            surplus += [key for whole in begun for key in beside.get(whole, ()) if "#v" in key]
        async with ToItsEnd(scope):
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
            found[key] = Outgoing(item.record, vectors, before is None, [*copies.values()])
            at_once += len(item.parts)
            if at_once >= _ENCODED_AT_A_TIME:
                at_once = 0
                await anyio.lowlevel.checkpoint()
        return found

    async def delete(self, index: Index, record_ids: Sequence[str], *, reach: Reach) -> int:
        """Delete records within reach, with windows and kept versions; return how many existed.

        Without a moment in the reach, which is forgetting, what lost its record goes too, and what
        a page showed just now is not read again.
        """
        if not record_ids:
            return 0
        forgets = reach.now is None
        # Only forgetting, which looks again, may trust what was listed a moment ago.
        known = self._listings.latest(index, reach) if forgets else None
        keys = None if known is None else known.named(record_ids, prefix_of(reach))
        listing: Listing | None = None
        if keys is None:
            known = None
            if reach.any_agent:
                listing = await listed(index, reach=reach)
                keys = listing.named(record_ids)
            else:
                keys = keys_of(index, record_ids, reach)
        async with self.turns_at(index, keys):
            doomed = await _doomed(index, keys, reach, {} if known is None else known.shown(reach))
            lost: set[str] = set()
            if forgets and known is None:
                lost = {record_key("", each) for each in record_ids} - doomed.names
            if listing is None and known is None and (doomed.updated or lost):
                listing = await listed(index, reach=reach)
            others = doomed.windows
            if known is not None:
                others += known.beside(doomed.updated, sign="#v")
            elif listing is not None:
                beside = listing.beside()
                others += [
                    k for whole in doomed.updated for k in beside.get(whole, ()) if "#v" in k
                ]
                others += await _orphans(index, listing, beside, lost, reach)
            await delete_records(index, doomed.wholes, [*dict.fromkeys(others)])
            return len(doomed.wholes)

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


def _version(key: str, flat: Mapping[str, Any], older: Mapping[str, str], scope: Scope) -> int:
    if key in older and "payload" not in flat:
        return 1  # another tool wrote it, and counts none
    return decoded(key, flat, tenant=scope.tenant).version


class _Doomed(NamedTuple):
    """What a deletion takes.

    Args:
        wholes: Keys of whole texts.
        windows: Keys of their windows.
        updated: Keys of those of which versions may be kept.
    """

    wholes: list[str]
    windows: list[str]
    updated: list[str]

    @property
    def names(self) -> set[str]:
        """The ids, as they stand in keys."""
        return {*map(name_of, self.wholes)}


async def _doomed(
    index: Index, keys: Sequence[str], reach: Reach, shown: Mapping[str, Shown]
) -> _Doomed:
    found = _Doomed([], [], [])
    told = {key: shown[key] for key in keys if key in shown}
    for vector in await index.get([key for key in keys if key not in told]):
        record = record_of(vector, reach)
        if record is not None:
            told[vector["key"]] = Shown(parts_of(flat_of(vector)), record.version > 1)
    for key, each in told.items():
        found.wholes.append(key)
        found.windows.extend(windows_of(key, each.parts))
        if each.has_copies:
            found.updated.append(key)
    return found


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
