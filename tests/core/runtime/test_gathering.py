"""Several calls at once: what they return, how they fail, and what a cancellation does to them."""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from memlane.runtime import attempted, together

Several = Callable[[Sequence[Callable[[], Awaitable[int]]]], Coroutine[Any, Any, object]]


class Crowd:
    """Calls that wait for each other, and what became of them."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.most = 0
        self._inside = 0

    async def call(self, number: int, *, steps: int = 1) -> int:
        """Return the number after so many turns of the loop."""
        self.begun.append(number)
        self._inside += 1
        self.most = max(self.most, self._inside)
        try:
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(number)
            raise
        finally:
            self._inside -= 1
        self.ended.append(number)
        return number

    async def fail(self, number: int, *, steps: int = 1) -> int:
        """Raise the number after so many turns of the loop."""
        await self.call(number, steps=steps)
        raise LookupError(number)

    async def hang(self, number: int) -> int:
        """Wait to be cancelled, and fail while cleaning up."""
        try:
            return await self.call(number, steps=1_000_000)
        except anyio.get_cancelled_exc_class() as exc:
            raise OSError(number) from exc


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


async def test_answers_come_in_the_order_of_the_calls(crowd: Crowd) -> None:
    """However long each of them takes."""
    calls = [functools.partial(crowd.call, n, steps=10 - n) for n in range(10)]
    assert await together(calls) == list(range(10))
    assert crowd.ended != sorted(crowd.ended)


@pytest.mark.parametrize("count", [0, 1])
async def test_few_calls(crowd: Crowd, count: int) -> None:
    """None and one are as many as any."""
    calls = [functools.partial(crowd.call, n) for n in range(count)]
    assert await together(calls) == list(range(count))
    assert await attempted(calls) == ([True] * count, None)


@pytest.mark.parametrize("at_once", [1, 3, 50])
async def test_so_many_are_under_way_at_a_time(crowd: Crowd, at_once: int) -> None:
    """Never more, and no fewer while there are calls left."""
    calls = [functools.partial(crowd.call, n, steps=3) for n in range(20)]
    assert await together(calls, at_once=at_once) == list(range(20))
    assert crowd.most == min(at_once, 20)
    assert crowd.begun == list(range(20))


async def test_the_first_failure_is_raised_bare_and_ends_the_others(crowd: Crowd) -> None:
    """The error itself, in no group; what was under way is cancelled, and nothing more begins."""
    calls = [functools.partial(crowd.call, n, steps=1_000) for n in range(3)]
    calls.insert(1, functools.partial(crowd.fail, 9, steps=2))
    calls += [functools.partial(crowd.call, n) for n in range(4, 8)]
    with pytest.raises(LookupError) as caught:
        await together(calls, at_once=4)
    assert caught.value.args == (9,)
    assert sorted(crowd.cancelled) == [0, 1, 2]
    assert sorted(crowd.begun) == [0, 1, 2, 9]


async def test_of_two_failures_the_first_one_counts(crowd: Crowd) -> None:
    """The other one is caused by it: a call that fails because it was cancelled."""
    calls = [functools.partial(crowd.hang, 0), functools.partial(crowd.fail, 1, steps=2)]
    with pytest.raises(LookupError):
        await together(calls)
    with pytest.raises(LookupError):
        await together(reversed(calls))


async def test_two_failures_in_one_turn(crowd: Crowd) -> None:
    """One of them is raised, and bare."""
    with pytest.raises(LookupError):
        await together([functools.partial(crowd.fail, n, steps=0) for n in range(2)])
    assert len(crowd.begun) == 1, "what has not begun when one fails never does"


async def test_one_call_fails_as_it_would_alone(crowd: Crowd) -> None:
    """The only call's error is the answer's."""
    with pytest.raises(LookupError):
        await together([functools.partial(crowd.fail, 0)])
    succeeded, error = await attempted([functools.partial(crowd.fail, 0)])
    assert succeeded == [False]
    assert isinstance(error, LookupError)


@pytest.mark.parametrize("several", [together, attempted])
async def test_a_cancellation_from_outside_ends_them_all(crowd: Crowd, several: Several) -> None:
    """The caller gets a cancellation, not an error and not an answer."""
    calls = [functools.partial(crowd.call, n, steps=1_000_000) for n in range(3)]
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(several, calls)
            while len(crowd.begun) < 3:
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught
    assert sorted(crowd.cancelled) == [0, 1, 2]
    assert not crowd.ended


async def test_what_was_attempted_is_told(crowd: Crowd) -> None:
    """Calls that were begun end, those after the error are not begun, and the error is told."""
    calls = [functools.partial(crowd.call, n, steps=20) for n in range(3)]
    calls.insert(1, functools.partial(crowd.fail, 9))
    calls += [functools.partial(crowd.call, n) for n in range(4, 8)]
    succeeded, error = await attempted(calls, at_once=3)
    assert succeeded == [True, False, True] + [False] * 5
    assert isinstance(error, LookupError)
    assert error.args == (9,)
    assert sorted(crowd.begun) == [0, 1, 9]
    assert not crowd.cancelled


async def test_all_that_was_attempted_succeeded(crowd: Crowd) -> None:
    """Then there is no error."""
    calls = [functools.partial(crowd.call, n) for n in range(30)]
    assert await attempted(calls, at_once=4) == ([True] * 30, None)
