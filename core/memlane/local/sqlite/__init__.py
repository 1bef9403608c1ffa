"""One file that holds everything, for laptops, tests and small servers."""

from __future__ import annotations

from memlane.local.sqlite.backend import SqliteBackend

__all__ = ("SqliteBackend",)
