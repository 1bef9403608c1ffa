"""IAM policies as they are written: read once, refused where IAM refuses them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import orjson

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.policy_conditions import Condition, parsed_conditions

__all__ = ("Policy", "PolicyKind", "Principals", "Statement", "parsed")

PolicyKind = Literal["identity", "session", "resource", "trust"]

_VERSIONS: Final = ("2008-10-17", "2012-10-17")
_EFFECTS: Final = ("Allow", "Deny")
_ALLOWED: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_ACTION: Final = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+")


@dataclass(frozen=True, slots=True)
class Principals:
    """Who a statement of a resource's policy is about.

    Args:
        accounts: ARNs, account ids and "*" under "AWS".
        excluded: The statement is about everybody else.
    """

    accounts: tuple[str, ...]
    excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. Of each pair (actions, not_actions) at most one has patterns."""

    allow: bool
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    principals: Principals | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy.

    Args:
        statements: In their order.
        variables: Whether `${…}` is replaced: only in version 2012-10-17 [D].
    """

    statements: tuple[Statement, ...]
    variables: bool = True


def parsed(document: str | bytes | Mapping[str, Any], kind: PolicyKind = "identity") -> Policy:
    """Return the policy a document says.

    Raises:
        AwsError: MalformedPolicyDocument, as IAM and STS refuse it.
    """
    try:
        content: Any = orjson.loads(document) if isinstance(document, str | bytes) else document
    except orjson.JSONDecodeError as exc:
        raise _malformed("This policy contains invalid Json") from exc
    if not isinstance(content, Mapping):
        raise _malformed("Syntax errors in policy.")
    members = cast("Mapping[str, Any]", content)
    if not set(members) <= {"Version", "Id", "Statement"}:
        raise _malformed("Syntax errors in policy.")
    version = members.get("Version", "2008-10-17")
    if version not in _VERSIONS:
        raise _malformed("The policy failed legacy parsing")
    statements = tuple(_statement(each, kind) for each in _listed(members.get("Statement")))
    if not statements:
        raise _malformed("Syntax errors in policy.")
    return Policy(statements, variables=version == "2012-10-17")


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicyDocument", 400, message)


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return (cast("Any", value),)
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()


def _statement(content: Any, kind: PolicyKind) -> Statement:
    if not isinstance(content, Mapping):
        raise _malformed("Syntax errors in policy.")
    members = cast("Mapping[str, Any]", content)
    if not set(members) <= _ALLOWED or members.get("Effect") not in _EFFECTS:
        raise _malformed("Syntax errors in policy.")
    attached = kind in {"identity", "session"}
    principals = _principals(members)
    if attached and principals is not None:
        raise _malformed("Policy document should not specify a principal.")
    if not attached and principals is None:
        raise _malformed("Missing required field Principal")
    actions, not_actions = (tuple(_texts(members, name)) for name in ("Action", "NotAction"))
    resources, not_resources = (
        tuple(_texts(members, name)) for name in ("Resource", "NotResource")
    )
    if bool(actions) == bool(not_actions):
        raise _malformed("Policy statement must contain actions.")
    if kind == "trust" and (resources or not_resources):
        raise _malformed("Has prohibited field Resource")
    if kind != "trust" and bool(resources) == bool(not_resources):
        raise _malformed("Policy statement must contain resources.")
    if not all(_ACTION.fullmatch(each) for each in (*actions, *not_actions)):
        raise _malformed(
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
        )
    if not all(each == "*" or each.startswith("arn:") for each in (*resources, *not_resources)):
        raise _malformed('Resource must be in ARN format or "*".')
    return Statement(
        allow=members["Effect"] == "Allow",
        actions=actions,
        not_actions=not_actions,
        resources=resources,
        not_resources=not_resources,
        conditions=parsed_conditions(members.get("Condition", {})),
        principals=principals,
    )


def _texts(members: Mapping[str, Any], name: str) -> Iterator[str]:
    value = members.get(name, ())
    for each in (value,) if isinstance(value, str) else cast("Sequence[Any]", value):
        if not isinstance(each, str):
            raise _malformed("Syntax errors in policy.")
        yield each


def _principals(members: Mapping[str, Any]) -> Principals | None:
    for name in ("Principal", "NotPrincipal"):
        if name not in members:
            continue
        value = members[name]
        if value == "*":
            return Principals(("*",), excluded=name == "NotPrincipal")
        if not isinstance(value, Mapping):
            raise _malformed("Invalid principal in policy")
        named = cast("Mapping[str, Any]", value)
        return Principals(tuple(_texts(named, "AWS")), excluded=name == "NotPrincipal")
    return None
