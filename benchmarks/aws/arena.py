"""The contenders of a question, started, taught the same memories, and run in turn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final, Self

import anyio

from benchmarks.aws.emulated import Emulated
from benchmarks.aws.environment import MEMLANE, Contender
from benchmarks.aws.process import ContenderProcess
from benchmarks.aws.service import Canned, Service
from benchmarks.peers.environment import PeerError
from benchmarks.rounds import Played, play

INDEX: Final = "memory-acme"
_TAUGHT: Final = 120


def lesson(
    server: Canned,
    *,
    settings: Mapping[str, Any] | None = None,
    python: str | None = None,
) -> dict[str, Any]:
    """Let memlane store into an index of its own, and return what the floor must send.

    What it put is what the canned server answers with from now on, to the floor as well.
    """
    server.learn(True)
    with ContenderProcess(MEMLANE, server, settings, python=python) as ours:
        kept = ours.run("store", n=_TAUGHT, concurrency=1)
        if kept["errors"]:
            raise PeerError(f"memlane cannot store: {kept['first_error']}")
        put = server.recent()["PutVectors"]
        queries: dict[str, Any] = {}
        for name in ("retrieve", "recall"):
            asked = ours.run(name, n=1, concurrency=1)
            if asked["errors"]:
                raise PeerError(f"memlane cannot {name}: {asked['first_error']}")
            queries[name] = server.recent()["QueryVectors"] | {"queryVector": None}
        ours.close()
    server.learn(False)
    vector = put["vectors"][0]
    return {
        "bucket": MEMLANE.bucket,
        "index": INDEX,
        "metadata": vector["metadata"],
        "prefix": vector["key"].rpartition("/")[0] + "/",
        "queries": queries,
    }


@contextmanager
def stage(*, emulator: bool) -> Generator[tuple[Service, dict[str, Any]]]:
    """Lend a server that has been taught, and what the floor must send.

    Args:
        emulator: Take the emulator, which checks all it is asked, and is busier than its clients.
    """
    with Canned() as canned:
        said = lesson(canned)
        if not emulator:
            yield canned, said
            return
    with Emulated() as server:
        server.create_bucket(MEMLANE.bucket)
        with ContenderProcess(MEMLANE, server) as ours:
            kept = ours.run("store", n=_TAUGHT, concurrency=1)
            if kept["errors"]:
                raise PeerError(f"memlane cannot store: {kept['first_error']}")
            ours.close()
        yield server, said


class Arena:
    """Contenders that run; a peer that cannot start is named with its reason and left out.

    Args:
        server: What they talk to; its indexes are made and taught here.
        contenders: Who takes part.
        settings: What all are told, such as a model.
        said: What the floor must send, from `lesson`, when it has been given already.
        python: The interpreter of all of them, instead of one of each its own.
    """

    def __init__(
        self,
        server: Service,
        contenders: Iterable[Contender],
        *,
        settings: Mapping[str, Any] | None = None,
        said: Mapping[str, Any] | None = None,
        python: str | None = None,
    ) -> None:
        self._server = server
        self._contenders = {each.name: each for each in contenders}
        self._settings = dict(settings or {})
        self._said = said
        self._python = python
        self._stack = ExitStack()
        self.running: dict[str, ContenderProcess] = {}
        self.failed: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.wire: dict[str, dict[str, float]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            said = self._said
            if said is None:
                assert isinstance(self._server, Canned)
                said = lesson(self._server, settings=self._settings, python=self._python)
            for name, contender in self._contenders.items():
                own = self._settings | (dict(said) if contender.module == "floor" else {})
                try:
                    self._start(stack, contender, own)
                except PeerError as exc:
                    if contender.environment == MEMLANE.environment:
                        raise
                    self.failed[name] = str(exc)
                    print(f"{name} does not take part: {exc}", file=sys.stderr)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack, contender: Contender, settings: dict[str, Any]) -> None:
        ours = contender.environment == MEMLANE.environment
        if not ours:
            self._server.create(contender.bucket, "memory", ["content", "_page_content"])
        process = stack.enter_context(
            ContenderProcess(contender, self._server, settings, python=self._python)
        )
        if not ours:
            self._server.learn(True)
            kept = process.run("store", n=10, concurrency=1)
            self._server.learn(False)
            if kept["errors"]:
                raise PeerError(f"it cannot store: {kept['first_error']}")
        self.running[contender.name] = process
        self.versions[contender.name] = process.versions

    def names(self, op: str) -> list[str]:
        """Return who runs and can do an operation."""
        return [name for name in self.running if op in self._contenders[name].operations]

    def turn(self, name: str, op: str, **how: Any) -> dict[str, float]:
        """Let a contender make its calls, and note what they were on the wire.

        Raises:
            PeerError: One of them failed.
        """
        self._server.reset()
        figures = self.running[name].run(op, **how)
        if figures["errors"]:
            raise PeerError(f"{name}, {op}: {figures['errors']} failed: {figures['first_error']}")
        counted = self._server.counters()
        requests = counted["requests"]
        self.wire[f"{name}: {op}"] = {
            **{each: round(count / how["n"], 3) for each, count in requests.items()},
            **{
                f"{each} bytes": round(counted["received"][each] / max(1, requests[each]))
                for each in requests
            },
        }
        return {key: value for key, value in figures.items() if isinstance(value, int | float)}

    def play(
        self, op: str, sizes: Mapping[str, int], *, rounds: int, concurrency: int, **how: Any
    ) -> Played:
        """Let those in `sizes` make so many calls each, in turn, round by round."""
        contenders: dict[str, Callable[[], dict[str, float]]] = {
            name: partial(self.turn, name, op, n=n, concurrency=concurrency, **how)
            for name, n in sizes.items()
        }
        what = f"{op}, {concurrency} callers"
        return anyio.run(partial(play, contenders, rounds=rounds, warm_up=True, what=what))
