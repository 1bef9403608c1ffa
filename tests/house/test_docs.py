"""Every code block of README and docs runs: what we tell newcomers to type works."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memlane.testing.emulator import Emulator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Run by themselves: the whole test suite, an installation from a package index, a server.
_ELSEWHERE = ("make ", "pip install ", "PYTHON=", "memlane emulator")

_BUCKETS = ("my-memory",)

_RUNNER = """
import ast, asyncio, inspect, json, sys
async def main():
    names = {"__name__": "__page__"}
    for place, code in json.load(sys.stdin):
        compiled = compile(code, place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(compiled, names)
        if inspect.isawaitable(waiting):
            await waiting
asyncio.run(main())
"""


def _blocks(page: Path) -> list[tuple[str, int, str]]:
    text = page.read_text()
    return [
        (found.group(1), text.count("\n", 0, found.start()) + 1, found.group(2))
        for found in _BLOCK.finditer(text)
    ]


@contextmanager
def _surroundings(page: Path, home: Path) -> Generator[dict[str, str]]:
    """A folder of one's own and, where the page is about AWS, what the emulator exports."""
    if "s3vectors://" not in page.read_text():
        yield _environment(home)
        return
    with Emulator.launch() as emulator:
        for bucket in _BUCKETS:
            emulator.blocking.create_bucket(bucket)
        yield {**_environment(home), **emulator.environment()}


def _environment(home: Path) -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)
    kept = {
        key: told for key, told in os.environ.items() if not key.startswith(("MEMLANE_", "AWS_"))
    }
    return {
        **kept,
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    }


def test_every_block_has_a_language() -> None:
    """A block that says what it is can be run; one that does not would be skipped in silence."""
    for page in PAGES:
        for language, line, _ in _blocks(page):
            assert language in {"python", "console", "json", "text"}, f"{page.name}:{line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """The Python of a page runs from top to bottom, in one process and one empty folder."""
    blocks = [
        (f"{page.name}:{line}", code)
        for language, line, code in _blocks(page)
        if language == "python"
    ]
    if not blocks:
        return
    with _surroundings(page, tmp_path) as environment:
        done = subprocess.run(
            [sys.executable, "-c", _RUNNER],
            input=json.dumps(blocks),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_console_blocks_run(page: Path, tmp_path: Path) -> None:
    """The commands of a page succeed, one after the other, in one empty folder."""
    typed = [
        (line, typed[2:])
        for language, line, code in _blocks(page)
        if language == "console"
        for typed in code.splitlines()
        if typed.startswith("$ ") and not typed[2:].startswith(_ELSEWHERE)
    ]
    if not typed:
        return
    with _surroundings(page, tmp_path) as environment:
        for line, command in typed:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            where = f"{page.name}:{line}: {command}"
            assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file that exists."""
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_parse(page: Path) -> None:
    """Each Python block is a whole: nothing is elided with dots that do not parse."""
    for language, line, code in _blocks(page):
        if language == "python":
            compile(code, f"{page.name}:{line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
