"""Figures worth keeping: contenders in turn, several rounds, and what the machine was like.

A machine that others use is slower for minutes at a time. Contenders that take turns within each
round meet the same minutes, so that a ratio made inside one round says more than two medians do.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TextIO, TypeAlias

RESULTS: Final = Path(__file__).parent / "results"
_SILENT_SECONDS: Final = 2.0

Figures: TypeAlias = Mapping[str, float]
Contender: TypeAlias = Callable[[], float | Figures | Awaitable[float | Figures]]
"""Does its work once and returns what it measured; one number alone is named "value"."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
    }


def percentile(values: Sequence[float], share: int) -> float:
    """Return what `share` percent of the values are at most."""
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def keep(name: str, question: str, figures: dict[str, object]) -> Path:
    """Write one question's figures to `results/{name}.json` with the machine beside them."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    about = {
        "question": question,
        "command": f"python -m benchmarks {name}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "figures": figures,
    }
    path.write_text(json.dumps(about, indent=2) + "\n")
    return path


class Stopwatch:
    """CPU and wall seconds of a block; CPU is the figure, wall the witness."""

    def __enter__(self) -> Self:
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu = time.process_time() - self._cpu
        self.wall = time.perf_counter() - self._wall


def children_cpu() -> float:
    """Return the CPU seconds of all child processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where times and the machine's load are read; all in seconds."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    children: Callable[[], float] = children_cpu
    load: Callable[[], float] = lambda: os.getloadavg()[0]


class Progress:
    """Tells on stderr how far something is, once it has taken two seconds.

    Args:
        what: What is under way.
        total: How many steps it has.
        wall: When it is.
        out: Where to tell it.
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        wall: Callable[[], float] = time.perf_counter,
        out: TextIO | None = None,
    ) -> None:
        self._what, self._total, self._wall = what, total, wall
        self._out = sys.stderr if out is None else out
        self._told = wall()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            print(f"\r{'':{self._width}}\r", end="", file=self._out, flush=True)

    def at(self, step: int) -> None:
        """Tell that so many steps are done, unless something was told just now."""
        if (now := self._wall()) - self._told < _SILENT_SECONDS:
            return
        self._told = now
        line = f"  {self._what}: {step:,} of {self._total:,}"
        self._width = max(self._width, len(line))
        print(f"\r{line:{self._width}}", end="", file=self._out, flush=True)


@dataclass(frozen=True, slots=True)
class Played:
    """What the contenders returned, round by round.

    Args:
        figures: By contender, then by figure, one value for each round. To what a contender
            returns `cpu_s` and `wall_s` are added: what its whole turn took.
        load: The machine's load when each round began.
    """

    figures: Mapping[str, Mapping[str, Sequence[float]]]
    load: Sequence[float]

    def median(self, name: str, figure: str = "value") -> float:
        """Return a contender's median of a figure."""
        return statistics.median(self.figures[name][figure])

    def ratio(self, name: str, to: str, figure: str = "value") -> dict[str, float]:
        """Return the spread of the ratios made inside each round, `name` over `to`."""
        pairs = zip(self.figures[name][figure], self.figures[to][figure], strict=True)
        return spread([one / other for one, other in pairs])

    def report(self) -> dict[str, object]:
        """Return the spread of every figure, and the loads, as `keep` takes them."""
        contenders: dict[str, object] = {
            name: {figure: spread(values) for figure, values in table.items()}
            for name, table in self.figures.items()
        }
        return {
            "rounds": len(self.load),
            "load_at_each_round": [round(value, 2) for value in self.load],
            **contenders,
        }


@dataclass(slots=True)
class _Turns:
    clocks: Clocks
    children: bool
    kept: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def _used(self) -> float:
        return self.clocks.cpu() + (self.clocks.children() if self.children else 0.0)

    async def take(self, name: str, contender: Contender) -> None:
        cpu, wall = self._used(), self.clocks.wall()
        returned = contender()
        answer = await returned if inspect.isawaitable(returned) else returned
        own = answer if isinstance(answer, Mapping) else {"value": answer}
        took = {"cpu_s": self._used() - cpu, "wall_s": self.clocks.wall() - wall}
        table = self.kept.setdefault(name, {})
        for figure, value in {**own, **took}.items():
            table.setdefault(figure, []).append(value)


def rotated(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round, in which each contender is first once in a while."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


async def play(
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    warm_up: bool = False,
    children: bool = False,
    what: str = "rounds",
    clocks: Clocks | None = None,
    out: TextIO | None = None,
) -> Played:
    """Let contenders run in turn, each round in another order.

    Args:
        contenders: What to run, by name.
        rounds: How often each runs.
        warm_up: Whether all run once before, uncounted.
        children: Whether `cpu_s` also counts child processes, which the contender waits for.
        what: What to call this in the progress on stderr.
        clocks: Where times are read.
        out: Where progress is told instead.
    """
    clocks = clocks or Clocks()
    names = list(contenders)
    turns = _Turns(clocks, children)
    load: list[float] = []
    with Progress(what, rounds * len(names), wall=clocks.wall, out=out) as progress:
        for name in names if warm_up else ():
            await _Turns(clocks, children).take(name, contenders[name])
        for number in range(rounds):
            load.append(clocks.load())
            for place, name in enumerate(rotated(names, number)):
                progress.at(number * len(names) + place)
                await turns.take(name, contenders[name])
    return Played({name: turns.kept[name] for name in names}, load)
