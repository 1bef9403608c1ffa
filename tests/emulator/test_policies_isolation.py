"""One tenant's credentials, raw on the wire, against another's index: refused for everything."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.session import get_session

from emulator.signed import BUCKET, Answer, Signed
from memlane.protocols import Credentials
from memlane.testing.emulator import Emulator
from memlane.testing.emulator.s3vectors.service import OPERATIONS, TAG_OPERATIONS

ACCOUNT = "111122223333"
BUCKET_ARN = f"arn:aws:s3vectors:us-east-1:{ACCOUNT}:bucket/{BUCKET}"
ROW = {"key": "k", "data": {"float32": [1, 2, 3, 4]}, "metadata": {"content": "secret"}}
# More than any tenant needs: whatever IAM can refuse is refused by the resource alone.
POLICY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": "s3vectors:*",
        "Resource": f"{BUCKET_ARN}/index/memory-${{aws:PrincipalTag/TenantID}}",
    },
}
NEW = {"dataType": "float32", "dimension": 4, "distanceMetric": "cosine"}
TEXT = {"textSearchConfigurations": [{"metadataKey": "content", "language": "en"}]}

Send = Callable[[Signed, str], Answer]


def arn(index: str) -> str:
    return f"{BUCKET_ARN}/index/{index}"


def on_index(operation: str, **members: Any) -> Send:
    return lambda signed, index: signed.raw(
        operation, vectorBucketName=BUCKET, indexName=index, **members
    )


def on_arn(operation: str, **members: Any) -> Send:
    return lambda signed, index: signed.raw(operation, indexArn=arn(index), **members)


def on_bucket(operation: str, **members: Any) -> Send:
    return lambda signed, _: signed.bucket(operation, **members)


INDEX_CALLS: Mapping[str, Send] = {
    "GetIndex": on_index("GetIndex"),
    "GetIndex by ARN": on_arn("GetIndex"),
    "PutVectors": on_index("PutVectors", vectors=[ROW]),
    "PutVectors by ARN": on_arn("PutVectors", vectors=[ROW]),
    "GetVectors": on_index("GetVectors", keys=["k"], returnMetadata=True),
    "GetVectors by ARN": on_arn("GetVectors", keys=["k"]),
    "ListVectors": on_index("ListVectors"),
    "ListVectors with data": on_index("ListVectors", returnData=True, returnMetadata=True),
    "QueryVectors": on_index("QueryVectors", topK=3, queryVector={"float32": [1, 2, 3, 4]}),
    "QueryVectors with metadata": on_arn(
        "QueryVectors", topK=3, queryVector={"float32": [1, 2, 3, 4]}, returnMetadata=True
    ),
    "UpdateMetadataConfiguration": on_index("UpdateMetadataConfiguration", add=TEXT),
    "UpdateIndexMode": on_index("UpdateIndexMode", indexMode="ENHANCED"),
    "TagResource": lambda signed, index: signed.tags("POST", arn(index), b'{"tags": {"a": "b"}}'),
    "ListTagsForResource": lambda signed, index: signed.tags("GET", arn(index)),
    "UntagResource": lambda signed, index: signed.tags("DELETE", arn(index), query="?tagKeys=a"),
    "DeleteVectors": on_index("DeleteVectors", keys=["k"]),
    "DeleteIndex": on_index("DeleteIndex"),
    "CreateIndex": on_index("CreateIndex", **NEW),
}

OTHER_CALLS: Mapping[str, Send] = {
    "CreateVectorBucket": on_bucket("CreateVectorBucket"),
    "GetVectorBucket": on_bucket("GetVectorBucket"),
    "ListVectorBuckets": lambda signed, _: signed.raw("ListVectorBuckets"),
    "DeleteVectorBucket": on_bucket("DeleteVectorBucket"),
    "PutVectorBucketDefaultIndexMode": on_bucket(
        "PutVectorBucketDefaultIndexMode", defaultIndexMode="ENHANCED"
    ),
    "PutVectorBucketPolicy": on_bucket("PutVectorBucketPolicy", policy="{}"),
    "GetVectorBucketPolicy": on_bucket("GetVectorBucketPolicy"),
    "DeleteVectorBucketPolicy": on_bucket("DeleteVectorBucketPolicy"),
    "ListIndexes": on_bucket("ListIndexes"),
}


@dataclass(frozen=True)
class Tenants:
    """Two of them, each with an index that holds one vector, and the first's credentials."""

    emulator: Emulator
    acme: Signed

    def contents(self) -> Mapping[str, Any]:
        """Return everything that is stored, tags and bucket policies too."""
        host = Signed(self.emulator)
        stored = self.emulator.blocking.vectors(BUCKET, "memory-globex")
        told: dict[str, Any] = {
            "vectors": {key: (each.data.tolist(), each.metadata) for key, each in stored.items()},
            "index": host.raw("GetIndex", indexArn=arn("memory-globex")).json,
            "tags": host.tags("GET", arn("memory-globex")).json,
            "bucket": host.bucket("GetVectorBucket").json,
            "policy": host.bucket("GetVectorBucketPolicy").status,
        }
        return {**told, "indexes": self.emulator.blocking.indexes()}


botocore = functools.cache(get_session)  # reading its models takes a while


def session_of(emulator: Emulator, role: str, tenant: str) -> Credentials:
    """Return a session of a role for a tenant, by botocore's own client."""
    sts = botocore().create_client(
        "sts",
        region_name=emulator.region,
        endpoint_url=emulator.url,
        aws_access_key_id=emulator.admin.access_key,
        aws_secret_access_key=emulator.admin.secret_key,
    )
    try:
        told = sts.assume_role(
            RoleArn=role,
            RoleSessionName=f"tenant-{tenant}",
            Tags=[{"Key": "TenantID", "Value": tenant}],
        )["Credentials"]
    finally:
        sts.close()
    return Credentials(
        access_key=told["AccessKeyId"],
        secret_key=told["SecretAccessKey"],
        session_token=told["SessionToken"],
        expires_at=told["Expiration"],
    )


@pytest.fixture
def tenants(emulator: Emulator) -> Tenants:
    blocking = emulator.blocking
    blocking.create_bucket(BUCKET)
    role = blocking.put_role("tenants", policy=POLICY)
    host = Signed(emulator)
    for index in ("memory-acme", "memory-globex"):
        blocking.create_index(BUCKET, index, dimension=4)
        put = host.raw("PutVectors", vectorBucketName=BUCKET, indexName=index, vectors=[ROW])
        assert put.status == 200
    return Tenants(emulator, Signed(emulator, session_of(emulator, role, "acme")))


def test_every_operation_is_here() -> None:
    named = {name.partition(" ")[0] for name in (*INDEX_CALLS, *OTHER_CALLS)}
    assert named == {*OPERATIONS, *TAG_OPERATIONS.values()}
    assert len(named) == 22


@pytest.mark.parametrize("name", [*INDEX_CALLS, *OTHER_CALLS])
def test_another_tenants_index_is_refused(tenants: Tenants, name: str) -> None:
    send = {**INDEX_CALLS, **OTHER_CALLS}[name]
    before = tenants.contents()
    for index in ("memory-globex", "memory-nobody", "memory-acme2"):
        answer = send(tenants.acme, index)
        status, code, message = answer.error
        assert (status, code) == (403, "AccessDeniedException"), message
        assert (
            "assumed-role/tenants/tenant-acme is not authorized to perform: s3vectors:" in message
        )
        assert "because no identity-based policy allows the s3vectors:" in message
        assert b"secret" not in answer.body
    assert tenants.contents() == before


def test_its_own_index_is_not(tenants: Tenants) -> None:
    """The same calls in their order: what was refused above was refused for the resource alone."""
    for name, send in INDEX_CALLS.items():
        answer = send(tenants.acme, "memory-acme")
        assert answer.status == 200, (name, answer.body)


@pytest.mark.parametrize("name", [*INDEX_CALLS, *OTHER_CALLS])
def test_refused_where_existence_comes_first(tenants: Tenants, name: str) -> None:
    tenants.emulator.blocking.switch(authorization_first=False)
    answer = {**INDEX_CALLS, **OTHER_CALLS}[name](tenants.acme, "memory-globex")
    assert answer.status in {403, 409}, answer.body


def test_a_condition_on_an_indexs_tag(tenants: Tenants) -> None:
    """What the policy says of the index's own tags is asked of those tags."""
    emulator = tenants.emulator
    role = emulator.blocking.put_role(
        "tagged",
        policy={
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Action": "s3vectors:GetIndex",
                "Resource": "*",
                "Condition": {
                    "StringEquals": {"aws:ResourceTag/TenantID": "${aws:PrincipalTag/TenantID}"}
                },
            },
        },
    )
    acme = Signed(emulator, session_of(emulator, role, "acme"))
    tags = json.dumps({"tags": {"TenantID": "acme"}}).encode()
    assert INDEX_CALLS["GetIndex"](acme, "memory-globex").status == 403
    assert Signed(emulator).tags("POST", arn("memory-globex"), tags).status == 200
    assert INDEX_CALLS["GetIndex"](acme, "memory-globex").status == 200
    assert INDEX_CALLS["GetIndex"](acme, "memory-acme").status == 403


def test_a_session_ends_with_its_role(tenants: Tenants) -> None:
    get = INDEX_CALLS["GetIndex"]
    assert get(tenants.acme, "memory-acme").status == 200
    tenants.emulator.blocking.delete_role("tenants")
    assert get(tenants.acme, "memory-acme").error[1] == "UnrecognizedClientException"


def test_a_session_ends_by_the_emulators_clock(tenants: Tenants) -> None:
    tenants.emulator.blocking.switch(signature_seconds=0)
    get = INDEX_CALLS["GetIndex"]
    tenants.emulator.blocking.advance(3_590)
    assert get(tenants.acme, "memory-acme").status == 200
    tenants.emulator.blocking.advance(20)
    assert get(tenants.acme, "memory-acme").error == (
        403,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    )
