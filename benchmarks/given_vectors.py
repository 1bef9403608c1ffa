"""All but the model: an embedder that costs nothing, texts to store with it, and questions."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.rounds import Stopwatch, percentile
from memlane import Limits, MemoryClient, NewMemory, Scope
from memlane.local import SqliteBackend
from memlane.protocols import EmbeddingSpace, Purpose, Vector

DIMENSIONS: Final = 384
BATCH: Final = 1_000
_KEPT: Final = 4_096
_FOUND: Final = 10
_THINGS: Final = (
    "train", "garden", "recipe", "invoice", "window", "concert", "doctor", "passport", "bicycle",
    "library", "lighthouse", "kitchen", "orchard",
)  # fmt: skip


class GivenVectors:
    """Draws each text's vector from a fixed set, in which groups lie near to each other."""

    space = EmbeddingSpace(model="given", dimensions=DIMENSIONS)
    max_batch = 100_000
    max_chars = 100_000

    def __init__(self) -> None:
        draw = np.random.default_rng(7)
        centres = draw.standard_normal((64, DIMENSIONS))
        near = centres[draw.integers(0, 64, _KEPT)] + draw.standard_normal((_KEPT, DIMENSIONS))
        self._rows = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        """Return float32 of shape (len(inputs), 384)."""
        del purpose
        found: Vector = self._rows[[zlib.crc32(text.encode()) % _KEPT for text in inputs]]
        return found


def open_client(path: Path, *, cache_bytes: int | None = None) -> MemoryClient:
    """Return a client on a file that writes `BATCH` records at a time.

    Args:
        path: The file.
        cache_bytes: Memory for what was read of scopes; the backend's default if left out.
    """
    given = {} if cache_bytes is None else {"cache_bytes": cache_bytes}
    backend = SqliteBackend(path, **given)
    limits = Limits(batch=BATCH, cached_queries=0)
    return MemoryClient(backend=backend, embedder=GivenVectors(), limits=limits, owned=[backend])


def notes(draw: int, numbers: Iterable[int]) -> list[NewMemory]:
    """Return one note for each number, of two actors; another `draw` has other notes."""
    return [
        NewMemory(
            content=(
                f"On day {i} of the trip we passed the {_THINGS[i % 13]} near the "
                f"{_THINGS[(i * 7 + draw) % 13]}, and {_THINGS[i * 5 % 13]} {draw}-{i} was closed"
            ),
            actor="Ada" if i % 2 else "Iris",
        )
        for i in numbers
    ]


async def ask(client: MemoryClient, scopes: Iterable[Scope], *, first: int = 0) -> dict[str, float]:
    """Return p50, p95 and CPU in ms of one retrieve in each scope, one after the other.

    Args:
        client: With a note in every scope.
        scopes: Where to ask.
        first: The number of the first question; no two numbers are the same question.
    """
    took: list[float] = []
    with Stopwatch() as watch:
        for number, scope in enumerate(scopes, start=first):
            question = f"where was the {_THINGS[number % 13]} {number}?"
            began = time.perf_counter()
            found = await client.retrieve(question, scope=scope, limit=_FOUND)
            took.append((time.perf_counter() - began) * 1000)
            assert len(found) == _FOUND
    return {
        "p50_ms": percentile(took, 50),
        "p95_ms": percentile(took, 95),
        "cpu_ms": watch.cpu * 1000 / len(took),
    }
