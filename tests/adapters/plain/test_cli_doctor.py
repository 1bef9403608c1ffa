"""`memlane info` and `memlane doctor`: what they tell of sound stores and of broken ones."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner, Result

from memlane.local import MiniLMEmbedder
from memlane_plain.cli.app import app


@pytest.fixture
def blockbuster() -> Iterator[BlockBuster | None]:
    """The command is alone on its loop and may wait for files there."""
    return iter([None])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with a memory in it."""
    path = tmp_path / "memory.db"
    run("store", "x", "--user", "ada", "--url", f"sqlite:///{path}")
    return path


def run(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_info(file: Path) -> None:
    """`info` tells of the store, the model and the versions, and counts for a user."""
    args = ("info", "--user", "ada", "--url", f"sqlite:///{file}")
    told = json.loads(run(*args, "--json").stdout)
    parts = {"url", "file", "aws", "backend", "tenancy", "space", "similarity", "count", "versions"}
    assert set(told) == parts
    assert told["count"] == 1
    assert told["file"]["bytes"] >= file.stat().st_size
    assert told["space"]["dimensions"] == 384
    assert "exact search" in run(*args).stdout
    nobody = run("info", "--json", "--url", "memory://")
    assert json.loads(nobody.stdout)["count"] is None


def test_info_tells_what_a_similarity_means() -> None:
    """The medians are those of the built-in model, at once as published or measured on demand."""
    args = ("info", "--url", "memory://")
    published = json.loads(run(*args, "--json").stdout)["similarity"]
    assert published == {
        "unrelated": 0.056,
        "paraphrase": 0.634,
        "measured": False,
        "relevant": {"relevance": 0.5, "similarity": 0.345},
    }
    measured = json.loads(run(*args, "--measure", "--json").stdout)["similarity"]
    assert measured["measured"] is True
    # int8 kernels differ a little between processors.
    assert measured["unrelated"] == pytest.approx(0.056, abs=0.02)
    assert measured["paraphrase"] == pytest.approx(0.634, abs=0.02)
    told = run(*args).stdout
    assert "unrelated texts: 0.06, paraphrases: 0.63" in told
    assert "measured here" in run(*args, "--measure").stdout


def test_info_loads_no_model_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published is told at once, even where the model could not be loaded."""

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(MiniLMEmbedder, "embed", refuse)
    assert "paraphrases: 0.63" in run("info", "--url", "memory://").stdout


def test_info_makes_no_store(tmp_path: Path) -> None:
    """Looking at a store that is not there leaves it so."""
    file = tmp_path / "memory.db"
    args = ("info", "--user", "ada", "--url", f"sqlite:///{file}")
    assert json.loads(run(*args, "--json").stdout)["count"] == 0
    assert "not made yet" in run(*args).stdout
    assert not file.exists()


def doctor(url: str, *flags: str) -> dict[str, dict[str, Any]]:
    result = run("doctor", "--url", url, "--json", *flags)
    told = json.loads(result.stdout)
    assert result.exit_code == (0 if told["ok"] else 1)
    return {check["name"]: check for check in told["checks"]}


def test_doctor(file: Path) -> None:
    """A sound store passes every check, the model's golden sentence among them."""
    checks = doctor(f"sqlite:///{file}")
    assert all(check["ok"] for check in checks.values()), checks
    assert {"python", "sqlite", "extra local", "model", "folder", "free disk"} <= set(checks)
    assert {"store", "writable", "permissions"} <= set(checks)
    assert run("doctor", "--url", f"sqlite:///{file}").stdout.endswith("all is well\n")


def test_doctor_of_what_is_not_there(tmp_path: Path) -> None:
    """A store yet to be made is fine, and is not made by looking."""
    file = tmp_path / "deep" / "er" / "memory.db"
    assert all(check["ok"] for check in doctor(f"sqlite:///{file}").values())
    assert not file.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_doctor_of_open_permissions(file: Path) -> None:
    """A file that other accounts can read fails, with the command that closes it."""
    file.chmod(0o644)
    check = doctor(f"sqlite:///{file}")["permissions"]
    assert (check["ok"], check["remedy"]) == (False, f"chmod 600 {file}")
    shown = run("doctor", "--url", f"sqlite:///{file}").stdout
    assert "✗ permissions: 0644" in shown
    assert "1 of 9 checks failed" in shown


def test_doctor_of_damage(file: Path) -> None:
    """A damaged file, a locked one and a bad url each fail their check with a remedy."""
    assert not doctor("postgres://x")["store"]["ok"]
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("begin immediate")
        locked = doctor(f"sqlite:///{file}")["writable"]
        other.execute("rollback")
    other.close()
    assert not locked["ok"]
    assert locked["remedy"]
    file.write_bytes(b"no database" * 1_000)
    assert not doctor(f"sqlite:///{file}")["store"]["ok"]


def test_doctor_of_records_that_do_not_agree(file: Path) -> None:
    """Deep, every record is read: one without the rows that find it is named, not quoted."""
    assert doctor(f"sqlite:///{file}", "--deep")["records"]["ok"]
    with sqlite3.connect(file) as other:
        other.execute("delete from hot")
        (record,) = other.execute("select id from record").fetchone()
    other.close()
    assert "records" not in doctor(f"sqlite:///{file}")
    check = doctor(f"sqlite:///{file}", "--deep")["records"]
    assert not check["ok"]
    assert record in check["found"]
    assert check["remedy"]
