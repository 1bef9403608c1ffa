"""What ranking needs of a part, as one short string beside it: no text is read to rank a hundred.

The string is base64 of a little-endian head and the hashes of the part's terms. Terms are left out
where they would weigh more than the service allows; they are then made again from the text.
"""

from __future__ import annotations

import binascii
import struct
from typing import Final, NamedTuple

import numpy as np

from memlane.errors import BackendError
from memlane.protocols import Terms

__all__ = ("HEAD_CHARS", "Row", "pack", "packed_chars", "unpack")

_HEAD: Final = struct.Struct("<QIIHH")
_LEFT_OUT: Final = 1
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


def packed_chars(terms: int) -> int:
    """Return the length of a packed row with so many terms."""
    return (_HEAD.size + _TERM_BYTES * terms + 2) // 3 * 4


HEAD_CHARS: Final = packed_chars(0)


def pack(first: int, start: int, end: int, parts: int, terms: Terms | None) -> str:
    """Return the row as it is stored.

    Args:
        first: As in `Row`, like those that follow.
        start: First character.
        end: One past the last.
        parts: Of the record.
        terms: The part's; None leaves them out.
    """
    head = _HEAD.pack(first, start, end, parts, _LEFT_OUT if terms is None else 0)
    body = b"" if terms is None else np.ascontiguousarray(terms, dtype="<u4").tobytes()
    return binascii.b2a_base64(head + body, newline=False).decode()


def unpack(text: object) -> Row:
    """Return what `pack` made.

    Raises:
        BackendError: It is damaged.
    """
    try:
        raw = binascii.a2b_base64(text)  # type: ignore[arg-type] # what is no text is damage too
        first, start, end, parts, flags = _HEAD.unpack_from(raw)
    except (TypeError, ValueError, struct.error) as exc:
        raise _damaged() from exc
    if (len(raw) - _HEAD.size) % _TERM_BYTES:
        raise _damaged()
    return Row(first, start, end, parts, None if flags & _LEFT_OUT else raw[_HEAD.size :])


def _damaged() -> BackendError:
    return BackendError(
        "a stored record's row is damaged", remedy="restore it from a backup or delete it"
    )
