"""What the lines of an export say, taken apart and checked for shape, value by value."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, TypeVar, cast

import numpy as np

from memlane.errors import ImportFileError, ScopeError
from memlane.images import MAX_PICTURES, Illustrated, Picture
from memlane.layout import MAX_VERSIONS
from memlane.media import MEDIA_TYPES
from memlane.patterns import lazy
from memlane.portable.lines import PAGE_BYTES
from memlane.protocols import Vector
from memlane.scope import check_id
from memlane.types import ImageNote, NewMemory

__all__ = (
    "TOO_MUCH",
    "FilePart",
    "FileRecord",
    "Said",
    "damaged",
    "nothing_left",
    "outside_strings",
    "parsed",
    "record_of",
    "taken",
)

T = TypeVar("T")

TOO_MUCH: Final = f"goes beyond the {PAGE_BYTES:,} characters that a page has outside strings"

_REMEDY: Final = "import a copy that is whole, or export again; repeating skips what was stored"
_MAX_PARTS: Final = 2_000  # windows of 32 KiB are some hundreds
_MAX_VERSION: Final = 10**9
_PLAIN_NAME: Final = lazy(r"[a-z_]{1,40}")
_SHA256: Final = lazy(r"[0-9a-f]{64}")
_STRING: Final = lazy(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


@dataclass(frozen=True, slots=True)
class FilePart:
    """A vector of a record, and the span of the text it is of."""

    start: int
    end: int
    vector: Vector


@dataclass(frozen=True, slots=True)
class Said:
    """What one version of a record says.

    Args:
        new: Its fields, of nobody's scope, without an id.
        version: Which one it is.
        stored_at: When the record was first stored.
        updated_at: When this version was.
        space: Id of the embedding space its vectors are of.
    """

    new: NewMemory
    version: int
    stored_at: datetime
    updated_at: datetime
    space: str


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A record of a file.

    Args:
        line: Where it is.
        digest: Of the line; equal lines have equal ones.
        id: The id it had.
        agent: The agent it was kept for.
        session: The conversation it came from.
        now: What it says.
        before: What it said, the oldest first.
        parts: Its vectors, where the file has them.
    """

    line: int
    digest: bytes
    id: str
    agent: str | None
    session: str | None
    now: Said
    before: tuple[Said, ...]
    parts: tuple[FilePart, ...]

    @property
    def said(self) -> tuple[Said, ...]:
        """What it said and says, the oldest first."""
        return (*self.before, self.now)


def damaged(line: int, what: str, remedy: str = _REMEDY) -> ImportFileError:
    """Return the error of a line that cannot be taken; nothing that was in it is quoted."""
    return ImportFileError(f"line {line} {what}", line=line, remedy=remedy)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_decode: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant).decode


def outside_strings(text: str) -> int:
    """Return how many characters of a line are outside its strings; counts no further than needed.

    They say what taking it apart costs: two make a list of nothing, of 60 bytes and more.
    """
    count = end = 0
    for string in _STRING().finditer(text):
        count += 2 + string.start() - end  # the quotes are outside
        end = string.end()
        if count > PAGE_BYTES:
            return count
    return count + len(text) - end


def parsed(text: str, line: int) -> dict[str, Any]:
    """Return the object of a line.

    Raises:
        ImportFileError: It is no JSON object, names something twice, is too deep, or is of more
            values than a page may have.
    """
    if len(text) > PAGE_BYTES and outside_strings(text) > PAGE_BYTES:
        raise damaged(line, TOO_MUCH)
    try:
        value: object = _decode(text)
    except RecursionError:
        # Without the cause: its traceback alone is a thousand lines.
        raise damaged(line, "nests too deep") from None
    except ValueError as exc:
        raise damaged(line, "is not JSON, or has a name twice") from exc
    if not isinstance(value, dict):
        raise damaged(line, "is not a JSON object")
    return cast("dict[str, Any]", value)


def taken(given: dict[str, Any], name: str, kind: type[T], line: int) -> T:
    """Take a value out of an object, of exactly this type: True is no number.

    Raises:
        ImportFileError: It is missing, or of another type.
    """
    if name not in given:
        raise damaged(line, f"has no {name!r}")
    value: object = given.pop(name)
    if type(value) is not kind:
        raise damaged(line, f"has a {name!r} that is no {_WORDS[kind]}")
    return value


_WORDS: Final[Mapping[type, str]] = {
    str: "string",
    int: "whole number",
    bool: "true or false",
    dict: "object",
    list: "list",
}


def nothing_left(given: Mapping[str, Any], line: int) -> None:
    """Refuse an object that says more than was taken out of it: it would be lost in silence."""
    for name in given:
        told = repr(name) if _PLAIN_NAME().fullmatch(name) else "with an unusual name"
        raise damaged(line, f"has an unknown field {told}", "import it with a later memlane")


def record_of(text: str, line: int, digest: bytes) -> FileRecord:
    """Return the record of a line.

    Raises:
        ImportFileError: Something in it has not the shape it must have.
    """
    told = parsed(text, line)
    record = cast("dict[str, Any]", taken(told, "record", dict, line))
    record_id = taken(record, "id", str, line)
    agent, session = (_optional(record, name, str, line) for name in ("agent", "session"))
    versions = _several(told, "versions", line, most=MAX_VERSIONS)
    parts = _several(told, "parts", line, most=_MAX_PARTS)
    nothing_left(told, line)
    return FileRecord(
        line=line,
        digest=digest,
        id=record_id,
        agent=agent,
        session=session,
        now=_said(record, line),
        before=tuple(_said(each, line) for each in reversed(versions)),
        parts=tuple(_part(each, line) for each in parts),
    )


def _optional(given: dict[str, Any], name: str, kind: type[T], line: int) -> T | None:
    if given.get(name) is None:
        given.pop(name, None)
        return None
    return taken(given, name, kind, line)


def _several(given: dict[str, Any], name: str, line: int, *, most: int) -> list[dict[str, Any]]:
    several = cast("list[Any] | None", _optional(given, name, list, line)) or []
    if len(several) > most:
        raise damaged(line, f"has more than {most:,} {name}")
    for each in several:
        if not isinstance(each, dict):
            raise damaged(line, f"has something else among its {name!r}")
    return several


def _moment(given: dict[str, Any], name: str, line: int) -> datetime:
    told = taken(given, name, str, line)
    try:
        moment = datetime.fromisoformat(told)
        if moment.tzinfo is None:
            raise ValueError("no time zone")  # noqa: TRY301 - one place says what is wrong
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise damaged(line, f"has a {name!r} that is no time with its zone") from exc


def _maybe_moment(given: dict[str, Any], name: str, line: int) -> datetime | None:
    if given.get(name) is None:
        given.pop(name, None)
        return None
    return _moment(given, name, line)


def _said(given: dict[str, Any], line: int) -> Said:
    version = taken(given, "version", int, line)
    if not 1 <= version <= _MAX_VERSION:
        raise damaged(line, "has a 'version' that is none")
    taken(given, "source", str, line)
    metadata = cast("dict[str, Any] | None", _optional(given, "metadata", dict, line))
    tags = cast("list[str] | None", _optional(given, "tags", list, line))
    images = tuple(
        _image(each, line) for each in _several(given, "images", line, most=MAX_PICTURES)
    )
    said = Said(
        # With its pictures, so that their names are redacted too.
        new=Illustrated(
            content=taken(given, "text", str, line),
            namespace=taken(given, "namespace", str, line),
            kind=taken(given, "kind", str, line),
            metadata=metadata,
            tags=tags or (),
            actor=_optional(given, "actor", str, line),
            occurred_at=_moment(given, "occurred_at", line),
            expires_at=_maybe_moment(given, "expires_at", line),
            valid_from=_maybe_moment(given, "valid_from", line),
            valid_to=_maybe_moment(given, "valid_to", line),
            source="import",
            pictures=tuple(Picture(note=note, image=None) for note in images),
        ),
        version=version,
        stored_at=_moment(given, "stored_at", line),
        updated_at=_moment(given, "updated_at", line),
        space=taken(given, "space", str, line),
    )
    nothing_left(given, line)
    return said


def _image(given: dict[str, Any], line: int) -> ImageNote:
    note = ImageNote(
        sha256=taken(given, "sha256", str, line),
        media_type=taken(given, "media_type", str, line),
        size=taken(given, "size", int, line),
        embedded=taken(given, "embedded", bool, line),
        name=_optional(given, "name", str, line),
    )
    nothing_left(given, line)
    if not _SHA256().fullmatch(note.sha256) or note.media_type not in MEDIA_TYPES or note.size < 0:
        raise damaged(line, "has a picture that is none")
    try:
        if note.name is not None:
            check_id(note.name, name="a picture's name")
    except ScopeError as exc:
        raise damaged(line, f"cannot be stored: {exc.reason}") from exc
    return note


def _part(given: dict[str, Any], line: int) -> FilePart:
    start, end = taken(given, "start", int, line), taken(given, "end", int, line)
    told = taken(given, "vector", str, line)
    nothing_left(given, line)
    try:
        raw = base64.b64decode(told, validate=True)
        vector = np.frombuffer(raw, dtype="<f4").astype(np.float32)
    except (ValueError, binascii.Error) as exc:
        raise damaged(line, "has a vector that is not base64 of float32") from exc
    return FilePart(start, end, vector)
