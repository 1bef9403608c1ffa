"""The 22 operations of S3 Vectors [M]: where each is found, what it needs, what answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

import orjson

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.s3vectors import (
    buckets,
    indexes,
    queries,
    tagging,
    vectors,
)
from memlane.testing.emulator.s3vectors.members import Members
from memlane.testing.emulator.s3vectors.refusals import not_serial
from memlane.testing.emulator.s3vectors.resources import Account, Wanted
from memlane.testing.emulator.s3vectors.world import World

__all__ = ("OPERATIONS", "TAG_OPERATIONS", "Call", "call_of")

Answer: TypeAlias = Callable[[World, Wanted, Members], Mapping[str, Any]]
Named: TypeAlias = Literal["bucket", "index", "new index", "account"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One of them.

    Args:
        answer: What answers it.
        named: What its request names.
    """

    answer: Answer
    named: Named


@dataclass(frozen=True, slots=True)
class Call:
    """A request, understood so far that its sender's permissions can be asked for.

    Args:
        operation: Its name.
        wanted: The resource; None for an operation on the account.
        body: Its members.
        answer: What answers it.
    """

    operation: str
    wanted: Wanted | None
    body: Members
    answer: Callable[[World], Mapping[str, Any]]

    @property
    def resource(self) -> str:
        """The ARN a policy must allow."""
        return "*" if self.wanted is None else self.wanted.arn

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions a policy must allow, those an operation's members add included [D]."""
        body, own = self.body, (f"s3vectors:{self.operation}",)
        if self.operation == "QueryVectors":
            more = body.get("filter") is not None or body.get("queryTexts") is not None
            if more or body.get("returnMetadata"):
                return (*own, "s3vectors:GetVectors")
        if self.operation == "ListVectors" and (
            body.get("returnData") or body.get("returnMetadata")
        ):
            return (*own, "s3vectors:GetVectors")
        if self.operation in {"CreateIndex", "CreateVectorBucket"} and body.get("tags"):
            return (*own, "s3vectors:TagResource")
        return own

    def context(self, account: Account) -> dict[str, str | list[str]]:
        """Return what conditions of policies may ask for."""
        known: dict[str, str | list[str]] = {}
        if self.wanted is not None:
            own, bucket = account.tags_of(self.wanted)
            known.update({f"aws:ResourceTag/{name}": value for name, value in own.items()})
            known.update({f"s3vectors:VectorBucketTag/{k}": value for k, value in bucket.items()})
        tags = self.body.get("tags")
        if isinstance(tags, dict) and tags:
            named = cast("dict[str, str]", tags)
            known.update({f"aws:RequestTag/{name}": value for name, value in named.items()})
            known["aws:TagKeys"] = list(named)
        elif self.operation == "UntagResource":
            known["aws:TagKeys"] = list(self.body["tagKeys"])
        encryption = self.body.get("encryptionConfiguration")
        if self.operation.startswith("Create") and isinstance(encryption, dict):
            given = cast("dict[str, Any]", encryption)
            for name in ("sseType", "kmsKeyArn"):
                if isinstance(given.get(name), str):
                    known[f"s3vectors:{name}"] = given[name]
        return known

    def check_existence(self, account: Account) -> None:
        """Refuse a request for what is not there, before its sender's permissions are asked for."""
        if self.wanted is None or self.operation == "CreateVectorBucket":
            return
        if self.wanted.index is None or self.operation == "CreateIndex":
            account.bucket(self.wanted)
        else:
            account.index(self.wanted)

    @property
    def size(self) -> int:
        """How many vectors or keys it carries."""
        for name in ("vectors", "keys"):
            if isinstance(self.body.get(name), list):
                return len(self.body[name])
        return 0


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateVectorBucket": Operation(buckets.create_bucket, "bucket"),
    "GetVectorBucket": Operation(buckets.get_bucket, "bucket"),
    "ListVectorBuckets": Operation(buckets.list_buckets, "account"),
    "DeleteVectorBucket": Operation(buckets.delete_bucket, "bucket"),
    "PutVectorBucketDefaultIndexMode": Operation(buckets.put_mode, "bucket"),
    "PutVectorBucketPolicy": Operation(buckets.put_policy, "bucket"),
    "GetVectorBucketPolicy": Operation(buckets.get_policy, "bucket"),
    "DeleteVectorBucketPolicy": Operation(buckets.delete_policy, "bucket"),
    "CreateIndex": Operation(indexes.create_index, "new index"),
    "GetIndex": Operation(indexes.get_index, "index"),
    "ListIndexes": Operation(buckets.list_indexes, "bucket"),
    "DeleteIndex": Operation(indexes.delete_index, "index"),
    "UpdateIndexMode": Operation(indexes.update_mode, "index"),
    "UpdateMetadataConfiguration": Operation(indexes.update_metadata, "index"),
    "PutVectors": Operation(vectors.put_vectors, "index"),
    "GetVectors": Operation(vectors.get_vectors, "index"),
    "ListVectors": Operation(vectors.list_vectors, "index"),
    "DeleteVectors": Operation(vectors.delete_vectors, "index"),
    "QueryVectors": Operation(queries.query_vectors, "index"),
}
"""Those that are POST /<name>."""

TAG_OPERATIONS: Final = {
    "POST": "TagResource",
    "DELETE": "UntagResource",
    "GET": "ListTagsForResource",
}
"""Those that are /tags/<ARN>, by method."""


def call_of(
    account: Account,
    operation: str,
    body: bytes,
    *,
    arn: str | None = None,
    tag_keys: list[str] | None = None,
) -> Call:
    """Return what a request asks for.

    Args:
        account: In which names are looked up.
        operation: Its name.
        body: As it came.
        arn: Of /tags/<ARN>.
        tag_keys: Of the query string.

    Raises:
        AwsError: It cannot be read, or names no resource.
    """
    members = _members(body)
    if arn is not None:
        return _tag_call(account.wanted_arn(arn), operation, members, tag_keys or [])
    known = OPERATIONS[operation]
    wanted = _wanted(account, known.named, members)
    there = wanted or Wanted("", None, "*")
    return Call(operation, wanted, members, lambda world: known.answer(world, there, members))


def _members(body: bytes) -> Members:
    try:
        members = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as exc:  # a lone surrogate anywhere too [E]
        raise not_serial() from exc
    if not isinstance(members, dict):
        raise not_serial()
    return cast("Members", members)


def _wanted(account: Account, named: Named, members: Members) -> Wanted | None:
    match named:
        case "account":
            return None
        case "bucket":
            return account.wanted_bucket(members)
        case "index":
            return account.wanted_index(members)
        case "new index":
            return account.wanted_new_index(members)


def _tag_call(wanted: Wanted, operation: str, members: Members, keys: list[str]) -> Call:
    if operation == "TagResource":
        return Call(operation, wanted, members, lambda world: tagging.tag(world, wanted, members))
    if operation == "UntagResource":
        if not keys:
            raise AwsError("ValidationException", 400, "tagKeys must not be empty")
        body = {"tagKeys": keys}
        return Call(operation, wanted, body, lambda world: tagging.untag(world, wanted, keys))
    return Call(operation, wanted, {}, lambda world: tagging.list_tags(world, wanted))
