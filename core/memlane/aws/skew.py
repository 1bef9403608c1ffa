"""A request signed with a wrong clock is refused, and the refusal says what time it is."""

from __future__ import annotations

import threading
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from memlane.protocols import Clock

__all__ = ("Skew",)

# AWS allows five minutes; a smaller difference is not why a signature was refused.
WORTH_CORRECTING: Final = 60.0


class Skew:
    """How far the services' clock is from this machine's; shared by every loop.

    Args:
        clock: This machine's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._offset = 0.0

    @property
    def offset(self) -> float:
        """Seconds that the services are ahead."""
        return self._offset

    def now(self, offset: float | None = None) -> float:
        """Return seconds since 1970 as the services count them.

        Args:
            offset: Seconds they may be ahead instead, to be tried.
        """
        return self._clock.now().timestamp() + (self._offset if offset is None else offset)

    def told(self, date: str | None, *, signed_at: float) -> float | None:
        """Return how far the services would be ahead by the time that a refusal came with.

        It is to be tried with one request, and kept when that was accepted: a Date header is
        believed by nobody before.

        Args:
            date: Its Date header.
            signed_at: The time the request was signed with.

        Returns:
            None when signing anew is of no use: that time was not wrong.
        """
        if not date:
            return None
        try:
            told = parsedate_to_datetime(date)
            theirs = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
        # Before 1970 nothing can be signed.
        if theirs < 0 or abs(theirs - signed_at) < WORTH_CORRECTING:
            return None
        return theirs - self._clock.now().timestamp()

    def keep(self, offset: float) -> None:
        """Sign everything with an offset that was accepted."""
        with self._lock:
            self._offset = offset

    def after_fork(self) -> None:
        """Replace the lock: who holds it may not exist in this process."""
        self._lock = threading.Lock()
