"""A forked child shares its parent's sockets, files and epoll sets, but none of its threads.

So in the child every lock is replaced (its holder may not exist there), every loop and thread is
started anew, and what the parent opened is neither closed nor collected: closing a transport
takes its descriptor out of the epoll set that both processes share, and the parent's call in
flight would wait for ever.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from types import MethodType
from typing import cast

__all__ = ("generation", "keep", "watch")

_resets: dict[weakref.ref[object], Callable[[object], object]] = {}
_kept: list[object] = []
_generation = 0


def generation() -> int:
    """Return how many forks lie between this process and the one that imported memlane."""
    return _generation


def watch(reset: Callable[[], object]) -> None:
    """Call `reset` in every forked child, for as long as its object lives.

    Args:
        reset: A bound method, one per object; the object is held weakly.
    """
    # Not a WeakMethod: its callback is Python code, and fails aloud when the interpreter exits.
    method = cast("MethodType", reset)
    _resets[weakref.ref(method.__self__, _resets.pop)] = method.__func__


def keep(*things: object) -> None:
    """Keep what the parent opened referenced until this process ends; it is never closed."""
    _kept.extend(things)


def _in_child() -> None:
    global _generation  # noqa: PLW0603  (a count of forks belongs to the process)
    _generation += 1
    for ref, reset in list(_resets.items()):
        owner = ref()
        if owner is not None:
            reset(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
