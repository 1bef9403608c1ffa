"""AssumeRole as text: the form that is sent and the XML that comes back.

Read without an XML parser: the answer has five flat elements, and what is never parsed cannot
expand an entity or fetch a DTD.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from memlane.aws.wire import Request
from memlane.errors import CredentialsError
from memlane.patterns import lazy
from memlane.protocols import Credentials

__all__ = ("MAX_POLICY_CHARS", "assume_role", "read_assumed_role")

MAX_POLICY_CHARS: Final = 2_048
"""Longest session policy that STS takes, in characters as sent."""

_VERSION: Final = "2011-06-15"
_MAX_BYTES: Final = 65_536
_ENTITIES: Final = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}

_ROOT = lazy(r"\s*(?:<\?xml[^<>]*\?>\s*)?<AssumeRoleResponse[\s>].*</AssumeRoleResponse>\s*", 16)
_LEAF = lazy(r"<([A-Za-z]+)>([^<>]*)</\1>")
_ENTITY = lazy(r"&[^;]*;?")


def assume_role(
    role_arn: str,
    *,
    session_name: str,
    seconds: int,
    tags: Mapping[str, str],
    policy: str | None = None,
    external_id: str | None = None,
) -> Request:
    """Return the request for a session of a role, not signed yet.

    Args:
        role_arn: The role.
        session_name: What the session is called in the role's audit trail.
        seconds: How long it lasts.
        tags: Session tags, which the role's policies may refer to.
        policy: A session policy, which can only take rights away.
        external_id: What the role's trust policy asks for, if it does.
    """
    form = {
        "Action": "AssumeRole",
        "Version": _VERSION,
        "RoleArn": role_arn,
        "RoleSessionName": session_name,
        "DurationSeconds": str(seconds),
    }
    for number, (key, value) in enumerate(tags.items(), start=1):
        form[f"Tags.member.{number}.Key"] = key
        form[f"Tags.member.{number}.Value"] = value
    if policy is not None:
        form["Policy"] = policy
    if external_id is not None:
        form["ExternalId"] = external_id
    return Request(
        service="sts",
        operation="AssumeRole",
        path="/",
        body=urlencode(form).encode(),
        content_type="application/x-www-form-urlencoded; charset=utf-8",
    )


def read_assumed_role(body: bytes) -> tuple[str, Credentials]:
    """Return the name of the session that AssumeRole answered with, and its credentials.

    Raises:
        CredentialsError: It is no such answer, or incomplete. The text quotes none of it.
    """
    # No declaration but the first line: neither a DTD nor a comment can hide a second value.
    if len(body) > _MAX_BYTES or b"<!" in body:
        raise _unreadable("too long or not plain XML")
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise _unreadable("not UTF-8") from exc
    if not _ROOT().fullmatch(text):
        raise _unreadable("not the XML of AssumeRole")
    values: dict[str, str] = {}
    for name, value in _LEAF().findall(text):
        if name in values:
            raise _unreadable(f"{name} occurs twice")
        values[name] = _unescaped(value.strip())
    try:
        credentials = Credentials(
            access_key=_present(values, "AccessKeyId"),
            secret_key=_present(values, "SecretAccessKey"),
            session_token=_present(values, "SessionToken"),
            expires_at=_moment(_present(values, "Expiration")),
        )
        return _present(values, "Arn").rpartition("/")[2], credentials
    except (ValueError, OverflowError) as exc:
        raise _unreadable("Expiration is not a time") from exc


def _present(values: Mapping[str, str], name: str) -> str:
    value = values.get(name)
    # They become header values: a line break in one would be a header of its own.
    if not value or not value.isascii() or not value.isprintable():
        raise _unreadable(f"{name} is missing or holds what it may not")
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.astimezone(UTC)


def _unescaped(text: str) -> str:
    return _ENTITY().sub(lambda found: _ENTITIES.get(found[0], "\0"), text) if "&" in text else text


def _unreadable(what: str) -> CredentialsError:
    return CredentialsError(
        f"the answer of AssumeRole cannot be read: {what}",
        service="sts",
        wire_operation="AssumeRole",
        remedy="check that the STS endpoint is one, and that no proxy answers in its place",
    )
