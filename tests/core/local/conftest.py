"""A store file in a folder of the test's own, and backends that are closed afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from memlane.local import InMemoryBackend, SqliteBackend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest.fixture
async def store(path: Path) -> AsyncGenerator[SqliteBackend]:
    opened = SqliteBackend(path)
    yield opened
    await opened.aclose()


@pytest.fixture(params=["memory", "sqlite"])
async def backend(
    request: pytest.FixtureRequest, path: Path
) -> AsyncGenerator[InMemoryBackend | SqliteBackend]:
    opened = InMemoryBackend() if request.param == "memory" else SqliteBackend(path)
    yield opened
    await opened.aclose()
