"""Every operation of S3 Vectors, text search and all, through boto3; and its paginators."""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
from botocore.exceptions import ClientError

BUCKET = "boto3-bucket"
NAMES = {"vectorBucketName": BUCKET, "indexName": "memory-acme"}
TEXTS = ("the window seat", "an aisle seat", "a blue car", "thunder and lightning")

s3vectors = boto3.client("s3vectors")


def vector(*values: float) -> dict[str, list[float]]:
    return {"float32": list(values)}


def refused(operation: str, **members: Any) -> tuple[str, int, str]:
    """Return code, status and message of a refusal."""
    try:
        getattr(s3vectors, operation)(**members)
    except ClientError as error:
        told = error.response
        status = told["ResponseMetadata"]["HTTPStatusCode"]
        return told["Error"]["Code"], status, told["Error"]["Message"]
    raise AssertionError(operation)


def buckets() -> str:
    made = s3vectors.create_vector_bucket(vectorBucketName=BUCKET, tags={"team": "x"})
    arn: str = made["vectorBucketArn"]
    told = s3vectors.get_vector_bucket(vectorBucketName=BUCKET)["vectorBucket"]
    assert told["vectorBucketArn"] == arn
    assert told["creationTime"].year >= 2026
    assert refused("create_vector_bucket", vectorBucketName=BUCKET)[:2] == (
        "ConflictException",
        409,
    )
    s3vectors.put_vector_bucket_default_index_mode(
        vectorBucketName=BUCKET, defaultIndexMode="ENHANCED"
    )
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3vectors:DeleteIndex",
            "Resource": f"{arn}/index/*",
        },
    }
    s3vectors.put_vector_bucket_policy(vectorBucketName=BUCKET, policy=json.dumps(policy))
    read = s3vectors.get_vector_bucket_policy(vectorBucketName=BUCKET)["policy"]
    assert json.loads(read) == policy
    return arn


def indexes() -> str:
    made = s3vectors.create_index(
        **NAMES,
        dataType="float32",
        dimension=4,
        distanceMetric="cosine",
        metadataConfiguration={
            "nonFilterableMetadataKeys": ["content"],
            "textSearchConfigurations": [{"metadataKey": "content", "language": "en"}],
        },
        tags={"TenantID": "acme"},
    )
    for number in range(5):
        s3vectors.create_index(
            vectorBucketName=BUCKET,
            indexName=f"other-{number}",
            dataType="float32",
            dimension=2,
            distanceMetric="euclidean",
        )
    told = s3vectors.get_index(**NAMES)["index"]
    assert (told["dimension"], told["indexMode"]) == (4, "ENHANCED")
    s3vectors.update_index_mode(**NAMES, indexMode="ENHANCED")
    arn: str = made["indexArn"]
    s3vectors.update_metadata_configuration(
        indexArn=arn,
        add={"textSearchConfigurations": [{"metadataKey": "title", "language": "de"}]},
    )
    s3vectors.tag_resource(resourceArn=arn, tags={"a": "b", "c d": "ü"})
    s3vectors.untag_resource(resourceArn=arn, tagKeys=["a"])
    tags = s3vectors.list_tags_for_resource(resourceArn=arn)["tags"]
    assert tags == {"TenantID": "acme", "c d": "ü"}
    assert refused("get_index", vectorBucketName=BUCKET, indexName="nothing")[:2] == (
        "NotFoundException",
        404,
    )
    return arn


def vectors() -> None:
    rows = [
        {
            "key": f"k{n}",
            "data": vector(1, n / 10, 0.5, 0.25),
            "metadata": {"content": TEXTS[n % 4], "user_id": f"u{n % 3}", "n": n},
        }
        for n in range(250)
    ]
    s3vectors.put_vectors(**NAMES, vectors=rows)
    got = s3vectors.get_vectors(**NAMES, keys=["k7", "none"], returnData=True, returnMetadata=True)
    assert [each["key"] for each in got["vectors"]] == ["k7"]
    assert got["vectors"][0]["metadata"]["n"] == 7
    code, status, message = refused(
        "put_vectors", **NAMES, vectors=[{"key": "z", "data": vector(0, 0, 0, 0)}]
    )
    assert (code, status) == ("ValidationException", 400)
    assert message == (
        "Invalid record for key 'z': cosine distance does not support vectors with zero norm"
    )


def pages() -> None:
    def keys(operation: str, member: str, name: str, **members: Any) -> list[str]:
        told = s3vectors.get_paginator(operation).paginate(**members)
        return [each[name] for page in told for each in page[member]]

    listed = keys("list_vectors", "vectors", "key", **NAMES, PaginationConfig={"PageSize": 40})
    assert sorted(listed) == sorted(f"k{n}" for n in range(250))
    parts = [
        keys("list_vectors", "vectors", "key", **NAMES, segmentCount=3, segmentIndex=n)
        for n in range(3)
    ]
    assert sorted(sum(parts, [])) == sorted(listed)  # noqa: RUF017 - three short lists
    found = keys(
        "query_vectors",
        "vectors",
        "key",
        **NAMES,
        topK=150,
        queryVector=vector(1, 0, 0, 0),
        filter={"$or": [{"user_id": "u1"}, {"n": {"$gte": 100}}]},
    )
    assert len(set(found)) == 150
    names = keys("list_indexes", "indexes", "indexName", vectorBucketName=BUCKET, prefix="other")
    assert len(names) == 5
    assert BUCKET in keys("list_vector_buckets", "vectorBuckets", "vectorBucketName")


def hybrid() -> None:
    near = s3vectors.query_vectors(
        **NAMES, topK=3, queryVector=vector(1, 0.7, 0.5, 0.25), returnDistance=True
    )
    assert near["vectors"][0]["key"] == "k7"
    assert near["distanceMetric"] == "cosine"
    words = [{"text": "thunder", "metadataKey": "content"}]
    texts = s3vectors.query_vectors(**NAMES, topK=5, queryTexts=words, returnMetadata=True)
    assert {each["metadata"]["content"] for each in texts["vectors"]} == {TEXTS[3]}
    both = s3vectors.query_vectors(
        **NAMES,
        topK=10,
        queryTexts=words,
        queryVector=vector(1, 0.7, 0.5, 0.25),
        queryMode="ENHANCED",
        returnScores=True,
        returnMetadata=True,
        filter={"content_is": {"$exists": False}},
    )
    scores = [each["scores"]["fused"] for each in both["vectors"]]
    assert scores == sorted(scores, reverse=True)
    assert {each["metadata"]["content"] for each in both["vectors"]} > {TEXTS[3]}


def others() -> None:
    told = boto3.client("sts").get_caller_identity()
    assert told["Arn"].endswith(":user/host")
    answer = boto3.client("bedrock-runtime").invoke_model(
        modelId="amazon.titan-embed-text-v2:0",
        body=json.dumps({"inputText": "a window seat", "dimensions": 256}),
    )
    counted = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"]
    assert int(counted) == json.loads(answer["body"].read())["inputTextTokenCount"] == 4


def ending(arn: str) -> None:
    s3vectors.delete_vectors(**NAMES, keys=["k1", "none"])
    denied = refused("delete_index", **NAMES)
    assert denied[:2] == ("AccessDeniedException", 403)
    assert denied[2].endswith("with an explicit deny in a resource-based policy")
    s3vectors.delete_vector_bucket_policy(vectorBucketArn=arn)
    assert refused("delete_vector_bucket", vectorBucketName=BUCKET)[:2] == (
        "ConflictException",
        409,
    )
    s3vectors.delete_index(vectorBucketName=BUCKET, indexName="other-0")


if __name__ == "__main__":
    bucket_arn = buckets()
    indexes()
    vectors()
    pages()
    hybrid()
    others()
    ending(bucket_arn)
    done = sorted(s3vectors.meta.service_model.operation_names)
    sys.stdout.write(json.dumps({"operations": done, "boto3": boto3.__version__}))
