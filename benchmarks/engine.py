"""What do storing and retrieving cost without the model, and does a large store cost more?"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio

from benchmarks.given_vectors import GivenVectors
from benchmarks.rounds import Stopwatch, keep, spread
from memlane import Limits, MemoryClient, NewMemory, Scope
from memlane.local import SqliteBackend

SCOPE_RECORDS, CALLS, SINGLES = 1_000, 300, 1_000
_THINGS = (
    "train", "garden", "recipe", "invoice", "window", "concert", "doctor", "passport", "bicycle",
    "library", "lighthouse", "kitchen", "orchard",
)  # fmt: skip


def _client(path: Path, *, cache: bool) -> MemoryClient:
    backend = SqliteBackend(path, **({} if cache else {"cache_bytes": 0}))
    limits = Limits(batch=1_000, cached_queries=0)
    return MemoryClient(backend=backend, embedder=GivenVectors(), limits=limits, owned=[backend])


def _notes(user: int, count: int) -> list[NewMemory]:
    return [
        NewMemory(
            content=(
                f"On day {i} of the trip we passed the {_THINGS[i % 13]} near the "
                f"{_THINGS[(i * 7 + user) % 13]}, and {_THINGS[i * 5 % 13]} {user}-{i} was closed"
            ),
            actor="Ada" if i % 2 else "Iris",
        )
        for i in range(count)
    ]


def _user(number: int) -> Scope:
    return Scope(f"user-{number}", tenant="acme", session=f"s{number % 20}")


async def _fill(path: Path, first: int, users: int) -> float:
    """Return records stored per CPU-second by store_many in batches of 1,000."""
    async with _client(path, cache=True) as client:
        cpu = 0.0
        for user in range(first, first + users):
            notes = _notes(user, SCOPE_RECORDS)
            with Stopwatch() as watch:
                await client.store_many(notes, scope=_user(user))
            cpu += watch.cpu
            if user % 100 == 0 and users > 100:
                print(f"\r  {user} of {first + users} users", end="", file=sys.stderr)
    print(end="\r", file=sys.stderr)
    return users * SCOPE_RECORDS / cpu


async def _retrieves(path: Path, users: int, *, cache: bool) -> list[float]:
    """Return milliseconds of each retrieve; hot ones ask few users again and again."""
    among = min(users, 5 if cache else 200)
    async with _client(path, cache=cache) as client:
        taken: list[float] = []
        for call in range(CALLS + 20):
            scope = _user(call * 37 % among)
            began = time.perf_counter()
            found = await client.retrieve(f"where was {_THINGS[call % 13]} {call}?", scope=scope)
            taken.append((time.perf_counter() - began) * 1000)
            assert len(found) == 10
    return taken[20:]


async def _singles(path: Path) -> float:
    """Return single stores per CPU-second, one after the other, each on disk when it returns."""
    async with _client(path, cache=True) as client:
        with Stopwatch() as watch:
            for note in _notes(0, SINGLES):
                await client.store(note.content, scope=Scope("single", tenant="acme"))
    return SINGLES / watch.cpu


def main(*, sizes: tuple[int, ...] = (1, 100), name: str = "engine") -> None:
    """Grow one store through `sizes` (in users of 1,000 records) and measure at each."""
    figures: dict[str, object] = {}
    medians: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.db"
        figures["single_store_per_cpu_second"] = round(anyio.run(_singles, path))
        users, rates = 0, []
        for size in sizes:
            rates.append(anyio.run(_fill, path, users, size - users))
            users = size

            def measure(cache: bool, users: int = users) -> list[float]:
                async def run() -> list[float]:
                    return await _retrieves(path, users, cache=cache)

                return anyio.run(run)

            cold, hot = measure(False), measure(True)
            medians[users] = statistics.median(cold)
            figures[f"retrieve_ms_store_of_{users * SCOPE_RECORDS}"] = {
                "cold": spread(cold),
                "hot": spread(hot),
            }
            print(
                f"store of {users * SCOPE_RECORDS:,}: retrieve p50 {medians[users]:.2f} ms cold, "
                f"{statistics.median(hot):.2f} ms hot; store_many {rates[-1]:,.0f} records/CPU-s"
            )
        figures["store_many_per_cpu_second"] = round(rates[-1])
        figures["largest_store_bytes"] = path.stat().st_size
    figures["cold_largest_over_smallest"] = round(medians[sizes[-1]] / medians[sizes[0]], 2)
    print(f"single store: {figures['single_store_per_cpu_second']:,} per CPU-second")
    keep(
        name,
        "retrieve in a scope of 1,000 records without the model (cold: cache off), store_many in "
        "batches of 1,000 with vectors given, single stores on disk; in growing stores",
        figures,
    )


def full() -> None:
    """The same up to a million records; some minutes and 1.5 GB of disk."""
    main(sizes=(1, 100, 1_000), name="engine_full")


if __name__ == "__main__":
    main()
