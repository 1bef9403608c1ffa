"""So that a missing extra is one clear line, and that failed asserts of the suites explain why.

Both must have happened before any suite is imported.
"""

from __future__ import annotations

from memlane.errors import MissingExtraError

try:
    import hypothesis  # noqa: F401  (only to know that it is there)
    import pytest
except ImportError as exc:
    raise MissingExtraError(
        "memlane.testing needs pytest and hypothesis", remedy="pip install 'memlane[testing]'"
    ) from exc

__all__ = ("SUITES",)

SUITES = (
    "_concurrency",
    "_conditions",
    "_expiry",
    "_filtering",
    "_lies",
    "_neighbours",
    "_queries",
    "_reaching",
    "_records",
    "_scans",
    "backend",
    "embedder",
    "isolation",
    "stateful",
)
"""The modules whose asserts pytest rewrites."""

pytest.register_assert_rewrite(*(f"memlane.testing.{name}" for name in SUITES))
