"""How fast an index may be written: 1,000 requests and 2,500 vectors a second [D]."""

from __future__ import annotations

import time
from typing import Final

from memlane.testing.emulator.s3vectors.refusals import throttled

__all__ = ("MAX_REQUESTS", "MAX_VECTORS", "Rates")

MAX_REQUESTS: Final = 1_000.0
MAX_VECTORS: Final = 2_500.0


class Rates:
    """Two buckets an index, each of one second's worth; by the machine's own monotonic clock.

    A request is taken while its bucket is not in debt: a put of 500 vectors is not refused for
    being large, the ones after it are.
    """

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float, float]] = {}

    def take(self, index: str, vectors: int) -> None:
        """Count a write.

        Raises:
            AwsError: The index is written to faster than it takes.
        """
        now = time.monotonic()
        requests, weight, before = self._left.get(index, (MAX_REQUESTS, MAX_VECTORS, now))
        requests = min(MAX_REQUESTS, requests + (now - before) * MAX_REQUESTS)
        weight = min(MAX_VECTORS, weight + (now - before) * MAX_VECTORS)
        if requests < 1 or weight <= 0:
            self._left[index] = (requests, weight, now)
            raise throttled()
        self._left[index] = (requests - 1, weight - vectors, now)

    def clear(self) -> None:
        """Forget all writes."""
        self._left.clear()
