"""Conversations in files: JSONL and transcripts, read line by line.

JSONL is one object per line, with `text` and, as needed, `tenant`, `user`, `agent`, `session`,
`actor`, `role`, `occurred_at`, `namespace`, `kind`, `metadata`, `tags`, `id`. A transcript is lines
of `Name: text`, each with a `[time]` before it or not; a line that begins with a blank or names
nobody continues the message above it. Nothing here opens a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, TypeAlias, cast

from memlane import MemlaneError, MetadataValue

__all__ = (
    "MAX_LINE_BYTES",
    "Entry",
    "Form",
    "Lines",
    "TranscriptError",
    "decoded",
    "detect",
    "parse_moment",
    "read",
)

Form = Literal["jsonl", "transcript"]
Lines: TypeAlias = Iterable[tuple[int, str]]
"""Numbered lines of text, counted from 1."""

MAX_LINE_BYTES = 1_000_000
"""A record holds 32 KiB; a line this long is another kind of file."""

_BOTH_FORMS = 'use one JSON object with "text" per line, or lines of "Name: text"'
_TEXT_KEYS = (
    "text",
    "tenant",
    "user",
    "agent",
    "session",
    "actor",
    "role",
    "namespace",
    "kind",
    "id",
)
_KEYS = (*_TEXT_KEYS, "occurred_at", "metadata", "tags")
# A name is up to 48 characters that begin with a letter; a web address or a time of day is none.
_SPOKEN = re.compile(
    r"(?:\[(?P<when>\d[^\]]*)\][ \t]*)?"
    r"(?P<who>[^\W\d_][\w .,'\u2019()@&/+-]{0,47}):(?:[ \t]+(?P<said>.*)|$)"
)


class TranscriptError(MemlaneError, ValueError):
    """A line of a file cannot be read; nothing of the file was stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message or record of a file.

    Args:
        line: The line it begins at.
        text: What was said.
        tenant: Whose customer the user is, if the line says.
        user: Whose memory it is, if the line says.
        agent: The agent it is kept for, if the line says.
        session: The conversation, if the line says.
        actor: Who said it; the role where nobody is named.
        role: "user", "assistant" and the like.
        occurred_at: When, aware.
        namespace: Where to put it.
        kind: What sort of thing it is.
        metadata: JSON of the caller's own.
        tags: Labels.
        id: An id of the caller's own.
    """

    line: int
    text: str
    tenant: str | None = None
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    actor: str | None = None
    role: str | None = None
    occurred_at: datetime | None = None
    namespace: str | None = None
    kind: str | None = None
    metadata: Mapping[str, MetadataValue] | None = None
    tags: tuple[str, ...] = ()
    id: str | None = None


def _refuse(line: int, reason: str, remedy: str) -> NoReturn:
    raise TranscriptError(f"line {line}: {reason}", remedy=remedy)


def decoded(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Yield numbered lines of text without their ends.

    Raises:
        TranscriptError: A line is not UTF-8 text, or too long to be a message.
    """
    for number, raw in enumerate(lines, start=1):
        if len(raw) > MAX_LINE_BYTES:
            _refuse(number, f"longer than {MAX_LINE_BYTES:,} bytes", _BOTH_FORMS)
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            _refuse(number, "not UTF-8 text", _BOTH_FORMS)
        yield number, text.rstrip("\r\n")


def detect(lines: Lines) -> Form:
    """Return the form of a file, told by its first line that is not blank.

    Raises:
        TranscriptError: It is of neither form, or there is no such line.
    """
    for number, text in lines:
        if not text.strip():
            continue
        if text.lstrip().startswith("{"):
            return "jsonl"
        if _SPOKEN.match(text):
            return "transcript"
        if text.lstrip().startswith("[{") or text.strip() == "[":
            _refuse(number, "a JSON array, not JSONL", _BOTH_FORMS)
        _refuse(number, "neither JSONL nor a transcript", _BOTH_FORMS)
    raise TranscriptError("the file is empty", remedy=_BOTH_FORMS)


def read(lines: Lines, form: Form) -> Iterator[Entry]:
    """Yield the messages of a file in order.

    Raises:
        TranscriptError: A line is not of this form; the reason begins with its number.
    """
    return _read_jsonl(lines) if form == "jsonl" else _read_transcript(lines)


def parse_moment(text: str) -> datetime:
    """Return the moment an ISO 8601 text names; without a zone it is UTC.

    Raises:
        ValueError: It is not ISO 8601.
    """
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _moment(line: int, text: str) -> datetime:
    try:
        return parse_moment(text)
    except ValueError:
        _refuse(line, f"{text[:40]!r} is not a time", "write it as 2026-03-14T09:30:00Z")


def _read_transcript(lines: Lines) -> Iterator[Entry]:
    current: Entry | None = None
    more: list[str] = []

    def finished(entry: Entry) -> Entry:
        text = "\n".join([entry.text, *more]).strip()
        if not text:
            _refuse(entry.line, f"{entry.actor} says nothing", "add the text, or remove the line")
        return replace(entry, text=text)

    for number, text in lines:
        spoken = _SPOKEN.match(text)
        if spoken is None:
            if current is not None:
                more.append(text.strip())
            elif text.strip():
                _refuse(number, "names nobody", _BOTH_FORMS)
            continue
        if current is not None:
            yield finished(current)
        when = spoken["when"]
        current = Entry(
            line=number,
            text=spoken["said"] or "",
            actor=spoken["who"].strip(),
            occurred_at=None if when is None else _moment(number, when),
        )
        more.clear()
    if current is not None:
        yield finished(current)


def _read_jsonl(lines: Lines) -> Iterator[Entry]:
    for number, text in lines:
        if text.strip():
            yield _entry(number, _object(number, text))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _object(line: int, text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        _refuse(line, "not a JSON object", 'write {"text": "..."} on one line')
    return cast("dict[str, Any]", value)


def _entry(line: int, given: dict[str, Any]) -> Entry:
    if "content" in given and "text" not in given:
        given["text"] = given.pop("content")  # the word model APIs use
    for key in given:
        if key not in _KEYS:
            _refuse(line, f"unknown key {key[:40]!r}", f"use {', '.join(_KEYS)}")
    fields = {key: value for key, value in given.items() if value is not None}
    for key in _TEXT_KEYS:
        if key in fields and not isinstance(fields[key], str):
            _refuse(line, f"{key!r} is not a string", "put it between quotes")
    if not fields.get("text", "").strip():
        _refuse(line, 'no "text"', 'write {"text": "..."}')
    metadata, tags, when = (fields.get(key) for key in ("metadata", "tags", "occurred_at"))
    if metadata is not None and not isinstance(metadata, dict):
        _refuse(line, "'metadata' is not an object", 'write {"metadata": {"key": "value"}}')
    if tags is not None and not _are_texts(tags):
        _refuse(line, "'tags' is not a list of strings", 'write {"tags": ["travel"]}')
    if when is not None and not isinstance(when, str):
        _refuse(line, "'occurred_at' is not a string", "write it as 2026-03-14T09:30:00Z")
    return Entry(
        line=line,
        occurred_at=None if when is None else _moment(line, when),
        metadata=cast("dict[str, MetadataValue] | None", metadata),
        tags=tuple(tags or ()),
        **{key: fields[key] for key in _TEXT_KEYS if key in fields and key != "actor"},
        actor=fields.get("actor", fields.get("role")),
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, str) for item in cast("list[object]", value)
    )
