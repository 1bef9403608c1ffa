"""Vector buckets, indexes, their modes, tags and policies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.signed import BUCKET, INDEX, Signed, prepared
from memlane.testing.emulator import Emulator

ARN = f"arn:aws:s3vectors:us-east-1:111122223333:bucket/{BUCKET}"
SHAPE = {"dataType": "float32", "dimension": 4, "distanceMetric": "cosine"}


@pytest.fixture
def index(emulator: Emulator) -> Signed:
    return prepared(emulator)


def test_a_bucket_and_back(emulator: Emulator) -> None:
    host = Signed(emulator)
    assert host.bucket("CreateVectorBucket").json == {"vectorBucketArn": ARN}
    text = "A vector bucket with the specified name already exists"
    assert host.bucket("CreateVectorBucket").error == (409, "ConflictException", text)
    told = host.raw("GetVectorBucket", vectorBucketArn=ARN).json["vectorBucket"]
    assert told.pop("creationTime") > 0
    assert told == {
        "vectorBucketName": BUCKET,
        "vectorBucketArn": ARN,
        "encryptionConfiguration": {"sseType": "AES256"},
        "defaultIndexMode": "ENHANCED",
    }
    assert host.call("CreateIndex", **SHAPE).json == {"indexArn": f"{ARN}/index/{INDEX}"}
    text = "The specified vector bucket is not empty"
    assert host.bucket("DeleteVectorBucket").error == (409, "ConflictException", text)
    assert host.call("DeleteIndex").json == {}
    text = "The specified index could not be found"
    assert host.call("DeleteIndex").error == (404, "NotFoundException", text)
    assert host.bucket("DeleteVectorBucket").json == {}
    assert host.bucket("DeleteVectorBucket").status == 404


def test_an_index_as_it_was_made(emulator: Emulator) -> None:
    emulator.blocking.create_bucket(BUCKET)
    host = Signed(emulator)
    wanted: dict[str, Any] = {
        "nonFilterableMetadataKeys": ["content", "row"],
        "textSearchConfigurations": [{"metadataKey": "content", "language": "en"}],
    }
    assert host.call("CreateIndex", **SHAPE, metadataConfiguration=wanted).status == 200
    told = host.raw("GetIndex", indexArn=f"{ARN}/index/{INDEX}").json["index"]
    assert told.pop("creationTime") > 0
    wanted["textSearchConfigurations"][0]["status"] = "ACTIVE"
    assert told == SHAPE | {
        "vectorBucketName": BUCKET,
        "indexName": INDEX,
        "indexArn": f"{ARN}/index/{INDEX}",
        "metadataConfiguration": wanted,
        "encryptionConfiguration": {"sseType": "AES256"},
        "indexMode": "ENHANCED",
    }
    text = "An index with the specified name already exists"
    assert host.call("CreateIndex", **SHAPE).error == (409, "ConflictException", text)


@pytest.mark.parametrize(
    "change",
    [
        {"dataType": "float16"},
        {"dataType": None},
        {"dimension": 0},
        {"dimension": 4097},
        {"dimension": None},
        {"distanceMetric": "dot"},
        {"metadataConfiguration": {"nonFilterableMetadataKeys": ["x" * 64]}},
        {"metadataConfiguration": {"nonFilterableMetadataKeys": [str(n) for n in range(11)]}},
        {
            "metadataConfiguration": {
                "textSearchConfigurations": [{"metadataKey": "a", "language": "tlh"}]
            }
        },
    ],
)
def test_indexes_that_cannot_be(emulator: Emulator, change: dict[str, Any]) -> None:
    emulator.blocking.create_bucket(BUCKET)
    answer = Signed(emulator).call("CreateIndex", **SHAPE | change)
    assert answer.error[:2] == (400, "ValidationException")


@pytest.mark.parametrize("name", ["ab", "x" * 64, "Acme", "a_b", "-ab", "ab-", ".ab", "a b"])
def test_names(emulator: Emulator, name: str) -> None:
    host = Signed(emulator)
    emulator.blocking.create_bucket(BUCKET)
    assert host.raw("CreateVectorBucket", vectorBucketName=name).status == 400
    bad = host.raw("CreateIndex", vectorBucketName=BUCKET, indexName=name, **SHAPE)
    assert bad.error[:2] == (400, "ValidationException")
    assert host.raw("CreateVectorBucket", vectorBucketName="a.b").status == 400
    good = host.raw("CreateIndex", vectorBucketName=BUCKET, indexName="a.b", **SHAPE)
    assert good.status == 200


def test_listings(emulator: Emulator) -> None:
    host = Signed(emulator)
    for name in ("one", "two", "twelve"):
        emulator.blocking.create_bucket(name)
        emulator.blocking.create_index("one", f"memory-{name}")
    first = host.raw("ListVectorBuckets", maxResults=2).json
    assert [one["vectorBucketName"] for one in first["vectorBuckets"]] == ["one", "twelve"]
    rest = host.raw("ListVectorBuckets", nextToken=first["nextToken"]).json
    assert [one["vectorBucketName"] for one in rest["vectorBuckets"]] == ["two"]
    assert "nextToken" not in rest
    some = host.raw("ListVectorBuckets", prefix="tw").json["vectorBuckets"]
    assert len(some) == 2
    found = host.raw("ListIndexes", vectorBucketName="one", prefix="memory-t").json["indexes"]
    assert [one["indexName"] for one in found] == ["memory-twelve", "memory-two"]
    assert host.raw("ListIndexes", vectorBucketName="none").status == 404
    assert host.raw("ListVectorBuckets", maxResults=501).status == 400


def test_new_buckets_are_enhanced_only(index: Signed) -> None:
    text = (
        "defaultIndexMode cannot be set to CLASSIC because this vector bucket does not support "
        "CLASSIC mode"
    )
    answer = index.bucket("PutVectorBucketDefaultIndexMode", defaultIndexMode="CLASSIC")
    assert answer.error == (400, "ValidationException", text)
    text = (
        "indexMode cannot be set to CLASSIC because the vector bucket does not support CLASSIC mode"
    )
    answer = index.call("UpdateIndexMode", indexMode="CLASSIC")
    assert answer.error == (400, "ValidationException", text)
    assert index.call("UpdateIndexMode", indexMode="ENHANCED").status == 200


def test_legacy_buckets_have_both_modes(emulator: Emulator) -> None:
    emulator.blocking.switch(legacy_buckets=True)
    index = prepared(emulator)
    assert index.call("GetIndex").json["index"]["indexMode"] == "CLASSIC"
    mode = index.bucket("PutVectorBucketDefaultIndexMode", defaultIndexMode="ENHANCED")
    assert mode.status == 200
    emulator.blocking.create_index(BUCKET, "later")
    later = index.raw("GetIndex", vectorBucketName=BUCKET, indexName="later").json
    assert later["index"]["indexMode"] == "ENHANCED"
    assert index.call("UpdateIndexMode", indexMode="ENHANCED").status == 200
    assert index.call("UpdateIndexMode", indexMode="CLASSIC").status == 200


@pytest.mark.parametrize(
    ("encryption", "status", "message"),
    [
        (
            {"kmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/a"},
            400,
            "kmsKeyArn must not be specified when sseType is AES256.",
        ),
        (
            {"sseType": "aws:kms"},
            400,
            "kmsKeyArn must be specified when sseType is set to aws:kms",
        ),
        (
            {"sseType": "aws:kms", "kmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/none"},
            403,
            None,
        ),
    ],
)
def test_encryption(
    emulator: Emulator, encryption: dict[str, str], status: int, message: str | None
) -> None:
    answer = Signed(emulator).bucket("CreateVectorBucket", encryptionConfiguration=encryption)
    assert answer.status == status
    assert message in {None, answer.json["message"]}


@pytest.mark.parametrize("arn", [ARN, f"{ARN}/index/{INDEX}"])
def test_tags(index: Signed, arn: str) -> None:
    def tag(tags: dict[str, str]) -> Any:
        return index.tags("POST", arn, json.dumps({"tags": tags}).encode())

    assert tag({"TenantID": "acme", "a": "1"}).status == 200
    assert tag({"a": "2"}).status == 200
    assert index.tags("GET", arn).json == {"tags": {"TenantID": "acme", "a": "2"}}
    text = "System tags cannot be added/updated by requester"
    assert tag({"aws:x": "1"}).error == (400, "ValidationException", text)
    text = "Too many tags specified"
    assert tag({f"k{n}": "" for n in range(51)}).error == (400, "ValidationException", text)
    assert index.tags("DELETE", arn, query="?tagKeys=a&tagKeys=none").status == 200
    assert index.tags("GET", arn).json == {"tags": {"TenantID": "acme"}}
    assert index.tags("GET", f"{ARN}x").status == 404
    assert index.tags("GET", "arn:aws:s3:::x").status == 400


def test_bucket_policies(index: Signed) -> None:
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3vectors:QueryVectors",
                    "Resource": f"{ARN}/index/*",
                }
            ],
        }
    )
    assert index.bucket("GetVectorBucketPolicy").status == 404
    assert index.query().status == 200
    assert index.bucket("PutVectorBucketPolicy", policy=policy).json == {}
    assert index.bucket("GetVectorBucketPolicy").json == {"policy": policy}
    assert index.query().error[:2] == (403, "AccessDeniedException")
    assert index.bucket("DeleteVectorBucketPolicy").json == {}
    assert index.query().status == 200
    assert index.bucket("PutVectorBucketPolicy", policy="{").status == 400


def test_losers_of_a_race_to_create(index: Signed, emulator: Emulator) -> None:
    emulator.blocking.switch(create_losers_fail=True)
    codes = [index.call("CreateIndex", **SHAPE).error[1] for _ in range(6)]
    assert codes.count("InternalServerException") >= 1
    assert codes.count("ConflictException") >= 4


def test_a_deleted_index_is_empty_when_it_is_made_again(index: Signed, emulator: Emulator) -> None:
    index.put("K")
    assert emulator.blocking.drop_index(BUCKET, INDEX)
    assert index.query().error[:2] == (404, "NotFoundException")
    assert index.call("CreateIndex", **SHAPE).status == 200
    assert index.found() == []


@pytest.mark.parametrize("part", [("111122223333", "444455556666"), ("us-east-1", "eu-west-1")])
def test_arns_of_elsewhere(index: Signed, part: tuple[str, str]) -> None:
    elsewhere = ARN.replace(*part)
    assert index.raw("GetVectorBucket", vectorBucketArn=ARN).status == 200
    assert index.raw("GetVectorBucket", vectorBucketArn=elsewhere).status == 404
    assert index.raw("GetIndex", indexArn=f"{elsewhere}/index/{INDEX}").status == 404
    assert index.raw("GetIndex", indexArn=ARN).status == 400
    assert index.raw("GetVectorBucket", vectorBucketArn=f"{ARN}/index/{INDEX}").status == 400


def test_unknown_operations(index: Signed) -> None:
    assert index.raw("CopyVectors").error[:2] == (404, "UnknownOperationException")
    assert index.send("GET", "/QueryVectors").status == 404
