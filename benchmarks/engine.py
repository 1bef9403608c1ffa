"""What do storing and retrieving cost without the model, and does a large store cost more?"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio

from benchmarks.floor import Commits, Scans
from benchmarks.given_vectors import BATCH, ask, notes, open_client
from benchmarks.rounds import Contender, Played, Progress, Stopwatch, keep, play
from memlane import MemoryClient, NewMemory, Scope

_CALLS, _HOT_USERS = 30, 5  # short turns, so that all meet the same minutes
_STRIDE: Final = 37  # shares no divisor with the numbers of users: all are asked in the end
_SINGLES, _CALLERS = 300, 10
_FLOOR: Final = "floor, one caller"
_NOTE: Final = (
    "retrieve in a scope of 1,000 records without the model (cold: memlane's cache off; hot: on), "
    "store_many in batches of 1,000 with vectors given, single stores, each on disk when it "
    "returns; in growing stores"
)


def _user(number: int) -> Scope:
    return Scope(f"user-{number}", tenant="acme", session=f"s{number % 20}")


def _shape(users: int) -> str:
    return f"store of {users * BATCH:,}"


async def _grow(folder: Path, sizes: Sequence[int]) -> tuple[dict[int, Path], list[float]]:
    """Return one file for each size, in users of 1,000 records, and CPU seconds of each batch."""
    path, files = folder / "growing.db", dict[int, Path]()
    batches: list[float] = []
    with Progress("users stored", sizes[-1]) as progress:
        for size in sizes:
            async with open_client(path) as client:
                for user in range(len(batches), size):
                    batch = notes(user, range(BATCH))
                    with Stopwatch() as watch:
                        await client.store_many(batch, scope=_user(user))
                    batches.append(watch.cpu)
                    progress.at(user + 1)
            # Closed, so that all is in the one file.
            files[size] = path if size == sizes[-1] else folder / f"{size}.db"
            if size != sizes[-1]:
                shutil.copy(path, files[size])
    return files, batches


def _rates(batches: Sequence[float]) -> dict[str, object]:
    tenth = max(1, len(batches) // 10)

    def rate(some: Sequence[float]) -> int:
        return round(len(some) * BATCH / sum(some))

    return {
        "records": len(batches) * BATCH,
        "per_cpu_second": rate(batches),
        "per_cpu_second_first_tenth": rate(batches[:tenth]),
        "per_cpu_second_last_tenth": rate(batches[-tenth:]),
    }


def _asking(client: MemoryClient, users: int) -> Contender:
    """Return a contender that asks on where it stopped the round before."""
    numbers = itertools.count()

    async def turn() -> dict[str, float]:
        mine = list(itertools.islice(numbers, _CALLS))
        return await ask(client, [_user(n * _STRIDE % users) for n in mine], first=mine[0])

    return turn


async def _retrieves(files: Mapping[int, Path], rounds: int) -> Played:
    async with contextlib.AsyncExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for users, path in files.items():
            cold = await stack.enter_async_context(open_client(path, cache_bytes=0))
            hot = await stack.enter_async_context(open_client(path))
            contenders[f"{_shape(users)}, cold"] = _asking(cold, users)
            contenders[f"{_shape(users)}, hot"] = _asking(hot, min(users, _HOT_USERS))
            scans = stack.enter_context(contextlib.closing(Scans(path, _CALLS)))
            contenders[f"{_shape(users)}, floor"] = scans
        return await play(contenders, rounds=rounds, warm_up=True, what="turns of retrieving")


def _storing(client: MemoryClient, callers: int) -> Contender:
    """Return a contender that stores single notes, so many callers at once."""
    numbers = itertools.count()

    async def call(own: Iterator[NewMemory], scope: Scope) -> None:
        for note in own:
            await client.store(note.content, scope=scope, actor=note.actor)

    async def turn() -> dict[str, float]:
        written = iter(notes(0, itertools.islice(numbers, _SINGLES)))
        with Stopwatch() as watch:
            async with anyio.create_task_group() as tasks:
                for caller in range(callers):
                    tasks.start_soon(call, written, Scope(f"caller-{caller}", tenant="acme"))
        return {"per_cpu_second": _SINGLES / watch.cpu, "per_second": _SINGLES / watch.wall}

    return turn


async def _singles(folder: Path, rounds: int) -> Played:
    async with (
        open_client(folder / "alone.db") as alone,
        open_client(folder / "together.db") as together,
    ):
        commits = Commits(folder / "floor.db", _SINGLES)
        contenders: dict[str, Contender] = {
            "one caller": _storing(alone, 1),
            f"{_CALLERS} callers at once": _storing(together, _CALLERS),
            _FLOOR: commits,
        }
        with contextlib.closing(commits):
            return await play(contenders, rounds=rounds, warm_up=True, what="turns of storing")


async def _measure(folder: Path, sizes: Sequence[int], rounds: int) -> dict[str, object]:
    singles = await _singles(folder, rounds)
    for name in singles.figures:
        print(f"single stores, {name}: {singles.median(name, 'per_cpu_second'):,.0f} per CPU-s")
    files, batches = await _grow(folder, sizes)
    rates = _rates(batches)
    print("store_many: " + ", ".join(f"{name} {value:,}" for name, value in rates.items()))
    found = await _retrieves(files, rounds)
    for name in found.figures:
        print(
            f"{name}: retrieve p50 {found.median(name, 'p50_ms'):.2f} ms, "
            f"p95 {found.median(name, 'p95_ms'):.2f} ms, CPU {found.median(name, 'cpu_ms'):.2f} ms"
        )
    cold = [f"{_shape(size)}, cold" for size in sizes]
    over_floor = {
        **{
            f"retrieve cpu_ms, {_shape(size)}, {how}": found.ratio(
                f"{_shape(size)}, {how}", f"{_shape(size)}, floor", "cpu_ms"
            )
            for size in sizes
            for how in ("cold", "hot")
        },
        **{
            f"cpu of single stores, {name}": singles.ratio(_FLOOR, name, "per_cpu_second")
            for name in singles.figures
            if name != _FLOOR
        },
    }
    for name, ratio in over_floor.items():
        print(f"{name}: {ratio['median']:.2f}x of the floor")
    ratios = {
        figure: found.ratio(cold[-1], cold[0], figure) for figure in ("p50_ms", "p95_ms", "cpu_ms")
    }
    print(
        f"largest over smallest store, cold: p50 {ratios['p50_ms']['median']:.2f}, "
        f"CPU {ratios['cpu_ms']['median']:.2f}"
    )
    return {
        "operating_systems_cache": "warm: each file was just written; cold is memlane's cache off",
        "users_asked_cold": {
            _shape(size): len({n * _STRIDE % size for n in range(_CALLS * (rounds + 1))})
            for size in sizes
        },
        "over_floor": over_floor,
        "retrieve": found.report(),
        "at_most": {"cold p50_ms": 5, "hot p50_ms": 1.5},
        "cold_largest_over_smallest": ratios,
        "store_many": rates,
        "single_stores": singles.report(),
        "largest_store_bytes": files[sizes[-1]].stat().st_size,
    }


def main(*, sizes: tuple[int, ...] = (1, 100), rounds: int = 15, name: str = "engine") -> None:
    """Grow one store through `sizes` (in users of 1,000 records) and measure at each."""
    with tempfile.TemporaryDirectory() as folder:
        keep(name, _NOTE, anyio.run(_measure, Path(folder), sizes, rounds))


def full() -> None:
    """The same up to a million records; some minutes and 1.5 GB of disk."""
    main(sizes=(1, 100, 1_000), name="engine_full")


if __name__ == "__main__":
    main()
