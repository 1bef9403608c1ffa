"""Do readers notice that expired records are swept out of the file they read?"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio

from benchmarks.given_vectors import BATCH, GivenVectors, notes, open_client
from benchmarks.rounds import Figures, Progress, keep, percentile, play
from memlane import Limits, MemoryClient, Scope
from memlane.local import SqliteBackend

_TENANT: Final = "acme"
_CALLS: Final = 300  # of one turn, when nothing is swept
_LEAST: Final = 2  # for percentiles
_HOT: Final = 5  # users whose scopes the cache holds
_STRIDE: Final = 37  # shares no divisor with the numbers of users
_AT_MOST: Final = 2
_ALONE, _BESIDE = "alone", "beside a sweep"
_SHARES: Final = (50, 95, 99)


class _Later:
    """The clock of a day later than the one records are stored by."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=1)

    def monotonic(self) -> float:
        return time.monotonic()


class _Bench:
    """One file with some users of 1,000 records, read as of a day later.

    Args:
        folder: Where it is made.
        users: How many.
        share: What share of the records expires in between.
    """

    def __init__(self, folder: Path, users: int, share: float) -> None:
        self._path = folder / "swept.db"
        self._users = users
        self._each = round(BATCH * share)
        self._rounds = itertools.count(1)
        self._numbers = itertools.count()

    async def grow(self) -> None:
        """Store all that does not expire."""
        async with open_client(self._path) as client:
            with Progress("users stored", self._users) as progress:
                for user in range(self._users):
                    await client.store_many(notes(user, range(BATCH)), scope=_scope(user))
                    progress.at(user + 1)

    async def measure(self, rounds: int) -> dict[str, object]:
        """Ask alone and beside a sweep, in turn."""
        async with contextlib.AsyncExitStack() as stack:
            backend = SqliteBackend(self._path)
            stack.push_async_callback(backend.aclose)
            uncached = SqliteBackend(self._path, cache_bytes=0)
            stack.push_async_callback(uncached.aclose)
            hot, cold = _reading(backend), _reading(uncached)

            async def alone() -> Figures:
                took: dict[str, list[float]] = {"hot": [], "cold": []}
                for _ in range(_CALLS // 2):
                    await self._ask(hot, cold, took)
                return _told(took)

            async def beside() -> Figures:
                await self._expire()
                for _ in range(_HOT):
                    await self._ask(hot, cold, {"hot": [], "cold": []})
                took: dict[str, list[float]] = {"hot": [], "cold": []}
                swept, began = list[int](), time.perf_counter()

                async def sweep() -> None:
                    swept.append(
                        await backend.sweep(scope=_scope(0), now=datetime.now(UTC) + timedelta(1))
                    )

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(sweep)
                    while not swept or len(took["cold"]) < _LEAST:
                        await self._ask(hot, cold, took)
                assert swept == [self._each * self._users]
                return {
                    **_told(took),
                    "swept": swept[0],
                    "swept_per_second": swept[0] / (time.perf_counter() - began),
                }

            played = await play(
                {_ALONE: alone, _BESIDE: beside}, rounds=rounds, warm_up=True, what="turns"
            )
        ratios = {
            f"{name}_p{share}": played.ratio(_BESIDE, _ALONE, f"{name}_p{share}_ms")
            for name in ("hot", "cold")
            for share in _SHARES
        }
        for name, ratio in ratios.items():
            print(f"{name}: {ratio['median']:.2f} of alone, at most {_AT_MOST}")
        swept = played.median(_BESIDE, "swept_per_second")
        print(f"{self._each * self._users:,} expired records were swept, {swept:,.0f} a second")
        return {
            **played.report(),
            "beside_over_alone": ratios,
            "at_most": _AT_MOST,
            "records": self._users * BATCH,
            "expired": self._users * self._each,
        }

    async def _expire(self) -> None:
        """Store what will have expired, for all users."""
        number = next(self._rounds)
        until = datetime.now(UTC) + timedelta(hours=1)
        async with open_client(self._path) as client:
            for user in range(self._users):
                first = BATCH * number
                ending = [
                    replace(note, expires_at=until)
                    for note in notes(user, range(first, first + self._each))
                ]
                await client.store_many(ending, scope=_scope(user))

    async def _ask(
        self, hot: MemoryClient, cold: MemoryClient, took: dict[str, list[float]]
    ) -> None:
        number = next(self._numbers)
        users = {"hot": number % _HOT, "cold": number * _STRIDE % self._users}
        for name, client in (("hot", hot), ("cold", cold)):
            began = time.perf_counter()
            found = await client.retrieve(f"what was {number} near?", scope=_scope(users[name]))
            took[name].append((time.perf_counter() - began) * 1000)
            assert found


def _reading(backend: SqliteBackend) -> MemoryClient:
    return MemoryClient(
        backend=backend,
        embedder=GivenVectors(),
        clock=_Later(),
        limits=Limits(batch=BATCH, cached_queries=0),
    )


def _scope(user: int) -> Scope:
    return Scope(f"user-{user}", tenant=_TENANT)


def _told(took: dict[str, list[float]]) -> dict[str, float]:
    return {
        f"{name}_p{share}_ms": percentile(values, share)
        for name, values in took.items()
        for share in _SHARES
    } | {f"{name}_max_ms": max(values) for name, values in took.items()}


def main(
    *, records: int = 100_000, share: float = 0.1, rounds: int = 7, name: str = "sweeping"
) -> None:
    """Sweep a store of some size while somebody asks."""

    async def measure(folder: Path) -> dict[str, object]:
        bench = _Bench(folder, records // BATCH, share)
        await bench.grow()
        return await bench.measure(rounds)

    with tempfile.TemporaryDirectory() as folder:
        figures = anyio.run(measure, Path(folder))
    keep(
        name,
        "p50, p95 and p99 in ms of retrieves in scopes of 1,000 records, one after the other (hot: "
        "the cache holds the scope; cold: no cache), alone and while the same process sweeps "
        "the share of the store's records that has expired",
        figures,
    )


def full(
    *, records: int = 1_000_000, share: float = 0.01, rounds: int = 5, name: str = "sweeping_full"
) -> None:
    """The same in a million records."""
    main(records=records, share=share, rounds=rounds, name=name)
