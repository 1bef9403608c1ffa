"""Time and a model without the wait: both give the same answer every time they are asked."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from memlane.errors import ValidationError
from memlane.lexical import terms
from memlane.protocols import EmbeddingSpace, Purpose, Vector

__all__ = ("START", "FakeClock", "HashingEmbedder")

START = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
"""When a fake clock begins, unless told otherwise: no round number, so that rounding shows."""

_GRAM = 3
_GRAM_WEIGHT = 0.25
_OWN_WEIGHT = 0.05  # sets texts of the same words apart, and keeps a text of no words from zero


class FakeClock:
    """Time that moves only when told to.

    Args:
        start: When it begins; aware.
    """

    def __init__(self, start: datetime = START) -> None:
        self._lock = threading.Lock()
        self._now = _aware(start)
        self._elapsed = 0.0

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds advanced so far; `set` does not touch them."""
        return self._elapsed

    def advance(self, by: timedelta) -> datetime:
        """Move both clocks forward and return the new time.

        Raises:
            ValidationError: `by` is negative; the wall clock alone goes back, with `set`.
        """
        if by < timedelta(0):
            raise ValidationError("time was to go back", remedy="use `set` to move the wall clock")
        with self._lock:
            self._now += by
            self._elapsed += by.total_seconds()
            return self._now

    def set(self, now: datetime) -> None:
        """Move the wall clock anywhere, as a person or NTP may."""
        with self._lock:
            self._now = _aware(now)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValidationError("the clock's time has no time zone", remedy="pass an aware datetime")
    return moment.astimezone(UTC)


def _features(text: str) -> Iterator[tuple[int, float]]:
    for term in terms(text):
        yield zlib.crc32(int(term).to_bytes(4, "little")), 1.0
    folded = f" {text.casefold()} "
    for at in range(len(folded) - _GRAM + 1):
        gram = folded[at : at + _GRAM]
        yield zlib.crc32(gram.encode("utf-8", "surrogatepass")), _GRAM_WEIGHT
    # Long enough to point its own way for each text, short enough not to matter otherwise.
    own = zlib.crc32(text.encode("utf-8", "surrogatepass"), 1)
    for turn in range(4):
        yield zlib.crc32(own.to_bytes(4, "little"), turn), _OWN_WEIGHT


class HashingEmbedder:
    """Vectors from hashed words and letters: no model, no wait, related texts near each other.

    Args:
        dimensions: Components per vector.
        max_batch: Texts per call at most.
        max_chars: Characters per text at most.

    Attributes:
        calls: How often `embed` was called.
    """

    def __init__(
        self, dimensions: int = 64, *, max_batch: int = 128, max_chars: int = 1_000
    ) -> None:
        if dimensions < 1:
            raise ValidationError("dimensions is below 1", remedy="pass 64")
        self._space = EmbeddingSpace(model="hashing", dimensions=dimensions)
        self._max_batch = max_batch
        self._max_chars = max_chars
        self._lock = threading.Lock()
        self.calls = 0

    @property
    def space(self) -> EmbeddingSpace:
        """Vectors of length one; documents and queries alike."""
        return self._space

    @property
    def max_batch(self) -> int:
        """Texts per call at most."""
        return self._max_batch

    @property
    def max_chars(self) -> int:
        """Characters per text at most."""
        return self._max_chars

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        """Return a row per text.

        Raises:
            ValidationError: Too many texts, or one that is too long.
        """
        del purpose
        with self._lock:
            self.calls += 1
        if len(inputs) > self._max_batch:
            raise ValidationError(
                f"{len(inputs)} texts in a call; at most {self._max_batch} are allowed",
                operation="embed",
                remedy="cut the list",
            )
        if any(len(text) > self._max_chars for text in inputs):
            raise ValidationError(
                f"a text has more than {self._max_chars} characters",
                operation="embed",
                remedy="cut it into windows",
            )
        rows = np.zeros((len(inputs), self._space.dimensions), dtype=np.float32)
        for row, text in zip(rows, inputs, strict=True):
            self._fill(row, text)
        return rows

    def _fill(self, row: Vector, text: str) -> None:
        for code, weight in _features(text):
            sign = 1.0 if code & 1 else -1.0
            row[(code >> 1) % len(row)] += sign * weight
        length = float(np.linalg.norm(row))
        if not length:  # every feature met its opposite
            row[zlib.crc32(text.encode("utf-8", "surrogatepass")) % len(row)] = length = 1.0
        row /= length
