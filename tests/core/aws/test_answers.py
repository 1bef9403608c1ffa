"""Every refusal becomes one error that says what to do, and never shows a credential."""

import json
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlane.aws.answers import MAX_DETAIL, Refusal, decode, refusal
from memlane.aws.wire import Reply, Request
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    QuotaExceededError,
    RequestRejectedError,
    ServiceError,
    StoreNotFoundError,
    ThrottledError,
    UnavailableError,
)
from memlane.protocols import Credentials

REQUEST = Request("s3vectors", "QueryVectors", "/QueryVectors", b"{}")
CREDENTIALS = Credentials(
    access_key="ASIAABCDEFGHIJKLMNOP",
    secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    session_token="short-session-token",
)

TABLE: list[tuple[int, str, type[ServiceError], bool]] = [
    (400, "ValidationException", RequestRejectedError, False),
    (400, "SerializationException", RequestRejectedError, False),
    (400, "KmsDisabledException", RequestRejectedError, False),
    (400, "MalformedPolicyDocument", RequestRejectedError, False),
    (400, "ServiceQuotaExceededException", QuotaExceededError, False),
    (400, "ThrottlingException", ThrottledError, True),
    (400, "ProvisionedThroughputExceededException", ThrottledError, True),
    (400, "ExpiredTokenException", CredentialsError, False),
    (400, "IncompleteSignature", CredentialsError, False),
    (401, "UnauthorizedException", CredentialsError, False),
    (402, "ServiceQuotaExceededException", QuotaExceededError, False),
    (403, "AccessDeniedException", AccessDeniedError, False),
    (403, "AccessDenied", AccessDeniedError, False),
    (403, "RegionDisabledException", AccessDeniedError, False),
    (403, "ExpiredToken", CredentialsError, False),
    (403, "ExpiredTokenException", CredentialsError, False),
    (403, "UnrecognizedClientException", CredentialsError, False),
    (403, "InvalidClientTokenId", CredentialsError, False),
    (403, "SignatureDoesNotMatch", CredentialsError, False),
    (403, "InvalidSignatureException", CredentialsError, False),
    (403, "MissingAuthenticationTokenException", CredentialsError, False),
    (404, "NotFoundException", StoreNotFoundError, False),
    (404, "ResourceNotFoundException", StoreNotFoundError, False),
    (408, "RequestTimeoutException", UnavailableError, True),
    (408, "ModelTimeoutException", UnavailableError, True),
    (409, "ConflictException", ServiceError, False),
    (409, "RetryableConflictException", ServiceError, True),
    (424, "ModelErrorException", UnavailableError, False),
    (429, "TooManyRequestsException", ThrottledError, True),
    (429, "ModelNotReadyException", ThrottledError, True),
    (429, "ThrottledException", ThrottledError, True),
    (500, "InternalServerException", UnavailableError, True),
    (503, "ServiceUnavailableException", UnavailableError, True),
    (502, "", UnavailableError, True),
    (504, "", UnavailableError, True),
    (429, "", ThrottledError, True),
    (403, "", AccessDeniedError, False),
    (302, "", ServiceError, False),
    (418, "", RequestRejectedError, False),
]


def said(
    status: int,
    body: object = b"",
    headers: dict[str, str] | None = None,
    credentials: Credentials | None = CREDENTIALS,
) -> Refusal:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(Reply(status, headers or {}, raw), REQUEST, credentials)


@pytest.mark.parametrize(("status", "code", "kind", "retryable"), TABLE)
def test_what_each_refusal_means(
    status: int, code: str, kind: type[ServiceError], retryable: bool
) -> None:
    """Its class, and whether asking again may help; and all of it is in the error."""
    found = said(status, {"message": "text"}, {"x-amzn-errortype": code, "x-amzn-requestid": "r-1"})
    error = found.error
    assert type(error) is kind
    assert found.retryable is retryable
    assert found.throttled is (kind is ThrottledError or status == 503)
    assert (error.code or "", error.status, error.request_id) == (code, status, "r-1")
    assert (error.service, error.wire_operation, error.detail) == (
        "s3vectors",
        "QueryVectors",
        "text",
    )
    for part in ("s3vectors", "QueryVectors", str(status), code, "r-1"):
        assert part in str(error)
    assert "text" not in str(error)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-amzn-errortype": "NotFoundException"}, {}),
        ({"x-amzn-errortype": "NotFoundException:http://internal.amazon.com/x/"}, {}),
        ({"x-amzn-errortype": "com.amazon#NotFoundException"}, {}),
        ({}, {"__type": "com.amazonaws.dynamodb.v20120810#NotFoundException"}),
        ({}, {"__type": "NotFoundException"}),
        ({}, {"code": "NotFoundException"}),
        ({"x-amzn-errortype": "  "}, {"code": "NotFoundException"}),
    ],
)
def test_where_the_code_is_said(headers: dict[str, str], body: dict[str, str]) -> None:
    """In the header, or in the body, with whatever is around it."""
    assert said(400, body, headers).error.code == "NotFoundException"
    assert type(said(400, body, headers).error) is StoreNotFoundError


@pytest.mark.parametrize("key", ["message", "Message", "errorMessage"])
def test_where_the_message_is_said(key: str) -> None:
    """Services spell it differently."""
    assert said(400, {key: "the text"}).error.detail == "the text"


def test_which_of_many_is_meant_is_told() -> None:
    """A batch is refused for one of its vectors: the place survives a long message."""
    fields = [{"path": "vectors[3].metadata", "message": "m"}, {"path": 5}, "x", {"path": "a b"}]
    assert said(400, {"message": "no", "fieldList": fields}).error.detail == (
        "no [vectors[3].metadata]"
    )
    detail = said(400, {"message": "x " * 900, "fieldList": fields}).error.detail
    assert detail is not None
    assert detail.endswith(" [vectors[3].metadata]")
    assert len(detail) == MAX_DETAIL
    assert said(400, {"message": "no", "fieldList": 7}).error.detail == "no"


def test_what_sts_says() -> None:
    """In XML, with its entities."""
    body = (
        b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n'
        b"    <Type>Sender</Type>\n    <Code>AccessDenied</Code>\n"
        b"    <Message>User &quot;a&quot; &amp; b</Message>\n  </Error>\n"
        b"  <RequestId>6f1c</RequestId>\n</ErrorResponse>"
    )
    error = said(403, body).error
    assert type(error) is AccessDeniedError
    assert (error.code, error.detail, error.request_id) == ("AccessDenied", 'User "a" & b', "6f1c")


def test_no_credential_is_shown() -> None:
    """Neither the ones in use, nor what looks like somebody's."""
    token = "IQoJb3JpZ2luX2VjE" + "Aa0/+" * 60
    message = (
        f"{CREDENTIALS.access_key} {CREDENTIALS.secret_key} {CREDENTIALS.session_token} "
        f"AKIAIOSFODNN7EXAMPLE x-amz-security-token:{token} "
        "arn:aws:s3vectors:us-east-1:1:bucket/b/index/i"
    )
    error = said(403, {"message": message}).error
    shown = f"{error} {error.detail} {error!r}"
    for secret in (
        CREDENTIALS.access_key,
        CREDENTIALS.secret_key,
        CREDENTIALS.session_token or "",
        "AKIAIOSFODNN7EXAMPLE",
        token[:20],
    ):
        assert secret not in shown
    assert "arn:aws:s3vectors:us-east-1:1:bucket/b/index/i" in shown


@pytest.mark.parametrize("fields", [[], [{"path": "vectors[3].key"}]])
@pytest.mark.parametrize("room", [20, 40, 70, 100])
def test_a_token_that_the_cut_goes_through_is_not_shown_either(
    fields: list[object], room: int
) -> None:
    """What is secret is taken out before the text is shortened, with places to name or without."""
    token = "Zz0/+" * 60
    message = "x" * (MAX_DETAIL - room) + " " + token
    error = said(400, {"message": message, "fieldList": fields}).error
    assert error.detail is not None
    assert len(error.detail) <= MAX_DETAIL
    assert "Zz0" not in error.detail


def test_a_credential_in_a_url_is_one() -> None:
    """Encoded it is as good as it was."""
    token = "ab/+=" * 8
    credentials = Credentials(access_key="A" * 16, secret_key="s" * 20, session_token=token)
    body = orjson.dumps({"message": f"?token={quote(token, safe='')}&x"})
    error = refusal(Reply(403, {}, body), Request("s", "Q", "/Q", b""), credentials).error
    assert error.detail == "?token=***&x"


@pytest.mark.parametrize(
    ("status", "code", "accepted"),
    [
        (400, "ValidationException", True),
        (404, "NotFoundException", True),
        (409, "ConflictException", True),
        (403, "AccessDeniedException", False),
        (403, "ExpiredTokenException", False),
        (400, "RequestTimeTooSkewed", False),
        (429, "TooManyRequestsException", False),
        (500, "InternalServerException", False),
    ],
)
def test_when_a_signature_was_right(status: int, code: str, *, accepted: bool) -> None:
    """Only what is told after it was looked at says so."""
    assert said(status, {}, {"x-amzn-errortype": code}).accepted == accepted


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "RequestTimeTooSkewed", "m"),
        (403, "InvalidSignatureException", "Signature expired: 20261120T100000Z is now earlier"),
        (403, "SignatureDoesNotMatch", "Signature not yet current: 20261120T100000Z"),
        (403, "RequestExpired", "m"),
        (403, "AccessDenied", "Signature expired: x"),
    ],
)
def test_what_a_wrong_clock_may_be_behind(status: int, code: str, message: str) -> None:
    """Told apart from what no clock explains."""
    assert said(status, {"message": message}, {"x-amzn-errortype": code}).skewed
    assert not said(403, {"message": "no"}, {"x-amzn-errortype": "AccessDeniedException"}).skewed
    assert not said(403, {"message": "no"}, {"x-amzn-errortype": "ExpiredTokenException"}).skewed


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2.0), ("0.5", 0.5), ("-1", None), ("soon", None), ("nan", None),
    ("99999", 20.0), ("inf", 20.0), ("", None)]
)  # fmt: skip
def test_how_long_to_stay_away(text: str, seconds: float | None) -> None:
    """As far as it is a sensible number."""
    assert said(429, headers={"retry-after": text}).retry_after == seconds


@given(status=st.integers(300, 599), body=st.binary(max_size=60), code=st.text(max_size=30))
def test_nothing_that_comes_back_breaks_the_reading(status: int, body: bytes, code: str) -> None:
    """A proxy may answer with anything."""
    found = said(status, body, {"x-amzn-errortype": code, "x-amzn-requestid": code})
    assert isinstance(found.error, ServiceError)
    assert "\n" not in str(found.error)


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["message", "__type", "code", "Message"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    )
)
def test_no_shape_of_json_breaks_the_reading(body: object) -> None:
    """Strings where strings are expected count; everything else is passed over."""
    assert type(said(400, body).error) in {
        RequestRejectedError, QuotaExceededError, CredentialsError,
    }  # fmt: skip


def test_a_success_that_is_no_json_is_a_failure_of_the_service() -> None:
    """With the request id, and without the body."""
    assert decode(Reply(200, {}, b'{"a":[1.5]}')) == {"a": [1.5]}
    for body in (b"", b"<html>", b'{"a":', b"\xff"):
        with pytest.raises(UnavailableError, match="JSON") as caught:
            decode(Reply(200, {"x-amzn-requestid": "r-9"}, body))
        assert caught.value.request_id == "r-9"
