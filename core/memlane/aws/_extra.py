"""A missing extra is one clear line. Imported before anything of it is."""

from __future__ import annotations

from memlane.errors import MissingExtraError

__all__ = ("aiohttp", "orjson")

try:
    import aiohttp
    import orjson
except ImportError as exc:
    raise MissingExtraError(
        f"memlane.aws needs {exc.name or 'aiohttp and orjson'}",
        remedy="pip install 'memlane[aws]'",
    ) from exc
