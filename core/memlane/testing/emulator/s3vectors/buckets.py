"""Operations on vector buckets."""

from __future__ import annotations

from typing import Any, Final, cast

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.policy_documents import parsed
from memlane.testing.emulator.s3vectors.members import (
    Members,
    chosen,
    needed,
    page_size,
    structure,
    text,
)
from memlane.testing.emulator.s3vectors.pages import place_of, token_of
from memlane.testing.emulator.s3vectors.refusals import conflict, constraint, invalid, not_found
from memlane.testing.emulator.s3vectors.resources import Bucket, Mode, Wanted
from memlane.testing.emulator.s3vectors.tagging import tags_in
from memlane.testing.emulator.s3vectors.world import World

__all__ = (
    "create_bucket",
    "delete_bucket",
    "delete_policy",
    "encryption_in",
    "get_bucket",
    "get_policy",
    "list_buckets",
    "list_indexes",
    "put_mode",
    "put_policy",
)

_MODES: Final = ("CLASSIC", "ENHANCED")
_TOKEN: Final = 512


def encryption_in(body: Members) -> dict[str, str]:
    """Return how a request wants a resource to be encrypted; SSE-S3 unless it says so [E]."""
    given = structure(body, "encryptionConfiguration") or {}
    path = "/encryptionConfiguration"
    kind = chosen(given, "sseType", ("AES256", "aws:kms"), path=path) or "AES256"
    key = text(given, "kmsKeyArn", path=path)
    if kind == "AES256" and key is not None:
        raise invalid("kmsKeyArn must not be specified when sseType is AES256.")
    if kind == "aws:kms" and key is None:
        raise invalid("kmsKeyArn must be specified when sseType is set to aws:kms")
    if key is None:
        return {"sseType": kind}
    if ":key/" not in key:
        raise constraint(f"{path}/kmsKeyArn", "satisfy regular expression pattern")
    # No key exists here; AWS says so of a missing one with 403 [E], in words that are ours.
    message = "The specified KMS key does not exist or may not be used."
    raise AwsError("AccessDeniedException", 403, message)


def create_bucket(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Create a bucket, ENHANCED only as all are since 2026-09-30 [B]."""
    name = wanted.bucket
    if name in world.account.buckets:
        raise conflict("A vector bucket with the specified name already exists")
    legacy = world.switches.legacy_buckets
    bucket = Bucket(
        name=name,
        arn=wanted.arn,
        created=world.clock.timestamp(),
        encryption=encryption_in(body),
        mode="CLASSIC" if legacy else "ENHANCED",
        legacy=legacy,
        tags=dict(tags_in(body)),
    )
    world.account.buckets[name] = bucket
    return {"vectorBucketArn": bucket.arn}


def _told(bucket: Bucket) -> dict[str, Any]:
    return {
        "vectorBucketName": bucket.name,
        "vectorBucketArn": bucket.arn,
        "creationTime": bucket.created,
    }


def get_bucket(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Describe a bucket."""
    del body
    bucket = world.account.bucket(wanted)
    told = {"encryptionConfiguration": bucket.encryption, "defaultIndexMode": bucket.mode}
    return {"vectorBucket": {**_told(bucket), **told}}


def list_buckets(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """List the account's buckets, by name."""
    del wanted
    size = page_size(body, default=500, most=500)
    token = text(body, "nextToken", most=_TOKEN)
    found, more = _page(sorted(world.account.buckets), size, token, text(body, "prefix"))
    answer: dict[str, Any] = {"vectorBuckets": [_told(world.account.buckets[n]) for n in found]}
    return answer | more


def _page(
    names: list[str], size: int, token: str | None, prefix: str | None
) -> tuple[list[str], dict[str, str]]:
    place = place_of(token, str)
    after = cast("str", place[0]) if place else ""
    left = [name for name in names if name > after and name.startswith(prefix or "")]
    page = left[:size]
    return page, {"nextToken": token_of(page[-1])} if len(left) > size else {}


def list_indexes(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """List a bucket's indexes, by name."""
    bucket = world.account.bucket(wanted)
    size = page_size(body, default=500, most=500)
    token = text(body, "nextToken", most=_TOKEN)
    found, more = _page(sorted(bucket.indexes), size, token, text(body, "prefix"))
    told = [
        {
            "vectorBucketName": bucket.name,
            "indexName": name,
            "indexArn": bucket.indexes[name].arn,
            "creationTime": bucket.indexes[name].created,
        }
        for name in found
    ]
    answer: dict[str, Any] = {"indexes": told}
    return answer | more


def delete_bucket(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Delete a bucket that holds no index."""
    del body
    bucket = world.account.bucket(wanted)
    if bucket.indexes:
        raise conflict("The specified vector bucket is not empty")
    del world.account.buckets[bucket.name]
    return {}


def put_mode(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Set the mode that new indexes get."""
    bucket = world.account.bucket(wanted)
    mode = needed(chosen(body, "defaultIndexMode", _MODES), "defaultIndexMode")
    if mode == "CLASSIC" and not bucket.legacy:
        raise invalid(
            "defaultIndexMode cannot be set to CLASSIC because this vector bucket does not "
            "support CLASSIC mode"
        )
    bucket.mode = cast("Mode", mode)
    return {}


def put_policy(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Set a bucket's own policy."""
    bucket = world.account.bucket(wanted)
    policy = needed(text(body, "policy"), "policy")
    bucket.parsed_policy = parsed(policy, "resource")
    bucket.policy = policy
    return {}


def get_policy(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Return a bucket's own policy."""
    del body
    policy = world.account.bucket(wanted).policy
    if policy is None:
        raise not_found("vector bucket policy")
    return {"policy": policy}


def delete_policy(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Remove a bucket's own policy."""
    del body
    bucket = world.account.bucket(wanted)
    bucket.policy = bucket.parsed_policy = None
    return {}
