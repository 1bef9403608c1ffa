"""Cursors a caller may keep: bound to the scope and query they came from, and to nothing edited."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from memlane.errors import InvalidCursorError
from memlane.filters import Filter
from memlane.scope import Scope

__all__ = ("decode_cursor", "encode_cursor")

_CHECK_CHARS = 16
_MAX_CHARS = 4_096  # a key of S3 Vectors, encoded twice, and what an export knows besides
_REMEDY = "start again without a cursor, or pass it with the scope, namespace and filter it is of"


def _check(place: str, scope: Scope, namespace: str, condition: Filter | None, use: str) -> str:
    # Not a secret: the reach of each call keeps records apart. This tells an edited cursor, or one
    # of another listing, from a right one before it can skip or repeat records.
    bound = [
        place,
        scope.tenant,
        scope.user,
        scope.agent,
        scope.session,
        namespace,
        None if condition is None else condition.to_json(),
        *([use] if use else []),
    ]
    raw = json.dumps(bound, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest()[:_CHECK_CHARS]


def encode_cursor(
    place: str | None, *, scope: Scope, namespace: str, condition: Filter | None, use: str = ""
) -> str | None:
    """Return the public form of a backend's cursor.

    Args:
        place: The backend's own cursor; None is the end.
        scope: Whose listing it is of.
        namespace: The subtree listed.
        condition: The condition on what is listed.
        use: What lists, so that no call goes on with another's cursor; "" is `list`.
    """
    if place is None:
        return None
    raw = f"1{_check(place, scope, namespace, condition, use)}{place}".encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(
    cursor: object, *, scope: Scope, namespace: str, condition: Filter | None, use: str = ""
) -> str | None:
    """Return the backend's own cursor.

    Raises:
        InvalidCursorError: Not a cursor, an edited one, or one of another listing.
    """
    if cursor is None:
        return None
    try:
        if not isinstance(cursor, str):
            raise TypeError("not a string")  # noqa: TRY301 - one place says what is wrong
        if len(cursor) > _MAX_CHARS:
            raise ValueError("too long")  # noqa: TRY301 - as above
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        text = raw.decode()
    except (TypeError, ValueError, binascii.Error) as exc:
        raise InvalidCursorError("this is not a cursor", scope=scope, remedy=_REMEDY) from exc
    place = text[1 + _CHECK_CHARS :]
    # Compared as a whole: several texts decode to the same bytes.
    right = encode_cursor(place, scope=scope, namespace=namespace, condition=condition, use=use)
    if cursor != right:
        raise InvalidCursorError(
            "this cursor is of another listing, or was edited", scope=scope, remedy=_REMEDY
        )
    return place
