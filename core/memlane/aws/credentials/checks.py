"""What credentials must look like before anything is signed with them, whoever handed them over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from memlane.errors import CredentialsError, ValidationError
from memlane.protocols import Credentials

__all__ = ("check_credentials", "check_key", "check_moment")

_MAX_CHARS: Final = 16_384
_REMEDY: Final = "pass the credentials as the service gave them"


def check_key(value: object, *, name: str) -> str:
    """Return a key or token that can be sent in a header.

    Raises:
        ValidationError: Not text, empty, with blanks or characters of no header, or far too long.
    """
    if not isinstance(value, str) or not value:
        raise ValidationError(f"{name} is not a non-empty string", remedy=_REMEDY)
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValidationError(f"{name} holds a character that no key has", remedy=_REMEDY)
    if len(value) > _MAX_CHARS:
        raise ValidationError(f"{name} has {len(value)} characters", remedy=_REMEDY)
    return value


def check_moment(value: object) -> datetime:
    """Return an aware time in UTC.

    Raises:
        ValidationError: Not a datetime, or one without a zone, or beyond the calendar in UTC.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ValidationError("expires_at is not an aware datetime", remedy=_REMEDY)
    try:
        return value.astimezone(UTC)
    except OverflowError as exc:
        raise ValidationError(
            "expires_at lies beyond the calendar", remedy="pass None for never"
        ) from exc


def check_credentials(value: object) -> Credentials:
    """Return what a provider gave, when requests can be signed with it.

    Raises:
        CredentialsError: It is something else, or a part of it cannot be used.
    """
    if not isinstance(value, Credentials):
        raise CredentialsError(
            f"a credential provider returned {type(value).__name__}, not Credentials",
            remedy="return memlane.protocols.Credentials from it",
        )
    try:
        check_key(value.access_key, name="access_key")
        check_key(value.secret_key, name="secret_key")
        if value.session_token is not None:
            check_key(value.session_token, name="session_token")
        if value.expires_at is not None:
            check_moment(value.expires_at)
    except ValidationError as exc:
        raise CredentialsError(
            f"a credential provider returned what cannot be used: {exc.reason}",
            remedy="check what the provider reads",
        ) from exc
    return value
