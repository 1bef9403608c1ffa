"""What is said to `connect` reaches the store it opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memlane import NewMemory, Scope, local
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


def test_the_default_is_the_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings repeat no number of the engine's: what is left out is not told to it."""
    told: list[dict[str, object]] = []

    class Watched(SqliteBackend):
        def __init__(self, path: str, **settings: Any) -> None:
            told.append(settings)
            super().__init__(path, **settings)

    monkeypatch.setattr(local, "SqliteBackend", Watched)
    connect("sqlite:///memory.db", embedder=HashingEmbedder())
    connect("sqlite:///memory.db", embedder=HashingEmbedder(), cache_bytes=0)
    assert Settings(url="memory://").cache_bytes is None
    assert [settings.get("cache_bytes", "left out") for settings in told] == ["left out", 0]


def test_who_is_in_aws_pays_for_no_sqlite() -> None:
    """Importing memlane_plain loads no local engine."""
    code = "import sys, memlane_plain; print({'sqlite3', 'memlane.local'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
