"""A tenant's index from one embedding space to another, by way of a shadow beside it.

An index cannot change its dimension, so the new vectors gather in an index of their own. Once that
has all, it is marked so; then the tenant's index is deleted, made anew and filled from it, and the
shadow goes last. Whoever is cut off anywhere leaves what the next call goes on with. Until then
nothing of the tenant's index is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.census import said, target_of
from memlane.aws.s3vectors.cutting import created_of
from memlane.aws.s3vectors.description import Description, described
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.indexes import Indexes, spaces_in
from memlane.aws.s3vectors.naming import WHOLE_KEY, is_reserved, space_key
from memlane.aws.s3vectors.records import (
    batches,
    decoded,
    encoded,
    first_of,
    flat_of,
    is_version_kept,
    parts_of,
)
from memlane.errors import (
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    TenantNotOnboardedError,
)
from memlane.layout import parse_vector_key
from memlane.metadata import to_metadata
from memlane.protocols import EmbeddingSpace, IndexedRecord
from memlane.types import MemoryRecord

__all__ = (
    "Mark",
    "Places",
    "Seen",
    "begin",
    "drop_gone",
    "is_whole",
    "lacking",
    "look",
    "mark_of",
    "not_taken",
    "of_another",
    "pending_among",
    "sealed",
    "shadow_of",
    "shadowed",
)

Vector: TypeAlias = Mapping[str, Any]


class Places(NamedTuple):
    """The two indexes of a reembedding.

    Args:
        source: The tenant's, as the tenant sees it.
        maker: The same, as somebody sees it who may make and delete it.
        shadow: The one beside it, seen so.
    """

    source: Index
    maker: Index
    shadow: Index


class Seen(NamedTuple):
    """An index that is there.

    Args:
        description: What it is like.
        created: When it was made, in the service's own words.
        spaces: Whose vectors it says it holds.
        arn: Its name in AWS.
        settings: What else it was made with, in the words of CreateIndex.
    """

    description: Description
    created: Any
    spaces: frozenset[str]
    arn: str
    settings: Mapping[str, Any]

    def is_of(self, space: EmbeddingSpace) -> bool:
        return (
            self.spaces == frozenset({space.id}) and self.description.dimension == space.dimensions
        )


class Mark(NamedTuple):
    """What a shadow says that had all.

    Args:
        created: When the index was made that it had all of.
        like: What the index that takes its place is to be like, in the words of CreateIndex.
    """

    created: Any
    like: Mapping[str, Any]


async def look(index: Index) -> Seen | None:
    """Return what an index is; None where there is none."""
    try:
        answer = await index.call("GetIndex", {})
        noted = spaces_in(await index.get([space_key(index.scope, shared=False)]))
    except TenantNotOnboardedError:
        return None
    told: Mapping[str, Any] = answer["index"]
    return Seen(
        described(answer),
        told.get("creationTime"),
        noted,
        told.get("indexArn", ""),
        _settings(told),
    )


def _settings(told: Mapping[str, Any]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    if told.get("encryptionConfiguration"):
        found["encryptionConfiguration"] = told["encryptionConfiguration"]
    configured: Mapping[str, Any] = told.get("metadataConfiguration") or {}
    texts: Sequence[Mapping[str, Any]] = configured.get("textSearchConfigurations") or ()
    if texts:
        # Whether it is ready is said there too, and is nobody's to set.
        names = ("metadataKey", "language")
        kept = [{name: each[name] for name in names if name in each} for each in texts]
        found["metadataConfiguration"] = {"textSearchConfigurations": kept}
    return found


async def begin(places: Places, indexes: Indexes, space: EmbeddingSpace) -> None:
    """Make the shadow, or find it again.

    Raises:
        ConflictError: There is a shadow of another space.
        EmbeddingSpaceError: The tenant's records are of that space already.
        TenantNotOnboardedError: The tenant has no index, and no shadow.
    """
    like: Mapping[str, Any] = {}
    if await look(places.shadow) is None:
        source = await look(places.source)
        if source is None:
            await places.source.call("GetIndex", {})  # it says what is missing
        elif source.is_of(space):
            raise EmbeddingSpaceError(
                f"the tenant's records are of the space {space.id} already",
                remedy="nothing needs to be done",
            )
        else:
            like = sealed(source.settings)
    try:
        await indexes.make(places.shadow, space, like=like)
    except EmbeddingSpaceError as exc:
        raise of_another(space) from exc


async def shadow_of(places: Places, indexes: Indexes, space: EmbeddingSpace) -> Description | None:
    """Return what the shadow is like; None where the tenant is in that space already.

    Raises:
        ConflictError: There is no shadow, or one of another space.
    """
    try:
        await indexes.ensure(places.shadow, space, maker=None)
        return await indexes.described(places.shadow)
    except EmbeddingSpaceError as exc:
        raise of_another(space) from exc
    except TenantNotOnboardedError as exc:
        indexes.forget(places.shadow)
        source = await look(places.source)
        if source is not None and source.is_of(space):
            return None
        raise not_taken() from exc


def sealed(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of an index's settings how it is encrypted."""
    name = "encryptionConfiguration"
    return {name: settings[name]} if name in settings else {}


async def mark_of(shadow: Index) -> Mark | None:
    """Return the mark of a shadow; None where it had not all."""
    for vector in await shadow.get([WHOLE_KEY]):
        try:
            told = orjson.loads(flat_of(vector)["content"])
            return Mark(told["created"], told.get("like") or {})
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
    return None


def not_taken() -> ConflictError:
    """Return the error of whoever misses a shadow."""
    return ConflictError(
        "this tenant is not being taken to another space", remedy="call begin_reembed first"
    )


def of_another(space: EmbeddingSpace) -> ConflictError:
    """Return the error of whoever meets a shadow that is of another space."""
    return ConflictError(
        f"a reembedding to another space than {space.id} was begun",
        remedy="finish that one with its embedder, or remove it: abandon_reembed",
    )


async def lacking(
    places: Places, indexes: Indexes, space: EmbeddingSpace
) -> tuple[list[str], frozenset[str]]:
    """Return the keys of the tenant's records, and those that the shadow has.

    Both are empty where the tenant's index is of that space, or deleted to be filled anew.
    """
    if await shadow_of(places, indexes, space) is None:
        return [], frozenset()
    source = await look(places.source)
    if source is None and await mark_of(places.shadow) is not None:
        return [], frozenset()
    if source is not None and source.is_of(space):
        return [], frozenset()
    keys = [key for key in await places.source.keys() if is_whole(key)]
    return sorted(keys), frozenset(await places.shadow.keys())


def is_whole(key: str) -> bool:
    """Say whether a key is a record's."""
    parsed = parse_vector_key(key)
    return not is_reserved(key) if parsed is None else not parsed.part


async def pending_among(
    places: Places, space: EmbeddingSpace, keys: Sequence[str], have: frozenset[str]
) -> list[MemoryRecord]:
    """Return the records of keys that the shadow does not have as they are now."""
    found: dict[str, MemoryRecord] = {}
    for vector in await places.source.get(keys):
        try:
            record = decoded(vector["key"], flat_of(vector), tenant=places.source.scope.tenant)
        except BackendError:
            continue  # nobody's; the cut-over speaks of it
        found[target_of(record)] = record
    for vector in await places.shadow.get([key for key in found if key in have]):
        flat, record = flat_of(vector), found[vector["key"]]
        # One of another space came late, from somebody whose shadow was given up since.
        if flat.get("space") == space.id and said(flat) == said(to_metadata(record)):
            del found[vector["key"]]
    return [found[key] for key in sorted(found)]


async def shadowed(
    places: Places, indexes: Indexes, records: Sequence[IndexedRecord], space: EmbeddingSpace
) -> None:
    """Put records with their new vectors into the shadow, where they are as they were read."""
    description = await shadow_of(places, indexes, space)
    if description is None:
        return
    items = {target_of(item.record): item for item in records}
    tenant = places.source.scope.tenant
    there: dict[str, Vector] = {}
    keys: dict[str, str] = {}
    asked = [*items, *(item.record.id for item in records if _may_be_key(item.record.id))]
    for vector in await places.source.get([*dict.fromkeys(asked)]):
        flat = flat_of(vector)
        try:
            record = decoded(vector["key"], flat, tenant=tenant)
        except BackendError:
            continue
        target = target_of(record)
        item = items.get(target)
        if item is not None and said(to_metadata(item.record)) == said(to_metadata(record)):
            there[target], keys[target] = flat, vector["key"]
    counts = {target: len(items[target].parts) for target in there}
    surplus: list[str] = []
    note = space_key(places.shadow.scope, shared=False)
    noted: frozenset[str] = frozenset()
    for vector in await places.shadow.get([note, *there]):
        if vector["key"] == note:
            noted = spaces_in([vector])
            continue
        target, parts = vector["key"], parts_of(flat_of(vector))
        surplus += [f"{target}#w{n}" for n in range(counts[target], parts)]
    if noted != frozenset({space.id}):
        indexes.forget(places.shadow)
        raise of_another(space)
    await places.shadow.delete(surplus)
    encoding = (
        encoded(
            replace(items[target], record=replace(items[target].record, space=space.id),
                    replaces=None),
            key=target,
            first=first_of(flat),
            description=description,
            shared=False,
            kept=is_version_kept(flat),
        )
        for target, flat in there.items()
    )  # fmt: skip
    # One batch at a time is encoded: a record's windows each carry its text.
    for batch in batches(encoding):
        await places.shadow.put(batch)
    await drop_gone(
        places,
        {
            keys[target]: [target, *(f"{target}#w{n}" for n in range(1, count))]
            for target, count in counts.items()
        },
    )


async def drop_gone(places: Places, put: Mapping[str, Sequence[str]]) -> None:
    """Delete from the shadow what was deleted from the tenant's index while it was put there.

    Whoever forgets looks into the shadow after the index, so one of the two sees it.

    Args:
        places: The two indexes.
        put: The keys that were put into the shadow, by the key in the index that they are of.
    """
    try:
        have = {vector["key"] for vector in await places.source.get([*put])}
    except TenantNotOnboardedError:
        return  # another process cuts over, from this shadow
    gone = [key for here, keys in put.items() if here not in have for key in keys]
    if not gone:
        return
    mark = await mark_of(places.shadow)
    # Not where the index is a new one, which is to be filled from the shadow.
    if mark is None or mark.created == await created_of(places.source):
        await places.shadow.delete(gone)


def _may_be_key(record_id: str) -> bool:
    return parse_vector_key(record_id) is None
