"""What was read of a lane is kept until the lane changes, in this process or another."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

__all__ = ("LaneCache",)

V = TypeVar("V")

_Key: TypeAlias = "tuple[str, int, int]"  # what, of which lane, of which embedding space


class LaneCache:
    """Values by key and change counter; the least used go first when the bytes run out.

    Args:
        limit: Bytes it may keep; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, tuple[int, object, int]] = OrderedDict()

    def get(self, key: _Key, changes: int, read: Callable[[], V], *, size: Callable[[V], int]) -> V:
        """Return the value for a lane that has changed so often, read if it is not kept.

        Args:
            key: What of which lane; ids of lanes are never used twice.
            changes: The lane's counter, seen by the transaction that `read` reads in.
            read: Makes the value, which nobody changes afterwards.
            size: Bytes it keeps in memory.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == changes:
                self._kept.move_to_end(key)
                return cast("V", kept[1])
        value = read()
        self._put(key, changes, value, size(value))
        return value

    def _put(self, key: _Key, changes: int, value: object, size: int) -> None:
        with self._lock:
            old = self._kept.get(key)
            if old is not None and old[0] > changes:
                return  # a slower reader comes late with an older state
            self._drop(key)
            if size > self._limit:
                return
            self._kept[key] = (changes, value, size)
            self._used += size
            while self._used > self._limit:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: _Key) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._used -= dropped[2]

    def clear(self) -> None:
        """Keep nothing any longer."""
        with self._lock:
            self._kept.clear()
            self._used = 0

    def start_anew(self) -> None:
        """Clear in a forked child, where the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()
        self.clear()
