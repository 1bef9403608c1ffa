"""Operations on vector indexes."""

from __future__ import annotations

import time
from typing import Any, Final, cast

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.s3vectors.buckets import encryption_in
from memlane.testing.emulator.s3vectors.members import (
    Members,
    chosen,
    needed,
    number,
    objects,
    structure,
    text,
    texts,
)
from memlane.testing.emulator.s3vectors.refusals import conflict, constraint, invalid
from memlane.testing.emulator.s3vectors.resources import Bucket, Index, Mode, TextKey, Wanted
from memlane.testing.emulator.s3vectors.table import Table
from memlane.testing.emulator.s3vectors.tagging import tags_in
from memlane.testing.emulator.s3vectors.world import World

__all__ = ("create_index", "delete_index", "get_index", "update_metadata", "update_mode")

LANGUAGES: Final = ("en", "fr", "es", "pt", "it", "de", "nl", "zh", "ja", "ko")  # [M]
_METADATA: Final = "/metadataConfiguration"
_RACE: Final = 1.0
_MAX_TEXTS: Final = 10


def create_index(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Create an index; it takes the mode of its bucket [D]."""
    bucket = world.account.bucket(wanted)
    needed(chosen(body, "dataType", ("float32",)), "dataType")
    dimension = needed(number(body, "dimension", least=1, most=4096), "dimension")
    metric = needed(chosen(body, "distanceMetric", ("euclidean", "cosine")), "distanceMetric")
    given = structure(body, "metadataConfiguration") or {}
    name = "nonFilterableMetadataKeys"
    hidden = texts(given, name, least=0, most=10, longest=63) or []
    if len(set(hidden)) != len(hidden):
        raise constraint(f"{_METADATA}/{name}", "contain unique values")
    configured = _texts(given, path=_METADATA)
    tags = tags_in(body)
    encryption = encryption_in(body)
    if configured and bucket.mode != "ENHANCED":
        raise _enhanced_only()
    index_name = cast("str", wanted.index)
    if (there := bucket.indexes.get(index_name)) is not None:
        raise _taken(world, there)
    bucket.indexes[index_name] = Index(
        bucket=bucket.name,
        name=index_name,
        arn=wanted.arn,
        created=world.clock.timestamp(),
        dimension=dimension,
        metric=metric,
        hidden=tuple(hidden),
        mode=bucket.mode,
        texts={key: TextKey(key=key, language=spoken, ready_at=0) for key, spoken in configured},
        encryption=encryption if "encryptionConfiguration" in body else bucket.encryption,
        tags=dict(tags),
        table=Table(dimension, frozenset(hidden)),
        recency=time.monotonic(),
    )
    return {"indexArn": wanted.arn}


def _taken(world: World, index: Index) -> AwsError:
    if world.switches.create_losers_fail and time.monotonic() - index.recency < _RACE:
        index.lost_races += 1
        if index.lost_races % 5 == 1:  # one in five of those that lost a race [E]
            return AwsError("InternalServerException", 500, "Internal server error")
    return conflict("An index with the specified name already exists")


def _enhanced_only() -> AwsError:
    return invalid("Text search is supported only when indexMode is ENHANCED")


def _texts(given: Members, *, path: str) -> list[tuple[str, str]]:
    name = "textSearchConfigurations"
    found: list[tuple[str, str]] = []
    for place, one in enumerate(objects(given, name, most=_MAX_TEXTS, path=path) or ()):
        where = f"{path}/{name}/{place}"
        key = needed(text(one, "metadataKey", most=63, path=where), "metadataKey", path=where)
        spoken = chosen(one, "language", LANGUAGES, path=where)
        found.append((key, needed(spoken, "language", path=where)))
    if len({key for key, _ in found}) != len(found):
        raise invalid("Each text search configuration must name a distinct metadata key")
    return found


def _metadata(index: Index, now: float) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if index.hidden:
        told["nonFilterableMetadataKeys"] = index.hidden
    if index.texts:
        told["textSearchConfigurations"] = [
            {
                "metadataKey": one.key,
                "language": one.language,
                "status": "ACTIVE" if now >= one.ready_at else "BUILDING",
            }
            for one in index.texts.values()
        ]
    return {"metadataConfiguration": told} if told else {}


def get_index(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Describe an index."""
    del body
    index = world.account.index(wanted)
    told: dict[str, Any] = {
        "vectorBucketName": index.bucket,
        "indexName": index.name,
        "indexArn": index.arn,
        "creationTime": index.created,
        "dataType": "float32",
        "dimension": index.dimension,
        "distanceMetric": index.metric,
        "encryptionConfiguration": index.encryption,
        "indexMode": index.mode,
    }
    return {"index": told | _metadata(index, world.clock.timestamp())}


def delete_index(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Delete an index and all it holds; of an absent one that is an error [E]."""
    del body
    index = world.account.index(wanted)
    del world.account.buckets[index.bucket].indexes[index.name]
    return {}


def update_mode(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Set the mode of an index, in place [D]."""
    index = world.account.index(wanted)
    mode = needed(chosen(body, "indexMode", ("CLASSIC", "ENHANCED")), "indexMode")
    if mode == "CLASSIC" and not _bucket(world, index).legacy:
        raise invalid(
            "indexMode cannot be set to CLASSIC because the vector bucket does not support "
            "CLASSIC mode"
        )
    index.mode = cast("Mode", mode)
    return {}


def _bucket(world: World, index: Index) -> Bucket:
    return world.account.buckets[index.bucket]


def update_metadata(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Make keys searchable by words, or no more; what is stored is prepared first."""
    index = world.account.index(wanted)
    add, delete = structure(body, "add"), structure(body, "delete")
    if (add is None) is (delete is None):
        raise invalid("Exactly one of add and delete must be specified")
    if index.mode != "ENHANCED":
        raise _enhanced_only()
    if add is not None:
        _add(world, index, _texts(add, path="/add"))
    else:
        _remove(index, delete or {})
    return {"indexArn": index.arn}


def _add(world: World, index: Index, configured: list[tuple[str, str]]) -> None:
    if len(index.texts) + len(configured) > _MAX_TEXTS:
        raise invalid(f"An index has at most {_MAX_TEXTS} text search configurations")
    if any(key in index.texts for key, _ in configured):
        raise conflict("A text search configuration for the metadata key already exists")
    ready = world.clock.timestamp() + (world.switches.backfill_seconds if len(index.table) else 0)
    for key, spoken in configured:
        index.texts[key] = TextKey(key=key, language=spoken, ready_at=ready)


def _remove(index: Index, delete: Members) -> None:
    keys = [
        one.get("metadataKey")
        for one in objects(delete, "textSearchConfigurations", path="/delete") or ()
    ]
    for key in keys:
        if key not in index.texts:
            raise invalid("The metadata key has no text search configuration")
    for key in keys:
        index.texts.pop(cast("str", key), None)
