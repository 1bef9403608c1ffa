"""Memories that say what they must be: each text follows from its key and turn alone."""

from __future__ import annotations

import functools
import random
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memlane import MemoryClient, NewMemory, Scope
from memlane.lexical import terms
from memlane.limits import Limits
from memlane.local import SqliteBackend
from memlane.protocols import Clock
from memlane.testing.fakes import HashingEmbedder
from memlane.types import MetadataValue

BATCH = 16
"""Records that store_many writes at a time in these tests."""

_WORDS: Final = """
window seat aisle train ferry museum garden violin chess tea coffee bread olive lemon winter summer
doctor dentist school sister brother budget invoice laptop keyboard bicycle mountain river harbour
island novel poem camera festival ticket passport visa hotel breakfast
""".split()  # noqa: SIM905 - a paragraph of words reads better than a list of strings
_LENGTHS: Final = (6, 6, 6, 20, 120, 500)  # words; from 600 characters on a text has several parts


@dataclass(frozen=True)
class Turn:
    """What a record with some key should be: which text, and which version."""

    text: int
    version: int


def scope_of(user: str) -> Scope:
    """Return where a user's memories are."""
    return Scope(user, tenant="acme")


@functools.cache
def canary(life: str) -> str:
    """Return two words that all texts of one user's life have, and no other text."""
    pick = random.Random(life)
    return " ".join("".join(pick.choices(string.ascii_lowercase, k=14)) for _ in range(2))


def key_of(life: str, number: int) -> str:
    """Return the key of a user's record in some life."""
    return f"{life}:{number}."


def canary_of(key: str) -> list[str]:
    """Return the words that only texts of a key's life have."""
    return canary(key.partition(":")[0]).split()


@functools.cache
def text_of(key: str, turn: int) -> str:
    """Return the text of a record."""
    pick = random.Random(f"{key}{turn}")
    words = pick.choices(_WORDS, k=pick.choice(_LENGTHS))
    sentences = [" ".join(words[at : at + 12]) for at in range(0, len(words), 12)]
    return f"{' '.join(canary_of(key))} {key} turn {turn} {'. '.join(sentences)}"


def metadata_of(key: str, turn: Turn) -> dict[str, MetadataValue]:
    """Return the metadata by which a record tells what it should be."""
    return {"key": key, "text": turn.text, "version": turn.version}


def new(key: str, *, how: str = "ulid") -> NewMemory:
    """Return a record to be stored: with a new id, the caller's own, or an idempotency key."""
    return NewMemory(
        content=text_of(key, 0),
        metadata=metadata_of(key, Turn(0, 1)),
        tags=["fault"],
        actor=key.partition(":")[0],
        record_id=f"own-{key}" if how == "own" else None,
        idempotency_key=key if how == "event" else None,
    )


def open_client(path: Path | str, *, clock: Clock | None = None) -> MemoryClient:
    """Return a client of a store file, which it closes with itself."""
    backend = SqliteBackend(path)
    return MemoryClient(
        backend=backend,
        embedder=HashingEmbedder(),
        clock=clock,
        limits=Limits(batch=BATCH),
        owned=[backend],
    )


def left_of(lives: Iterable[str], path: Path) -> list[str]:
    """Return where something of these lives is still found, in the file or one beside it."""
    found: list[str] = []
    for each in sorted(path.parent.glob(f"{path.name}*")):
        raw = each.read_bytes()
        for life in lives:
            first, second = canary(life).split()
            hashes = terms(canary(life)).astype("<u4").tobytes()
            traces = {
                "text": first.encode(),
                "more text": second.encode(),
                "key": f"{life}:".encode(),
                "terms": hashes,
            }
            found += [f"{what} of {life} in {each.name}" for what in traces if traces[what] in raw]
    return found
