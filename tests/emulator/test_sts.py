"""AssumeRole: who may, for how long, with which tags, and what its session may do then."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.identity import Caller, Identity
from memlane.testing.emulator.policies import authorize
from memlane.testing.emulator.sts import answer
from memlane.testing.emulator.switches import Switches

NOW = 1_790_000_000.5
ACCOUNT = "111122223333"
BROKER = f"arn:aws:iam::{ACCOUNT}:role/broker"
TENANT = f"arn:aws:iam::{ACCOUNT}:role/tenant"
INDEX = f"arn:aws:s3vectors:us-east-1:{ACCOUNT}:bucket/memory/index/memory-"
BOTH = ["sts:AssumeRole", "sts:TagSession"]
POLICY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": "s3vectors:*",
        "Resource": INDEX + "${aws:PrincipalTag/TenantID}",
    },
}
HARDENED = {
    "StringLike": {"aws:RequestTag/TenantID": "?*"},
    "ForAllValues:StringEquals": {"aws:TagKeys": ["TenantID"]},
    "Null": {"aws:RequestTag/TenantID": "false"},
}


def trust(
    principal: str = f"arn:aws:iam::{ACCOUNT}:root", action: Any = BOTH, **more: Any
) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def allowing(action: Any, resource: str = "*") -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": action, "Resource": resource},
    }


class Account:
    """An account with a tenant role, and somebody who asks for it."""

    def __init__(self, **role: Any) -> None:
        self.identity = Identity()
        self.put(**role)
        self.caller = self.identity.caller_of(self.identity.admin.access_key, None, NOW)
        self.switches = Switches()

    def put(self, **role: Any) -> None:
        self.identity.put_role("tenant", **{"trust": trust(), "policy": POLICY, **role})

    def ask(
        self, tags: Mapping[str, str] | None = None, /, **more: Any
    ) -> tuple[int, Mapping[str, str]]:
        form = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": TENANT,
            "RoleSessionName": "tenant-acme",
        }
        for at, (key, value) in enumerate((tags or {}).items(), 1):
            form |= {f"Tags.member.{at}.Key": key, f"Tags.member.{at}.Value": value}
        for at, key in enumerate(more.pop("transitive", ()), 1):
            form[f"TransitiveTagKeys.member.{at}"] = key
        form |= {name: str(value) for name, value in more.items() if value is not None}
        status, headers, body = answer(form, self.caller, self.identity, NOW, self.switches)
        assert headers["Content-Type"] == "text/xml"
        tree = ET.fromstring(body)  # noqa: S314 - made by this very program
        return status, {each.tag.partition("}")[2]: each.text or "" for each in tree.iter()}

    def refused(self, tags: Mapping[str, str] | None = None, /, **more: Any) -> tuple[str, str]:
        status, told = self.ask(tags, **more)
        assert status in {400, 403}, told
        assert status == (403 if told["Code"] == "AccessDenied" else 400)
        return told["Code"], told["Message"]

    def session(
        self, tags: Mapping[str, str] | None = None, /, *, at: float = NOW, **more: Any
    ) -> Caller:
        status, told = self.ask(tags, **more)
        assert status == 200, told
        return self.identity.caller_of(told["AccessKeyId"], told["SessionToken"], at)


def may(account: Account, caller: Caller, tenant: str, action: str = "QueryVectors") -> bool:
    try:
        authorize(caller, f"s3vectors:{action}", INDEX + tenant, {}, account.identity)
    except AwsError:
        return False
    return True


DENIED = (
    f"User: arn:aws:iam::{ACCOUNT}:user/host is not authorized to perform: {{}} on resource: "
    f"{TENANT}"
)


def test_a_tagged_session_reaches_its_own_index() -> None:
    account = Account()
    status, told = account.ask({"TenantID": "acme"}, DurationSeconds=900)
    assert status == 200
    assert told["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/tenant/tenant-acme"
    assert told["AssumedRoleId"].endswith(":tenant-acme")
    assert told["Expiration"] == "2026-09-21T14:28:20Z"
    assert 0 < int(told["PackedPolicySize"]) < 100
    session = account.session({"TenantID": "acme"})
    assert may(account, session, "acme")
    assert not may(account, session, "globex")
    assert not may(account, session, "acme2")
    assert not may(account, account.session(), "acme"), "untagged: the variable is unknown"


def test_who_am_i() -> None:
    account = Account()
    form = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
    status, _, body = answer(form, account.caller, account.identity, NOW, account.switches)
    assert status == 200
    assert f"<Arn>arn:aws:iam::{ACCOUNT}:user/host</Arn>".encode() in body
    assert b"<Account>111122223333</Account>" in body
    status, _, body = answer({"Action": "X"}, account.caller, account.identity, NOW, Switches())
    assert status == 400
    assert b"<Code>InvalidAction</Code>" in body


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"RoleSessionName": "a b"}, "regular expression pattern: [\\w+=,.@-]*"),
        ({"RoleSessionName": "tenant/a"}, "'tenant/a' at 'roleSessionName'"),
        ({"RoleSessionName": "é-acme"}, "regular expression"),
        ({"RoleSessionName": "a"}, "length greater than or equal to 2"),
        ({"RoleSessionName": "a" * 65}, "length less than or equal to 64"),
        ({"DurationSeconds": 899}, "value greater than or equal to 900"),
        ({"DurationSeconds": 43_201}, "value less than or equal to 43200"),
        ({"ExternalId": "x"}, "'externalId'"),
        ({"SourceIdentity": "a b"}, "'sourceIdentity'"),
        ({"RoleArn": "short"}, "length greater than or equal to 20"),
        ({"Policy": "x" * 2_049}, "length less than or equal to 2048"),
        ({"Policy": ""}, "length greater than or equal to 1"),
    ],
)
def test_members_out_of_bounds(members: Mapping[str, Any], words: str) -> None:
    code, message = Account(max_session=43_200).refused(**members)
    assert code == "ValidationError"
    assert message.startswith("1 validation error detected: ")
    assert words in message


def test_every_problem_is_named() -> None:
    _, message = Account().refused(RoleSessionName="/", DurationSeconds=1)
    assert message.startswith("3 validation errors detected: ")


@pytest.mark.parametrize("name", ["ab", "a" * 64, "Tenant_1+=,.@-x"])
def test_session_names_within_bounds(name: str) -> None:
    assert Account().session(RoleSessionName=name).arn.endswith(f"/{name}")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"": "x"}, "length greater than or equal to 1"),
        ({"k" * 129: "x"}, "length less than or equal to 128"),
        ({"k": "v" * 257}, "length less than or equal to 256"),
        ({"k": "a#b"}, "regular expression pattern"),
        ({"k*": "a"}, "regular expression pattern"),
        ({"k": "\U0001f600"}, "regular expression pattern"),
        ({f"k{n}": "v" for n in range(51)}, "length less than or equal to 50"),
    ],
)
def test_tags_out_of_bounds(tags: Mapping[str, str], words: str) -> None:
    code, message = Account().refused(tags)
    assert (code, words in message) == ("ValidationError", True), message


def test_tags_within_bounds() -> None:
    tags = {"TenantID": "Ünï 1_.:/=+-@\u3000日本", "e": "", "k" * 128: "v" * 256}
    assert Account().session(tags).tags == tags
    assert len(Account().session({f"k{n}": "v" for n in range(50)}).tags) == 50


def test_keys_of_tags_ignore_case() -> None:
    code, message = Account().refused({"TenantID": "a", "tenantid": "b"})
    assert (code, message) == (
        "InvalidParameterValue",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    )
    assert Account().refused({"aws:x": "a"})[0] == "InvalidParameterValue"
    account = Account(tags={"TENANTID": "role", "Team": "x"})
    session = account.session({"TenantID": "acme"})
    assert session.tags == {"TenantID": "acme", "Team": "x"}
    assert may(account, session, "acme")
    assert may(account, account.session(), "role"), "without a session's tag the role's counts"


def test_duration() -> None:
    account = Account(max_session=7_200)
    assert account.session(DurationSeconds=7_200).expires_at == int(NOW) + 7_200
    assert account.session().expires_at == int(NOW) + 3_600
    code, message = account.refused(DurationSeconds=7_201)
    assert (code, message) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )


def test_chained_sessions_last_an_hour() -> None:
    account = Account(max_session=43_200)
    account.identity.put_role("broker", policy=allowing("*"), max_session=43_200)
    account.caller = account.session(RoleArn=BROKER, DurationSeconds=43_200)
    assert account.session(DurationSeconds=3_600).kind == "AssumedRole"
    code, message = account.refused(DurationSeconds=3_601)
    assert code == "ValidationError"
    assert "1 hour session limit for roles assumed by role chaining" in message


def test_sessions_expire_by_the_emulators_clock() -> None:
    account = Account()
    account.session(at=NOW + 899, DurationSeconds=900)
    with pytest.raises(AwsError, match="ExpiredTokenException"):
        account.session(at=NOW + 900, DurationSeconds=900)


def test_both_actions_must_be_trusted() -> None:
    account = Account(trust=trust(action="sts:AssumeRole"))
    assert account.session().kind == "AssumedRole"
    assert account.refused({"TenantID": "acme"}) == (
        "AccessDenied",
        DENIED.format("sts:TagSession"),
    )
    account.put(trust=trust(action="sts:TagSession"))
    assert account.refused({"TenantID": "acme"}) == (
        "AccessDenied",
        DENIED.format("sts:AssumeRole"),
    )


def test_a_role_that_does_not_exist_is_refused_alike() -> None:
    code, message = Account().refused(RoleArn=TENANT + "x")
    assert (code, message) == ("AccessDenied", DENIED.format("sts:AssumeRole") + "x")


def test_an_account_leaves_it_to_the_callers_policies() -> None:
    account = Account()
    key = account.identity.put_user("ada", policy=allowing("s3vectors:*"))
    account.caller = account.identity.caller_of(key.access_key, None, NOW)
    assert account.refused()[0] == "AccessDenied"
    account.put(trust=trust(account.caller.arn))
    assert account.session({"TenantID": "acme"}).kind == "AssumedRole"
    deny = {"Statement": {"Effect": "Deny", "Action": "sts:*", "Resource": "*"}}
    account.identity.put_user("ada", policy=deny)
    account.caller = account.identity.caller_of(key.access_key, None, NOW)
    assert account.refused()[0] == "AccessDenied"


@pytest.mark.parametrize("needed", [False, True])
def test_whether_tagging_needs_the_callers_policy_too(needed: bool) -> None:
    account = Account()
    key = account.identity.put_user("ada", policy=allowing("sts:AssumeRole", TENANT))
    account.caller = account.identity.caller_of(key.access_key, None, NOW)
    account.switches = Switches(tag_session_needs_identity=needed)
    assert account.session().kind == "AssumedRole"
    status, _ = account.ask({"TenantID": "acme"})
    assert status == (403 if needed else 200)


def test_a_hardened_trust() -> None:
    account = Account(trust=trust(BROKER, Condition=HARDENED))
    assert account.refused({"TenantID": "acme"})[0] == "AccessDenied", "the host is no broker"
    account.identity.put_role("broker", policy=allowing("s3vectors:Nothing"))
    account.caller = account.session(RoleArn=BROKER)
    assert account.session({"TenantID": "acme"}).tags == {"TenantID": "acme"}
    for tags in ({}, {"TenantID": ""}, {"TenantID": "acme", "Role": "admin"}, {"Role": "x"}):
        assert account.refused(tags)[0] == "AccessDenied", tags


@pytest.mark.parametrize(
    ("condition", "members", "allowed"),
    [
        ({"StringLike": {"sts:RoleSessionName": "tenant-*"}}, {}, True),
        ({"StringLike": {"sts:RoleSessionName": "user-*"}}, {}, False),
        ({"StringEquals": {"sts:ExternalId": "x-1"}}, {"ExternalId": "x-1"}, True),
        ({"StringEquals": {"sts:ExternalId": "x-1"}}, {"ExternalId": "x-2"}, False),
        ({"StringEquals": {"sts:ExternalId": "x-1"}}, {}, False),
        ({"StringEquals": {"sts:SourceIdentity": "ada"}}, {"SourceIdentity": "ada"}, True),
        ({"Null": {"sts:TransitiveTagKeys": "true"}}, {"transitive": ["TenantID"]}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "TenantID"}}, {}, True),
        ({"StringEquals": {"aws:RequestTag/TenantID": "globex"}}, {}, False),
    ],
)
def test_conditions_of_a_trust(
    condition: Mapping[str, Any], members: Mapping[str, Any], allowed: bool
) -> None:
    account = Account(trust=trust(Condition=condition))
    status, _ = account.ask({"TenantID": "acme"}, **members)
    assert status == (200 if allowed else 403)


def test_transitive_tags_are_passed_on_and_kept() -> None:
    account = Account(tags={})
    account.identity.put_role("broker", policy=allowing("*"))
    tags = {"TenantID": "acme", "Other": "x"}
    account.caller = account.session(tags, RoleArn=BROKER, transitive=["tenantid"])
    session = account.session({"More": "y"})
    assert session.tags == {"TenantID": "acme", "More": "y"}
    assert session.transitive == {"TenantID"}
    code, message = account.refused({"TENANTID": "globex"})
    assert code == "InvalidParameterValue"
    assert "conflicts with a transitive tag key" in message
    account.caller = replace(account.caller, transitive=frozenset())
    assert account.session().tags == {}
    assert account.refused(tags, transitive=["Else"])[0] == "InvalidParameterValue"


def test_a_session_policy_narrows() -> None:
    account = Account()
    inline = json.dumps(allowing("s3vectors:QueryVectors", INDEX + "*"))
    session = account.session({"TenantID": "acme"}, Policy=inline)
    assert may(account, session, "acme")
    assert not may(account, session, "acme", "PutVectors")
    assert not may(account, session, "globex")


def test_managed_policies_of_a_session() -> None:
    account = Account()
    arn = account.identity.put_managed("reader", allowing("s3vectors:GetVectors"))
    one: dict[str, Any] = {"PolicyArns.member.1.arn": arn}
    session = account.session({"TenantID": "acme"}, **one)
    assert may(account, session, "acme", "GetVectors")
    assert not may(account, session, "acme")
    assert account.refused(**{"PolicyArns.member.1.arn": f"{arn}x"})[0] == "InvalidParameterValue"
    code, _ = account.refused(Policy=json.dumps(POLICY) + " " * 1_850, **one)
    assert code == "PackedPolicyTooLarge", "inline and managed together have 2,048 characters"
    eleven: dict[str, Any] = {f"PolicyArns.member.{at}.arn": arn for at in range(1, 12)}
    assert "'policyArns'" in account.refused(**eleven)[1]


@pytest.mark.parametrize("policy", ["{", '{"Statement": []}', json.dumps(trust())])
def test_malformed_session_policies(policy: str) -> None:
    assert Account().refused(Policy=policy)[0] == "MalformedPolicyDocument"


def test_what_is_packed_has_a_bound_of_its_own() -> None:
    account = Account()
    tags = {f"{secrets.token_hex(20)}": "v" * 256 for _ in range(10)}
    code, message = account.refused(tags)
    assert code == "PackedPolicyTooLarge"
    assert message.startswith("Packed policy consumes ")
    assert "PackedPolicySize" not in account.ask()[1]
