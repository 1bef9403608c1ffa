"""The whole life of a memory without `await`, and what calls took, heard on the caller's thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from memlane import ConflictError, MemoryClient, NewMemory, NotFoundError, Scope
from memlane.local import SqliteBackend
from memlane.testing import HashingEmbedder
from memlane_plain import SyncMemoryClient

ADA = Scope("ada", tenant="acme")
BOB = Scope("bob", tenant="acme")
COUNT = 1_200


def _client(path: Path) -> SyncMemoryClient:
    backend = SqliteBackend(path)
    return SyncMemoryClient(
        MemoryClient(backend=backend, embedder=HashingEmbedder(), owned=[backend])
    )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[SyncMemoryClient]:
    """A client on a file."""
    with _client(tmp_path / "memory.db") as opened:
        yield opened


def test_versions(client: SyncMemoryClient) -> None:
    """History and restore are those of the client."""
    record = client.store("in Porto", scope=ADA)
    client.update(record.id, scope=ADA, text="in Lisbon", source="tool")
    assert client.restore(record.id, scope=ADA, version=1, expected_version=2).text == "in Porto"
    versions = client.history(record.id, scope=ADA)
    assert [(each.version, each.source) for each in versions] == [
        (3, "tool"),
        (2, "tool"),
        (1, "app"),
    ]
    with pytest.raises(NotFoundError):
        client.history(record.id, scope=BOB)


def test_export_and_import(client: SyncMemoryClient, tmp_path: Path) -> None:
    """One client's export is another's import, line by line, with neither in memory as a whole."""
    client.store_many([NewMemory(content=f"Note {n}") for n in range(COUNT)], scope=ADA)
    with _client(tmp_path / "other.db") as other:
        receipt = other.import_records(client.export(scope=ADA), scope=BOB)
        assert (receipt.imported, receipt.skipped) == (COUNT, 0)
        again = other.import_records(list(client.export(scope=ADA)), scope=BOB)
        assert (again.imported, again.skipped) == (0, COUNT)
        assert other.count(scope=BOB) == COUNT


def test_an_export_that_is_left(client: SyncMemoryClient) -> None:
    """Lines come page by page; whoever has seen enough closes it, and others work meanwhile."""
    client.store_many([NewMemory(content=f"Note {n}") for n in range(COUNT)], scope=ADA)
    told: list[int] = []
    lines = client.export(scope=ADA, on_progress=lambda progress: told.append(progress.done))
    first = next(lines)
    assert isinstance(first, str)
    client.store("meanwhile", scope=BOB)
    assert not told or told[-1] < COUNT
    lines.close()  # type: ignore[attr-defined] # an iterator that is a generator
    assert client.count(scope=BOB) == 1


def test_receipts_are_the_threads_own(client: SyncMemoryClient) -> None:
    """Of the last call, also one that failed; another thread has none yet."""
    client.store("Rex is a dog", scope=ADA, record_id="rex")
    receipt = client.last_receipt()
    assert receipt is not None
    assert (receipt.operation, receipt.tenant, receipt.failed) == ("store", "acme", None)
    near = client.store("rex is a dog.", scope=ADA, duplicates="collapse")
    assert near.id == "rex"
    receipt = client.last_receipt()
    assert receipt is not None
    assert receipt.near_duplicates == ("rex",)
    with pytest.raises(ConflictError):
        client.store("Max is a cat", scope=ADA, record_id="rex")
    receipt = client.last_receipt()
    assert receipt is not None
    assert receipt.failed == "ConflictError"
    assert [record.id for record in client.iterate(scope=ADA)] == ["rex"]
    receipt = client.last_receipt()
    assert receipt is not None
    assert receipt.operation in {"iterate", "list"}
    elsewhere: list[object] = []
    thread = threading.Thread(target=lambda: elsewhere.append(client.last_receipt()))
    thread.start()
    thread.join()
    assert elsewhere == [None]


def test_a_tenant_as_a_whole(client: SyncMemoryClient) -> None:
    """Users, counts, sweeping, another model and forgetting, without `await`."""
    client.store("x", scope=ADA)
    client.store("y", scope=BOB, ttl=timedelta(days=1))
    admin = client.admin("acme")
    assert admin.tenant == "acme"
    assert admin.users().items == ("ada", "bob")
    assert (admin.stats().records, admin.sweep()) == (2, 0)
    new = HashingEmbedder(32)
    assert admin.plan_reembed(new).records == 2
    told: list[int] = []
    receipt = admin.reembed(new, on_progress=lambda progress: told.append(progress.done))
    assert (receipt.embedded, told, admin.abandon_reembed()) == (2, [2], False)
    assert admin.forget_tenant().deleted == 2
