"""How many requests do export, forgetting and an update need, against a hand-written loop?"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import anyio
import numpy as np

from benchmarks.rounds import Stopwatch, keep
from memlane import MemoryClient, Scope
from memlane.aws.credentials import HostCredentials, StaticCredentials, TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.layout import owner_prefix, ulid
from memlane.protocols import IndexedRecord, RecordPart
from memlane.scope import Reach
from memlane.testing import HashingEmbedder
from memlane.testing.emulator import Emulator
from memlane.types import MemoryRecord

BAR: Final = 1.3
BUCKET: Final = "bench-whole-life"
INDEX: Final = "memory-acme"
MINE: Final = Scope("ada", tenant="acme")
THEIRS: Final = Scope("eve", tenant="acme")
_SEGMENTS: Final = 16
_PUT: Final = 500
_GOT: Final = 100
_WORDS: Final = (
    "we met the gardener on Thursday and she asked for seven pots of rosemary, the grey watering "
    "can and somebody who would look after the tomatoes while she visits her sister in Lisbon"
)


def plane_of(emulator: Emulator) -> DataPlane:
    """Return the way to the emulator."""
    return DataPlane(region=emulator.region, endpoint_urls={"*": emulator.url})


def backend_of(emulator: Emulator) -> S3VectorsBackend:
    """Return a backend that signs as the administrator."""
    key = StaticCredentials(emulator.admin.access_key, emulator.admin.secret_key)
    return S3VectorsBackend(
        BUCKET,
        plane=plane_of(emulator),
        credentials=TenantCredentials(key),
        host=HostCredentials(key),
        auto_onboard=True,
        owns_plane=True,
    )


def batch_of(scope: Scope, at: int, count: int, dimensions: int) -> list[IndexedRecord]:
    """Return records as `store_many` would make them."""
    now = datetime.now(UTC)
    made = int(now.timestamp() * 1000)
    rows = np.random.default_rng(at).normal(size=(count, dimensions)).astype(np.float32)
    terms = np.arange(30, dtype=np.uint32)
    space = HashingEmbedder(dimensions).space.id
    found: list[IndexedRecord] = []
    for number, row in enumerate(rows, at):
        text = f"{number}: {_WORDS}"
        record = MemoryRecord(
            id=ulid(made, number),
            text=text,
            scope=scope,
            occurred_at=now,
            stored_at=now,
            updated_at=now,
            space=space,
        )
        part = RecordPart(start=0, end=len(text), vector=row, terms=terms)
        found.append(IndexedRecord(record=record, parts=(part,)))
    return found


async def fill(backend: S3VectorsBackend, scope: Scope, count: int, dimensions: int) -> None:
    """Store so many records of a scope."""
    await backend.ensure_index(scope=scope, space=HashingEmbedder(dimensions).space)
    for at in range(0, count, _PUT):
        await backend.upsert(batch_of(scope, at, min(_PUT, count - at), dimensions), scope=scope)


class ByHand:
    """What somebody writes who knows the service: segments, pages, full requests, and no checks."""

    def __init__(self, backend: S3VectorsBackend) -> None:
        self._index = backend._index(MINE, "by hand")  # noqa: SLF001 - nothing but signed calls

    async def listed(self, **fields: bool) -> list[Mapping[str, Any]]:
        """Return all of an index, 16 segments one after the other."""
        found: list[Mapping[str, Any]] = []
        for segment in range(_SEGMENTS):
            asked: dict[str, Any] = {
                "maxResults": 1_000, "segmentCount": _SEGMENTS, "segmentIndex": segment, **fields,
            }  # fmt: skip
            while True:
                page = await self._index.call("ListVectors", asked)
                found += page["vectors"]
                if "nextToken" not in page:
                    break
                asked["nextToken"] = page["nextToken"]
        return found

    async def export(self) -> int:
        """Read every record by listing them with their metadata."""
        return len(await self.listed(returnMetadata=True))

    async def forget(self, prefix: str) -> int:
        """List the keys, read the records to see whose they are, and delete them."""
        keys = [each["key"] for each in await self.listed() if each["key"].startswith(prefix)]
        for at in range(0, len(keys), _GOT):
            fields = {"keys": keys[at : at + _GOT], "returnMetadata": True}
            await self._index.call("GetVectors", fields)
        await self._index.delete(keys)
        return len(keys)


async def requests(emulator: Emulator) -> dict[str, int]:
    """Return what was asked since the last time."""
    counted = await emulator.counters(reset=True)
    return {name: count for name, count in sorted(counted.requests.items()) if count}


async def measured(
    emulator: Emulator, *, records: int, others: int, dimensions: int
) -> dict[str, Any]:
    """Return the requests of each act, by hand and by memlane."""
    backend = backend_of(emulator)
    client = MemoryClient(
        backend=backend, embedder=HashingEmbedder(dimensions), tenancy="required", owned=[backend]
    )
    found: dict[str, Any] = {}
    async with client:
        await fill(backend, THEIRS, others, dimensions)
        await fill(backend, MINE, records, dimensions)
        hand = ByHand(backend)
        await requests(emulator)
        await hand.export()
        by_hand = await requests(emulator)
        count = 0
        with Stopwatch() as watch:
            async for _ in client.export(scope=MINE):
                count += 1
        assert count > records, count  # a line each, and those that say what the file is
        found["export"] = _compared(by_hand, await requests(emulator), watch, records)
        found["update"] = await _update(emulator, client, backend)
        with Stopwatch() as watch:
            receipt = await client.forget(MINE)
        assert receipt.verified_empty, receipt
        ours = await requests(emulator)
        await fill(backend, MINE, records, dimensions)
        await requests(emulator)
        assert await hand.forget(owner_prefix(MINE)) == records
        found["forget"] = _compared(await requests(emulator), ours, watch, records)
    return found


async def _update(
    emulator: Emulator, client: MemoryClient, backend: S3VectorsBackend
) -> dict[str, Any]:
    """Return the requests of an update, and of deleting what was and was not updated."""
    reach = Reach.point(MINE, now=datetime.now(UTC))
    record = await client.store("a note", scope=MINE)
    other = await client.store("another note", scope=MINE)
    await requests(emulator)
    item = batch_of(MINE, 0, 1, client.space.dimensions)[0]
    after = replace(record, text="a new note", version=2)
    items = [replace(item, record=after, replaces=record)]
    await backend.upsert(items, scope=MINE, expected_version=1)
    updated = await requests(emulator)
    await backend.delete([other.id], reach=reach)
    plain = await requests(emulator)
    await backend.delete([record.id], reach=reach)
    return {
        "update": updated,
        "delete_of_a_first_version": plain,
        "delete_of_an_updated_record": await requests(emulator),
    }


def _compared(
    by_hand: Mapping[str, int], ours: Mapping[str, int], watch: Stopwatch, records: int
) -> dict[str, Any]:
    ratio = sum(ours.values()) / sum(by_hand.values())
    return {
        "by_hand": dict(by_hand),
        "memlane": dict(ours),
        "ratio": round(ratio, 3),
        "at_most": BAR,
        "met": ratio <= BAR,
        "cpu_us_a_record": round(1e6 * watch.cpu / records, 1),
    }


def main(
    *,
    records: int = 100_000,
    others: int = 0,
    dimensions: int = 256,
    name: str = "aws_whole_life",
) -> None:
    """Fill an index, then export and forget a user, counted by the emulator."""
    with Emulator.launch() as emulator:
        emulator.blocking.create_bucket(BUCKET)
        found = anyio.run(
            lambda: measured(emulator, records=records, others=others, dimensions=dimensions)
        )
    for act in ("export", "forget"):
        row = found[act]
        print(f"{act:8} by hand {row['by_hand']}  memlane {row['memlane']}")
        print(
            f"{'':8} {row['ratio']:.2f} of it (at most {BAR})  {'met' if row['met'] else 'MISSED'}"
        )
    print(f"update   {found['update']}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    settings: dict[str, int] = {"records": records, "others": others, "dimensions": dimensions}
    keep(
        name,
        "requests that export and forget of one user need on the emulator, against a loop that "
        "lists 16 segments, reads by 100 and deletes by 500; and those of an update",
        {**settings, "peak_mb": peak, **found},
    )


if __name__ == "__main__":
    main()
