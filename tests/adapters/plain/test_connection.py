"""What is said to `connect` reaches the store it opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from memlane import NewMemory, Scope
from memlane.local import SqliteBackend
from memlane.testing import HashingEmbedder
from memlane_plain import Settings, connect

ADA = Scope("ada")


@pytest.mark.parametrize("cache_bytes", [0, 1, None])
async def test_a_cache_of_any_size_answers_alike(tmp_path: Path, cache_bytes: int | None) -> None:
    """Memory for the cache is a matter of speed alone, and reaches the backend."""
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    async with connect(url, cache_bytes=cache_bytes, embedder=HashingEmbedder()) as client:
        await client.store_many([NewMemory(content=f"note {n}") for n in range(20)], scope=ADA)
        first = await client.retrieve("note 7", scope=ADA)
        assert await client.retrieve("note 7", scope=ADA) == first
        assert first[0].record.text == "note 7"


def test_the_default_is_the_backends() -> None:
    """Settings repeat no number of the engine's."""
    assert (
        Settings(url="memory://").cache_bytes
        == SqliteBackend.__init__.__kwdefaults__[  # type: ignore[index] # it has some
            "cache_bytes"
        ]
    )
