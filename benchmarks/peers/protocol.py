"""The program that runs in a peer's environment: a line of JSON in, a line of JSON out.

`python -m benchmarks.peers.protocol ADAPTER FOLDER` imports the adapter, opens its store in the
folder and says `{"ready": true, ...}`. Requests are `ingest`, `ask` and `finish`. What is counted
is the CPU of this whole process, all threads and children, around the adapter's call alone.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol, TextIO, TypeAlias, TypeVar

WARM_UP = "warm-up"
"""User, session and message that open everything a peer opens late, before the count begins."""

_T = TypeVar("_T")
Reply: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody said, as a peer is told it."""

    id: str
    session: str
    actor: str
    text: str
    at: str


class Adapter(Protocol):
    """A peer's store in our words; a peer that is synchronous just does not await."""

    async def ingest(self, user: str, messages: Sequence[Message]) -> None:
        """Keep all messages of a user."""
        ...

    async def ask(self, user: str, question: str, limit: int) -> list[str]:
        """Return the ids of the messages that answer best, best first."""
        ...

    async def close(self) -> None:
        """Bring everything to disk and let go."""
        ...


def _cpu() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _peak_bytes() -> int:
    # ru_maxrss would begin with what the program that started us had.
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found.group(1)) * 1024
    import resource  # noqa: PLC0415 - not everywhere

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _no_network(*_: object) -> NoReturn:
    raise OSError("peers are compared without a network")


def _versions(names: Sequence[str]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in names}


class _Served:
    """An adapter, the loop its coroutines run on, and what the calls cost."""

    def __init__(self, runner: asyncio.Runner, module: str, folder: Path) -> None:
        self._runner = runner
        opened: Callable[[Path], Coroutine[Any, Any, Adapter]]
        opened = importlib.import_module(module).open_store
        self._adapter = runner.run(opened(folder))
        warm_up = Message(
            id=WARM_UP,
            session=WARM_UP,
            actor="Ada",
            text="The kettle is on.",
            at="2024-01-01T00:00:00+00:00",
        )
        runner.run(self._adapter.ingest(WARM_UP, [warm_up]))
        runner.run(self._adapter.ask(WARM_UP, "What is on?", 10))

    def _counted(self, work: Coroutine[Any, Any, _T]) -> tuple[_T, float]:
        before = _cpu()
        done = self._runner.run(work)
        return done, _cpu() - before

    def ingest(self, request: Reply) -> Reply:
        messages = [Message(**each) for each in request["messages"]]
        _, cpu = self._counted(self._adapter.ingest(request["user"], messages))
        return {"cpu": cpu}

    def ask(self, request: Reply) -> Reply:
        async def all_of_them() -> list[list[str]]:
            return [
                await self._adapter.ask(request["user"], question, request["limit"])
                for question in request["questions"]
            ]

        answers, cpu = self._counted(all_of_them())
        return {"answers": answers, "cpu": cpu}

    def finish(self, _: Reply) -> Reply:
        self._runner.run(self._adapter.close())
        return {"peak_bytes": _peak_bytes()}


def _serve(out: TextIO, module: str, folder: Path, distributions: Sequence[str]) -> None:
    def say(reply: Reply) -> None:
        out.write(json.dumps(reply) + "\n")
        out.flush()

    try:
        with asyncio.Runner() as runner:
            served = _Served(runner, module, folder)
            say({"ready": True, "cpu": _cpu(), "versions": _versions(distributions)})
            verbs = {"ingest": served.ingest, "ask": served.ask, "finish": served.finish}
            for line in sys.stdin:
                request: Reply = json.loads(line)
                say(verbs[request["do"]](request))
                if request["do"] == "finish":
                    return
    except Exception as exc:  # whatever a peer raises is its result
        say({"error": f"{type(exc).__name__}: {exc}"})
        raise


def main() -> None:
    """Serve one adapter until `finish`, or until nobody asks any more."""
    module, folder, *distributions = sys.argv[1:]
    # Replies keep the real stdout for themselves; whatever a peer prints goes to stderr.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    socket.getaddrinfo = _no_network  # type: ignore[assignment]
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    _serve(out, module, Path(folder), distributions)


if __name__ == "__main__":
    main()
