"""A forked child starts its own loops and leaves its parent's sockets alone."""

import os
from collections.abc import Callable

import pytest

Run = Callable[[str], str]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

SETTING = """
import asyncio, gc, os, sys, threading, weakref
from memlane.runtime import Homes, SingleFlight, WorkerThreads, io_loop, work_loop

asked, release = threading.Event(), threading.Event()

async def serve(reader, writer):
    while line := await reader.readline():
        if line == b"slow\\n":
            asked.set()
            await asyncio.to_thread(release.wait)
        writer.write(line)
        await writer.drain()
    writer.close()

ports = []
listening = threading.Event()

async def server():
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    ports.append(listener.sockets[0].getsockname()[1])
    listening.set()
    await listener.serve_forever()

threading.Thread(target=lambda: asyncio.run(server()), daemon=True).start()
listening.wait()
opened, writers = [], []

async def connect():
    opened.append(os.getpid())
    line = await asyncio.open_connection("127.0.0.1", ports[0])
    writers.append(weakref.ref(line[1]))
    return line

async def hang_up(line):
    line[1].close()
    await line[1].wait_closed()

async def ask(line, text):
    line[1].write(f"{text}\\n".encode())
    await line[1].drain()
    return (await line[0].readline()).decode().strip()

def say(*words):
    print(*words, flush=True)

def in_child(act):
    pid = os.fork()
    if pid == 0:
        act()
        gc.collect()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0

homes = Homes(connect, hang_up)
"""


def test_a_fork_with_a_call_in_flight(run_script: Run) -> None:
    """The parent's call completes, and the child opens a connection and makes its own calls."""
    printed = run_script(
        SETTING
        + """
def call_slowly():
    say("parent", asyncio.run(homes.run(ask, "slow")))

caller = threading.Thread(target=call_slowly)
caller.start()
asked.wait()
before = io_loop().generation

def child():
    assert io_loop().generation == before + 1
    say("child", asyncio.run(homes.run(ask, "async")))
    say("child", work_loop().call_sync(homes.run, ask, "sync"))
    assert opened == [os.getppid(), os.getpid()]
    asyncio.run(homes.aclose())

in_child(child)
release.set()
caller.join()
say("parent", asyncio.run(homes.run(ask, "again")))
assert opened == [os.getpid()]
"""
    )
    assert printed.splitlines() == ["child async", "child sync", "parent slow", "parent again"]


def test_what_the_parent_opened_is_never_collected_in_the_child(run_script: Run) -> None:
    """Collecting a connection closes it, and takes it out of the parent's epoll set as well."""
    printed = run_script(
        SETTING
        + """
async def main():
    await homes.enter()
    await homes.run(ask, "entered")
    await work_loop().call(homes.run, ask, "owned")

    def child():
        global homes
        del homes
        gc.collect()
        say("kept", *(writer().is_closing() for writer in writers))
        os._exit(0)

    in_child(child)
    say("parent", await homes.run(ask, "entered"))
    say("parent", await work_loop().call(homes.run, ask, "owned"))
    await homes.aclose()

asyncio.run(main())
"""
    )
    assert printed.splitlines() == ["kept False False", "parent entered", "parent owned"]


def test_a_fork_of_a_program_that_entered(run_script: Run) -> None:
    """The entering loop is the parent's: its connection survives what the child does."""
    printed = run_script(
        SETTING
        + """
async def main():
    await homes.enter()
    say("parent", await homes.run(ask, "before"))
    slow = asyncio.create_task(homes.run(ask, "slow"))
    await asyncio.to_thread(asked.wait)

    def child():
        asyncio.set_event_loop(None)
        say("child", work_loop().call_sync(homes.run, ask, "sync"))
        os._exit(0)

    in_child(child)
    release.set()
    say("parent", await slow)
    await homes.aclose()

asyncio.run(main())
"""
    )
    assert printed.splitlines() == ["parent before", "child sync", "parent slow"]


def test_threads_and_flights_of_the_parent_do_not_hold_up_the_child(run_script: Run) -> None:
    """A busy pool and a flight under way belong to threads that the child does not have."""
    printed = run_script(
        SETTING
        + """
pool = WorkerThreads("pool", 1)
flight = SingleFlight()
started = threading.Event()

def block():
    started.set()
    release.wait()
    return "blocked"

async def on_pool():
    return await pool.run(block)

caller = threading.Thread(target=lambda: say("parent", asyncio.run(flight.run("key", on_pool))))
caller.start()
started.wait()

async def quickly():
    return await pool.run(lambda: "own thread")

def child():
    say("child", asyncio.run(flight.run("key", quickly)))

in_child(child)
release.set()
caller.join()
"""
    )
    assert printed.splitlines() == ["child own thread", "parent blocked"]


def test_exit_calls_of_the_parent_are_not_made_in_the_child(run_script: Run) -> None:
    """What they drain and close is the parent's."""
    printed = run_script(
        SETTING
        + """
async def drain():
    say("drained by", "parent" if os.getpid() == parent else "child")

async def nothing():
    pass

parent = os.getpid()
io_loop().on_exit(drain)
io_loop().call_sync(nothing)
in_child(lambda: io_loop().call_sync(nothing))
"""
    )
    assert printed == "drained by parent\n"


def test_an_iteration_of_the_parent_is_not_closed_in_the_child(run_script: Run) -> None:
    """Its source may hold a connection of the parent."""
    printed = run_script(
        SETTING
        + """
from memlane.runtime import SyncBridge

async def numbers():
    try:
        for number in range(3):
            yield number
    finally:
        say("closed by", "parent" if os.getpid() == parent else "child")

parent = os.getpid()
iterating = SyncBridge().iterate(numbers())
next(iterating)

async def nothing():
    pass

def child():
    iterating.close()
    work_loop().call_sync(nothing)
    work_loop().stop()

in_child(child)
iterating.close()
"""
    )
    assert printed == "closed by parent\n"


def test_a_fork_from_an_owned_thread(run_script: Run) -> None:
    """In the child that thread is an ordinary one, and may make synchronous calls."""
    printed = run_script(
        SETTING
        + """
async def fork_here():
    def child():
        say("child", io_loop().call_sync(homes.run, ask, "sync"))
        os._exit(0)

    in_child(child)

work_loop().call_sync(fork_here)
"""
    )
    assert printed == "child sync\n"
