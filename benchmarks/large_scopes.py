"""What does retrieving cost in one large scope, and does the cache hold it?"""

from __future__ import annotations

import contextlib
import gc
import itertools
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

from benchmarks.given_vectors import BATCH, DIMENSIONS, ask, notes, open_client
from benchmarks.rounds import Contender, Progress, keep, play
from memlane import MemoryClient, Scope

_MIB: Final = 2**20
_COLD, _DEFAULT, _ENOUGH = "cold", "hot, default cache_bytes", "hot, cache_bytes large enough"
_CACHES: Final = {_COLD: 0, _DEFAULT: None, _ENOUGH: 1024 * _MIB}
_OWNER: Final = Scope("ada", tenant="acme")


def _shape(records: int) -> str:
    return f"scope of {records:,}"


def _calls(records: int) -> int:
    return max(10, 60_000 // (records + 1_000))


async def _fill(path: Path, records: int) -> None:
    """Store `records` in sessions of at most 1,000."""
    async with open_client(path) as client:
        with Progress(f"records stored, {_shape(records)}", records) as progress:
            for at in range(0, records, BATCH):
                batch = notes(0, range(at, min(at + BATCH, records)))
                session = Scope(_OWNER.user, tenant=_OWNER.tenant, session=f"s{at // BATCH}")
                await client.store_many(batch, scope=session)
                progress.at(at + len(batch))


async def _kept_mib(path: Path, cache_bytes: int | None) -> float:
    """Return what a client keeps in memory because it was asked, of Python and of numpy."""
    async with open_client(path, cache_bytes=cache_bytes) as client:
        # Opens the file and the threads, which is not what is asked here.
        assert not await client.retrieve("who?", scope=Scope("nobody", tenant="acme"))
        tracemalloc.start()
        try:
            await ask(client, [_OWNER] * 2)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / _MIB
        finally:
            tracemalloc.stop()


async def _memory(path: Path, records: int) -> dict[str, object]:
    # The first time patterns are compiled, too.
    await _kept_mib(path, 0)
    kept = {name: round(await _kept_mib(path, size), 1) for name, size in _CACHES.items()}
    vectors = round(records * DIMENSIONS * 4 / _MIB, 1)
    holds = kept[_DEFAULT] >= vectors
    print(
        f"{_shape(records)}: {vectors} MiB of vectors, {kept[_ENOUGH]} MiB as kept; the default "
        f"cache {'holds' if holds else 'does not hold'} it"
    )
    return {"kept_mib": kept, "vectors_mib": vectors, "default_cache_holds_it": holds}


def _asking(client: MemoryClient, records: int) -> Contender:
    numbers = itertools.count(step=_calls(records))

    async def turn() -> dict[str, float]:
        return await ask(client, [_OWNER] * _calls(records), first=next(numbers))

    return turn


async def _measure(folder: Path, sizes: Sequence[int], rounds: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    contenders: dict[str, Contender] = {}
    async with contextlib.AsyncExitStack() as stack:
        for records in sizes:
            path = folder / f"{records}.db"
            await _fill(path, records)
            figures[f"memory, {_shape(records)}"] = await _memory(path, records)
            for cache, size in _CACHES.items():
                client = await stack.enter_async_context(open_client(path, cache_bytes=size))
                contenders[f"{_shape(records)}, {cache}"] = _asking(client, records)
        played = await play(contenders, rounds=rounds, warm_up=True, what="turns of retrieving")
    for name in contenders:
        p50, p95, cpu = (played.median(name, each) for each in ("p50_ms", "p95_ms", "cpu_ms"))
        print(f"{name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, CPU {cpu:.1f} ms")
    return {
        **figures,
        "operating_systems_cache": "warm: each file was just written; cold is memlane's cache off",
        "retrieve": played.report(),
        "hot_over_cold_cpu": {
            _shape(records): played.ratio(
                f"{_shape(records)}, {_ENOUGH}", f"{_shape(records)}, {_COLD}", "cpu_ms"
            )
            for records in sizes
        },
    }


def main(
    *, sizes: tuple[int, ...] = (1_000, 10_000), rounds: int = 5, name: str = "large_scopes"
) -> None:
    """Ask in scopes of several sizes, with the cache off, as it is, and large enough."""
    with tempfile.TemporaryDirectory() as folder:
        keep(
            name,
            "retrieve in one scope of many records without the model, with memlane's cache off, "
            "at its default of 64 MiB, and large enough; how much memory what is kept takes",
            anyio.run(_measure, Path(folder), sizes, rounds),
        )


def full() -> None:
    """The same up to a scope of 100,000 records."""
    main(sizes=(1_000, 10_000, 100_000), name="large_scopes_full")


if __name__ == "__main__":
    main()
