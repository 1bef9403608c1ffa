"""A signature is what AWS computes from the same request, and is computed in one way only."""

import datetime as dt

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from memlane.aws.signing import Signer, canonical_path, canonical_query, derive_key
from memlane.aws.wire import Request
from memlane.errors import ValidationError
from memlane.protocols import Credentials

# The key pair and the moment of AWS's published test suite, which is no one's.
SUITE = Credentials(
    access_key="AKIDEXAMPLE",
    secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
)
MOMENT = dt.datetime(2015, 8, 30, 12, 36, tzinfo=dt.UTC).timestamp()
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmx"
    "fpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0K"
    "PkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZb"
    "qBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)


def asked(path: str = "/", **changed: object) -> Request:
    fields: dict[str, object] = {"method": "GET", "content_type": "", **changed}
    return Request("service", "Op", path, b"", **fields)  # type: ignore[arg-type]


def signed(request: Request, credentials: Credentials = SUITE, *, region: str = "us-east-1") -> str:
    headers = Signer(region).headers(
        request, credentials, host="example.amazonaws.com", path=request.path, at=MOMENT
    )
    return headers["Authorization"]


def test_the_published_key_derivation() -> None:
    """The documented example of a derived key."""
    key = derive_key(SUITE.secret_key, "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


VECTORS = [
    ("get-vanilla", asked(), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (
        "post-vanilla",
        asked(method="POST"),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    (
        "get-vanilla-query-order-key-case",
        asked(query="Param2=value2&Param1=value1"),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-empty-query-key",
        asked(query="Param1=value1"),
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    (
        "get-unreserved",
        asked(f"/{UNRESERVED}"),
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "get-header-value-trim",
        asked(headers=(("My-Header1", " value1"), ("My-Header2", ' "a   b   c"'))),
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "get-vanilla-query-unreserved",
        asked(query=f"{UNRESERVED}={UNRESERVED}"),
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    (
        "get-vanilla-utf8-query",
        asked(query="%E1%88%B4=bar"),
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    (
        "post-header-key-sort",
        asked(method="POST", headers=(("My-Header1", "value1"),)),
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
]


@pytest.mark.parametrize(
    ("request_", "signature"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS]
)
def test_the_published_vectors(request_: Request, signature: str) -> None:
    """The signatures of AWS's test suite."""
    assert signed(request_).endswith(f"Signature={signature}")


def test_the_whole_header_of_get_vanilla() -> None:
    """Scope, names and signature, in the form that AWS documents."""
    assert signed(asked()) == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


def theirs(request: Request, credentials: Credentials, region: str, at: dt.datetime) -> str:
    """Return botocore's own header for a request."""
    query = f"?{request.query}" if request.query else ""
    headers = {"Content-Type": request.content_type} if request.content_type else {}
    wanted = AWSRequest(
        request.method,
        f"https://host.example{request.path}{query}",
        headers={**headers, **dict(request.headers)},
        data=request.body,
    )
    wanted.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    auth = SigV4Auth(
        BotocoreCredentials(
            credentials.access_key, credentials.secret_key, credentials.session_token
        ),
        request.service,
        region,
    )
    wanted.headers["X-Amz-Date"] = wanted.context["timestamp"]
    if credentials.session_token:
        wanted.headers["X-Amz-Security-Token"] = credentials.session_token
    canonical = auth.canonical_request(wanted)
    to_sign = auth.string_to_sign(wanted, canonical)
    parts = [f"AWS4-HMAC-SHA256 Credential={auth.scope(wanted)}"]
    parts.append(f"SignedHeaders={auth.signed_headers(auth.headers_to_sign(wanted))}")
    parts.append(f"Signature={auth.signature(to_sign, wanted)}")
    return ", ".join(parts)


segments = st.text("abcXYZ019-_.~", min_size=1, max_size=12).filter(
    lambda text: text not in {".", ".."}
) | st.sampled_from(
    ["arn%3Aaws%3As3vectors%3Aus-east-1%3A1%3Abucket%2Fb", "%25", "%C3%A4", "a:b", "m%3A0"]
)
texts = st.text("abcXYZ019-_.~", max_size=8) | st.sampled_from(["%2F", "a%20b", "%C3%A4"])
requests = st.builds(
    Request,
    service=st.sampled_from(["s3vectors", "bedrock", "sts"]),
    operation=st.just("Op"),
    path=st.lists(segments, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    body=st.binary(max_size=50),
    method=st.sampled_from(["POST", "GET", "DELETE"]),
    query=st.lists(st.tuples(texts.filter(bool), texts), max_size=4).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
    ),
    content_type=st.sampled_from(["", "application/json", "application/x-amz-json-1.0"]),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["X-Amz-Target", "Accept-Language", "x-a"]),
            st.text("abc 1,;=", min_size=1, max_size=12).filter(str.strip),
        ),
        max_size=3,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
)


@given(
    request=requests,
    token=st.none() | st.just(TOKEN),
    region=st.sampled_from(["us-east-1", "cn-north-1"]),
    at=st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2035, 1, 1)),  # noqa: DTZ001
)
def test_what_botocore_signs(
    request: Request, token: str | None, region: str, at: dt.datetime
) -> None:
    """Any request gets the signature that AWS's own library gives it."""
    credentials = Credentials(access_key="AKIDX", secret_key="s/+=", session_token=token)
    moment = at.replace(tzinfo=dt.UTC)
    ours = Signer(region).headers(
        request, credentials, host="host.example", path=request.path, at=moment.timestamp()
    )
    assert ours["Authorization"] == theirs(request, credentials, region, moment)


@pytest.mark.parametrize(
    "path",
    ["", "a", "//", "/a//b", "/a/", "/./a", "/a/..", "/%2e%2E/a", "/%2E", "/a b", "/ä", "/a?b",
     "/a#b", "/a%", "/a%2", "/a\n"],
)  # fmt: skip
def test_paths_that_could_be_read_in_two_ways_are_refused(path: str) -> None:
    """Empty and dot segments, and whatever is not encoded."""
    with pytest.raises(ValidationError, match="path"):
        canonical_path(path)


@pytest.mark.parametrize("query", ["a b", "a=+", "a=%", "ä=1", "a=1#b", "a=/"])
def test_queries_that_are_not_encoded_are_refused(query: str) -> None:
    """What would be encoded anew on the way is not sent."""
    with pytest.raises(ValidationError, match="query"):
        canonical_query(query)


@pytest.mark.parametrize(
    "header",
    [
        ("Host", "x"),
        ("authorization", "x"),
        ("X-Amz-Date", "x"),
        ("a b", "x"),
        ("X-A", "x\r\nB: c"),
    ],
)
def test_headers_that_are_not_the_requests_own_are_refused(header: tuple[str, str]) -> None:
    """Neither ours again, nor a second header inside one."""
    with pytest.raises(ValidationError, match="header"):
        signed(asked(headers=(header,)))


def test_nothing_is_signed_without_credentials() -> None:
    """An unsigned request carries neither date nor signature."""
    headers = Signer("us-east-1").headers(asked(), None, host="h", path="/", at=MOMENT)
    assert not {"Authorization", "X-Amz-Date"} & set(headers)


def test_two_secrets_under_one_key_id_sign_differently() -> None:
    """What is kept is kept by secret: a rotated one is never mistaken for its predecessor."""
    signer = Signer("us-east-1")

    def sign(secret: str, at: float = MOMENT) -> str:
        credentials = Credentials(access_key="AKIDX", secret_key=secret)
        return signer.headers(asked(), credentials, host="h", path="/", at=at)["Authorization"]

    first, second = sign("one"), sign("two")
    assert first != second
    assert sign("one") == first
    tomorrow = sign("one", MOMENT + 86_400)
    fresh = Signer("us-east-1").headers(
        asked(),
        Credentials(access_key="AKIDX", secret_key="one"),
        host="h",
        path="/",
        at=MOMENT + 86_400,
    )
    assert tomorrow == fresh["Authorization"]


def test_what_is_kept_is_bounded_and_holds_no_secret() -> None:
    """Many tenants' keys do not pile up, yesterday's go, and no secret is among them."""
    signer = Signer("us-east-1", size=3)
    for number in range(10):
        credentials = Credentials(access_key="AKIDX", secret_key=f"secret-{number}")
        signer.headers(asked(), credentials, host="h", path="/", at=MOMENT)
    kept = signer._keys[1]
    assert 0 < len(kept) <= 3
    assert b"secret" not in repr(kept).encode()
    signer.headers(asked(), SUITE, host="h", path="/", at=MOMENT + 86_400)
    assert len(signer._keys[1]) == 1


def test_a_key_is_derived_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of the five digests of a signature are saved."""
    derived: list[str] = []

    def counting(secret: str, day: str, region: str, service: str) -> bytes:
        derived.append(day)
        return derive_key(secret, day, region, service)

    monkeypatch.setattr("memlane.aws.signing.derive_key", counting)
    signer = Signer("us-east-1")
    for at in (MOMENT, MOMENT + 60, MOMENT + 86_400, MOMENT + 86_460):
        signer.headers(asked(), SUITE, host="h", path="/", at=at)
    assert derived == ["20150830", "20150831"]
