"""Where the names of who spoke lie in an index, and how they go."""

from __future__ import annotations

from typing import Final

from memlane.aws.s3vectors.actors import Name, actors_key, actors_vector, named, remaining
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import listed
from memlane.aws.s3vectors.records import decoded
from memlane.scope import Reach

__all__ = ("name_speakers", "speakers", "unname")

_READ_AT_A_TIME: Final = 1_000  # keys, in requests that go at once


async def speakers(index: Index) -> str | None:
    """Return the names of a user as they are stored; None where there are none."""
    for vector in await index.get([actors_key(index.scope)]):
        content: str | None = vector["metadata"].get("content")
        return content
    return None


async def name_speakers(index: Index, description: Description, content: str) -> None:
    """Store the names of a user."""
    vector = actors_vector(
        index.scope, content, dimensions=description.dimension, shared=index.shared
    )
    await index.put([vector])


async def unname(index: Index, description: Description, reach: Reach) -> None:
    """Delete the names of who spoke in nothing that is left within reach, whatever the session."""
    kept: str | None = None
    if not (reach.any_agent and reach.any_session):
        names = await speakers(index)
        if names is None:
            return
        kept = remaining(names, await _named(index, reach), reach=reach)
        if kept == names:
            return
    if kept is None:
        await index.delete([actors_key(index.scope)])
    else:
        await name_speakers(index, description, kept)


async def _named(index: Index, reach: Reach) -> set[Name]:
    """Return who is named in any record within reach, whatever the session."""
    found: set[Name] = set()
    keys = (await listed(index, reach=reach)).records
    # The texts of all of them need not be held at once.
    for at in range(0, len(keys), _READ_AT_A_TIME):
        for vector in await index.get(keys[at : at + _READ_AT_A_TIME]):
            name = named(decoded(vector["key"], vector["metadata"], tenant=reach.scope.tenant))
            if name is not None:
                found.add(name)
    return found
