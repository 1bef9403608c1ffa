"""No store at all: what the model costs per text, to set beside what each peer costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.embedding import LocalModel
from benchmarks.peers.protocol import Message


class EmbeddingAlone:
    """Embed what is said and what is asked, keep nothing and find nothing."""

    def __init__(self) -> None:
        self._model = LocalModel()

    async def ingest(self, user: str, messages: Sequence[Message]) -> None:
        del user
        self._model.vectors([message.text for message in messages])

    async def ask(self, user: str, question: str, limit: int) -> list[str]:
        del user, limit
        self._model.vector(question)
        return []

    async def close(self) -> None:
        pass


async def open_store(folder: Path) -> EmbeddingAlone:
    """Load the model."""
    del folder
    return EmbeddingAlone()
