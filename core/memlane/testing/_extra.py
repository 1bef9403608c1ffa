"""So that a missing extra is one clear line, and that failed asserts of the suites explain why.

Both must have happened before any suite is imported.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from memlane.errors import MissingExtraError

__all__ = ("SUITES",)

SUITES = (
    "_concurrency",
    "_conditions",
    "_doubts",
    "_expiry",
    "_faulty_life_rules",
    "_faulty_machine",
    "_faulty_rules",
    "_filtering",
    "_lies",
    "_life_rules",
    "_machine",
    "_neighbours",
    "_portable_rules",
    "_queries",
    "_reaching",
    "_reading_rules",
    "_recall",
    "_records",
    "_reembedding",
    "_scans",
    "_sweeping",
    "_tenant_rules",
    "_tenants",
    "_validity",
    "_version_rules",
    "_versions",
    "_writing_rules",
    "backend",
    "embedder",
    "samples",
)
"""The modules whose asserts pytest rewrites."""


def _needed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise MissingExtraError(
            f"memlane.testing needs {name}", remedy="pip install 'memlane[testing]'"
        ) from exc


_needed("hypothesis")
_needed("pytest").register_assert_rewrite(*(f"memlane.testing.{name}" for name in SUITES))
