"""The virtual environment in which clients that nobody here wrote drive the emulator.

`python tests/emulator/clients/environment.py` makes it ahead of the tests; otherwise the first
test that needs it does.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ("REQUIREMENTS", "cache_folder", "prepared")

REQUIREMENTS: Final = (
    # The first that knows text search; aioboto3, in the main environment, is four minors behind.
    "boto3==1.44.5",
    "langchain-aws==1.9.1",
    "strands-s3-vectors-memory==0.3.0",
)
CONSTRAINTS: Final = Path(__file__).parent / "constraints.txt"


def cache_folder() -> Path:
    """Return the folder that holds the environments."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "memlane-clients"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no environment: {done.stderr.strip()[-500:]}")


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def prepared(cache: Path | None = None, *, run: Callable[..., None] = _run) -> Path:
    """Return the environment's interpreter; it is made when there is none as wanted.

    It is made under another name and then renamed, so that of several processes that make it at
    once one wins, and none sees half of it.

    Raises:
        RuntimeError: It cannot be made.
    """
    wanted = "\n".join((platform.python_version(), *REQUIREMENTS, CONSTRAINTS.read_text()))
    stamp = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    folder = (cache or cache_folder()) / f"clients-{stamp}"
    if not folder.exists():
        making = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        run(sys.executable, "-m", "venv", str(making))
        pip = (str(_python(making)), "-m", "pip", "install", "--disable-pip-version-check")
        run(*pip, "--quiet", "--constraint", str(CONSTRAINTS), *REQUIREMENTS)
        try:
            making.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            shutil.rmtree(making, ignore_errors=True)
    return _python(folder)


if __name__ == "__main__":
    sys.stdout.write(f"{prepared()}\n")
