"""What ranking needs of a part, as one short string beside it: no text is read to rank a hundred.

The string is base64 of a little-endian head, a sketch of the part's vector, and the hashes of its
terms. Sketch and terms are left out where they would weigh more than the service allows; terms are
then made again from the text. What was stored before there were sketches has none.
"""

from __future__ import annotations

import binascii
import struct
from typing import Final, NamedTuple

import numpy as np

from memlane.errors import BackendError
from memlane.protocols import Terms

__all__ = (
    "HEAD_CHARS",
    "Row",
    "is_kept",
    "pack",
    "packed_chars",
    "sketch_in",
    "unpack",
    "unpacked",
)

_HEAD: Final = struct.Struct("<QIIHH")
_LEFT_OUT: Final = 1
_KEPT: Final = 2
_SKETCH_SHIFT: Final = 8  # the sketch's bytes, in the upper half of the flags
_TERM_BYTES: Final = 4


class Row(NamedTuple):
    """One part of a record.

    Args:
        first: Microseconds from `layout.EPOCH` to when the record was first stored.
        start: First character of the part in the record's text.
        end: One past its last character.
        parts: How many the record has.
        terms: uint32 hashes, little-endian; None where they were left out.
    """

    first: int
    start: int
    end: int
    parts: int
    terms: bytes | None


def packed_chars(terms: int, *, sketch: int = 0) -> int:
    """Return the length of a packed row with so many terms, and bytes of a sketch."""
    return (_HEAD.size + sketch + _TERM_BYTES * terms + 2) // 3 * 4


HEAD_CHARS: Final = packed_chars(0)


def pack(
    first: int,
    start: int,
    end: int,
    parts: int,
    terms: Terms | None,
    *,
    sketch: bytes = b"",
    kept: bool = False,
) -> str:
    """Return the row as it is stored.

    Args:
        first: As in `Row`, like those that follow.
        start: First character.
        end: One past the last.
        parts: Of the record.
        terms: The part's; None leaves them out.
        sketch: Of the part's vector; at most 255 bytes.
        kept: A copy of this version lies beside it.
    """
    flags = len(sketch) << _SKETCH_SHIFT
    if terms is None:
        flags |= _LEFT_OUT
    if kept:
        flags |= _KEPT
    head = _HEAD.pack(first, start, end, parts, flags)
    body = b"" if terms is None else np.ascontiguousarray(terms, dtype="<u4").tobytes()
    return binascii.b2a_base64(head + sketch + body, newline=False).decode()


def unpack(text: object) -> Row:
    """Return what `pack` made.

    Raises:
        BackendError: It is damaged.
    """
    return Row(*unpacked(text))


def unpacked(text: object) -> tuple[int, int, int, int, bytes | None]:
    """Return the fields of `Row` alone: to name them takes as long as all else here.

    Raises:
        BackendError: It is damaged.
    """
    try:
        raw = binascii.a2b_base64(text)  # type: ignore[arg-type] # what is no text is damage too
        first, start, end, parts, flags = _HEAD.unpack_from(raw)
    except (TypeError, ValueError, struct.error) as exc:
        raise _damaged() from exc
    at = _HEAD.size + (flags >> _SKETCH_SHIFT)
    if len(raw) < at or (len(raw) - at) % _TERM_BYTES:
        raise _damaged()
    return first, start, end, parts, None if flags & _LEFT_OUT else raw[at:]


def sketch_in(text: object) -> bytes:
    """Return the sketch in what `pack` made; empty where there is none.

    Raises:
        BackendError: It is damaged.
    """
    raw, flags = _opened(text)
    return raw[_HEAD.size : _HEAD.size + (flags >> _SKETCH_SHIFT)]


def is_kept(text: object) -> bool:
    """Say whether a copy of the version that a row is of lies beside it.

    Raises:
        BackendError: It is damaged.
    """
    return bool(_opened(text)[1] & _KEPT)


def _opened(text: object) -> tuple[bytes, int]:
    try:
        raw = binascii.a2b_base64(text)  # type: ignore[arg-type] # what is no text is damage too
        flags: int = _HEAD.unpack_from(raw)[-1]
    except (TypeError, ValueError, struct.error) as exc:
        raise _damaged() from exc
    return raw, flags


def _damaged() -> BackendError:
    return BackendError(
        "a stored record's row is damaged", remedy="restore it from a backup or delete it"
    )
