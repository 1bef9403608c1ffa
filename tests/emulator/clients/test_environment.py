"""The environment of the clients is made once, whole, and by one process of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.clients.environment import REQUIREMENTS, prepared


def test_it_is_made_once(tmp_path: Path) -> None:
    ran: list[tuple[str, ...]] = []

    def run(*command: str) -> None:
        ran.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)

    python = prepared(tmp_path, run=run)
    assert prepared(tmp_path, run=run) == python
    assert len(ran) == 2
    assert set(REQUIREMENTS) < set(ran[1])
    assert [each.name for each in tmp_path.iterdir()] == [python.parents[1].name]


def test_another_process_may_be_faster(tmp_path: Path) -> None:
    def run(*command: str) -> None:
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
            theirs = Path(command[-1].rpartition(".")[0])
            theirs.mkdir()
            (theirs / "whole").touch()

    python = prepared(tmp_path, run=run)
    assert (python.parents[1] / "whole").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_half_of_it_is_not_taken(tmp_path: Path) -> None:
    def run(*command: str) -> None:
        if "venv" not in command:
            raise RuntimeError("no network")
        Path(command[-1]).mkdir(parents=True)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no network"):
            prepared(tmp_path, run=run)
