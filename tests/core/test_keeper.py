"""What has expired is swept in the background, of tenants that something was stored for."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from core.bare import BareBackend
from memlane import MemoryClient, Retention, Scope, ValidationError
from memlane.errors import BackendError
from memlane.keeper import Keeper
from memlane.local import InMemoryBackend
from memlane.testing import FakeClock, HashingEmbedder
from memlane.testing.samples import make_record

ADA = Scope("ada", tenant="acme")
EVE = Scope("eve", tenant="other")
HOUR = timedelta(hours=1)
_AT_MOST = 30.0  # seconds for what is done at once: a test that waits in vain fails


class Swept(InMemoryBackend):
    """A store that tells when it is swept, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str | None, str, datetime]] = []
        self.done = threading.Semaphore(0)
        self.away: str | None = None

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        """Sweep, unless the tenant's part is away."""
        self.asked.append((scope.tenant, scope.user, now))
        try:
            if scope.tenant == self.away:
                raise BackendError("ada's texts are away")
            return await super().sweep(scope=scope, now=now)
        finally:
            self.done.release()

    async def was_swept(self, times: int = 1) -> None:
        """Wait until it was."""
        for _ in range(times):
            assert await anyio.to_thread.run_sync(self.done.acquire, True, _AT_MOST)


class Timers:
    """Timers that a test lets expire."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], object]]] = []
        self.came = threading.Semaphore(0)

    def __call__(self, seconds: float, call: Callable[[], object]) -> None:
        self.waiting.append((seconds, call))
        self.came.release()

    async def expire(self) -> None:
        """Let the next one expire."""
        assert await anyio.to_thread.run_sync(self.came.acquire, True, _AT_MOST)
        self.waiting.pop()[1]()


@pytest.fixture
def backend() -> Swept:
    """A store."""
    return Swept()


@pytest.fixture
def timers() -> Timers:
    """Timers."""
    return Timers()


@pytest.fixture
async def keeper(backend: Swept, timers: Timers, clock: FakeClock) -> AsyncIterator[Keeper]:
    """One that sweeps every hour."""
    made = Keeper(backend, None, clock=clock, every=HOUR, later=timers)
    yield made
    await made.aclose()


async def _store(keeper: Keeper, clock: FakeClock, scope: Scope, ttl: timedelta | None) -> None:
    record = make_record("x", scope=scope, expires_at=None if ttl is None else clock.now() + ttl)
    await keeper.stored([record], scope=scope)


async def test_tenants_with_an_end_are_swept(
    keeper: Keeper, backend: Swept, timers: Timers, clock: FakeClock
) -> None:
    """Once each, by the client's clock, and no user is named; those without are let be."""
    await _store(keeper, clock, ADA, None)
    assert timers.waiting == []
    for scope in (ADA, Scope("bob", tenant="acme"), EVE):
        await _store(keeper, clock, scope, HOUR)
    clock.advance(HOUR)
    await timers.expire()
    await backend.was_swept(2)
    assert backend.asked == [("acme", "-", clock.now()), ("other", "-", clock.now())]
    await timers.expire()
    await backend.was_swept(2)
    assert len(backend.asked) == 4


async def test_with_an_index_for_each_user_each_is_swept(
    backend: Swept, timers: Timers, clock: FakeClock
) -> None:
    """There it is the user's index."""
    keeper = Keeper(backend, None, clock=clock, every=HOUR, per_user=True, later=timers)
    for user in ("ada", "bob", "ada"):
        await _store(keeper, clock, Scope(user, tenant="acme", agent="a"), HOUR)
    await timers.expire()
    await backend.was_swept(2)
    assert [asked[:2] for asked in backend.asked] == [("acme", "ada"), ("acme", "bob")]
    await keeper.aclose()


async def test_a_forgotten_tenant_is_swept_no_more(
    keeper: Keeper, backend: Swept, timers: Timers, clock: FakeClock
) -> None:
    """Until something is stored for it again."""
    for scope in (ADA, EVE):
        await _store(keeper, clock, scope, HOUR)
    keeper.forget_tenant(ADA)
    await timers.expire()
    await backend.was_swept()
    assert [asked[0] for asked in backend.asked] == ["other"]
    await _store(keeper, clock, ADA, HOUR)
    await timers.expire()
    await backend.was_swept(2)
    assert [asked[0] for asked in backend.asked] == ["other", "other", "acme"]


async def test_a_tenant_that_cannot_be_swept_is_tried_again(
    keeper: Keeper,
    backend: Swept,
    timers: Timers,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others still have their turn, and the log says nothing of anybody."""
    for scope in (ADA, EVE):
        await _store(keeper, clock, scope, HOUR)
    backend.away = "acme"
    with caplog.at_level(logging.WARNING, logger="memlane"):
        await timers.expire()
        await backend.was_swept(2)
        await timers.expire()
        await backend.was_swept(2)
    assert [asked[0] for asked in backend.asked] == ["acme", "other"] * 2
    assert "BackendError" in caplog.text
    assert "ada" not in caplog.text


async def test_nothing_is_swept_after_closing(
    keeper: Keeper, backend: Swept, timers: Timers, clock: FakeClock
) -> None:
    """Also where a timer expires, or something is stored, after that; and it may close twice."""
    await _store(keeper, clock, ADA, HOUR)
    assert await anyio.to_thread.run_sync(timers.came.acquire, True, _AT_MOST)
    await keeper.aclose()
    timers.waiting.pop()[1]()
    await _store(keeper, clock, ADA, HOUR)
    await keeper.aclose()
    assert (backend.asked, timers.waiting) == ([], [])


async def test_a_forgotten_client_is_collected(timers: Timers, clock: FakeClock) -> None:
    """Its sweeping keeps neither the client nor the store alive."""
    backend = Swept()
    client = MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=clock, sweep_every=HOUR
    )
    await client.store("x", scope=ADA, ttl=HOUR)
    assert client._keeper._sweeping is not None
    gone = [weakref.ref(each) for each in (client, client._keeper, backend)]
    del client, backend
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
    del timers


async def test_a_client_sweeps_by_itself(clock: FakeClock) -> None:
    """With real timers: what has expired is out of the store some time after."""
    backend = Swept()
    retention = Retention(namespaces={"/": HOUR})
    async with MemoryClient(
        backend=backend,
        embedder=HashingEmbedder(),
        clock=clock,
        retention=retention,
        sweep_every=timedelta(milliseconds=5),
    ) as client:
        await client.store("x", scope=ADA)
        clock.advance(HOUR)
        # One may have begun before time went on.
        await backend.was_swept(2)
        stats = await client.admin("acme").stats()
    assert (stats.records, stats.expired) == (0, 0)


async def test_an_end_that_is_given_later_counts_too(clock: FakeClock) -> None:
    """A change may give a record its end; the tenant is swept from then on."""
    async with MemoryClient(
        backend=Swept(), embedder=HashingEmbedder(), clock=clock, sweep_every=HOUR
    ) as client:
        record = await client.store("x", scope=ADA)
        await client.update(record.id, scope=ADA, text="y")
        assert not client._keeper._due
        await client.update(record.id, scope=ADA, expires_at=clock.now() + HOUR)
        assert [scope.tenant for scope in client._keeper._due.values()] == ["acme"]


@pytest.mark.parametrize("every", [timedelta(0), -HOUR, timedelta.max, 60])
def test_what_is_no_interval(every: Any) -> None:
    """Refused where the client is made."""
    with pytest.raises(ValidationError, match="sweep_every"):
        MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder(), sweep_every=every)


async def test_a_store_that_cannot_be_swept_is_let_be(clock: FakeClock) -> None:
    """There expired records are in nobody's reach, and stay where they are."""
    async with MemoryClient(
        backend=BareBackend(), embedder=HashingEmbedder(), clock=clock, sweep_every=HOUR
    ) as client:
        await client.store("x", scope=ADA, ttl=HOUR)
        clock.advance(HOUR)
        assert await client.count(scope=ADA) == 0


async def test_a_tenant_that_moves_is_swept_on(clock: FakeClock) -> None:
    """One that is forgotten is not: nothing of it has an end any more."""
    client = MemoryClient(
        backend=InMemoryBackend(), embedder=HashingEmbedder(), clock=clock, sweep_every=HOUR
    )
    await client.store("tea", scope=ADA, ttl=HOUR)
    admin = client.admin(ADA.tenant)
    await admin.reembed(HashingEmbedder(32))
    assert list(client._keeper._due) == [(ADA.tenant, "-")]
    await admin.forget_tenant()
    assert not client._keeper._due
    await client.aclose()
