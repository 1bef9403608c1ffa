"""Whether a request is allowed: identity policies, what a session narrows, resource policies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.identity import Caller, Identity
from memlane.testing.emulator.policy_conditions import Context, Expand, matches, satisfied
from memlane.testing.emulator.policy_documents import Policy, Principals, Statement

__all__ = ("Known", "authorize", "context_of", "effect")

Known: TypeAlias = Mapping[str, str | Sequence[str]]
"""Condition keys of a request with their values, such as {"aws:TagKeys": ["TenantID"]}."""

_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_SPECIAL: Final = re.compile(r"[*?$]")


def authorize(
    caller: Caller,
    action: str,
    resource: str,
    context: Known,
    identity: Identity,
    *,
    resource_policy: Policy | None = None,
    now: float | None = None,
) -> None:
    """Return when the caller may do it.

    Args:
        caller: Who asks.
        action: Such as "s3vectors:QueryVectors".
        resource: The ARN, or "*" for an action that has none.
        context: What else is known, such as `aws:ResourceTag/TenantID`, `aws:RequestTag/…`,
            `aws:TagKeys` (several values) and `s3vectors:sseType`.
        identity: The account's.
        resource_policy: The vector bucket's own policy; parse it with
            `policy_documents.parsed(text, "resource")`.
        now: The emulator's clock, for `aws:CurrentTime`.

    Raises:
        AwsError: AccessDeniedException 403, in IAM's words.
    """
    known = context_of(caller, context, region=identity.region, now=now)
    session = caller.session_policies
    by_identity = effect(caller.policies, action, resource, known)
    by_session = None if session is None else effect(session, action, resource, known)
    by_resource = None
    if resource_policy is not None:
        by_resource = effect([resource_policy], action, resource, known, caller=caller)
    for kind, decision in (
        ("an identity-based policy", by_identity),
        ("a session policy", by_session),
        ("a resource-based policy", by_resource),
    ):
        if decision == "Deny":
            raise _denied(caller, action, resource, f"with an explicit deny in {kind}")
    if by_identity != "Allow" and by_resource != "Allow":
        because = f"because no identity-based policy allows the {action} action"
        raise _denied(caller, action, resource, because)
    if session is not None and by_session != "Allow":
        because = f"because no session policy allows the {action} action"
        raise _denied(caller, action, resource, because)


def _denied(caller: Caller, action: str, resource: str, why: str) -> AwsError:
    # [E] for the form "because no identity-based policy allows"; the others [D].
    message = f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource}"
    return AwsError("AccessDeniedException", 403, f"{message} {why}")


def context_of(
    caller: Caller, context: Known, *, region: str | None = None, now: float | None = None
) -> Context:
    """Return the condition keys of a request: those given and those of its caller."""
    known: dict[str, tuple[str, ...]] = {
        "aws:principalarn": (caller.principal,),
        "aws:principalaccount": (caller.account,),
        "aws:principaltype": (caller.kind,),
        "aws:userid": (caller.unique_id,),
        # The emulator speaks plain HTTP; a policy that asks for TLS is not what is tested here.
        "aws:securetransport": ("true",),
    }
    if caller.name is not None:
        known["aws:username"] = (caller.name,)
    if region is not None:
        known["aws:requestedregion"] = (region,)
    if now is not None:
        known["aws:epochtime"] = (str(int(now)),)
        known["aws:currenttime"] = (datetime.fromtimestamp(now, UTC).isoformat(),)
    for key, value in caller.tags.items():
        known[f"aws:principaltag/{key.lower()}"] = (value,)
    for key, given in context.items():
        known[key.lower()] = (given,) if isinstance(given, str) else tuple(given)
    return known


def effect(
    policies: Iterable[Policy],
    action: str,
    resource: str | None,
    context: Context,
    *,
    caller: Caller | None = None,
    by_name: bool = False,
) -> Literal["Allow", "Deny"] | None:
    """Return what policies say together: a denial wins, silence is None.

    Args:
        policies: Of one kind.
        action: What is asked for.
        resource: On what; None for trust policies, which name no resource.
        context: From `context_of`.
        caller: For policies of resources, whose statements name principals.
        by_name: Only statements count that name the caller itself, not its whole account.
    """
    allowed = False
    for policy in policies:
        for statement in policy.statements:
            if statement.allow and allowed:
                continue
            if not _names(statement, action, caller, by_name=by_name):
                continue

            def expand(
                pattern: str, /, *, escape: bool, variables: bool = policy.variables
            ) -> str | None:
                return _expanded(pattern, context, escape=escape) if variables else pattern

            if resource is not None and not _covers(statement, resource, expand):
                continue
            if not all(satisfied(each, context, expand) for each in statement.conditions):
                continue
            if not statement.allow:
                return "Deny"
            allowed = True
    return "Allow" if allowed else None


def _names(statement: Statement, action: str, caller: Caller | None, *, by_name: bool) -> bool:
    """Say whether a statement is about an action and, where it names any, a principal."""
    if caller is not None and not _about(statement.principals, caller, by_name=by_name):
        return False
    named = statement.actions or statement.not_actions
    fits = any(matches(each, action, ignore_case=True) for each in named)
    return fits == bool(statement.actions)


def _covers(statement: Statement, resource: str, expand: Expand) -> bool:
    patterns: list[str] = []
    for each in statement.resources or statement.not_resources:
        pattern = expand(each, escape=True)
        if pattern is None:
            # One variable that cannot be resolved, and the whole statement says nothing [D].
            return False
        patterns.append(pattern)
    return any(matches(each, resource) for each in patterns) == bool(statement.resources)


def _about(principals: Principals | None, caller: Caller, *, by_name: bool) -> bool:
    if principals is None:
        return False
    named = any(_is(each, caller, by_name=by_name) for each in principals.accounts)
    return named != principals.excluded


def _is(principal: str, caller: Caller, *, by_name: bool) -> bool:
    if principal in {"*", caller.arn, caller.principal}:
        return True
    return not by_name and principal in {caller.account, f"arn:aws:iam::{caller.account}:root"}


@lru_cache(maxsize=4_096)
def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(_VARIABLE.split(pattern))


def _expanded(pattern: str, context: Context, *, escape: bool) -> str | None:
    """Return a pattern with its variables replaced, or None when one cannot be.

    A value never brings a wildcard along: `escape` writes it so that it stands for itself.
    """
    if "${" not in pattern:
        return pattern
    parts = list(_parts(pattern))
    for at in range(1, len(parts), 2):
        name, comma, default = parts[at].partition(",")
        if name in {"*", "?", "$"}:
            parts[at] = f"${{{name}}}" if escape else name
            continue
        values = context.get(name.strip().lower(), ())
        if len(values) == 1:
            value = values[0]
        elif comma:
            value = default.strip().strip("'")
        else:
            return None
        parts[at] = _SPECIAL.sub(r"${\g<0>}", value) if escape else value
    return "".join(parts)
