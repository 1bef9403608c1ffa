"""Other processes: interpreters that tests start, talk to in lines, and kill."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import memlane.errors

_PATH = os.pathsep.join(
    str(each) for each in (Path(memlane.errors.__file__).parents[1], Path(__file__).parents[2])
)

# What every program begins with; the last argument is the path of its store.
PRELUDE = """
import os, random, sys
import anyio
from core.local.light import *
from memlane.errors import *

path = sys.argv[-1]

def say(*words):
    print(*words, flush=True)

def hear():
    return sys.stdin.readline().strip()
"""


class Program:
    """A running interpreter."""

    def __init__(self, source: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",  # forking with threads, from Python 3.12 on
                "-c",
                PRELUDE + textwrap.dedent(source),
                *arguments,
            ],
            env={**os.environ, "PYTHONPATH": _PATH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> str:
        """Return the next line it says; "" when it has ended."""
        return _pipe(self._process.stdout).readline().strip()

    def say(self, line: str) -> None:
        """Say a line to it."""
        stdin = _pipe(self._process.stdin)
        stdin.write(f"{line}\n")
        stdin.flush()

    def kill(self) -> str:
        """End it as a power cut would, and return what it said before."""
        self._process.kill()
        return self._rest()[0]

    def end(self) -> None:
        """Kill it if it still runs."""
        if self._process.returncode is None:
            self.kill()

    def finish(self) -> str:
        """Wait for its end, which must be a good one, and return what it still had to say."""
        said, complaint = self._rest()
        assert not complaint, complaint
        assert self._process.returncode == 0
        return said.strip()

    def _rest(self) -> tuple[str, str]:
        # Not communicate(): that loses what a pipe has read ahead.
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        with self._process:
            return _pipe(self._process.stdout).read(), _pipe(self._process.stderr).read()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def running(source: str, *arguments: str) -> Generator[Program]:
    """Run a program, and see that it is gone afterwards."""
    program = Program(source, *arguments)
    try:
        yield program
    finally:
        program.end()


def run(source: str, *arguments: str) -> str:
    """Run a program to its end and return what it said."""
    return Program(source, *arguments).finish()
