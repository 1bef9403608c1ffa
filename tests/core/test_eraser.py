"""Forgetting deletes all there is, counts it, and says when it did not succeed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from memlane import BackendError, MemoryClient
from memlane.eraser import forget
from memlane.errors import (
    IsolationError,
)
from memlane.local import InMemoryBackend
from memlane.scope import Reach, Scope
from memlane.testing import (
    FailingBackend,
    FakeClock,
    HashingEmbedder,
    LyingBackend,
    WrappedBackend,
)
from memlane.testing.samples import indexed, make_record

ADA = Scope("ada-lovelace", tenant="acme", agent="support")


async def test_forgetting_counts_every_record_once(clock: FakeClock) -> None:
    """Records of one id of several agents, a page at a time: found is what was there."""
    backend = InMemoryBackend()
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock)
    for agent in (None, "a", "b"):
        for record_id in ("same", "other"):
            scope = Scope("ada", agent=agent)
            await client.store("x", scope=scope, record_id=record_id, ttl=timedelta(hours=1))
    clock.advance(timedelta(days=1))
    receipt = await forget(backend, Scope("ada"), batch=1)
    assert (receipt.found, receipt.deleted, receipt.failed) == (6, 6, ())
    assert receipt.verified_empty
    again = await forget(backend, Scope("ada"), batch=1)
    assert (again.found, again.deleted, again.verified_empty) == (0, 0, True)


async def test_forgetting_ends_when_somebody_keeps_storing(clock: FakeClock) -> None:
    """After a few passes the receipt says that the scope is not empty, and what is left."""

    class Refilling(WrappedBackend):
        stored = 0

        async def before(self, operation: str) -> None:
            if operation == "delete":
                self.stored += 1
                record = make_record(f"late{self.stored}", scope=ADA)
                await self.inner.upsert([indexed(record)], scope=ADA)

    del clock
    backend = Refilling(InMemoryBackend())
    await backend.upsert([indexed(make_record("first", scope=ADA))], scope=ADA)
    receipt = await forget(backend, ADA, batch=10)
    assert not receipt.verified_empty
    assert receipt.failed == (f"late{backend.stored}",)
    assert receipt.deleted == receipt.found == backend.stored
    assert receipt.residue == "none"


async def test_forgetting_never_names_anothers_record() -> None:
    """A backend that lists somebody else's records is refused, and nothing of theirs is told."""
    foreign = make_record("the-secret-id", scope=Scope("eve"))
    backend = LyingBackend(InMemoryBackend(), [indexed(foreign)])
    with pytest.raises(IsolationError) as caught:
        await forget(backend, ADA, batch=10)
    assert "secret" not in str(caught.value)


async def test_a_failed_delete_is_in_the_receipt() -> None:
    """What stays although it was to go is named, and nothing is called empty."""

    class Keeping(WrappedBackend):
        async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
            return await self.inner.delete([r for r in record_ids if r != "stuck"], reach=reach)

    backend = Keeping(InMemoryBackend())
    records = [indexed(make_record(each, scope=ADA)) for each in ("a", "stuck", "b")]
    await backend.upsert(records, scope=ADA)
    receipt = await forget(backend, ADA, batch=2)
    assert (receipt.found, receipt.deleted, receipt.failed) == (3, 2, ("stuck",))
    assert not receipt.verified_empty


async def test_forgetting_drops_cached_queries_of_that_user(clock: FakeClock) -> None:
    """A question is embedded once, and again after its user was forgotten; others keep theirs."""
    backend = FailingBackend(InMemoryBackend())
    embedder = HashingEmbedder()
    client = MemoryClient(backend=backend, embedder=embedder, clock=clock)
    ada, bob = Scope("ada", tenant="acme"), Scope("bob", tenant="acme")

    async def embedded(scope: Scope) -> int:
        before = embedder.calls
        await client.retrieve("where does she sit?", scope=scope)
        return embedder.calls - before

    assert [await embedded(ada), await embedded(bob), await embedded(ada)] == [1, 1, 0]
    await client.forget(ada)
    assert [await embedded(bob), await embedded(ada), await embedded(ada)] == [0, 1, 0]
    backend.fail("scan", BackendError("the store is away"))
    with pytest.raises(BackendError):
        await client.forget(ada)
    assert await embedded(ada) == 1
