"""Reading records of an index: by id, page by page, and by words alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import Listings, decode_cursor, encode_cursor, listed, record_of
from memlane.aws.s3vectors.records import part_of, parts_of
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
    """

    def __init__(self, listings: Listings) -> None:
        self._listings = listings

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
        """Return the next records within reach, in the order of their keys."""
        token, after = ("", "") if cursor is None else decode_cursor(cursor)
        keys = self._listings.find(index, reach.scope, token) if token else None
        if keys is None:
            listing = await listed(index, reach=reach)
            keys = sorted([*listing.records, *listing.older])
            token = self._listings.keep(index, keys, reach, listing)
        at = bisect_right(keys, after) if after else 0
        page: list[MemoryRecord] = []
        until = min(len(keys), at + max(limit, _READ_A_PAGE))
        while at < until and len(page) < limit:
            # What a condition leaves out is made up for at once, and not in a page of its own.
            chunk = keys[at : min(until, at + max(limit - len(page), _READ_AT_A_TIME))]
            there = _within(await index.get(chunk), reach)
            for key in chunk:
                at += 1
                if key in there and lists(there[key][0], namespace=namespace, filter=condition):
                    page.append(there[key][0])
                    if len(page) == limit:
                        break
        return ScanPage(
            records=tuple(page),
            cursor=encode_cursor(token, keys[at - 1]) if at < len(keys) else None,
        )

    async def by_words(self, index: Index, *, reach: Reach) -> tuple[list[Flat], bool]:
        """Return the vectors of the whole texts of the newest records, and whether that is all.

        The newest are those whose ids say that they are.
        """
        listing = await listed(index, reach=reach)
        keys = [*listing.records, *listing.older]
        keys.sort(key=lambda key: key[key.rfind("/") + 1 :], reverse=True)
        return await index.get(keys[:BY_WORDS]), len(keys) <= BY_WORDS


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
