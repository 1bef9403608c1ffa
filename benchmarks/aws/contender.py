"""The program of every contender: a line of JSON in, a line of JSON out.

`python -m benchmarks.aws.contender MODULE` says `{"ready": true}` once `setup` has opened a client.
`run` lets callers make calls and answers what they cost: the CPU of this process alone, all its
threads, user and system. Only the standard library is imported here: a peer brings its own.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TextIO, TypeAlias

THREADS: Final = 32
"""For clients that are made of blocking calls; more does not help them."""

TICK: Final = 0.002
Reply: TypeAlias = dict[str, Any]


class Client(Protocol):
    """What every contender can do; further operations are methods of the same form."""

    async def store(self, number: int) -> object:
        """Embed `text(number)` and keep it."""
        ...

    async def retrieve(self, number: int) -> object:
        """Embed `question(number)` and return the five nearest."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


def rss_kb() -> int:
    """Return the resident kilobytes of this process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


class Ticker:
    """How long the loop was busy between two ticks: by the wall, and by its own thread's CPU.

    On a machine that others use the wall also counts their work; the thread's CPU does not.
    """

    def __init__(self) -> None:
        self.late: list[float] = []
        self.busy: list[float] = []

    async def run(self) -> None:
        """Tick until cancelled."""
        wall, cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, used = time.perf_counter(), time.thread_time()
            self.late.append((now - wall - TICK) * 1000)
            self.busy.append((used - cpu) * 1000)
            wall, cpu = now, used

    def report(self) -> Reply:
        """Return worst and 99th percentile, in ms."""
        if len(self.late) < 2:
            return {}
        return {
            "tick_worst_ms": max(self.late),
            "tick_p99_ms": statistics.quantiles(self.late, n=100, method="inclusive")[98],
            "step_worst_ms": max(self.busy),
            "step_p99_ms": statistics.quantiles(self.busy, n=100, method="inclusive")[98],
        }


class Calls:
    """Callers that take the next number until none is left."""

    def __init__(self, call: Callable[[int], Coroutine[Any, Any, object]], numbers: range) -> None:
        self._call = call
        self._numbers: Iterator[int] = iter(numbers)
        self.took: list[float] = []
        self.errors: list[str] = []

    async def caller(self) -> None:
        """Call, one after the other."""
        clock = time.perf_counter
        for number in self._numbers:
            began = clock()
            try:
                await self._call(number)
            except Exception as exc:  # noqa: BLE001 - whatever a client raises is counted
                self.errors.append(f"{type(exc).__name__}: {exc}")
            else:
                self.took.append((clock() - began) * 1000)

    def report(self) -> Reply:
        """Return the time a call took, and how many failed."""
        took = sorted(self.took) or [0.0]
        return {
            "p50_ms": took[len(took) // 2],
            "p99_ms": took[min(len(took) - 1, len(took) * 99 // 100)],
            "max_ms": took[-1],
            "errors": len(self.errors),
            "first_error": self.errors[0][:300] if self.errors else None,
        }


@contextmanager
def _profiled(path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    import cProfile  # noqa: PLC0415 - asked for by hand only

    profile = cProfile.Profile(time.thread_time)  # the wall would count the machine
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        profile.dump_stats(path)


class Served:
    """An opened client and the verbs of the protocol."""

    def __init__(self, runner: asyncio.Runner, module: str) -> None:
        self._runner = runner
        self._module = importlib.import_module(module)
        self._first = itertools.count(1_000_000, 1_000_000)

    def setup(self, request: Reply) -> Reply:
        """Open a client; what it is told is the module's business."""
        loop = self._runner.get_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS))
        self._client: Any = self._runner.run(self._module.open_client(request["settings"]))
        versions = {
            each: importlib.metadata.version(each) for each in request.get("distributions", ())
        }
        return {"ready": True, "versions": versions, "rss_kb": rss_kb()}

    def run(self, request: Reply) -> Reply:
        """Make `n` calls of an operation from `concurrency` callers, and say what they cost."""
        return self._runner.run(self._run(request))

    async def _run(self, request: Reply) -> Reply:
        first = request.get("first", next(self._first))
        call = getattr(self._client, request["op"])
        calls = Calls(call, range(first, first + request["n"]))
        gc.collect()
        ticker = Ticker()
        ticking = asyncio.ensure_future(ticker.run()) if request.get("ticker") else None
        with _profiled(request.get("profile")):
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.gather(*(calls.caller() for _ in range(request["concurrency"])))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if ticking is not None:
            ticking.cancel()
        return {
            "cpu_ms": cpu * 1000 / request["n"],
            "wall_s": wall,
            "per_s": (request["n"] - len(calls.errors)) / wall,
            "rss_kb": rss_kb(),
            **calls.report(),
            **ticker.report(),
        }

    def ask(self, request: Reply) -> Reply:
        """Return what a method of the client answers; for what one contender alone can say."""
        answer = self._runner.run(getattr(self._client, request["method"])(*request["arguments"]))
        return {"answer": answer}

    def finish(self, _: Reply) -> Reply:
        """Close the client."""
        self._runner.run(self._client.close())
        return {"rss_kb": rss_kb()}


def _serve(out: TextIO, module: str) -> None:
    def say(reply: Reply) -> None:
        out.write(json.dumps(reply) + "\n")
        out.flush()

    try:
        with asyncio.Runner() as runner:
            served = Served(runner, module)
            for line in sys.stdin:
                request: Reply = json.loads(line)
                say(getattr(served, request["do"])(request))
                if request["do"] == "finish":
                    return
    except Exception as exc:  # whatever a client raises is its result
        say({"error": f"{type(exc).__name__}: {exc}"})
        raise


if __name__ == "__main__":
    # Replies keep the real stdout for themselves; whatever a peer prints goes to stderr.
    reply_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _serve(reply_to, sys.argv[1])
