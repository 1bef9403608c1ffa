"""A service is asked where AWS's own library would ask it, or where the caller says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import Loader

from memlane.aws.endpoints import Endpoint, Endpoints, partition_of
from memlane.errors import ValidationError

THEIRS = {
    "bedrock": "bedrock-runtime",
    "dynamodb": "dynamodb",
    "s3vectors": "s3vectors",
    "sts": "sts",
}
LOADER = Loader()
PARTITIONS: dict[str, Any] = LOADER.load_data("partitions")
# Regions that no installed botocore may know yet: their partition is told by the name alone.
NEW = [
    "us-east-77",
    "cn-central-9",
    "us-gov-north-3",
    "eusc-de-west-5",
    "us-isob-south-2",
    "moon-1",
]
REGIONS = [
    region
    for partition in PARTITIONS["partitions"]
    for region in partition["regions"]
    if not region.endswith("-global")
] + NEW


@pytest.mark.parametrize("dual_stack", [False, True], ids=["v4", "dual"])
@pytest.mark.parametrize("fips", [False, True], ids=["plain", "fips"])
@pytest.mark.parametrize("service", THEIRS)
def test_every_region_is_where_botocore_looks(service: str, fips: bool, dual_stack: bool) -> None:
    """The table, against the rules of whatever botocore is installed."""
    provider = EndpointProvider(
        LOADER.load_service_model(THEIRS[service], "endpoint-rule-set-1"), PARTITIONS
    )
    asked: dict[str, Any] = {"UseFIPS": fips}
    if service != "s3vectors":
        asked["UseDualStack"] = dual_stack
    ours, theirs = {}, {}
    for region in REGIONS:
        theirs[region] = provider.resolve_endpoint(Region=region, **asked).url
        found = Endpoints(region, fips=fips, dual_stack=dual_stack).of(service)
        ours[region] = f"{found.scheme}://{found.host}{found.prefix}"
    assert ours == theirs
    assert len(ours) > 40


def test_the_table_is_the_generators() -> None:
    """Nobody edited it by hand, nor forgot to write it anew."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "scripts/endpoint_table.py", "--check"], cwd=root, check=False
    )
    assert done.returncode == 0


def test_partitions_are_told_by_the_regions_name() -> None:
    """Also of regions that are newer than the table."""
    assert partition_of("eu-west-1")[0] == "aws"
    assert partition_of("us-gov-north-3")[0] == "aws-us-gov"
    assert partition_of("cn-central-9") == (
        "aws-cn",
        "amazonaws.com.cn",
        "api.amazonwebservices.com.cn",
    )


def test_urls_of_ones_own_come_first() -> None:
    """By service, then for all; the scheme's own port is not named, a path comes before."""
    endpoints = Endpoints(
        "us-east-1",
        {
            "s3vectors": "http://localhost:4566/proxy/",
            "*": "https://[::1]:8443",
            "sts": "HTTPS://h:443",
        },
    )
    assert endpoints.of("s3vectors") == Endpoint("http", "localhost:4566", "/proxy")
    assert endpoints.of("bedrock") == Endpoint("https", "[::1]:8443")
    assert endpoints.of("sts") == Endpoint("https", "h")
    named = Endpoints("us-east-1", {"sts": "http://h"})
    assert named.of("bedrock").host == "bedrock-runtime.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:4566", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h#x",
     "http://h:port", "http://h\u00e4", "http://h h", "http://h\u2100:u:p@h", "http://[u:p"],
)  # fmt: skip
def test_urls_that_cannot_be_asked_are_refused(url: str) -> None:
    """When the plane is made, naming the service and not the URL, which may hold a password."""
    with pytest.raises(ValidationError, match="'sts'") as caught:
        Endpoints("us-east-1", {"sts": url})
    assert "u:p" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "region", ["", "US-EAST-1", "eu west", "a.b", "a/b", "-a", "a@b", "x" * 64]
)
def test_a_region_cannot_name_another_host(region: str) -> None:
    """It becomes part of the host's name."""
    with pytest.raises(ValidationError, match="region"):
        Endpoints(region)


def test_a_service_nobody_knows_and_fips_at_ones_own_host_are_refused() -> None:
    """Rather than to guess."""
    with pytest.raises(ValidationError, match="'s3'"):
        Endpoints("us-east-1").of("s3")
    with pytest.raises(ValidationError, match="FIPS"):
        Endpoints("us-east-1", {"*": "http://h"}, fips=True)
