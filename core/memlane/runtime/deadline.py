"""A caller who waits no longer must get our error with the operation in it, on either loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from memlane.errors import DeadlineExceededError

if TYPE_CHECKING:
    from memlane.scope import Scope

__all__ = ("within",)


@asynccontextmanager
async def within(
    seconds: float | None, *, operation: str, scope: Scope | None = None
) -> AsyncGenerator[None]:
    """Cancel the block when it takes longer than `seconds`; None sets no limit.

    Args:
        seconds: From now. Zero or less: the first thing that waits is cancelled.
        operation: The verb, for the error.
        scope: Whose memory it is about, for the error.

    Raises:
        DeadlineExceededError: The block was cancelled. A TimeoutError of its own passes through.
    """
    if seconds is None:
        yield
        return
    with anyio.move_on_after(seconds) as limit:
        yield
    if limit.cancelled_caught:
        raise DeadlineExceededError(
            f"not finished within {seconds:g} seconds", operation=operation, scope=scope
        )
