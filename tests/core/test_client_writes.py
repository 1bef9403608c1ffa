"""Writes that race, repeat or break: nothing acknowledged is lost, nothing else is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from memlane import (
    BackendError,
    ConflictError,
    Limits,
    MemoryClient,
    MemoryRecord,
    NewMemory,
    PartialWriteError,
    Scope,
    ValidationError,
)
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.testing import FailingBackend, FakeClock, GatedBackend, HashingEmbedder

ADA = Scope("ada", tenant="acme")


def _client(backend: object, *, batch: int = 256) -> MemoryClient:
    return MemoryClient(
        backend=backend,  # type: ignore[arg-type] # each test's own wrapper
        embedder=HashingEmbedder(),
        clock=FakeClock(),
        limits=Limits(batch=batch),
    )


async def _texts(client: MemoryClient) -> list[str]:
    return sorted([record.text async for record in client.iterate(scope=ADA)])


async def test_a_key_stores_once(client: MemoryClient) -> None:
    """The same idempotency key with the same words is one record, the first one."""
    first = await client.store("paid", scope=ADA, idempotency_key="event", metadata={"n": 1})
    again = await client.store("paid", scope=ADA, idempotency_key="event", metadata={"n": 2})
    assert again == first
    many = await client.store_many(
        [NewMemory(content="paid", idempotency_key="event"), NewMemory(content="other")],
        scope=ADA,
    )
    assert many[0] == first
    assert await _texts(client) == ["other", "paid"]


async def test_a_key_for_other_words_conflicts(client: MemoryClient) -> None:
    """The same key with other words is a mistake, and changes nothing."""
    await client.store("paid", scope=ADA, idempotency_key="event")
    with pytest.raises(ConflictError, match="idempotency_key"):
        await client.store("unpaid", scope=ADA, idempotency_key="event")
    assert await _texts(client) == ["paid"]


async def test_twenty_at_once_with_one_key_store_once(client: MemoryClient) -> None:
    """Callers that race with one key all get the one record."""
    records: list[MemoryRecord] = []

    async def store() -> None:
        records.append(await client.store("paid", scope=ADA, idempotency_key="event"))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(store)
    assert len(records) == 20
    assert len({record.id for record in records}) == 1
    assert await _texts(client) == ["paid"]


async def test_racers_that_all_looked_first_store_once() -> None:
    """Even when every caller has seen that there is no record yet, only one is written."""
    gated = GatedBackend(InMemoryBackend(), "upsert")
    client = _client(gated)
    records: list[MemoryRecord] = []

    async def store(number: int) -> None:
        records.append(
            await client.store("paid", scope=ADA, idempotency_key="event", metadata={"by": number})
        )

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(store, number)
        while gated.waiting < 5:
            await anyio.lowlevel.checkpoint()
        gated.open()
    assert await client.count(scope=ADA) == 1
    kept = await client.get(records[0].id, scope=ADA)
    assert all(record == kept for record in records)


async def test_one_key_twice_in_a_call(client: MemoryClient) -> None:
    """An event given twice in one call is stored once, and returned as it was stored."""
    one = NewMemory(content="paid", idempotency_key="event", namespace="/first/")
    two = NewMemory(content="paid", idempotency_key="event", namespace="/second/")
    records = await client.store_many([one, NewMemory(content="other"), two], scope=ADA)
    kept = await client.get(records[0].id, scope=ADA)
    assert records[0] == records[2] == kept
    assert await client.count(scope=ADA) == 2


async def test_one_id_twice_in_a_call_conflicts(client: MemoryClient) -> None:
    """Two items of one id are refused before anything is written."""
    items = [NewMemory(content="a", record_id="x"), NewMemory(content="b", record_id="x")]
    with pytest.raises(ConflictError, match="item 1"):
        await client.store_many(items, scope=ADA)
    assert await _texts(client) == []


async def test_a_bad_item_stores_none(client: MemoryClient, embedder: HashingEmbedder) -> None:
    """All items are checked before the first is paid for; the error says which is wrong."""
    items = [NewMemory(content="good"), NewMemory(content="good"), NewMemory(content=" ")]
    with pytest.raises(ValidationError, match="item 2"):
        await client.store_many(items, scope=ADA)
    assert embedder.calls == 0
    assert await _texts(client) == []


async def test_half_done_says_what_was_stored() -> None:
    """When a later batch fails, the error carries exactly what is durable."""
    failing = FailingBackend(InMemoryBackend())
    client = _client(failing, batch=2)
    fault = BackendError("the disk is full")
    failing.fail("upsert", fault, after=2)
    items = [NewMemory(content=f"item {n}") for n in range(7)]
    with pytest.raises(PartialWriteError) as caught:
        await client.store_many(items, scope=ADA)
    error = caught.value
    assert [record.text for record in error.stored] == [f"item {n}" for n in range(4)]
    assert error.__cause__ is fault
    assert "4 of 7" in str(error)
    assert error.scope == ADA
    assert await _texts(client) == [record.text for record in error.stored]
    await client.store_many(items[len(error.stored) :], scope=ADA)
    assert await _texts(client) == [f"item {n}" for n in range(7)]


async def test_a_conflict_behind_stored_items_says_so(client: MemoryClient) -> None:
    """An id that exists, met after others of the call were written, does not hide these."""
    await client.store("old", scope=ADA, record_id="taken")
    items = [
        NewMemory(content="new one"),
        NewMemory(content="new two", idempotency_key="k"),
        NewMemory(content="lost", record_id="taken"),
        NewMemory(content="behind"),
    ]
    with pytest.raises((ConflictError, PartialWriteError)) as caught:
        await client.store_many(items, scope=ADA)
    error = caught.value
    stored = [r.text for r in error.stored] if isinstance(error, PartialWriteError) else []
    assert await _texts(client) == sorted(["old", *stored])


async def test_a_failure_before_anything_is_plain() -> None:
    """When nothing was stored, the backend's own error is raised, and can be tried again."""
    failing = FailingBackend(InMemoryBackend())
    client = _client(failing)
    fault = BackendError("the disk is full")
    failing.fail("upsert", fault)
    with pytest.raises(BackendError) as caught:
        await client.store_many([NewMemory(content="a"), NewMemory(content="b")], scope=ADA)
    assert caught.value is fault
    assert (caught.value.operation, caught.value.scope) == ("store_many", ADA)
    assert await _texts(client) == []
    await client.store("a", scope=ADA)
    assert await _texts(client) == ["a"]


async def _increment(client: MemoryClient) -> None:
    """Add one to a counter, as a careful caller does."""
    while True:
        record = await client.get("counter", scope=ADA)
        value = record.metadata["n"]
        assert isinstance(value, int)
        try:
            await client.update(
                "counter",
                scope=ADA,
                metadata={"n": value + 1},
                expected_version=record.version,
            )
        except ConflictError:
            await anyio.lowlevel.checkpoint()
            continue
        return


async def test_races_of_updates_lose_nothing(client: MemoryClient) -> None:
    """Twenty callers that each add one make twenty."""
    await client.store("counter", scope=ADA, record_id="counter", metadata={"n": 0})
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(_increment, client)
    record = await client.get("counter", scope=ADA)
    assert (record.metadata, record.version) == ({"n": 20}, 21)


async def test_whoever_loses_a_race_waits_in_line(tmp_path: Path) -> None:
    """Thirty tasks that change one record at once all do, each behind another's version."""
    backend = SqliteBackend(tmp_path / "memory.db")
    client = _client(backend)
    await client.store("window", scope=ADA, record_id="r")

    async def say(number: int) -> None:
        await client.update("r", scope=ADA, text=f"said {number}")

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(say, number)
    history = await client.history("r", scope=ADA)
    assert [record.version for record in history] == [*range(31, 0, -1)]
    assert len({record.text for record in history}) == 31
    await backend.aclose()


async def _on_own_loop(work: Callable[[], Awaitable[None]], backend: str) -> None:
    await anyio.to_thread.run_sync(lambda: anyio.run(work, backend=backend))


async def test_races_from_several_loops_lose_nothing(client: MemoryClient) -> None:
    """The same, from event loops on four threads."""
    await client.store("counter", scope=ADA, record_id="counter", metadata={"n": 0})

    async def five() -> None:
        for _ in range(5):
            await _increment(client)

    async with anyio.create_task_group() as group:
        for backend in ("asyncio", "trio", "asyncio", "trio"):
            group.start_soon(_on_own_loop, five, backend)
    record = await client.get("counter", scope=ADA)
    assert (record.metadata, record.version) == ({"n": 20}, 21)


async def test_updates_of_different_fields_both_last() -> None:
    """An update without expected_version that loses a race reads again and keeps the other's."""
    gated = GatedBackend(InMemoryBackend(), "upsert")
    client = _client(gated.inner)
    await client.store("window", scope=ADA, record_id="r")
    slow = _client(gated)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: slow.update("r", scope=ADA, tags=["slow"]))
        await gated.arrived()
        await client.update("r", scope=ADA, kind="quick")
        gated.open()
    record = await client.get("r", scope=ADA)
    assert (record.tags, record.kind, record.version) == (("slow",), "quick", 3)


async def test_a_stale_version_is_refused(client: MemoryClient) -> None:
    """An update for another version than the record's changes nothing."""
    await client.store("window", scope=ADA, record_id="r")
    for version in (0, 2, -1):
        with pytest.raises(ConflictError, match="version"):
            await client.update("r", scope=ADA, text="lost", expected_version=version)
    assert (await client.get("r", scope=ADA)).text == "window"


async def test_an_endless_race_is_reported() -> None:
    """A record that changes under every attempt raises ConflictError instead of trying on."""
    failing = FailingBackend(InMemoryBackend())
    client = _client(failing)
    await client.store("window", scope=ADA, record_id="r")
    failing.fail("upsert", ConflictError("changed again"), times=1_000)
    with pytest.raises(ConflictError, match="expected_version"):
        await client.update("r", scope=ADA, text="zebra")


async def test_a_cancelled_store_leaves_the_client_usable() -> None:
    """A caller that goes away during a write harms no later call."""
    gated = GatedBackend(InMemoryBackend(), "upsert")
    client = _client(gated)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: client.store("window", scope=ADA))
        await gated.arrived()
        group.cancel_scope.cancel()
    gated.open()
    await client.store("zebra", scope=ADA)
    assert await _texts(client) == ["zebra"]
