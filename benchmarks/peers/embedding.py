"""The model of memlane.local for peers: the same session, one text at a time, synchronously."""

from __future__ import annotations

# The very loader of memlane, so that every peer runs the same session with the same options.
from memlane.local.minilm import _load  # pyright: ignore[reportPrivateUsage]

DIMENSIONS = 384


class LocalModel:
    """all-MiniLM-L6-v2, int8; reads 256 tokens of a text, as the model was trained to."""

    def __init__(self) -> None:
        self._model = _load()

    def vector(self, text: str) -> list[float]:
        """Return the vector of a text, of length one."""
        values: list[float] = self._model.embed(text).tolist()
        return values

    def vectors(self, texts: list[str]) -> list[list[float]]:
        """Return a vector per text; a vector depends on its own text alone."""
        return [self.vector(text) for text in texts]
