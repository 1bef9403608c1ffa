"""What the environment says, and what it may not say."""

from __future__ import annotations

from typing import Any

import pytest

from memlane import ValidationError
from memlane_plain import Settings
from memlane_plain.cloud import AwsSettings, Place

BUCKET = "s3vectors://my-memory"


def read(url: str | None = BUCKET, **variables: str) -> Settings:
    return Settings.from_environment(variables, url=url)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3vectors://abc", Place("abc")),
        ("s3vectors://my-memory/", Place("my-memory")),
        ("s3vectors://my-memory/all.of-them", Place("my-memory", "all.of-them")),
        ("s3vectors://" + "b" * 63 + "/" + "i" * 63, Place("b" * 63, "i" * 63)),
        ("sqlite:///memory.db", None),
        ("memory://", None),
    ],
)
def test_places(url: str, place: Place | None) -> None:
    """A bucket, and an index where all share one."""
    assert Settings(url=url).place == place


@pytest.mark.parametrize(
    "url",
    [
        "s3vectors://",
        "s3vectors:///index",
        "s3vectors://ab",
        "s3vectors://" + "b" * 64,
        "s3vectors://My-Memory",
        "s3vectors://my_memory",
        "s3vectors://my.memory",
        "s3vectors://-memory",
        "s3vectors://my-memory?region=eu-west-1",
        "s3vectors://key:secret@my-memory",
        "s3vectors://my-memory/ab",
        "s3vectors://my-memory/Index",
        "s3vectors://my-memory/one/two",
        "s3vectors://my-memory/" + "i" * 64,
    ],
)
def test_places_there_cannot_be(url: str) -> None:
    """Refused at once, with an example of what would do."""
    with pytest.raises(ValidationError, match="s3vectors://my-bucket"):
        Settings(url=url)


@pytest.mark.parametrize(
    ("url", "tenancy"),
    [(BUCKET, "required"), (f"{BUCKET}/all", "optional"), ("memory://", "optional")],
)
def test_tenancy_is_what_is_usual_there(url: str, tenancy: str) -> None:
    """A tenant must be named where each has an index."""
    assert Settings(url=url).tenancy == read(url).tenancy == tenancy


@pytest.mark.parametrize("tenancy", ["required", "none", "optional", "per-user"])
def test_tenancy_that_is_told_is_kept(tenancy: Any) -> None:
    """An argument wins over the variable, and either over what is usual."""
    assert read("memory://", MEMLANE_TENANCY=tenancy).tenancy == tenancy
    told = Settings.from_environment({"MEMLANE_TENANCY": "x"}, url="memory://", tenancy=tenancy)
    assert told.tenancy == tenancy


@pytest.mark.parametrize(
    ("url", "tenancy", "remedy"),
    [
        (BUCKET, "none", "shared index"),
        (BUCKET, "optional", "shared index"),
        (f"{BUCKET}/all", "per-user", "leave the index out"),
        ("memory://", "whatever", "per-user"),
    ],
)
def test_tenancy_that_cannot_be(url: str, tenancy: Any, remedy: str) -> None:
    """An index per tenant needs tenants; one that all share has none per user."""
    with pytest.raises(ValidationError, match=remedy):
        Settings.from_environment({}, url=url, tenancy=tenancy)
    with pytest.raises(ValidationError, match=remedy):
        read(url, MEMLANE_TENANCY=tenancy)


def test_all_variables() -> None:
    """Each of AWS's and of memlane's own arrives."""
    aws = read(
        AWS_REGION="eu-central-1",
        AWS_DEFAULT_REGION="us-west-2",
        AWS_PROFILE="work",
        AWS_ACCESS_KEY_ID="AKIAX",
        AWS_SECRET_ACCESS_KEY="hidden",
        AWS_SESSION_TOKEN="token",
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_ENDPOINT_URL_S3VECTORS="http://127.0.0.1:2",
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME="http://127.0.0.1:3",
        AWS_ENDPOINT_URL_STS="http://127.0.0.1:4",
        AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:5",
        AWS_USE_FIPS_ENDPOINT="true",
        AWS_USE_DUALSTACK_ENDPOINT="True",
        MEMLANE_ROLE_ARN="arn:aws:iam::111122223333:role/tenant",
        MEMLANE_ERASER_ROLE_ARN="arn:aws:iam::111122223333:role/eraser",
        MEMLANE_EXTERNAL_ID="x1",
        MEMLANE_EMBEDDING_MODEL="cohere.embed-v4:0",
        MEMLANE_DIMENSIONS="512",
        MEMLANE_CONCURRENCY="16",
        MEMLANE_AUTO_ONBOARD="1",
    ).aws
    assert aws.region == "eu-central-1"
    assert aws.profile == "work"
    assert aws.host is not None
    assert (aws.host.access_key, aws.host.session_token) == ("AKIAX", "token")
    assert aws.endpoint_urls == {
        "*": "http://127.0.0.1:1",
        "s3vectors": "http://127.0.0.1:2",
        "bedrock": "http://127.0.0.1:3",
        "sts": "http://127.0.0.1:4",
        "dynamodb": "http://127.0.0.1:5",
    }
    assert aws.fips
    assert aws.dual_stack
    assert aws.role_arn == "arn:aws:iam::111122223333:role/tenant"
    assert aws.eraser_role_arn == "arn:aws:iam::111122223333:role/eraser"
    assert aws.external_id == "x1"
    assert aws.embedding_model == "cohere.embed-v4:0"
    assert (aws.dimensions, aws.concurrency, aws.auto_onboard) == (512, 16, True)
    assert "hidden" not in repr(aws)
    assert "token" not in repr(aws)


def test_no_variables() -> None:
    """Unset and empty are the same: the defaults."""
    names = ("AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID")
    assert read(**dict.fromkeys(names, "")).aws == read().aws == AwsSettings()
    assert read(AWS_DEFAULT_REGION="us-west-2").aws.region == "us-west-2"


def test_endpoints_can_be_ignored() -> None:
    """AWS's own switch for it is AWS's own."""
    urls = {"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_STS": "http://y"}
    assert read(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true", **urls).aws.endpoint_urls == {}


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIAX", "set both"),
        ("AWS_SECRET_ACCESS_KEY", "hidden", "set both"),
        ("AWS_USE_FIPS_ENDPOINT", "maybe", "true or false"),
        ("MEMLANE_DIMENSIONS", "many", "whole number"),
        ("MEMLANE_DIMENSIONS", "0", "whole number"),
        ("MEMLANE_DIMENSIONS", "\N{ARABIC-INDIC DIGIT FIVE}", "whole number"),
        ("MEMLANE_DIMENSIONS", "-1", "whole number"),
        ("MEMLANE_CONCURRENCY", "1e3", "whole number"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:8765", "https://host"),
    ],
)
def test_variables_that_say_nothing(name: str, value: str, remedy: str) -> None:
    """Refused by name, and no secret is repeated."""
    with pytest.raises(ValidationError, match=remedy) as caught:
        read(**{name: value})
    assert "hidden" not in str(caught.value)


def test_where_credentials_come_from_is_told_without_them() -> None:
    """For `memlane info`."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "hidden"}
    assert read(**keys).aws.host_kind == "keys of the environment"
    assert read(AWS_PROFILE="work").aws.host_kind == "profile work"
    assert read().aws.host_kind == "the default chain"


HTTPS = "http://user:hidden@proxy.example.com:3128"


@pytest.mark.parametrize(
    ("variables", "spared"),
    [
        ({}, ()),
        ({"NO_PROXY": ""}, ()),
        ({"NO_PROXY": "*"}, ("*",)),
        ({"NO_PROXY": "localhost, .amazonaws.com,,"}, ("localhost", ".amazonaws.com")),
        ({"no_proxy": "10.0.0.0/8", "NO_PROXY": "other"}, ("10.0.0.0/8",)),
    ],
    ids=str,
)
def test_proxies(variables: dict[str, str], spared: tuple[str, ...]) -> None:
    """One for all requests but those to hosts that are spared; its password is not shown."""
    aws = read(HTTPS_PROXY=HTTPS, AWS_REGION="eu-west-1", **variables).aws
    assert aws.proxy == HTTPS
    # The variable is https's: an emulator on this machine is asked without.
    assert aws.no_proxy == ("http://*", *spared)
    assert "hidden" not in repr(aws)
    assert read(https_proxy="http://other").aws.proxy == "http://other"
    assert read(https_proxy="").aws.proxy is None


def test_authorities() -> None:
    """AWS's own variable for them."""
    assert read(AWS_CA_BUNDLE="bundle.pem").aws.ca_bundle == "bundle.pem"
    assert read(AWS_CA_BUNDLE="").aws.ca_bundle is None
