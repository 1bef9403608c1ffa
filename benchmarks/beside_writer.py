"""Do readers notice another process that writes into the same file?"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from benchmarks.given_vectors import GivenVectors
from benchmarks.rounds import keep, spread
from memlane import MemoryClient, NewMemory, Scope
from memlane.local import SqliteBackend

RECORDS, CALLS, RATE = 1_000, 200, 1_000
READ, WRITTEN = Scope("reader", tenant="acme"), Scope("writer", tenant="acme")


def _client(path: str) -> MemoryClient:
    backend = SqliteBackend(path)
    return MemoryClient(backend=backend, embedder=GivenVectors(), owned=[backend])


async def write(path: str) -> None:
    """Store `RATE` records a second, a hundred at a time, until the process is ended."""
    client = _client(path)
    began, stored = time.perf_counter(), 0
    while True:
        notes = [NewMemory(content=f"written meanwhile {stored + i}") for i in range(100)]
        await client.store_many(notes, scope=WRITTEN)
        stored += len(notes)
        if stored == len(notes):
            print("writing", flush=True)
        await anyio.sleep(max(0.0, began + stored / RATE - time.perf_counter()))


async def _burst(client: MemoryClient, place: int) -> list[float]:
    """Return milliseconds of each of 200 retrieves made at once."""
    taken: list[float] = []

    async def call(number: int) -> None:
        began = time.perf_counter()
        assert await client.retrieve(f"which note is {number}, {place}?", scope=READ)
        taken.append((time.perf_counter() - began) * 1000)

    async with anyio.create_task_group() as calls:
        for number in range(CALLS):
            calls.start_soon(call, number)
    return taken


async def _measure(path: str, rounds: int) -> dict[str, list[float]]:
    late: dict[str, list[float]] = {"alone": [], "beside a writer": []}
    async with _client(path) as client:
        await client.store_many(
            [NewMemory(content=f"note {i} of the journey") for i in range(RECORDS)], scope=READ
        )
        await _burst(client, -1)
        for place in range(rounds):
            late["alone"].append(statistics.quantiles(await _burst(client, place), n=100)[98])
            writer = await anyio.open_process(
                [sys.executable, "-m", "benchmarks.beside_writer", path], stderr=subprocess.DEVNULL
            )
            async with writer:
                assert writer.stdout is not None
                await writer.stdout.receive()
                taken = await _burst(client, rounds + place)
                late["beside a writer"].append(statistics.quantiles(taken, n=100)[98])
                writer.kill()
    return late


def main(*, rounds: int = 7) -> None:
    """Measure in turn, with and without the writer, and keep the ratio of the medians."""
    with tempfile.TemporaryDirectory() as folder:
        late = anyio.run(_measure, str(Path(folder) / "shared.db"), rounds)
    ratio = statistics.median(late["beside a writer"]) / statistics.median(late["alone"])
    for name, values in late.items():
        print(f"{name}: p99 of 200 at once {statistics.median(values):.0f} ms")
    print(f"ratio {ratio:.2f}")
    keep(
        "beside_writer",
        "p99 in ms of 200 concurrent retrieves on a scope of 1,000 records, alone and while "
        "another process stores 1,000 records a second into the same file",
        {
            **{name: spread(values) for name, values in late.items()},
            "ratio": round(ratio, 2),
            "at_most": 3,
        },
    )


if __name__ == "__main__":
    anyio.run(write, sys.argv[1])
