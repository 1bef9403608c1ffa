"""Whose time is up is told so, by one timer for all; nobody else notices."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Awaitable

import pytest

from memlane.aws.bounds import Bounds

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

AT_ONCE = 0.001
NEVER = 3_600.0


async def bounded(bounds: Bounds, seconds: float, wanted: Awaitable[object]) -> None:
    with bounds.within(seconds):
        await wanted


def cancellations() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_who_takes_too_long_is_told() -> None:
    """And is not cancelled any more: the task goes on."""
    bounds = Bounds()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await bounded(bounds, AT_ONCE, asyncio.Event().wait())
        assert cancellations() == 0


async def test_each_has_an_end_of_its_own() -> None:
    """One that begins later may end sooner, and the next is seen to when one has ended."""
    bounds, done = Bounds(), asyncio.Event()
    patient = asyncio.create_task(bounded(bounds, NEVER, done.wait()))
    await asyncio.sleep(0)
    hurried = [
        asyncio.create_task(bounded(bounds, seconds, done.wait()))
        for seconds in (20 * AT_ONCE, AT_ONCE, 10 * AT_ONCE)
    ]
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*hurried, return_exceptions=True)
    assert [type(end) for end in ends] == [TimeoutError] * 3
    assert not patient.done()
    done.set()
    await patient


async def test_who_was_in_time_is_left_alone() -> None:
    """When that time has come, something else is under way."""
    bounds = Bounds()
    await bounded(bounds, AT_ONCE, asyncio.sleep(0))
    with pytest.raises(TimeoutError):
        await bounded(bounds, 10 * AT_ONCE, asyncio.Event().wait())
    assert cancellations() == 0


async def test_one_timer_for_all() -> None:
    """Of many that end at about the same time."""
    bounds, done = Bounds(), asyncio.Event()
    loop = asyncio.get_running_loop()
    before = len(loop._scheduled)  # type: ignore[attr-defined]
    many = [asyncio.create_task(bounded(bounds, NEVER, done.wait())) for _ in range(50)]
    await asyncio.sleep(0)
    assert len(loop._scheduled) == before + 1  # type: ignore[attr-defined]
    done.set()
    await asyncio.gather(*many)
    bounds.close()


async def test_cancelled_by_somebody_else_as_well() -> None:
    """That is what counts."""
    bounds = Bounds()
    bound = bounds.within(NEVER)

    async def wait() -> None:
        with bound:
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    bound.end()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_comes_through() -> None:
    """What the block made of its end is not hidden, and nothing of the cancellation is left."""
    bounds = Bounds()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError("its own") from None

    with pytest.raises(KeyError):
        await bounded(bounds, AT_ONCE, wait())
    assert cancellations() == 0


async def test_closed() -> None:
    """All that is under way ends, and no timer is left on the loop."""
    bounds = Bounds()
    tasks = [asyncio.create_task(bounded(bounds, 600.0, asyncio.Event().wait())) for _ in range(3)]
    await asyncio.sleep(0)
    bounds.close()
    assert bounds._timer is None
    for task in tasks:
        with pytest.raises(TimeoutError):
            await task


async def test_a_callers_context_is_not_kept() -> None:
    """By the timer, which stays: what the first one carried can go."""

    class Carried:
        pass

    bounds = Bounds()
    carrying: contextvars.ContextVar[Carried] = contextvars.ContextVar("carrying")

    async def first() -> weakref.ref[Carried]:
        carried = Carried()
        carrying.set(carried)
        with bounds.within(NEVER):
            await asyncio.sleep(0)
        return weakref.ref(carried)

    seen = await asyncio.create_task(first())
    await asyncio.sleep(0)  # until now the loop is waking this one up with that task
    gc.collect()
    assert seen() is None
    bounds.close()
