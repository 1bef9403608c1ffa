"""A disk that is full at any write: what is acknowledged is there, what is refused left nothing."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from faults.children import child
from faults.filling import fill, is_copy, prepare, prepare_name
from faults.lives import USERS
from faults.story import Story

_LARGEST = 900_000  # bytes that a file here grows to; beyond it nothing is refused


def _fill(tmp_path: Path, folder: Path, positions: list[int], *, small: bool) -> Counter[str]:
    """Use a store for each position; return what was refused, and how."""
    base = tmp_path / "base.db"
    before = Story(base, *USERS)
    with child(prepare, str(base)) as process:
        before.tell(process.rest())
    refused: Counter[str] = Counter()
    with child(fill, str(folder), small, str(base), positions) as process:
        for number, position in enumerate(positions):
            print(f"position {position}, file {number}")  # noqa: T201 - shown when the test fails
            path = folder / prepare_name(number)
            assert process.hear() == ("file", "", number)
            story = before.copy(path) if is_copy(number) else Story(path, *USERS)
            while (words := process.hear()) != ("end", "", number):
                story.tell([words])
            assert not story.flying
            anyio.run(story.check)
            refused += story.failures
            for each in folder.glob(f"{path.name}*"):
                each.unlink()
            process.say("next")
        process.rest()
    print(refused)  # noqa: T201
    return refused


def _positions(count: int) -> list[int]:
    """Return positions all over the files, dense where they begin: each file is small at first."""
    pick = random.Random(count)
    print(f"seed {count}")  # noqa: T201 - shown when the test fails
    return [int(_LARGEST * ((each + pick.random()) / count) ** 2) for each in range(count)]


def _check_refusals(refused: Counter[str]) -> None:
    """See that each verb was refused somewhere, or nothing was tested."""
    verbs = {each.partition(":")[0] for each in refused}
    assert verbs == {"store_many", "update", "delete", "forget"}
    assert not [each for each in refused if "space" not in each and "store the last" not in each]


def test_full_at_some_bytes(quick_path: Path) -> None:
    """Writes that the system cuts off at a byte are refused as a whole, and can be repeated."""
    _check_refusals(_fill(quick_path, quick_path, _positions(42), small=False))


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_full_at_many_bytes(quick_path: Path) -> None:
    """Writes that the system cuts off at a byte are refused as a whole, and can be repeated."""
    _check_refusals(_fill(quick_path, quick_path, _positions(400), small=False))


@contextmanager
def _small_disk(folder: Path, size: int) -> Generator[None]:
    """Mount a file system of so many bytes."""
    if sys.platform != "linux" or not (mount := shutil.which("mount")):
        pytest.skip("only Linux can mount a small disk in memory")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "memlane-faults", str(folder)],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill_small_disk(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with _small_disk(folder, 16 * 1024 * 1024):
        refused = _fill(tmp_path, folder, _positions(count), small=True)
    assert any("free some space" in each for each in refused)
    _check_refusals(refused)


def test_full_disk(tmp_path: Path) -> None:
    """On a real file system without a free page the same holds, and the error says it is full."""
    _fill_small_disk(tmp_path, 16)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_full_disks(tmp_path: Path) -> None:
    """On a real file system without a free page the same holds, at many a size."""
    _fill_small_disk(tmp_path, 60)
