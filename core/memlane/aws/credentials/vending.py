"""What a token vending machine answers, and what of it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

from memlane.aws._extra import orjson
from memlane.aws.credentials.checks import check_key, check_moment
from memlane.errors import CredentialsError, IsolationError, ValidationError
from memlane.layout import tenant_code, user_code
from memlane.protocols import Credentials
from memlane.scope import Scope

__all__ = ("question", "read_answer")

_Names: TypeAlias = tuple[str, ...]

_ACCESS_KEY: Final = ("accessKeyId", "AccessKeyId")
_SECRET_KEY: Final = ("secretAccessKey", "SecretAccessKey")
_TOKEN: Final = ("sessionToken", "SessionToken", "Token")
_END: Final = ("expiration", "Expiration")
_TENANT: Final[_Names] = ("tenantId", "TenantId", "TenantID")
_TENANT_CODE: Final[_Names] = ("tenantCode", "TenantCode")
_USER: Final[_Names] = ("userId", "UserId", "UserID")
_USER_CODE: Final[_Names] = ("userCode", "UserCode")


def question(scope: Scope, *, per_user: bool) -> dict[str, str]:
    """Return whose credentials are asked for, by id and by the code that a session is tagged with.

    A machine should go by the bearer's verified claims and use this as a cross-check.
    """
    asked = {"tenantCode": tenant_code(scope.tenant)}
    if scope.tenant is not None:
        asked["tenantId"] = scope.tenant
    if per_user:
        asked |= {"userId": scope.user, "userCode": user_code(scope.tenant, scope.user)}
    return asked


def read_answer(body: bytes, *, scope: Scope, per_user: bool, trust_unnamed: bool) -> Credentials:
    """Return the credentials in an answer, when it is about `scope`.

    Args:
        body: JSON: the names of STS in either spelling, at the top or under "credentials".
        scope: Who was asked for.
        per_user: Whether the answer is one user's.
        trust_unnamed: Believe an answer that does not say whose it is.

    Raises:
        IsolationError: It is another's, or does not say whose it is.
        CredentialsError: It is not such an answer, or incomplete. The text quotes none of it.
    """
    try:
        outer = _mapping(_decoded(body))
        inner = _mapping(_first(outer, ("credentials", "Credentials"), default=outer))
        _check_whose((outer, inner), scope, per_user=per_user, trust_unnamed=trust_unnamed)
        return Credentials(
            access_key=check_key(_first(inner, _ACCESS_KEY), name="accessKeyId"),
            secret_key=check_key(_first(inner, _SECRET_KEY), name="secretAccessKey"),
            session_token=check_key(_first(inner, _TOKEN), name="sessionToken"),
            expires_at=_moment(_first(inner, _END)),
        )
    except ValidationError as exc:
        raise CredentialsError(
            f"the answer of the token vending machine cannot be used: {exc.reason}",
            service="tvm",
            scope=scope,
            remedy="let it answer with accessKeyId, secretAccessKey, sessionToken, expiration and "
            "tenantId",
        ) from exc


def _decoded(body: bytes) -> object:
    # The parser's own error holds the whole text, keys included: it goes no further than here.
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(body)
    raise ValidationError("it is not JSON")


def _check_whose(
    places: tuple[Mapping[str, object], ...],
    scope: Scope,
    *,
    per_user: bool,
    trust_unnamed: bool,
) -> None:
    wanted: list[tuple[tuple[_Names, str | None], tuple[_Names, str]]] = [
        ((_TENANT, scope.tenant), (_TENANT_CODE, tenant_code(scope.tenant)))
    ]
    if per_user:
        wanted.append(((_USER, scope.user), (_USER_CODE, user_code(scope.tenant, scope.user))))
    for ways in wanted:
        said = [
            (place[name], value)
            for names, value in ways
            for name in names
            for place in places
            if name in place
        ]
        # All of what is said, wherever it stands: one name that is right excuses no other.
        if any(theirs != ours for theirs, ours in said):
            raise IsolationError(
                "the token vending machine answered with another's credentials",
                scope=scope,
                remedy="check which claim of the bearer it takes the tenant from",
            )
        if said or trust_unnamed:
            continue
        raise IsolationError(
            "the token vending machine did not say whose credentials it sent",
            scope=scope,
            remedy="let it answer with tenantId (and userId), or pass trust_unnamed=True",
        )


def _first(answer: Mapping[str, Any], names: _Names, *, default: object = None) -> object:
    return next((answer[name] for name in names if name in answer), default)


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValidationError("it is not a JSON object")
    return cast("dict[str, object]", value)


def _moment(value: object) -> datetime:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            return check_moment(datetime.fromisoformat(value))
    except (ValueError, OverflowError, OSError) as exc:
        raise ValidationError("expiration is not a time with a zone") from exc
    raise ValidationError("expiration is missing")
