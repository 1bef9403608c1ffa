"""Where a page of a local store begins: cursors that stay right while records come and go."""

from __future__ import annotations

from typing import Final

from memlane.errors import InvalidCursorError

__all__ = ("decode_place", "encode_place")

_FORM: Final = "1"  # of a cursor; another number is another program's


def encode_place(owner: int, order: int) -> str:
    """Return the cursor behind the record at `order` among those of `owner`."""
    return f"{_FORM}.{owner}.{order}"


def decode_place(cursor: str | None, *, owner: int) -> int:
    """Return the stored order after which a page begins; 0 at the start.

    A user who was forgotten and came back is another `owner`: all that is there now was stored
    after the cursor was made.

    Raises:
        InvalidCursorError: Not a cursor of these backends.
    """
    if cursor is None:
        return 0
    form, _, rest = cursor.partition(".")
    whose, _, order = rest.partition(".")
    if form != _FORM or not _is_number(whose) or not _is_number(order):
        raise InvalidCursorError(
            "this is not a cursor of a local store",
            operation="scan",
            remedy="start again without a cursor",
        )
    return int(order) if int(whose) == owner else 0


_MAX_DIGITS: Final = 18  # below 2**63, and int() of a hostile text stays cheap


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
