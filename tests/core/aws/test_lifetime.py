"""The whole life of a memory on S3 Vectors: as on every other store, but where docs say weaker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from faults.aws.clouds import BUCKET, Cloud, MovedClock
from memlane import (
    EmbeddingSpaceError,
    MemoryClient,
    NewMemory,
    NotFoundError,
    QuotaExceededError,
    Retention,
    Scope,
)
from memlane.keeper import Keeper
from memlane.testing import HashingEmbedder
from memlane.testing.emulator import Emulator

ADA = Scope("ada", tenant="acme", agent="support")
BOB = Scope("bob", tenant="acme")
EVE = Scope("eve", tenant="other")
HOUR = timedelta(hours=1)
LONG = " ".join(f"Sentence {number} of a long story about trains." for number in range(60))


@pytest.fixture
def cloud(emulator: Emulator) -> Cloud:
    """An account with one bucket, and clients whose clock a test moves."""
    emulator.blocking.create_bucket(BUCKET)
    return Cloud(emulator, clock=MovedClock())


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[MemoryClient]:
    """A client, each tenant with an index of its own."""
    async with cloud.client() as opened:
        yield opened


async def test_versions_come_and_go_with_their_record(client: MemoryClient) -> None:
    """Kept, restored, never found or counted, and deleted along."""
    record = await client.store("in Porto", scope=ADA, tags=["home"])
    await client.update(record.id, scope=ADA, text="in Lisbon", source="tool", tags=[])
    back = await client.restore(record.id, scope=ADA, version=1, expected_version=2)
    assert (back.text, back.tags, back.source, back.version) == ("in Porto", ("home",), "tool", 3)
    versions = await client.history(record.id, scope=ADA)
    assert [(each.version, each.text) for each in versions] == [
        (3, "in Porto"),
        (2, "in Lisbon"),
        (1, "in Porto"),
    ]
    assert await client.count(scope=ADA) == 1
    assert [match.record for match in await client.retrieve("Lisbon", scope=ADA)] == [back]
    for scope in (BOB, replace(ADA, agent=None)):
        with pytest.raises(NotFoundError):
            await client.history(record.id, scope=scope)
    await client.delete(record.id, scope=ADA)
    again = await client.store("x", scope=ADA, record_id=record.id)
    assert list(await client.history(record.id, scope=ADA)) == [again]


async def test_of_two_that_race_no_text_is_lost(cloud: Cloud) -> None:
    """Both are in the history, whoever is current; no condition holds between two clients here."""
    async with cloud.client() as one, cloud.client() as other:
        record = await one.store("at first", scope=ADA)
        await other.get(record.id, scope=ADA)
        async with anyio.create_task_group() as group:
            for client, text in ((one, "from one"), (other, "from the other")):

                async def change(client: MemoryClient = client, text: str = text) -> None:
                    await client.update(record.id, scope=ADA, text=text)

                group.start_soon(change)
        texts = {each.text for each in await one.history(record.id, scope=ADA)}
        assert texts == {"at first", "from one", "from the other"}


async def test_forgetting_proves_that_all_is_gone(cloud: Cloud, client: MemoryClient) -> None:
    """Versions and windows too: the index lists nothing of that user any more."""
    await client.store_many([NewMemory(content=f"Note {n}") for n in range(30)], scope=ADA)
    record = await client.store(LONG, scope=ADA, actor="Wilhelmina")
    await client.update(record.id, scope=ADA, text="short", actor="Zacharias")
    kept = await client.store("of another", scope=BOB)
    receipt = await client.forget(ADA)
    assert (receipt.found, receipt.deleted, receipt.failed) == (31, 31, ())
    assert receipt.verified_empty
    assert (await client.admin("acme").stats()).vectors == 1
    assert await client.get(kept.id, scope=BOB) == kept
    again = await client.forget(ADA)
    assert (again.found, again.deleted, again.verified_empty) == (0, 0, True)
    del cloud


async def test_a_tenant_is_looked_at_and_forgotten(client: MemoryClient) -> None:
    """Its users and counts; then nothing of it, and it begins anew."""
    for scope in (ADA, BOB, EVE):
        await client.store("note", scope=scope, ttl=HOUR)
        await client.store("kept", scope=scope)
    admin = client.admin("acme")
    assert sorted((await admin.users()).items) == ["ada", "bob"]
    stats = await admin.stats()
    assert (stats.users, stats.records, stats.expired) == (2, 4, 0)
    receipt = await admin.forget_tenant()
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (4, 4, True)
    assert await client.count(scope=EVE) == 2
    await client.store("again", scope=ADA)
    assert await client.count(scope=ADA) == 1


async def test_near_duplicates_are_collapsed(client: MemoryClient) -> None:
    """Within a call and beside what is there."""
    first = await client.store("Rex is a dog", scope=ADA)
    stored = await client.store_many(
        [NewMemory(content=text, duplicates="collapse") for text in ("rex is a dog.", "I run")] * 2,
        scope=ADA,
    )
    assert [record.id for record in stored] == [first.id, stored[1].id, first.id, stored[1].id]
    receipt = client.last_receipt()
    assert receipt is not None
    assert receipt.near_duplicates == (first.id, first.id, stored[1].id)
    assert await client.count(scope=ADA) == 2


async def test_a_bound_is_met_best_effort(cloud: Cloud) -> None:
    """A full scope refuses; with "oldest" it is a twentieth more at most."""
    async with cloud.client() as client:
        backend, clock = client._backend, client._clock
        client._keeper = Keeper(backend, Retention(max_records=40), clock=clock, every=None)
        for _ in range(5):
            await client.store_many([NewMemory(content="note")] * 12, scope=ADA)
            assert await client.count(scope=ADA) <= 42
        refusing = Retention(max_records=40, when_full="refuse")
        client._keeper = Keeper(backend, refusing, clock=clock, every=None)
        with pytest.raises(QuotaExceededError):
            await client.store("one more", scope=ADA)


async def test_to_another_model(cloud: Cloud) -> None:
    """Records, windows, histories and expiry go along; the old model is refused afterwards."""
    new = HashingEmbedder(32)
    async with cloud.client() as old, cloud.client(embedder=new) as after:
        await old.store_many([NewMemory(content=f"Note {n}") for n in range(20)], scope=ADA)
        await old.store(LONG, scope=BOB)
        record = await old.store("Loves quokkas", scope=BOB)
        await old.update(record.id, scope=BOB, text="Loves numbats")
        await old.store("elsewhere", scope=EVE)
        plan = await old.admin("acme").plan_reembed(new)
        assert (plan.records, plan.begun) == (22, 0)
        receipt = await old.admin("acme").reembed(new)
        assert (receipt.records, receipt.embedded) == (22, 22)
        (found,) = await after.retrieve("Loves numbats", scope=BOB, limit=1)
        assert found.record.id == record.id
        (window,) = await after.retrieve("Sentence 41 of a long story", scope=BOB, limit=1)
        assert "Sentence 41" in window.passage
        assert [each.text for each in await after.history(record.id, scope=BOB)] == [
            "Loves numbats",
            "Loves quokkas",
        ]
        assert await after.count(scope=ADA) == 20
        with pytest.raises(EmbeddingSpaceError, match=r"re-?embed"):
            await old.store("one more", scope=ADA)
        assert await old.count(scope=EVE) == 1
        assert (await old.admin("acme").reembed(new)).embedded == 0
