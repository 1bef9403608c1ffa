"""A tenant's index from one embedding space to another, by way of a shadow beside it.

An index cannot change its dimension, so the new vectors gather in an index of their own. Once that
has all, it is marked so; then the tenant's index is deleted, made anew and filled from it, and the
shadow goes last. Whoever is cut off anywhere leaves what the next call goes on with.

What is stored between the last comparison and the end may be lost, and whoever recalls meanwhile
finds less: nobody else may write during the cut-over. Until the shadow is marked nothing of the
tenant's index is touched.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.census import Census, as_put, counted, said, target_of
from memlane.aws.s3vectors.cutting import delete_old, wait_for_others
from memlane.aws.s3vectors.description import Description, described
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.indexes import Indexes, spaces_in
from memlane.aws.s3vectors.naming import WHOLE_KEY, is_reserved, is_space_key, space_key
from memlane.aws.s3vectors.records import (
    batches,
    decoded,
    encoded,
    first_of,
    flat_of,
    is_version_kept,
    parts_of,
)
from memlane.aws.s3vectors.together import together
from memlane.errors import (
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    TenantNotOnboardedError,
)
from memlane.layout import parse_vector_key
from memlane.metadata import to_metadata
from memlane.protocols import Clock, EmbeddingSpace, IndexedRecord
from memlane.types import MemoryRecord

__all__ = ("Places", "abandon", "begin", "cut_over", "lacking", "pending_among", "shadowed")

Vector: TypeAlias = Mapping[str, Any]

_READ: Final = 100


class Places(NamedTuple):
    """The two indexes of a reembedding.

    Args:
        source: The tenant's, as the tenant sees it.
        maker: The same, as somebody sees it who may make and delete it.
        shadow: The one beside it, seen so.
        clock: When it is.
    """

    source: Index
    maker: Index
    shadow: Index
    clock: Clock


class _Seen(NamedTuple):
    """An index that is there.

    Args:
        description: What it is like.
        created: When it was made, in the service's own words.
        spaces: Whose vectors it says it holds.
    """

    description: Description
    created: Any
    spaces: frozenset[str]

    def is_of(self, space: EmbeddingSpace) -> bool:
        return (
            self.spaces == frozenset({space.id}) and self.description.dimension == space.dimensions
        )


async def _look(index: Index) -> _Seen | None:
    try:
        answer = await index.call("GetIndex", {})
        noted = spaces_in(await index.get([space_key(index.scope, shared=False)]))
    except TenantNotOnboardedError:
        return None
    return _Seen(described(answer), answer["index"].get("creationTime"), noted)


async def begin(places: Places, indexes: Indexes, space: EmbeddingSpace) -> None:
    """Make the shadow, or find it again.

    Raises:
        ConflictError: There is a shadow of another space.
        EmbeddingSpaceError: The tenant's records are of that space already.
        TenantNotOnboardedError: The tenant has no index, and no shadow.
    """
    if await _look(places.shadow) is None:
        source = await _look(places.source)
        if source is None:
            await places.source.call("GetIndex", {})  # it says what is missing
        elif source.is_of(space):
            raise EmbeddingSpaceError(
                f"the tenant's records are of the space {space.id} already",
                remedy="nothing needs to be done",
            )
    await _ensure_shadow(places.shadow, indexes, space)


async def _ensure_shadow(shadow: Index, indexes: Indexes, space: EmbeddingSpace) -> None:
    try:
        await indexes.make(shadow, space)
    except EmbeddingSpaceError as exc:
        raise _of_another(space) from exc


async def _shadow_of(places: Places, indexes: Indexes, space: EmbeddingSpace) -> Description | None:
    """Return what the shadow is like; None where the tenant is in that space already.

    Raises:
        ConflictError: There is no shadow, or one of another space.
    """
    try:
        await indexes.ensure(places.shadow, space, maker=None)
        return await indexes.described(places.shadow)
    except EmbeddingSpaceError as exc:
        raise _of_another(space) from exc
    except TenantNotOnboardedError as exc:
        indexes.forget(places.shadow)
        source = await _look(places.source)
        if source is not None and source.is_of(space):
            return None
        raise ConflictError(
            "this tenant is not being taken to another space", remedy="call begin_reembed first"
        ) from exc


def _of_another(space: EmbeddingSpace) -> ConflictError:
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
    if await _shadow_of(places, indexes, space) is None:
        return [], frozenset()
    source = await _look(places.source)
    if source is None and await _mark(places.shadow) is not None:
        return [], frozenset()
    if source is not None and source.is_of(space):
        return [], frozenset()
    keys = [key for key in await places.source.keys() if _is_whole(key)]
    return sorted(keys), frozenset(await places.shadow.keys())


def _is_whole(key: str) -> bool:
    parsed = parse_vector_key(key)
    return not is_reserved(key) if parsed is None else not parsed.part


async def pending_among(
    places: Places, keys: Sequence[str], have: frozenset[str]
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
        if said(flat_of(vector)) == said(to_metadata(found[vector["key"]])):
            del found[vector["key"]]
    return [found[key] for key in sorted(found)]


async def shadowed(
    places: Places, indexes: Indexes, records: Sequence[IndexedRecord], space: EmbeddingSpace
) -> None:
    """Put records with their new vectors into the shadow, where they are as they were read."""
    description = await _shadow_of(places, indexes, space)
    if description is None:
        return
    items = {target_of(item.record): item for item in records}
    tenant = places.source.scope.tenant
    there: dict[str, Vector] = {}
    asked = [*items, *(item.record.id for item in records if _may_be_key(item.record.id))]
    for vector in await places.source.get([*dict.fromkeys(asked)]):
        flat = flat_of(vector)
        try:
            record = decoded(vector["key"], flat, tenant=tenant)
        except BackendError:
            continue
        item = items.get(target_of(record))
        if item is not None and said(to_metadata(item.record)) == said(to_metadata(record)):
            there[target_of(record)] = flat
    surplus: list[str] = []
    for vector in await places.shadow.get([*there]):
        parts = parts_of(flat_of(vector))
        surplus += [f"{vector['key']}#w{n}" for n in range(len(items[vector["key"]].parts), parts)]
    vectors = [
        encoded(
            replace(items[key], record=replace(items[key].record, space=space.id), replaces=None),
            key=key,
            first=first_of(flat),
            description=description,
            shared=False,
            kept=is_version_kept(flat),
        )
        for key, flat in there.items()
    ]
    await places.shadow.delete(surplus)
    await together([functools.partial(places.shadow.put, batch) for batch in batches(vectors)])


def _may_be_key(record_id: str) -> bool:
    return parse_vector_key(record_id) is None


async def cut_over(places: Places, indexes: Indexes, space: EmbeddingSpace) -> bool:
    """Put the shadow in the tenant's index's place; False where it does not have all as it is.

    Raises:
        ConflictError: There is no shadow of that space, or somebody writes in the old one.
        BackendError: The index holds what cannot be taken along.
    """
    description = await _shadow_of(places, indexes, space)
    if description is None:
        return True
    source, mark = await _look(places.source), await _mark(places.shadow)
    if source is None and mark is None:
        await places.source.call("GetIndex", {})  # it says what is missing
    if source is not None and not source.is_of(space):
        if not await _is_whole_now(places, source, mark, description):
            return False
        await _put_mark(places, mark if mark is not None else source.created, description)
        indexes.forget(places.source)
        await delete_old(
            places.maker,
            places.shadow,
            source.created,
            dimension=description.dimension,
            clock=places.clock,
        )
    elif source is not None and mark is None:
        await _end(places, indexes, space)
        return True
    try:
        await indexes.make(places.maker, space)
    except EmbeddingSpaceError as exc:
        raise ConflictError(
            "somebody made the tenant's index anew in its old space during the cut-over",
            remedy="stop the tenant's writers and call reembed again: nothing is lost",
        ) from exc
    await _fill(places)
    if await wait_for_others(places.shadow, clock=places.clock):
        await _fill(places)
    await _end(places, indexes, space)
    return True


async def _end(places: Places, indexes: Indexes, space: EmbeddingSpace) -> None:
    await places.shadow.remove()
    indexes.forget(places.shadow)
    indexes.settle(places.source, space)


async def _is_whole_now(places: Places, source: _Seen, mark: Any, description: Description) -> bool:
    """Say whether the shadow has all as it is now, versions and names too, which it is given."""
    here = await counted(places.source)
    if here.unreadable:
        raise BackendError(
            f"{here.unreadable} vectors of the tenant's index name nobody, or are damaged: they "
            "cannot be taken along",
            remedy="delete them with the tool that wrote them, then call reembed again",
        )
    there = await counted(places.shadow)
    again = await _look(places.source)
    if again is None or again.created != source.created:
        return False  # somebody else was first, and what was counted is of two indexes
    torn = there.torn()
    if torn:
        await places.shadow.delete(torn)  # they are pending again
    if torn or any(there.wholes.get(key) != told for key, told in here.wholes.items()):
        return False
    if mark is None or mark == source.created:
        await _drop(places, here, there)
    await _bring(places, here.copies - there.copies, description)
    await _bring(places, here.names, description)
    return True


async def _drop(places: Places, here: Census, there: Census) -> None:
    """Delete from the shadow what the tenant has no more.

    Not where the index that the shadow was made of is gone: what is missing from the one that
    somebody made since was never deleted by anybody.
    """
    gone = {*there.wholes} - {*here.wholes}
    lost = {whole for key in there.windows if (whole := key.partition("#")[0]) not in here.wholes}
    doomed = [*gone, *there.beside(gone | lost), *(there.copies - here.copies)]
    await places.shadow.delete([*dict.fromkeys([*doomed, *(there.names - here.names)])])


async def _bring(places: Places, keys: set[str], description: Description) -> None:
    """Put what has no direction of its own into the shadow."""
    wanted = sorted(keys)
    for at in range(0, len(wanted), _READ):
        vectors = await places.source.get(wanted[at : at + _READ])
        await places.shadow.put([as_put(v, dimension=description.dimension) for v in vectors])


async def _fill(places: Places) -> None:
    """Fill the tenant's index from the shadow, with what it does not have; see that it has all."""
    missing = await _missing(places)
    if not missing:
        return

    async def take(vectors: Sequence[Vector]) -> None:
        found = [as_put(vector) for vector in vectors if vector["key"] in missing]
        for batch in batches([vector] for vector in found):
            await places.source.put(batch)

    await places.shadow.each_page(take, metadata=True, data=True)
    left = await _missing(places)
    if left:
        raise BackendError(
            f"{len(left)} vectors did not arrive in the tenant's index",
            remedy="call reembed again: the shadow still has all",
        )


async def _missing(places: Places) -> set[str]:
    have = {*await places.source.keys()}
    return {key for key in await places.shadow.keys() if key not in have and not is_space_key(key)}


async def _mark(shadow: Index) -> Any:
    """Return when the index was made that the shadow had all of; None where it had not all."""
    for vector in await shadow.get([WHOLE_KEY]):
        try:
            return orjson.loads(flat_of(vector)["content"])["created"]
        except (KeyError, TypeError, ValueError):
            return None
    return None


async def _put_mark(places: Places, created: Any, description: Description) -> None:
    said_whole = orjson.dumps({"created": created, "of": places.source.target.index}).decode()
    vector = {"key": WHOLE_KEY, "metadata": {"content": said_whole}}
    await places.shadow.put([as_put(vector, dimension=description.dimension)])


async def abandon(places: Places, indexes: Indexes) -> bool:
    """Remove a shadow; False where there is none.

    Raises:
        ConflictError: The tenant's index is gone already, and the shadow has its only copy.
    """
    if await _look(places.shadow) is None:
        return False
    mark = await _mark(places.shadow)
    if mark is not None:
        source = await _look(places.source)
        if source is None or source.created != mark:
            raise ConflictError(
                "the cut-over has begun: the shadow holds the tenant's only copy",
                remedy="call reembed again with the same embedder: it goes on",
            )
    indexes.forget(places.shadow)
    return await places.shadow.remove()
