"""Clients in AWS for tests of what goes wrong there: real requests, impatient between attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from memlane import MemoryClient
from memlane.aws.credentials import (
    AssumeRoleCredentials,
    HostCredentials,
    StaticCredentials,
    TenantCredentials,
)
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.aws.wire import RetryPolicy, Timeouts
from memlane.protocols import Clock, Embedder, EmbeddingSpace, Purpose, Vector
from memlane.runtime import SystemClock
from memlane.testing import HashingEmbedder
from memlane.testing.emulator import Emulator

__all__ = ("BUCKET", "Cloud", "MovedClock", "ScriptedEmbedder")

BUCKET = "memories"
IMPATIENT = RetryPolicy(base=0.001, cap=0.01)


class MovedClock:
    """The machine's time, moved on by as much as a test wants."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.moved = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.moved

    def monotonic(self) -> float:
        return self._clock.monotonic() + self.moved.total_seconds()


class ScriptedEmbedder:
    """Answers what a test puts into `answer`, and else what the hashing model answers."""

    def __init__(self, dimensions: int = 64, model: str = "scripted") -> None:
        self._model = HashingEmbedder(dimensions)
        self._space = EmbeddingSpace(model=model, dimensions=dimensions)
        self.answer: Any = None
        self.asked = 0

    @property
    def space(self) -> EmbeddingSpace:
        return self._space

    @property
    def max_batch(self) -> int:
        return 100

    @property
    def max_chars(self) -> int:
        return 8_000

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        self.asked += len(inputs)
        if self.answer is not None:
            return np.tile(np.asarray(self.answer, dtype=np.float32), (len(inputs), 1))
        return await self._model.embed(inputs, purpose=purpose)


@dataclass
class Cloud:
    """An emulated account with one bucket, and clients of it.

    Args:
        emulator: The account.
        clock: The clients' time.
    """

    emulator: Emulator
    clock: Clock = field(default_factory=SystemClock)

    @asynccontextmanager
    async def client(
        self,
        *,
        embedder: Embedder | None = None,
        bucket: str = BUCKET,
        index: str | None = None,
        role: str | None = None,
        auto_onboard: bool = True,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy = IMPATIENT,
        places: int = 1_000,
    ) -> AsyncIterator[MemoryClient]:
        """Return a client, entered, each tenant with a session of its own unless `index` is given.

        Args:
            embedder: Its model; the hashing one if None.
            bucket: Where it stores.
            index: The one index all tenants share.
            role: The role assumed for tenants.
            auto_onboard: Whether it makes the index of a new tenant.
            timeouts: How long it waits.
            retries: How soon it asks again.
            places: Tenants whose credentials it keeps.
        """
        emulator = self.emulator
        plane = DataPlane(
            region=emulator.region,
            endpoint_urls={"*": emulator.url},
            timeouts=timeouts,
            retries=retries,
            clock=self.clock,
        )
        admin = emulator.admin
        host = HostCredentials(
            StaticCredentials(admin.access_key, admin.secret_key), clock=self.clock
        )
        sessions = AssumeRoleCredentials(
            role or emulator.tenant_role, plane=plane, host=host, clock=self.clock
        )
        backend = S3VectorsBackend(
            bucket,
            plane=plane,
            credentials=TenantCredentials(sessions, clock=self.clock, size=places)
            if index is None
            else None,
            host=host,
            index=index,
            auto_onboard=auto_onboard,
            clock=self.clock,
            owns_plane=True,
        )
        async with MemoryClient(
            backend=backend,
            embedder=embedder or HashingEmbedder(),
            clock=self.clock,
            tenancy="required" if index is None else "optional",
            owned=[backend],
        ) as opened:
            yield opened
