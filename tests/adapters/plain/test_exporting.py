"""`memlane export`, and `memlane import` of what it wrote."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner, Result

from core.portable.files import ADA, a_file, a_record, opened
from memlane import NewMemory
from memlane.portable import MAX_LINE_BYTES
from memlane.testing import HashingEmbedder
from memlane_plain.cli import exported
from memlane_plain.cli.app import app

RECORDS = 1_203


class _Model(HashingEmbedder):
    def __init__(self, *, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads

    async def aclose(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
def blockbuster() -> Iterator[BlockBuster | None]:
    """The command is alone on its loop and may wait for files there."""
    return iter([None])


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store with three pages of memories, which the environment names."""
    path = tmp_path / "memory.db"

    async def fill() -> None:
        async with opened(path) as client:
            news = [NewMemory(content=f"note {n}", metadata={"n": n % 2}) for n in range(RECORDS)]
            await client.store_many(news, scope=ADA)

    anyio.run(fill)
    monkeypatch.setenv("MEMLANE_URL", f"sqlite:///{path}")
    # The command's own model would take longer than all else here.
    monkeypatch.setattr("memlane.local.MiniLMEmbedder", _Model)
    monkeypatch.chdir(tmp_path)


def run(*args: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, args, input=stdin)


def export(*args: str) -> Result:
    return run("export", "--user", "ada", "--tenant", "acme", *args)


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result, *words: str, code: int = 2) -> None:
    assert result.exit_code == code, result.output
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    """All of it, for its owner's eyes only, and nothing beside it."""
    result = done(export("--to", "ada.jsonl"))
    path = tmp_path / "ada.jsonl"
    assert f"exported {RECORDS:,} memories to ada.jsonl, {path.stat().st_size:,} bytes" in (
        result.stdout
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert json.loads(lines[-1]) == {"end": True, "pages": 3, "records": RECORDS}
    assert sorted(each.name for each in tmp_path.iterdir() if "ada" in each.name) == ["ada.jsonl"]
    told = json.loads(done(export("--to", "more.jsonl", "--json")).stdout)
    assert told == {
        "to": "more.jsonl", "user": "ada", "records": RECORDS, "bytes": path.stat().st_size,
    }  # fmt: skip
    assert (tmp_path / "more.jsonl").read_bytes() == path.read_bytes()


def test_standard_output(tmp_path: Path) -> None:
    """The same bytes go down a pipe, and what the options leave out does not."""
    done(export("--to", "ada.jsonl"))
    assert done(export()).stdout == (tmp_path / "ada.jsonl").read_text()
    assert done(export("--to", "-")).stdout == (tmp_path / "ada.jsonl").read_text()
    odd = done(export("--filter", '{"n": 1}')).stdout
    assert json.loads(odd.splitlines()[-1])["records"] == RECORDS // 2
    nothing = done(export("--namespace", "/none/")).stdout
    assert json.loads(nothing.splitlines()[-1])["records"] == 0
    for option in ("--resume", "--replace", "--json"):
        refused(export(option), "give --to FILE")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither an older file nor what another export left, unless somebody says so."""
    (tmp_path / "ada.jsonl").write_text("older")
    (tmp_path / "bob.jsonl.part").write_text("begun")
    (tmp_path / "folder").mkdir()
    refused(export("--to", "ada.jsonl"), "ada.jsonl exists already", "--replace")
    refused(export("--to", "bob.jsonl"), "bob.jsonl.part is of an export", "--resume")
    refused(export("--to", "folder"), "is a folder")
    refused(export("--to", "nowhere/ada.jsonl"), "nowhere/ada.jsonl.part", code=1)
    assert (tmp_path / "ada.jsonl").read_text() == "older"
    done(export("--to", "ada.jsonl", "--replace"))
    done(export("--to", "bob.jsonl", "--replace"))
    assert (tmp_path / "ada.jsonl").read_bytes() == (tmp_path / "bob.jsonl").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="modes and links of files are others there")
def test_what_lies_at_the_part_is_not_followed(tmp_path: Path) -> None:
    """A link that somebody left, or a file that all may read: neither gets the memories."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    part = tmp_path / "ada.jsonl.part"
    part.symlink_to(victim)
    refused(export("--to", "ada.jsonl", "--resume"), "ada.jsonl.part", code=1)
    done(export("--to", "ada.jsonl", "--replace"))
    assert victim.read_text() == "precious"
    assert not (tmp_path / "ada.jsonl").is_symlink()
    whole = (tmp_path / "ada.jsonl").read_bytes()
    for options in (["--resume", "--replace"], ["--replace"]):
        part.write_bytes(whole[:100])
        part.chmod(0o644)
        done(export("--to", "ada.jsonl", *options))
        assert (tmp_path / "ada.jsonl").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "ada.jsonl").read_bytes() == whole


def test_an_export_goes_on(tmp_path: Path) -> None:
    """Wherever it was cut, what comes of it is the file that it would have been."""
    done(export("--to", "whole.jsonl"))
    whole = (tmp_path / "whole.jsonl").read_bytes()
    ends = [at for at in range(len(whole)) if whole.startswith(b'{"page"', at)]
    cuts = [0, 10, 5_000, ends[0], ends[0] + 30, ends[1] - 1, ends[2] + 400, len(whole) - 5]
    for cut in [*cuts, len(whole)]:
        (tmp_path / "ada.jsonl.part").write_bytes(whole[:cut])
        result = done(export("--to", "ada.jsonl", "--resume"))
        assert f"exported {RECORDS:,} memories" in result.stdout
        assert (tmp_path / "ada.jsonl").read_bytes() == whole
        (tmp_path / "ada.jsonl").unlink()
    damaged = whole.replace(b"note 700", b"note 701")
    (tmp_path / "ada.jsonl.part").write_bytes(damaged)
    done(export("--to", "ada.jsonl", "--resume"))
    assert (tmp_path / "ada.jsonl").read_bytes() == whole


def test_an_export_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    """Another scope or other options do not go on with it, and leave it as it is."""
    done(export("--to", "whole.jsonl"))
    begun = (tmp_path / "whole.jsonl").read_bytes()[:-200]
    (tmp_path / "ada.jsonl.part").write_bytes(begun)
    for options in (["--vectors"], ["--agent", "bot"], ["--namespace", "/a/"]):
        refused(export("--to", "ada.jsonl", "--resume", *options), "of another export")
    assert not (tmp_path / "ada.jsonl").exists()
    done(export("--to", "ada.jsonl", "--resume"))


def test_a_whole_part_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    """What only lacked its name is checked as well: nobody is handed another's memories."""
    done(run("store", "of b1", "--user", "b1", "--tenant", "acme"))
    done(run("export", "--user", "b1", "--tenant", "acme", "--to", "b1.jsonl"))
    whole = (tmp_path / "b1.jsonl").read_bytes()
    part = tmp_path / "ada.jsonl.part"
    (tmp_path / "b1.jsonl").rename(part)
    refused(export("--to", "ada.jsonl", "--resume"), "ada.jsonl.part is of another export")
    assert not (tmp_path / "ada.jsonl").exists()
    assert part.read_bytes() == whole
    part.rename(tmp_path / "b1.jsonl.part")
    done(run("export", "--user", "b1", "--tenant", "acme", "--to", "b1.jsonl", "--resume"))
    assert (tmp_path / "b1.jsonl").read_bytes() == whole
    assert not (tmp_path / "b1.jsonl.part").exists()


@pytest.mark.parametrize("written", [0, 3, None])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int | None) -> None:
    """One line, and how to go on, be it while lines are written or at the last."""
    done(export("--to", "whole.jsonl"))

    class Full(io.BufferedRandom):
        left = written

        def write(self, line: Any) -> int:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(line)

        def flush(self) -> None:
            super().flush()
            if self.left is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", lambda fd, mode: Full(io.FileIO(fd, mode)))
        refused(
            export("--to", "ada.jsonl"), "ada.jsonl.part: No space left", "--resume goes on", code=1
        )
    done(export("--to", "ada.jsonl", "--resume"))
    assert (tmp_path / "ada.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is full")
def test_standard_output_that_takes_nothing() -> None:
    """It is full, or closed: one line says so."""
    for where, words in [("> /dev/full", "No space left"), (">&-", "is closed")]:
        memlane = Path(sys.executable).parent / "memlane"
        told = subprocess.run(
            ["sh", "-c", f"{memlane} export --user ada --tenant acme {where}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert told.returncode == 1
        [line] = told.stderr.splitlines()
        assert words in line


def test_a_failure_leaves_what_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was whole stays, and the note says how to go on."""
    from memlane.local import SqliteBackend  # noqa: PLC0415 - of this test alone

    right, asked = SqliteBackend.scan, 0

    async def scan(self: SqliteBackend, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 3:
            from memlane import UnavailableError  # noqa: PLC0415 - as above

            raise UnavailableError("the disk is busy", remedy="try again")
        return await right(self, **options)

    monkeypatch.setattr(SqliteBackend, "scan", scan)
    refused(export("--to", "ada.jsonl"), "the disk is busy", "--resume goes on", code=1)
    part = (tmp_path / "ada.jsonl.part").read_text()
    assert part.count('{"page"') == 2
    done(export("--to", "ada.jsonl", "--resume"))
    assert done(export()).stdout == (tmp_path / "ada.jsonl").read_text()


def test_import_knows_an_export(tmp_path: Path) -> None:
    """By its first line, from a file or a pipe; for whom the command line says."""
    done(export("--to", "ada.jsonl", "--vectors"))
    path = tmp_path / "ada.jsonl"
    told = json.loads(done(run("import", "ada.jsonl", "--user", "bob", "--json")).stdout)
    assert (told["format"], told["imported"], told["skipped"]) == ("export", RECORDS, 0)
    result = done(run("import", "ada.jsonl", "--user", "bob"))
    assert f"{RECORDS:,}, there already or expired" in result.stdout
    assert json.loads(done(run("count", "--user", "bob", "--json")).stdout)["count"] == RECORDS
    bytes_of = b"\xef\xbb\xbf\r\n" + path.read_bytes().replace(b"\n", b"\r\n")
    told = json.loads(done(run("import", "-", "--user", "eve", "--json", stdin=bytes_of)).stdout)
    assert told["imported"] == RECORDS
    refused(run("import", "ada.jsonl"), "no user is named", "give --user")
    done(run("import", "ada.jsonl", "--user", "kim", "--format", "export"))
    refused(run("import", "ada.jsonl", "--user", "kim", "--format", "csv"), "or export")


def test_import_says_what_is_wrong(tmp_path: Path) -> None:
    """The line, and what was stored before it; a later format by name."""
    (tmp_path / "x.jsonl").write_text("".join(a_file([a_record("a")], [a_record("b", text="")])))
    refused(
        run("import", "x.jsonl", "--user", "bob"),
        "1 memories were stored before", "line 4 cannot be stored: content is blank",
    )  # fmt: skip
    told = json.loads(run("import", "x.jsonl", "--user", "kim", "--json").stderr)["error"]
    assert (told["type"], told["imported"]) == ("ImportFileError", 1)
    later = a_file()[0].replace('"format": 1', '"format": 2')
    (tmp_path / "x.jsonl").write_text(later)
    refused(run("import", "x.jsonl", "--user", "bob"), "format 2", "later memlane")
    error = json.loads(run("import", "x.jsonl", "--user", "bob", "--json").stderr)["error"]
    assert error["type"] == "ImportFileError"


def test_a_line_of_a_gigabyte(tmp_path: Path) -> None:
    """A file that never comes to a line's end takes no gigabyte to refuse."""
    path = tmp_path / "x.jsonl"
    path.write_text(a_file()[0])
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.truncate(1 << 30)  # of zeros, which take no place on the disk
    program = (
        "import resource, sys\n"
        "from memlane_plain.cli import main\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = used()\n"
        "sys.argv = ['memlane', 'import', 'x.jsonl', '--user', 'bob']\n"
        "try:\n    main()\nfinally:\n    print(used() - before)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 2
    assert f"line 2 has more than {MAX_LINE_BYTES:,} bytes" in told.stderr
    assert int(told.stdout) < 300_000  # KiB: the model, and a few copies of what one line may be


def test_a_reader_that_has_enough() -> None:
    """`memlane export | head -1` ends in silence."""
    memlane = Path(sys.executable).parent / "memlane"
    told = subprocess.run(
        ["sh", "-c", f"{memlane} export --user ada --tenant acme | head -1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert json.loads(told.stdout)["memlane"] == "export"
    assert told.stderr == ""


def test_what_is_whole_of_a_file(tmp_path: Path) -> None:
    """Of a file that was cut, the bytes of its whole pages are known."""
    lines = a_file([a_record("a")], [a_record("b"), a_record("c")])
    path = tmp_path / "x"
    size = len("".join(lines[:-1]))
    for some in (lines[:-1], lines, [*lines[:-1], lines[-1][:9]]):
        path.write_text("".join(some))
        with path.open("rb") as file:
            begun = exported.whole_pages(file)
        assert (begun.size, begun.records, begun.after) == (size, 3, "x")
