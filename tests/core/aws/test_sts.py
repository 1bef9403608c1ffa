"""AssumeRole's form and its XML: what is sent is what STS takes, what is read is only that."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlane.aws.sts import assume_role, read_assumed_role
from memlane.errors import CredentialsError

ARN = "arn:aws:iam::111122223333:role/tenants"
ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROA123EXAMPLE123:memlane-acme</AssumedRoleId>
      <Arn>arn:aws:sts::111122223333:assumed-role/tenants/memlane-acme</Arn>
    </AssumedRoleUser>
    <PackedPolicySize>6</PackedPolicySize>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
      <SessionToken>AQoDYXdzEPT//////////wEXAMPLEtc764assrCdcxSUw==</SessionToken>
      <Expiration>2026-11-20T18:15:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>
"""


def test_the_form_has_what_sts_asks_for() -> None:
    """Tags are numbered from one; what was not given is not sent."""
    request = assume_role(
        ARN, session_name="memlane-a", seconds=900, tags={"TenantID": "a", "UserID": "u--x"}
    )
    assert parse_qs(request.body.decode(), strict_parsing=True) == {
        "Action": ["AssumeRole"],
        "Version": ["2011-06-15"],
        "RoleArn": [ARN],
        "RoleSessionName": ["memlane-a"],
        "DurationSeconds": ["900"],
        "Tags.member.1.Key": ["TenantID"],
        "Tags.member.1.Value": ["a"],
        "Tags.member.2.Key": ["UserID"],
        "Tags.member.2.Value": ["u--x"],
    }
    assert (request.service, request.method, request.path) == ("sts", "POST", "/")
    assert request.content_type.startswith("application/x-www-form-urlencoded")


def test_policy_and_external_id_are_escaped() -> None:
    """What has blanks, ampersands or braces arrives as it was."""
    policy = '{"Statement":[{"Resource":"a&b=c +"}]}'
    request = assume_role(
        ARN, session_name="s", seconds=900, tags={}, policy=policy, external_id="x:/+="
    )
    form = parse_qs(request.body.decode(), strict_parsing=True)
    assert form["Policy"] == [policy]
    assert form["ExternalId"] == ["x:/+="]


@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="UTF-8"?>\n'])
def test_an_answer_is_read(head: str) -> None:
    """All of it, as it stands in the reference of STS."""
    session_name, found = read_assumed_role((head + ANSWER).encode())
    assert session_name == "memlane-acme"
    assert found.access_key == "ASIAIOSFODNN7EXAMPLE"
    assert found.secret_key == "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY"
    assert found.session_token == "AQoDYXdzEPT//////////wEXAMPLEtc764assrCdcxSUw=="
    assert found.expires_at == datetime(2026, 11, 20, 18, 15, tzinfo=UTC)


def test_the_five_entities_are_read() -> None:
    """And no other: what is declared nowhere stands for nothing."""
    body = ANSWER.replace("wJalrX", "w&amp;&lt;&gt;&quot;&apos;")
    assert read_assumed_role(body.encode())[1].secret_key.startswith("w&<>\"'Ut")


def test_keys_are_not_shown() -> None:
    """Neither the secret nor the token is in the text of what was read."""
    shown = repr(read_assumed_role(ANSWER.encode()))
    assert "wJalr" not in shown
    assert "AQoDY" not in shown


BROKEN = {
    "nothing": "",
    "html": "<html><body>Sign in</body></html>",
    "another operation": ANSWER.replace("AssumeRoleResponse", "GetSessionTokenResponse"),
    "json": '{"AssumeRoleResponse":{}}',
    "a DTD": '<!DOCTYPE x [<!ENTITY a "b">]>' + ANSWER,
    "a comment": ANSWER.replace("<Credentials>", "<!-- <AccessKeyId>A</AccessKeyId> -->"),
    "a key in a comment": ANSWER.replace("<AccessKeyId>", "<!-- <AccessKeyId>").replace(
        "</AccessKeyId>", "</AccessKeyId> -->"
    ),
    "CDATA": ANSWER.replace("ASIAIOSFODNN7EXAMPLE", "<![CDATA[ASIA]]>"),
    "an entity nobody knows": ANSWER.replace("ASIAIOSFODNN7EXAMPLE", "ASIA&x;"),
    "an open entity": ANSWER.replace("ASIAIOSFODNN7EXAMPLE", "ASIA&"),
    "a key twice": ANSWER.replace("</Credentials>", "<AccessKeyId>B</AccessKeyId></Credentials>"),
    "no key": ANSWER.replace("AccessKeyId", "Key"),
    "an empty token": ANSWER.replace("AQoDYXdzEPT//////////wEXAMPLEtc764assrCdcxSUw==", ""),
    "a line break in a token": ANSWER.replace("AQoDYX", "AQo\r\nX-Evil: 1"),
    "no time": ANSWER.replace("2026-11-20T18:15:00Z", "soon"),
    "a time without zone": ANSWER.replace("18:15:00Z", "18:15:00"),
    "half of it": ANSWER[: len(ANSWER) // 2],
    "two of it": ANSWER + ANSWER,
    "too much": ANSWER.replace("<Credentials>", " " * 70_000 + "<Credentials>"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_anything_else_is_refused(body: str) -> None:
    """One kind of error, with a remedy and without a word of what came."""
    with pytest.raises(CredentialsError) as said:
        read_assumed_role(body.encode())
    assert said.value.remedy
    for secret in ("ASIA", "wJalr", "AQoD", "Evil", "Sign"):
        assert secret not in str(said.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    """Whatever a proxy sends."""
    with pytest.raises(CredentialsError):
        read_assumed_role(body)
