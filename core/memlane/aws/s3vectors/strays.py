"""Windows that two clients left who changed one record at the same moment: met, and deleted.

S3 Vectors changes nothing on a condition. Whoever deletes or replaces a record names the windows it
had when it was read; what another client made of it since may have more of them, and those would be
found as before. They are numbered without a gap and stored together, so one look at the first
behind those named tells, once all that was to be changed is changed. What another stores in the
moment between two looks is that one's to look after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from memlane.aws.s3vectors.copies import (
    copy_metadata,
    copy_vector,
    is_copy_key,
    version_of,
    whole_of,
)
from memlane.aws.s3vectors.deleting import delete_records, windows_of
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.records import decoded, flat_of, parts_of, version_in
from memlane.errors import BackendError
from memlane.layout import MAX_VERSIONS, parse_vector_key
from memlane.types import MemoryRecord

__all__ = (
    "UNKNOWN",
    "Replaced",
    "clean_behind",
    "clean_beside",
    "clean_replaced",
    "emptied",
    "is_surplus",
    "parts_in",
)

Vector: TypeAlias = Mapping[str, Any]

UNKNOWN: Final = 1_000_000
"""How many vectors a damaged record has: more than anybody ever stored."""


class Replaced(NamedTuple):
    """A record that took another's place.

    Args:
        record: What is there now, unless somebody was later.
        parts: How many vectors it has.
        before: How many the other had.
    """

    record: MemoryRecord
    parts: int
    before: int

    def spare(self, key: str) -> list[str]:
        """Return the keys of the windows that the record has no more."""
        return windows_of(key, self.before)[self.parts - 1 :]


def emptied(key: str, replaced: Replaced, description: Description) -> list[bytes]:
    """Return what is put in the place of the windows a record has no more, encoded.

    It is put together with the record, so that nothing of the older one is gone when that is
    refused, and nothing of it is found when it is not; no query finds what is put there instead.
    """
    spare = replaced.spare(key)
    flat = copy_metadata(replaced.record) if spare else {}
    return [copy_vector(name, flat, dimension=description.dimension) for name in spare]


async def clean_replaced(index: Index, replaced: Mapping[str, Replaced]) -> None:
    """Delete what was emptied of records, by key, and what others left behind them."""
    behind = {f"{key}#w{max(each.parts, each.before)}": key for key, each in replaced.items()}
    shorter = [key for key, each in replaced.items() if each.before > each.parts]
    there = {vector["key"]: vector for vector in await index.get([*behind, *shorter])}
    spare = [
        name
        for key in shorter
        # Somebody later may have windows of that name.
        if key in there and _is_of(there[key], replaced[key].record)
        for name in replaced[key].spare(key)
    ]
    await delete_records(index, [], spare)
    await _clean_all(index, {whole for name, whole in behind.items() if name in there})


async def clean_behind(index: Index, parts: Mapping[str, int]) -> None:
    """Delete what others left of records that are gone.

    Args:
        index: Where.
        parts: How many vectors were deleted of each, by its key; 1 where there were none.
    """
    behind = {
        f"{key}#w{count}": key
        for key, count in parts.items()
        if parse_vector_key(key) is not None  # another tool's has none
    }
    met = {behind[vector["key"]] for vector in await index.get([*behind])}
    await _clean_all(index, met)


async def clean_beside(index: Index, beside: Mapping[str, Mapping[str, str]]) -> None:
    """Delete what lies beside records and is too much; whoever asks has the turns at them.

    Args:
        index: Where.
        beside: Keys of windows and copies by the key of their record, each with when its record
            was first stored, where that is known.
    """
    there = {vector["key"]: vector for vector in await index.get([*beside])}
    doomed: list[str] = []
    for whole, keys in beside.items():
        vector = there.get(whole)
        doomed += keys if vector is None else _surplus(vector, keys)
    await delete_records(index, [], doomed)


async def _clean_all(index: Index, wholes: set[str]) -> None:
    if not wholes:
        return
    beside: dict[str, dict[str, str]] = {}
    for key in await index.keys():
        if "#" in key and (whole := whole_of(key)) in wholes:
            beside.setdefault(whole, {})[key] = ""
    await clean_beside(index, beside)


def _surplus(vector: Vector, keys: Mapping[str, str]) -> list[str]:
    """Return what lies beside a record and is none of its windows and latest versions."""
    flat = flat_of(vector)
    parts, born = parts_in(vector), flat.get("stored_at", "")
    found = [key for key, life in keys.items() if is_surplus(key, life, parts=parts, born=born)]
    if sum(map(is_copy_key, keys)) > MAX_VERSIONS:
        try:
            version = version_in(flat)
        except BackendError:
            return found  # damaged: which of them is the current one nobody knows
        # The copy of the current version stays, whatever its number: it is not copied once more.
        past = [key for key in keys if is_copy_key(key) and version_of(key) != version]
        past = sorted(set(past) - set(found), key=version_of)
        found += past[: max(0, len(past) - MAX_VERSIONS)]
    return found


def is_surplus(key: str, life: str, *, parts: int, born: str) -> bool:
    """Say whether a record has no such window, or that version is of another record.

    Args:
        key: Of the window or the copy.
        life: When its record was first stored; "" where that is not known.
        parts: How many vectors the record has.
        born: When it was first stored itself.
    """
    if "#w" in key:
        return int(key.rpartition("#w")[2]) >= parts
    return bool(life and born) and life != born


def parts_in(vector: Vector) -> int:
    """Return how many vectors a record has."""
    try:
        return parts_of(flat_of(vector))
    except BackendError:
        return UNKNOWN  # damaged: nothing beside it is too much for all anybody knows


def _is_of(vector: Vector, record: MemoryRecord) -> bool:
    try:
        return decoded(vector["key"], flat_of(vector), tenant=record.scope.tenant) == record
    except BackendError:
        return False
