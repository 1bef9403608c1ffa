"""Reading conversations from files, and importing them once, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from memlane_plain.cli.app import app
from memlane_plain.cli.transcripts import Entry, TranscriptError, decoded, detect, read

TRANSCRIPT = """\
[2026-03-14 09:30] Ada: I moved to Lisbon.
  The flat: third floor.
It has a balcony.

Ben (support): https://example.org is down
[2026-03-14T10:00:00+02:00] Ada: Thanks
"""


@pytest.fixture
def blockbuster() -> Iterator[BlockBuster | None]:
    """The command is alone on its loop and may wait for files there."""
    return iter([None])


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of this test's own."""
    return f"sqlite:///{tmp_path / 'memory.db'}"


def run(*args: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, args, input=stdin)


def run_json(*args: str, stdin: bytes | None = None) -> Any:
    result = run(*args, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def entries_of(text: str) -> list[Entry]:
    lines = text.encode().splitlines(keepends=True)
    return list(read(decoded(lines), detect(decoded(lines))))


def test_transcript() -> None:
    """Speakers, times, continued lines and web addresses are told apart."""
    ada, ben, thanks = entries_of(TRANSCRIPT)
    assert ada.actor == "Ada"
    assert ada.text == "I moved to Lisbon.\nThe flat: third floor.\nIt has a balcony."
    assert ada.occurred_at == datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
    assert (ben.actor, ben.text) == ("Ben (support)", "https://example.org is down")
    assert (thanks.line, thanks.occurred_at) == (6, datetime(2026, 3, 14, 8, tzinfo=UTC))


def test_jsonl_has_every_field() -> None:
    """Each key of the documented schema arrives."""
    line = {
        "text": "hello",
        "tenant": "acme",
        "user": "ada",
        "agent": "iris",
        "session": "s1",
        "actor": "Ada",
        "role": "user",
        "occurred_at": "2026-03-14T09:30:00Z",
        "namespace": "/chat/",
        "kind": "greeting",
        "metadata": {"n": [1, None]},
        "tags": ["a"],
        "id": "m1",
    }
    [entry] = entries_of(json.dumps(line))
    assert {name: getattr(entry, name) for name in line} == line | {
        "occurred_at": datetime(2026, 3, 14, 9, 30, tzinfo=UTC),
        "tags": ("a",),
    }


def test_jsonl_of_model_apis() -> None:
    """Lines of role and content are messages, said by the role."""
    [entry] = entries_of('{"role": "assistant", "content": "hi"}')
    assert (entry.text, entry.actor, entry.role) == ("hi", "assistant", "assistant")


def test_windows_file() -> None:
    """A byte order mark and carriage returns are not part of a message."""
    lines = ["\ufeffAda: hi\r\n".encode(), b"Ben: bye\r\n"]
    texts = [(entry.actor, entry.text) for entry in read(decoded(lines), "transcript")]
    assert texts == [("Ada", "hi"), ("Ben", "bye")]


BAD = [
    ('{"text": "a"}\n{"text": }', "line 2: not a JSON object"),
    ('{"text": "a"}\n\n["text"]', "line 3: not a JSON object"),
    ('{"text": NaN}', "line 1: not a JSON object"),
    ("{" * 100_000, "line 1: not a JSON object"),
    ('{"texts": "a"}', "line 1: unknown key 'texts'"),
    ('{"user": "a"}', 'line 1: no "text"'),
    ('{"text": " "}', 'line 1: no "text"'),
    ('{"text": 5}', "line 1: 'text' is not a string"),
    ('{"text": "a", "user": 5}', "line 1: 'user' is not a string"),
    ('{"text": "a", "metadata": []}', "line 1: 'metadata' is not an object"),
    ('{"text": "a", "tags": "x"}', "line 1: 'tags' is not a list of strings"),
    ('{"text": "a", "occurred_at": 5}', "line 1: 'occurred_at' is not a string"),
    ('{"text": "a", "occurred_at": "noon"}', "line 1: 'noon' is not a time"),
    ('[{"text": "a"}]', "line 1: a JSON array, not JSONL"),
    ("\nThere was once a king.", "line 2: neither JSONL nor a transcript"),
    ("Ada: hi\nBen:\n\nAda: bye", "line 2: Ben says nothing"),
    ("[25:99] Ada: hi", "line 1: '25:99' is not a time"),
    ("Ada: hi\n\0", "line 2: not UTF-8 text"),
    ("Ada: hi\n" + "x" * 1_000_001, "line 2: longer than 1,000,000 bytes"),
    ("", "the file is empty"),
    ("\n  \n", "the file is empty"),
]


@pytest.mark.parametrize(("text", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_bad_file(text: str, reason: str, tmp_path: Path, url: str) -> None:
    """A file with a bad line is refused with one line that names it, and nothing is stored."""
    file = tmp_path / "file"
    file.write_bytes(text.encode())
    result = run("import", str(file), "--user", "ada", "--url", url)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {reason}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not (tmp_path / "memory.db").exists()


@pytest.mark.parametrize("raw", [bytes(range(256)), b"\xff\xfeA\0d\0a\0", b"\x80"])
def test_binary_file(raw: bytes, tmp_path: Path, url: str) -> None:
    """A file that is not text is refused in one line."""
    file = tmp_path / "file"
    file.write_bytes(raw)
    result = run("import", str(file), "--user", "ada", "--url", url)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "line 1: not UTF-8 text" in result.stderr


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """Whatever a file holds, it is read or refused with a reason."""
    lines = raw.splitlines(keepends=True)
    with suppress(TranscriptError):
        assert all(entry.text for entry in read(decoded(lines), detect(decoded(lines))))


_NAMES = st.sampled_from(["Ada", "Ben (support)", "Zoë", "Dr. O'Neil", "user_1", "李"])
_WORDS = st.text("abc defgh.,!?é李", min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.tuples(_NAMES, _WORDS), min_size=1))
def test_transcript_round_trip(turns: list[tuple[str, str]]) -> None:
    """What was said comes back, by whom and in order."""
    text = "".join(f"{who}: {said}\n" for who, said in turns)
    assert [(entry.actor, entry.text) for entry in entries_of(text)] == turns


def test_import_twice(tmp_path: Path, url: str) -> None:
    """A transcript imported again stores nothing again, and a longer one only what is new."""
    file = tmp_path / "chat.txt"
    file.write_text(TRANSCRIPT)
    told = ("import", str(file), "--user", "ada", "--tenant", "acme", "--url", url)
    first, second = run_json(*told), run_json(*told)
    assert first == {
        "format": "transcript",
        "messages": 3,
        "stored": 3,
        "already_there": 0,
        "sessions": 1,
        "users": [{"tenant": "acme", "user": "ada"}],
    }
    assert (second["stored"], second["already_there"]) == (0, 3)
    file.write_text(TRANSCRIPT + "Ben (support): Anything else?\n")
    third = run_json(*told)
    assert (third["stored"], third["already_there"]) == (1, 3)
    items = run_json("list", "--user", "ada", "--tenant", "acme", "--url", url)["items"]
    assert [item["actor"] for item in items] == ["Ada", "Ben (support)", "Ada", "Ben (support)"]
    assert {(item["kind"], item["session"], item["source"]) for item in items} == {
        ("message", "chat", "import")
    }


def test_same_words_twice(tmp_path: Path, url: str) -> None:
    """Two messages of the same words are two messages."""
    file = tmp_path / "chat.txt"
    file.write_text("Ada: yes\nBen: sure?\nAda: yes\n")
    told = ("import", str(file), "--user", "ada", "--url", url)
    assert run_json(*told)["stored"] == 3
    assert run_json(*told)["already_there"] == 3
    assert run_json("count", "--user", "ada", "--url", url) == {"count": 3}


def test_changed_since(tmp_path: Path, url: str) -> None:
    """A memory changed after it was imported stays changed."""
    file = tmp_path / "chat.txt"
    file.write_text("Ada: one\nBen: two\n")
    told = ("import", str(file), "--user", "ada", "--url", url)
    run_json(*told)
    whose = ("--user", "ada", "--url", url)
    record_id = run_json("list", *whose)["items"][0]["id"]
    run_json("update", record_id, "--text", "other", *whose)
    assert run_json(*told)["already_there"] == 2
    assert [item["text"] for item in run_json("list", *whose)["items"]] == ["other", "two"]


def test_own_ids(tmp_path: Path, url: str) -> None:
    """Lines with ids are stored once, under them; the same id with another text is refused."""
    file = tmp_path / "facts.jsonl"
    file.write_text('{"text": "a", "id": "1", "kind": "fact"}\n{"text": "b"}\n')
    told = ("import", str(file), "--user", "ada", "--url", url)
    assert [run_json(*told)["stored"] for _ in range(2)] == [2, 0]
    assert run_json("get", "1", "--user", "ada", "--url", url)["kind"] == "fact"
    file.write_text('{"text": "new"}\n{"text": "changed", "id": "1"}\n')
    refused = run(*told)
    assert refused.exit_code == 1
    assert "line 2: the id '1' has another text in the store" in refused.stderr
    file.write_text('{"text": "x", "id": "2"}\n{"text": "y", "id": "2"}\n')
    refused = run(*told)
    assert "line 2: the id '2' is that of line 1" in refused.stderr
    assert run_json("count", "--user", "ada", "--url", url) == {"count": 2}


def test_command_line_wins(tmp_path: Path, url: str) -> None:
    """Tenant and user of a line count only where the command line names none."""
    file = tmp_path / "two.jsonl"
    file.write_text(
        '{"text": "a", "tenant": "t1", "user": "u1"}\n{"text": "b", "tenant": "t2", "user": "u2"}\n'
    )
    told = ("import", str(file), "--url", url)
    assert run_json(*told)["users"] == [
        {"tenant": "t1", "user": "u1"},
        {"tenant": "t2", "user": "u2"},
    ]
    assert run_json(*told, "--user", "me", "--tenant", "mine")["users"] == [
        {"tenant": "mine", "user": "me"}
    ]
    assert run_json(*told, "--tenant", "mine")["users"] == [
        {"tenant": "mine", "user": "u1"},
        {"tenant": "mine", "user": "u2"},
    ]


def test_nobody_named(tmp_path: Path, url: str) -> None:
    """A line without a user is a mistake of the command line, and the line is named."""
    file = tmp_path / "some.jsonl"
    file.write_text('{"text": "a", "user": "u"}\n{"text": "b"}\n')
    result = run("import", str(file), "--url", url)
    assert (result.exit_code, result.stderr) == (2, "error: line 2 names no user; give --user\n")
    assert not (tmp_path / "memory.db").exists()


def test_too_long_for_a_record(tmp_path: Path, url: str) -> None:
    """A message over the limit of a record is refused before anything is stored."""
    file = tmp_path / "long.jsonl"
    file.write_text('{"text": "a"}\n' + json.dumps({"text": "x" * 40_000}))
    result = run("import", str(file), "--user", "ada", "--url", url)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: line 2: ")
    assert not (tmp_path / "memory.db").exists()


def test_standard_input(url: str) -> None:
    """A pipe is read like a file."""
    told = ("import", "-", "--user", "ada", "--url", url)
    assert run_json(*told, stdin=TRANSCRIPT.encode())["stored"] == 3
    assert run_json(*told, stdin=TRANSCRIPT.encode())["already_there"] == 3


def test_forced_format(tmp_path: Path, url: str) -> None:
    """`--format` decides where the content could be either."""
    file = tmp_path / "odd.txt"
    file.write_text('{"text": "a"}: what is this?\n')
    result = run("import", str(file), "--format", "transcript", "--user", "ada", "--url", url)
    assert "line 1: names nobody" in result.stderr
    result = run("import", str(file), "--format", "csv", "--user", "ada", "--url", url)
    assert result.exit_code == 2


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_no_file(name: str, tmp_path: Path, url: str) -> None:
    """A path without a file is one line that names it."""
    result = run("import", str(tmp_path / name), "--user", "ada", "--url", url)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path}")
    assert result.stderr.count("\n") == 1
