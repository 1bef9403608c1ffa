"""Between any two requests of one who gives a reembedding up another ends it, and the other way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_reembed import ALL, WIDER, embedded, everything, reembed, short_turns
from core.aws.s3vectors.test_tenants import TENANT, filled
from memlane.aws.s3vectors import S3VectorsBackend, cutting
from memlane.aws.s3vectors.index import Index
from memlane.errors import ConflictError, EmbeddingSpaceError, MemlaneError

__all__ = ("cloud", "short_turns")

Step = Callable[[], Awaitable[object]]


class Between:
    """Does something once, before a given request of whoever else is under way."""

    def __init__(self, number: int, step: Step, ended: Callable[[], None]) -> None:
        self.left = number
        self.step: Step | None = step
        self.ended = ended

    async def __call__(self) -> None:
        """Count one request."""
        if self.step is None:
            return
        if self.left:
            self.left -= 1
            return
        step, self.step = self.step, None
        with suppress(MemlaneError), anyio.CancelScope() as life:

            async def wait(_: float) -> None:
                life.cancel()
                await anyio.lowlevel.checkpoint()

            # Who waits for the one that stands still meanwhile is killed while it waits.
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(anyio, "sleep", wait)
                await step()
        self.ended()


def _hook(monkeypatch: pytest.MonkeyPatch, between: Between) -> None:
    for name in ("call", "put", "delete"):
        send = getattr(Index, name)

        async def hooked(self: Index, *args: Any, send: Any = send, **options: Any) -> Any:
            await between()
            return await send(self, *args, **options)

        monkeypatch.setattr(Index, name, hooked)


async def _ready(cloud: Cloud, backend: S3VectorsBackend) -> None:
    await cloud.emulator.reset()
    await cloud.emulator.create_bucket(BUCKET)
    made = await cloud.onboarded()
    await filled(made, MINE)
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    page = await backend.pending(scope=TENANT, space=WIDER, limit=100)
    items = [embedded(record, WIDER) for record in page.records]
    await backend.shadow(items, scope=TENANT, space=WIDER)


@pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {}), id="asyncio")])
@pytest.mark.parametrize("begun", ["given up while it ends", "begun anew", "ended meanwhile"])
async def test_no_only_copy_goes(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, begun: str) -> None:
    """Whoever ends it is killed when the old index is gone: the shadow has to be there then."""
    for number in range(200):
        monkeypatch.undo()
        monkeypatch.setattr(cutting, "TURN_SECONDS", 5.0)
        ending, other = cloud.backend(), cloud.backend()
        await _ready(cloud, ending)
        before = await everything(ending)
        assert len(before) == 2
        # No index is made of as many requests as it takes: the old one is not put back.
        skip = 1 if begun == "begun anew" else 0
        await cloud.emulator.inject(operation="CreateIndex", status=400, skip=skip)

        async def end(ending: S3VectorsBackend = ending) -> None:
            with suppress(ConflictError, EmbeddingSpaceError):
                await ending.cut_over(scope=TENANT, space=WIDER)

        async def give_up(other: S3VectorsBackend = other) -> None:
            await other.abandon_reembed(scope=TENANT)
            if begun == "begun anew":
                await other.begin_reembed(scope=TENANT, space=WIDER)

        first, second = (give_up, end) if begun == "ended meanwhile" else (end, give_up)

        def alone() -> None:
            monkeypatch.setattr(cutting, "TURN_SECONDS", 0.1)

        between = Between(number, second, alone)
        _hook(monkeypatch, between)
        with suppress(MemlaneError):
            await first()
        monkeypatch.undo()
        await cloud.emulator.clear_faults()
        alone()
        with suppress(EmbeddingSpaceError):  # it was ended all the same
            await reembed(cloud.backend())
        assert await everything(cloud.backend()) == before, number
        assert (await cloud.emulator.indexes())[BUCKET] == {ACME: ALL // 2 + 1}
        if between.step is not None:
            assert number > 5
            return
    raise AssertionError("there is no end to it")
