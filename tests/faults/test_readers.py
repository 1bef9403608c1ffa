"""Others read while somebody is forgotten: no error, nothing forgotten, and a truthful receipt."""

from __future__ import annotations

import contextlib
from pathlib import Path

import anyio
import pytest

from faults.children import Child, child
from faults.readers import ask, hold, idle
from faults.story import check_file
from faults.texts import key_of, left_of, new, open_client, scope_of
from memlane import MemoryClient
from memlane.receipts import ForgetReceipt

_ADA, _BOB = scope_of("ada"), scope_of("bob")


async def _store(client: MemoryClient, life: str, count: int = 30) -> None:
    user = life.partition("-")[0]
    await client.store_many(
        [new(key_of(life, number)) for number in range(count)], scope=scope_of(user)
    )


async def _prepare(path: Path) -> None:
    async with open_client(path) as client:
        await _store(client, "ada-0")
        await _store(client, "bob-0")


async def _forget(path: Path) -> ForgetReceipt:
    async with open_client(path) as client:
        return await client.forget(_ADA)


def test_a_reader_keeps_its_moment(path: Path) -> None:
    """With a read transaction open elsewhere forget truly says "wal"; later nothing is left."""
    anyio.run(_prepare, path)
    with child(hold, str(path)) as reader:
        assert reader.hear() == ("holding", 60)
        receipt = anyio.run(_forget, path)
        assert receipt == ForgetReceipt(
            found=30, deleted=30, failed=(), verified_empty=True, residue="wal"
        )
        assert left_of(["ada-0"], path) != []
        reader.say("go on")
        assert reader.rest() == [("same", True), ("now", 30)]
    again = anyio.run(_forget, path)
    assert again == ForgetReceipt(
        found=0, deleted=0, failed=(), verified_empty=True, residue="none"
    )
    assert left_of(["ada-0"], path) == []
    check_file(path)


def test_an_open_store_is_no_reader(path: Path) -> None:
    """Another process that has the store open without reading keeps no forgotten bytes alive."""
    anyio.run(_prepare, path)
    with child(idle, str(path)) as reader:
        assert reader.hear() == ("read", 10)
        assert anyio.run(_forget, path).residue == "none"
        assert left_of(["ada-0"], path) == []
        reader.say("go on")
        assert reader.rest() == [("read", 0)]
    check_file(path)


async def _forget_often(path: Path, readers: list[Child], rounds: int) -> int:
    """Forget while others retrieve; return how often they did before they were told."""
    asked = 0
    async with open_client(path) as client:
        for number in range(1, rounds + 1):
            life = f"ada-{number}"
            for reader in readers:
                reader.say("begin")
            await _store(client, life)
            receipt = await client.forget(_ADA)
            assert receipt.verified_empty
            if receipt.residue == "none":
                assert left_of([life], path) == []
            for reader in readers:
                reader.say(life)
            for reader in readers:
                word, times = await anyio.to_thread.run_sync(reader.hear)
                assert word == "asked"
                asked += times
    for reader in readers:
        reader.say("end")
    return asked


def _check_retrieves(path: Path, rounds: int) -> None:
    anyio.run(_prepare, path)
    anyio.run(_forget, path)
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(child(ask, str(path))) for _ in range(2)]
        for reader in readers:
            assert reader.hear() == ("ready",)
        assert anyio.run(_forget_often, path, readers, rounds) > rounds
        for reader in readers:
            assert reader.rest() == []
    assert anyio.run(_forget, path).residue == "none"
    assert left_of([f"ada-{number}" for number in range(rounds + 1)], path) == []
    check_file(path)


def test_retrieves_during_forget(path: Path) -> None:
    """Other processes' retrieves never fail, and never find what forget has acknowledged."""
    _check_retrieves(path, 12)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_retrieves_during_many_forgets(path: Path) -> None:
    """Other processes' retrieves never fail, and never find what forget has acknowledged."""
    _check_retrieves(path, 120)
