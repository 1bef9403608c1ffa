"""Settings of a client, and the only place that reads the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from memlane import Limits, Tenancy, ValidationError
from memlane.local.sqlite.backend import CACHE_BYTES

__all__ = ("Settings", "default_url")

_TENANCIES = frozenset(get_args(Tenancy))


def default_url(environ: Mapping[str, str]) -> str:
    """Return the store in the platform's data folder: where memory lives when nobody says."""
    home = Path.home()
    if sys.platform == "darwin":
        folder = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        folder = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        folder = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return f"sqlite:///{folder / 'memlane' / 'memory.db'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a client is put together.

    Args:
        url: Where memory lives: "sqlite:///memory.db" (three slashes and a relative path, or four
            and an absolute one) or "memory://".
        tenancy: Whether a scope must, may or must not name a tenant.
        limits: Bounds the client keeps.
        embedding_threads: Threads the local model runs on.
        busy_timeout: Seconds to wait for a store file that another process holds.
        cache_bytes: Memory for what was read of recently used scopes, about 1.7 KB a record
            and window of the local model; 0 for none. A scope that does not fit is read anew by
            each query.
    """

    url: str
    tenancy: Tenancy = "optional"
    limits: Limits | None = None
    embedding_threads: int = 2
    busy_timeout: float = 5.0
    cache_bytes: int = CACHE_BYTES

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, url: str | None = None
    ) -> Settings:
        """Return settings from `MEMLANE_URL` and `MEMLANE_TENANCY`; an argument wins.

        Raises:
            ValidationError: A variable holds what it may not.
        """
        env = os.environ if environ is None else environ
        tenancy = env.get("MEMLANE_TENANCY") or "optional"
        if tenancy not in _TENANCIES:
            raise ValidationError(
                f"MEMLANE_TENANCY is {tenancy!r}",
                remedy=f"set it to one of {', '.join(sorted(_TENANCIES))}, or unset it",
            )
        return cls(
            url=url or env.get("MEMLANE_URL") or default_url(env),
            tenancy=cast("Tenancy", tenancy),
        )
