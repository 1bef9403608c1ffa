"""A request is its sender's only if key, token, clock and every signed byte are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from typing import cast
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emulator.sent import HOST, Sent, check, now, refusal, signed
from memlane.testing.emulator.identity import AccessKey, Identity
from memlane.testing.emulator.signature import canonical_path, canonical_query
from memlane.testing.emulator.switches import Switches


@pytest.fixture
def identity() -> Identity:
    return Identity()


def temporary(identity: Identity, expires_at: float | None = None) -> AccessKey:
    arn = identity.put_role("tenant")
    session = identity.open_session(
        identity.roles[arn], "s-1", expires_at=now() + 900 if expires_at is None else expires_at
    )
    return session.key


AWS_SUITE = [
    # AWS's published signature test suite.
    ("GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "GET",
        "/",
        "Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
]


@pytest.mark.parametrize(("method", "path", "query", "signature"), AWS_SUITE)
def test_aws_published_signatures(method: str, path: str, query: str, signature: str) -> None:
    identity = Identity()
    identity.put_user(
        "suite",
        key=AccessKey(
            access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
        ),
    )
    sent = Sent(
        method=method,
        path=path,
        query=query,
        body=b"",
        headers={
            "Host": "example.amazonaws.com",
            "X-Amz-Date": "20150830T123600Z",
            "Authorization": (
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                f"SignedHeaders=host;x-amz-date, Signature={signature}"
            ),
        },
    )
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
    assert check(sent, identity, at=at, service="service").name == "suite"


def test_lasting_and_temporary_keys(identity: Identity) -> None:
    assert check(signed(identity.admin), identity).name == "host"
    caller = check(signed(temporary(identity)), identity)
    assert caller.arn == "arn:aws:sts::111122223333:assumed-role/tenant/s-1"


PATHS = [
    "/QueryVectors",
    "/tags/" + quote("arn:aws:s3vectors:us-east-1:1:bucket/b/index/i", safe=""),
    "/tags/arn:aws:s3vectors:us-east-1:1:bucket/b",
    "/model/amazon.titan-embed-text-v2%3A0/invoke",
    "/a%20b/c%2Fd/%E2%9C%93/",
    "/a//b/../c/./d",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", ["", "tagKeys=b%20c&tagKeys=a", "x&y=%2F&x=1"])
def test_paths_and_queries_as_botocore_signs_them(
    identity: Identity, path: str, query: str
) -> None:
    url = f"{HOST}{path}?{query}" if query else f"{HOST}{path}"
    assert check(signed(identity.admin, url, method="DELETE", body=b""), identity).name == "host"


SEGMENT = st.text(min_size=1, max_size=8).filter(lambda text: text not in {".", ".."})


@settings(deadline=None, max_examples=150)
@given(
    segments=st.lists(SEGMENT, max_size=4),
    pairs=st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=5)), max_size=4),
    body=st.binary(max_size=64),
)
@example(segments=["a b", "é"], pairs=[("k", "a+b"), ("k", "a b")], body=b"\0")
def test_whatever_botocore_signs_is_accepted(
    segments: list[str], pairs: list[tuple[str, str]], body: bytes
) -> None:
    identity = Identity()
    path = "/" + "/".join(quote(each, safe="", errors="replace") for each in segments)
    query = "&".join(
        f"{quote(name, safe='', errors='replace')}={quote(value, safe='', errors='replace')}"
        for name, value in pairs
    )
    url = f"{HOST}{path}?{query}" if query else f"{HOST}{path}"
    sent = signed(identity.admin, url, body=body)
    assert check(sent, identity).name == "host"
    if body:
        tampered = replace(sent, body=bytes([body[0] ^ 1]) + body[1:])
        assert refusal(tampered, identity).code == "InvalidSignatureException"


def test_canonical_forms() -> None:
    assert canonical_path("/tags/arn%3Aaws") == "/tags/arn%253Aaws"
    assert canonical_path("/a/./b/../c//d/") == "/a/c/d/"
    assert canonical_path("/../..") == "/"
    assert canonical_path("") == "/"
    assert canonical_query("b=2&a=%7E&a=/") == "a=%2F&a=~&b=2"
    assert canonical_query("flag") == "flag="


def test_any_change_is_seen(identity: Identity) -> None:
    sent = signed(temporary(identity))
    bare = sent.headers["Authorization"]
    altered = [
        replace(sent, body=b'{"topK":2}'),
        replace(sent, path="/DeleteVectors"),
        replace(sent, query="a=b"),
        replace(sent, method="PUT"),
        sent.changed(Host="elsewhere.example"),
        sent.changed(Content_Type="text/plain"),
        sent.changed(Authorization=bare[:-1] + ("0" if bare[-1] != "0" else "1")),
        sent.changed(Authorization=bare[:-1] + "é"),
    ]
    for each in altered:
        error = refusal(each, identity)
        assert (error.code, error.status) == ("InvalidSignatureException", 403)
        assert error.message.startswith("The request signature we calculated does not match")
        assert "The Canonical String for this request should have been" in error.message


def test_another_secret_is_refused(identity: Identity) -> None:
    key = replace(identity.admin, secret_key="x" * 40)
    assert refusal(signed(key), identity).code == "InvalidSignatureException"


def test_the_claimed_hash_of_a_body_counts_for_nothing(identity: Identity) -> None:
    sent = signed(identity.admin).changed(X_Amz_Content_Sha256="UNSIGNED-PAYLOAD")
    changed = replace(sent, body=b"{}")
    assert check(sent, identity).name == "host"
    assert refusal(changed, identity).code == "InvalidSignatureException"


def test_tokens(identity: Identity) -> None:
    key = temporary(identity)
    other = temporary(identity)
    wrong = [
        replace(key, token=None),
        replace(key, token=other.token),
        replace(identity.admin, token=key.token),
        replace(key, access_key="AKIANOBODYNOBODYNOBO"),
        replace(key, access_key=other.access_key),
    ]
    for each in wrong:
        error = refusal(signed(each), identity)
        assert (error.code, error.status) == ("UnrecognizedClientException", 403)
        assert error.message == "The security token included in the request is invalid."
    assert refusal(signed(wrong[0], service="sts"), identity, service="sts").code == (
        "InvalidClientTokenId"
    )


def test_an_expired_session(identity: Identity) -> None:
    here = now()
    key = temporary(identity, here + 60)
    sent = signed(key)
    assert check(sent, identity, at=here + 59.9).expires_at == here + 60
    error = refusal(sent, identity, at=here + 60)
    assert (error.code, error.status) == ("ExpiredTokenException", 403)
    assert error.message == "The security token included in the request is expired"
    error = refusal(signed(key, service="sts"), identity, at=here + 60, service="sts")
    assert (error.code, error.status) == ("ExpiredToken", 403)


def test_sessions_end_with_their_role(identity: Identity) -> None:
    sent = signed(temporary(identity))
    check(sent, identity)
    assert identity.delete_role("tenant")
    assert refusal(sent, identity).code == "UnrecognizedClientException"
    identity.put_role("tenant")
    assert refusal(sent, identity).code == "UnrecognizedClientException"


@pytest.mark.parametrize("service", ["s3vectors", "sts"])
def test_fifteen_minutes_either_way(identity: Identity, service: str) -> None:
    sent = signed(identity.admin, service=service)
    stamp = sent.headers["X-Amz-Date"]
    signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    for off in (-900, -899, 0, 899, 900):
        assert check(sent, identity, at=signed_at + off, service=service).name == "host"
    code = "SignatureDoesNotMatch" if service == "sts" else "InvalidSignatureException"
    late = refusal(sent, identity, at=signed_at + 901, service=service)
    assert (late.code, late.status) == (code, 403)
    assert late.message.startswith(f"Signature expired: {stamp} is now earlier than ")
    assert late.message.endswith(" - 15 min.)")
    early = refusal(sent, identity, at=signed_at - 901, service=service)
    assert early.message.startswith(f"Signature not yet current: {stamp} is still later than ")
    assert early.message.endswith(" + 15 min.)")


def test_the_window_is_a_switch(identity: Identity) -> None:
    sent = signed(identity.admin)
    assert (
        check(sent, identity, at=now() + 9e6, switches=Switches(signature_seconds=0)).name == "host"
    )
    narrow = Switches(signature_seconds=60)
    assert "1 min." in refusal(sent, identity, at=now() + 70, switches=narrow).message


def test_no_signature_at_all(identity: Identity) -> None:
    sent = signed(identity.admin).changed(Authorization=None)
    error = refusal(sent, identity)
    assert (error.code, error.status) == ("MissingAuthenticationTokenException", 403)
    error = refusal(sent, identity, service="sts")
    assert error.code == "MissingAuthenticationToken"


@pytest.mark.parametrize(
    ("authorization", "code", "words"),
    [
        ("Bearer abc", "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'Bearer'."),
        (
            "AWS4-HMAC-SHA256 SignedHeaders=host",
            "IncompleteSignatureException",
            (
                "Authorization header requires 'Credential' parameter. "
                "Authorization header requires 'Signature' parameter."
            ),
        ),
        (
            "AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=0",
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements",
        ),
        (
            (
                "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/s3vectors/aws3, "
                "SignedHeaders=host, Signature=0"
            ),
            "InvalidSignatureException",
            "Credential should be scoped with a valid terminator",
        ),
        (
            (
                "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/s3vectors/aws4_request, "
                "SignedHeaders=host, Signature=0"
            ),
            "InvalidSignatureException",
            "Date in Credential scope does not match",
        ),
    ],
)
def test_authorizations_that_cannot_be_meant(
    identity: Identity, authorization: str, code: str, words: str
) -> None:
    error = refusal(signed(identity.admin).changed(Authorization=authorization), identity)
    assert error.code == code
    assert words in error.message


def test_scope_and_date(identity: Identity) -> None:
    elsewhere = refusal(signed(identity.admin, region="eu-west-1"), identity)
    assert "valid region, not 'eu-west-1'" in elsewhere.message
    assert check(signed(identity.admin, region="eu-west-1"), Identity(region=None)).name == "host"
    other = refusal(signed(identity.admin, service="s3"), identity)
    assert "scoped to correct service: 's3vectors'" in other.message
    undated = refusal(signed(identity.admin).changed(X_Amz_Date=None), identity)
    assert "existence of either a 'X-Amz-Date' or a 'Date' header" in undated.message
    sent = signed(identity.admin)
    wrong = f"{sent.headers['X-Amz-Date'][:8]} midday"
    assert "basic format" in refusal(sent.changed(X_Amz_Date=wrong), identity).message


@pytest.mark.parametrize("left_out", ["host", "x-amz-date", "x-amz-security-token"])
def test_what_must_be_signed(identity: Identity, left_out: str) -> None:
    sent = signed(temporary(identity))
    fewer = sent.headers["Authorization"].replace(f"{left_out};", "").replace(f";{left_out}", "")
    assert fewer != sent.headers["Authorization"]
    error = refusal(sent.changed(Authorization=fewer), identity)
    assert error.message == f"'{left_out}' must be a 'SignedHeader' in the AWS Authorization."


def test_signed_headers_are_in_order(identity: Identity) -> None:
    sent = signed(identity.admin)
    swapped = sent.headers["Authorization"].replace("host;x-amz-date", "x-amz-date;host")
    error = refusal(sent.changed(Authorization=swapped), identity)
    assert (error.code, error.message) == (
        "IncompleteSignatureException",
        "SignedHeaders is not sorted.",
    )


def test_header_values_are_trimmed_and_joined(identity: Identity) -> None:
    """A name sent twice counts as one with a comma; spaces around and between are one or none."""
    sent = signed(identity.admin, note="a  b, c ")
    assert check(sent, identity).name == "host"
    sent = signed(identity.admin, note="a,b")
    twice = Message()
    for name, value in sent.headers.items():
        for each in value.split(",") if name == "X-Amz-Note" else [value]:
            twice[name] = each
    headers = cast("Mapping[str, str]", twice)
    assert check(replace(sent, headers=headers), identity).name == "host"


def test_s3_words_are_a_switch(identity: Identity) -> None:
    switches = Switches(s3vectors_auth_errors="s3")
    key = temporary(identity, now() + 60)
    assert refusal(signed(key), identity, at=now() + 61, switches=switches).code == "ExpiredToken"
    late = refusal(signed(key), identity, at=now() + 1000, switches=switches)
    assert (late.code, late.status) == ("RequestTimeTooSkewed", 403)
    unknown = replace(key, access_key="AKIANOBODYNOBODYNOBO")
    assert refusal(signed(unknown), identity, switches=switches).code == "InvalidAccessKeyId"
