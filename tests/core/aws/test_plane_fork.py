"""A forked child calls AWS over connections of its own, whatever its parent was doing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.runtime.conftest import run_script

__all__ = ("run_script",)

Run = Callable[[str], str]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

SETTING = f"""
import asyncio, gc, os, sys, threading

sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from core.aws.answering import AnsweringServer, Say
from core.aws.planes import CREDENTIALS, QUERY
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Request

server = AnsweringServer()
release = threading.Event()

def behave(asked):
    return Say(body=asked.body[:20], hold=release if b"slow" in asked.body else None)

server.behave = behave
plane = DataPlane(region="us-east-1", endpoint_urls={{"*": server.url}})

async def ask(text):
    request = Request("s3vectors", "QueryVectors", "/QueryVectors", text.encode())
    return (await plane.call(request, CREDENTIALS)).body.decode().strip(".")

def large(text):
    return text + "." * 2_000_000

def say(*words):
    # One write: two threads speak here, and `print` writes word by word.
    sys.stdout.write(" ".join([*map(str, words)]) + "\\n")
    sys.stdout.flush()

def in_child(act):
    pid = os.fork()
    if pid == 0:
        act()
        gc.collect()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_fork_with_calls_in_flight(run_script: Run) -> None:
    """On the entered loop and on the owned one: both end in the parent, the child has its own."""
    printed = run_script(
        SETTING
        + """
async def elsewhere():
    say("parent", await ask(large("slow elsewhere")))

async def main():
    await plane.enter()
    say("parent", await ask(large("first")))
    slow = asyncio.create_task(ask("slow entered"))
    caller = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    caller.start()
    await asyncio.to_thread(server.await_asked, 3)
    before = server.connections

    def child():
        async def ask_here():
            await plane.enter()
            say("child", await ask("small"), await ask(large("large")))
            await plane.aclose()
            say("child", await ask("later"))
            await plane.aclose()

        asyncio._set_running_loop(None)
        asyncio.set_event_loop(None)
        asyncio.run(ask_here())

    in_child(child)
    say("connections", server.connections - before)
    release.set()
    say("parent", await slow)
    await asyncio.to_thread(caller.join)
    say("parent", await ask("last"))
    say("connections", server.connections - before)
    await plane.aclose()

asyncio.run(main())
"""
    )
    lines = printed.splitlines()
    assert lines[:4] == ["parent first", "child small large", "child later", "connections 2"]
    assert sorted(lines[4:6]) == ["parent slow elsewhere", "parent slow entered"]
    assert lines[6:] == ["parent last", "connections 2"]


def test_a_fork_in_the_middle_of_counting(run_script: Run) -> None:
    """The thread that held the pace's, the budget's or the skew's lock is not in the child."""
    printed = run_script(
        SETTING
        + """
shared = plane._shared
shared.budgets.of("s3vectors").take()
for lock in (shared.pace._lock, shared.budgets.of("s3vectors")._lock, shared.skew._lock):
    lock.acquire()

def child():
    server_date = "Mon, 01 Jan 2035 00:00:00 GMT"
    say("child", asyncio.run(ask("asks")))
    shared.skew.keep(shared.skew.told(server_date, signed_at=0.0))
    say("child", shared.skew.offset != 0)

in_child(child)
"""
    )
    assert printed.splitlines() == ["child asks", "child True"]
