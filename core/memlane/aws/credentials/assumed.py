"""A tenant's credentials are a session of one role, tagged with the tenant: IAM does the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from memlane.aws.credentials.host import HostCredentials
from memlane.aws.sts import MAX_POLICY_CHARS, assume_role, read_assumed_role
from memlane.aws.wire import Reply, Request
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    IsolationError,
    ScopeError,
    ValidationError,
)
from memlane.layout import tenant_code, user_code
from memlane.patterns import lazy
from memlane.protocols import Clock, Credentials
from memlane.runtime import SystemClock
from memlane.scope import Scope

__all__ = ("AssumeRoleCredentials",)

_SHORTEST: Final = timedelta(minutes=15)
_LONGEST: Final = timedelta(hours=12)
_TENANT_TAG: Final = "TenantID"
_USER_TAG: Final = "UserID"
_CLOCKS_APART: Final = timedelta(minutes=5)

_ROLE_ARN = lazy(r"arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}", 256)
_EXTERNAL_ID = lazy(r"[\w+=,.@:/-]{2,1224}", 256)


if TYPE_CHECKING:
    from typing import Protocol

    class SignedCalls(Protocol):
        """What sends a request: the data plane."""

        async def call(self, request: Request, credentials: Credentials | None) -> Reply:
            """Return the answer, or raise what the service said."""
            ...


class AssumeRoleCredentials:
    """Sessions of one role, each with the tenant's code as the session tag `TenantID`.

    The role's policy names indexes by `${aws:PrincipalTag/TenantID}`, so that a session reaches
    its own tenant's only. Sessions are named `memlane-` and the code, which the audit trail shows.

    Args:
        role_arn: The role. Its trust policy must allow the host both sts:AssumeRole and
            sts:TagSession.
        plane: What sends the request.
        host: Who asks for the session.
        per_user: Whether sessions also carry the tag `UserID`, the code of tenant and user.
        external_id: What the trust policy asks for, if it does.
        duration: How long a session lasts: 15 minutes to 12 hours, and at most an hour when the
            host itself runs under an assumed role.
        policy: Makes a session policy for a scope, which takes rights away; see `IndexPolicy`.
        allow_no_tenant: Whether a scope without a tenant gets a session too, with a code of its
            own that no tenant has. Off by default: a forgotten tenant should be noticed.
        clock: Where the time comes from.

    Raises:
        ValidationError: An argument is not what STS takes, or `policy` says that its `per_user`
            is another.
    """

    def __init__(
        self,
        role_arn: str,
        *,
        plane: SignedCalls,
        host: HostCredentials,
        per_user: bool = False,
        external_id: str | None = None,
        duration: timedelta = _SHORTEST,
        policy: Callable[[Scope], str] | None = None,
        allow_no_tenant: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(role_arn, str) or not _ROLE_ARN().fullmatch(role_arn):
            raise ValidationError(
                "role_arn is not the ARN of a role",
                remedy="pass arn:aws:iam::<account>:role/<name>",
            )
        if not _SHORTEST <= duration <= _LONGEST:
            raise ValidationError(
                "duration is not between 15 minutes and 12 hours",
                remedy="pass timedelta(minutes=15)",
            )
        if external_id is not None and not _EXTERNAL_ID().fullmatch(external_id):
            raise ValidationError(
                "external_id holds what STS does not take",
                remedy="pass the id in the trust policy's condition on sts:ExternalId",
            )
        theirs: object = getattr(policy, "per_user", per_user)
        if theirs is not per_user:
            raise ValidationError(
                f"per_user is {per_user}, and {theirs} for the policy",
                remedy="pass the same to both",
            )
        self._role_arn = role_arn
        self._plane = plane
        self._host = host
        self._per_user = per_user
        self._external_id = external_id
        self._duration = duration
        self._policy = policy
        self._allow_no_tenant = allow_no_tenant
        self._clock = SystemClock() if clock is None else clock

    @property
    def per_user(self) -> bool:
        """Whether each user has a session of their own."""
        return self._per_user

    async def __call__(self, scope: Scope) -> Credentials:
        """Begin a session for the scope's tenant and return its credentials.

        Raises:
            ScopeError: The scope names no tenant.
            ValidationError: The session policy is longer than STS takes.
            AccessDeniedError: The host may not begin sessions of the role, or not tagged ones.
            IsolationError: STS answered for another session.
            ServiceError: STS could not be asked, or refused otherwise.
        """
        if scope.tenant is None and not self._allow_no_tenant:
            raise ScopeError(
                "credentials are a tenant's, and the scope names none",
                scope=scope,
                remedy="pass Scope(user, tenant=...)",
            )
        code = tenant_code(scope.tenant)
        tags = {_TENANT_TAG: code}
        if self._per_user:
            tags[_USER_TAG] = user_code(scope.tenant, scope.user)
        session_name = f"memlane-{tags.get(_USER_TAG, code)}"
        request = assume_role(
            self._role_arn,
            session_name=session_name,
            seconds=int(self._duration.total_seconds()),
            tags=tags,
            policy=None if self._policy is None else self._session_policy(self._policy, scope),
            external_id=self._external_id,
        )
        began = self._clock.now()
        name, credentials = read_assumed_role((await self._send(request, scope)).body)
        if name != session_name:
            raise IsolationError(
                "STS answered for another session than the one asked for",
                scope=scope,
                remedy="look for a proxy between this host and STS that mixes up answers",
            )
        # A session lasts exactly as long as was asked for. With a clock that is wrong here, the end
        # that STS names would lie in the past, and each call would begin another session.
        end = began + self._duration
        if credentials.expires_at is None or abs(credentials.expires_at - end) > _CLOCKS_APART:
            return replace(credentials, expires_at=end)
        return credentials

    async def _send(self, request: Request, scope: Scope) -> Reply:
        credentials = self._host.peek() or await self._host.get()
        try:
            return await self._call(request, credentials, scope)
        except CredentialsError:
            self._host.reject(credentials)
        return await self._call(request, await self._host.get(), scope)

    async def _call(self, request: Request, credentials: Credentials, scope: Scope) -> Reply:
        try:
            return await self._plane.call(request, credentials)
        except AccessDeniedError as error:
            error.scope = scope
            if error.code == "AccessDenied":
                error.remedy = (
                    "let the role's trust policy allow this host both sts:AssumeRole and "
                    f"sts:TagSession with the tag {_TENANT_TAG}; the error's detail names the role"
                )
                # Not in the text: that is what a failing tool shows a model.
                if self._role_arn not in (error.detail or ""):
                    error.detail = f"{error.detail or 'denied'}; role: {self._role_arn}"
            raise

    def _session_policy(self, make: Callable[[Scope], str], scope: Scope) -> str:
        policy = make(scope)
        if len(policy) > MAX_POLICY_CHARS:
            raise ValidationError(
                f"the session policy has {len(policy)} characters; STS takes {MAX_POLICY_CHARS}",
                scope=scope,
                remedy="leave out blanks, or name fewer actions and resources",
            )
        return policy
