"""Policies mean what IAM's documentation says: a denial wins, silence refuses, doubt refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.identity import Caller, Identity
from memlane.testing.emulator.policies import authorize, context_of, effect
from memlane.testing.emulator.policy_conditions import matches
from memlane.testing.emulator.policy_documents import PolicyKind, parsed

ACCOUNT = "111122223333"
BUCKET = f"arn:aws:s3vectors:us-east-1:{ACCOUNT}:bucket/memory"
QUERY = "s3vectors:QueryVectors"
IDENTITY = Identity()


def index(name: str) -> str:
    return f"{BUCKET}/index/{name}"


def statement(effect: str = "Allow", **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": QUERY, "Resource": "*", **members}


def document(*statements: Mapping[str, Any], version: str = "2012-10-17") -> dict[str, Any]:
    return {"Version": version, "Statement": list(statements)}


def caller(
    *statements: Mapping[str, Any],
    session: Sequence[Mapping[str, Any]] | None = None,
    tags: Mapping[str, str] | None = None,
    version: str = "2012-10-17",
) -> Caller:
    policies = (parsed(document(*statements, version=version)),) if statements else ()
    return Caller(
        arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/tenant/s-1",
        principal=f"arn:aws:iam::{ACCOUNT}:role/tenant",
        account=ACCOUNT,
        unique_id="AROAEXAMPLE:s-1",
        kind="AssumedRole",
        tags=tags or {},
        policies=policies,
        session_policies=None if session is None else (parsed(document(*session), "session"),),
    )


def may(
    who: Caller,
    action: str = QUERY,
    resource: str = index("memory-acme"),
    context: Mapping[str, str | Sequence[str]] | None = None,
    **how: Any,
) -> bool:
    try:
        authorize(who, action, resource, context or {}, IDENTITY, **how)
    except AwsError as error:
        refused = error
    else:
        return True
    assert (refused.code, refused.status) == ("AccessDeniedException", 403)
    return False


def refusal(who: Caller, **how: Any) -> str:
    with pytest.raises(AwsError) as caught:
        authorize(who, QUERY, index("i"), {}, IDENTITY, **how)
    return caught.value.message


START = (
    f"User: arn:aws:sts::{ACCOUNT}:assumed-role/tenant/s-1 is not authorized to perform: "
    f"s3vectors:QueryVectors on resource: {index('i')} "
)


def test_refusals_in_iams_words() -> None:
    allow, deny = statement(), statement("Deny")
    assert refusal(caller()) == (
        START + "because no identity-based policy allows the s3vectors:QueryVectors action"
    )
    assert refusal(caller(allow, deny)) == (
        START + "with an explicit deny in an identity-based policy"
    )
    other = statement(Action="s3vectors:GetVectors")
    assert refusal(caller(allow, session=[other])) == (
        START + "because no session policy allows the s3vectors:QueryVectors action"
    )
    assert refusal(caller(allow, session=[allow, deny])) == (
        START + "with an explicit deny in a session policy"
    )
    policy = parsed(document(statement("Deny", Principal="*")), "resource")
    assert refusal(caller(allow), resource_policy=policy) == (
        START + "with an explicit deny in a resource-based policy"
    )


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("s3vectors:QueryVectors", True),
        ("S3VECTORS:queryvectors", True),
        ("s3vectors:*Vectors", True),
        ("s3vectors:Query?ectors", True),
        ("*", True),
        ("s3vectors:Query", False),
        ("s3vectors:QueryVectors?", False),
        ("s3:QueryVectors", False),
        (["s3vectors:GetVectors", "s3vectors:Query*"], True),
    ],
)
def test_actions(action: object, allowed: bool) -> None:
    assert may(caller(statement(Action=action))) is allowed
    inverse: dict[str, Any] = {"Effect": "Allow", "NotAction": action, "Resource": "*"}
    assert may(caller(inverse)) is not allowed


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        (index("memory-acme"), True),
        (index("memory-*"), True),
        (index("MEMORY-ACME"), False),
        (index("memory-acm"), False),
        (index("memory-acme?"), False),
        (BUCKET, False),
        (f"{BUCKET}/*", True),
        ([BUCKET, index("*")], True),
        (index("memory-${aws:PrincipalTag/TenantID}"), True),
        (index("memory-${AWS:principaltag/tenantid}"), True),
        (index("memory-${aws:PrincipalTag/Nothing}"), False),
        ([index("memory-${aws:PrincipalTag/Nothing}"), "*"], False),
        (index("memory-${aws:PrincipalTag/Nothing, 'acme'}"), True),
        (index("${*}-acme"), False),
    ],
)
def test_resources(resource: object, allowed: bool) -> None:
    tags = {"TenantID": "acme"}
    assert may(caller(statement(Resource=resource), tags=tags)) is allowed


def test_everything_but_a_resource() -> None:
    tags = {"TenantID": "acme"}
    rest: dict[str, Any] = {"Effect": "Allow", "Action": QUERY, "NotResource": index("memory-acme")}
    assert not may(caller(rest))
    assert may(caller(rest), resource=index("other"))
    unresolved = {**rest, "NotResource": index("${aws:PrincipalTag/Nothing}")}
    assert not may(caller(unresolved, tags=tags)), "doubt must not allow everything"


def test_tags_bring_no_wildcards_along() -> None:
    allowed = statement(Resource=index("memory-${aws:PrincipalTag/TenantID}"))
    for tag in ("*", "a*", "acm?", "${aws:PrincipalTag/TenantID}", "$", ""):
        assert not may(caller(allowed, tags={"TenantID": tag})), tag
    starred = caller(allowed, tags={"TenantID": "*"})
    assert may(starred, resource=index("memory-*"))


def test_the_older_language_has_no_variables() -> None:
    pattern = index("memory-${aws:PrincipalTag/TenantID}")
    old = caller(statement(Resource=pattern), tags={"TenantID": "acme"}, version="2008-10-17")
    assert not may(old)
    assert may(old, resource=pattern)


CONDITIONS: list[tuple[str, object, Mapping[str, str | list[str]], bool]] = [
    ("StringEquals", "a", {"k:x": "a"}, True),
    ("StringEquals", ["a", "b"], {"k:x": "b"}, True),
    ("StringEquals", "a", {"k:x": "A"}, False),
    ("StringEquals", "a*", {"k:x": "ab"}, False),
    ("StringEquals", "a", {}, False),
    ("StringEqualsIfExists", "a", {}, True),
    ("StringEqualsIfExists", "a", {"k:x": "b"}, False),
    ("StringEqualsIgnoreCase", "Aé", {"k:x": "aÉ"}, True),
    ("StringNotEquals", "a", {"k:x": "b"}, True),
    ("StringNotEquals", ["a", "b"], {"k:x": "b"}, False),
    ("StringNotEquals", "a", {}, True),
    ("StringNotEqualsIgnoreCase", "a", {"k:x": "A"}, False),
    ("StringLike", "a*c?", {"k:x": "abbcd"}, True),
    ("StringLike", "?*", {"k:x": ""}, False),
    ("StringLike", "${*}", {"k:x": "anything"}, False),
    ("StringLike", "${*}", {"k:x": "*"}, True),
    ("StringNotLike", "a*", {"k:x": "abc"}, False),
    ("StringNotLike", ["a*", "b*"], {"k:x": "c"}, True),
    ("StringLikeIfExists", "a*", {}, True),
    ("stringequals", "a", {"K:X": "a"}, True),
    ("Bool", True, {"k:x": "true"}, True),
    ("Bool", "false", {"k:x": "true"}, False),
    ("Null", True, {}, True),
    ("Null", "false", {}, False),
    ("Null", "false", {"k:x": ""}, True),
    ("Null", "true", {"k:x": "a"}, False),
    ("NumericEquals", 5, {"k:x": "5.0"}, True),
    ("NumericLessThan", "5", {"k:x": "5"}, False),
    ("NumericLessThanEquals", "5", {"k:x": "5"}, True),
    ("NumericGreaterThan", "5", {"k:x": "6"}, True),
    ("NumericGreaterThanEquals", "5", {"k:x": "4"}, False),
    ("NumericNotEquals", "5", {"k:x": "5"}, False),
    ("NumericEquals", "5", {"k:x": "five"}, False),
    ("DateLessThan", "2026-01-01T00:00:00Z", {"k:x": "2025-12-31T23:59:59Z"}, True),
    ("DateGreaterThan", "2026-01-01T00:00:00Z", {"k:x": "1700000000"}, False),
    ("DateEquals", "2026-01-01", {"k:x": "2026-01-01T00:00:00+00:00"}, True),
    ("ArnLike", "arn:aws:iam::*:role/x*", {"k:x": "arn:aws:iam::1:role/xy"}, True),
    ("ArnLike", "arn:aws:x:::a*", {"k:x": "arn:aws:x:::a:b"}, True),
    ("ArnLike", "arn:aws:*:role/x", {"k:x": "arn:aws:iam::1:role/x"}, False),
    ("ArnEquals", "arn:aws:iam::1:role/x", {"k:x": "arn:aws:iam::2:role/x"}, False),
    ("ArnNotLike", "arn:aws:iam::1:role/*", {"k:x": "arn:aws:iam::1:role/x"}, False),
    ("IpAddress", "10.0.0.0/8", {"k:x": "10.1.2.3"}, True),
    ("NotIpAddress", "10.0.0.0/8", {"k:x": "10.1.2.3"}, False),
    ("ForAllValues:StringEquals", ["a", "b"], {"k:x": ["a", "b"]}, True),
    ("ForAllValues:StringEquals", ["a"], {"k:x": ["a", "b"]}, False),
    ("ForAllValues:StringEquals", ["a"], {}, True),
    ("ForAnyValue:StringEquals", ["a"], {"k:x": ["a", "b"]}, True),
    ("ForAnyValue:StringEquals", ["c"], {"k:x": ["a", "b"]}, False),
    ("ForAnyValue:StringEquals", ["a"], {}, False),
    ("ForAnyValue:StringNotEquals", ["a"], {"k:x": ["a", "b"]}, True),
    ("ForAllValues:StringNotEquals", ["a"], {"k:x": ["a", "b"]}, False),
    ("ForAllValues:StringLike", ["a*"], {"k:x": ["ab", "ac"]}, True),
    ("StringEquals", "${k:y}", {"k:x": "a", "k:y": "a"}, True),
    ("StringEquals", "${k:y}", {"k:x": "a"}, False),
    ("StringEquals", "${k:y}", {"k:x": "a", "k:y": ["a", "b"]}, False),
    ("StringNotEquals", "${k:y}", {"k:x": "a"}, False),
    ("StringLike", "${k:y}", {"k:x": "abc", "k:y": "a*"}, False),
    ("StringEquals", "${aws:PrincipalTag/TenantID}", {"k:x": "acme"}, True),
]


@pytest.mark.parametrize(("operator", "value", "context", "allowed"), CONDITIONS)
def test_conditions(
    operator: str, value: object, context: Mapping[str, str | list[str]], allowed: bool
) -> None:
    conditioned = statement(Condition={operator: {"k:x": value}})
    assert may(caller(conditioned, tags={"TenantID": "acme"}), context=context) is allowed


def test_all_conditions_must_hold() -> None:
    both = statement(Condition={"StringEquals": {"k:x": "a", "k:y": "b"}, "Null": {"k:z": "true"}})
    assert may(caller(both), context={"k:x": "a", "k:y": "b"})
    assert not may(caller(both), context={"k:x": "a", "k:y": "c"})
    assert not may(caller(both), context={"k:x": "a", "k:y": "b", "k:z": ""})


def test_what_is_known_of_the_caller() -> None:
    user = replace(caller(), kind="User", name="ada", tags={"Team": "x"})
    known = context_of(user, {"aws:TagKeys": ["A", "B"]}, region="us-east-1", now=0.0)
    assert known["aws:username"] == ("ada",)
    assert known["aws:principaltag/team"] == ("x",)
    assert known["aws:principalarn"] == (f"arn:aws:iam::{ACCOUNT}:role/tenant",)
    assert known["aws:tagkeys"] == ("A", "B")
    assert known["aws:currenttime"] == ("1970-01-01T00:00:00+00:00",)
    assert known["aws:requestedregion"] == ("us-east-1",)
    assert "aws:username" not in context_of(caller(), {})


def test_a_session_policy_only_narrows() -> None:
    wide = [statement(Action="s3vectors:*")]
    assert not may(caller(session=wide))
    assert may(caller(statement(), session=wide))
    assert not may(caller(statement(), session=wide), action="s3vectors:GetVectors")


@pytest.mark.parametrize(
    ("principal", "granted"),
    [
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/tenant"}, True),
        ({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/tenant/s-1"}, True),
        ({"AWS": [f"arn:aws:iam::{ACCOUNT}:role/other"]}, False),
        ({"AWS": ACCOUNT}, True),
        ({"AWS": "*"}, True),
        ("*", True),
        ({"Service": "s3.amazonaws.com"}, False),
    ],
)
def test_a_resources_policy_grants_too(principal: object, granted: bool) -> None:
    policy = parsed(document(statement(Principal=principal)), "resource")
    assert may(caller(), resource_policy=policy) is granted
    inverse: dict[str, Any] = {
        "Effect": "Allow",
        "NotPrincipal": principal,
        "Action": "*",
        "Resource": "*",
    }
    assert may(caller(), resource_policy=parsed(document(inverse), "resource")) is not granted


def test_only_statements_that_name_the_caller() -> None:
    account = parsed(document(statement(Principal={"AWS": ACCOUNT})), "resource")
    known = context_of(caller(), {})
    assert effect([account], QUERY, "x", known, caller=caller()) == "Allow"
    assert effect([account], QUERY, "x", known, caller=caller(), by_name=True) is None


MALFORMED: list[tuple[object, PolicyKind]] = [
    ("{", "identity"),
    ("[]", "identity"),
    ({"Statement": []}, "identity"),
    ({"Statement": [{}]}, "identity"),
    ({"Statement": "x"}, "identity"),
    ({"Version": "2020-01-01", "Statement": [statement()]}, "identity"),
    ({"Unknown": 1, "Statement": [statement()]}, "identity"),
    (document(statement("Perhaps")), "identity"),
    (document(statement(Action=[])), "identity"),
    (document(statement(Action=[5])), "identity"),
    (document(statement(Action="QueryVectors")), "identity"),
    (document(statement(NotAction="s3:*")), "identity"),
    (document(statement(Resource="memory")), "identity"),
    (document(statement(Resource=[])), "identity"),
    (document(statement(Principal="*")), "session"),
    (document(statement(Conditions={})), "identity"),
    (document(statement(Condition=[])), "identity"),
    (document(statement(Condition={"StringEquals": "x"})), "identity"),
    (document(statement(Condition={"StringIs": {"k:x": "a"}})), "identity"),
    (document(statement(Condition={"ForSome:StringEquals": {"k:x": "a"}})), "identity"),
    (document(statement(Condition={"StringEquals": {"x": "a"}})), "identity"),
    (document(statement(Condition={"StringEquals": {"k:x": {}}})), "identity"),
    (document(statement()), "trust"),
    (document(statement(Principal=5)), "resource"),
]


@pytest.mark.parametrize(("content", "kind"), MALFORMED)
def test_malformed_policies(content: Any, kind: PolicyKind) -> None:
    with pytest.raises(AwsError) as caught:
        parsed(content, kind)
    assert (caught.value.code, caught.value.status) == ("MalformedPolicyDocument", 400)


def test_one_statement_needs_no_list() -> None:
    assert parsed({"Version": "2012-10-17", "Statement": statement()}).statements[0].allow


@given(pattern=st.text("ab*?", max_size=6), text=st.text("ab", max_size=6))
def test_wildcards_against_a_second_opinion(pattern: str, text: str) -> None:
    def fits(at: int, of: int) -> bool:
        if at == len(pattern):
            return of == len(text)
        if pattern[at] == "*":
            return any(fits(at + 1, each) for each in range(of, len(text) + 1))
        return of < len(text) and pattern[at] in {"?", text[of]} and fits(at + 1, of + 1)

    assert matches(pattern, text) is fits(0, 0)
