"""What a record may weigh: the same numbers on every backend, checked before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from memlane.errors import ValidationError
from memlane.types import MetadataValue

__all__ = (
    "FilterableValue",
    "check_budget",
    "check_metadata",
    "check_query",
    "check_tags",
    "check_text",
    "filterable_subset",
    "metadata_size",
    "value_size",
)

FilterableValue: TypeAlias = str | int | float | bool | list[str] | list[int | float]

MAX_METADATA_KEYS: Final = 32
"""Of the 50 keys S3 Vectors allows; the others are the record's own."""

MAX_FILTERABLE_BYTES: Final = 1_200
"""Of the 2,048 filterable bytes S3 Vectors allows; the others are the record's own."""

MAX_PAYLOAD_BYTES: Final = 32 * 1024
"""Of the 40,960 bytes of metadata S3 Vectors allows, for text and exact forms together."""

MAX_KEY_BYTES: Final = 63
MAX_TAGS: Final = 32
MAX_TAG_BYTES: Final = 64
MAX_DEPTH: Final = 16
MAX_INTEGER: Final = 2**63

_OBJECT_BYTES: Final = 4
_ENTRY_BYTES: Final = 8
_NUMBER_BYTES: Final = 4


def value_size(value: FilterableValue) -> int:
    """Return the bytes S3 Vectors counts for a value: strings raw, numbers 4, booleans 0."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, str):
        return len(value.encode("utf-8"))
    if isinstance(value, int | float):
        return _NUMBER_BYTES
    return sum(_OBJECT_BYTES + value_size(each) for each in value)


def metadata_size(metadata: Mapping[str, FilterableValue]) -> int:
    """Return the bytes S3 Vectors counts for metadata; its JSON length is not the measure."""
    return _OBJECT_BYTES + sum(
        _ENTRY_BYTES + len(key.encode("utf-8")) + value_size(value)
        for key, value in metadata.items()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def filterable_subset(metadata: Mapping[str, MetadataValue]) -> dict[str, FilterableValue]:
    """Return what of the metadata can be filtered on: flat values and lists of one kind."""
    found: dict[str, FilterableValue] = {}
    for key, value in metadata.items():
        if isinstance(value, str | bool) or _is_number(value):
            found[key] = cast("FilterableValue", value)
        elif isinstance(value, list | tuple) and value:
            items = list(cast("Sequence[object]", value))
            if all(isinstance(each, str) for each in items) or all(map(_is_number, items)):
                found[key] = cast("FilterableValue", items)
    return found


def check_text(text: object, *, name: str = "content") -> str:
    """Return a text that can be stored: not blank, whole Unicode, at most 32 KiB.

    Raises:
        ValidationError: It cannot; the message says why.
    """
    if not isinstance(text, str):
        raise ValidationError(
            f"{name} must be a string, not {type(text).__name__}", remedy="pass the text itself"
        )
    if len(text) > MAX_PAYLOAD_BYTES:
        raise _too_long(name, f"more than {len(text):,} bytes")
    if not text.strip():
        raise ValidationError(f"{name} is blank", remedy="pass some text, or skip the call")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise ValidationError(
            f"{name} holds a lone surrogate at character {exc.start}",
            remedy="decode it properly, or replace it: text.encode('utf-8', 'replace').decode()",
        ) from exc
    if size > MAX_PAYLOAD_BYTES:
        raise _too_long(name, f"{size:,} bytes")
    return text


def _too_long(name: str, size: str) -> ValidationError:
    return ValidationError(
        f"{name} has {size}; at most {MAX_PAYLOAD_BYTES:,} are allowed",
        remedy="split it into several records, such as one a message or paragraph",
    )


def check_query(text: object) -> str:
    """Return a query that can be asked; the rules are those of a text."""
    return check_text(text, name="query")


def _check_key(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise ValidationError(
            "a metadata key must be a non-empty string", remedy="name every key with text"
        )
    if key.startswith(("@", "$")):
        raise ValidationError(
            f"metadata key {key!r} begins with {key[0]!r}, which is kept for filters",
            remedy="rename the key",
        )
    try:
        size = len(key.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise ValidationError(
            "a metadata key holds a lone surrogate", remedy="decode the key properly"
        ) from exc
    if size > MAX_KEY_BYTES:
        raise ValidationError(
            f"a metadata key has {size} bytes; at most {MAX_KEY_BYTES} are allowed",
            remedy="shorten the key",
        )
    if not key.isprintable():
        raise ValidationError(
            "a metadata key holds a character that cannot be printed", remedy="rename the key"
        )
    return key


def _copied(value: object, key: str, depth: int) -> MetadataValue:
    if depth > MAX_DEPTH:
        raise ValidationError(
            f"metadata {key!r} nests more than {MAX_DEPTH} levels, or holds itself",
            remedy="flatten it",
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise ValidationError(
                f"metadata {key!r} holds a lone surrogate", remedy="decode the value properly"
            ) from exc
        return value
    if isinstance(value, int):
        if not -MAX_INTEGER < value < MAX_INTEGER:
            raise ValidationError(
                f"metadata {key!r} is an integer beyond 64 bits", remedy="store it as a string"
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValidationError(
                f"metadata {key!r} is not a finite number", remedy="leave it out, or pass None"
            )
        return float(value)
    if isinstance(value, Mapping):
        copied: dict[str, MetadataValue] = {}
        for inner, each in cast("Mapping[object, object]", value).items():
            if not isinstance(inner, str):
                raise ValidationError(
                    f"metadata {key!r} holds a key that is not a string",
                    remedy="name every key with text",
                )
            _copied(inner, key, depth)
            copied[inner] = _copied(each, key, depth + 1)
        return copied
    if isinstance(value, list | tuple):
        return [_copied(each, key, depth + 1) for each in cast("Sequence[object]", value)]
    raise ValidationError(
        f"metadata {key!r} is of type {type(value).__name__}, which JSON cannot say",
        remedy="pass strings, numbers, booleans, None, lists or objects",
    )


def check_metadata(metadata: object) -> Mapping[str, MetadataValue]:
    """Return a detached copy of metadata that JSON can say.

    Raises:
        ValidationError: It cannot be stored; the message names the key, never a value.
    """
    if not isinstance(metadata, Mapping):
        raise ValidationError(
            f"metadata must be an object, not {type(metadata).__name__}", remedy="pass a dict"
        )
    given = cast("Mapping[Any, object]", metadata)
    if len(given) > MAX_METADATA_KEYS:
        raise ValidationError(
            f"metadata has {len(given)} keys; at most {MAX_METADATA_KEYS} are allowed",
            remedy="nest some of them under one key",
        )
    return MappingProxyType(
        {_check_key(key): _copied(value, str(key), 1) for key, value in given.items()}
    )


def check_tags(tags: object) -> tuple[str, ...]:
    """Return tags sorted and without repeats.

    Raises:
        ValidationError: Not a list of short strings, or too many.
    """
    if isinstance(tags, str) or not isinstance(tags, list | tuple | set | frozenset):
        raise ValidationError(
            f"tags must be a list of strings, not {type(tags).__name__}", remedy='pass ["a tag"]'
        )
    found: set[str] = set()
    for tag in cast("Sequence[object]", tags):
        if not isinstance(tag, str) or not tag.strip() or not tag.isprintable():
            raise ValidationError(
                "a tag must be a printable string that is not blank", remedy='pass ["a tag"]'
            )
        size = len(tag.encode("utf-8"))
        if size > MAX_TAG_BYTES:
            raise ValidationError(
                f"a tag has {size} bytes; at most {MAX_TAG_BYTES} are allowed",
                remedy="shorten it, or put it into metadata",
            )
        found.add(tag)
    if len(found) > MAX_TAGS:
        raise ValidationError(
            f"there are {len(found)} tags; at most {MAX_TAGS} are allowed",
            remedy="put some of them into metadata",
        )
    return tuple(sorted(found))


def check_budget(
    *, metadata: Mapping[str, MetadataValue], tags: Sequence[str], payload_bytes: int
) -> None:
    """Refuse what weighs too much for the strictest backend.

    Raises:
        ValidationError: Over 1,200 filterable bytes, or over 32 KiB of payload.
    """
    weighed: dict[str, FilterableValue] = filterable_subset(metadata)
    if tags:
        weighed["@tags"] = list(tags)
    size = metadata_size(weighed) if weighed else 0
    if size > MAX_FILTERABLE_BYTES:
        raise ValidationError(
            f"metadata and tags have {size:,} filterable bytes; at most "
            f"{MAX_FILTERABLE_BYTES:,} are allowed",
            remedy="nest long values under one key: they are kept exactly, only not filtered on",
        )
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise ValidationError(
            f"text and metadata have {payload_bytes:,} bytes; at most {MAX_PAYLOAD_BYTES:,} are "
            "allowed",
            remedy="split the text into several records, or keep large values elsewhere",
        )
