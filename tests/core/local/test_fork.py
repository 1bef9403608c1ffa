"""A forked child and its parent use the same store without harming each other."""

from __future__ import annotations

from pathlib import Path

from core.local import programs

# The parent closes while the child has the file open. Had the child taken over the parent's view
# of the locks, the parent would delete the log that the child goes on writing to.
_TAKING_TURNS = """
backend = SqliteBackend(path)
anyio.run(store, backend, "before")
to_child, from_parent = os.pipe()[::-1]
to_parent, from_child = os.pipe()[::-1]

if os.fork() == 0:
    anyio.run(store, backend, "child-1")
    os.write(to_parent, b"x")
    os.read(from_parent, 1)
    anyio.run(store, backend, "child-2")
    print(*anyio.run(ids_in, backend), flush=True)
    anyio.run(backend.aclose)
    os._exit(0)

os.read(from_child, 1)
anyio.run(store, backend, "parent")
anyio.run(backend.aclose)
os.write(to_child, b"x")
assert os.wait()[1] == 0
say(*anyio.run(ids_in, SqliteBackend(path)))
"""

# Forking waits for a transaction, so a child never sees half of one.
_IN_THE_MIDDLE = """
import threading
backend = SqliteBackend(path)
stop = threading.Event()
written = []

async def write():
    while not stop.is_set():
        batch = [f"r{len(written)}-{each}" for each in range(20)]
        await store(backend, *batch)
        written.append(batch)
        await rows_in(backend)

thread = threading.Thread(target=anyio.run, args=[write])
thread.start()
while not written:
    pass
for number in range(8):
    if os.fork() == 0:
        found = anyio.run(ids_in, backend)
        anyio.run(store, backend, f"child-{number}")
        anyio.run(backend.aclose)
        os._exit(0 if sum(each.startswith("r") for each in found) % 20 == 0 else 1)
codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(8)]
stop.set()
thread.join()
anyio.run(backend.aclose)
found = anyio.run(ids_in, SqliteBackend(path))
assert set(found) == {each for batch in written for each in batch} | {
    f"child-{number}" for number in range(8)
}
say(*codes)
"""


def test_parent_and_child_take_turns(path: Path) -> None:
    """Each opens the file for itself, and what either was told is stored stays stored."""
    said = programs.run(_TAKING_TURNS, str(path)).splitlines()
    assert said == ["before child-1 child-2 parent", "before child-1 child-2 parent"]


def test_forking_while_writing(path: Path) -> None:
    """Children forked from a busy process find whole batches and can write at once."""
    assert programs.run(_IN_THE_MIDDLE, str(path)).split() == ["0"] * 8


def test_a_child_that_never_looks(path: Path) -> None:
    """A child that ends without using the store leaves the parent's alone."""
    source = """
    import gc
    backend = SqliteBackend(path)
    anyio.run(store, backend, "a")
    if os.fork() == 0:
        del backend
        gc.collect()
        sys.exit(0)
    assert os.wait()[1] == 0
    anyio.run(store, backend, "b")
    say(*anyio.run(ids_in, backend))
    """
    assert programs.run(source, str(path)) == "a b"
