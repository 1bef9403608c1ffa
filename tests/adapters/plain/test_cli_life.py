"""The `memlane` command over a memory's whole life: versions, ends, tenants, another model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner, Result

from memlane import MemoryClient, Scope
from memlane.local import SqliteBackend
from memlane.testing import FakeClock, HashingEmbedder
from memlane_plain.cli import administering
from memlane_plain.cli.app import app


@pytest.fixture
def blockbuster() -> Iterator[BlockBuster | None]:
    """The command is alone on its loop and may wait for files there."""
    return iter([None])


class Shell:
    """The command, run on one file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def run(self, *args: str, stdin: str | None = None) -> Result:
        """Run it."""
        return CliRunner().invoke(app, [*args, "--url", f"sqlite:///{self.file}"], input=stdin)

    def json(self, *args: str) -> Any:
        """Return what it answers a script."""
        result = self.run(*args, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    def lines(self, *args: str) -> list[str]:
        """Return what it answers a person."""
        result = self.run(*args)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    def refused(self, *args: str, code: int = 2) -> str:
        """Return the one line that a mistake ends with."""
        result = self.run(*args)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.count("\n") == 1
        return result.stderr


ADA = ("--user", "ada", "--tenant", "acme")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A store with three memories of two users of a tenant."""
    made = Shell(tmp_path / "memory.db")
    made.run("store", "in Porto", "--id", "home", *ADA, "--valid-from", "2020-01-01")
    made.run("update", "home", "--text", "in Lisbon", "--source", "tool", *ADA)
    made.run("store", "Has a dog called Pickle", *ADA)
    made.run("store", "Likes tea", "--user", "bob", "--tenant", "acme")
    return made


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is at the terminal."""
    monkeypatch.setattr(administering, "_nobody_there", lambda _: False)


def _expire(file: Path) -> None:
    async def store() -> None:
        backend = SqliteBackend(file)
        async with MemoryClient(
            backend=backend, embedder=HashingEmbedder(), clock=FakeClock(), owned=[backend]
        ) as client:
            await client.store("gone", scope=Scope("eve", tenant="old"), ttl=timedelta(hours=1))
            await client.store("gone", scope=Scope("eve"), ttl=timedelta(hours=1))

    anyio.run(store)


def test_history_and_restore(shell: Shell) -> None:
    """Each version, newest first; the one restored is the next."""
    versions = shell.json("history", "home", *ADA)
    assert [(each["version"], each["text"]) for each in versions] == [
        (2, "in Lisbon"),
        (1, "in Porto"),
    ]
    assert versions[0]["source"] == "tool"
    assert versions[1]["valid_from"] == "2020-01-01T00:00:00+00:00"
    said = "version 3 of home says what version 1 said"
    assert shell.lines("restore", "home", "1", *ADA) == [said]
    assert shell.json("restore", "home", "2", *ADA)["version"] == 4
    lines = shell.lines("history", "home", *ADA)
    assert [line.split()[0] for line in lines[::2]] == ["4", "3", "2", "1"]
    assert [line.strip() for line in lines[1::2]] == ["in Lisbon", "in Porto"] * 2
    assert "no version 9" in shell.refused("restore", "home", "9", *ADA, code=1)
    assert "version" in shell.refused(
        "restore", "home", "1", "--expected-version", "1", *ADA, code=1
    )
    shell.refused("restore", "home", "0", *ADA)
    assert "no such record" in shell.refused("history", "home", "--user", "bob", code=1)


def test_times_something_is_true(shell: Shell) -> None:
    """Given when it is stored or changed, shown by get, refused when they cannot be."""
    shell.json("update", "home", "--valid-to", "2099-01-01T12:00:00+02:00", *ADA)
    shown = shell.run("get", "home", *ADA).stdout
    assert "2020-01-01 00:00 UTC" in shown
    assert "2099-01-01 10:00 UTC" in shown
    assert "--valid-to 'soon'" in shell.refused("store", "x", "--valid-to", "soon", *ADA)
    assert "not after" in shell.refused("update", "home", "--valid-to", "2019-01-01", *ADA)


def test_near_duplicates(shell: Shell) -> None:
    """Reported, or collapsed into the one that is there."""
    dog = shell.json("list", *ADA)["items"][1]["id"]
    result = shell.run("store", "Has a dog called Pickle.", "--duplicates", "report", *ADA)
    assert dog in result.stderr
    assert result.stdout.startswith("stored ")
    collapsed = shell.run("store", "has a dog called Pickle", "--duplicates", "collapse", *ADA)
    assert collapsed.stdout.startswith("was there as ")
    assert shell.json("count", *ADA) == {"count": 3}
    assert "merge" in shell.refused("store", "x", "--duplicates", "merge", *ADA)


def test_users_and_stats(shell: Shell) -> None:
    """A line each, for people and for scripts; and what a tenant has."""
    assert shell.lines("users", "acme") == ["ada", "bob"]
    assert shell.run("users", "acme", "--json").stdout == '"ada"\n"bob"\n'
    counted = shell.json("stats", "acme")
    assert (counted["users"], counted["records"], counted["versions"]) == (2, 3, 1)
    assert counted["dollars_month"] is None
    assert [*counted["spaces"].values()] == [3]
    assert any(line.split() == ["memories", "3"] for line in shell.lines("stats", "acme"))
    assert shell.lines("users") == []


def test_sweeping_any_store(tmp_path: Path) -> None:
    """Of a tenant, and of those who have none."""
    shell = Shell(tmp_path / "memory.db")
    _expire(shell.file)
    assert shell.json("sweep", "old") == {"tenant": "old", "deleted": 1}
    assert shell.lines("sweep", "old") == ["0 expired memories deleted"]
    assert shell.json("sweep") == {"tenant": None, "deleted": 1}


def test_forgetting_a_tenant_asks_for_its_name(shell: Shell, typed: None) -> None:
    """Typed again, letter by letter; anything else forgets nothing."""
    del typed
    wrong = shell.run("forget-tenant", "acme", stdin="Acme\n")
    assert wrong.exit_code == 1
    assert "nothing was forgotten" in wrong.stderr
    assert shell.json("stats", "acme")["records"] == 3
    right = shell.run("forget-tenant", "acme", stdin="acme\n")
    assert right.exit_code == 0
    assert "verified empty" in right.stdout
    assert shell.json("stats", "acme")["users"] == 0


def test_forgetting_a_tenant_unasked(shell: Shell) -> None:
    """With nobody to ask it needs `--yes`; the receipt is for scripts."""
    assert "--yes" in shell.refused("forget-tenant", "acme")
    assert shell.json("forget-tenant", "acme", "--yes") == {
        "tenant": "acme",
        "found": 3,
        "deleted": 3,
        "failed": [],
        "verified_empty": True,
        "residue": "none",
    }


class Other(HashingEmbedder):
    """Another model, that closes as those of the command do."""

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Other:
    """What `--model other` means."""
    from contextlib import asynccontextmanager  # noqa: PLC0415 - for one fixture

    made = Other(32)

    @asynccontextmanager
    async def lend(settings: Any) -> Any:
        assert settings.aws.embedding_model == "other"
        yield made

    monkeypatch.setattr(administering, "embedder_with", lend)
    return made


def test_another_model(shell: Shell, other: Other, typed: None) -> None:
    """The plan with its cost comes first; who is asked may say no."""
    del typed
    model = ("--model", "other")
    plan = shell.run("reembed", "acme", "--plan", *model)
    assert "3 to be embedded" in plan.stdout
    assert "not known for this model" in plan.stdout
    assert other.calls == 0
    declined = shell.run("reembed", "acme", *model, stdin="n\n")
    assert (declined.exit_code, other.calls) == (1, 0)
    assert "characters" in declined.stdout
    done = shell.run("reembed", "acme", *model, stdin="y\n")
    assert done.exit_code == 0
    assert f"3 memories are in {other.space.id} now" in done.stdout
    assert "MEMLANE_EMBEDDING_MODEL" in done.stderr
    assert [*shell.json("stats", "acme")["spaces"]] == [other.space.id]
    assert "re" in shell.refused("retrieve", "tea", *ADA, code=1)


def test_another_model_for_scripts(shell: Shell, other: Other) -> None:
    """Without somebody to ask it needs `--yes`; plan and receipt come as one object."""
    model = ("--model", "other")
    assert "--yes" in shell.refused("reembed", "acme", *model)
    assert shell.json("reembed", "acme", "--plan", *model)["records"] == 3
    done = shell.json("reembed", "acme", "--yes", *model)
    assert (done["embedded"], done["records"], done["plan"]["records"]) == (3, 3, 3)
    assert done["space"] == other.space.id
    assert shell.json("reembed", "acme", "--abandon", *model) == {"abandoned": False}
    assert shell.json("reembed", "acme", "--yes", *model)["embedded"] == 0


@pytest.mark.parametrize("name", ["users", "stats", "sweep", "forget-tenant", "reembed"])
def test_no_store_is_made(tmp_path: Path, name: str) -> None:
    """A mistyped path is told; an empty answer, or a receipt, would be worse."""
    shell = Shell(tmp_path / "none.db")
    assert "there is no store" in shell.refused(name, "acme", code=1)
    assert not shell.file.exists()


def test_nobody_is_there_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is nobody, and neither is a script that reads JSON."""
    from memlane_plain.cli.output import Output  # noqa: PLC0415 - for one test

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert not administering._nobody_there(Output())
    assert administering._nobody_there(Output(as_json=True))
