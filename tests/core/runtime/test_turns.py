"""One at a time, in the order of coming, whatever loop the callers are on and however they end."""

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import pytest
import trio

from core.runtime.surroundings import ForeignLoop
from memlane.errors import LoopError
from memlane.runtime import OwnedLoop, SyncBridge
from memlane.runtime.turns import Turns


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.lowlevel.checkpoint()


def waiting(turns: Turns, key: str = "key") -> int:
    line = turns._lines.get(key)
    return len(line.waiting) if line else 0


class Room:
    """A place for one, which notices when a second one is in it."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.order: list[object] = []

    async def visit(self, turns: Turns, keys: list[str], name: object, steps: int = 3) -> None:
        async with turns.taken(keys):
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(name)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            self.inside -= 1


async def test_one_at_a_time_in_the_order_of_coming() -> None:
    """Twenty callers of one key never meet, and nobody is overtaken."""
    turns, room = Turns(), Room()
    async with anyio.create_task_group() as tasks, turns.taken(["key"]):
        for name in range(20):
            tasks.start_soon(room.visit, turns, ["key"], name)
            await until(lambda name=name: waiting(turns) > name)  # type: ignore[misc] # a default of a lambda
    assert room.most == 1
    assert room.order == list(range(20))
    assert len(turns) == 0


async def test_other_keys_do_not_wait() -> None:
    """A turn at one key holds up nobody at another."""
    turns = Turns()
    async with turns.taken(["a"]), turns.taken(["b"]):
        assert len(turns) == 2
    assert len(turns) == 0


async def test_several_keys_in_any_order_never_lock_up() -> None:
    """Everybody takes them in one order; repeats and none at all are fine."""
    turns, room = Turns(), Room()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for name in range(30):
                keys = ["a", "b", "c"]
                tasks.start_soon(
                    room.visit, turns, keys[name % 3 :] + keys[: name % 3] + ["a"], name
                )
    assert (room.most, len(room.order), len(turns)) == (1, 30, 0)
    async with turns.taken([]):
        assert len(turns) == 0


async def test_cancelled_while_waiting_gives_the_place_back() -> None:
    """Those behind move up; the holder notices nothing."""
    turns, order = Turns(), list[int]()
    scopes = {n: anyio.CancelScope() for n in range(3)}

    async def visit(n: int) -> None:
        with scopes[n]:
            async with turns.taken(["other", "key"]):
                order.append(n)

    async with anyio.create_task_group() as tasks:
        async with turns.taken(["key"]):
            for n in range(3):
                tasks.start_soon(visit, n)
                await until(lambda n=n: waiting(turns) > n)  # type: ignore[misc] # a default of a lambda
            scopes[0].cancel()
            await until(lambda: waiting(turns) == 2)
        await until(lambda: len(order) == 2)
    assert order == [1, 2]
    assert len(turns) == 0


async def test_cancelled_in_the_moment_of_being_next() -> None:
    """A turn given to somebody who is cancelled before hearing of it goes on to the next."""
    turns, order, scope = Turns(), list[str](), anyio.CancelScope()

    async def first() -> None:
        with scope:
            async with turns.taken(["key"]):
                order.append("first")

    async def second() -> None:
        async with turns.taken(["key"]):
            order.append("second")

    async with anyio.create_task_group() as tasks:
        async with turns.taken(["key"]):
            tasks.start_soon(first)
            await until(lambda: waiting(turns) == 1)
            tasks.start_soon(second)
            await until(lambda: waiting(turns) == 2)
        scope.cancel()
    assert order == ["second"]
    assert len(turns) == 0


async def test_an_error_inside_ends_the_turn() -> None:
    """And is the caller's own."""
    turns = Turns()
    with pytest.raises(ValueError, match="mine"):
        async with turns.taken(["key"]):
            raise ValueError("mine")
    assert len(turns) == 0


def test_loops_threads_and_trio_share_turns(owned: OwnedLoop) -> None:
    """Five loops of three kinds: one counter, no lost update."""
    turns = Turns()
    count = 0

    async def add() -> None:
        nonlocal count
        for _ in range(40):
            async with turns.taken(["key", "second"]):
                seen = count
                await anyio.lowlevel.checkpoint()
                count = seen + 1

    bridge = SyncBridge(owned)
    with ThreadPoolExecutor(5) as threads:
        running = [threads.submit(asyncio.run, add()) for _ in range(2)]
        running += [threads.submit(trio.run, add) for _ in range(2)]
        running.append(threads.submit(bridge.call, add))
        for each in running:
            each.result(60)
    assert count == 200
    assert len(turns) == 0


async def _hold(turns: Turns, held: threading.Event) -> None:
    async with turns.taken(["key"]):
        held.set()
        await asyncio.Event().wait()


async def test_a_holder_whose_loop_was_closed_is_passed_over(foreign: ForeignLoop) -> None:
    """Even when its task is still referenced, so that nothing of it was finalised."""
    turns, held = Turns(probe_seconds=0.01), threading.Event()
    foreign.silence()
    task = foreign.spawn(_hold(turns, held))
    await until(held.is_set)
    await anyio.to_thread.run_sync(foreign.abandon)
    with anyio.fail_after(20):
        async with turns.taken(["key"]):
            assert len(turns) == 1
    assert len(turns) == 0
    del task


def test_a_holder_thrown_away_with_its_loop_leaves(foreign: ForeignLoop) -> None:
    """Collected with its loop, it gives its turn back by itself."""
    turns, held = Turns(), threading.Event()
    foreign.silence()
    foreign.spawn(_hold(turns, held))
    assert held.wait(10)
    foreign.abandon()
    foreign.loop = asyncio.new_event_loop()
    foreign.loop.close()
    gc.collect()
    assert len(turns) == 0


async def test_a_dead_loop_in_the_line_is_passed_over(foreign: ForeignLoop) -> None:
    """A turn given to a loop that was closed meanwhile does not end there."""
    turns, held = Turns(probe_seconds=0.01), threading.Event()
    foreign.silence()
    async with turns.taken(["key"]):
        # From a thread: a trio task's context would make anyio take that loop for trio.
        task = await anyio.to_thread.run_sync(foreign.spawn, _hold(turns, held))
        await until(lambda: waiting(turns) == 1)
        await anyio.to_thread.run_sync(foreign.abandon)
    with anyio.fail_after(20):
        async with turns.taken(["key"]):
            assert not held.is_set()
    del task


@pytest.mark.usefixtures("blocking_is_meant")
def test_a_synchronous_call_inside_a_turn_does_not_lock_up(owned: OwnedLoop) -> None:
    """The holder's loop stands still until the one who waits has been: it is let by."""
    turns, order, bridge = Turns(probe_seconds=0.01), list[str](), SyncBridge(owned)

    async def inner() -> None:
        async with turns.taken(["key"]):
            order.append("inner")

    async def outer() -> None:
        async with turns.taken(["key"]):
            bridge.call(inner, timeout=20)
            order.append("outer")
        async with turns.taken(["key"]):
            order.append("again")

    asyncio.run(outer())
    assert order == ["inner", "outer", "again"]
    assert len(turns) == 0


async def test_a_living_holder_is_never_passed_over() -> None:
    """However often those who wait look: slow is not dead."""
    turns, order, looks = Turns(probe_seconds=0.001), list[str](), 0
    ask = turns._ask

    def counted(key: str, me: object) -> object:
        nonlocal looks
        looks += 1
        return ask(key, me)  # type: ignore[arg-type] # passed on as it came

    turns._ask = counted  # type: ignore[method-assign, assignment]

    async def second() -> None:
        async with turns.taken(["key"]):
            order.append("second")

    async with anyio.create_task_group() as tasks, turns.taken(["key"]):
        tasks.start_soon(second)
        await until(lambda: looks > 10)
        order.append("first")
    assert order == ["first", "second"]


async def test_one_who_was_given_up_joins_the_line_again() -> None:
    """Its turn went by while its thread stood still; it waits anew and is not forgotten."""
    turns, order = Turns(probe_seconds=0.01), list[str]()

    async def visit(name: str) -> None:
        async with turns.taken(["key"]):
            order.append(name)

    async with anyio.create_task_group() as tasks, turns.taken(["key"]):
        tasks.start_soon(visit, "late")
        await until(lambda: waiting(turns) == 1)
        turns._lines["key"].waiting.clear()  # as when it was the holder, and was passed over
        tasks.start_soon(visit, "next")
        await until(lambda: waiting(turns) >= 1)
    assert sorted(order) == ["late", "next"]
    assert len(turns) == 0


def test_outside_a_loop_there_are_no_turns() -> None:
    """A coroutine driven by hand has nobody who could wake it."""
    turns = Turns()
    waiting_for = turns.take("key")
    with pytest.raises(LoopError):
        waiting_for.send(None)
    assert len(turns) == 0
