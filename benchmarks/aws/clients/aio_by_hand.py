"""aioboto3 or aiobotocore as their own examples use them: two clients of one session."""

from __future__ import annotations

import importlib
import json
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from benchmarks.aws.words import question, text


class AioByHand:
    """embed and put, embed and query."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._stack = AsyncExitStack()
        self._where = {"vectorBucketName": settings["bucket"], "indexName": "memory"}
        self._library: str = settings["library"]

    async def open(self) -> None:
        """Enter both clients, with as many connections as callers."""
        configuration = importlib.import_module("aiobotocore.config").AioConfig
        config = configuration(max_pool_connections=128)
        if self._library == "aioboto3":
            make: Any = importlib.import_module("aioboto3").Session().client
        else:
            make = importlib.import_module("aiobotocore.session").get_session().create_client
        self._vectors = await self._stack.enter_async_context(make("s3vectors", config=config))
        self._bedrock = await self._stack.enter_async_context(
            make("bedrock-runtime", config=config)
        )

    async def _embed(self, said: str) -> list[float]:
        body = json.dumps({"inputText": said, "dimensions": 1024, "normalize": True})
        answer = await self._bedrock.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)
        vector: list[float] = json.loads(await answer["body"].read())["embedding"]
        return vector

    async def store(self, number: int) -> None:
        """Embed one text and put one vector."""
        said = text(number)
        metadata = {
            "user_id": "ada",
            "agent_name": "default",
            "content": said,
            "stored_at": datetime.now(UTC).isoformat(),
        }
        vector = {"key": uuid.uuid4().hex, "data": {"float32": await self._embed(said)}}
        await self._vectors.put_vectors(**self._where, vectors=[{**vector, "metadata": metadata}])

    async def retrieve(self, number: int) -> int:
        """Return the five nearest."""
        answer = await self._vectors.query_vectors(
            **self._where,
            queryVector={"float32": await self._embed(question(number))},
            topK=5,
            filter={"user_id": "ada"},
            returnDistance=True,
            returnMetadata=True,
        )
        assert len(answer["vectors"]) == 5
        return len(answer["vectors"])

    async def close(self) -> None:
        """Leave both clients."""
        await self._stack.aclose()


async def open_client(settings: dict[str, Any]) -> AioByHand:
    """Make both clients."""
    client = AioByHand(settings)
    await client.open()
    return client
