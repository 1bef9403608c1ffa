"""What is kept of a record beside it, written with each new version and read for its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.copies import (
    copy_metadata,
    copy_vector,
    distinct,
    is_copy_key,
    new_copy_key,
    read_copy,
    replaced_copy_key,
    same_version,
    whole_of,
)
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import listed, prefix_of, record_of
from memlane.aws.s3vectors.listings import Listings
from memlane.aws.s3vectors.reading import keys_of
from memlane.aws.s3vectors.records import flat_of, is_version_kept, weighed
from memlane.errors import ValidationError
from memlane.layout import MAX_VERSIONS
from memlane.metadata import from_metadata
from memlane.scope import Reach
from memlane.types import MemoryRecord

__all__ = ("copies_beside", "versions")

Vector = Mapping[str, Any]


def copies_beside(
    record: MemoryRecord,
    replaced: MemoryRecord,
    key: str,
    before: Mapping[str, Any] | None,
    description: Description,
) -> dict[str, bytes]:
    """Return the copies that are stored together with a new version, encoded, by key.

    Args:
        record: The new version.
        replaced: The one whose place it takes.
        key: Of the record.
        before: What lies there; None for nothing.
        description: Of the index.
    """
    found = {new_copy_key(key, record.version): copy_metadata(record)}
    if before is None or not is_version_kept(before):
        last = replaced
        if before is not None and "payload" in before:
            last = from_metadata(record.id, before, loads=orjson.loads)
        flat = copy_metadata(last)
        try:
            weighed(flat, description)
            found[replaced_copy_key(key, last)] = flat
        except ValidationError:
            pass  # another tool's, whose form takes less room than ours: what it said is replaced
    return {
        name: copy_vector(name, flat, dimension=description.dimension)
        for name, flat in found.items()
    }


async def versions(
    index: Index, listings: Listings, record_id: str, *, reach: Reach
) -> list[MemoryRecord]:
    """Return the kept versions of the records of an id within reach, the current ones aside.

    A record that was never updated costs one request. Another's copies are found by listing the
    index, which is kept a moment.
    """
    known = listings.latest(index, reach)
    keys = None if known is None else known.named([record_id], prefix_of(reach))
    if keys is None:
        known = None
        if reach.any_agent:
            listing = await listed(index, reach=reach)
            _, known = listings.keep(index, listing.records, reach, listing)
            keys = listing.named([record_id])
        else:
            keys = keys_of(index, [record_id], reach)
    beside = [] if known is None else known.beside(keys, sign="#v")
    vectors = await index.get([*keys, *beside])
    found = _found(vectors, reach)
    if not _covers_all(found):
        # Of what was written since, or where nothing is listed yet.
        listing = await listed(index, reach=reach)
        _, known = listings.keep(index, listing.records, reach, listing)
        more = known.beside(keys, sign="#v")
        there = {vector["key"] for vector in vectors}
        vectors = [*vectors, *await index.get([key for key in more if key not in there])]
        found = _found(vectors, reach)
    return [each for record, _, past in found.values() for each in _history(record, past, reach)]


def _found(
    vectors: Sequence[Vector], reach: Reach
) -> dict[str, tuple[MemoryRecord, bool, list[MemoryRecord]]]:
    """Return records within reach by key: each, whether it was kept, and its copies."""
    found: dict[str, tuple[MemoryRecord, bool, list[MemoryRecord]]] = {}
    for vector in vectors:
        record = record_of(vector, reach)
        if record is not None:
            found[vector["key"]] = record, is_version_kept(flat_of(vector)), []
    for vector in vectors:
        whole = whole_of(vector["key"])
        if is_copy_key(vector["key"]) and whole in found:
            found[whole][2].append(read_copy(vector))
    return found


def _covers_all(found: Mapping[str, tuple[MemoryRecord, bool, list[MemoryRecord]]]) -> bool:
    """Say whether nothing can be missing: who sees the copy of the current version sees the rest.

    They were there when it was written.
    """
    return all(
        any(same_version(record, each) for each in past) if kept else record.version == 1
        for record, kept, past in found.values()
    )


def _history(record: MemoryRecord, past: list[MemoryRecord], reach: Reach) -> list[MemoryRecord]:
    mine = [
        each
        for each in past
        # Of an earlier life of that id, or of another scope, nothing is told.
        if each.stored_at == record.stored_at
        and reach.covers(each.scope)
        and not same_version(each, record)
    ]
    return distinct(mine)[:MAX_VERSIONS]
