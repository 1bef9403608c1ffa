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

    def now(self) -> float:
        """Return seconds since 1970 as the services count them."""
        return self._clock.now().timestamp() + self._offset

    def learn(self, date: str | None, *, signed_at: float) -> bool:
        """Take over the time that a refusal came with.

        Args:
            date: Its Date header.
            signed_at: The time the request was signed with.

        Returns:
            Whether signing anew is of use: that time was wrong.
        """
        if not date:
            return False
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return False
        theirs = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
        if abs(theirs - signed_at) < WORTH_CORRECTING:
            return False
        with self._lock:
            self._offset = theirs - self._clock.now().timestamp()
        return True

    def after_fork(self) -> None:
        """Replace the lock: who holds it may not exist in this process."""
        self._lock = threading.Lock()
