"""The lines of an export, each an object of JSON in ASCII, whose first key says what it is."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, cast

from memlane.filters import Filter
from memlane.protocols import RecordPart
from memlane.types import ImageNote, MemoryRecord

__all__ = (
    "FORMAT",
    "MAX_LINE_BYTES",
    "MAX_PAGE_BYTES",
    "NAME",
    "PAGE_BYTES",
    "PAGE_RECORDS",
    "Checksum",
    "end_line",
    "header_line",
    "page_line",
    "record_line",
)

NAME: Final = "export"
"""What the first line says after "memlane"."""

FORMAT: Final = 1
"""Of the lines; a later one is refused, not half understood."""

PAGE_RECORDS: Final = 500
"""Records of a page at most."""

PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page ends before the record that would take it beyond, unless it is the only one."""

MAX_LINE_BYTES: Final = 32 * 1024 * 1024
"""A record of 32 KiB, all escaped, with 100 versions of as much and the vectors of its windows."""

MAX_PAGE_BYTES: Final = PAGE_BYTES + MAX_LINE_BYTES
"""What is kept in memory until its checksum is known to be right."""


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise TypeError(f"{type(value).__name__} is not JSON")


# In ASCII a line survives every encoding, and has no other character that ends a line. An encoder
# made once: `json.dumps` would make one for each record.
_encoded: Final = json.JSONEncoder(
    separators=(",", ":"), default=_plain, allow_nan=False, check_circular=False
).encode


class Checksum:
    """The SHA-256 of lines, each with one line feed behind it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, lines: Iterable[str]) -> None:
        """Count lines in, with their line feeds."""
        self._hash.update("".join(lines).encode())

    @property
    def told(self) -> str:
        """What it is so far, as 64 hexadecimal digits."""
        return self._hash.hexdigest()


def header_line(*, space: str, namespace: str, condition: Filter | None, vectors: bool) -> str:
    """Return the first line: what this is, and what of a scope was asked for."""
    told = {
        "memlane": NAME,
        "format": FORMAT,
        "space": space,
        "namespace": namespace,
        "filter": None if condition is None else condition.to_json(),
        "vectors": vectors,
    }
    return f"{_encoded(told)}\n"


def page_line(*, number: int, records: int, sha256: str, after: str) -> str:
    """Return the line behind a page: how to tell that it is whole, and where the next begins."""
    return f"{_encoded({'page': number, 'records': records, 'sha256': sha256, 'after': after})}\n"


def end_line(*, pages: int, records: int) -> str:
    """Return the last line: how much there was."""
    return f"{_encoded({'end': True, 'pages': pages, 'records': records})}\n"


def record_line(
    record: MemoryRecord,
    *,
    versions: Sequence[MemoryRecord] = (),
    parts: Sequence[RecordPart] = (),
) -> str:
    """Return the line of a record.

    Args:
        record: The record.
        versions: What it was, the newest first.
        parts: Its vectors; none to leave them out.
    """
    # Put together by hand, which takes a third of the time that encoding a dictionary takes.
    scope = record.scope
    whose = f'"id":{_quoted(record.id)},'
    if scope.agent is not None:
        whose += f'"agent":{_quoted(scope.agent)},'
    if scope.session is not None:
        whose += f'"session":{_quoted(scope.session)},'
    line = f'{{"record":{{{whose}{_fields(record)}}}'
    if versions:
        line += f',"versions":[{",".join(f"{{{_fields(version)}}}" for version in versions)}]'
    if parts:
        line += f',"parts":{_encoded([_part(part) for part in parts])}'
    return line + "}\n"


def _fields(record: MemoryRecord) -> str:
    """Return what a version says, without braces; what is nothing is left out."""
    stored = record.stored_at.isoformat()
    # Mostly one and the same, and telling a time takes as long as quoting a text.
    occurred = stored if record.occurred_at == record.stored_at else _told(record.occurred_at)
    updated = stored if record.updated_at == record.stored_at else _told(record.updated_at)
    told = (
        f'"version":{record.version},"text":{_quoted(record.text)},'
        f'"namespace":{_quoted(record.namespace)},"kind":{_quoted(record.kind)},'
        f'"source":{_quoted(record.source)},"occurred_at":"{occurred}","stored_at":"{stored}",'
        f'"updated_at":"{updated}","space":{_quoted(record.space)}'
    )
    if record.metadata:
        told += f',"metadata":{_encoded(dict(record.metadata))}'
    if record.tags:
        told += f',"tags":{_encoded(record.tags)}'
    if record.actor is not None:
        told += f',"actor":{_quoted(record.actor)}'
    for name, moment in (
        ("expires_at", record.expires_at),
        ("valid_from", record.valid_from),
        ("valid_to", record.valid_to),
    ):
        if moment is not None:
            told += f',"{name}":"{_told(moment)}"'
    if record.images:
        told += f',"images":{_encoded([_image(note) for note in record.images])}'
    return told


def _told(moment: datetime) -> str:
    return moment.isoformat()


def _image(note: ImageNote) -> dict[str, Any]:
    told: dict[str, Any] = {
        "sha256": note.sha256,
        "media_type": note.media_type,
        "size": note.size,
        "embedded": note.embedded,
    }
    return told if note.name is None else told | {"name": note.name}


def _part(part: RecordPart) -> dict[str, object]:
    raw = part.vector.astype("<f4").tobytes()
    return {
        "start": int(part.start),
        "end": int(part.end),
        "vector": base64.b64encode(raw).decode(),
    }
