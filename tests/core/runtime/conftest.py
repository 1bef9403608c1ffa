"""Loops of other people, a real server to connect to, and interpreters of their own."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster

import memlane.errors
from core.runtime.surroundings import EchoServer, ForeignLoop
from memlane.runtime import OwnedLoop, WorkerThreads


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def owned() -> Iterator[OwnedLoop]:
    loop = OwnedLoop("owned-in-test")
    yield loop
    loop.stop()


@pytest.fixture
def pool() -> Iterator[WorkerThreads]:
    threads = WorkerThreads("pool-in-test", 1)
    yield threads
    threads.close()
    assert threads.join(10)


@pytest.fixture
def foreign() -> Iterator[ForeignLoop]:
    loop = ForeignLoop()
    yield loop
    loop.abandon()


@pytest.fixture
def echo_server() -> Iterator[EchoServer]:
    server = EchoServer()
    home = OwnedLoop("echo-server")
    listening = home.call_sync(server.start)
    yield server

    async def close() -> None:
        listening.close()

    home.call_sync(close)
    home.stop()


@pytest.fixture
def control_c() -> Iterator[None]:
    """Python's own answer to Control-C, which a process started in the background may lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def blocking_is_meant(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a synchronous call block the loop it is made in: that is what it does there."""
    blockbuster: BlockBuster = request.getfixturevalue("blockbuster")
    blockbuster.deactivate()
    yield
    blockbuster.activate()


@pytest.fixture
def run_script() -> Callable[[str], str]:
    """Return a function that runs a program in its own interpreter and returns what it printed."""

    def run(source: str) -> str:
        packages = str(Path(memlane.errors.__file__).parents[1])
        inherited = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([packages, inherited] if inherited else [packages])
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stderr == ""
        assert done.returncode == 0
        return done.stdout

    return run
