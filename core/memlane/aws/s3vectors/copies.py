"""Versions that are kept: each a vector of its own, which no query finds and no listing shows.

A copy lies beside its record under a key of its own, and carries no word that a query of memlane
or of an older tool must find: no user and no owner. So whatever a filter says besides, and however
the service compares what is missing, it is not among the answers. Where it points means nothing.

A new version is put together with its copy, under a name that no other writer can have. Of two that
race for one record the later one's is the record then, and both texts are kept.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from memlane.aws._extra import orjson
from memlane.errors import BackendError
from memlane.layout import parse_vector_key
from memlane.metadata import from_metadata, to_metadata
from memlane.patterns import lazy
from memlane.types import MemoryRecord

__all__ = (
    "copy_metadata",
    "copy_vector",
    "distinct",
    "is_copy_key",
    "new_copy_key",
    "read_copy",
    "replaced_copy_key",
    "same_version",
    "version_of",
    "whole_of",
)

_SIGN: Final = "#v"
_KEY = lazy(r"[a-z2-7]{20}/[a-z2-7]{16}/[^/#]+#v([1-9][0-9]*)\.[0-9a-f]{16}")
_KEPT: Final = (
    "content", "payload", "namespace", "type", "source", "space", "tags", "stored_at",
)  # fmt: skip
"""What `from_metadata` reads, and which life of an id it is of: all of it lies with the record too,
so a copy weighs less."""


def is_copy_key(key: str) -> bool:
    """Say whether a key is a version's."""
    return _SIGN in key and _KEY().fullmatch(key) is not None


def whole_of(key: str) -> str:
    """Return the key of the record that a copy, or a window, belongs to."""
    return key.partition("#")[0]


def version_of(key: str) -> int:
    """Return the number in the key of a copy; 0 for other keys."""
    found = _KEY().fullmatch(key)
    return int(found[1]) if found else 0


def new_copy_key(key: str, version: int) -> str:
    """Return a name for the copy of a version that is being written, which nobody else has.

    Args:
        key: Of the record.
        version: Its number.
    """
    return f"{key}{_SIGN}{version}.{secrets.token_hex(8)}"


def replaced_copy_key(key: str, record: MemoryRecord) -> str:
    """Return a name for the copy of a version that was written without one.

    All who replace the same version give it the same name, and those who replace another version
    under that number, or one of an earlier life of that id, another.
    """
    told = f"{record.stored_at.isoformat()} {record.updated_at.isoformat()} {record.text}"
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{key}{_SIGN}{record.version}.{digest}"


def copy_metadata(record: MemoryRecord) -> dict[str, Any]:
    """Return what is kept of a version: all of the record, and nothing to find it by."""
    flat = to_metadata(record)
    return {name: flat[name] for name in _KEPT if name in flat}


def copy_vector(key: str, flat: Mapping[str, Any], *, dimension: int) -> bytes:
    """Return a copy as PutVectors takes it.

    Args:
        key: Its own.
        flat: As `copy_metadata` returned it.
        dimension: Of the index.
    """
    vector = {
        "key": key,
        "data": {"float32": [-1.0, *[0.0] * (dimension - 1)]},
        "metadata": flat,
    }
    return orjson.dumps(vector)


def read_copy(vector: Mapping[str, Any]) -> MemoryRecord:
    """Return the version that a copy is of.

    Raises:
        BackendError: It is damaged.
    """
    parsed = parse_vector_key(whole_of(vector["key"]))
    flat = vector.get("metadata")
    if parsed is None or flat is None:
        raise BackendError(
            "a kept version is damaged", remedy="restore it from a backup, or delete its record"
        )
    return from_metadata(parsed.record_id, flat, loads=orjson.loads)


def same_version(one: MemoryRecord, other: MemoryRecord) -> bool:
    """Say whether two say the same, in whatever space their vectors are."""
    return replace(one, space="") == replace(other, space="")


def distinct(records: Iterable[MemoryRecord]) -> list[MemoryRecord]:
    """Return versions without repeats, the newest first."""
    found: list[MemoryRecord] = []
    for record in sorted(records, key=lambda each: (each.version, each.updated_at), reverse=True):
        if not any(same_version(record, each) for each in reversed(found)):
            found.append(record)
    return found
