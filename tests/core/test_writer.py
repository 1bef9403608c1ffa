"""What is returned is what is stored, once, in order; half done is told exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane import MemoryClient
from memlane.embeddings import Embeddings
from memlane.errors import (
    BackendError,
    ConflictError,
    IsolationError,
    NotFoundError,
    PartialWriteError,
    ValidationError,
)
from memlane.local import InMemoryBackend
from memlane.protocols import IndexedRecord
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope
from memlane.testing import (
    CountingBackend,
    FailingBackend,
    FakeClock,
    HashingEmbedder,
    LyingBackend,
    WrappedBackend,
)
from memlane.testing.samples import indexed, read_all, unit
from memlane.types import MemoryRecord, NewMemory
from memlane.writer import Writer
from memlane.writing import RecordIds, new_record

NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
ADA = Scope("ada-lovelace", tenant="acme", agent="support")
SPACE = HashingEmbedder().space.id


@pytest.fixture
def backend() -> FailingBackend:
    """A store that fails when told to."""
    return FailingBackend(InMemoryBackend())


def _writer(backend: WrappedBackend, clock: FakeClock, *, batch: int = 3) -> Writer:
    embeddings = Embeddings(
        HashingEmbedder(), workers=WorkerThreads("writing-in-test", 1), cached_queries=0
    )
    return Writer(backend, embeddings, clock=clock, batch=batch)


async def _texts(backend: WrappedBackend, scope: Scope = ADA) -> list[str]:
    return [record.text for record in await read_all(backend, Reach.whole(scope, now=None))]


plans = st.lists(
    st.tuples(st.sampled_from(["ours", "chosen", "event"]), st.integers(0, 5)), max_size=12
)


@settings(deadline=None, max_examples=40)
@given(plans, st.integers(1, 5))
async def test_what_is_returned_is_what_is_stored(plan: list[tuple[str, int]], batch: int) -> None:
    """Ids of ours, chosen ids and events in any order: returned in it, stored in it, once each."""
    clock = FakeClock()
    backend = WrappedBackend(InMemoryBackend())
    writer = _writer(backend, clock, batch=batch)
    items: list[NewMemory] = []
    for place, (sort, number) in enumerate(plan):
        if sort == "event":
            items.append(NewMemory(content=f"e{number}", idempotency_key=f"{number}",
                                   tags=[f"tag{place}"]))  # fmt: skip
        else:
            items.append(
                NewMemory(content=f"{place}", record_id=f"{place}" if sort == "chosen" else None)
            )
    stored = await writer.store_many(items, scope=ADA)
    assert [record.text for record in stored] == [item.content for item in items]
    kept = await read_all(backend, Reach.whole(ADA, now=None))
    assert kept == list({record.id: record for record in stored}.values())
    assert all(record == next(k for k in kept if k.id == record.id) for record in stored)
    # Once more: the events are known, the ids of ours are new, the chosen ones are taken.
    again = [item for item in items if item.record_id is None]
    repeated = await writer.store_many(again, scope=ADA)
    for item, record in zip(again, repeated, strict=True):
        assert (record in kept) is (item.idempotency_key is not None)


async def test_one_event_twice_in_one_call_is_one_record(clock: FakeClock) -> None:
    """The first of them is stored, and both answers are that record."""
    backend = WrappedBackend(InMemoryBackend())
    items = [
        NewMemory(content="paid", idempotency_key="order-1", tags=["first"]),
        NewMemory(content="paid", idempotency_key="order-1", tags=["second"]),
    ]
    one, other = await _writer(backend, clock).store_many(items, scope=ADA)
    assert one == other
    assert one.tags == ("first",)
    assert await read_all(backend, Reach.whole(ADA, now=None)) == [one]


@pytest.mark.parametrize(
    "pair",
    [
        ({"record_id": "a"}, {"record_id": "a"}),
        ({"idempotency_key": "a", "content": "x"}, {"idempotency_key": "a", "content": "y"}),
        (
            {"record_id": "idem-box6eikw2juyyfb3qycairwtm3"},
            {"idempotency_key": "order-1"},
        ),
    ],
)
async def test_two_items_of_one_id_are_refused(
    pair: tuple[dict[str, Any], dict[str, Any]], clock: FakeClock
) -> None:
    """Before anything is stored, and saying which item it is."""
    backend = WrappedBackend(InMemoryBackend())
    items = [NewMemory(content="first")]
    items += [NewMemory(**{"content": "same", **fields}) for fields in pair]
    with pytest.raises(ConflictError, match="item 2"):
        await _writer(backend, clock).store_many(items, scope=ADA)
    assert await _texts(backend) == []


async def test_an_event_of_another_content_is_refused(clock: FakeClock) -> None:
    """A key means one event; its content is not in the message."""
    backend = WrappedBackend(InMemoryBackend())
    writer = _writer(backend, clock)
    await writer.store_many([NewMemory(content="the secret", idempotency_key="k")], scope=ADA)
    with pytest.raises(ConflictError, match="another content") as caught:
        await writer.store_many([NewMemory(content="other", idempotency_key="k")], scope=ADA)
    assert "secret" not in str(caught.value)


class Racing(WrappedBackend):
    """Somebody else's record of the same event arrives between looking and writing."""

    def __init__(self, theirs: IndexedRecord) -> None:
        super().__init__(InMemoryBackend())
        self.theirs: IndexedRecord | None = theirs

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        theirs, self.theirs = self.theirs, None
        if theirs is not None:
            await self.inner.upsert([theirs], scope=scope)
        await self.inner.upsert(records, scope=scope, expected_version=expected_version)


@pytest.mark.parametrize("same", [True, False])
async def test_a_race_for_one_event_has_one_winner(clock: FakeClock, same: bool) -> None:
    """Who loses gets the winner's record, or a conflict when it says something else."""
    new = NewMemory(content="paid", idempotency_key="k")
    theirs = new_record(new, scope=ADA, now=NOW, ids=RecordIds(), space=SPACE)
    theirs = replace(theirs, tags=("theirs",), text="paid" if same else "refused")
    backend = Racing(indexed(theirs, unit(0, dimensions=64)))
    writer = _writer(backend, clock)
    items = [NewMemory(content="before"), new, NewMemory(content="after")]
    if same:
        stored = await writer.store_many(items, scope=ADA)
        assert stored[1] == theirs
        assert sorted(await _texts(backend)) == ["after", "before", "paid"]
    else:
        with pytest.raises(PartialWriteError, match="1 of 3") as caught:
            await writer.store_many(items, scope=ADA)
        assert isinstance(caught.value.__cause__, ConflictError)
        assert [record.text for record in caught.value.stored] == ["before"]


async def test_half_done_says_what_was_stored(backend: FailingBackend, clock: FakeClock) -> None:
    """The error carries the durable records, the cause, and how many to store again."""
    backend.fail("upsert", BackendError("the disk is full"), after=2)
    items = [NewMemory(content=f"text {n}") for n in range(8)]
    with pytest.raises(PartialWriteError, match=r"6 of 8 .*last 2 again") as caught:
        await _writer(backend, clock).store_many(items, scope=ADA)
    assert [record.text for record in caught.value.stored] == [f"text {n}" for n in range(6)]
    assert await _texts(backend) == [f"text {n}" for n in range(6)]
    assert isinstance(caught.value.__cause__, BackendError)
    assert "text" not in str(caught.value)


async def test_a_first_failure_is_the_failure_itself(
    backend: FailingBackend, clock: FakeClock
) -> None:
    """Where nothing was stored there is nothing to tell."""
    backend.fail("upsert", BackendError("the disk is full"))
    items = [NewMemory(content=f"text {n}") for n in range(8)]
    with pytest.raises(BackendError, match="disk") as caught:
        await _writer(backend, clock).store_many(items, scope=ADA)
    assert not isinstance(caught.value, PartialWriteError)
    assert await _texts(backend) == []


async def test_an_event_told_twice_is_stored_once_and_said_so(
    backend: FailingBackend, clock: FakeClock
) -> None:
    """Met again in a later batch, it is still one that this very call stored."""
    event = NewMemory(content="e1", idempotency_key="1")
    backend.fail("upsert", BackendError("the disk is full"), after=1)
    with pytest.raises(PartialWriteError) as caught:
        await _writer(backend, clock, batch=1).store_many(
            [event, event, NewMemory(content="more")], scope=ADA
        )
    assert [record.text for record in caught.value.stored] == ["e1", "e1"]


@settings(deadline=None, max_examples=60)
@given(plans, st.integers(1, 5), st.integers(0, 8))
async def test_the_error_and_the_store_agree(
    plan: list[tuple[str, int]], batch: int, after: int
) -> None:
    """Wherever it fails, within a batch too: `stored` is what is there, and the rest can follow."""
    clock = FakeClock()
    backend = FailingBackend(InMemoryBackend())
    writer = _writer(backend, clock, batch=batch)
    known = NewMemory(content="e0", idempotency_key="0")
    await writer.store_many([known], scope=ADA)
    items = [
        NewMemory(content=f"e{number}", idempotency_key=f"{number}")
        if sort == "event"
        else NewMemory(content=f"{place}", record_id=f"{place}" if sort == "chosen" else None)
        for place, (sort, number) in enumerate(plan)
    ]
    backend.fail("upsert", BackendError("gone"), after=after, times=1)
    try:
        stored: Sequence[MemoryRecord] = await writer.store_many(items, scope=ADA)
    except PartialWriteError as error:
        stored = error.stored
        assert stored
    except BackendError:
        stored = ()
    there = await read_all(backend, Reach.whole(ADA, now=None))
    assert [record.text for record in stored] == [item.content for item in items][: len(stored)]
    assert {record.id for record in there} - {there[0].id} == {r.id for r in stored} - {there[0].id}
    # What the remedy says to do ends where one undisturbed call would have.
    await writer.store_many(items[len(stored) :], scope=ADA)
    expected = list(dict.fromkeys(["e0", *(item.content for item in items)]))
    assert await _texts(backend) == expected


async def test_a_conflict_within_a_batch_does_not_hide_what_was_stored(clock: FakeClock) -> None:
    """Ids of ours before a chosen one that is taken: they are durable, and the error says so."""
    backend = WrappedBackend(InMemoryBackend())
    writer = _writer(backend, clock)
    await writer.store_many([NewMemory(content="old", record_id="taken")], scope=ADA)
    items = [NewMemory(content="mine"), NewMemory(content="new", record_id="taken")]
    with pytest.raises(PartialWriteError, match="1 of 2") as caught:
        await writer.store_many(items, scope=ADA)
    assert [record.text for record in caught.value.stored] == ["mine"]
    assert isinstance(caught.value.__cause__, ConflictError)
    assert await _texts(backend) == ["old", "mine"]


async def test_a_bad_item_stores_nothing(clock: FakeClock) -> None:
    """All are checked before the first is paid for, and the message says which it was."""
    embedder = HashingEmbedder()
    backend = CountingBackend(InMemoryBackend())
    client = MemoryClient(backend=backend, embedder=embedder, clock=clock)
    items = [NewMemory(content=f"{n}") for n in range(9)] + [NewMemory(content=" ")]
    with pytest.raises(ValidationError, match="item 9"):
        await client.store_many(items, scope=ADA)
    assert (backend.calls["upsert"], embedder.calls) == (0, 0)


@pytest.mark.parametrize("fields", [{"record_id": "a"}, {"idempotency_key": "a"}])
async def test_an_id_is_free_again_when_its_record_has_expired(
    fields: dict[str, str], clock: FakeClock
) -> None:
    """What exists for nobody is in nobody's way; a record that is alive still is."""
    client = MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder(), clock=clock)
    await client.store("one", scope=ADA, ttl=timedelta(hours=1), **fields)  # type: ignore[arg-type] # two strings
    with pytest.raises(ConflictError):
        await client.store("two", scope=ADA, **fields)  # type: ignore[arg-type] # two strings
    clock.advance(timedelta(hours=1))
    assert await client.count(scope=ADA) == 0
    await client.store_many(
        [NewMemory(content="two", **fields), NewMemory(content="b", record_id="b")],  # type: ignore[arg-type] # two strings
        scope=ADA,
    )
    assert [record.text async for record in client.iterate(scope=ADA)] == ["two", "b"]
    with pytest.raises(ConflictError):
        await client.store("three", scope=ADA, **fields)  # type: ignore[arg-type] # two strings


async def test_an_event_of_somebody_else_is_never_returned(clock: FakeClock) -> None:
    """A backend that answers with another's record of the same key is refused."""
    new = NewMemory(content="paid", idempotency_key="k")
    foreign = new_record(new, scope=Scope("eve"), now=NOW, ids=RecordIds(), space=SPACE)
    backend = LyingBackend(InMemoryBackend(), [indexed(foreign)])
    with pytest.raises(IsolationError):
        await _writer(backend, clock).store_many([new], scope=ADA)


async def test_updates_do_not_lose_each_other(clock: FakeClock) -> None:
    """A change that finds another one done is repeated on top of it, up to a bound."""

    class Busy(WrappedBackend):
        races = 3

        async def upsert(
            self,
            records: Sequence[IndexedRecord],
            *,
            scope: Scope,
            expected_version: int | None = None,
        ) -> None:
            if expected_version and self.races:
                self.races -= 1
                now = (await self.inner.fetch(["r"], reach=reach, vectors=True))[0]
                tags = tuple(sorted({*now.record.tags, f"race{self.races}"}))
                theirs = replace(now.record, tags=tags, version=now.record.version + 1)
                await self.inner.upsert([replace(now, record=theirs)], scope=scope)
            await self.inner.upsert(records, scope=scope, expected_version=expected_version)

    backend = Busy(InMemoryBackend())
    reach = Reach.point(ADA, now=clock.now())
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock)
    await client.store("x", scope=ADA, record_id="r")
    after = await client.update("r", scope=ADA, text="y")
    assert (after.text, after.tags, after.version) == ("y", ("race0", "race1", "race2"), 5)
    backend.races = 1
    with pytest.raises(ConflictError):
        await client.update("r", scope=ADA, text="z", expected_version=5)
    backend.races = 100
    with pytest.raises(ConflictError, match="8 times"):
        await client.update("r", scope=ADA, text="z")
    with pytest.raises(ConflictError, match="at version"):
        await client.update("r", scope=ADA, text="z", expected_version=1)
    with pytest.raises(NotFoundError):
        await client.update("s", scope=ADA, text="z")


async def test_an_update_embeds_only_what_changed(clock: FakeClock) -> None:
    """New tags keep the vectors; a new text is embedded again and found by its words."""
    embedder = HashingEmbedder()
    client = MemoryClient(backend=InMemoryBackend(), embedder=embedder, clock=clock)
    await client.store("likes green tea", scope=ADA, record_id="r")
    before = embedder.calls
    await client.update("r", scope=ADA, tags=["t"], text="likes green tea")
    assert embedder.calls == before
    await client.update("r", scope=ADA, text="likes black coffee")
    assert embedder.calls == before + 1
    found = await client.retrieve("coffee", scope=ADA, mode="text")
    assert [match.record.text for match in found] == ["likes black coffee"]
    assert not await client.retrieve("tea", scope=ADA, mode="text")
