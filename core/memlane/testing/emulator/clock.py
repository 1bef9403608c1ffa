"""The emulator's time: the machine's, moved by tests."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ("MovedClock",)


class MovedClock:
    """The machine's time and what has been added to it."""

    def __init__(self) -> None:
        self._added = 0.0

    def now(self) -> datetime:
        """Return the emulator's time, aware, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._added)

    def timestamp(self) -> float:
        """Return the emulator's time in seconds since 1970."""
        return time.time() + self._added

    def advance(self, seconds: float) -> None:
        """Move it on."""
        self._added += seconds

    def set(self, at: datetime) -> None:
        """Let it be a given time now; it goes on from there."""
        self._added = at.timestamp() - time.time()

    def reset(self) -> None:
        """Let it be the machine's again."""
        self._added = 0.0
