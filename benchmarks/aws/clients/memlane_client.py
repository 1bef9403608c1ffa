"""memlane on S3 Vectors and Bedrock, as `connect` composes it from the environment."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import anyio
import numpy as np

from benchmarks.aws.words import question, text
from memlane import NewMemory, RetrievalOptions, Scope
from memlane.aws.credentials import StaticCredentials, TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.errors import MemlaneError
from memlane.layout import ulid
from memlane.protocols import IndexedRecord, RecordPart
from memlane.types import MemoryRecord
from memlane_plain import connect

SCOPE = Scope("ada", tenant="acme")
_SPACE = "amazon.titan-embed-text-v2:0:1024"
_NARROW = RetrievalOptions(candidates=5)


class Memlane:
    """The client's verbs under the operations' names."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._static = StaticCredentials(settings["access_key"], settings["secret_key"])
        role = settings.get("role_arn")
        self.client = connect(
            f"s3vectors://{settings['bucket']}",
            role_arn=role,
            credentials=None if role else self._static,
            embedding_model=settings.get("model", "amazon.titan-embed-text-v2:0"),
            dimensions=1024,
            auto_onboard=True,
        )
        self._backend: S3VectorsBackend | None = None
        self._batch: list[IndexedRecord] = []

    async def open(self) -> None:
        """Enter, unless every call is to come from a loop that did not."""
        if self._settings.get("traced"):
            tracemalloc.start()
        if self._settings.get("enter", True):
            await self.client.__aenter__()

    async def store(self, number: int) -> None:
        """Keep one text."""
        await self.client.store(text(number), scope=SCOPE)

    async def store_many(self, number: int) -> None:
        """Keep 96 texts."""
        texts = [NewMemory(content=text(number * 96 + each)) for each in range(96)]
        await self.client.store_many(texts, scope=SCOPE)

    async def retrieve(self, number: int) -> int:
        """Return the five nearest, no more asked for than returned."""
        found = await self.client.retrieve(
            question(number), scope=SCOPE, limit=5, mode="vector", options=_NARROW
        )
        assert len(found) == 5, len(found)
        return len(found)

    async def recall(self, number: int) -> int:
        """Return what the default mode returns."""
        found = await self.client.retrieve(question(number), scope=SCOPE, limit=5)
        assert found
        return len(found)

    async def tenant_store(self, number: int) -> None:
        """Keep one text of one of many tenants."""
        await self.client.store(text(number), scope=self._tenant(number))

    async def tenant_retrieve(self, number: int) -> int:
        """Return the five nearest of one of many tenants."""
        found = await self.client.retrieve(
            question(number), scope=self._tenant(number), limit=5, mode="vector", options=_NARROW
        )
        assert len(found) == 5, len(found)
        return len(found)

    def _tenant(self, number: int) -> Scope:
        return Scope("ada", tenant=f"t{number % self._settings['tenants']:05d}")

    async def patient_store(self, number: int) -> None:
        """Keep one text within the deadline."""
        with anyio.fail_after(self._settings["deadline"]):
            await self.store(number)

    async def patient_retrieve(self, number: int) -> int:
        """Return the five nearest within the deadline."""
        with anyio.fail_after(self._settings["deadline"]):
            return await self.retrieve(number)

    async def hold_out(self, callers: int, seconds: float) -> None:
        """Let callers ask, again and again, whether or not they are answered, for so long."""
        numbers = itertools.count(500_000_000)

        async def caller() -> None:
            while True:
                with suppress(MemlaneError):
                    await self.retrieve(next(numbers))
                await anyio.sleep(0.01)

        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as calling:
                for _ in range(callers):
                    calling.start_soon(caller)

    async def memory_kb(self) -> float:
        """Return the kilobytes that Python holds, when it was asked to count them."""
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 1024

    async def nothing(self, _: int) -> None:
        """Only to ask for the process's own figures."""
        gc.collect()

    async def ready_batch(self, count: int) -> None:
        """Make the records of a batch, so that putting them is all that is measured."""
        plane = DataPlane(
            region=self._settings["region"], endpoint_urls={"*": self._settings["endpoint"]}
        )
        self._backend = S3VectorsBackend(
            self._settings["bucket"],
            plane=plane,
            credentials=TenantCredentials(self._static),
            owns_plane=True,
        )
        await self._backend.enter()
        drawn = np.random.default_rng(7)
        rows = drawn.standard_normal((count, 1024)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        terms = drawn.integers(0, 2**32, (count, 24), dtype=np.uint32)
        now = datetime.now(UTC)
        self._batch = [
            IndexedRecord(
                record=MemoryRecord(
                    id=ulid(round(now.timestamp() * 1000), number),
                    text=text(number),
                    scope=SCOPE,
                    occurred_at=now,
                    stored_at=now,
                    updated_at=now,
                    space=_SPACE,
                ),
                parts=(
                    RecordPart(
                        start=0, end=len(text(number)), vector=rows[number], terms=terms[number]
                    ),
                ),
            )
            for number in range(count)
        ]

    async def put_batch(self, _: int) -> None:
        """Put the batch that is ready."""
        assert self._backend is not None
        await self._backend.upsert(self._batch, scope=SCOPE)

    async def close(self) -> None:
        """Close the client and all its parts."""
        await self.client.aclose()
        if self._backend is not None:
            await self._backend.aclose()


async def open_client(settings: dict[str, Any]) -> Memlane:
    """Make the client."""
    made = Memlane(settings)
    await made.open()
    return made
