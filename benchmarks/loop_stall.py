"""Does a burst of 200 retrieves stall the loop it is made on?"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import anyio

from benchmarks.rounds import keep, spread
from memlane import MemoryClient, NewMemory, Scope
from memlane_plain import connect

RECORDS, CALLS, TICK = 1_000, 200, 0.005
SCOPE = Scope("ada", tenant="acme")
_THINGS = (
    "train", "garden", "recipe", "invoice", "window", "concert", "doctor", "passport", "bicycle",
    "library",
)  # fmt: skip


async def _fill(client: MemoryClient) -> None:
    await client.store_many(
        [
            NewMemory(
                content=f"Note {i}: the {_THINGS[i % 10]} of the week is number {i * 7 % 997}",
                actor="Ada" if i % 2 else "Iris",
            )
            for i in range(RECORDS)
        ],
        scope=SCOPE,
    )


async def _ticks(late: list[float], stop: anyio.Event) -> None:
    while not stop.is_set():
        before = time.perf_counter()
        await anyio.sleep(TICK)
        late.append((time.perf_counter() - before - TICK) * 1000)


async def _burst(client: MemoryClient, place: int) -> float:
    """Return the worst lateness of a 5 ms ticker, in ms, while 200 retrieves are under way."""
    late: list[float] = []
    stop = anyio.Event()
    async with anyio.create_task_group() as ticking:
        ticking.start_soon(_ticks, late, stop)
        await anyio.sleep(TICK * 4)
        late.clear()
        async with anyio.create_task_group() as calls:
            for i in range(CALLS):
                query = f"which {_THINGS[i % 10]} was number {i + place * CALLS}?"

                async def call(query: str = query) -> None:
                    assert await client.retrieve(query, scope=SCOPE, limit=10)

                calls.start_soon(call)
        stop.set()
    return max(late)


def _beside(client: MemoryClient, stop: threading.Event) -> None:
    async def calls() -> None:
        place = 0
        while not stop.is_set():
            place += 1
            await client.retrieve(f"what of the garden, {place}?", scope=SCOPE)

    anyio.run(calls)


def main(*, rounds: int = 5) -> None:
    """Measure on asyncio, on trio, and with a second loop calling from another thread."""
    with tempfile.TemporaryDirectory() as folder:
        client = connect(f"sqlite:///{Path(folder) / 'stall.db'}")
        anyio.run(_fill, client)
        anyio.run(_burst, client, 99)
        worst: dict[str, list[float]] = {"asyncio": [], "trio": [], "asyncio, second loop": []}
        for place in range(rounds):
            worst["asyncio"].append(anyio.run(_burst, client, place * 3))
            worst["trio"].append(anyio.run(_burst, client, place * 3 + 1, backend="trio"))
            stop = threading.Event()
            other = threading.Thread(target=_beside, args=(client, stop))
            other.start()
            worst["asyncio, second loop"].append(anyio.run(_burst, client, place * 3 + 2))
            stop.set()
            other.join()
        anyio.run(client.aclose)
    for name, values in worst.items():
        print(f"{name}: worst tick late by {statistics.median(values):.1f} ms (median of {rounds})")
    keep(
        "loop_stall",
        "worst lateness in ms of a 5 ms ticker on the caller's loop during 200 concurrent "
        "retrieves on a scope of 1,000 records, local model included",
        {**{name: spread(values) for name, values in worst.items()}, "at_most": 20},
    )


if __name__ == "__main__":
    main()
