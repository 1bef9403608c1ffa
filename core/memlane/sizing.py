"""What a record may weigh: the same numbers on every backend, checked before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias, cast

from memlane.errors import ValidationError
from memlane.types import MetadataValue

__all__ = (
    "MAX_DEPTH",
    "MAX_FILTERABLE_BYTES",
    "MAX_KEY_BYTES",
    "MAX_METADATA_KEYS",
    "MAX_PAYLOAD_BYTES",
    "MAX_TAGS",
    "MAX_TAG_BYTES",
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
"""The longest name S3 Vectors allows for a key that is not filterable."""

MAX_TAGS: Final = 32
"""Ours: 32 tags of a usual length stay within the filterable bytes."""

MAX_TAG_BYTES: Final = 64
"""Ours, as for the ids that are filtered unhashed."""

MAX_DEPTH: Final = 16
"""Ours: deeper than people nest, and shallow enough for every JSON reader."""

_INTEGER_LIMIT: Final = 2**63  # of SQLite's integers and of orjson's
_OBJECT_BYTES: Final = 4  # of S3 Vectors' size model, measured: an object, or an item of a list
_ENTRY_BYTES: Final = 8  # the same: an entry of an object, besides its key and value
_NUMBER_BYTES: Final = 4
_FIRST_PRINTABLE: Final = 0x20
_AFTER_ASCII: Final = range(0x7F, 0xA0)
_NOTHING: Final[Mapping[str, MetadataValue]] = MappingProxyType({})


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
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def filterable_subset(metadata: Mapping[str, MetadataValue]) -> dict[str, FilterableValue]:
    """Return what of the metadata can be filtered on: flat values and lists of one kind.

    Null, empty, mixed and nested values are kept with the record and cannot be filtered on.
    """
    found: dict[str, FilterableValue] = {}
    for key, value in metadata.items():
        if isinstance(value, str | bool) or _is_number(value):
            found[key] = cast("FilterableValue", value)
        elif isinstance(value, list | tuple) and value:
            items = list(cast("Sequence[object]", value))
            if all(isinstance(each, str) for each in items) or all(map(_is_number, items)):
                found[key] = cast("FilterableValue", items)
    return found


def _lone_surrogate(text: str) -> int | None:
    """Return the place of a lone surrogate, which would fail a whole request to S3 Vectors."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        return exc.start
    return None


def _control_character(text: str) -> bool:
    return any(ord(char) < _FIRST_PRINTABLE or ord(char) in _AFTER_ASCII for char in text)


def check_text(text: object, *, name: str = "content") -> str:
    """Return a text that can be stored: not blank, whole Unicode, at most 32 KiB.

    Raises:
        ValidationError: It cannot; the message says why.
    """
    if not isinstance(text, str):
        raise ValidationError(
            f"{name} must be a string, not {type(text).__name__}", remedy="pass the text itself"
        )
    # Characters first: nothing of ten megabytes is copied to find that they are too many.
    if len(text) > MAX_PAYLOAD_BYTES:
        raise _too_long(name, f"at least {len(text):,} bytes")
    if not text or text.isspace():
        raise ValidationError(f"{name} is blank", remedy="pass some text, or skip the call")
    if (place := _lone_surrogate(text)) is not None:
        raise ValidationError(
            f"{name} holds a lone surrogate at character {place}",
            remedy="decode it properly, or replace it: text.encode('utf-8', 'replace').decode()",
        )
    size = len(text) if text.isascii() else len(text.encode("utf-8"))
    if size > MAX_PAYLOAD_BYTES:
        raise _too_long(name, f"{size:,} bytes")
    return str.__str__(text)  # a member of an enum is kept as the string it stands for


def _too_long(name: str, size: str) -> ValidationError:
    remedy = (
        "ask with its essence, such as its last sentences"
        if name == "query"
        else "split it into several records, such as one a message or paragraph"
    )
    return ValidationError(
        f"{name} has {size}; at most {MAX_PAYLOAD_BYTES:,} are allowed", remedy=remedy
    )


def check_query(text: object) -> str:
    """Return a query that can be asked; the rules are those of a text."""
    return check_text(text, name="query")


def _bad_key(place: int, reason: str, remedy: str) -> ValidationError:
    # By its place: what somebody took for a key may be what nobody else is to read.
    return ValidationError(f"metadata key {place} {reason}", remedy=remedy)


def _check_key(key: object, place: int) -> str:
    if not isinstance(key, str) or not key:
        raise _bad_key(place, "is no string, or an empty one", "name every key with text")
    if _lone_surrogate(key) is not None:
        raise _bad_key(place, "holds a lone surrogate", "decode it properly")
    size = len(key.encode("utf-8"))
    if size > MAX_KEY_BYTES:
        reason = f"has {size:,} bytes; at most {MAX_KEY_BYTES} are allowed"
        raise _bad_key(place, reason, "shorten it")
    if key.startswith(("@", "$")):
        reason = f"begins with {key[0]!r}, which is kept for filters"
        raise _bad_key(place, reason, "rename it")
    if _control_character(key):
        raise _bad_key(place, "holds a control character", "rename it")
    return str.__str__(key)


class _Copier:
    """One value of the metadata on its way in, with what may still be spent on it.

    A list that holds another one twice, and that one a third twice, is small in memory and
    endless as JSON: what it would weigh is counted on the way.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._place = 0

    def under(self, place: int, value: object) -> MetadataValue:
        """Return a copy of the value of the key that stands in this place, counted from 1."""
        self._place = place
        return self._copy(value)

    def _name(self) -> str:
        return f"the value of metadata key {self._place}"

    def _copy(self, value: object, depth: int = 1) -> MetadataValue:
        if depth > MAX_DEPTH:
            raise ValidationError(
                f"{self._name()} nests more than {MAX_DEPTH} levels, or holds itself",
                remedy="flatten it",
            )
        self._spend(1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            if not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
                raise ValidationError(
                    f"{self._name()} holds an integer beyond 64 bits",
                    remedy="store it as a string",
                )
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValidationError(
                    f"{self._name()} holds a number that is not finite",
                    remedy="leave it out, or pass None",
                )
            return float(value)
        if isinstance(value, Mapping):
            entries = cast("Mapping[object, object]", value).items()
            return {self._inner_key(inner): self._copy(each, depth + 1) for inner, each in entries}
        if isinstance(value, list | tuple):
            items = cast("Sequence[object]", value)
            return [self._copy(each, depth + 1) for each in items]
        raise ValidationError(
            f"{self._name()} holds a {type(value).__name__}, which JSON cannot say",
            remedy="pass strings, numbers, booleans, None, lists or objects",
        )

    def _inner_key(self, inner: object) -> str:
        if not isinstance(inner, str):
            raise ValidationError(
                f"{self._name()} holds a key that is not a string",
                remedy="name every key with text",
            )
        return self._text(inner)

    def _text(self, text: str) -> str:
        self._spend(len(text))
        if _lone_surrogate(text) is not None:
            raise ValidationError(
                f"{self._name()} holds a lone surrogate", remedy="decode it properly"
            )
        return str.__str__(text)

    def _spend(self, least: int) -> None:
        # Never more than the JSON form, so nothing is refused here that would fit.
        self._room -= least
        if self._room < 0:
            raise ValidationError(
                f"metadata has more than {MAX_PAYLOAD_BYTES:,} bytes; that many are allowed for "
                "text and metadata together",
                remedy="keep large values elsewhere and store where they are",
            )


def check_metadata(metadata: object) -> Mapping[str, MetadataValue]:
    """Return a detached copy of metadata that JSON can say.

    Raises:
        ValidationError: It cannot be stored; the message says in which place, and quotes nothing.
    """
    if not isinstance(metadata, Mapping):
        raise ValidationError(
            f"metadata must be an object, not {type(metadata).__name__}", remedy="pass a dict"
        )
    given = cast("Mapping[object, object]", metadata)
    if not given:
        return _NOTHING
    if len(given) > MAX_METADATA_KEYS:
        raise ValidationError(
            f"metadata has {len(given):,} keys; at most {MAX_METADATA_KEYS} are allowed",
            remedy="nest some of them under one key",
        )
    copier = _Copier(MAX_PAYLOAD_BYTES)
    copied: dict[str, MetadataValue] = {}
    for place, (name, value) in enumerate(given.items(), start=1):
        copied[_check_key(name, place)] = copier.under(place, value)
    return MappingProxyType(copied)


def check_tags(tags: object) -> tuple[str, ...]:
    """Return tags sorted and without repeats.

    Raises:
        ValidationError: Not a list of short strings, or too many.
    """
    if not isinstance(tags, list | tuple | set | frozenset):
        raise ValidationError(
            f"tags must be a list of strings, not {type(tags).__name__}", remedy='pass ["a tag"]'
        )
    if not tags:
        return ()
    found: set[str] = set()
    for tag in cast("Sequence[object]", tags):
        if not isinstance(tag, str) or not tag or tag.isspace():
            raise ValidationError(
                "a tag must be a string that is not blank", remedy='pass ["a tag"]'
            )
        if _lone_surrogate(tag) is not None:
            raise ValidationError("a tag holds a lone surrogate", remedy="decode it properly")
        size = len(tag.encode("utf-8"))
        if size > MAX_TAG_BYTES:
            raise ValidationError(
                f"a tag has {size:,} bytes; at most {MAX_TAG_BYTES} are allowed",
                remedy="shorten it, or put it into metadata",
            )
        if _control_character(tag):
            raise ValidationError("a tag holds a control character", remedy="rename the tag")
        found.add(str.__str__(tag))
    if len(found) > MAX_TAGS:
        raise ValidationError(
            f"there are {len(found):,} tags; at most {MAX_TAGS} are allowed",
            remedy="put some of them into metadata",
        )
    return tuple(sorted(found))


def check_budget(
    *, metadata: Mapping[str, MetadataValue], tags: Sequence[str], payload_bytes: int
) -> None:
    """Refuse what weighs too much for the strictest backend.

    Args:
        metadata: As `check_metadata` returned it.
        tags: As `check_tags` returned them.
        payload_bytes: Of the text and all exact forms; see `metadata.payload_bytes`.

    Raises:
        ValidationError: Over 1,200 filterable bytes, or over 32 KiB of payload.
    """
    weighed = filterable_subset(metadata)
    if tags:
        weighed["@tags"] = list(tags)
    size = metadata_size(weighed)
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
