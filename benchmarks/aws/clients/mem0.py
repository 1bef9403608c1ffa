"""mem0's AsyncMemory over S3 Vectors and Titan, without a language model, 32 threads."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.aws.words import question, text


class Mem0:
    """`add(infer=False)` and `search`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        configured = {
            "vector_store": {
                "provider": "s3_vectors",
                "config": {
                    "vector_bucket_name": settings["bucket"],
                    "collection_name": "memory",
                    "embedding_model_dims": 1024,
                    "region_name": "us-east-1",
                },
            },
            "embedder": {
                "provider": "aws_bedrock",
                "config": {"model": "amazon.titan-embed-text-v2:0", "embedding_dims": 1024},
            },
            # Never called: infer is off, and nothing listens there.
            "llm": {
                "provider": "openai",
                "config": {"api_key": "unused", "openai_base_url": "http://127.0.0.1:9/v1"},
            },
            "history_db_path": str(Path(self._folder.name) / "history.db"),
        }
        self._memory: Any = importlib.import_module("mem0").AsyncMemory.from_config(configured)

    async def store(self, number: int) -> None:
        """Keep one text as it is."""
        await self._memory.add(text(number), user_id="ada", infer=False)

    async def retrieve(self, number: int) -> int:
        """Return the five nearest."""
        found = await self._memory.search(
            question(number), top_k=5, filters={"user_id": "ada"}, threshold=0.0
        )
        assert len(found["results"]) == 5
        return len(found["results"])

    async def close(self) -> None:
        """Drop its history."""
        self._folder.cleanup()


async def open_client(settings: dict[str, Any]) -> Mem0:
    """Make the memory."""
    return Mem0(settings)
