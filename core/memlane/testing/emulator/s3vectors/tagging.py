"""Tags of vector buckets and indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from memlane.testing.emulator.s3vectors.members import Members
from memlane.testing.emulator.s3vectors.refusals import invalid, not_serial
from memlane.testing.emulator.s3vectors.resources import Bucket, Index, Wanted
from memlane.testing.emulator.s3vectors.world import World

__all__ = ("list_tags", "tag", "tags_in", "untag")

MAX_TAGS: Final = 50
_SYSTEM: Final = "aws:"


def tags_in(body: Members) -> dict[str, str]:
    """Return the tags a request carries."""
    given = body.get("tags")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise not_serial()
    tags = cast("dict[str, Any]", given)
    if not all(isinstance(value, str) for value in tags.values()):
        raise not_serial()
    if any(name.startswith(_SYSTEM) for name in tags):
        raise invalid("System tags cannot be added/updated by requester")  # [E]
    if len(tags) > MAX_TAGS:
        raise invalid("Too many tags specified")  # [E]
    return tags


def _tagged(world: World, wanted: Wanted) -> Bucket | Index:
    account = world.account
    return account.bucket(wanted) if wanted.index is None else account.index(wanted)


def tag(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Add tags to a resource."""
    resource = _tagged(world, wanted)
    tags = {**resource.tags, **tags_in(body)}
    if len(tags) > MAX_TAGS:
        raise invalid("Too many tags specified")
    resource.tags = tags
    return {}


def untag(world: World, wanted: Wanted, keys: Sequence[str]) -> dict[str, Any]:
    """Remove tags from a resource."""
    resource = _tagged(world, wanted)
    resource.tags = {name: value for name, value in resource.tags.items() if name not in keys}
    return {}


def list_tags(world: World, wanted: Wanted) -> Mapping[str, Any]:
    """Return the tags of a resource."""
    return {"tags": _tagged(world, wanted).tags}
