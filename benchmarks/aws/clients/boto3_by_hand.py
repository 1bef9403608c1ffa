"""boto3 as its own examples use it: two clients, 32 threads, a connection for each."""

from __future__ import annotations

import asyncio
import importlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from benchmarks.aws.contender import THREADS
from benchmarks.aws.words import question, text


class ByHand:
    """embed and put, embed and query."""

    def __init__(self, settings: dict[str, Any]) -> None:
        config = importlib.import_module("botocore.config").Config(max_pool_connections=THREADS)
        boto3 = importlib.import_module("boto3")
        self._vectors = boto3.client("s3vectors", config=config)
        self._bedrock = boto3.client("bedrock-runtime", config=config)
        self._where = {"vectorBucketName": settings["bucket"], "indexName": "memory"}

    def _embed(self, said: str) -> list[float]:
        body = json.dumps({"inputText": said, "dimensions": 1024, "normalize": True})
        answer = self._bedrock.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)
        vector: list[float] = json.loads(answer["body"].read())["embedding"]
        return vector

    def _store(self, number: int) -> None:
        said = text(number)
        metadata = {
            "user_id": "ada",
            "agent_name": "default",
            "content": said,
            "stored_at": datetime.now(UTC).isoformat(),
        }
        vector = {"key": uuid.uuid4().hex, "data": {"float32": self._embed(said)}}
        self._vectors.put_vectors(**self._where, vectors=[{**vector, "metadata": metadata}])

    def _retrieve(self, number: int) -> int:
        answer = self._vectors.query_vectors(
            **self._where,
            queryVector={"float32": self._embed(question(number))},
            topK=5,
            filter={"user_id": "ada"},
            returnDistance=True,
            returnMetadata=True,
        )
        assert len(answer["vectors"]) == 5
        return len(answer["vectors"])

    async def store(self, number: int) -> None:
        """Embed one text and put one vector."""
        await asyncio.to_thread(self._store, number)

    async def retrieve(self, number: int) -> int:
        """Return the five nearest."""
        return await asyncio.to_thread(self._retrieve, number)

    async def close(self) -> None:
        """Close the connections."""
        self._vectors.close()
        self._bedrock.close()


async def open_client(settings: dict[str, Any]) -> ByHand:
    """Make both clients."""
    return ByHand(settings)
