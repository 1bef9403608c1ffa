"""Reading records of an index: by id, page by page, and by words alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import KEYS_LISTED, Index, token_of, vectors_of
from memlane.aws.s3vectors.listing import (
    BY_KEYS,
    BY_SEGMENTS,
    decode_cursor,
    decode_place,
    encode_cursor,
    encode_place,
    listed,
    listing_of,
    prefix_of,
    record_of,
)
from memlane.aws.s3vectors.listings import Listings
from memlane.aws.s3vectors.records import part_of, parts_of
from memlane.aws.s3vectors.streams import Streams
from memlane.filters import Filter
from memlane.layout import agent_prefix, parse_vector_key, record_key
from memlane.pages import lists
from memlane.protocols import IndexedRecord, RecordPart, ScanPage
from memlane.scope import Reach
from memlane.types import MemoryRecord

__all__ = ("Reading", "keys_of")

BY_WORDS: Final = 2_000
"""Records read at most where only words count: S3 Vectors finds by vectors."""

_READ_AT_A_TIME: Final = 100
_READ_A_PAGE: Final = 1_000
_ATTEMPTS: Final = 3

_GOOD_PART: Final = 0.3
"""Of an index: from here on its listing brings the records along."""

Flat = Mapping[str, Any]


def keys_of(index: Index, record_ids: Sequence[str], reach: Reach) -> list[str]:
    """Return the keys that one agent's records of these ids have, if they exist.

    An id may be a whole key, of what another tool wrote.
    """
    prefix = agent_prefix(reach.scope)
    unique = dict.fromkeys(record_ids)
    keys = [record_key(prefix, each) for each in unique]
    if index.may_hold_strangers:
        keys += [each for each in unique if parse_vector_key(each) is None]
    return keys


class Reading:
    """Reads for callers on any loop.

    Args:
        listings: Where pages go on.
        streams: Where those go on that are in the order of segments.
    """

    def __init__(self, listings: Listings, streams: Streams) -> None:
        self._listings = listings
        self._streams = streams

    async def fetch(
        self,
        index: Index,
        description: Description,
        record_ids: Sequence[str],
        *,
        reach: Reach,
        vectors: bool,
    ) -> list[IndexedRecord]:
        """Return those of the records that exist within reach."""
        del description  # every index may hold what other tools wrote
        if not record_ids:
            return []
        if reach.any_agent:
            keys = (await listed(index, reach=reach)).named(record_ids)
        else:
            keys = keys_of(index, record_ids, reach)
        found: list[IndexedRecord] = []
        torn = keys
        for attempt in range(_ATTEMPTS):
            whole = _within(await index.get(torn, data=vectors), reach)
            parts = await self._parts(index, whole) if vectors else {}
            torn = [key for key in parts if parts[key] is None] if attempt < _ATTEMPTS - 1 else []
            found += [
                IndexedRecord(record=record, parts=parts.get(key) or ())
                for key, (record, _) in whole.items()
                if key not in torn
            ]
            if not torn:
                break
        return found

    async def _parts(
        self, index: Index, whole: Mapping[str, tuple[MemoryRecord, Mapping[str, Any]]]
    ) -> dict[str, tuple[RecordPart, ...] | None]:
        """Return the parts of records; None for one that was replaced in between."""
        counts = {key: parts_of(vector["metadata"]) for key, (_, vector) in whole.items()}
        windows = [f"{key}#w{n}" for key, count in counts.items() for n in range(1, count)]
        there = {each["key"]: each for each in await index.get(windows, data=True)}
        found: dict[str, tuple[RecordPart, ...] | None] = {}
        for key, (_, vector) in whole.items():
            mine = [vector, *(there.get(f"{key}#w{n}") for n in range(1, counts[key]))]
            same = [each for each in mine if each is not None and _is_of(each, vector)]
            found[key] = (
                tuple(part_of(each["metadata"], _components(each)) for each in same)
                if len(same) == len(mine)
                else None
            )
        return found

    async def scan(
        self,
        index: Index,
        *,
        reach: Reach,
        namespace: str,
        condition: Filter | None,
        cursor: str | None,
        limit: int,
    ) -> ScanPage:
        """Return the next records within reach.

        They come in the order of their keys; where the user has a good part of a large index, in
        that of its segments.
        """
        page = _Page(namespace, condition, reach, limit)
        order, token, place = (BY_KEYS, "", "") if cursor is None else decode_cursor(cursor)
        if order == BY_SEGMENTS:
            return await self._streamed(index, page, token, decode_place(place))
        kept = self._listings.find(index, reach.scope, token) if token else None
        brought: Mapping[str, Flat] = {}
        if kept is None:
            keys, vectors, is_all = await self._first(index) if cursor is None else ([], [], False)
            if is_all:
                listing = await listing_of(index, keys, reach=reach, vectors=vectors)
                brought = {vector["key"]: vector for vector in vectors}
            elif reach.now is not None and _share(vectors, reach) >= _GOOD_PART:
                return await self._streamed(index, page, "", (0, ""))
            else:
                keys = await index.all_keys() if vectors else await index.keys()
                listing = await listing_of(index, keys, reach=reach)
            token, kept = self._listings.keep(
                index, sorted([*listing.records, *listing.older]), reach, listing
            )
        at = await self._paged(index, page, kept.keys, place, brought)
        return page.answer(
            encode_cursor(BY_KEYS, token, kept.keys[at - 1]) if at < len(kept.keys) else None
        )

    @staticmethod
    async def _first(index: Index) -> tuple[list[str], list[Flat], bool]:
        """Return keys and vectors of the first page of an index, and whether that is all of it."""
        first = await index.call("ListVectors", {"maxResults": KEYS_LISTED, "returnMetadata": True})
        vectors = vectors_of(first)
        return [vector["key"] for vector in vectors], vectors, not token_of(first)

    @staticmethod
    async def _paged(
        index: Index,
        page: _Page,
        keys: Sequence[str],
        after: str,
        brought: Mapping[str, Flat],
    ) -> int:
        """Fill a page from sorted keys behind one; return where it ends."""
        at = bisect_right(keys, after) if after else 0
        until = min(len(keys), at + page.most)
        while at < until and page.room:
            # What a condition leaves out is made up for at once, and not in a page of its own.
            chunk = keys[at : min(until, at + max(page.room, _READ_AT_A_TIME))]
            missing = [key for key in chunk if key not in brought]
            vectors = [brought[key] for key in chunk if key in brought]
            at += page.take(chunk, [*vectors, *await index.get(missing)])
        return at

    async def _streamed(
        self, index: Index, page: _Page, token: str, place: tuple[int, str]
    ) -> ScanPage:
        """Fill a page in the order of the index's segments."""
        stream = self._streams.find(index, page.reach, token) if token else None
        if stream is None:
            token, stream = self._streams.begin(index, page.reach)
        left = page.most
        while left and page.room:
            places = await stream.after(index, *place, min(left, max(page.room, _READ_AT_A_TIME)))
            if not places:
                self._streams.end(index, page.reach, token)
                return page.answer(None)
            keys = [key for _, key in places]
            taken = page.take(keys, [*(await stream.read(index, keys)).values()])
            stream.let_go(keys[:taken])
            place = places[taken - 1]
            left -= taken
        return page.answer(encode_cursor(BY_SEGMENTS, token, encode_place(*place)))

    async def by_words(self, index: Index, *, reach: Reach) -> tuple[list[Flat], bool]:
        """Return the vectors of the whole texts of the newest records, and whether that is all.

        The newest are those whose ids say that they are.
        """
        listing = await listed(index, reach=reach)
        keys = [*listing.records, *listing.older]
        keys.sort(key=lambda key: key[key.rfind("/") + 1 :], reverse=True)
        return await index.get(keys[:BY_WORDS]), len(keys) <= BY_WORDS


class _Page:
    """A page that is being filled.

    Args:
        namespace: The subtree listed.
        condition: The condition on what is listed.
        reach: Whose records.
        limit: How many of them.
    """

    def __init__(self, namespace: str, condition: Filter | None, reach: Reach, limit: int) -> None:
        self.reach = reach
        self.room = limit
        self.most = max(limit, _READ_A_PAGE)
        self._namespace = namespace
        self._condition = condition
        self._records: list[MemoryRecord] = []

    def take(self, keys: Sequence[str], vectors: Sequence[Flat]) -> int:
        """Take records in the order of their keys while there is room; return how many keys."""
        there = _within(vectors, self.reach)
        for taken, key in enumerate(keys, 1):
            found = there.get(key)
            if found is None:
                continue
            record, _ = found
            if not lists(record, namespace=self._namespace, filter=self._condition):
                continue
            self._records.append(record)
            self.room -= 1
            if not self.room:
                return taken
        return len(keys)

    def answer(self, cursor: str | None) -> ScanPage:
        """Return what was taken."""
        return ScanPage(records=tuple(self._records), cursor=cursor)


def _share(vectors: Sequence[Flat], reach: Reach) -> float:
    """Return which part of some vectors are within reach, by their keys."""
    prefix = prefix_of(reach)
    mine = sum(1 for vector in vectors if vector["key"].startswith(prefix))
    return mine / max(1, len(vectors))


def _within(
    vectors: Sequence[Mapping[str, Any]], reach: Reach
) -> dict[str, tuple[MemoryRecord, Mapping[str, Any]]]:
    """Return the records of vectors that are within reach, by key."""
    found: dict[str, tuple[MemoryRecord, Mapping[str, Any]]] = {}
    for vector in vectors:
        record = record_of(vector, reach)
        if record is not None:
            found[vector["key"]] = record, vector
    return found


def _is_of(window: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    mine, theirs = window["metadata"], whole["metadata"]
    return all(mine.get(key) == theirs.get(key) for key in ("payload", "content"))


def _components(vector: Mapping[str, Any]) -> Any:
    return np.array(vector["data"]["float32"], dtype=np.float32)
