"""A missing extra is one clear line. Imported before anything of it is."""

from __future__ import annotations

from memlane.errors import MissingExtraError

__all__ = ("aiohappyeyeballs", "httptools", "orjson")

try:
    import aiohappyeyeballs
    import httptools
    import orjson
except ImportError as exc:
    raise MissingExtraError(
        f"memlane.aws needs {exc.name or 'httptools and orjson'}",
        remedy="pip install 'memlane[aws]'",
    ) from exc
