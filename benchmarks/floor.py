"""What SQLite and numpy alone cost for the same rows: no less can be done with this layout."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.given_vectors import DIMENSIONS
from benchmarks.rounds import Stopwatch, percentile

_SETTINGS: Final = (
    "pragma page_size = 16384",
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    "pragma secure_delete = on",
)
_TABLES: Final = (
    "create table hot (lane, seq, who, numbers, vec, lex, primary key (lane, seq)) without rowid",
    "create table record (lane, seq, id, text, primary key (lane, seq)) without rowid",
    "create unique index record_id on record (lane, id)",
)
_VECTOR: Final = bytes(2 * DIMENSIONS)
_BEST: Final = 10


class Commits:
    """Single records, each committed by hand: two rows and an index, on disk when it returns.

    Args:
        path: Of a file yet to be made.
        records: How many a turn stores.
    """

    def __init__(self, path: Path, records: int) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for statement in (*_SETTINGS, *_TABLES):
            self._connection.execute(statement).fetchall()
        self._records, self._stored = records, 0

    def __call__(self) -> dict[str, float]:
        run = self._connection.execute
        with Stopwatch() as watch:
            for seq in range(self._stored, self._stored + self._records):
                text = f"On day {seq} of the trip we passed the garden near the closed library"
                hot = (seq, _VECTOR[:44], _VECTOR, _VECTOR[:60])
                run("begin immediate")
                run("insert into hot values (1, ?, 'a', ?, ?, ?)", hot)
                run("insert into record values (1, ?, ?, ?)", (seq, f"{seq:026}", text))
                run("commit")
        self._stored += self._records
        rate = self._records / watch.cpu
        return {"per_cpu_second": rate, "per_second": self._records / watch.wall}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class Scans:
    """Rows of a memlane file read by hand: cosines of all, then the texts of the ten nearest.

    Args:
        path: The file.
        calls: How many a turn makes, each of another lane where there are several.
    """

    def __init__(self, path: Path, calls: int) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        lanes = self._connection.execute("select id from lane").fetchall()
        self._lanes: list[int] = [lane for (lane,) in lanes]
        self._query = np.ones(DIMENSIONS, dtype=np.float32)
        self._calls, self._asked = calls, 0

    def __call__(self) -> dict[str, float]:
        took: list[float] = []
        with Stopwatch() as watch:
            for number in range(self._asked, self._asked + self._calls):
                began = time.perf_counter()
                self._ask(self._lanes[number * 37 % len(self._lanes)])
                took.append((time.perf_counter() - began) * 1000)
        self._asked += self._calls
        return {
            "p50_ms": percentile(took, 50),
            "p95_ms": percentile(took, 95),
            "cpu_ms": watch.cpu * 1000 / len(took),
        }

    def _ask(self, lane: int) -> None:
        rows = self._connection.execute(
            "select id, labels, numbers, vec, lex from hot where lane = ? order by seq, part",
            (lane,),
        ).fetchall()
        matrix = np.frombuffer(b"".join(row[3] for row in rows), dtype=np.float16)
        near = matrix.reshape(len(rows), DIMENSIONS).astype(np.float32) @ self._query
        found = self._texts(lane, (rows[place][0] for place in np.argsort(-near)[:_BEST]))
        assert len(found) == _BEST

    def _texts(self, lane: int, ids: Iterable[str]) -> list[str]:
        find = "select text from record where lane = ? and id = ?"
        return [self._connection.execute(find, (lane, each)).fetchone()[0] for each in ids]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
