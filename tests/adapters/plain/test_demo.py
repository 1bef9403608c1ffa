"""`memlane demo`, from end to end, as a process on real files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def demo(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memlane_plain", "demo", *args],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )


def plain(result: subprocess.CompletedProcess[str]) -> str:
    """Return what was printed, which has no control characters off a terminal."""
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert all(char.isprintable() or char == "\n" for char in result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 80
    return result.stdout


def assert_isolated_and_forgotten(shown: str, owner: str, found: int) -> None:
    for other in ("user of another tenant", "user of the same tenant", "name in another tenant"):
        assert re.search(
            rf"✓ an?\w* .*{other}: 0 foreign matches", shown.replace("another user", "a user")
        )
    refused = re.search(r"✓ get by id, as each of them: (\d+) of (\d+) not found", shown)
    assert refused is not None
    assert refused[1] == refused[2] != "0"
    receipt = f"found {found}, deleted {found}, failed [], verified_empty True, residue none"
    assert receipt in shown
    assert "in the file's bytes, found once" in shown
    assert f"✓ asked again as {owner}: 0 matches" in shown
    assert "✓ in the bytes of file and log, found 0 times" in shown
    assert "✗ in the bytes" not in shown


def test_examples(tmp_path: Path) -> None:
    """On the examples it finds most answers, shows nobody another's, and forgets for good."""
    shown = plain(demo("--examples", str(EXAMPLES), cwd=tmp_path))
    messages = (EXAMPLES / "conversations.jsonl").read_text(encoding="utf-8").splitlines()
    assert f"{len(messages)} of {len(messages)} messages" in shown
    pids = re.findall(r"process (\d+) ", shown)
    assert len(set(pids)) == 2
    questions = (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    tally = re.search(r"found in the top 3: (\d+) of (\d+)", shown)
    assert tally is not None
    assert int(tally[2]) == len(questions)
    assert int(tally[1]) == shown.count("✓ score")
    assert int(tally[1]) >= len(questions) / 2
    users = [json.loads(line)["user"] for line in messages]
    last = min(set(users), key=users.count)
    owner = re.search(r"asked again as (.+): 0", shown)
    assert owner is not None
    assert owner[1].startswith(last)
    assert_isolated_and_forgotten(shown, owner[1], users.count(last))
    assert "6. What next" in shown


def test_own_transcript(tmp_path: Path) -> None:
    """A transcript of one's own becomes one user's memory, with questions made of its words."""
    (tmp_path / "chat.txt").write_text(
        "Ada: The ferry to Harwich leaves on Thursday evening.\n"
        "Ben: Then we should book the cabin with a window.\n"
        "Ada: My passport expires in September, remind me.\n"
        "Ben: I will pack the blue tent and the stove.\n"
        "Ada: The landlord wants the deposit before Monday.\n"
        "Ben: Grandmother's recipe needs cardamom and rye flour.\n"
    )
    shown = plain(demo("chat.txt", cwd=tmp_path))
    assert "found in the top 3: 3 of 3" in shown
    assert_isolated_and_forgotten(shown, "you", 6)
    assert [path.name for path in tmp_path.iterdir()] == ["chat.txt"]


def test_kept_store_and_own_questions(tmp_path: Path) -> None:
    """Questions of one's own have no tally; the store is kept where it was asked to be."""
    lines = [
        {"text": "Ann drinks tea from Assam.", "user": "ann", "tenant": "t1", "agent": "iris"},
        {"text": "Ann plays the cello in an orchestra.", "user": "ann", "tenant": "t1"},
        {"text": "Bob keeps bees behind his house.", "user": "bob", "tenant": "t1"},
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = ("mine.jsonl", "--store", "kept.db", "--question", "what does she drink?")
    shown = plain(demo(*told, cwd=tmp_path))
    assert "Q1 what does she drink?" in shown
    assert shown.index("Ann drinks tea") < shown.index("Ann plays the cello")
    assert "1 question in" in shown
    assert "found in the top" not in shown
    assert_isolated_and_forgotten(shown, "bob of t1", 1)
    assert "ann of t1 still has 2 memories" in shown
    assert (tmp_path / "kept.db").exists()
    again = demo(*told, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert "kept.db exists already" in again.stderr


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        ("There was once a king.", 1, "line 1: neither JSONL nor a transcript"),
        ('{"text": "a"}\n{"txt": "b"}', 1, "line 2: unknown key 'txt'"),
        ("", 1, "the file is empty"),
    ],
)
def test_bad_file(content: str, code: int, reason: str, tmp_path: Path) -> None:
    """A file that cannot be read is one line, before anything is narrated."""
    (tmp_path / "file").write_text(content)
    result = demo("file", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith(f"error: {reason}")
    assert result.stderr.count("\n") == 1


def test_no_examples(tmp_path: Path) -> None:
    """Away from a checkout it says what to pass."""
    result = demo(cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: there are no examples in docs/examples; pass a FILE of yours, or --examples DIR\n"
    )
