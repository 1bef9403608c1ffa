"""Who may delete one of the two indexes of a reembedding, when several are at it at once.

An index is deleted by its name, so a request that comes late may meet one that was made since.
Whoever is about to delete one says so in the other first, then looks whether somebody is about to
delete that one, and whether the first is still the one that was meant. Of two that would delete
both, one at least sees the other's word: the only copy is never deleted. Whoever is finished with
the one waits for such words, and takes as done what was said longer ago than any deletion takes.

How long that is, everybody measures on a clock of their own: those of two machines may be apart.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import anyio

from memlane.aws.s3vectors.census import as_put
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.naming import TURN_KEY
from memlane.aws.s3vectors.records import flat_of
from memlane.errors import (
    AccessDeniedError,
    ConflictError,
    CredentialsError,
    DeadlineExceededError,
    RequestRejectedError,
    TenantNotOnboardedError,
)

__all__ = ("created_of", "remove_in_turn", "wait_for_others")

DELETE_SECONDS: Final = 8.0
"""How long a deletion may take; nobody knows whether it was done when it takes longer."""

TURN_SECONDS: Final = 20.0
"""After which whoever said that they are about to delete does not do so any more."""

_POLL_SECONDS: Final = 0.25
_KEYS: Final = tuple(f"{TURN_KEY}{number:02}" for number in range(100))
"""As many as one request reads: an index is not listed while somebody waits."""


class _Turn(NamedTuple):
    """A word of somebody who is about to delete.

    Args:
        key: Where it lies.
        name: Whose it is; nobody else's is the same.
    """

    key: str
    name: str


async def created_of(index: Index) -> Any:
    """Return when an index was made, in the service's own words; None where there is none."""
    try:
        answer = await index.call("GetIndex", {})
    except TenantNotOnboardedError:
        return None
    return answer["index"].get("creationTime")


async def remove_in_turn(
    doomed: Index,
    is_due: Callable[[], Awaitable[bool]],
    *,
    reader: Index,
    told: Index,
    dimension: int,
) -> bool:
    """Delete an index; say so in the other one meanwhile. False where it was not deleted.

    Args:
        doomed: As somebody sees it who may delete it.
        is_due: Whether it is still the one that is meant; asked when the others are told.
        reader: The same index as somebody sees it who may read it.
        told: The other one.
        dimension: Of the other one.

    Raises:
        ConflictError: Somebody is about to delete the other one, or has done so.
        DeadlineExceededError: Nobody knows whether it was deleted.
        TenantNotOnboardedError: There is no other one.
    """
    try:
        key = await _take_turn(told, dimension)
    except RequestRejectedError as exc:
        raise _busy() from exc  # it has another dimension by now
    is_open = was_there = False
    try:
        with anyio.move_on_after(DELETE_SECONDS) as limit:
            # In this order: who is done with the other one is not seen by their word any more.
            if await _turns_in(reader):
                raise _busy()
            if not await is_due():
                return False
            is_open = True
            try:
                was_there = await doomed.remove()
            except (AccessDeniedError, CredentialsError, RequestRejectedError):
                is_open = False
                raise
            is_open = False
        if limit.cancelled_caught:
            raise DeadlineExceededError(
                "an index was not deleted in time", remedy="call it again: it goes on"
            )
        return was_there
    finally:
        if not is_open:  # else it may still be done, and the others had better wait
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + DELETE_SECONDS):
                await _clear(told, [key])


def _busy() -> ConflictError:
    return ConflictError(
        "another process ends this reembedding, or gives it up, at this moment",
        remedy="call it again",
    )


async def wait_for_others(index: Index) -> bool:
    """Wait until nobody is about to delete the other index any more; say whether somebody was.

    Those who say so later look what the other index is, and it is a new one by then.
    """
    left = turns = await _turns_in(index)
    with anyio.move_on_after(TURN_SECONDS):
        while left:
            await anyio.sleep(_POLL_SECONDS)
            left = turns & await _turns_in(index)
    if left:
        dead = turns & await _turns_in(index)
        await _clear(index, [turn.key for turn in dead])
    return bool(turns)


async def _take_turn(told: Index, dimension: int) -> str:
    taken = {turn.key for turn in await _turns_in(told)}
    key = secrets.choice([key for key in _KEYS if key not in taken] or _KEYS)
    word = {"key": key, "metadata": {"content": secrets.token_hex(8)}}
    await told.put([as_put(word, dimension=dimension)])
    return key


async def _turns_in(index: Index) -> set[_Turn]:
    try:
        found = await index.get(_KEYS)
    except TenantNotOnboardedError:
        return set()
    return {_Turn(vector["key"], str(flat_of(vector).get("content"))) for vector in found}


async def _clear(index: Index, keys: list[str]) -> None:
    # Who may not delete leaves it, and the next one waits for it once.
    with suppress(AccessDeniedError, TenantNotOnboardedError):
        await index.delete(keys)
