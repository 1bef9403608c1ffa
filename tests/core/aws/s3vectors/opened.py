"""Backends over the emulator, closed after the test, and what they asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from memlane.aws.credentials import HostCredentials, StaticCredentials, TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.runtime import SystemClock
from memlane.scope import Scope
from memlane.testing.emulator import Emulator
from memlane.testing.samples import SPACE

BUCKET = "memories"
ACME = "memory-acme"
MINE = Scope("ada", tenant="acme")
OLDER = ("content", "stored_at", "conversation_id", "type")


class Hurried(SystemClock):
    """The machine's time, and all that a plane would have waited for besides.

    A plane keeps to the 2,500 vectors a second that the service takes; the emulator takes more.
    """

    def __init__(self) -> None:
        self._spared = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._spared

    async def sleep(self, seconds: float) -> None:
        """Let so much time be over, and let the others run."""
        until = self.monotonic() + seconds
        await asyncio.sleep(0)
        self._spared += max(0.0, until - self.monotonic())


class Cloud:
    """One bucket, and backends on it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._made: list[S3VectorsBackend] = []
        admin = emulator.admin
        self.admin = StaticCredentials(admin.access_key, admin.secret_key)
        self.host = HostCredentials(self.admin)

    def plane(self, **options: Any) -> DataPlane:
        """Return a plane that does not wait between attempts."""
        hurried = Hurried()
        given: dict[str, Any] = {"random": lambda: 0.0, "clock": hurried, "sleep": hurried.sleep}
        return DataPlane(
            region=self.emulator.region, endpoint_urls={"*": self.emulator.url}, **given | options
        )

    def backend(self, **options: Any) -> S3VectorsBackend:
        """Return a backend whose tenants sign as the administrator, unless told otherwise."""
        if "index" not in options:
            options.setdefault("credentials", TenantCredentials(self.admin))
        options.setdefault("host", self.host)
        made = S3VectorsBackend(
            options.pop("bucket", BUCKET),
            plane=options.pop("plane", None) or self.plane(),
            owns_plane=True,
            **options,
        )
        self._made.append(made)
        return made

    async def onboarded(self, scope: Scope = MINE, /, **options: Any) -> S3VectorsBackend:
        """Return a backend whose tenant has an index, with nothing asked so far."""
        made = self.backend(**options)
        await made.onboard(scope=scope, space=SPACE)
        await made.ensure_index(scope=scope, space=SPACE)
        await self.emulator.counters(reset=True)
        return made

    async def asked(self) -> dict[str, int]:
        """Return how often each operation was asked for since the last time."""
        counters = await self.emulator.counters(reset=True)
        return {name: count for name, count in counters.requests.items() if count}

    async def keys(self, index: str = ACME) -> set[str]:
        """Return the keys an index holds."""
        return set(await self.emulator.vectors(BUCKET, index))

    async def aclose(self) -> None:
        """Close all backends."""
        for made in self._made:
            await made.aclose()


@pytest.fixture
async def cloud(emulator: Emulator, anyio_backend: object) -> AsyncIterator[Cloud]:  # noqa: ARG001
    """An empty bucket, closed on the loop of the test."""
    await emulator.create_bucket(BUCKET)
    opened = Cloud(emulator)
    yield opened
    await opened.aclose()
