"""Forgetting deletes all there is, counts it, and says when it did not succeed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from core.bare import BareBackend
from memlane import BackendError, MemoryClient, NewMemory
from memlane.eraser import forget
from memlane.errors import (
    IsolationError,
)
from memlane.local import InMemoryBackend, SqliteBackend
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


class Failing(BareBackend):
    """A store some of whose deletions fail."""

    def __init__(self, failures: Sequence[bool]) -> None:
        super().__init__()
        self.failures = [*failures]

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        """Delete, or fail, as was said."""
        if self.failures and self.failures.pop(0):
            raise BackendError("not now")
        return await super().delete(record_ids, reach=reach)


async def _five(backend: Any) -> None:
    await backend.upsert([indexed(make_record(f"r{n}", scope=ADA)) for n in range(5)], scope=ADA)


async def test_a_page_that_fails_is_tried_again() -> None:
    """The others go meanwhile, and in the end all have."""
    backend = Failing([True, False, True, False])
    await _five(backend)
    receipt = await forget(backend, ADA, batch=2)
    assert (receipt.found, receipt.deleted, receipt.failed) == (5, 5, ())
    assert receipt.verified_empty


async def test_a_page_that_keeps_failing_is_named() -> None:
    """What is still there after every try is told by id, and that it was found."""
    # Three passes over three pages, then two, then one: the first page fails in each.
    backend = Failing([True, False, False, True, True])
    await _five(backend)
    receipt = await forget(backend, ADA, batch=2)
    assert (receipt.found, receipt.deleted, receipt.failed) == (5, 3, ("r0", "r1"))
    assert not receipt.verified_empty
    again = await forget(backend, ADA, batch=2)
    assert (again.found, again.deleted, again.verified_empty) == (2, 2, True)


@pytest.mark.parametrize("failures", [3, 99])
async def test_a_store_that_is_away_is_an_error(failures: int) -> None:
    """Three pages in a row: nobody is told of a record that would be stuck."""
    backend = Failing([True] * failures)
    await _five(backend)
    with pytest.raises(BackendError, match="not now"):
        await forget(backend, ADA, batch=1)


@pytest.mark.parametrize("at", range(6))
async def test_interrupted_and_repeated_it_ends_the_same(at: int) -> None:
    """Cancelled at any of its steps, the next one finishes; another user notices nothing."""
    backend = BareBackend()
    await _five(backend)
    other = Scope("eve", tenant="acme", agent="support")
    await backend.upsert([indexed(make_record("r0", scope=other))], scope=other)
    with anyio.CancelScope() as interrupted:
        steps = 0

        class Interrupting(WrappedBackend):
            async def before(self, operation: str) -> None:
                nonlocal steps
                del operation
                if steps == at:
                    interrupted.cancel()
                steps += 1
                await anyio.lowlevel.checkpoint()

        await forget(Interrupting(backend), ADA, batch=2)
    receipt = await forget(backend, ADA, batch=2)
    assert receipt.verified_empty
    assert (await backend.scan(reach=Reach.whole(ADA, now=None))).records == ()
    assert len(await backend.fetch(["r0"], reach=Reach.whole(other, now=None))) == 1


class Orphans(BareBackend):
    """A store in which an earlier deletion left windows and versions behind."""

    def __init__(self, left: Sequence[str], *, stuck: bool = False) -> None:
        super().__init__()
        self.left = [*left]
        self.stuck = stuck

    async def remains(self, *, reach: Reach, limit: int = 1_000) -> Sequence[str]:
        """Return what is left, records too."""
        page = await self.inner.scan(reach=reach, limit=limit)
        return [*(record.id for record in page.records), *self.left][:limit]

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        """Take them along, and count records alone."""
        if not self.stuck:
            self.left = [each for each in self.left if each not in record_ids]
        return await super().delete(record_ids, reach=reach)


async def test_what_no_page_shows_goes_too() -> None:
    """Windows and versions without their record are found by reading again, and deleted."""
    backend = Orphans([f"gone{number}" for number in range(7)])
    await _five(backend)
    receipt = await forget(backend, ADA, batch=2)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (5, 5, True)
    assert backend.left == []
    assert backend.scans == 1 + 2  # one pass over three pages: its proof is the other reading


class Erasing(Orphans):
    """A store that deletes all of a scope at once."""

    async def erase(self, *, reach: Reach) -> int:
        """Delete records, and leave what the next reading finds."""
        page = await self.inner.scan(reach=reach, limit=1_000)
        return await self.inner.delete([record.id for record in page.records], reach=reach)


async def test_what_can_be_erased_is_not_read() -> None:
    """No page is asked for; what is left is found by reading again, as ever."""
    backend = Erasing(["gone"])
    await _five(backend)
    receipt = await forget(backend, ADA, batch=2)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (5, 5, True)
    assert (backend.scans, backend.left) == (0, [])


async def test_what_stays_is_not_called_empty() -> None:
    """A version that cannot be deleted is named by its record."""
    backend = Orphans(["gone"], stuck=True)
    await _five(backend)
    receipt = await forget(backend, ADA, batch=100)
    assert (receipt.deleted, receipt.failed, receipt.verified_empty) == (5, ("gone",), False)


def _written(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(folder.iterdir()))


async def test_no_byte_of_it_is_left(tmp_path: Path, clock: FakeClock) -> None:
    """Neither of the text nor of what it was, of who spoke, or of a long one's windows."""
    path = tmp_path / "memory.db"
    backend = SqliteBackend(path)
    long = " ".join(f"Sentence zebra{number} of a long story." for number in range(200))
    async with MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=clock, owned=[backend]
    ) as client:
        first = await client.store("Loves quokkas", scope=ADA, actor="Wilhelmina", tags=["tapir"])
        await client.update(first.id, scope=ADA, text="Loves numbats", actor="Zacharias", tags=[])
        await client.store_many([NewMemory(content=long, metadata={"m": "wombat"})], scope=ADA)
        other = await client.store("Loves okapis", scope=Scope("eve", tenant="acme"))
        words = [b"quokka", b"numbat", b"Wilhelmina", b"Zacharias", b"zebra7", b"wombat", b"tapir"]
        written = _written(tmp_path)
        assert [word for word in words if word not in written] == []
        receipt = await client.forget(ADA)
        assert (receipt.found, receipt.deleted, receipt.residue) == (2, 2, "none")
        written = _written(tmp_path)
        assert [word for word in words if word in written] == []
        assert await client.get(other.id, scope=other.scope) == other
