"""Kill -9 while a tenant is taken to another model, swept or forgotten: the next call finishes.

Each run dies at one statement of the writer; every statement there is gets its turn.
"""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from faults import movers
from faults.children import child
from memlane import MemoryClient, MemoryRecord, NewMemory, Scope
from memlane.local import SqliteBackend
from memlane.testing import FakeClock, HashingEmbedder

ADA = Scope("ada", tenant=movers.TENANT)
BOB = Scope("bob", tenant=movers.TENANT, agent="support")
EVE = Scope("eve", tenant="other")
COUNT = 24
LONG = " ".join(f"Sentence {number} of a long story about trains." for number in range(40))


def _open(path: Path, dimensions: int = 64) -> MemoryClient:
    backend = SqliteBackend(path)
    return MemoryClient(backend=backend, embedder=HashingEmbedder(dimensions), owned=[backend])


async def _fill(path: Path) -> None:
    """Store records with versions and windows, some of them expired, of two tenants."""
    backend = SqliteBackend(path)
    long_ago = FakeClock()
    async with MemoryClient(
        backend=backend, embedder=HashingEmbedder(64), clock=long_ago, owned=[backend]
    ) as client:
        for scope in (ADA, BOB, EVE):
            notes = [NewMemory(content=f"Note {n} by {scope.user}") for n in range(COUNT - 2)]
            await client.store_many(notes, scope=scope)
            await client.store(LONG, scope=scope)
            first = await client.store("Loves quokkas", scope=scope, record_id="first")
            await client.update(first.id, scope=scope, text="Loves numbats")
            soon = [NewMemory(content=f"Gone {n}", ttl=timedelta(seconds=1)) for n in range(COUNT)]
            await client.store_many(soon, scope=scope)


async def _texts(client: MemoryClient, scope: Scope) -> list[str]:
    records: list[MemoryRecord] = [each async for each in client.iterate(scope=scope)]
    return sorted(record.text for record in records)


async def _is_whole(client: MemoryClient, scope: Scope) -> None:
    """See that a scope has what was stored, with its past, and is found."""
    texts = await _texts(client, scope)
    assert len(texts) == COUNT
    assert [each.text for each in await client.history("first", scope=scope)] == [
        "Loves numbats",
        "Loves quokkas",
    ]
    (found,) = await client.retrieve("Loves numbats", scope=scope, limit=1)
    assert found.record.id == "first"
    (window,) = await client.retrieve("Sentence 31 of a long story", scope=scope, limit=1)
    assert "Sentence 31" in window.passage


async def _check_taken_over(path: Path) -> None:
    async with _open(path) as old, _open(path, movers.NEW_DIMENSIONS) as new:
        spaces = (await old.admin(movers.TENANT).stats()).spaces
        # Of one space alone, whenever it died; and whole in it.
        assert len(spaces) == 1
        is_old = old.space.id in spaces
        for scope in (ADA, BOB):
            await _is_whole(old if is_old else new, scope)
        receipt = await old.admin(movers.TENANT).reembed(HashingEmbedder(movers.NEW_DIMENSIONS))
        assert receipt.records == 2 * COUNT
        for scope in (ADA, BOB):
            await _is_whole(new, scope)
        stats = await new.admin(movers.TENANT).stats()
        assert dict(stats.spaces) == {new.space.id: 2 * COUNT}
        assert (stats.expired, stats.versions) == (0, 2)
        await _is_whole(old, EVE)


async def _check_swept(path: Path) -> None:
    async with _open(path) as client:
        left = (await client.admin(movers.TENANT).stats()).expired
        assert await client.admin(movers.TENANT).sweep() == left
        stats = await client.admin(movers.TENANT).stats()
        assert (stats.records, stats.expired, stats.versions) == (2 * COUNT, 0, 2)
        for scope in (ADA, BOB, EVE):
            await _is_whole(client, scope)
        assert (await client.admin("other").stats()).expired == COUNT


async def _check_forgotten(path: Path) -> None:
    async with _open(path) as client, _open(path, movers.NEW_DIMENSIONS) as new:
        receipt = await client.admin(movers.TENANT).forget_tenant()
        assert receipt.verified_empty
        stats = await client.admin(movers.TENANT).stats()
        assert (stats.users, stats.records, stats.expired) == (0, 0, 0)
        assert (stats.versions, stats.vectors) == (0, 0)
        await _is_whole(client, EVE)
        # Not even the space it was of is remembered.
        await new.store("x", scope=ADA)
    written = b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))
    assert b"by ada" not in written
    assert b"by eve" in written


CHECKS: dict[str, Any] = {
    "take_over": _check_taken_over,
    "sweep": _check_swept,
    "forget_all": _check_forgotten,
}


def _die_at(path: Path, deed: str, statements: int) -> int:
    """Let a process do it until it has begun so many statements; return how many there are."""
    path.with_name(f"{path.name}.stage").write_bytes(b"\0")
    with child(getattr(movers, deed), str(path), statements) as process:
        said = process.rest()
        if said:
            ((_, seen),) = said
            return int(seen)
        assert process.signal == signal.SIGKILL
    return statements


def _some(total: int, count: int) -> list[int]:
    """Return so many statements of all, the first and the last among them."""
    if total <= count:
        return list(range(1, total + 1))
    return sorted({1 + round(at * (total - 1) / (count - 1)) for at in range(count)})


def _die_everywhere(tmp_path: Path, deed: str, count: int) -> None:
    template = tmp_path / "template.db"
    anyio.run(_fill, template)
    content = template.read_bytes()
    whole = tmp_path / "whole.db"
    whole.write_bytes(content)
    total = _die_at(whole, deed, 10**9)
    assert total >= 5
    anyio.run(CHECKS[deed], whole)
    for statements in _some(total, count):
        print(f"{deed} dies at statement {statements} of {total}")  # noqa: T201 - shown on failure
        path = tmp_path / f"{statements}.db"
        path.write_bytes(content)
        _die_at(path, deed, statements)
        anyio.run(CHECKS[deed], path)


@pytest.mark.parametrize("deed", CHECKS)
def test_the_next_call_finishes(tmp_path: Path, deed: str) -> None:
    """Killed at statements all along the way, nothing is half done and the next one ends it."""
    _die_everywhere(tmp_path, deed, 12)


@pytest.mark.parametrize("deed", CHECKS)
def test_two_processes_at_once(tmp_path: Path, deed: str) -> None:
    """Neither is in the other's way, and what comes of it is the same."""
    path = tmp_path / "memory.db"
    anyio.run(_fill, path)
    path.with_name(f"{path.name}.stage").write_bytes(b"\0")
    work = getattr(movers, deed)
    with child(work, str(path), 10**9) as one, child(work, str(path), 10**9) as other:
        assert [process.rest()[-1][0] for process in (one, other)] == ["end", "end"]
    anyio.run(CHECKS[deed], path)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("deed", CHECKS)
def test_killed_at_every_statement(tmp_path: Path, deed: str) -> None:
    """The same at every single one."""
    _die_everywhere(tmp_path, deed, 10**6)
