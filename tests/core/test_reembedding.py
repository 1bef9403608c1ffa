"""A tenant goes from one embedding space to another, all of it, and nobody else does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from memlane import (
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    IsolationError,
    MemoryClient,
    NewMemory,
    Progress,
    Scope,
)
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.powers import PendingPage
from memlane.protocols import Capabilities, EmbeddingSpace, IndexedRecord, Purpose, Vector
from memlane.scope import Reach
from memlane.testing import FakeClock, HashingEmbedder
from memlane.testing.samples import make_record

ADA = Scope("ada", tenant="acme")
BOB = Scope("bob", tenant="acme", agent="support")
EVE = Scope("eve", tenant="other")
LONG = " ".join(f"Sentence {number} of a long story about trains." for number in range(60))
COUNT = 450  # more than two pages


class Counting(HashingEmbedder):
    """The new model: counts what it embeds, and may be away after so many texts."""

    def __init__(self, *, after: int = 10**9, dimensions: int = 32) -> None:
        super().__init__(dimensions)
        self.texts: list[str] = []
        self.after = after

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        """Embed, while it may."""
        assert purpose == "document"
        if len(self.texts) + len(inputs) > self.after:
            raise ConnectionError("the model is away")
        self.texts += inputs
        return await super().embed(inputs, purpose=purpose)


@pytest.fixture(params=["memory", "sqlite"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Each local store."""
    made: Any = (
        InMemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "memory.db")
    )
    yield made
    await made.aclose()


@pytest.fixture
async def client(backend: Any, clock: FakeClock) -> MemoryClient:
    """A client of the old model, with two users of a tenant and one of another."""
    made = _client(backend, clock)
    notes = [NewMemory(content=f"Note {number}") for number in range(COUNT - 2)]
    await made.store_many(notes, scope=ADA)
    await made.store("Loves quokkas", scope=BOB, record_id="b", actor="Bob", ttl=timedelta(days=9))
    await made.update("b", scope=BOB, text="Loves numbats")
    await made.store(LONG, scope=BOB)
    await made.store("Loves okapis", scope=EVE, record_id="e")
    return made


def _client(backend: Any, clock: FakeClock, embedder: Any = None) -> MemoryClient:
    return MemoryClient(backend=backend, embedder=embedder or HashingEmbedder(), clock=clock)


async def _everything(client: MemoryClient) -> list[Any]:
    return [each for scope in (ADA, BOB) for each in [r async for r in client.iterate(scope=scope)]]


async def test_all_of_it_goes_and_nobody_else(
    backend: Any, client: MemoryClient, clock: FakeClock
) -> None:
    """Records are as they were but for the space; found as before, by windows too; history kept."""
    before = await _everything(client)
    new, told = Counting(), list[Progress]()
    receipt = await client.admin("acme").reembed(new, on_progress=told.append)
    assert (receipt.space, receipt.records, receipt.embedded) == (new.space.id, COUNT, COUNT)
    assert [each.done for each in told] == [200, 400, COUNT]
    assert {each.total for each in told} == {COUNT}
    after = _client(backend, clock, HashingEmbedder(32))
    assert await _everything(after) == [replace(each, space=new.space.id) for each in before]
    assert [m.record.id for m in await after.retrieve("Loves numbats", scope=BOB, limit=1)] == ["b"]
    (found,) = await after.retrieve("Sentence 41 of a long story", scope=BOB, limit=1)
    assert "Sentence 41" in found.passage
    assert len(found.passage) < len(LONG)
    assert [each.text for each in await after.history("b", scope=BOB)] == [
        "Loves numbats",
        "Loves quokkas",
    ]
    # The other tenant is where it was.
    assert (await client.retrieve("Loves okapis", scope=EVE))[0].record.id == "e"


async def test_the_old_model_is_refused(
    backend: Any, client: MemoryClient, clock: FakeClock
) -> None:
    """By this client, and by one that had asked before; with what to do about it."""
    elsewhere = _client(backend, clock)
    await elsewhere.retrieve("note", scope=ADA)
    await client.admin("acme").reembed(Counting())
    for old in (client, elsewhere):
        with pytest.raises(EmbeddingSpaceError, match=r"re-?embed"):
            await old.retrieve("note", scope=ADA)
        with pytest.raises(EmbeddingSpaceError, match=r"re-?embed"):
            await old.store("one more", scope=ADA)
        with pytest.raises(EmbeddingSpaceError, match=r"re-?embed"):
            await old.update("b", scope=BOB, text="Loves both")


async def test_the_plan_tells_what_it_will_cost(client: MemoryClient) -> None:
    """Records, characters, tokens of all that is embedded, long texts in windows; and no price."""
    plan = await client.admin("acme").plan_reembed(Counting())
    texts = [record.text for record in await _everything(client)]
    assert (plan.records, plan.begun, plan.dollars) == (COUNT, 0, None)
    assert plan.characters == sum(map(len, texts))
    # The long one is embedded as a whole and in windows.
    assert plan.tokens > plan.characters / 3.5
    new = Counting()
    await client.admin("acme").reembed(new)
    assert plan.tokens >= sum(map(len, new.texts)) / 3.5
    done = await client.admin("acme").plan_reembed(Counting())
    assert (done.records, done.characters, done.tokens, done.begun) == (0, 0, 0, 0)


async def test_a_known_model_has_a_price(client: MemoryClient) -> None:
    """By the tokens that are estimated."""
    titan = Counting()
    titan._space = replace(titan.space, model="amazon.titan-embed-text-v2:0")
    plan = await client.admin("acme").plan_reembed(titan)
    assert plan.dollars == pytest.approx(plan.tokens * 0.02 / 1_000_000)


async def test_cut_short_it_goes_on(backend: Any, client: MemoryClient, clock: FakeClock) -> None:
    """Nobody notices meanwhile; what was embedded is not embedded again, and no price is asked."""
    admin = client.admin("acme")
    with pytest.raises(Exception, match="ConnectionError"):
        await admin.reembed(Counting(after=300))
    assert (await client.retrieve("Loves numbats", scope=BOB, limit=1))[0].record.id == "b"
    plan = await admin.plan_reembed(Counting())
    assert (plan.records, plan.begun) == (COUNT - 200, 200)
    again = Counting()
    receipt = await admin.reembed(again)
    assert (receipt.records, receipt.embedded) == (COUNT, COUNT - 200)
    assert len({text for text in again.texts if text.startswith("Note")}) <= COUNT - 200
    # And once it is done there is nothing left to do.
    idle = Counting()
    assert (await admin.reembed(idle)).embedded == 0
    assert idle.texts == []
    assert len(await _everything(_client(backend, clock, HashingEmbedder(32)))) == COUNT


async def test_what_is_written_meanwhile_goes_along(
    backend: Any, client: MemoryClient, clock: FakeClock
) -> None:
    """Stored, changed and deleted while it runs, by clients of the old model."""
    pages = 0

    def meddle(progress: Progress) -> None:
        nonlocal pages
        del progress
        pages += 1

    class Meddling(Counting):
        async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
            if pages == 2 and not await client.count(scope=EVE, filter={"done": True}):
                await client.store("done", scope=EVE, metadata={"done": True})
                await client.store("Late note", scope=ADA, record_id="late")
                await client.update("b", scope=BOB, text="Loves both")
                await client.delete((await client.list(scope=ADA, limit=1)).items[0].id, scope=ADA)
            return await super().embed(inputs, purpose=purpose)

    receipt = await client.admin("acme").reembed(Meddling(), on_progress=meddle)
    # The last page was read already: what came after it is met by looking through it once more.
    assert (receipt.records, receipt.embedded) == (COUNT, COUNT + 2)
    after = _client(backend, clock, HashingEmbedder(32))
    assert (await after.retrieve("Loves both", scope=BOB, limit=1))[0].record.id == "b"
    assert (await after.retrieve("Late note", scope=ADA, limit=1))[0].record.id == "late"
    assert await after.count(scope=ADA) == COUNT - 2


async def test_a_tenant_that_never_rests(client: MemoryClient) -> None:
    """Is given up on, with what to do; what was embedded is kept, and the old space is in use."""
    stored = 0

    class Restless(Counting):
        async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
            nonlocal stored
            stored += 1
            await client.store(f"One more {stored}", scope=ADA)
            return await super().embed(inputs, purpose=purpose)

    with pytest.raises(ConflictError, match="writers rest"):
        await client.admin("acme").reembed(Restless())
    assert await client.count(scope=ADA) == COUNT - 2 + stored
    assert (await client.admin("acme").reembed(Counting())).embedded == 1


async def test_two_at_once(backend: Any, client: MemoryClient, clock: FakeClock) -> None:
    """Both come to an end, and it is done once."""
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(client.admin("acme").reembed, Counting())
    after = _client(backend, clock, HashingEmbedder(32))
    assert len(await _everything(after)) == COUNT
    assert set((await after.admin("acme").stats()).spaces) == {HashingEmbedder(32).space.id}


async def test_to_a_third_space(client: MemoryClient) -> None:
    """One at a time: the one that was begun is finished, or given up."""
    admin = client.admin("acme")
    with pytest.raises(Exception, match="ConnectionError"):
        await admin.reembed(Counting(after=300))
    third = Counting(dimensions=48)
    with pytest.raises(ConflictError):
        await admin.reembed(third)
    assert (await admin.plan_reembed(third)).records == COUNT
    assert await admin.abandon_reembed() is True
    assert await admin.abandon_reembed() is False
    assert (await admin.reembed(third)).embedded == COUNT


async def test_what_has_expired_is_not_paid_for(client: MemoryClient, clock: FakeClock) -> None:
    """It is swept before, and not in the plan."""
    clock.advance(timedelta(days=9))
    assert (await client.admin("acme").plan_reembed(Counting())).records == COUNT - 1
    new = Counting()
    assert (await client.admin("acme").reembed(new)).records == COUNT - 1
    assert "Loves numbats" not in new.texts


async def test_an_empty_tenant(backend: Any, clock: FakeClock) -> None:
    """Is in the new space at once."""
    client = _client(backend, clock)
    receipt = await client.admin("new").reembed(Counting())
    assert (receipt.records, receipt.embedded) == (0, 0)
    after = _client(backend, clock, HashingEmbedder(32))
    await after.store("x", scope=Scope("ada", tenant="new"))


class Lying(InMemoryBackend):
    """A store that hands out another tenant's records."""

    async def pending(
        self, *, scope: Scope, space: EmbeddingSpace, cursor: str | None = None, limit: int = 100
    ) -> PendingPage:
        """Lie."""
        del scope, space, cursor, limit
        return PendingPage(records=(make_record("x", scope=EVE, text="a secret"),), cursor=None)

    async def shadow(
        self, records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
    ) -> None:
        """Nobody comes so far."""
        raise AssertionError((records, scope, space))


async def test_anothers_record_is_not_embedded(clock: FakeClock) -> None:
    """What comes back is checked, here too: nothing of it reaches the model."""
    client = _client(Lying(), clock)
    await client.store("x", scope=ADA)
    new = Counting()
    for call in (client.admin("acme").plan_reembed, client.admin("acme").reembed):
        with pytest.raises(IsolationError) as caught:
            await call(new)
        assert "secret" not in str(caught.value)
    assert new.texts == []


async def test_long_records_are_embedded_in_small_lots(backend: Any, clock: FakeClock) -> None:
    """A page of them, and all their windows, would not fit into memory."""
    client = _client(backend, clock)
    texts = [f"{number} {LONG * 5}"[:29_000] for number in range(9)]
    await client.store_many([NewMemory(content=text) for text in texts], scope=ADA)
    await client.store_many([NewMemory(content=f"Note {n}") for n in range(20)], scope=ADA)
    lots: list[list[int]] = []
    shadow = backend.shadow

    async def shadowed(records: Sequence[IndexedRecord], **where: Any) -> None:
        lots.append([len(each.record.text) for each in records])
        await shadow(records, **where)

    backend.shadow = shadowed
    assert (await client.admin("acme").reembed(Counting())).embedded == 29
    assert max(map(sum, lots)) <= 60_000
    assert max(map(len, lots)) >= 20
    assert sum(map(len, lots)) == 29


class Leaky(InMemoryBackend):
    """A store whose cut-over takes several steps, and loses a record between them."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, atomic_conditions=False)

    async def cut_over(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Lose one."""
        done = await super().cut_over(scope=scope, space=space)
        await self.delete(["b"], reach=Reach.whole(BOB, now=None))
        return done


async def test_no_success_over_fewer_records(clock: FakeClock) -> None:
    """What was there before the cut-over is there after it, or it is said."""
    client = _client(Leaky(), clock)
    await client.store("Loves quokkas", scope=BOB, record_id="b")
    await client.store("Loves numbats", scope=BOB)
    with pytest.raises(BackendError, match="1 of 2 records are missing"):
        await client.admin("acme").reembed(Counting())
