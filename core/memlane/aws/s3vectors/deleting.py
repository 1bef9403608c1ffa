"""Deleting vectors of records so that whoever is cut off in between can begin again."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final

import anyio
import anyio.lowlevel

from memlane.aws.s3vectors.copies import is_copy_key, read_copy
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import record_of
from memlane.errors import DeadlineExceededError
from memlane.scope import Reach, Scope

__all__ = ("ToItsEnd", "delete_records", "windows_of", "within_session")

_ONE_REQUEST: Final = 500
_READ_AT_A_TIME: Final = 1_000  # keys, in requests that go at once


def windows_of(whole: str, parts: int) -> list[str]:
    """Return the keys of the windows that a record has besides its whole text.

    Args:
        whole: The key of that.
        parts: How many vectors the record has.
    """
    return [f"{whole}#w{number}" for number in range(1, parts)]


async def within_session(index: Index, keys: Sequence[str], reach: Reach) -> list[str]:
    """Return those of the keys of windows and copies that are of the reach's session."""
    found: list[str] = []
    # Whose texts all of them are is not known yet: they are not held at once.
    for at in range(0, len(keys), _READ_AT_A_TIME):
        for vector in await index.get(keys[at : at + _READ_AT_A_TIME]):
            key = vector["key"]
            record = read_copy(vector) if is_copy_key(key) else record_of(vector, reach)
            if record is not None and reach.covers(record.scope):
                found.append(key)
    return found


async def delete_records(index: Index, wholes: Sequence[str], others: Sequence[str]) -> None:
    """Delete vectors of records.

    Args:
        index: Where.
        wholes: Keys of whole texts.
        others: Keys of what belongs to them: windows and kept versions.
    """
    if not wholes and not others:
        return
    async with ToItsEnd(index.scope):
        if len(wholes) + len(others) <= _ONE_REQUEST:
            await index.delete([*wholes, *others])
            return
        # Cut off in between, what is left is still a record, to be deleted again.
        if others:
            await index.delete(others)
        if wholes:
            await index.delete(wholes)


class ToItsEnd:
    """Lets a block end though its caller is cancelled; the caller's own deadline still holds."""

    __slots__ = ("_scope", "_shield")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._shield = anyio.CancelScope(shield=True, deadline=anyio.current_effective_deadline())

    async def __aenter__(self) -> None:
        self._shield.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        swallowed = self._shield.__exit__(exc_type, exc, traceback)
        if self._shield.cancelled_caught:
            await anyio.lowlevel.checkpoint()  # where the deadline is the caller's, this is it
            raise DeadlineExceededError("not finished in time", scope=self._scope)
        return swallowed
