"""The command as a process: what it prints where, its exit codes, and how fast it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="terminals of this kind exist on POSIX alone")


def memlane(*args: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memlane_plain", *args],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )


def on_terminal(*args: str, typed: str = "", **environment: str) -> tuple[int, str]:
    """Run the command with a terminal for all three streams; return its code and output."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "memlane_plain", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment},
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        printed = b""
        try:
            while chunk := os.read(ours, 4096):
                printed += chunk
        except OSError:  # Linux says so when the other end was closed
            pass
        os.close(ours)
    return process.returncode, printed.decode()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of this test's own."""
    return f"sqlite:///{tmp_path / 'memory.db'}"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with one memory, of tests that only read it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('kept') / 'memory.db'}"
    memlane("store", "Prefers window seats", "--user", "ada", "--tenant", "acme", "--url", url)
    return url


def test_three_processes(url: str) -> None:
    """What one process stores another finds, and a third forgets."""
    who = ("--user", "ada", "--url", url)
    assert memlane("store", "Prefers window seats", *who).returncode == 0
    found = memlane("retrieve", "where to sit?", "--json", *who)
    assert json.loads(found.stdout)["matches"][0]["passage"] == "Prefers window seats"
    assert json.loads(memlane("forget", "--yes", "--json", *who).stdout)["deleted"] == 1


def test_errors_are_on_standard_error(url: str) -> None:
    """Standard output stays empty, and the code says whether it was the command line."""
    missing = memlane("count", "--user", "ada", "--url", url)
    assert (missing.returncode, missing.stdout) == (1, "")
    usage = memlane("count", "--json", "--url", url)
    assert (usage.returncode, usage.stdout) == (2, "")
    assert json.loads(usage.stderr)["error"]["message"] == "no user is named"


def test_forget_in_a_pipe(url: str) -> None:
    """A piped answer is no answer."""
    memlane("store", "x", "--user", "ada", "--url", url)
    refused = memlane("forget", "--user", "ada", "--url", url, stdin="y\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert memlane("count", "--user", "ada", "--url", url).stdout == "1\n"


def test_forget_at_a_terminal(url: str) -> None:
    """At a terminal it asks, and does what the answer says."""
    who = ("--user", "ada", "--url", url)
    memlane("store", "x", *who)
    code, printed = on_terminal("forget", *who, typed="n\n")
    assert code == 1
    assert "Forget 1 memories of user 'ada' for ever?" in printed
    assert memlane("count", *who).stdout == "1\n"
    code, printed = on_terminal("forget", *who, typed="y\n")
    assert code == 0
    assert "verified empty" in printed
    assert memlane("count", *who).stdout == "0\n"


def test_colour_is_for_terminals(url: str) -> None:
    """There is colour on a terminal, none with NO_COLOR, and nothing of it in a pipe."""
    memlane("store", "x", "--user", "ada", "--url", url)
    args = ("list", "--user", "ada", "--url", url)
    assert "\x1b[36m" in on_terminal(*args, NO_COLOR="")[1]
    assert "\x1b[36m" not in on_terminal(*args, NO_COLOR="1")[1]
    assert "\x1b" not in memlane(*args).stdout


def test_other_encodings(url: str) -> None:
    """Where letters are all there is, marks are letters too."""
    memlane("store", "Zoë said ✓", "--user", "ada", "--url", url)
    plain = memlane(
        "retrieve", "Zoë", "--why", "--user", "ada", "--url", url, PYTHONIOENCODING="ascii"
    )
    assert plain.returncode == 0
    assert plain.stdout.isascii()
    assert "#" in plain.stdout
    assert "ok model" in memlane("doctor", "--url", url, PYTHONIOENCODING="ascii").stdout


def test_help_loads_no_model() -> None:
    """What only answers about itself imports neither the model's runtime nor its tokenizer."""
    code = (
        "import sys, memlane_plain.cli.app; "
        "sys.exit(bool({'onnxruntime', 'tokenizers'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing: str) -> None:
    """Without typer or rich there is one line that names the extra."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from memlane_plain.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith("pip install 'memlane[cli]'\n")
    assert result.stderr.count("\n") == 1


def test_a_reader_that_leaves(url: str) -> None:
    """A pipe that is closed early ends the command quietly."""
    for _ in range(3):
        memlane("store", "x " * 5_000, "--user", "ada", "--url", url)
    command = [sys.executable, "-m", "memlane_plain", "list", "--all", "--json"]
    with subprocess.Popen(
        [*command, "--user", "ada", "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        complaints = process.stderr.read()
    assert b"Traceback" not in complaints


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", ["list", "count", "users", "export"])
def test_a_full_disk(kept: str, command: str, as_json: bool) -> None:
    """An answer that cannot be written is one line of complaint, and a code."""
    who = ["acme"] if command == "users" else ["--user", "ada", "--tenant", "acme"]
    flags = ["--json"] if as_json and command != "export" else []
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "memlane_plain", command, *who, "--url", kept, *flags],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "" if as_json else "1"},
            check=False,
        )
    assert done.returncode == 1
    told = json.loads(done.stderr)["error"]["message"] if flags else done.stderr
    assert "No space left on device" in told
    assert done.stderr.count("\n") == 1
