"""The backend on a SQLite file is a backend."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection
from contextlib import closing
from pathlib import Path

import pytest

from memlane.local import SqliteBackend
from memlane.protocols import VectorBackend
from memlane.testing import TenantIsolationConformance, VectorBackendConformance


class TestSqliteBackend(VectorBackendConformance, TenantIsolationConformance):
    """The one fixture, and SQL on its file as the oracle."""

    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[SqliteBackend]:
        opened = SqliteBackend(tmp_path / "memory.db")
        yield opened
        await opened.aclose()

    def raw_ids(self, backend: VectorBackend) -> Collection[str] | None:
        assert isinstance(backend, SqliteBackend)
        if not backend.path.exists():
            return []
        with closing(sqlite3.connect(backend.path)) as connection:
            records = {row[0]: row[1:] for row in connection.execute(_RECORDS)}
            rows = {row[0] for row in connection.execute(_ROWS)}
        assert set(records) == rows, "a record without vectors, or vectors without a record"
        return [record_id for (record_id,) in records.values()]


_RECORDS = "select lane || '/' || seq, id from record"
_ROWS = "select distinct lane || '/' || seq from hot"
