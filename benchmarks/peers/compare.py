"""What do other libraries find and cost, with the same model over the same conversations?"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.corpus import HELD_OUT, Corpus, Query, Said, generate
from benchmarks.measures import COLUMNS, mean_of, measures
from benchmarks.peers.environment import PEERS, Peer, PeerError, prepared, variables
from benchmarks.peers.process import PeerProcess
from benchmarks.peers.protocol import WARM_UP, Message
from benchmarks.rounds import keep, spread

LIMIT = 10
_FOLDERS = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+")  # of this machine; nobody else's business
_Row: TypeAlias = dict[str, float]
Start: TypeAlias = Callable[[Peer, Path], PeerProcess]


@dataclass(slots=True)
class Score:
    """What a peer found and cost, over all rounds; `error` ends its part."""

    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[_Row]] = field(default_factory=lambda: defaultdict(list))
    foreign: int = 0
    store_ms: list[float] = field(default_factory=list)
    retrieve_ms: list[float] = field(default_factory=list)
    start_up_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    disk_mb: list[float] = field(default_factory=list)


class _Seat:
    """A started peer in one round."""

    def __init__(self, peer: Peer, score: Score, folder: Path, process: PeerProcess) -> None:
        self.peer, self.score, self.folder, self.process = peer, score, folder, process
        self.store_cpu = self.retrieve_cpu = 0.0


def start_in_environment(peer: Peer, folder: Path) -> PeerProcess:
    """Start a peer's program in its own environment."""
    module = "benchmarks.peers.protocol"
    command = [str(prepared(peer)), "-m", module, peer.adapter, str(folder), *peer.distributions]
    home = folder.with_name(folder.name + " home")
    home.mkdir()
    return PeerProcess(command, variables=variables(home))


def turns(peers: Sequence[Peer], number: int) -> list[Peer]:
    """Return the peers in the order of a round: each is first, second, ... equally often."""
    first = number % len(peers)
    return [*peers[first:], *peers[:first]]


def _message(said: Said) -> Message:
    return Message(
        id=said.id,
        session=said.session,
        actor=said.actor,
        text=said.text,
        at=said.at.isoformat(),
    )


def _bytes_on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


class Comparison:
    """Rounds in which all peers keep the same users and answer the same questions, in turn.

    All are running; one works at a time, a user at a time, so that whatever else the machine
    does meets every peer alike.
    """

    def __init__(self, corpus: Corpus, peers: Sequence[Peer], start: Start) -> None:
        self._peers = peers
        self._start = start
        self._owner = {said.id: said.user for said in corpus.said} | {WARM_UP: WARM_UP}
        self._said: dict[str, list[Message]] = defaultdict(list)
        for said in corpus.said:
            self._said[said.user].append(_message(said))
        self._queries: dict[str, list[Query]] = defaultdict(list)
        for query in corpus.queries:
            self._queries[query.user].append(query)
        self._counts = len(corpus.said), len(corpus.queries)
        self.scores = {peer.name: Score() for peer in peers}

    def round(self, number: int) -> None:
        """Start those that have not failed, let them store and answer, and end them."""
        with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
            seats: list[_Seat] = []
            for peer in turns(self._peers, number):
                score = self.scores[peer.name]
                if score.error is None:
                    self._trying(score, partial(self._sit, peer, Path(folder), running, seats))
            for user, messages in self._said.items():
                for seat in seats:
                    self._trying(seat.score, partial(self._ingest, seat, user, messages))
            for user, queries in self._queries.items():
                for seat in seats:
                    self._trying(seat.score, partial(self._ask, seat, user, queries))
            for seat in seats:
                self._trying(seat.score, partial(self._finish, seat))

    @staticmethod
    def _trying(score: Score, step: Callable[[], None]) -> None:
        if score.error is None:
            try:
                step()
            except PeerError as exc:
                score.error = str(exc)

    def _sit(self, peer: Peer, folder: Path, running: ExitStack, seats: list[_Seat]) -> None:
        own = folder / peer.name
        own.mkdir()
        process = running.enter_context(self._start(peer, own))
        process.wait_until_ready()
        seats.append(_Seat(peer, self.scores[peer.name], own, process))

    @staticmethod
    def _ingest(seat: _Seat, user: str, messages: Sequence[Message]) -> None:
        seat.store_cpu += seat.process.ingest(user, messages)

    def _ask(self, seat: _Seat, user: str, queries: Sequence[Query]) -> None:
        questions = [query.text for query in queries]
        answers, cpu = seat.process.ask(user, questions, limit=LIMIT)
        seat.retrieve_cpu += cpu
        for query, answer in zip(queries, answers, strict=True):
            unknown = [record for record in answer if record not in self._owner]
            if unknown:
                raise PeerError(f"it answered with a record nobody said: {unknown[0]!r}")
            seat.score.foreign += sum(self._owner[record] != user for record in answer)
            if query.evidence and seat.peer.finds:
                seat.score.found[query.category].append(measures(query, answer))

    def _finish(self, seat: _Seat) -> None:
        peak = seat.process.finish()
        messages, questions = self._counts
        score = seat.score
        score.versions = seat.process.versions
        score.start_up_s.append(seat.process.start_up_cpu)
        score.store_ms.append(seat.store_cpu / messages * 1000)
        score.retrieve_ms.append(seat.retrieve_cpu / questions * 1000)
        score.peak_mb.append(peak / 1e6)
        score.disk_mb.append(_bytes_on_disk(seat.folder) / 1e6)


def figures(score: Score) -> dict[str, object]:
    """Return what is kept of a peer; of one that failed, the error alone."""
    if score.error is not None:
        return {"error": _FOLDERS.sub("", score.error)}
    report: dict[str, object] = {
        "versions": score.versions,
        "cpu_ms_per_store": spread(score.store_ms),
        "cpu_ms_per_retrieve": spread(score.retrieve_ms),
        "cpu_s_start_up": spread(score.start_up_s),
        "peak_rss_mb": round(max(score.peak_mb), 1),
        "disk_mb": round(max(score.disk_mb), 2),
    }
    if score.found:
        table = {category: mean_of(rows) for category, rows in score.found.items()}
        macro = {
            name: round(statistics.fmean(row[name] for row in table.values()), 1)
            for name in COLUMNS
        }
        report |= {"foreign_records": score.foreign, "recall": {"macro": macro, **table}}
    return report


def _print(scores: dict[str, Score]) -> None:
    costs = ("store ms", "find ms", "start s", "RSS MB", "disk MB")
    print(f"{'':18}" + "".join(f"{name:>9}" for name in (*COLUMNS, *costs, "foreign")))
    for name, score in scores.items():
        if score.error is not None:
            print(f"{name:18}  FAILED: {score.error}")
            continue
        rows = [mean_of(each) for each in score.found.values()]
        cells = [f"{statistics.fmean(row[c] for row in rows):.1f}" if rows else "" for c in COLUMNS]
        timed = (score.store_ms, score.retrieve_ms, score.start_up_s)
        cells += [f"{statistics.median(values):.2f}" for values in timed]
        cells += [f"{max(score.peak_mb):.0f}", f"{max(score.disk_mb):.2f}"]
        cells.append(str(score.foreign) if rows else "")
        print(f"{name:18}" + "".join(f"{cell:>9}" for cell in cells))
    ranked = {name: score for name, score in scores.items() if not score.error and score.found}
    print("\nR@1 / R@10  " + "".join(f"{name:>18}" for name in ranked))
    for category in next(iter(ranked.values())).found if ranked else ():
        means = [mean_of(score.found[category]) for score in ranked.values()]
        cells = [f"{row['R@1']:.0f} / {row['R@10']:.0f}" for row in means]
        print(f"{category:16}" + "".join(f"{cell:>18}" for cell in cells))


def main(*, seed: int = HELD_OUT[0], users: int = 4, rounds: int = 1, name: str = "peers") -> None:
    """Let every peer keep and answer the same, in turn, and keep the figures."""
    load = [round(value, 2) for value in os.getloadavg()]
    corpus = generate(seed, users=users)
    comparison = Comparison(corpus, PEERS, start_in_environment)
    for number in range(rounds):
        comparison.round(number)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    _print(comparison.scores)
    keep(
        name,
        "percent of the evidence found, CPU per stored message and per question, start-up CPU, "
        "peak memory and disk, of memlane and of others with the same model over the same "
        "conversations; each in an environment of its own, by its own interface",
        {
            "seed": seed,
            "users": users,
            "rounds": rounds,
            "records": len(corpus.said),
            "questions": Counter(query.category for query in corpus.queries),
            "load_at_start": load,
            "systems": {each: figures(score) for each, score in comparison.scores.items()},
        },
    )


def full() -> None:
    """The same over all users of a held-out seed, three times."""
    main(users=21, rounds=3, name="peers_full")


if __name__ == "__main__":
    main()
