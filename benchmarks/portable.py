"""How fast is all of one user's memory listed, exported and imported?"""

from __future__ import annotations

import itertools
import json
import sqlite3
import tempfile
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import anyio

from benchmarks.given_vectors import BATCH, notes, open_client
from benchmarks.rounds import Contender, Progress, Stopwatch, keep, play
from memlane import MemoryClient, Scope

_OWNER, _SMALL = Scope("owner", tenant="acme"), Scope("small", tenant="acme")
_IMPORTED: Final = 10_000
_BAR: Final = 20_000
_MIB: Final = 1024 * 1024
_ROWS: Final = (
    "select id, version, session, actor, namespace, kind, source, occurred, stored, updated,"
    " expires, tags, metadata, text from record order by lane, seq"
)


async def _fill(client: MemoryClient, scope: Scope, records: int) -> None:
    with Progress("records stored", records) as progress:
        for at in range(0, records, BATCH):
            session = Scope(scope.user, tenant=scope.tenant, session=f"s{at // BATCH}")
            await client.store_many(notes(0, range(at, min(at + BATCH, records))), scope=session)
            progress.at(at)


def _rate(records: int, watch: Stopwatch) -> dict[str, float]:
    return {"records_per_s": records / watch.wall, "records_per_cpu_s": records / watch.cpu}


def _listing(client: MemoryClient, records: int) -> Contender:
    async def turn() -> dict[str, float]:
        with Stopwatch() as watch:
            found = sum([1 async for _ in client.iterate(scope=_OWNER)])
        assert found == records
        return _rate(found, watch)

    return turn


def _exporting(client: MemoryClient, records: int, path: Path, *, vectors: bool) -> Contender:
    async def turn() -> dict[str, float]:
        with Stopwatch() as watch, path.open("w") as file:
            async for line in client.export(scope=_OWNER, vectors=vectors):
                file.write(line)
            size = file.tell()
        return _rate(records, watch) | {"bytes_per_record": size / records}

    return turn


def _importing(lines: Sequence[str], folder: Path, name: str) -> Contender:
    numbers = itertools.count()

    async def turn() -> dict[str, float]:
        async with open_client(folder / f"{name}-{next(numbers)}.db") as client:
            with Stopwatch() as watch:
                receipt = await client.import_records(lines, scope=_SMALL)
            assert receipt.imported == _IMPORTED
            return _rate(_IMPORTED, watch)

    return turn


def _floor(path: Path, records: int, out: Path) -> Contender:
    """Return SQLite and json alone: rows as objects, without scopes, checks or checksums."""

    def turn() -> dict[str, float]:
        connection = sqlite3.connect(path)
        with Stopwatch() as watch, out.open("w") as file:
            rows = connection.execute(_ROWS)
            names = [column[0] for column in rows.description]
            encoded = json.JSONEncoder(separators=(",", ":")).encode
            for row in itertools.islice(rows, records):
                file.write(encoded(dict(zip(names, row, strict=True))) + "\n")
        connection.close()
        return _rate(records, watch)

    return turn


async def _peak_mib(client: MemoryClient, *, vectors: bool) -> float:
    """Return the most memory that an export holds, of Python and of numpy."""
    tracemalloc.start()
    try:
        async for _ in client.export(scope=_OWNER, vectors=vectors):
            pass
        return round(tracemalloc.get_traced_memory()[1] / _MIB, 1)
    finally:
        tracemalloc.stop()


def _judged(rates: Iterable[float]) -> str:
    slowest = min(rates)
    return f"{'holds' if slowest >= _BAR else 'DOES NOT HOLD'}: {slowest:,.0f} a second at least"


async def _measure(folder: Path, records: int, rounds: int) -> dict[str, object]:
    path = folder / "memory.db"
    async with open_client(path) as client:
        await _fill(client, _OWNER, records)
        await _fill(client, _SMALL, _IMPORTED)
        small = [line async for line in client.export(scope=_SMALL)]
        whole = [line async for line in client.export(scope=_SMALL, vectors=True)]
        contenders: dict[str, Contender] = {
            "floor: rows as JSON": _floor(path, records, folder / "floor"),
            "list": _listing(client, records),
            "export": _exporting(client, records, folder / "export", vectors=False),
            "export, vectors": _exporting(client, records, folder / "vectors", vectors=True),
            "import": _importing(small, folder, "import"),
            "import, vectors": _importing(whole, folder, "vectors"),
        }
        played = await play(contenders, rounds=rounds, warm_up=True, what="turns")
        peaks = {
            "export": await _peak_mib(client, vectors=False),
            "export, vectors": await _peak_mib(client, vectors=True),
        }
    for name in contenders:
        wall, cpu = (played.median(name, each) for each in ("records_per_s", "records_per_cpu_s"))
        print(f"{name}: {wall:,.0f} records a second, {cpu:,.0f} a CPU-second")
    print(f"peak memory in MiB: {peaks}")
    bar = _judged(played.figures["export"]["records_per_s"])
    print(f"export of {records:,} records, bar {_BAR:,} a second: {bar}")
    return {
        "records": records,
        "imported": _IMPORTED,
        "bar": f"export >= {_BAR:,} records a second in each round; {bar}",
        "peak_mib": peaks,
        "turns": played.report(),
    }


def main(*, records: int = 100_000, rounds: int = 3, name: str = "portable") -> None:
    """List, export and import, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        keep(
            name,
            "list, export and import of one user's records on SQLite, without the model; the "
            "floor reads the same rows and writes them as JSON",
            anyio.run(_measure, Path(folder), records, rounds),
        )


if __name__ == "__main__":
    main()
