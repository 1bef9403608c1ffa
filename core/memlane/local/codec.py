"""How a record's exact values become columns and come back equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, cast

from memlane.errors import BackendError, ValidationError
from memlane.metadata import notes_form, notes_of
from memlane.types import ImageNote, MetadataValue

__all__ = (
    "from_micros",
    "images_json",
    "metadata_json",
    "micros_to_minutes",
    "parse_images",
    "parse_metadata",
    "parse_tags",
    "tags_json",
    "to_micros",
)

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MINUTE: Final = 60_000_000
_LAYOUT_EPOCH: Final = 1_577_836_800_000_000  # layout.EPOCH in microseconds since 1970
_NO_METADATA: Final[Mapping[str, MetadataValue]] = MappingProxyType({})


def to_micros(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970, exactly."""
    return (moment - _UNIX) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the moment, in UTC."""
    return _UNIX + timedelta(microseconds=micros)


def micros_to_minutes(micros: int) -> int:
    """Return the whole minutes `layout.to_minutes` would."""
    return (micros - _LAYOUT_EPOCH) // _MINUTE


def metadata_json(metadata: Mapping[str, MetadataValue]) -> str:
    """Return metadata as JSON, "" for none.

    Raises:
        ValidationError: Something in it is not JSON.
    """
    if not metadata:
        return ""
    try:
        return json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as exc:
        raise ValidationError(
            "metadata holds something that is not JSON",
            remedy="use strings, numbers, booleans, None, lists and mappings",
        ) from exc


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise TypeError(f"{type(value).__name__} is not JSON")


def parse_metadata(text: str) -> Mapping[str, MetadataValue]:
    """Return what `metadata_json` was given, read-only.

    Raises:
        BackendError: The stored text is damaged.
    """
    if not text:
        return _NO_METADATA
    value = _parsed(text)
    if not isinstance(value, dict):
        raise _damaged()
    return MappingProxyType(cast("dict[str, MetadataValue]", value))


def tags_json(tags: tuple[str, ...]) -> str:
    """Return tags as JSON, "" for none."""
    return json.dumps(tags, ensure_ascii=False, separators=(",", ":")) if tags else ""


def parse_tags(text: str) -> tuple[str, ...]:
    """Return what `tags_json` was given.

    Raises:
        BackendError: The stored text is damaged.
    """
    if not text:
        return ()
    value = _parsed(text)
    if not isinstance(value, list):
        raise _damaged()
    return tuple(cast("list[str]", value))


def images_json(images: tuple[ImageNote, ...]) -> str:
    """Return what is kept of pictures as JSON, "" for none."""
    if not images:
        return ""
    return json.dumps(notes_form(images), ensure_ascii=False, separators=(",", ":"))


def parse_images(text: str) -> tuple[ImageNote, ...]:
    """Return what `images_json` was given.

    Raises:
        BackendError: The stored text is damaged.
    """
    if not text:
        return ()
    value = _parsed(text)
    if not isinstance(value, list):
        raise _damaged()
    try:
        return notes_of(cast("list[list[Any]]", value))
    except (TypeError, ValueError) as exc:
        raise _damaged() from exc


def _parsed(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except ValueError as exc:
        raise _damaged() from exc


def _damaged() -> BackendError:
    return BackendError(
        "a stored record is damaged", remedy="restore the file from a backup, or delete the record"
    )
