"""strands-s3-vectors-memory by its own interface, in 32 threads."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from benchmarks.aws.words import question, text


class Strands:
    """`store_memory` and `retrieve_memories`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        library = importlib.import_module("strands_s3_vectors_memory")
        # Its pool has boto3's ten connections; its interface has no way to ask for more.
        self._memory = library.S3VectorMemory(bucket_name=settings["bucket"])

    async def store(self, number: int) -> None:
        """Keep one text."""
        await asyncio.to_thread(self._memory.store_memory, "ada", text(number))

    async def retrieve(self, number: int) -> int:
        """Return the five nearest."""
        found = await asyncio.to_thread(self._memory.retrieve_memories, "ada", question(number), 5)
        assert len(found) == 5
        return len(found)

    async def close(self) -> None:
        """Nothing can be closed."""


async def open_client(settings: dict[str, Any]) -> Strands:
    """Make the memory."""
    return Strands(settings)
