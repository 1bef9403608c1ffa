from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, cast

import pytest
from benchmarks.corpus import Corpus, Query, Said
from benchmarks.peers.compare import Comparison, Score, Start, figures, turns
from benchmarks.peers.environment import (
    CONSTRAINTS,
    PEERS,
    Peer,
    PeerError,
    prepared,
    python_of,
    variables,
)
from benchmarks.peers.process import PeerProcess
from benchmarks.peers.protocol import WARM_UP, Message

_WORDS = """
import os

class Words:
    def __init__(self):
        self.kept = {{}}

    async def ingest(self, user, messages):
        print("talking on stdout does no harm")
        self.kept.setdefault(user, []).extend(messages)

    async def ask(self, user, question, limit):
        asked = set(question.lower().split())
        if user != "warm-up":
            {instead}
        best = sorted(self.kept[user], key=lambda m: -len(asked & set(m.text.lower().split())))
        return [message.id for message in best[:limit]]

    async def close(self):
        pass

async def open_store(folder):
    (folder / "kept").write_text("x" * 5000)
    return Words()
"""

_ADA = Message(id="a-1", session="s", actor="Ada", text="my shoes are red", at="2025-01-01")
_ADAS_CAT = Message(id="a-2", session="s", actor="Ada", text="my cat is old", at="2025-01-02")


def _words(folder: Path, instead: str = "pass", *, patience: float = 120.0) -> PeerProcess:
    """Start the protocol's program with a dictionary for a peer, asked by words they share."""
    name = f"words_{abs(hash(instead))}"
    (folder / f"{name}.py").write_text(_WORDS.format(instead=instead))
    store = folder / f"{name} store"
    store.mkdir()
    return PeerProcess(
        [sys.executable, "-m", "benchmarks.peers.protocol", name, str(store), "numpy"],
        variables=variables(folder, folder),
        patience=patience,
    )


def _saying(line: str) -> PeerProcess:
    return PeerProcess([sys.executable, "-c", f"print({line!r}, flush=True); input()"])


def test_a_peer_keeps_answers_and_ends(tmp_path: Path) -> None:
    with _words(tmp_path) as peer:
        peer.wait_until_ready()
        assert peer.start_up_cpu > 0
        assert re.match(r"\d+\.", peer.versions["numpy"])
        assert peer.ingest("ada", [_ADA, _ADAS_CAT]) >= 0
        answers, cpu = peer.ask("ada", ["how old is the cat", "red shoes"], limit=1)
        assert answers == [["a-2"], ["a-1"]]
        assert cpu >= 0
        assert peer.finish() > 1_000_000


def test_a_peer_that_dies_midway_says_how(tmp_path: Path) -> None:
    with _words(tmp_path, "os.write(2, b'out of ideas'); os._exit(3)") as peer:
        peer.wait_until_ready()
        peer.ingest("ada", [_ADA])
        with pytest.raises(PeerError, match=r"it ended with 3: (?s:.*)out of ideas"):
            peer.ask("ada", ["?"], limit=1)
        with pytest.raises(PeerError, match="it ended with 3"):
            peer.finish()


def test_what_a_peer_raises_is_its_answer(tmp_path: Path) -> None:
    with _words(tmp_path, "raise ValueError('no such thing')") as peer:
        peer.wait_until_ready()
        peer.ingest("ada", [_ADA])
        with pytest.raises(PeerError, match=r"^ValueError: no such thing$"):
            peer.ask("ada", ["?"], limit=1)


def test_a_peer_has_no_network(tmp_path: Path) -> None:
    dial = "import socket; socket.create_connection(('localhost', 9))"
    with _words(tmp_path, dial) as peer:
        peer.wait_until_ready()
        peer.ingest("ada", [_ADA])
        with pytest.raises(PeerError, match="without a network"):
            peer.ask("ada", ["?"], limit=1)


def test_a_peer_that_cannot_be_imported_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.peers.protocol", "no_such_adapter", str(tmp_path)]
    with (
        PeerProcess(command, variables=variables(tmp_path)) as peer,
        pytest.raises(PeerError, match="ModuleNotFoundError: No module named 'no_such_adapter'"),
    ):
        peer.wait_until_ready()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Welcome!", "not JSON: 'Welcome!"),
        ("[1]", "no object"),
        ('{"ready": true, "versions": {}}', "has no cpu"),
    ],
)
def test_nonsense_is_refused(line: str, complaint: str) -> None:
    with _saying(line) as peer, pytest.raises(PeerError, match=complaint):
        peer.wait_until_ready()


@pytest.mark.parametrize(
    "answers",
    [None, "a-1", ["a-1"], [[1]], [["a-1"], ["a-1"]]],
    ids=json.dumps,
)
def test_answers_that_are_no_ids_are_refused(answers: object) -> None:
    with (
        _saying(json.dumps({"answers": answers, "cpu": 0.1})) as peer,
        pytest.raises(PeerError, match="1 questions were answered with"),
    ):
        peer.ask("ada", ["?"], limit=1)


def test_a_peer_that_does_not_answer_is_not_waited_for() -> None:
    silent = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        PeerProcess(silent, patience=0.2) as peer,
        pytest.raises(PeerError, match=r"no answer within 0\.2 s"),
    ):
        peer.wait_until_ready()


def _said(user: str, number: int, text: str) -> Said:
    return Said(
        id=f"{user}-{number}",
        user=user,
        session="s",
        actor=user,
        text=text,
        at=datetime(2025, 1, number, tzinfo=UTC),
    )


_CORPUS = Corpus(
    said=(
        _said("ada", 1, "my shoes are red"),
        _said("bob", 1, "my shoes are blue"),
        _said("ada", 2, "the cat is old"),
    ),
    queries=(
        Query(user="ada", category="single", text="red shoes", evidence=("ada-1",)),
        Query(user="bob", category="single", text="blue shoes", evidence=("bob-1",)),
        Query(user="ada", category="no answer", text="which car", evidence=()),
    ),
)


def _peer(name: str, *, finds: bool = True) -> Peer:
    return Peer(name=name, adapter=name, environment=name, requirements=(), finds=finds)


class _Noted:
    """Stands for a started peer and notes what it is told."""

    def __init__(self, name: str, notes: list[str], answer: Sequence[str]) -> None:
        self._name, self._notes, self._answer = name, notes, list(answer)
        self.versions = {"it": "1"}
        self.start_up_cpu = 0.5

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._notes.append(f"{self._name} gone")

    def wait_until_ready(self) -> None:
        self._notes.append(f"{self._name} up")

    def ingest(self, user: str, messages: Sequence[Message]) -> float:
        self._notes.append(f"{self._name} keeps {len(messages)} of {user}")
        return 0.003

    def ask(self, user: str, questions: Sequence[str], *, limit: int) -> object:
        self._notes.append(f"{self._name} answers {user}")
        if self._answer == ["dies"]:
            raise PeerError("it died")
        return [self._answer[:limit] for _ in questions], 0.006

    def finish(self) -> int:
        self._notes.append(f"{self._name} ends")
        return 2_000_000


def _noting(notes: list[str], answers: dict[str, Sequence[str]]) -> Start:
    def start(peer: Peer, folder: Path) -> PeerProcess:
        assert folder.is_dir()
        return cast("PeerProcess", _Noted(peer.name, notes, answers.get(peer.name, ())))

    return start


def test_peers_take_turns_at_every_user_and_the_first_changes() -> None:
    peers = [_peer("x"), _peer("y")]
    assert [[peer.name for peer in turns(peers, each)] for each in range(3)] == [
        ["x", "y"],
        ["y", "x"],
        ["x", "y"],
    ]
    notes: list[str] = []
    comparison = Comparison(_CORPUS, peers, _noting(notes, {}))
    comparison.round(1)
    assert notes == [
        "y up", "x up",
        "y keeps 2 of ada", "x keeps 2 of ada", "y keeps 1 of bob", "x keeps 1 of bob",
        "y answers ada", "x answers ada", "y answers bob", "x answers bob",
        "y ends", "x ends", "x gone", "y gone",
    ]  # fmt: skip


def test_cpu_is_per_message_and_per_question() -> None:
    comparison = Comparison(_CORPUS, [_peer("x")], _noting([], {"x": ["ada-1"]}))
    comparison.round(0)
    comparison.round(1)
    kept = figures(comparison.scores["x"])
    assert kept["cpu_ms_per_store"] == {"min": 2.0, "median": 2.0, "max": 2.0}
    assert kept["cpu_ms_per_retrieve"] == {"min": 4.0, "median": 4.0, "max": 4.0}
    assert kept["peak_rss_mb"] == 2.0
    assert kept["versions"] == {"it": "1"}


def test_a_record_of_another_user_is_counted_and_finds_nothing() -> None:
    comparison = Comparison(_CORPUS, [_peer("x")], _noting([], {"x": ["ada-1", WARM_UP]}))
    comparison.round(0)
    kept = figures(comparison.scores["x"])
    assert kept["foreign_records"] == 4  # the warm-up's three times, Ada's once
    recall = cast("dict[str, dict[str, float]]", kept["recall"])
    assert set(recall) == {"macro", "single"}
    assert recall["single"]["R@1"] == 50.0


def test_a_record_nobody_said_fails_the_peer() -> None:
    comparison = Comparison(_CORPUS, [_peer("x")], _noting([], {"x": ["made-up"]}))
    comparison.round(0)
    assert figures(comparison.scores["x"]) == {
        "error": "it answered with a record nobody said: 'made-up'"
    }


def test_a_peer_that_fails_is_reported_and_the_others_go_on() -> None:
    notes: list[str] = []
    comparison = Comparison(
        _CORPUS, [_peer("x"), _peer("y")], _noting(notes, {"x": ["dies"], "y": ["bob-1"]})
    )
    comparison.round(0)
    comparison.round(1)
    assert figures(comparison.scores["x"]) == {"error": "it died"}
    assert notes.count("x up") == notes.count("x gone") == notes.count("x answers ada") == 1
    assert len(comparison.scores["y"].store_ms) == 2


def test_a_row_of_costs_has_no_percents() -> None:
    comparison = Comparison(_CORPUS, [_peer("x", finds=False)], _noting([], {}))
    comparison.round(0)
    kept = figures(comparison.scores["x"])
    assert "cpu_ms_per_store" in kept
    assert "recall" not in kept


def test_a_real_round_with_a_program(tmp_path: Path) -> None:
    def start(peer: Peer, folder: Path) -> PeerProcess:
        assert folder.name == peer.name
        return _words(tmp_path)

    comparison = Comparison(_CORPUS, [_peer("words")], start)
    comparison.round(0)
    kept = figures(comparison.scores["words"])
    recall = cast("dict[str, dict[str, float]]", kept["recall"])
    assert recall["macro"]["R@1"] == 100.0
    assert kept["foreign_records"] == 0


def test_errors_that_are_kept_name_no_folder_of_this_machine() -> None:
    folder = "/" + "home/somebody/.cache"
    error = f"it ended with 1: File {folder}/x.py, and/or 1/2"
    assert figures(Score(error=error)) == {"error": "it ended with 1: File x.py, and/or 1/2"}


def test_every_requirement_is_pinned_exactly() -> None:
    exact = re.compile(r"([A-Za-z0-9._-]+)==[0-9][A-Za-z0-9.]*")
    everything = [line for line in CONSTRAINTS.read_text().splitlines() if line[:1] != "#"]
    for line in (*everything, *(each for peer in PEERS for each in peer.requirements)):
        assert exact.fullmatch(line), line
    for peer in PEERS:
        assert set(peer.requirements) <= set(everything), peer.name
        assert peer.distributions == tuple(each.split("==")[0] for each in peer.requirements)
    names = [line.split("==")[0].lower() for line in everything]
    assert len(set(names)) == len(names)


def test_peers_of_one_environment_require_the_same() -> None:
    required: dict[str, tuple[str, ...]] = {}
    for peer in PEERS:
        assert required.setdefault(peer.environment, peer.requirements) == peer.requirements
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_an_environment_is_made_once_and_again_when_pins_change(tmp_path: Path) -> None:
    commands: list[tuple[str, ...]] = []
    said: list[str] = []

    def run(*command: str) -> None:
        commands.append(command)
        python = python_of(tmp_path / "env")
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    def make(*requirements: str) -> Path:
        peer = Peer(name="x", adapter="x", environment="env", requirements=requirements)
        return prepared(peer, cache=tmp_path, say=said.append, run=run)

    assert make("it==1") == python_of(tmp_path / "env")
    assert [command[2] for command in commands] == ["venv", "pip"]
    assert commands[1][-1] == "it==1"
    assert commands[1][0] == str(python_of(tmp_path / "env"))
    make("it==1")
    assert len(commands) == 2
    make("it==2")
    assert len(commands) == 4
    assert said == [f"making the environment of x (once): it=={each}" for each in (1, 2)]


def test_an_environment_that_cannot_be_made_fails_the_peer(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("a file where the folder should be")
    peer = Peer(name="x", adapter="x", environment="env", requirements=())
    with pytest.raises(PeerError, match="no environment: "):
        prepared(peer, cache=tmp_path, say=lambda _: None)


def test_a_peers_program_is_quiet_and_sees_our_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMLANE_URL", "sqlite:///mine.db")
    monkeypatch.setenv("PYTHONSTARTUP", "mine.py")
    given = variables(tmp_path)
    assert given["MEM0_TELEMETRY"] == "False"
    assert given["MEM0_DIR"] == str(tmp_path)
    assert "MEMLANE_URL" not in given
    assert "PYTHONSTARTUP" not in given
    assert given["PYTHONPATH"]
