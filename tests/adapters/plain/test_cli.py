"""The `memlane` command: each verb, its JSON, and how mistakes end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner, Result

from memlane_plain.cli.app import app

RECORD = {
    "id", "text", "tenant", "user", "agent", "session", "namespace", "kind", "actor", "source",
    "tags", "metadata", "occurred_at", "stored_at", "updated_at", "expires_at", "version", "space",
    "valid_from", "valid_to", "images",
}  # fmt: skip
COMMANDS = [
    "demo", "doctor", "info", "store", "import", "update", "restore", "retrieve", "context", "get",
    "list", "count", "export", "history", "delete", "forget", "users", "stats", "sweep",
    "forget-tenant", "reembed",
]  # fmt: skip


@pytest.fixture
def blockbuster() -> Iterator[BlockBuster | None]:
    """The command is alone on its loop and may wait for files there."""
    return iter([None])


class Ada:
    """The command, run for one user on one file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = f"sqlite:///{file}"

    def run(self, *args: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [*args, "--user", "ada", "--url", self.url], input=stdin)

    def json(self, *args: str, stdin: str | None = None) -> Any:
        result = self.run(*args, "--json", stdin=stdin)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return json.loads(result.stdout)

    def refused(self, *args: str, code: int = 2, stdin: str | None = None) -> str:
        """Return the one line that a mistake ends with; as JSON it says the same."""
        result = self.run(*args, stdin=stdin)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        as_json = self.run(*args, "--json", stdin=stdin)
        assert (as_json.exit_code, as_json.stdout) == (code, "")
        error = json.loads(as_json.stderr)["error"]
        assert set(error) == {"type", "message", "remedy"}
        assert error["message"] in result.stderr
        return result.stderr


@pytest.fixture
def ada(tmp_path: Path) -> Ada:
    """A user with a store of their own."""
    return Ada(tmp_path / "memory.db")


@pytest.fixture
def full(ada: Ada) -> Ada:
    """The user with three memories."""
    ada.run("store", "Prefers window seats on planes", "--id", "seat", "--meta", "city=Oslo")
    ada.run("store", "Has a dog called Pickle", "--id", "dog", "--namespace", "/home/")
    ada.run("store", "Allergic to penicillin", "--id", "health", "--actor", "Ada")
    return ada


def run(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_help_names_every_command() -> None:
    """`--help` shows each command with an example, in 80 columns."""
    result = run("--help")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for name in COMMANDS:
        assert any(f" {name} " in line for line in lines)
        assert any(f"memlane {name}" in line for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str) -> None:
    """Each command's help ends with its example and has no colour off a terminal."""
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Example: memlane {name}" in result.stdout
    assert "\x1b" not in result.stdout


def test_version_and_nothing() -> None:
    """`--version` is one line; no command at all is a usage error that shows the help."""
    assert run("--version").stdout.startswith("memlane ")
    nothing = run()
    assert nothing.exit_code == 2
    assert "Usage: memlane COMMAND" in nothing.stdout


def test_store_and_get(ada: Ada) -> None:
    """Everything `store` is told comes back from `get`."""
    stored = ada.json(
        *("store", "Met Zoë", "--id", "m1", "--namespace", "/trips/", "--kind", "note"),
        *("--tag", "b", "--tag", "a", "--meta", "n=1", "--meta", 'l=["x"]', "--meta", "s=plain"),
        *("--actor", "Ada", "--occurred-at", "2026-03-14T10:00:00+02:00", "--ttl", "30d"),
        *("--tenant", "acme", "--agent", "iris", "--session", "s1"),
    )
    assert set(stored) == RECORD
    assert stored["metadata"] == {"n": 1, "l": ["x"], "s": "plain"}
    assert stored["occurred_at"] == "2026-03-14T08:00:00+00:00"
    assert stored["expires_at"] is not None
    lane = ("--tenant", "acme", "--agent", "iris")
    assert ada.json("get", "m1", *lane) == stored
    assert ada.json("get", "m1", "--tenant", "acme", "--all-agents") == stored
    shown = ada.run("get", "m1", *lane).stdout
    assert "Met Zoë" in shown
    assert "2026-03-14 08:00 UTC" in shown


def test_store_from_standard_input(ada: Ada) -> None:
    """A dash reads the text, without its last line end."""
    assert ada.json("store", "-", stdin="two\nlines\n")["text"] == "two\nlines"


def test_retrieve(full: Ada) -> None:
    """The best answer comes first, as a table and as JSON, in each mode."""
    found = full.json("retrieve", "where does she sit on a plane?")["matches"]
    assert found[0]["record"]["id"] == "seat"
    assert {"score", "similarity", "relevance", "passage", "features"} < set(found[0])
    assert set(found[0]["record"]) == RECORD
    assert full.json("retrieve", "penicillin", "--mode", "text")["matches"][0]["similarity"] is None
    table = full.run("retrieve", "where does she sit?", "--why").stdout
    assert table.splitlines()[0].split() == ["score", "similar", "when", "who", "text"]
    assert "Prefers window seats" in table
    assert "similarity █" in table
    assert max(map(len, table.splitlines())) <= 80


def test_retrieve_narrowed(full: Ada) -> None:
    """Limit, namespace, filter and similarity each leave something out."""

    def ids(*args: str) -> list[str]:
        matches = full.json("retrieve", "a dog", *args)["matches"]
        return [match["record"]["id"] for match in matches]

    assert ids("--limit", "1") == ["dog"]
    assert ids("--namespace", "/home/") == ["dog"]
    assert ids("--filter", '{"city": "Oslo"}') == ["seat"]
    assert ids("--min-similarity", "0.4") == ["dog"]
    assert len(ids("--min-relevance", "0.5")) == 3
    assert full.run("context", "the boiling point of lead", "--min-relevance", "0.5").stdout == ""
    assert full.run("retrieve", "a dog", "--tenant", "acme").stdout == "nothing found\n"


def test_context(full: Ada) -> None:
    """The block is printed as it is, within its budget."""
    text = full.run("context", "health").stdout
    assert text.startswith('<memories trust="untrusted">')
    block = full.json("context", "health", "--max-tokens", "120")
    assert set(block) == {"text", "tokens", "omitted", "ids"}
    assert block["tokens"] <= 120
    assert block["omitted"] + len(block["ids"]) == 3
    small = full.run("context", "health", "--max-tokens", "5")
    assert (small.stdout, small.exit_code) == ("", 0)
    assert "--max-tokens" in small.stderr


def test_list_pages(full: Ada) -> None:
    """Pages follow each other by cursor, and `--all` is all of them."""
    first = full.json("list", "--limit", "2")
    second = full.json("list", "--limit", "2", "--cursor", first["cursor"])
    assert second["cursor"] is None
    paged = [item["id"] for item in first["items"] + second["items"]]
    assert paged == ["seat", "dog", "health"]
    everything = full.json("list", "--all")
    assert [item["id"] for item in everything["items"]] == paged
    assert full.json("list", "--namespace", "/no/") == {"items": [], "cursor": None}
    shown = full.run("list", "--limit", "1")
    assert "Prefers window seats" in shown.stdout
    assert "--cursor" in shown.stderr


def test_cursor_of_another_scope(full: Ada) -> None:
    """A cursor works for the listing it is of, and no other."""
    cursor = full.json("list", "--limit", "1")["cursor"]
    assert "cursor" in full.refused("list", "--cursor", cursor, "--tenant", "acme")
    assert "cursor" in full.refused("list", "--cursor", "nonsense")
    full.refused("list", "--cursor", cursor, "--all")


def test_update(full: Ada) -> None:
    """What is named changes, what is not stays, and what is taken away is gone."""
    changed = full.json("update", "seat", "--text", "Prefers the aisle", "--tag", "new")
    assert (changed["version"], changed["text"], changed["tags"]) == (
        2,
        "Prefers the aisle",
        ["new"],
    )
    assert changed["metadata"] == {"city": "Oslo"}
    bare = full.json("update", "seat", "--no-tags", "--no-meta", "--ttl", "2w")
    assert (bare["tags"], bare["metadata"]) == ([], {})
    assert bare["expires_at"] is not None
    assert full.json("update", "seat", "--ttl", "never")["expires_at"] is None
    assert "version" in full.refused(
        "update", "seat", "--kind", "x", "--expected-version", "1", code=1
    )
    full.refused("update", "seat")
    full.refused("update", "seat", "--tag", "a", "--no-tags")
    assert full.run("update", "seat", "--kind", "x").stdout == "version 5 of seat\n"


def test_delete_and_count(full: Ada) -> None:
    """Deleting tells how many there were, and fails when one was not."""
    assert full.json("count") == {"count": 3}
    assert full.json("delete", "seat") == {"deleted": 1}
    partly = full.run("delete", "dog", "seat")
    assert (partly.exit_code, partly.stdout) == (1, "deleted 1 of 2\n")
    assert full.run("count").stdout == "1\n"


def test_forget(full: Ada) -> None:
    """Forgetting answers with a receipt, and afterwards there is nothing."""
    assert full.json("forget", "--yes") == {
        "found": 3,
        "deleted": 3,
        "failed": [],
        "verified_empty": True,
        "residue": "none",
    }
    assert "verified empty" in full.run("forget", "--yes").stdout
    assert full.run("list").stdout == "nothing there\n"


def test_forget_of_a_large_file(full: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too large to be written anew in passing is said to be so."""
    monkeypatch.setattr("memlane.local.sqlite.scrubbing._MAX_BYTES", 1)
    told = full.run("forget", "--yes")
    assert told.exit_code == 0
    assert "bytes left in" in told.stdout
    assert "its file is large or in use" in " ".join(told.stdout.split())
    assert full.json("forget", "--yes")["residue"] == "unknown"


def test_forget_asks_first(full: Ada) -> None:
    """With nobody to ask, nothing is forgotten without `--yes`."""
    assert "--yes" in full.refused("forget")
    assert full.json("count") == {"count": 3}


def test_forget_of_a_session(ada: Ada) -> None:
    """A session named on the command line is all that is forgotten."""
    ada.run("store", "a", "--session", "s1")
    ada.run("store", "b", "--session", "s2")
    assert ada.json("forget", "--yes", "--session", "s1")["deleted"] == 1
    assert ada.json("count") == {"count": 1}


MISTAKES = [
    (("get", "nothing"), 1, "no such record"),
    (("update", "nothing", "--text", "x"), 1, "no such record"),
    (("retrieve", "x", "--filter", "{city: Oslo}"), 2, "--filter is not JSON at character 2"),
    (("retrieve", "x", "--filter", "[]"), 2, "--filter is not a JSON object"),
    (("retrieve", "x", "--filter", '{"a": {"$near": 1}}'), 2, "$near"),
    (("retrieve", "x", "--mode", "fuzzy"), 2, "--mode 'fuzzy' is unknown"),
    (("retrieve", "x", "--limit", "0"), 2, "--limit"),
    (("retrieve", "x", "--only-session"), 2, "give --session"),
    (("retrieve",), 2, "Missing argument"),
    (("store", " "), 2, "blank"),
    (("store", "x", "--id", "seat"), 1, "exists already"),
    (("store", "x", "--ttl", "soon"), 2, "--ttl 'soon'"),
    (("store", "x", "--ttl", "999999999w"), 2, "too long"),
    (("store", "x", "--ttl", "9999999d"), 2, "beyond the year 9999"),
    (("update", "seat", "--ttl", "9999999d"), 2, "give --ttl never"),
    (("store", "x", "--meta", "city"), 2, "--meta 'city'"),
    (("store", "x", "--meta", "a=1", "--meta", "a=2"), 2, "given twice"),
    (("store", "x", "--occurred-at", "noon"), 2, "--occurred-at 'noon'"),
    (("store", "x", "--tenant", ""), 2, "tenant is empty"),
    (("store", "x", "--nonsense"), 2, "--nonsense"),
    (("strore", "x"), 2, "Did you mean 'store'"),
]


@pytest.mark.parametrize(("args", "code", "reason"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_mistakes(full: Ada, args: tuple[str, ...], code: int, reason: str) -> None:
    """A mistake is one line that says what to do, and a code that tells whose it is."""
    assert reason in full.refused(*args, code=code)


@pytest.mark.parametrize(
    "args",
    [
        ("store", "x"),
        ("retrieve", "x"),
        ("context", "x"),
        ("list",),
        ("get", "x"),
        ("update", "x", "--text", "y"),
        ("delete", "x"),
        ("forget", "--yes"),
        ("count",),
    ],
    ids=lambda args: str(args[0]),
)
def test_no_user(args: tuple[str, ...], tmp_path: Path) -> None:
    """Without a user every verb names the option that is missing, and makes no file."""
    file = tmp_path / "memory.db"
    result = run(*args, "--url", f"sqlite:///{file}")
    assert (result.exit_code, result.stderr) == (2, "error: no user is named; give --user\n")
    assert not file.exists()


@pytest.mark.parametrize("url", ["postgres://x", "memory.db", "sqlite://", "sqlite:///"])
def test_bad_url(url: str) -> None:
    """A url of no store is refused with the forms there are."""
    result = run("count", "--user", "ada", "--url", url)
    assert result.exit_code == 2
    assert result.stderr.endswith("or 's3vectors://bucket'\n")


def test_reading_makes_no_store(ada: Ada) -> None:
    """A mistyped path is an error, not an empty answer or a receipt."""
    for args in (("count",), ("list",), ("retrieve", "x"), ("forget", "--yes")):
        assert "there is no store at" in ada.refused(*args, code=1)
    assert not ada.file.exists()


def test_corrupt_store(ada: Ada) -> None:
    """A file that is no store, or was damaged, is named in one line and left as it is."""
    ada.file.write_bytes(os.urandom(5_000))
    before = ada.file.read_bytes()
    assert str(ada.file) in ada.refused("list", code=1)
    assert ada.file.read_bytes() == before
    ada.file.unlink()
    ada.run("store", "x")
    raw = bytearray(ada.file.read_bytes())
    raw[8192:] = bytes(7 * place % 256 for place in range(8192, len(raw)))
    ada.file.write_bytes(raw)
    assert "damaged" in ada.refused("list", code=1)


def test_debug_shows_where(ada: Ada) -> None:
    """`--debug` puts the traceback before the line, also for the command line's own mistakes."""
    for args in (("get", "x", "--debug"), ("get", "--debug")):
        result = ada.run(*args)
        assert "Traceback" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("error: ")


def test_memory_cannot_steer_the_terminal(ada: Ada) -> None:
    """Escapes, hidden directions and markup in a memory are shown, not obeyed."""
    ada.run("store", "a \x1b[31mred \u202ertl [bold]b[/bold] :smile:", "--actor", "[red]A")
    for args in (("list",), ("retrieve", "red", "--why"), ("retrieve", "red", "--json")):
        shown = ada.run(*args).stdout
        assert not set(shown) & {"\x1b", "\u202e"}
        assert "[bold]b[/bold]" in shown
        assert "[red]A" in shown


def test_tenancy_of_the_environment(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    """A required tenant comes from the command line alone."""
    monkeypatch.setenv("MEMLANE_TENANCY", "required")
    monkeypatch.setenv("MEMLANE_TENANT", "acme")
    assert "give --tenant" in ada.refused("store", "x")
    assert ada.json("store", "x", "--tenant", "acme")["tenant"] == "acme"
    monkeypatch.setenv("MEMLANE_TENANCY", "none")
    assert "leave --tenant out" in ada.refused("count", "--tenant", "acme")


def test_url_of_the_environment(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    """`MEMLANE_URL` names the store where `--url` does not."""
    monkeypatch.setenv("MEMLANE_URL", ada.url)
    assert run("store", "x", "--user", "ada").exit_code == 0
    assert ada.json("count") == {"count": 1}
