"""Who may do what: the order of checks, and permissions that bring others along."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.signed import BUCKET, INDEX, Signed, prepared
from memlane.protocols import Credentials
from memlane.testing.emulator import Emulator

ARN = f"arn:aws:s3vectors:us-east-1:111122223333:bucket/{BUCKET}"
SHAPE = {"dataType": "float32", "dimension": 4, "distanceMetric": "cosine"}


def user(emulator: Emulator, *actions: str, index: str = INDEX) -> Signed:
    """Return a client of somebody who may only do some things to one index."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [f"s3vectors:{action}" for action in actions],
                "Resource": f"{ARN}/index/{index}",
            }
        ],
    }
    return Signed(emulator, emulator.blocking.put_user("reader", policy=policy))


@pytest.mark.parametrize(
    ("operation", "members", "more"),
    [
        ("QueryVectors", {}, False),
        ("QueryVectors", {"returnDistance": True}, False),
        ("QueryVectors", {"filter": {"a": 1}}, True),
        ("QueryVectors", {"returnMetadata": True}, True),
        ("QueryVectors", {"queryTexts": [{"text": "a", "metadataKey": "a"}]}, True),
        ("ListVectors", {}, False),
        ("ListVectors", {"returnData": True}, True),
        ("ListVectors", {"returnMetadata": True}, True),
    ],
)
def test_reading_what_is_stored_needs_get_vectors(
    emulator: Emulator, operation: str, members: dict[str, Any], more: bool
) -> None:
    configured = {"textSearchConfigurations": [{"metadataKey": "a", "language": "en"}]}
    prepared(emulator, metadataConfiguration=configured)
    if operation == "QueryVectors":
        members = {"topK": 1, "queryVector": {"float32": [1, 2, 3, 4]}, **members}
    alone = user(emulator, operation).call(operation, **members)
    assert alone.status == (403 if more else 200)
    if more:
        assert "s3vectors:GetVectors" in alone.json["message"]
    assert user(emulator, operation, "GetVectors").call(operation, **members).status == 200


def test_tags_on_creation_need_tag_resource(emulator: Emulator) -> None:
    emulator.blocking.create_bucket(BUCKET)
    creator = user(emulator, "CreateIndex")
    tagged = SHAPE | {"tags": {"TenantID": "acme"}}
    assert creator.call("CreateIndex", **tagged).error[:2] == (403, "AccessDeniedException")
    assert creator.call("CreateIndex", **SHAPE).status == 200
    assert creator.call("CreateIndex", **SHAPE).status == 409
    emulator.blocking.drop_index(BUCKET, INDEX)
    both = user(emulator, "CreateIndex", "TagResource")
    assert both.call("CreateIndex", **tagged).status == 200
    told = Signed(emulator).tags("GET", f"{ARN}/index/{INDEX}")
    assert told.json == {"tags": {"TenantID": "acme"}}


@pytest.mark.parametrize("first", [True, False])
def test_what_others_have_is_not_told(emulator: Emulator, first: bool) -> None:
    """With authorization first, an index out of reach and one that is not there look alike."""
    prepared(emulator)
    emulator.blocking.switch(authorization_first=first)
    foreign = user(emulator, "QueryVectors", index="memory-beta")
    query = {"topK": 1, "queryVector": {"float32": [1, 2, 3, 4]}}
    there = foreign.call("QueryVectors", **query)
    absent = foreign.raw("QueryVectors", vectorBucketName=BUCKET, indexName="memory-x", **query)
    own = foreign.raw("QueryVectors", vectorBucketName=BUCKET, indexName="memory-beta", **query)
    assert there.status == 403
    assert absent.status == (403 if first else 404)
    assert own.status == 404
    assert (
        "because no identity-based policy allows the s3vectors:QueryVectors action"
        in (there.json["message"])
    )


def test_permission_before_validity(emulator: Emulator) -> None:
    prepared(emulator)
    nobody = user(emulator, "ListVectors")
    assert nobody.call("QueryVectors", topK=0).status == 403
    assert nobody.put("", [0]).status == 403


def test_conditions_see_tags(emulator: Emulator) -> None:
    """Of the resource, of its bucket, and of the request."""
    prepared(emulator)
    host = Signed(emulator)

    def asking(condition: dict[str, Any], action: str = "QueryVectors") -> Signed:
        statement = {
            "Effect": "Allow",
            "Action": [f"s3vectors:{action}", "s3vectors:TagResource"],
            "Resource": "*",
            "Condition": {"StringEquals": condition},
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        return Signed(emulator, emulator.blocking.put_user("tagged", policy=policy))

    mine = {"aws:ResourceTag/TenantID": "acme"}
    assert asking(mine).query().status == 403
    body = json.dumps({"tags": {"TenantID": "acme"}}).encode()
    assert host.tags("POST", f"{ARN}/index/{INDEX}", body).status == 200
    assert asking(mine).query().status == 200
    of_bucket = {"s3vectors:VectorBucketTag/stage": "test"}
    assert asking(of_bucket).query().status == 403
    assert host.tags("POST", ARN, b'{"tags": {"stage": "test"}}').status == 200
    assert asking(of_bucket).query().status == 200
    creator = asking({"aws:RequestTag/TenantID": "beta"}, "CreateIndex")
    wanted = {"vectorBucketName": BUCKET, "indexName": "memory-beta", **SHAPE}
    assert creator.raw("CreateIndex", **wanted).status == 403
    assert creator.raw("CreateIndex", **wanted, tags={"TenantID": "acme"}).status == 403
    assert creator.raw("CreateIndex", **wanted, tags={"TenantID": "beta"}).status == 200


def test_without_signatures_everybody_is_the_host(emulator: Emulator) -> None:
    prepared(emulator)
    stranger = Signed(emulator, Credentials(access_key="AKIANOBODY", secret_key="wrong"))
    assert stranger.query().status == 403
    emulator.blocking.switch(signatures=False)
    assert stranger.query().status == 200


def test_the_log_says_who_asked_what(emulator: Emulator) -> None:
    prepared(emulator)
    reader = user(emulator, "QueryVectors")
    emulator.blocking.counters(reset=True)
    answer = reader.query()
    reader.call("GetVectors", keys=["a", "b"])
    first, second = emulator.blocking.requests()
    assert first.operation == "QueryVectors"
    assert first.resource == f"{ARN}/index/{INDEX}"
    assert first.principal == "arn:aws:iam::111122223333:user/reader"
    assert first.request_id == answer.headers["x-amzn-requestid"]
    assert (first.status, first.code) == (200, "")
    assert (second.status, second.code, second.vectors) == (403, "AccessDeniedException", 2)
