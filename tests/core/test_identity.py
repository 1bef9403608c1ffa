"""An id may come to mean another record: nothing is written over one that nobody has read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from memlane import ConflictError, EmbeddingSpaceError, MemoryClient, Scope
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.protocols import IndexedRecord, VectorBackend
from memlane.testing import FakeClock, HashingEmbedder, WrappedBackend

ADA = Scope("ada", tenant="acme")
HOUR = timedelta(hours=1)


class _Slow(WrappedBackend):
    """Lets somebody else go first, once, where a record is to take another's place."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        if self.meanwhile is not None and any(item.over is not None for item in records):
            others, self.meanwhile = self.meanwhile, None
            await others()
        await self.inner.upsert(records, scope=scope, expected_version=expected_version)


class _Two:
    """Two clients of one store, of which the first is slow."""

    def __init__(self, backends: Sequence[VectorBackend], *, dimensions: int = 64) -> None:
        self.clock = FakeClock()
        self.slow = _Slow(backends[0])
        self.one = self._client(self.slow, 64)
        self.two = self._client(backends[-1], dimensions)

    def _client(self, backend: VectorBackend, dimensions: int) -> MemoryClient:
        return MemoryClient(backend=backend, embedder=HashingEmbedder(dimensions), clock=self.clock)

    def later(self) -> None:
        """Let an hour pass."""
        self.clock.advance(HOUR)


@pytest.fixture(params=["memory", "sqlite"])
async def backends(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[list[VectorBackend]]:
    async with AsyncExitStack() as closing:
        made: list[InMemoryBackend | SqliteBackend] = (
            [InMemoryBackend()]
            if request.param == "memory"
            else [SqliteBackend(tmp_path / "memory.db") for _ in range(2)]
        )
        for each in made:
            closing.push_async_callback(each.aclose)
        yield [*made]


async def test_of_two_who_take_an_expired_id_one_is_told_so(backends: list[VectorBackend]) -> None:
    """The other's record stays as it was acknowledged, and has no history but its own."""
    both = _Two(backends)
    await both.one.store("old", scope=ADA, record_id="x", ttl=HOUR)
    both.later()
    both.slow.meanwhile = lambda: both.two.store("theirs", scope=ADA, record_id="x")
    with pytest.raises(ConflictError):
        await both.one.store("mine", scope=ADA, record_id="x")
    assert [each.text for each in await both.two.history("x", scope=ADA)] == ["theirs"]


@pytest.mark.parametrize("mine", ["mine", "theirs"])
async def test_of_two_with_one_key_the_event_decides(
    backends: list[VectorBackend], mine: str
) -> None:
    """Another text under the key is refused, and the same is the same record."""
    both = _Two(backends)
    old = await both.one.store("old", scope=ADA, idempotency_key="k", ttl=HOUR)
    both.later()
    both.slow.meanwhile = lambda: both.two.store("theirs", scope=ADA, idempotency_key="k")
    if mine == "theirs":
        assert (await both.one.store(mine, scope=ADA, idempotency_key="k")).text == "theirs"
    else:
        with pytest.raises(ConflictError):
            await both.one.store(mine, scope=ADA, idempotency_key="k")
    assert [each.text for each in await both.two.history(old.id, scope=ADA)] == ["theirs"]


async def test_an_expired_id_may_be_swept_meanwhile(backends: list[VectorBackend]) -> None:
    """Then the new record is simply the first."""
    both = _Two(backends)
    await both.one.store("old", scope=ADA, record_id="x", ttl=HOUR)
    both.later()
    both.slow.meanwhile = lambda: both.two.admin("acme").sweep()
    stored = await both.one.store("mine", scope=ADA, record_id="x")
    assert await both.two.get("x", scope=ADA) == stored


async def test_what_was_forgotten_does_not_come_back(backends: list[VectorBackend]) -> None:
    """An update that had read it takes nothing of it into the record that has its id now."""
    both = _Two(backends)
    await both.two.store(
        "Has a rash", scope=ADA, record_id="health", metadata={"diagnosis": "x"}, tags=["clinic"]
    )

    async def anew() -> None:
        assert (await both.two.forget(ADA)).verified_empty
        both.later()
        await both.two.store("Runs every morning", scope=ADA, record_id="health")

    both.slow.meanwhile = anew
    updated = await both.one.update("health", scope=ADA, kind="note")
    assert (updated.text, dict(updated.metadata), updated.tags) == ("Runs every morning", {}, ())
    history = await both.two.history("health", scope=ADA)
    assert [each.text for each in history] == ["Runs every morning"] * 2
    both.slow.meanwhile = anew
    with pytest.raises(ConflictError):
        await both.one.update("health", scope=ADA, kind="plan", expected_version=2)


async def test_spaces_never_mix(backends: list[VectorBackend]) -> None:
    """Of two models that begin on one tenant, also once more, the first to store wins."""
    both = _Two(backends, dimensions=32)
    for client in (both.one, both.two, both.one):
        await client.retrieve("anything", scope=ADA)
    await both.two.store("theirs", scope=ADA)
    with pytest.raises(EmbeddingSpaceError):
        await both.one.store("mine", scope=ADA)
    await both.one.admin("acme").forget_tenant()
    await both.one.store("mine", scope=ADA)
    with pytest.raises(EmbeddingSpaceError):
        await both.two.store("theirs", scope=ADA)
    assert [each.text for each in (await both.one.list(scope=ADA)).items] == ["mine"]
