"""What embedding was used, as the service counted it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from memlane.runtime import fork

__all__ = ("Usage", "UsageCounter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used since the embedder was made.

    Args:
        requests: Answers of the service.
        texts: Texts they hold vectors of.
        pictures: Pictures they hold vectors of.
        tokens: What the service counted; 0 where it did not say.
    """

    requests: int = 0
    texts: int = 0
    tokens: int = 0
    pictures: int = 0


class UsageCounter:
    """Sums up, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums = (0, 0, 0, 0)
        fork.watch(self._after_fork)

    def add(self, *, tokens: int, texts: int = 0, pictures: int = 0) -> None:
        """Count one answer."""
        with self._lock:
            before = self._sums
            self._sums = (
                before[0] + 1,
                before[1] + texts,
                before[2] + tokens,
                before[3] + pictures,
            )

    def read(self) -> Usage:
        """Return what was counted so far."""
        requests, texts, tokens, pictures = self._sums
        return Usage(requests=requests, texts=texts, tokens=tokens, pictures=pictures)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
