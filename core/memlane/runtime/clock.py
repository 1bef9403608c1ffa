"""Time is injected, so that expiry and deadlines can be tested; this is the one that is real."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ("SystemClock",)


class SystemClock:
    """The machine's own time."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never goes back."""
        return time.monotonic()
