"""STS: AssumeRole and GetCallerIdentity, over the query protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol
from xml.sax.saxutils import escape

from memlane.testing.emulator.failure import AwsError, rendered
from memlane.testing.emulator.identity import Caller, Identity, Role, Session
from memlane.testing.emulator.policies import context_of, effect
from memlane.testing.emulator.policy_documents import Policy
from memlane.testing.emulator.sts_requests import Assumption, read_assumption

__all__ = ("StsSwitches", "answer")

_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
_VERSION: Final = "2011-06-15"
_CHAINED: Final = 3_600


class StsSwitches(Protocol):
    """What STS reads of the emulator's switches."""

    @property
    def tag_session_needs_identity(self) -> bool:
        """Whether the caller's own policies must allow sts:TagSession in one account too [?]."""
        ...


def answer(
    form: Mapping[str, str],
    caller: Caller,
    identity: Identity,
    now: float,
    switches: StsSwitches,
    *,
    request_id: str = "00000000-0000-4000-8000-000000000000",
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and XML of one call; refusals are answers too.

    Args:
        form: The decoded form of the body.
        caller: Who signed.
        identity: The account's.
        now: The emulator's clock, in seconds since 1970.
        switches: The emulator's.
        request_id: For the answer.
    """
    action = form.get("Action", "")
    try:
        result = _result(form, caller, identity, now, switches)
    except AwsError as error:
        return rendered(error, "sts", request_id)
    body = (
        f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{escape(request_id)}</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    )
    return 200, {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}, body.encode()


def _result(
    form: Mapping[str, str],
    caller: Caller,
    identity: Identity,
    now: float,
    switches: StsSwitches,
) -> str:
    action, version = form.get("Action"), form.get("Version")
    if version == _VERSION and action == "GetCallerIdentity":
        return _who(caller)
    if version == _VERSION and action == "AssumeRole":
        return _assumed(read_assumption(form), caller, identity, now, switches)
    message = f"Could not find operation {action} for version {version}"
    raise AwsError("InvalidAction", 400, message)


def _element(name: str, text: object) -> str:
    return f"<{name}>{escape(str(text))}</{name}>"


def _who(caller: Caller) -> str:
    # Nobody needs a permission to ask who they are [D].
    return (
        _element("Arn", caller.arn)
        + _element("UserId", caller.unique_id)
        + _element("Account", caller.account)
    )


def _assumed(
    asked: Assumption,
    caller: Caller,
    identity: Identity,
    now: float,
    switches: StsSwitches,
) -> str:
    role = identity.roles.get(asked.role_arn)
    # A role that does not exist is refused as one that may not be assumed [K].
    refusal = _not_authorized(caller, "sts:AssumeRole", asked.role_arn)
    if role is None:
        raise refusal
    context = _context(asked, caller, identity, now)
    actions = ["sts:AssumeRole"]
    tags, inherited = _tags(asked, caller)
    if tags or asked.transitive:
        actions.append("sts:TagSession")
    for action in actions:
        required = action == "sts:AssumeRole" or switches.tag_session_needs_identity
        if not _may(caller, role, action, context, required=required):
            raise _not_authorized(caller, action, role.arn)
    _check_duration(asked, role, caller)
    policies = _session_policies(asked, identity)
    packed = asked.packed_percent(identity.packed_bytes)
    session = identity.open_session(
        role,
        asked.session_name,
        expires_at=float(int(now) + asked.duration),
        tags=tags,
        transitive={*asked.transitive, *inherited},
        policies=policies,
    )
    return _credentials(session, role, packed, asked)


def _not_authorized(caller: Caller, action: str, arn: str) -> AwsError:
    return AwsError(
        "AccessDenied",
        403,
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {arn}",
    )


def _context(
    asked: Assumption, caller: Caller, identity: Identity, now: float
) -> Mapping[str, tuple[str, ...]]:
    known: dict[str, str | list[str]] = {
        "sts:RoleSessionName": asked.session_name,
        **{f"aws:RequestTag/{key}": value for key, value in asked.tags.items()},
    }
    if asked.tags:
        known["aws:TagKeys"] = list(asked.tags)
    if asked.transitive:
        known["sts:TransitiveTagKeys"] = list(asked.transitive)
    if asked.external_id is not None:
        known["sts:ExternalId"] = asked.external_id
    if asked.source_identity is not None:
        known["sts:SourceIdentity"] = asked.source_identity
    return context_of(caller, known, region=identity.region, now=now)


def _tags(asked: Assumption, caller: Caller) -> tuple[dict[str, str], frozenset[str]]:
    """Return the session's tags and which of them it inherits: those its caller passes on."""
    kept = {key.casefold() for key in caller.transitive}
    for key in asked.tags:
        if key.casefold() in kept:
            raise AwsError(
                "InvalidParameterValue",
                400,
                "One of the specified transitive tag keys can't be set because it conflicts with a "
                "transitive tag key from the calling session.",
            )
    inherited = {key: value for key, value in caller.tags.items() if key.casefold() in kept}
    return inherited | dict(asked.tags), frozenset(inherited)


def _may(
    caller: Caller,
    role: Role,
    action: str,
    context: Mapping[str, tuple[str, ...]],
    *,
    required: bool,
) -> bool:
    """Say whether a caller of the role's own account may do it to the role.

    A trust policy that names the caller is enough; one that names the account leaves it to the
    caller's own policies [D]. Whether those must allow sts:TagSession too is a switch.
    """
    by_identity = effect(caller.policies, action, role.arn, context)
    by_session: str | None = "Allow"
    if caller.session_policies is not None:
        by_session = effect(caller.session_policies, action, role.arn, context)
    trusted = effect([role.trust], action, None, context, caller=caller)
    if trusted != "Allow" or "Deny" in {by_identity, by_session} or by_session != "Allow":
        return False
    named = effect([role.trust], action, None, context, caller=caller, by_name=True) == "Allow"
    return named or by_identity == "Allow" or not required


def _check_duration(asked: Assumption, role: Role, caller: Caller) -> None:
    if caller.kind == "AssumedRole" and asked.duration > _CHAINED:
        raise AwsError(
            "ValidationError",
            400,
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining",
        )
    if asked.duration > role.max_session:
        raise AwsError(
            "ValidationError",
            400,
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )


def _session_policies(asked: Assumption, identity: Identity) -> tuple[Policy, ...] | None:
    policies = [] if asked.policy is None else [asked.policy]
    for arn in asked.policy_arns:
        managed = identity.managed.get(arn)
        if managed is None:
            raise AwsError("InvalidParameterValue", 400, f"Policy {arn} does not exist")
        policies.append(managed)
    return tuple(policies) or None


def _credentials(session: Session, role: Role, packed: int | None, asked: Assumption) -> str:
    key = session.key
    moment = datetime.fromtimestamp(key.expires_at or 0.0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    parts: Iterable[str] = (
        "<AssumedRoleUser>",
        _element("AssumedRoleId", f"{role.unique_id}:{session.name}"),
        _element("Arn", session.arn),
        "</AssumedRoleUser><Credentials>",
        _element("AccessKeyId", key.access_key),
        _element("SecretAccessKey", key.secret_key),
        _element("SessionToken", key.token),
        _element("Expiration", moment),
        "</Credentials>",
        "" if packed is None else _element("PackedPolicySize", packed),
        "" if asked.source_identity is None else _element("SourceIdentity", asked.source_identity),
    )
    return "".join(parts)
