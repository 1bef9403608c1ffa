"""Vector buckets and indexes: what there is, by name and by ARN."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.policy_documents import Policy
from memlane.testing.emulator.s3vectors.members import Members, text
from memlane.testing.emulator.s3vectors.refusals import constraint, invalid, not_found
from memlane.testing.emulator.s3vectors.table import Table

__all__ = ("Account", "Bucket", "Index", "Mode", "TextKey", "Wanted")

Mode: TypeAlias = Literal["CLASSIC", "ENHANCED"]

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_INDEX: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:s3vectors:[a-z0-9-]+:[0-9]{12}:bucket/(?P<bucket>[^/]+)(?:/index/(?P<index>[^/]+))?"
)


@dataclass(slots=True, kw_only=True)
class TextKey:
    """A metadata key that can be searched by words."""

    key: str
    language: str
    ready_at: float


@dataclass(slots=True, kw_only=True)
class Index:
    """A vector index.

    Attributes:
        recency: The machine's time at which it was created, for races of its creators.
    """

    bucket: str
    name: str
    arn: str
    created: float
    dimension: int
    metric: str
    hidden: tuple[str, ...]
    mode: Mode
    texts: dict[str, TextKey]
    encryption: Mapping[str, str]
    tags: dict[str, str]
    table: Table
    recency: float = 0.0
    lost_races: int = 0


@dataclass(slots=True, kw_only=True)
class Bucket:
    """A vector bucket.

    Attributes:
        legacy: Made in the time before modes: may be CLASSIC.
        parsed_policy: The bucket's own policy, understood.
    """

    name: str
    arn: str
    created: float
    encryption: Mapping[str, str]
    mode: Mode
    legacy: bool
    tags: dict[str, str]
    policy: str | None = None
    parsed_policy: Policy | None = None
    indexes: dict[str, Index] = field(default_factory=dict[str, Index])


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource a request names, which may not exist."""

    bucket: str
    index: str | None
    arn: str


@dataclass(slots=True, kw_only=True)
class Account:
    """Everything of one account in one region."""

    region: str
    id: str
    buckets: dict[str, Bucket] = field(default_factory=dict[str, Bucket])

    def bucket_arn(self, name: str) -> str:
        """Return the ARN of a bucket."""
        return f"arn:aws:s3vectors:{self.region}:{self.id}:bucket/{name}"

    def index_arn(self, bucket: str, name: str) -> str:
        """Return the ARN of an index."""
        return f"{self.bucket_arn(bucket)}/index/{name}"

    def bucket(self, wanted: Wanted) -> Bucket:
        """Return a bucket that is there.

        Raises:
            AwsError: It is not.
        """
        bucket = self.buckets.get(wanted.bucket)
        if bucket is None or not wanted.arn.startswith(bucket.arn):
            raise not_found("vector bucket")
        return bucket

    def index(self, wanted: Wanted) -> Index:
        """Return an index that is there.

        Raises:
            AwsError: It, or its bucket, is not.
        """
        index = self.bucket(wanted).indexes.get(wanted.index or "")
        if index is None or index.arn != wanted.arn:
            raise not_found("index")
        return index

    def tags_of(self, wanted: Wanted) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the tags of a resource and of its bucket, as far as they are there."""
        bucket = self.buckets.get(wanted.bucket)
        if bucket is None:
            return {}, {}
        if wanted.index is None:
            return bucket.tags, bucket.tags
        index = bucket.indexes.get(wanted.index)
        return ({} if index is None else index.tags), bucket.tags

    def wanted_bucket(self, body: Members) -> Wanted:
        """Return which bucket a request names, by name or ARN."""
        if (arn := text(body, "vectorBucketArn")) is not None:
            return self.wanted_arn(arn, kind="bucket", path="/vectorBucketArn")
        name = text(body, "vectorBucketName")
        if name is None:
            raise invalid("Must specify either vectorBucketName or vectorBucketArn")
        check_bucket_name(name)
        return Wanted(name, None, self.bucket_arn(name))

    def wanted_index(self, body: Members) -> Wanted:
        """Return which index a request names: by ARN, or by its name and its bucket's."""
        if (arn := text(body, "indexArn")) is not None:
            return self.wanted_arn(arn, kind="index", path="/indexArn")
        bucket, name = text(body, "vectorBucketName"), text(body, "indexName")
        if bucket is None or name is None:
            raise invalid("Must specify either indexArn or both vectorBucketName and indexName")
        check_bucket_name(bucket)
        check_index_name(name)
        return Wanted(bucket, name, self.index_arn(bucket, name))

    def wanted_new_index(self, body: Members) -> Wanted:
        """Return which index a request creates: its bucket by name or ARN, and its name."""
        bucket = self.wanted_bucket(body)
        name = text(body, "indexName")
        if name is None:
            raise constraint("/indexName", "not be null", null=True)
        check_index_name(name)
        return Wanted(bucket.bucket, name, f"{bucket.arn}/index/{name}")

    def wanted_arn(
        self, arn: str, *, kind: str | None = None, path: str = "/resourceArn"
    ) -> Wanted:
        """Return which resource an ARN names."""
        found = _ARN.fullmatch(unquote(arn))
        index = found["index"] if found else None
        if found is None or (kind is not None and (kind == "index") is not (index is not None)):
            raise constraint(path, "satisfy regular expression pattern")
        return Wanted(found["bucket"], index, found[0])


def check_bucket_name(name: str) -> None:
    """Refuse what is no bucket's name: 3 to 63 of a-z, 0-9 and "-" [E]."""
    if not _BUCKET.fullmatch(name):
        raise _bad_name("vectorBucketName", name)


def check_index_name(name: str) -> None:
    """Refuse what is no index's name: 3 to 63 of a-z, 0-9, "." and "-" [E]."""
    if not _INDEX.fullmatch(name):
        raise _bad_name("indexName", name)


def _bad_name(member: str, name: str) -> AwsError:
    if not 3 <= len(name) <= 63:
        return constraint(f"/{member}", "have length between 3 and 63, inclusive", length=len(name))
    what = "vector bucket" if member == "vectorBucketName" else "index"
    return invalid(f"Invalid {what} name", member)
