"""Regular expressions compiled at first use: importing memlane compiles none."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

__all__ = ("lazy",)


def lazy(pattern: str, flags: int = 0) -> Callable[[], re.Pattern[str]]:
    """Return a function that compiles `pattern` when first called and keeps it."""
    return cache(lambda: re.compile(pattern, flags))
