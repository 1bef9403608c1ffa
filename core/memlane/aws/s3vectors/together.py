"""Several calls at once, with the answers in order and one error for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

import anyio

__all__ = ("attempted", "together")

T = TypeVar("T")

AT_ONCE: Final = 16
"""Of one caller: the connections are everybody's."""


async def together(
    calls: Iterable[Callable[[], Awaitable[T]]], *, at_once: int = AT_ONCE
) -> Sequence[T]:
    """Return what the calls return, in their order.

    The first error cancels the others and is raised as it is, in no group.

    Args:
        calls: Async functions without arguments.
        at_once: How many are under way at a time.
    """
    waiting = list(enumerate(calls))
    if len(waiting) == 1:
        return [await waiting[0][1]()]
    waiting.reverse()
    found: dict[int, T] = {}
    errors: list[Exception] = []

    async def work() -> None:
        while waiting and not errors:
            place, call = waiting.pop()
            try:
                found[place] = await call()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
                group.cancel_scope.cancel()

    count = min(at_once, len(waiting))
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(work)
    if errors:
        raise errors[0]
    return [found[place] for place in range(len(found))]


async def attempted(
    calls: Iterable[Callable[[], Awaitable[object]]], *, at_once: int = AT_ONCE
) -> tuple[Sequence[bool], Exception | None]:
    """Return which of the calls succeeded, and the first error there was.

    After an error no further call is begun, and those that were begun are waited for: what they
    do is then done, or not done, and nothing arrives later.

    Args:
        calls: Async functions without arguments.
        at_once: How many are under way at a time.
    """
    waiting = list(enumerate(calls))
    if len(waiting) == 1:
        try:
            await waiting[0][1]()
        except Exception as error:  # noqa: BLE001 - returned
            return [False], error
        return [True], None
    succeeded = [False] * len(waiting)
    errors: list[Exception] = []
    waiting.reverse()

    async def work() -> None:
        while waiting and not errors:
            place, call = waiting.pop()
            try:
                await call()
            except Exception as error:  # noqa: BLE001 - returned below
                errors.append(error)
            else:
                succeeded[place] = True

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(waiting))):
            group.start_soon(work)
    return succeeded, errors[0] if errors else None
