"""Several calls at once, with the answers in order and one error for all."""

from __future__ import annotations

import functools
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
    all_calls = list(calls)
    if len(all_calls) == 1:
        return [await all_calls[0]()]
    waiting = iter(enumerate(all_calls))
    found: dict[int, T] = {}
    errors: list[Exception] = []

    async def work() -> None:
        for place, call in waiting:
            if errors:
                return  # cancelled tasks that have not begun yet begin all the same
            try:
                found[place] = await call()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(all_calls))):
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
    errors: list[Exception] = []

    async def attempt(call: Callable[[], Awaitable[object]]) -> bool:
        if errors:
            return False
        try:
            await call()
        except Exception as error:  # noqa: BLE001 - returned below
            errors.append(error)
            return False
        return True

    succeeded = await together(
        [functools.partial(attempt, call) for call in calls], at_once=at_once
    )
    return succeeded, errors[0] if errors else None
