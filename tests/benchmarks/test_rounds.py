from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.__main__ import BENCHMARKS, main, options
from benchmarks.rounds import Clocks, Contender, Played, Progress, keep, percentile, play, spread


class Machine:
    """Clocks that stand still unless a contender works, and a load that grows by one a look."""

    def __init__(self) -> None:
        self.now = self.cpu = self.children = 0.0
        looks = itertools.count()
        self.clocks = Clocks(
            wall=lambda: self.now,
            cpu=lambda: self.cpu,
            children=lambda: self.children,
            load=lambda: float(next(looks)),
        )

    def work(self, seconds: float, *, children: float = 0.0) -> None:
        self.now += seconds
        self.cpu += seconds / 2
        self.children += children


def _noted(turns: list[str], name: str) -> Contender:
    def turn() -> float:
        turns.append(name)
        return 1.0

    return turn


async def test_each_round_begins_with_another_contender() -> None:
    turns: list[str] = []
    await play({name: _noted(turns, name) for name in "abc"}, rounds=4)
    assert "".join(turns) == "abcbcacababc"


async def test_a_warm_up_runs_but_does_not_count() -> None:
    turns: list[str] = []
    played = await play({name: _noted(turns, name) for name in "ab"}, rounds=2, warm_up=True)
    assert "".join(turns) == "ababba"
    assert played.figures["a"]["value"] == [1.0, 1.0]
    assert len(played.load) == 2


async def test_numbers_tables_and_coroutines_are_kept_by_round() -> None:
    numbers: Iterator[int] = itertools.count()

    async def several() -> dict[str, float]:
        return {"p50": next(numbers), "p95": 10 + next(numbers)}

    played = await play({"one": lambda: 7, "several": several}, rounds=2)
    assert played.figures["one"]["value"] == [7, 7]
    assert played.figures["several"]["p50"] == [0, 2]
    assert played.figures["several"]["p95"] == [11, 13]
    assert played.median("several", "p95") == 12


@pytest.mark.parametrize(("children", "cpu"), [(False, 2.0), (True, 5.0)])
async def test_cpu_beside_wall_and_children_where_asked(children: bool, cpu: float) -> None:
    machine = Machine()

    def turn() -> float:
        machine.work(4.0, children=3.0)
        return 0.0

    played = await play({"it": turn}, rounds=2, children=children, clocks=machine.clocks)
    assert played.figures["it"]["cpu_s"] == [cpu, cpu]
    assert played.figures["it"]["wall_s"] == [4.0, 4.0]
    assert played.load == [0.0, 1.0]


def test_ratios_are_made_inside_each_round() -> None:
    # The machine slows down threefold in the last round; the medians alone would say 2 / 3.
    played = Played({"slow": {"ms": [2, 2, 6]}, "fast": {"ms": [1, 4, 3]}}, [0, 0, 0])
    assert played.ratio("slow", "fast", "ms") == {"min": 0.5, "median": 2.0, "max": 2.0}


def test_spread_and_percentiles() -> None:
    assert spread([3.0, 1.0, 2.00004]) == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert percentile(range(101), 95) == pytest.approx(95)
    assert percentile([1.0, 2.0], 99) <= 2.0


async def test_what_is_kept_is_json_with_the_machine_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.rounds.RESULTS", tmp_path / "results")
    machine = Machine()

    def turn() -> float:
        machine.work(2.0)
        return 5.0

    played = await play({"it": turn}, rounds=3, clocks=machine.clocks)
    kept = json.loads(keep("some", "how much?", played.report()).read_text())
    assert kept.keys() == {"question", "command", "date", "python", "cores", "load", "figures"}
    assert kept["command"] == "python -m benchmarks some"
    assert kept["figures"] == {
        "rounds": 3,
        "load_at_each_round": [0.0, 1.0, 2.0],
        "it": {
            "value": {"min": 5.0, "median": 5.0, "max": 5.0},
            "cpu_s": {"min": 1.0, "median": 1.0, "max": 1.0},
            "wall_s": {"min": 2.0, "median": 2.0, "max": 2.0},
        },
    }


def test_progress_is_silent_for_two_seconds_and_leaves_an_empty_line() -> None:
    machine, out = Machine(), io.StringIO()
    with Progress("rows", 2_000, wall=machine.clocks.wall, out=out) as progress:
        progress.at(1)
        machine.work(1.9)
        progress.at(2)
        assert not out.getvalue()
        machine.work(0.2)
        progress.at(1_000)
        progress.at(1_001)
    told, blank, end = out.getvalue().split("\r")[1:]
    assert told == "  rows: 1,000 of 2,000"
    assert not blank.strip()
    assert end == ""


def test_options_become_keyword_arguments() -> None:
    def asks(*, seeds: tuple[int, ...] = (1, 2), users: int | None = None, name: str = "x") -> None:
        del seeds, users, name

    assert options(asks, ["--seeds", "911,912", "--users", "10"]) == (
        {"seeds": (911, 912), "users": 10},
        [],
    )
    assert options(asks, ["--seeds=911", "--name", "other"]) == (
        {"seeds": (911,), "name": "other"},
        [],
    )
    assert options(asks, ["--user", "10"]) == ({}, ["--user", "10"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "no such benchmark: nothing"),
        (["engine", "ingest", "--rounds", "3"], "name exactly one"),
        (["engine", "--planets", "3"], "engine does not know --planets 3"),
    ],
)
def test_what_cannot_be_asked_is_said(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert says in capsys.readouterr().err


def test_the_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [name, "long" if benchmark.long else "short"] for name, benchmark in BENCHMARKS.items()
    ]
