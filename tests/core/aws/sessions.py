"""What tests about sessions share: requests by hand, and whom the emulator takes them for."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import orjson

from memlane.aws.credentials import HostCredentials, StaticCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Request
from memlane.layout import index_name, tenant_code
from memlane.protocols import Credentials
from memlane.scope import Scope
from memlane.testing.emulator import Emulator

BUCKET = "memories"
BUCKET_ARN = f"arn:aws:s3vectors:us-east-1:111122223333:bucket/{BUCKET}"
VECTOR = {"float32": [1.0, 0.0, 0.0, 0.0]}

MEMBERS: dict[str, dict[str, object]] = {
    "GetIndex": {},
    "PutVectors": {"vectors": [{"key": "k", "data": VECTOR, "metadata": {"a": "b"}}]},
    "GetVectors": {"keys": ["k"], "returnMetadata": True},
    "ListVectors": {},
    "QueryVectors": {"topK": 1, "queryVector": VECTOR, "returnMetadata": True},
    "DeleteVectors": {"keys": ["k"]},
    "DeleteIndex": {},
    "UpdateIndexMode": {"indexMode": "ENHANCED"},
}
"""Operations on an index, each with a request that is right but for who sends it."""


def signing(credentials: Credentials) -> HostCredentials:
    return HostCredentials(
        StaticCredentials(credentials.access_key, credentials.secret_key, credentials.session_token)
    )


async def _at_once(_seconds: float) -> None:
    pass


@asynccontextmanager
async def plane_to(emulator: Emulator) -> AsyncGenerator[DataPlane]:
    """A data plane to the emulator that waits for nothing between attempts."""
    plane = DataPlane(region=emulator.region, endpoint_urls={"*": emulator.url}, sleep=_at_once)
    try:
        yield plane
    finally:
        await plane.aclose()


async def send(
    plane: DataPlane, credentials: Credentials, operation: str, index: str, bucket: str = BUCKET
) -> bytes:
    """Send one of `MEMBERS` about an index."""
    members = {"vectorBucketName": bucket, "indexName": index, **MEMBERS[operation]}
    request = Request("s3vectors", operation, f"/{operation}", orjson.dumps(members))
    return (await plane.call(request, credentials)).body


async def who_is(plane: DataPlane, credentials: Credentials) -> str:
    """Return the ARN that STS knows the credentials by."""
    request = Request(
        "sts",
        "GetCallerIdentity",
        "/",
        b"Action=GetCallerIdentity&Version=2011-06-15",
        content_type="application/x-www-form-urlencoded",
    )
    body = (await plane.call(request, credentials)).body.decode()
    found = re.search("<Arn>(.*)</Arn>", body)
    assert found is not None
    return found[1]


async def onboarded(emulator: Emulator, *scopes: Scope) -> list[str]:
    await emulator.create_bucket(BUCKET)
    names = [index_name(tenant_code(scope.tenant)) for scope in scopes]
    for name in names:
        await emulator.create_index(BUCKET, name, dimension=4)
    return names


def allowing(index: str, *actions: str) -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [f"s3vectors:{action}" for action in actions or ("*",)],
                "Resource": f"{BUCKET_ARN}/index/{index}",
            }
        ],
    }
