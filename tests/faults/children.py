"""Other processes that cost ten milliseconds each, so that a test can start and kill hundreds.

They are forked by a server that has imported everything and has never opened a store.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import traceback
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeAlias

import anyio

import memlane.errors

P = ParamSpec("P")

_MODULES = ["faults.lives", "faults.writers", "faults.readers", "faults.filling"]
_PATH = os.pathsep.join(
    str(each) for each in (Path(memlane.errors.__file__).parents[1], Path(__file__).parents[1])
)
_BROKEN = "broken"

Words: TypeAlias = "tuple[Any, ...]"


class Line:
    """A child's line to its parent; what was said is heard, even if the child is killed next."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def say(self, *words: Any) -> None:
        """Tell the parent."""
        self._connection.send(words)

    def hear(self) -> Words:
        """Wait for what the parent says."""
        words: Words = self._connection.recv()
        return words

    def asked(self) -> bool:
        """Say whether the parent has said something that was not heard yet."""
        return self._connection.poll()


Work: TypeAlias = "Callable[Concatenate[Line, P], Awaitable[None]]"


def _run(connection: Connection, work: Work[...], *args: Any) -> None:
    line = Line(connection)
    try:
        anyio.run(work, line, *args)
    except BaseException:  # noqa: BLE001 - the parent raises it
        line.say(_BROKEN, traceback.format_exc())


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_MODULES)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = _PATH
    try:
        # The server takes what it imports from the environment it is started in.
        starter = context.Process(target=_nothing)
        starter.start()
        starter.join()
        starter.close()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def _nothing() -> None:
    pass


class Child:
    """A process that does some work and tells of it."""

    def __init__(self, work: Work[P], *args: P.args, **kwargs: P.kwargs) -> None:
        assert not kwargs
        server = _server()
        self._connection, theirs = server.Pipe()
        self._process = server.Process(target=_run, args=(theirs, work, *args))
        self._process.start()
        theirs.close()

    def hear(self) -> Words:
        """Return what it says next, () when it has ended."""
        try:
            words: Words = self._connection.recv()
        except (EOFError, ConnectionResetError):
            return ()
        if words[0] == _BROKEN:
            raise AssertionError(words[1])
        return words

    def say(self, *words: Any) -> None:
        """Tell it something."""
        self._connection.send(words)

    def kill(self) -> list[Words]:
        """End it by SIGKILL and return what it had said before."""
        self._process.kill()
        return self.rest()

    def rest(self) -> list[Words]:
        """Wait until it has ended and return what it still said."""
        said: list[Words] = []
        while words := self.hear():
            said.append(words)
        self._process.join()
        return said

    @property
    def signal(self) -> int:
        """By which signal it was ended, 0 if by none."""
        return max(0, -(self._process.exitcode or 0))

    def end(self) -> None:
        """See that it is gone."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()


@contextmanager
def child(work: Work[P], *args: P.args, **kwargs: P.kwargs) -> Generator[Child]:
    """Run some work in a process, and see that it is gone afterwards."""
    started = Child(work, *args, **kwargs)
    try:
        yield started
    finally:
        started.end()
