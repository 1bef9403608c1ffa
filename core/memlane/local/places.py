"""Where a page of a local store begins: cursors that stay right while records come and go."""

from __future__ import annotations

import json
from typing import Final, cast

from memlane.errors import InvalidCursorError

__all__ = (
    "decode_member",
    "decode_name",
    "decode_place",
    "encode_member",
    "encode_name",
    "encode_place",
)

_FORM: Final = "1"  # of a cursor; another number is another program's
_NAMES: Final = "users1"
_MEMBERS: Final = "members1"


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
        raise _invalid("scan")
    return int(order) if int(whose) == owner else 0


def encode_name(name: str) -> str:
    """Return the cursor behind a name in a listing of names."""
    return f"{_NAMES}.{name}"


def decode_name(cursor: str | None) -> str:
    """Return the name after which a page begins; "", before all names, at the start.

    Raises:
        InvalidCursorError: Not a cursor of these backends.
    """
    if cursor is None:
        return ""
    form, _, name = cursor.partition(".")
    if form != _NAMES or not name:
        raise _invalid("users")
    return name


def encode_member(user: str, agent: str | None, order: int) -> str:
    """Return the cursor behind a record of anybody of a tenant."""
    return f"{_MEMBERS}.{json.dumps([user, agent or '', order])}"


def decode_member(cursor: str | None) -> tuple[str, str, int]:
    """Return user, agent and stored order after which a page begins, all lowest at the start.

    Raises:
        InvalidCursorError: Not a cursor of these backends.
    """
    if cursor is None:
        return "", "", 0
    form, _, raw = cursor.partition(".")
    try:
        user, agent, order = cast("tuple[object, object, object]", json.loads(raw))
    except (TypeError, ValueError) as exc:
        raise _invalid("pending") from exc
    if (
        form != _MEMBERS
        or type(user) is not str
        or type(agent) is not str
        or type(order) is not int
    ):
        raise _invalid("pending")
    if not 0 <= order < 10**_MAX_DIGITS:
        raise _invalid("pending")
    return user, agent, order


def _invalid(operation: str) -> InvalidCursorError:
    return InvalidCursorError(
        "this is not a cursor of a local store",
        operation=operation,
        remedy="start again without a cursor",
    )


_MAX_DIGITS: Final = 18  # below 2**63, and int() of a hostile text stays cheap


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
