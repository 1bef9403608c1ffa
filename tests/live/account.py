"""A real account, for as long as a session of tests lasts: one bucket, made and deleted."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson

from memlane.aws.credentials import HostCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Request
from memlane.errors import StoreNotFoundError
from memlane.protocols import Credentials
from memlane_plain import Settings

__all__ = ("ESTIMATE", "Account", "new_bucket")

# Counted by running it against the emulator.
ESTIMATE = """\
This makes a vector bucket, some 190 small indexes in it, and about:
   1,500 PutVectors, each billed as 128 KB    0.04 dollars
  14,000 GetVectors, ListVectors and others   0.77 dollars
   1,200 QueryVectors                         0.01 dollars
     100 InvokeModel of short texts           0.01 dollars
and deletes all of it. At us-east-1's prices of September 2026 that is below one dollar."""


def new_bucket() -> str:
    """Return a name that no bucket of the account has, and that a policy can be written for."""
    return f"memlane-live-{secrets.token_hex(4)}"


@dataclass(slots=True)
class Account:
    """Where the tests run, and who runs them.

    Args:
        settings: Those of the environment, for the bucket.
        plane: What requests go through.
        host: The host's credentials.
        bucket: The bucket made for this session.
        facts: What was found out, by what it is about.
    """

    settings: Settings
    plane: DataPlane
    host: HostCredentials
    bucket: str
    facts: dict[str, str] = field(default_factory=dict)

    async def call(
        self, operation: str, credentials: Credentials | None = None, **members: object
    ) -> Any:
        """Ask S3 Vectors for something, as the host unless somebody else is given."""
        request = Request("s3vectors", operation, f"/{operation}", orjson.dumps(members))
        reply = await self.plane.call(request, credentials or await self.host.get())
        return orjson.loads(reply.body)

    async def index(self, name: str, *, dimension: int = 4, **members: Any) -> str:
        """Make an index in the bucket and return its name."""
        made: dict[str, Any] = {"distanceMetric": "cosine", "dataType": "float32", **members}
        await self.call(
            "CreateIndex", vectorBucketName=self.bucket, indexName=name, dimension=dimension, **made
        )
        return name

    async def put(self, index: str, *vectors: tuple[str, list[float], dict[str, Any]]) -> None:
        """Store vectors: key, components, metadata."""
        await self.call(
            "PutVectors",
            vectorBucketName=self.bucket,
            indexName=index,
            vectors=[
                {"key": key, "data": {"float32": row}, "metadata": told}
                for key, row, told in vectors
            ],
        )

    async def query(self, index: str, row: list[float], **members: Any) -> Any:
        """Ask for the nearest."""
        told: dict[str, Any] = {
            "topK": 10,
            "returnDistance": True,
            "returnMetadata": True,
            **members,
        }
        place: dict[str, Any] = {"vectorBucketName": self.bucket, "indexName": index}
        return await self.call("QueryVectors", **place, queryVector={"float32": row}, **told)

    async def matching(self, index: str, condition: object) -> list[str]:
        """Return the keys of the vectors that meet a condition."""
        found = await self.query(index, [1.0, 0.0, 0.0, 0.0], filter=condition)
        return sorted(each["key"] for each in found["vectors"])

    async def delete(self) -> None:
        """Delete the bucket with all there is in it."""
        while True:
            place: dict[str, Any] = {"vectorBucketName": self.bucket}
            try:
                found = await self.call("ListIndexes", **place, maxResults=500)
            except StoreNotFoundError:
                return
            async with anyio.create_task_group() as group:
                for index in found["indexes"]:
                    group.start_soon(self._drop, index["indexName"])
            if not found.get("nextToken"):
                break
        await self.call("DeleteVectorBucket", **place)

    async def _drop(self, index: str) -> None:
        try:
            await self.call("DeleteIndex", vectorBucketName=self.bucket, indexName=index)
        except StoreNotFoundError:
            return
