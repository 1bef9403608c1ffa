"""The page for people who write a backend is right: what it shows passes what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import memlane
from memlane.protocols import Embedder, VectorBackend

PAGE = Path(__file__).parents[2] / "docs" / "testing-your-backend.md"
BLOCKS: list[str] = re.findall(
    r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
)
CLASSES = [block for block in BLOCKS if "await client" not in block]

_names: dict[str, Any] = {"__name__": __name__}
for _block in CLASSES:
    exec(compile(_block, str(PAGE), "exec"), _names)  # noqa: S102 - the page is ours

# Collected by pytest as if they were written here.
TestDictBackend = _names["TestDictBackend"]
TestHashingEmbedder = _names["TestHashingEmbedder"]
test_any_order_of_verbs = _names["test_any_order_of_verbs"]


def _lines(block: str) -> int:
    _, body = re.split(r"^(?=def |class )", block, maxsplit=1, flags=re.MULTILINE)
    return sum(1 for line in body.splitlines() if line.strip())


def test_the_examples_are_as_short_as_they_look() -> None:
    """A whole backend is thirty lines without its imports, and its tests are a handful."""
    backend, tests = BLOCKS[0], BLOCKS[1]
    assert _lines(backend) <= 30
    assert _lines(tests) <= 10


def test_the_example_is_a_backend_by_its_shape() -> None:
    """The protocols recognise what does not inherit them."""
    assert isinstance(_names["DictBackend"](), VectorBackend)
    assert isinstance(_names["HashingEmbedder"](), Embedder)


def test_the_page_works_in_a_plain_project(tmp_path: Path) -> None:
    """Written to one file, in a project without any settings, plain `pytest` runs the suites."""
    (tmp_path / "test_page.py").write_text("\n\n".join(CLASSES))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    chosen = "delete_counts or look_absent or any_text or closing and empty"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", chosen, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(memlane.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 40
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("name", ["TestClosing", "TestWithOracle"])
async def test_the_variants_work(name: str) -> None:
    """The suites with an async fixture and with an oracle are suites as well."""
    suite = _names[name]()
    backend = _names["DictBackend"]()
    await suite.test_delete_counts_what_existed(backend)
    await suite.test_empty_means_empty(_names["DictBackend"]())
