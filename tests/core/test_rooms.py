"""At most so many records of one user and agent, whoever stores them at once."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.bare import BareBackend
from memlane import MemoryClient, MemoryRecord, NewMemory, QuotaExceededError, Retention, Scope
from memlane.errors import BackendError
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.retention import WhenFull
from memlane.testing import FailingBackend, FakeClock, HashingEmbedder
from memlane.testing.wrappers import Operation

ADA = Scope("ada", tenant="acme", agent="support")
OTHERS = (
    Scope("ada", tenant="acme"),
    Scope("ada", tenant="acme", agent="other"),
    Scope("eve", tenant="acme", agent="support"),
    Scope("ada", tenant="other", agent="support"),
)
HOUR = timedelta(hours=1)
MOST = 8


@pytest.fixture(params=["memory", "sqlite", "bare"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Each local store, and one that can only be listed."""
    if request.param == "bare":
        yield BareBackend()
        return
    made: Any = (
        InMemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "memory.db")
    )
    yield made
    await made.aclose()


def _client(backend: Any, clock: FakeClock, when_full: WhenFull) -> MemoryClient:
    return MemoryClient(
        backend=backend,
        embedder=HashingEmbedder(),
        clock=clock,
        retention=Retention(max_records=MOST, when_full=when_full),
    )


async def _texts(client: MemoryClient, scope: Scope = ADA) -> set[str]:
    return {record.text async for record in client.iterate(scope=scope)}


async def _fill(client: MemoryClient, clock: FakeClock, count: int, scope: Scope = ADA) -> None:
    for number in range(count):
        clock.advance(HOUR)
        await client.store(f"note {number}", scope=scope)


async def test_the_one_that_happened_first_goes(backend: Any, clock: FakeClock) -> None:
    """By when it happened, not when it was stored; never another agent's, user's or tenant's."""
    client = _client(backend, clock, "oldest")
    for scope in OTHERS:
        await _fill(client, clock, 2, scope)
    await _fill(client, clock, MOST)
    long_ago = clock.now() - 99 * HOUR
    for number in range(3):
        clock.advance(HOUR)
        await client.store(f"more {number}", scope=ADA)
        assert await client.count(scope=ADA) == MOST
    assert await _texts(client) == {f"note {n}" for n in range(3, 8)} | {
        f"more {n}" for n in range(3)
    }
    await client.store("from long ago", scope=ADA, occurred_at=long_ago)
    assert "from long ago" not in await _texts(client)
    assert await client.count(scope=ADA) == MOST
    assert [await client.count(scope=scope) for scope in OTHERS[1:]] == [2, 2, 2]


async def test_the_one_not_changed_for_longest_goes(backend: Any, clock: FakeClock) -> None:
    """A change keeps a record, also one that was next to go."""
    client = _client(backend, clock, "least_recent")
    stored: list[MemoryRecord] = []
    for number in range(MOST):
        clock.advance(HOUR)
        stored.append(await client.store(f"note {number}", scope=ADA))
    clock.advance(HOUR)
    await client.store("one more", scope=ADA)  # note 0 goes
    await client.update(stored[1].id, scope=ADA, tags=["kept"])
    clock.advance(HOUR)
    await client.store("two more", scope=ADA)  # note 2 goes
    assert await _texts(client) == {
        "note 1",
        *(f"note {n}" for n in range(3, 8)),
        "one more",
        "two more",
    }


async def test_one_that_is_said_to_be_older_goes_sooner(backend: Any, clock: FakeClock) -> None:
    """Also where another one was next to go before it was changed."""
    client = _client(backend, clock, "oldest")
    await _fill(client, clock, MOST + 1)  # which go next is known from here on
    some = next(r for r in [r async for r in client.iterate(scope=ADA)] if r.text == "note 5")
    await client.update(some.id, scope=ADA, occurred_at=some.occurred_at - 99 * HOUR)
    clock.advance(HOUR)
    await client.store("one more", scope=ADA)
    assert await _texts(client) == {f"note {n}" for n in (1, 2, 3, 4, 6, 7, 8)} | {"one more"}


@pytest.mark.parametrize("when", [datetime(9000, 1, 1, tzinfo=UTC), 20 * HOUR])
async def test_what_is_said_of_the_time_to_come_keeps_nothing(
    backend: Any, clock: FakeClock, when: datetime | timedelta
) -> None:
    """Told to happen in a far year it counts as of when it was said, and goes in its turn."""
    client = _client(backend, clock, "oldest")
    far = when if isinstance(when, datetime) else clock.now() + when
    for number in range(3):
        clock.advance(HOUR)
        await client.store(f"far {number}", scope=ADA, occurred_at=far, source="tool")
    await _fill(client, clock, MOST)
    assert await _texts(client) == {f"note {n}" for n in range(8)}


@pytest.mark.parametrize("when_full", ["oldest", "least_recent"])
async def test_what_a_file_says_was_stored_in_time_to_come_goes_first(
    backend: Any, clock: FakeClock, when_full: WhenFull
) -> None:
    """And not what is hours ahead, as another machine's clock may be."""
    client = _client(backend, clock, when_full)
    await _fill(client, clock, MOST - 1)
    later = FakeClock(clock.now() + 12 * HOUR)
    await _client(backend, later, when_full).store("ahead", scope=ADA)
    far = MemoryClient(
        backend=InMemoryBackend(),
        embedder=HashingEmbedder(),
        clock=FakeClock(datetime(9000, 1, 1, tzinfo=UTC)),
    )
    for number in range(3):
        await far.store(f"far {number}", scope=ADA)
    lines = [line async for line in far.export(scope=ADA)]
    await client.import_records(lines, scope=ADA)
    assert await _texts(client) == {*(f"note {n}" for n in range(7)), "ahead"}


async def test_a_change_of_when_it_happened_counts_from_the_change(
    backend: Any, clock: FakeClock
) -> None:
    """What happens again is kept as what happened then."""
    client = _client(backend, clock, "oldest")
    first = await client.store("again", scope=ADA)
    await _fill(client, clock, MOST - 1)
    await client.update(first.id, scope=ADA, occurred_at=clock.now())
    clock.advance(HOUR)
    await client.store("one more", scope=ADA)
    assert await _texts(client) == {"again", *(f"note {n}" for n in range(1, 7)), "one more"}


async def test_a_full_scope_refuses(backend: Any, clock: FakeClock) -> None:
    """Nothing of what does not fit is stored; what is deleted or expires makes room again."""
    client = _client(backend, clock, "refuse")
    await _fill(client, clock, MOST - 1)
    with pytest.raises(QuotaExceededError, match="7 records of at most 8, and 2 more"):
        await client.store_many([NewMemory(content="a"), NewMemory(content="b")], scope=ADA)
    last = await client.store("last", scope=ADA, ttl=HOUR)
    with pytest.raises(QuotaExceededError, match="store tenant=acme"):
        await client.store("too much", scope=ADA)
    assert await client.count(scope=ADA) == MOST
    await client.store("elsewhere", scope=Scope("eve", tenant="acme"))
    clock.advance(HOUR)
    await client.store("in its place", scope=ADA)
    assert last.text not in await _texts(client)
    await client.update(
        next(iter([r async for r in client.iterate(scope=ADA)])).id, scope=ADA, tags=["t"]
    )


async def test_an_event_that_is_there_is_not_refused(backend: Any, clock: FakeClock) -> None:
    """To repeat it takes no room."""
    client = _client(backend, clock, "refuse")
    first = await client.store("the event", scope=ADA, idempotency_key="k")
    await _fill(client, clock, MOST - 1)
    assert await client.store("the event", scope=ADA, idempotency_key="k") == first
    with pytest.raises(QuotaExceededError):
        await client.store("another", scope=ADA, idempotency_key="k2")


@pytest.mark.parametrize("when_full", ["refuse", "oldest", "least_recent"])
async def test_at_once_it_is_as_many(backend: Any, clock: FakeClock, when_full: WhenFull) -> None:
    """Thirty at the same time: as many as there may be, neither more nor fewer."""
    client = _client(backend, clock, when_full)
    if when_full != "refuse":
        await _fill(client, clock, MOST + 1)  # which go next is known from here on
    refused = 0

    async def store(number: int) -> None:
        nonlocal refused
        try:
            await client.store(f"note {number}", scope=ADA)
        except QuotaExceededError:
            refused += 1

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(store, number)
    assert await client.count(scope=ADA) == MOST
    assert refused == (30 - MOST if when_full == "refuse" else 0)


@pytest.mark.parametrize("seed", range(5))
async def test_it_holds_whatever_is_done(backend: Any, clock: FakeClock, seed: int) -> None:
    """Stored one by one or together, deleted and expired: never too many, and the right ones."""
    pick = random.Random(seed)
    client = _client(backend, clock, "oldest")
    mine: dict[str, Any] = {}
    for _ in range(60):
        clock.advance(HOUR)
        deed = pick.random()
        if deed < 0.7 or not mine:
            count = pick.choice([1, 1, 2, 5, MOST + 3])
            ttl = 3 * HOUR if pick.random() < 0.2 else None
            days = [pick.randint(0, 999) for _ in range(count)]
            items = [
                NewMemory(content=f"n{day}", occurred_at=clock.now() - day * 24 * HOUR, ttl=ttl)
                for day in days
            ]
            for record in await client.store_many(items, scope=ADA):
                mine[record.id] = record
        else:
            gone = pick.choice(sorted(mine))
            await client.delete(gone, scope=ADA)
            del mine[gone]
        mine = {i: r for i, r in mine.items() if r.expires_at is None or r.expires_at > clock.now()}
        kept = sorted(mine.values(), key=lambda r: (r.occurred_at, r.stored_at, r.id))[-MOST:]
        mine = {record.id: record for record in kept}
        assert {record.id async for record in client.iterate(scope=ADA)} == set(mine)


@pytest.mark.parametrize("whole_tenant", [False, True])
async def test_what_was_forgotten_is_not_remembered(clock: FakeClock, whole_tenant: bool) -> None:
    """Neither ids nor numbers, in no memory of the client's; another user's are kept."""
    client = _client(InMemoryBackend(), clock, "oldest")
    eve = Scope("eve", tenant="other")
    for scope in (ADA, eve):
        await _fill(client, clock, MOST + 1, scope)
    rooms = client._keeper._rooms
    assert rooms is not None
    assert len(rooms._rooms) == 2
    if whole_tenant:
        await client.admin("acme").forget_tenant()
    else:
        await client.forget(Scope("ada", tenant="acme"))
    assert len(rooms._rooms) == (0 if whole_tenant else 1)
    await _fill(client, clock, MOST + 1)
    assert await client.count(scope=ADA) == MOST
    assert await client.count(scope=eve) == MOST


async def test_far_from_the_bound_nothing_is_counted(clock: FakeClock) -> None:
    """A thousand stores under a bound of ten thousand: read a few times, not a thousand."""
    backend = BareBackend()
    client = MemoryClient(
        backend=backend,
        embedder=HashingEmbedder(),
        clock=clock,
        retention=Retention(max_records=10_000),
    )
    for number in range(300):
        await client.store(f"note {number}", scope=ADA)
    assert backend.scans <= 2


async def test_at_the_bound_few_stores_read_the_scope(clock: FakeClock) -> None:
    """Which go next is known for a while, where counting is not reading."""
    backend = InMemoryBackend()
    scans = 0
    scan = backend.scan

    async def counted(**given: Any) -> Any:
        nonlocal scans
        scans += 1
        return await scan(**given)

    backend.scan = counted  # type: ignore[method-assign] # to count
    client = _client(backend, clock, "oldest")
    await _fill(client, clock, MOST + 50)
    assert scans <= 10
    assert await _texts(client) == {f"note {n}" for n in range(50, 58)}


async def test_where_counting_is_listing_it_may_be_a_twentieth_more(clock: FakeClock) -> None:
    """As on S3 Vectors: the bound is met again and again, and never passed by more than that."""
    most = 100
    backend = BareBackend(exact=False)
    client = MemoryClient(
        backend=backend,
        embedder=HashingEmbedder(),
        clock=clock,
        retention=Retention(max_records=most),
    )
    highest = 0
    for number in range(3 * most):
        clock.advance(HOUR)
        await client.store(f"note {number}", scope=ADA)
        highest = max(highest, await client.count(scope=ADA))
    assert most < highest <= most + most // 20
    assert backend.scans < 3 * 3 * most / 2


@pytest.mark.parametrize("when_full", ["oldest", "least_recent"])
@pytest.mark.parametrize("operation", ["fetch", "delete"])
async def test_what_is_durable_is_not_said_to_have_failed(
    clock: FakeClock, when_full: WhenFull, operation: Operation, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no room can be made the record is there; the next one makes room for both."""
    backend = FailingBackend(InMemoryBackend())
    client = _client(backend, clock, when_full)
    await _fill(client, clock, MOST + 1)  # which go next is known from here on
    clock.advance(HOUR)
    backend.fail(operation, BackendError("ada's texts are away"))
    with caplog.at_level(logging.WARNING, logger="memlane"):
        stored = await client.store_many(
            [NewMemory(content="a"), NewMemory(content="b")], scope=ADA
        )
    assert "BackendError" in caplog.text
    assert "ada" not in caplog.text
    assert [record.text for record in stored] == ["a", "b"]
    assert await client.count(scope=ADA) == MOST + 2
    clock.advance(HOUR)
    await client.store("c", scope=ADA)
    assert await _texts(client) == {*(f"note {n}" for n in range(4, 9)), "a", "b", "c"}


async def test_after_a_failure_it_is_counted_again(clock: FakeClock) -> None:
    """However much room there was when it was counted last."""
    backend = FailingBackend(InMemoryBackend())
    client = _client(backend, clock, "oldest")
    await _fill(client, clock, 2)  # two of the five that still fit may come uncounted
    backend.fail("count", BackendError("away"))
    items = [NewMemory(content=f"more {n}", occurred_at=clock.now()) for n in range(7)]
    await client.store_many(items, scope=ADA)
    clock.advance(HOUR)
    await client.store("last", scope=ADA)
    assert await client.count(scope=ADA) == MOST
