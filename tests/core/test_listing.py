"""Complete listings: everything once, in bounded memory, with cursors that stay right."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest

from core.portable.files import ADA, BOB, everything, exported, opened, records_of
from faults.aws.clouds import BUCKET, Cloud
from memlane import InvalidCursorError, MemoryClient, NewMemory, Scope
from memlane.local import SqliteBackend
from memlane.protocols import EmbeddingSpace, IndexedRecord, RecordPart
from memlane.testing import FakeClock, HashingEmbedder
from memlane.testing.emulator import Emulator
from memlane.testing.samples import make_record

MIB = 1024 * 1024
BOT = replace(ADA, agent="bot")
SPACE = EmbeddingSpace(model="hashing", dimensions=64)


@pytest.fixture(params=["memory", "sqlite", "s3vectors"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator
) -> AsyncIterator[MemoryClient]:
    """A client on each backend."""
    if request.param == "s3vectors":
        await emulator.create_bucket(BUCKET)
        async with Cloud(emulator).client() as made:
            yield made
        return
    path = None if request.param == "memory" else tmp_path / "memory.db"
    async with opened(path) as made:
        yield made


async def _fill(client: MemoryClient, scope: Scope, count: int, *, first: int = 0) -> None:
    news = [
        NewMemory(content=f"note {n}", metadata={"n": n % 3}, namespace="/a/" if n % 2 else "/b/")
        for n in range(first, first + count)
    ]
    await client.store_many(news, scope=scope)


async def _listed(client: MemoryClient, scope: Scope, *, limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await client.list(scope=scope, cursor=cursor, limit=limit)
        pages.append([record.text for record in page.items])
        if (cursor := page.cursor) is None:
            return pages


async def test_everything_once(client: MemoryClient) -> None:
    """Pages of any size are full but the last, and together they are what count counts."""
    await _fill(client, ADA, 130)
    await _fill(client, BOT, 40, first=130)
    await _fill(client, BOB, 30, first=500)
    wanted = Counter(f"note {n}" for n in range(170))
    for limit in (1, 7, 169, 170, 171, 1_000):
        pages = await _listed(client, ADA, limit=limit)
        assert Counter(text for page in pages for text in page) == wanted
        assert {len(page) for page in pages[:-1]} <= {limit}
    assert await client.count(scope=ADA) == 170
    assert len(await everything(client, ADA)) == 170
    assert await client.count(scope=BOT) == 40
    assert await client.count(scope=ADA, namespace="/a/") == 85
    assert await client.count(scope=ADA, filter={"n": 1}) == 57


async def test_many_users(client: MemoryClient) -> None:
    """Each of many users has what is theirs, however alike their names."""
    users = [Scope(f"u{n}", tenant="acme") for n in range(25)]
    for number, scope in enumerate(users):
        await _fill(client, scope, number % 4, first=100 * number)
    for number, scope in enumerate(users):
        pages = await _listed(client, scope, limit=2)
        texts = sorted(text for page in pages for text in page)
        assert texts == sorted(f"note {100 * number + n}" for n in range(number % 4))
        assert await client.count(scope=scope) == number % 4


async def test_a_cursor_stays_right(client: MemoryClient) -> None:
    """What comes and goes between two pages makes no other be skipped or met twice."""
    await _fill(client, ADA, 60)
    first = await client.list(scope=ADA, limit=20)
    assert first.cursor is not None
    rest = [record async for record in client.iterate(scope=ADA)][20:]
    await client.delete([record.id for record in [*first.items[:5], *rest[:5]]], scope=ADA)
    await client.delete(first.items[-1].id, scope=ADA)  # the one that the cursor stands behind
    await client.update(first.items[6].id, scope=ADA, text="changed behind")
    await client.update(rest[9].id, scope=ADA, text="changed ahead")
    await _fill(client, ADA, 10, first=1_000)
    found: list[str] = []
    cursor: str | None = first.cursor
    while cursor is not None:
        page = await client.list(scope=ADA, cursor=cursor, limit=7)
        found += [record.id for record in page.items]
        cursor = page.cursor
    assert len(set(found)) == len(found)
    assert {record.id for record in rest[5:]} <= set(found)
    assert set(found).isdisjoint(record.id for record in [*first.items, *rest[:5]])
    again = await client.list(scope=ADA, cursor=first.cursor, limit=7)
    assert [record.id for record in again.items] == found[:7]


async def test_cursors_belong_to_their_scope(client: MemoryClient) -> None:
    """Edited, of another scope, namespace or filter: refused by every verb that takes one."""
    for scope in (ADA, BOT, BOB):
        await _fill(client, scope, 30)
    cursor = (await client.list(scope=ADA, limit=10)).cursor
    narrow = (await client.list(scope=ADA, limit=5, namespace="/a/")).cursor
    assert cursor
    assert narrow
    for scope in (BOT, BOB, replace(ADA, tenant="other"), replace(ADA, session="s")):
        with pytest.raises(InvalidCursorError):
            await client.list(scope=scope, cursor=cursor)
        with pytest.raises(InvalidCursorError):
            await exported(client, scope, after=cursor)
    for wrong in (narrow, cursor[:-2], cursor + "AA", cursor[::-1], cursor.lower(), "x" * 5_000):
        with pytest.raises(InvalidCursorError):
            await client.list(scope=ADA, cursor=wrong)
    with pytest.raises(InvalidCursorError):
        await client.list(scope=ADA, cursor=cursor, filter={"n": 1})
    edited = _with_another_place(cursor)
    with pytest.raises(InvalidCursorError):
        await client.list(scope=ADA, cursor=edited)


def _with_another_place(cursor: str) -> str:
    from base64 import urlsafe_b64decode, urlsafe_b64encode  # noqa: PLC0415 - of this alone

    raw = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-1] = ord("7") if raw[-1] != ord("7") else ord("8")
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _record(number: int, vector: np.ndarray) -> IndexedRecord:
    text = f"note {number}: on the way we passed the lighthouse, which was closed for the winter"
    scope = replace(ADA, session=f"s{number // 100}")
    record = make_record(f"r{number:06}", text, scope=scope, space=SPACE.id, actor="Ada")
    part = RecordPart(start=0, end=len(text), vector=vector, terms=np.zeros(1, np.uint32))
    return IndexedRecord(record=record, parts=(part,))


async def _stored(path: Path, count: int) -> None:
    backend, vector = SqliteBackend(path), np.ones(64, np.float32)
    await backend.ensure_index(scope=ADA, space=SPACE)
    for at in range(0, count, 1_000):
        batch = [_record(number, vector) for number in range(at, at + 1_000)]
        await backend.upsert(batch, scope=ADA)
    await backend.aclose()


async def _counted(source: AsyncIterator[object]) -> int:
    """Return how many records there are, without keeping any."""
    count = 0
    async for one in source:
        count += not isinstance(one, str) or one.startswith('{"record"')
    return count


# In MiB. Counting by a condition reads some thousand records at a time.
BOUNDS = {"count_them": 9.0, "iterate": 3.0, "export": 3.0, "with_vectors": 3.0}


async def _peaks(path: Path, count: int) -> dict[str, float]:
    """Return what each verb holds at most, in MiB, over so many records of one user."""
    found: dict[str, float] = {}
    backend = SqliteBackend(path, cache_bytes=0)
    async with MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=FakeClock(), owned=[backend]
    ) as client:
        assert await client.count(scope=ADA) == count  # opens the file and the threads

        async def count_them() -> int:
            return await client.count(scope=ADA, filter={"@actor": "Ada"})

        async def iterate() -> int:
            return await _counted(client.iterate(scope=ADA))

        async def export() -> int:
            return await _counted(client.export(scope=ADA))

        async def with_vectors() -> int:
            return await _counted(client.export(scope=ADA, vectors=True))

        for verb in (count_them, iterate, export, with_vectors):
            gc.collect()
            tracemalloc.start()
            try:
                assert await verb() == count
                found[verb.__name__] = tracemalloc.get_traced_memory()[1] / MIB
            finally:
                tracemalloc.stop()
    return found


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Eight thousand records, which are 12 MiB and more by themselves."""
    path = tmp_path / "memory.db"
    anyio.run(_stored, path, 8_000)
    peaks = anyio.run(_peaks, path, 8_000)
    assert {verb: peak for verb, peak in peaks.items() if peak > BOUNDS[verb]} == {}


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_a_hundred_thousand_records(tmp_path: Path) -> None:
    """Of one user: no verb holds more of them than of few."""
    path = tmp_path / "large.db"
    anyio.run(_stored, path, 100_000)
    peaks = anyio.run(_peaks, path, 100_000)
    assert {verb: peak for verb, peak in peaks.items() if peak > BOUNDS[verb]} == {}


@pytest.mark.campaign
@pytest.mark.timeout(600)
async def test_ten_thousand_records_in_the_cloud(emulator: Emulator) -> None:
    """Listed, counted and exported whole, beside another user's."""
    await emulator.create_bucket(BUCKET)
    async with Cloud(emulator).client() as client:
        for scope, count in [(ADA, 10_000), (BOB, 500)]:
            for first in range(0, count, 1_000):
                await _fill(client, scope, min(1_000, count), first=first)
        assert await client.count(scope=ADA) == 10_000
        texts = {record.text for record in await everything(client, ADA)}
        assert len(texts) == 10_000
        assert len(records_of(await exported(client))) == 10_000
