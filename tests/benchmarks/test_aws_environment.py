"""Each contender runs in an environment that its lock describes to the last version."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from benchmarks.aws.environment import (
    FLOOR,
    LOCKS,
    MEMLANE,
    PEERS,
    prepared,
    variables,
)
from benchmarks.peers.environment import PeerError, python_of


def _lines(environment: str) -> list[str]:
    return (LOCKS / f"{environment}.txt").read_text().splitlines()


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda lock: lock.stem)
def test_locks_name_exact_versions_and_nothing_else(lock: Path) -> None:
    lines = lock.read_text().splitlines()
    assert lines
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+]*", line) for line in lines)


@pytest.mark.parametrize("contender", [FLOOR, MEMLANE, *PEERS], ids=lambda each: each.name)
def test_what_is_reported_of_a_contender_is_in_its_lock(contender: object) -> None:
    assert isinstance(contender, type(FLOOR))
    locked = {line.partition("==")[0].lower() for line in _lines(contender.environment)}
    assert {each.lower() for each in contender.distributions} <= locked


def test_the_floor_and_memlane_run_with_the_same_libraries() -> None:
    assert FLOOR.environment == MEMLANE.environment


def test_no_two_peers_share_a_bucket() -> None:
    assert len({each.bucket for each in PEERS}) == len(PEERS)
    assert all(re.fullmatch(r"[a-z0-9-]{3,63}", each.bucket) for each in (MEMLANE, *PEERS))


def test_an_environment_is_made_once_and_again_when_its_lock_changes(tmp_path: Path) -> None:
    made: list[tuple[str, ...]] = []
    said: list[str] = []

    def run(*command: str) -> None:
        made.append(command)
        python = python_of(tmp_path / "aws-boto3")
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    for _ in range(2):
        found = prepared("boto3", cache=tmp_path, say=said.append, run=run)
        assert found == python_of(tmp_path / "aws-boto3")
    assert len(made) == 2
    assert "--no-deps" in made[1]
    assert said == ["making the environment boto3 (once)"]
    (tmp_path / "aws-boto3" / "made").write_text("another lock")
    prepared("boto3", cache=tmp_path, say=said.append, run=run)
    assert len(made) == 4


def test_an_environment_that_cannot_be_made_is_not_taken_for_made(tmp_path: Path) -> None:
    def fails(*_: str) -> None:
        raise PeerError("no environment: no space")

    for _ in range(2):
        with pytest.raises(PeerError, match="no space"):
            prepared("boto3", cache=tmp_path, say=lambda _: None, run=fails)


def test_a_contender_sees_the_server_and_nobodys_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("MEMLANE_ROLE_ARN", "mine")
    seen = variables({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, tmp_path)
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert "mine" not in seen.values()
    assert seen["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert seen["HOME"] == str(tmp_path)
