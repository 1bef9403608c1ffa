"""A deadline becomes our error on both loops, and nothing else does."""

import anyio
import anyio.lowlevel
import pytest

from memlane.errors import DeadlineExceededError
from memlane.runtime import within


async def test_a_block_that_takes_too_long_is_cancelled() -> None:
    """The error names the operation and is a TimeoutError."""
    with pytest.raises(TimeoutError, match=r"^retrieve: not finished within 0\.01 s") as caught:
        async with within(0.01, operation="retrieve"):
            await anyio.sleep_forever()
    assert isinstance(caught.value, DeadlineExceededError)


async def test_a_block_that_is_fast_enough_is_left_alone() -> None:
    """Neither a far deadline nor none changes anything."""
    async with within(60, operation="retrieve"):
        await anyio.lowlevel.checkpoint()
    async with within(None, operation="retrieve"):
        await anyio.lowlevel.checkpoint()


async def test_a_timeout_of_the_block_itself_passes_through() -> None:
    """What the block raised is not ours to rename."""
    with pytest.raises(TimeoutError, match="socket") as caught:
        async with within(60, operation="retrieve"):
            raise TimeoutError("socket")
    assert not isinstance(caught.value, DeadlineExceededError)


async def test_an_outer_cancellation_is_not_a_deadline() -> None:
    """A caller who is cancelled gets a cancellation."""
    with anyio.CancelScope() as outer:
        outer.cancel()
        async with within(60, operation="retrieve"):
            await anyio.sleep_forever()
    assert outer.cancelled_caught


async def test_the_nearer_of_two_deadlines_is_the_one_reported() -> None:
    """An inner deadline's error goes through the outer one unchanged."""
    with pytest.raises(DeadlineExceededError, match=r"^embed: "):
        async with within(60, operation="retrieve"), within(0, operation="embed"):
            await anyio.sleep_forever()
