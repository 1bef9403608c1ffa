"""Spies on all that a client hands on, and redactors that do as they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from memlane import Finding, Image, Redaction
from memlane.local import InMemoryBackend
from memlane.protocols import Candidates, IndexedRecord, Purpose, Vector, VectorQuery
from memlane.scope import Reach
from memlane.testing import HashingImageEmbedder

__all__ = ("Answering", "Seen", "SpyBackend", "SpyEmbedder", "hiding")


@dataclass
class Seen:
    """All that an embedder and a backend were given, as text."""

    words: list[str] = field(default_factory=list)

    def tell(self, *things: object) -> None:
        self.words += map(repr, things)

    def has(self, word: str) -> bool:
        return any(word in each for each in self.words)


class SpyEmbedder(HashingImageEmbedder):
    """Tells what it was to embed."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._told = seen

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        self._told.tell(*inputs)
        return await super().embed(inputs, purpose=purpose)

    async def embed_images(self, images: Sequence[Image]) -> Vector:
        self._told.tell(*images)
        return await super().embed_images(images)


class SpyBackend(InMemoryBackend):
    """Tells what it was to keep, and what it was asked."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._told = seen

    async def upsert(self, records: Sequence[IndexedRecord], **more: Any) -> None:
        self._told.tell(*(one.record for one in records))
        await super().upsert(records, **more)

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        self._told.tell(query)
        return await super().query(query, reach=reach)


@dataclass
class Answering:
    """A redactor that does as it is told."""

    answer: Callable[[str], Any]
    asked: list[str] = field(default_factory=list)

    async def redact(self, text: str) -> Redaction:
        self.asked.append(text)
        return cast("Redaction", self.answer(text))


def hiding(word: str) -> Answering:
    """Return a redactor that takes one word out."""

    def answer(text: str) -> Redaction:
        found = (Finding(kind="word", start=0, end=1),) * text.count(word)
        return Redaction(text=text.replace(word, "[word]"), findings=found)

    return Answering(answer)
