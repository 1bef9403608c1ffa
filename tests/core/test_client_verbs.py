"""What each verb of the client gives back, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest

from memlane import (
    ConflictError,
    EmbeddingSpaceError,
    Limits,
    MemoryClient,
    NewMemory,
    NotFoundError,
    Scope,
    ScopedMemory,
    ValidationError,
)
from memlane.local import InMemoryBackend
from memlane.scope import Reach
from memlane.testing import FailingBackend, FakeClock, HashingEmbedder

ADA = Scope("ada", tenant="acme", session="monday")


async def test_store_returns_what_get_returns(client: MemoryClient, clock: FakeClock) -> None:
    """Every argument of store is on the record, times are the clock's, and get returns it all."""
    happened = datetime(2025, 6, 1, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=2)))
    stored = await client.store(
        "Prefers window seats",
        scope=ADA,
        namespace="/preferences/travel",
        kind="preference",
        metadata={"n": 1, "deep": {"a": [None, True]}},
        tags=["travel", "seats", "travel"],
        actor="Ada",
        occurred_at=happened,
        ttl=timedelta(days=1),
        record_id="seat",
        source="user",
    )
    assert stored.text == "Prefers window seats"
    assert stored.scope == ADA
    assert stored.namespace == "/preferences/travel/"
    assert (stored.kind, stored.source, stored.actor) == ("preference", "user", "Ada")
    assert stored.metadata == {"n": 1, "deep": {"a": [None, True]}}
    assert stored.tags == ("seats", "travel")
    assert stored.occurred_at == happened
    assert stored.occurred_at.utcoffset() == timedelta(0)
    assert stored.stored_at == stored.updated_at == clock.now()
    assert stored.expires_at == clock.now() + timedelta(days=1)
    assert (stored.version, stored.space) == (1, client.space.id)
    assert await client.get("seat", scope=ADA) == stored


async def test_ids_sort_by_time(client: MemoryClient, clock: FakeClock) -> None:
    """Ids rise with time, also within a millisecond and when a clock goes back."""
    ids = [(await client.store("a", scope=ADA)).id for _ in range(5)]
    clock.set(clock.now() - timedelta(hours=1))
    ids += [(await client.store("b", scope=ADA)).id for _ in range(3)]
    clock.advance(timedelta(days=1))
    ids.append((await client.store("c", scope=ADA)).id)
    assert ids == sorted(set(ids))


async def test_what_the_caller_changes_later_is_not_stored(client: MemoryClient) -> None:
    """Metadata and tags are copied when they are given."""
    metadata: dict[str, object] = {"list": [1]}
    stored = await client.store("a", scope=ADA, metadata=metadata)  # type: ignore[arg-type] # JSON, as object
    metadata["list"] = "changed"
    assert stored.metadata == {"list": [1]}
    assert (await client.get(stored.id, scope=ADA)).metadata == {"list": [1]}


async def test_store_many_keeps_the_order(client: MemoryClient) -> None:
    """Records come back in the order of the items, from any iterable, over several batches."""
    items = (NewMemory(content=f"item {n}") for n in range(600))
    records = await client.store_many(items, scope=ADA)
    assert [record.text for record in records] == [f"item {n}" for n in range(600)]
    assert [record.id for record in records] == sorted(record.id for record in records)
    assert await client.count(scope=ADA) == 600
    assert list(await client.store_many([], scope=ADA)) == []


async def test_list_pages_iterate_and_count_agree(client: MemoryClient) -> None:
    """Pages hold as many as asked for until the last; the iterator and the count see the same."""
    await client.store_many([NewMemory(content=f"n {n}") for n in range(7)], scope=ADA)
    texts: list[str] = []
    cursor: str | None = None
    sizes: list[int] = []
    while True:
        page = await client.list(scope=ADA, limit=3, cursor=cursor)
        texts += [record.text for record in page.items]
        sizes.append(len(page.items))
        if (cursor := page.cursor) is None:
            break
    assert sizes[:3] == [3, 3, 1]
    assert sorted(texts) == [f"n {n}" for n in range(7)]
    assert [record.text async for record in client.iterate(scope=ADA)] == texts
    assert await client.count(scope=ADA) == 7


async def test_update_changes_what_is_given(client: MemoryClient, clock: FakeClock) -> None:
    """Other fields stay; version and updated_at move; the new text is found, the old is not."""
    before = await client.store(
        "window", scope=ADA, metadata={"a": 1}, tags=["t"], actor="Ada", record_id="r"
    )
    clock.advance(timedelta(minutes=1))
    after = await client.update("r", scope=ADA, text="zebra")
    assert (after.text, after.version, after.updated_at) == ("zebra", 2, clock.now())
    assert (after.metadata, after.tags, after.actor) == ({"a": 1}, ("t",), "Ada")
    assert (after.stored_at, after.occurred_at) == (before.stored_at, before.occurred_at)
    assert await client.get("r", scope=ADA) == after
    assert list(await client.retrieve("window", scope=ADA, mode="text")) == []
    assert len(await client.retrieve("zebra", scope=ADA, mode="text")) == 1
    cleared = await client.update(
        "r", scope=ADA, metadata=None, tags=[], actor=None, expires_at=None, namespace="/n",
        kind="note", occurred_at=datetime(2020, 1, 1, tzinfo=UTC), expected_version=2,
    )  # fmt: skip
    assert (cleared.metadata, cleared.tags, cleared.actor) == ({}, (), None)
    assert (cleared.namespace, cleared.kind, cleared.version) == ("/n/", "note", 3)


async def test_update_of_fields_embeds_nothing(
    client: MemoryClient, embedder: HashingEmbedder
) -> None:
    """Only a new text is embedded again."""
    await client.store("window", scope=ADA, record_id="r")
    before = embedder.calls
    await client.update("r", scope=ADA, metadata={"a": 1}, namespace="/x/")
    assert embedder.calls == before
    await client.update("r", scope=ADA, text="zebra")
    assert embedder.calls == before + 1
    (match,) = await client.retrieve("zebra", scope=ADA, mode="vector")
    assert match.similarity == pytest.approx(1, abs=1e-3)


async def test_delete_counts_what_existed(client: MemoryClient) -> None:
    """One id, several ids, repeated and unknown ones."""
    for each in "abc":
        await client.store(each, scope=ADA, record_id=each)
    assert await client.delete("a", scope=ADA) == 1
    assert await client.delete(["a", "b", "b", "nobody"], scope=ADA) == 1
    assert await client.delete([], scope=ADA) == 0
    with pytest.raises(NotFoundError):
        await client.get("a", scope=ADA)
    assert await client.count(scope=ADA) == 1


async def test_forget_proves_itself(client: MemoryClient, clock: FakeClock) -> None:
    """The receipt counts what was there, expired records too, and nothing is left."""
    await client.store("window", scope=ADA)
    await client.store("short", scope=ADA, ttl=timedelta(seconds=1))
    clock.advance(timedelta(seconds=1))
    receipt = await client.forget(ADA)
    assert (receipt.found, receipt.deleted, receipt.failed) == (2, 2, ())
    assert receipt.verified_empty
    assert receipt.residue == "none"
    assert list(await client.retrieve("window", scope=ADA)) == []


async def test_forget_sees_what_is_stored_meanwhile(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """A record stored while its scope is being forgotten goes too, or the receipt says so."""

    class Storing(FailingBackend):
        async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
            gone = await super().delete(record_ids, reach=reach)
            if left:
                await other.store(left.pop(), scope=ADA)
            return gone

    left = ["late"]
    inner = InMemoryBackend()
    other = MemoryClient(backend=inner, embedder=embedder, clock=clock)
    await other.store("first", scope=ADA)
    client = MemoryClient(backend=Storing(inner), embedder=embedder, clock=clock)
    receipt = await client.forget(ADA)
    assert receipt.verified_empty == (await other.count(scope=ADA) == 0)
    assert receipt.verified_empty
    assert receipt.found == receipt.deleted == 2


async def test_records_expire(client: MemoryClient, clock: FakeClock) -> None:
    """At the moment of expiry a record is gone from every verb."""
    kept = timedelta(hours=1)
    await client.store("window", scope=ADA, ttl=kept, record_id="a")
    await client.store("window", scope=ADA, expires_at=clock.now() + kept, record_id="b")
    clock.advance(kept - timedelta(microseconds=1))
    assert await client.count(scope=ADA) == 2
    clock.advance(timedelta(microseconds=1))
    assert await client.count(scope=ADA) == 0
    assert list(await client.retrieve("window", scope=ADA)) == []
    assert (await client.list(scope=ADA)).items == ()
    assert await client.delete(["a", "b"], scope=ADA) == 0
    for call in (client.get("a", scope=ADA), client.update("b", scope=ADA, text="x")):
        with pytest.raises(NotFoundError):
            await call


@pytest.mark.parametrize("named", ["record_id", "idempotency_key"])
async def test_the_id_of_an_expired_record_is_free(
    client: MemoryClient, clock: FakeClock, named: str
) -> None:
    """A record that stopped existing is no obstacle for a new one of its id or key."""
    arguments = {named: "again"}
    await client.store("old", scope=ADA, ttl=timedelta(hours=1), **arguments)  # type: ignore[arg-type] # by name
    clock.advance(timedelta(hours=2))
    stored = await client.store("new", scope=ADA, **arguments)  # type: ignore[arg-type] # by name
    assert (await client.get(stored.id, scope=ADA)).text == "new"


async def test_scoped_has_the_verbs_of_one_scope(client: MemoryClient) -> None:
    """A scoped memory does what the client does with its scope, and its scope cannot be set."""
    memory = client.scoped(ADA)
    assert isinstance(memory, ScopedMemory)
    assert memory.scope == ADA
    await memory.store("window", record_id="a")
    await memory.store_many([NewMemory(content="zebra")])
    assert (await memory.get("a")).scope == ADA
    assert (await memory.update("a", text="dog")).version == 2
    assert len(await memory.retrieve("dog", mode="text")) == 1
    assert (await memory.context("dog", max_tokens=200)).matches
    assert len((await memory.list()).items) == await memory.count() == 2
    assert len([record async for record in memory.iterate()]) == 2
    assert await memory.delete("a") == 1
    assert (await memory.forget()).deleted == 1
    with pytest.raises(AttributeError):
        memory.scope = Scope("eve")  # type: ignore[misc] # that is the point


async def test_parts_passed_in_are_left_open(clock: FakeClock, embedder: HashingEmbedder) -> None:
    """Closing a client closes what it owns, twice without harm, and nothing else."""
    lent, owned = InMemoryBackend(), InMemoryBackend()
    async with MemoryClient(backend=lent, embedder=embedder, clock=clock) as client:
        await client.store("a", scope=ADA)
    assert len((await lent.scan(reach=_reach(clock))).records) == 1
    client = MemoryClient(backend=owned, embedder=embedder, clock=clock, owned=[owned])
    await client.aclose()
    await client.aclose()
    with pytest.raises(Exception, match="closed"):
        await client.store("a", scope=ADA)


async def test_limits_are_the_clients(embedder: HashingEmbedder) -> None:
    """A client with a smaller bound refuses what others allow."""
    client = MemoryClient(backend=InMemoryBackend(), embedder=embedder, limits=Limits(results=5))
    for call in (
        client.list(scope=ADA, limit=6),
        client.retrieve("a", scope=ADA, limit=6),
    ):
        with pytest.raises(ValidationError, match="5"):
            await call


async def test_another_model_on_the_same_store_is_refused(clock: FakeClock) -> None:
    """A client with another embedder cannot store or recall for a tenant that has records."""
    backend = InMemoryBackend()
    first = MemoryClient(backend=backend, embedder=HashingEmbedder(64), clock=clock)
    second = MemoryClient(backend=backend, embedder=HashingEmbedder(32), clock=clock)
    await first.store("window", scope=ADA, record_id="r")
    for call in (
        second.store("zebra", scope=ADA),
        second.store_many([NewMemory(content="zebra")], scope=ADA),
        second.retrieve("window", scope=ADA),
        second.context("window", scope=ADA, max_tokens=100),
        second.update("r", scope=ADA, text="zebra"),
    ):
        with pytest.raises(EmbeddingSpaceError) as caught:
            await call
        assert caught.value.remedy
    assert await first.count(scope=ADA) == 1
    assert (await second.get("r", scope=ADA)).text == "window"
    await second.store("zebra", scope=Scope("ada", tenant="other"))


async def test_a_taken_id_names_update(clock: FakeClock, embedder: HashingEmbedder) -> None:
    """Storing under an id that exists says what to do, whatever the backend's own words are."""
    failing = FailingBackend(InMemoryBackend())
    client = MemoryClient(backend=failing, embedder=embedder, clock=clock)
    await client.store("window", scope=ADA, record_id="r")
    with pytest.raises(ConflictError, match="update"):
        await client.store("zebra", scope=ADA, record_id="r")
    failing.fail("upsert", ConflictError("etag mismatch"))
    with pytest.raises(ConflictError, match="update"):
        await client.store("zebra", scope=ADA, record_id="r")
    assert (await client.get("r", scope=ADA)).text == "window"


def _reach(clock: FakeClock) -> Reach:

    return Reach.whole(ADA, now=clock.now())
