"""Do readers notice another process that writes into the same file?"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from anyio.streams.text import TextReceiveStream

from benchmarks.given_vectors import notes, open_client
from benchmarks.rounds import keep, percentile, play
from memlane import MemlaneError, MemoryClient, NewMemory, Scope

RECORDS, CALLS, BURSTS = 1_000, 200, 5
RATE, WRITTEN_AT_ONCE = 1_000, 50
READ, WRITTEN = Scope("reader", tenant="acme"), Scope("writer", tenant="acme")
_AT_MOST: Final = 3
_ALONE, _BESIDE = "alone", "beside a writer"


async def write(path: Path) -> None:
    """Store `RATE` records a second and tell when each batch was on disk, until ended."""
    client = open_client(path)
    began = time.time()
    for stored in itertools.count(WRITTEN_AT_ONCE, WRITTEN_AT_ONCE):
        items = [
            NewMemory(content=f"written meanwhile {stored + i}") for i in range(WRITTEN_AT_ONCE)
        ]
        await client.store_many(items, scope=WRITTEN)
        print(time.time(), flush=True)
        await anyio.sleep(max(0.0, began + stored / RATE - time.time()))


@dataclass(slots=True)
class _Writer:
    """What the other process has told: when each of its batches was on disk."""

    told: list[str] = field(default_factory=list)
    begun: anyio.Event = field(default_factory=anyio.Event)

    async def listen(self, lines: TextReceiveStream) -> None:
        async for text in lines:
            self.told.append(text)
            self.begun.set()

    def rate(self, began: float, ended: float) -> float:
        """Return the records stored per second between two moments."""
        # Behind the last line end is nothing, or a line that was cut when the process was ended.
        times = [float(line) for line in "".join(self.told).split("\n")[:-1]]
        within = sum(began <= each <= ended for each in times)
        return within * WRITTEN_AT_ONCE / (ended - began)


@asynccontextmanager
async def _writing(path: Path) -> AsyncGenerator[_Writer]:
    command = [sys.executable, "-m", "benchmarks.beside_writer", str(path)]
    writer = _Writer()
    async with (
        await anyio.open_process(command, stderr=subprocess.DEVNULL) as process,
        anyio.create_task_group() as tasks,
    ):
        assert process.stdout is not None
        tasks.start_soon(writer.listen, TextReceiveStream(process.stdout))
        try:
            with anyio.fail_after(30):
                await writer.begun.wait()
            yield writer
        finally:
            process.kill()


class _Reader:
    """Bursts of 200 retrieves at once.

    Args:
        client: On the file that is shared.
    """

    def __init__(self, client: MemoryClient) -> None:
        self._client = client
        self._numbers = itertools.count()
        self.failed = 0

    async def _call(self, late: list[float]) -> None:
        question = f"which note is number {next(self._numbers)}?"
        began = time.perf_counter()
        try:
            answered = bool(await self._client.retrieve(question, scope=READ))
        except MemlaneError as error:
            print(f"a retrieve failed: {error}", file=sys.stderr)
            answered = False
        late.append((time.perf_counter() - began) * 1000)
        self.failed += not answered

    async def _burst(self, late: list[float]) -> None:
        async with anyio.create_task_group() as calls:
            for _ in range(CALLS):
                calls.start_soon(self._call, late)

    async def bursts(self) -> dict[str, float]:
        """Return p50 and p99 in ms of the retrieves of some bursts, one after the other."""
        # Waiting for the other process to start is a rest that "alone" does not have: a system
        # under load is kind to who has rested, but for one burst only.
        await self._burst([])
        late: list[float] = []
        for _ in range(BURSTS):
            await self._burst(late)
        return {"p50_ms": percentile(late, 50), "p99_ms": percentile(late, 99)}


async def _measure(path: Path, rounds: int) -> dict[str, object]:
    async with open_client(path) as client:
        await client.store_many(notes(0, range(RECORDS)), scope=READ)
        reader = _Reader(client)

        async def beside() -> dict[str, float]:
            async with _writing(path) as writer:
                began = time.time()
                figures = await reader.bursts()
                ended = time.time()
            return {**figures, "written_per_second": writer.rate(began, ended)}

        played = await play(
            {_ALONE: reader.bursts, _BESIDE: beside}, rounds=rounds, warm_up=True, what="turns"
        )
    ratio = played.ratio(_BESIDE, _ALONE, "p99_ms")
    rate = played.median(_BESIDE, "written_per_second")
    for name in played.figures:
        print(f"{name}: p99 of {CALLS} at once {played.median(name, 'p99_ms'):.0f} ms")
    print(
        f"ratio {ratio['median']:.2f}, at most {_AT_MOST}; {rate:,.0f} records/s were written; "
        f"{reader.failed} calls failed"
    )
    assert not reader.failed
    return {
        **played.report(),
        "p99_beside_over_alone": ratio,
        "at_most": _AT_MOST,
        "retrieves_each_round": CALLS * BURSTS,
        "failed": reader.failed,
    }


def main(*, rounds: int = 9, name: str = "beside_writer") -> None:
    """Measure in turn, with and without the writer, and keep the ratios made in each round."""
    with tempfile.TemporaryDirectory() as folder:
        figures = anyio.run(_measure, Path(folder) / "shared.db", rounds)
    keep(
        name,
        "p99 in ms of 200 concurrent retrieves on a scope of 1,000 records, alone and while "
        "another process stores 1,000 records a second into the same file",
        figures,
    )


if __name__ == "__main__":
    anyio.run(write, Path(sys.argv[1]))
