"""The end of a tenant's way to another embedding space: the shadow takes the index's place.

What is stored between the last comparison and the end may be lost, and whoever recalls meanwhile
finds less: nobody else may write during the cut-over. Until the shadow is marked nothing of the
tenant's index is touched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.census import Census, as_put, counted
from memlane.aws.s3vectors.cutting import created_of, remove_in_turn, wait_for_others
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.indexes import Indexes
from memlane.aws.s3vectors.naming import WHOLE_KEY, is_space_key
from memlane.aws.s3vectors.records import batches
from memlane.aws.s3vectors.reembedding import (
    Mark,
    Places,
    Seen,
    drop_gone,
    is_whole,
    look,
    mark_of,
    not_taken,
    of_another,
    sealed,
    shadow_of,
)
from memlane.errors import (
    AccessDeniedError,
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    RequestRejectedError,
    TenantNotOnboardedError,
)
from memlane.protocols import EmbeddingSpace

__all__ = ("abandon", "cut_over")

Vector: TypeAlias = Mapping[str, Any]

_log = logging.getLogger(__name__)

_READ: Final = 100


async def cut_over(places: Places, indexes: Indexes, space: EmbeddingSpace) -> bool:
    """Put the shadow in the tenant's index's place; False where it does not have all as it is.

    Raises:
        ConflictError: There is no shadow of that space, or somebody writes in the old one.
        BackendError: The index holds what cannot be taken along.
    """
    description = await shadow_of(places, indexes, space)
    if description is None:
        return True
    # What was learnt of the shadow may be of one that was given up since.
    shadow = await look(places.shadow)
    if shadow is not None and not shadow.is_of(space):
        indexes.forget(places.shadow)
        raise of_another(space)
    source, mark = await look(places.source), await mark_of(places.shadow)
    if shadow is None or (source is None and mark is None):
        await places.source.call("GetIndex", {})  # it says what is missing
        raise not_taken()
    if mark is None and source is not None and source.is_of(space):
        await _end(places, indexes, space, shadow)
        return True
    if source is not None and not source.is_of(space):
        if not await _is_whole_now(places, source, mark, space, description):
            return False
        mark = mark or Mark(source.created, await _like(places, source))
        await _put_mark(places, mark, description)
    wholes = {key for key in await places.shadow.keys() if is_whole(key)}
    try:
        like: Mapping[str, Any] = {} if mark is None else mark.like
        await _replaced(places, indexes, space, source=source, shadow=shadow, like=like)
    except TenantNotOnboardedError:
        if await look(places.shadow) is not None:
            raise
        now = await look(places.source)
        if now is not None and not now.is_of(space):
            raise  # nothing was deleted
        await _check_all(places, wholes)
        indexes.settle(places.source, space)
        return True
    await _end(places, indexes, space, shadow)
    return True


async def _replaced(
    places: Places,
    indexes: Indexes,
    space: EmbeddingSpace,
    *,
    source: Seen | None,
    shadow: Seen,
    like: Mapping[str, Any],
) -> None:
    """Delete the old index, make it anew and fill it."""
    if source is not None and not source.is_of(space):
        indexes.forget(places.source)

        async def is_due() -> bool:
            seen = await places.shadow.call("GetIndex", {})
            if seen["index"].get("creationTime") != shadow.created:
                raise not_taken()  # it was given up, and begun anew
            return bool(await created_of(places.maker) == source.created)

        await wait_for_others(places.source)
        await remove_in_turn(
            places.maker,
            is_due,
            reader=places.source,
            told=places.shadow,
            dimension=space.dimensions,
        )
    try:
        await _make(places, indexes, space, like)
    except EmbeddingSpaceError as exc:
        raise ConflictError(
            "somebody made the tenant's index anew in its old space during the cut-over",
            remedy="stop the tenant's writers and call reembed again: nothing is lost",
        ) from exc
    await _fill(places)
    if await wait_for_others(places.shadow):
        await _fill(places)


async def _make(
    places: Places, indexes: Indexes, space: EmbeddingSpace, like: Mapping[str, Any]
) -> None:
    try:
        await indexes.make(places.maker, space, like=like)
    except (AccessDeniedError, RequestRejectedError) as error:
        if like == sealed(like) or error.wire_operation != "CreateIndex":
            raise
        # The old one is gone: what its operator gave it is worth less than an index.
        _log.warning(
            "an index was made anew without its tags and text search: %s", type(error).__name__
        )
        await indexes.make(places.maker, space, like=sealed(like))


async def _like(places: Places, source: Seen) -> Mapping[str, Any]:
    """Return what the new index is to have of the old one."""
    try:
        tags = await places.maker.tagged(source.arn)
    except (AccessDeniedError, RequestRejectedError):
        _log.warning("the tags of the tenant's index may not be listed: but for its own they go")
        return source.settings
    own = {name: value for name, value in tags.items() if not name.startswith("aws:")}
    return {**source.settings, "tags": own}


async def _check_all(places: Places, wholes: set[str]) -> None:
    """See that the tenant's index has what the shadow had, which is gone.

    Raises:
        BackendError: It has not, and nobody else has.
    """
    try:
        missing = wholes - {*await places.source.keys()}
    except TenantNotOnboardedError:
        missing = wholes
    if missing:
        raise BackendError(
            f"somebody deleted the shadow: {len(missing)} of {len(wholes)} records are missing",
            remedy="if they were not deleted on purpose, restore the tenant from an export",
        )


async def _end(places: Places, indexes: Indexes, space: EmbeddingSpace, shadow: Seen) -> None:
    """Delete the shadow, if it is still the one that was seen."""
    if await created_of(places.shadow) == shadow.created:
        await places.shadow.remove()
    indexes.forget(places.shadow)
    indexes.settle(places.source, space)


async def _is_whole_now(
    places: Places, source: Seen, mark: Mark | None, space: EmbeddingSpace, description: Description
) -> bool:
    """Say whether the shadow has all as it is now, versions and names too, which it is given."""
    here = await counted(places.source)
    if here.unreadable:
        named = f" (such as the record {here.damaged[0]!r})" if here.damaged else ""
        raise BackendError(
            f"{here.unreadable} vectors of the tenant's index name nobody, or are damaged{named}: "
            "they cannot be taken along",
            remedy="delete them, with the tool that wrote them, then call reembed again",
        )
    there = await counted(places.shadow, space=space.id)
    again = await look(places.source)
    if again is None or again.created != source.created:
        return False  # somebody else was first, and what was counted is of two indexes
    torn = [*there.torn(), *there.foreign]
    if torn:
        await places.shadow.delete(torn)  # they are pending again
    if torn or any(there.wholes.get(key) != told for key, told in here.wholes.items()):
        return False
    if mark is None or mark.created == source.created:
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
        await drop_gone(places, {v["key"]: [v["key"]] for v in vectors})


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


async def _put_mark(places: Places, mark: Mark, description: Description) -> None:
    told = {"created": mark.created, "of": places.source.target.index, "like": mark.like}
    vector = {"key": WHOLE_KEY, "metadata": {"content": orjson.dumps(told).decode()}}
    await places.shadow.put([as_put(vector, dimension=description.dimension)])


async def abandon(places: Places, indexes: Indexes) -> bool:
    """Remove a shadow; False where there is none.

    Raises:
        ConflictError: The tenant's index is gone already, and the shadow has its only copy.
    """
    shadow = await look(places.shadow)
    if shadow is None:
        return False

    async def is_due() -> bool:
        # The mark is there before the index goes, and so is read after it.
        created, mark = await created_of(places.source), await mark_of(places.shadow)
        if mark is not None and created != mark.created:
            raise ConflictError(
                "the cut-over has begun: the shadow holds the tenant's only copy",
                remedy="call reembed again with the same embedder: it goes on",
            )
        return bool(await created_of(places.shadow) == shadow.created)

    await wait_for_others(places.shadow)
    source = await look(places.source)
    indexes.forget(places.shadow)
    if source is None:
        return await is_due() and await places.shadow.remove()
    return await remove_in_turn(
        places.shadow,
        is_due,
        reader=places.shadow,
        told=places.source,
        dimension=source.description.dimension,
    )
