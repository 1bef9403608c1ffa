"""The house is kept: small files, one reader of the environment, no machine's own paths."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("core", "adapters", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small(path: Path) -> None:
    """A file is one noun under 400 lines."""
    name = str(path.relative_to(ROOT))
    lines = path.read_text().count("\n")
    assert lines <= 400, f"{name} has {lines} lines"


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if "tests" not in path.parts and "benchmarks" not in path.parts],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_settings_read_the_environment(path: Path) -> None:
    """`os.environ` is read in memlane_plain/settings.py and nowhere else; boto3 is nowhere."""
    text = path.read_text()
    if path.name != "settings.py":
        assert not re.search(r"\bos\.(environ|getenv)\b", text)
    assert not re.search(r"^\s*(import|from) boto3\b", text, re.MULTILINE)
    # Where loops are owned, or where what is on the wire is asyncio's alone.
    if not {"runtime", "testing", "aws"} & set(path.parts):
        assert not re.search(r"^\s*(import|from) asyncio\b", text, re.MULTILINE)


def test_no_path_of_one_machine_is_in_the_tree() -> None:
    """No tracked text names a home folder or a working folder of somebody's machine."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    pattern = re.compile(r"(?:^|[^A-Za-z0-9_.])/(?:home|root|work|Users)/[A-Za-z]")
    found = [
        name
        for name in listed
        if Path(name).suffix in {".py", ".md", ".toml", ".json", ".jsonl", ".yml", ""}
        and Path(ROOT / name).is_file()
        and name != "core/memlane/local/model/tokenizer.json"
        and not name.endswith("test_files.py")
        and pattern.search((ROOT / name).read_text(errors="ignore"))
    ]
    assert found == []
