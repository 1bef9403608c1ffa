"""After kill -9 at any moment: all that was acknowledged is there, and nothing is half written.

Each run is decided by its seed, which is printed; MEMLANE_FAULT_SEEDS="7 1234" runs those alone.
When a process is killed is not: the seed decides how long it may go on, and the machine the rest.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest

from faults.children import Child, child
from faults.lives import STAGES, live, live_for, live_within
from faults.story import Story

_LIVES = 2  # on the same file, one after the other
_KINDS = ("store_many", "update", "forget")
# What the verb usually takes, in seconds, so that most processes are killed within it.
_LONGEST = {"store_many": 0.03, "update": 0.008, "forget": 0.018}
_ACKNOWLEDGED = {"store_many": 6, "update": 25, "forget": 15}  # at most, before it is killed


def _seeds(count: int, *, drawn: bool) -> list[int]:
    chosen = os.environ.get("MEMLANE_FAULT_SEEDS")
    if chosen:
        return [int(each) for each in chosen.split()]
    return (
        [random.SystemRandom().getrandbits(32) for _ in range(count)] if drawn else [*range(count)]
    )


def _kill_at_random(path: Path, kind: str, seed: int, tally: Counter[str]) -> None:
    pick = random.Random(f"{seed} {kind}")
    kinds = {"ada": kind, "bob": "mingle"}
    story = Story(path, *kinds)
    stage = path.with_name(f"{path.name}.stage")
    stage.write_bytes(b"\0")
    for number in range(_LIVES):
        with child(live, str(path), kinds, seed, number) as process:
            least = story.acknowledged + pick.randint(0, _ACKNOWLEDGED[kind])
            while story.acknowledged < least or kind not in story.flying:
                story.tell([process.hear()])
            # The experiment itself: a moment nobody has chosen.
            time.sleep(pick.uniform(0, _LONGEST[kind]))
            story.tell(process.kill())
            assert process.signal == signal.SIGKILL
        tally["kills"] += 1
        tally["in the middle of a call"] += bool(story.flying)
        tally[f"in {STAGES[stage.read_bytes()[0]]}"] += 1
        tally.update(f"during {verb}" for verb in story.flying)
        anyio.run(story.check)


def _kill_repeatedly(tmp_path: Path, kind: str, seeds: list[int]) -> None:
    tally: Counter[str] = Counter()
    for seed in seeds:
        print(f"{kind} seed {seed}")  # noqa: T201 - shown when the test fails
        folder = tmp_path / str(seed)
        folder.mkdir()
        _kill_at_random(folder / "memory.db", kind, seed, tally)
    print(tally)  # noqa: T201
    # Or nothing was tested.
    assert tally["in the middle of a call"] >= tally["kills"] / 2
    assert tally[f"during {kind}"] >= tally["kills"] / 3


@pytest.mark.parametrize("kind", _KINDS)
def test_killed(tmp_path: Path, kind: str) -> None:
    """Ten runs, each killed twice, lose nothing and tear nothing."""
    _kill_repeatedly(tmp_path, kind, _seeds(10, drawn=False))


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", _KINDS)
def test_killed_often(tmp_path: Path, kind: str) -> None:
    """Fifty runs of seeds that nobody has tried lose nothing and tear nothing."""
    _kill_repeatedly(tmp_path, kind, _seeds(50, drawn=True))


def _kill_one_by_one(path: Path, seed: int, rounds: int) -> None:
    """Let three processes write, and kill one after the other while the others go on."""
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    pick = random.Random(seed)
    path.with_name(f"{path.name}.stage").write_bytes(b"\0")
    users = [
        {"ada": "forget", "bob": "mingle"},
        {"cleo": "update"},
        {"dora": "store_many", "eve": "forget"},
    ]
    story = Story(path, *(name for kinds in users for name in kinds))
    with contextlib.ExitStack() as stack:

        def start(place: int, number: int) -> Child:
            return stack.enter_context(child(live, str(path), users[place], seed, number))

        living = [start(place, 0) for place in range(3)]
        for number in range(1, rounds + 1):
            for process in living:
                story.tell(process.hear() for _ in range(pick.randint(1, 20)))
            place = pick.randrange(3)
            story.tell(living[place].kill())
            living[place] = start(place, number)
        for process in living:
            story.tell(process.kill())
    anyio.run(story.check)


def test_killed_beside_others(tmp_path: Path) -> None:
    """A process that is killed takes nothing of what others write, and keeps none of them out."""
    for seed in _seeds(2, drawn=False):
        _kill_one_by_one(tmp_path / f"{seed}.db", seed, 6)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_killed_beside_others_often(tmp_path: Path) -> None:
    """The same with seeds that nobody has tried."""
    for seed in _seeds(5, drawn=True):
        _kill_one_by_one(tmp_path / f"{seed}.db", seed, 20)


def _kill_at_statement(path: Path, statements: int) -> int:
    """Kill where some statement begins; return how many there were if it was not reached."""
    path.with_name(f"{path.name}.stage").write_bytes(b"\0")
    story = Story(path, "ada")
    with child(live_for, str(path), statements) as process:
        *said, last = process.rest()
        if last[0] != "end":
            said.append(last)
        story.tell(said)
        assert process.signal == (0 if last[0] == "end" else signal.SIGKILL)
    anyio.run(story.check)
    return int(last[1]) if last[0] == "end" else 0


def _kill_at_statements(tmp_path: Path, step: int) -> None:
    every = _kill_at_statement(tmp_path / "whole.db", 10**6)
    assert every > 50
    for statement in range(1, every + 1, step):
        print(f"statement {statement}")  # noqa: T201 - shown when the test fails
        assert not _kill_at_statement(tmp_path / f"{statement}.db", statement)


def test_killed_at_statements(tmp_path: Path) -> None:
    """Killed where a statement begins, one of each few of all verbs': whole or absent."""
    _kill_at_statements(tmp_path, 7)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_killed_at_every_statement(tmp_path: Path) -> None:
    """Killed where a statement begins, each of all verbs': whole or absent."""
    _kill_at_statements(tmp_path, 1)


def _kill_at_byte(path: Path, position: int) -> bool:
    path.with_name(f"{path.name}.stage").write_bytes(b"\0")
    story = Story(path, "ada")
    with child(live_within, str(path), position) as process:
        said = process.rest()
        story.tell(words for words in said if words[0] != "end")
        ended = not process.signal
        assert ended or process.signal == signal.SIGXFSZ
    anyio.run(story.check)
    return ended


def _kill_at_bytes(tmp_path: Path, count: int) -> None:
    pick = random.Random(count)
    last = 2**16
    while not _kill_at_byte(tmp_path / f"to-{last}.db", last):
        last *= 2
    for number in range(count):
        position = int(last * ((number + pick.random()) / count) ** 2)
        print(f"byte {position}")  # noqa: T201 - shown when the test fails
        _kill_at_byte(tmp_path / f"{number}.db", position)


def test_killed_within_writes(quick_path: Path) -> None:
    """Killed with a write half done, at some bytes of the files: whole or absent."""
    _kill_at_bytes(quick_path, 15)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_killed_within_many_writes(quick_path: Path) -> None:
    """Killed with a write half done, at many bytes of the files: whole or absent."""
    _kill_at_bytes(quick_path, 150)
