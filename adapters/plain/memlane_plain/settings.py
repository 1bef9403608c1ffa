"""Settings of a client, and the only place that reads the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast, get_args

from memlane import Limits, Tenancy, ValidationError
from memlane_plain.cloud import LOCAL_MODEL, SCHEME, AwsSettings, Place

__all__ = ("Settings", "default_url")

_TENANCIES = frozenset(get_args(Tenancy))
_BY_URL: Final = cast("Tenancy", None)  # replaced by what is usual where the url leads


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
            and an absolute one), "memory://", "s3vectors://bucket" (an index per tenant) or
            "s3vectors://bucket/index" (one that all share).
        tenancy: Whether a scope must, may or must not name a tenant. If left out "required" where
            each tenant has an index, and "optional" elsewhere.
        limits: Bounds the client keeps.
        embedding_threads: Threads the local model runs on.
        busy_timeout: Seconds to wait for a store file that another process holds.
        cache_bytes: Memory for what was read of recently used scopes, about 1.7 KB a record
            and window of the local model; 0 for none, and the backend's own default if left out.
            A scope that does not fit is read anew by each query.
        aws: What only a client in AWS needs.
    """

    url: str
    tenancy: Tenancy = _BY_URL
    limits: Limits | None = None
    embedding_threads: int = 2
    busy_timeout: float = 5.0
    cache_bytes: int | None = None
    aws: AwsSettings = field(default_factory=AwsSettings)

    def __post_init__(self) -> None:
        place = self.place
        if self.tenancy is _BY_URL:
            tenancy = "optional" if place is None or place.index else "required"
            object.__setattr__(self, "tenancy", tenancy)
        elif place is not None:
            _check_tenancy(self.tenancy, place)

    @property
    def place(self) -> Place | None:
        """The bucket the url names, if it names one."""
        return Place.of(self.url) if self.url.startswith(SCHEME) else None

    @property
    def uses_local_model(self) -> bool:
        """Whether texts are embedded by the built-in model."""
        model = self.aws.embedding_model
        return model == LOCAL_MODEL or (model is None and self.place is None)

    @property
    def uses_aws(self) -> bool:
        """Whether anything of it is in AWS."""
        return self.place is not None or not self.uses_local_model

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        url: str | None = None,
        tenancy: Tenancy | None = None,
    ) -> Settings:
        """Return settings from memlane's variables and AWS's; an argument wins.

        Raises:
            ValidationError: A variable holds what it may not.
        """
        env = os.environ if environ is None else environ
        told = tenancy or env.get("MEMLANE_TENANCY") or None
        if told is not None and told not in _TENANCIES:
            raise ValidationError(
                f"tenancy is {told!r}" if tenancy else f"MEMLANE_TENANCY is {told!r}",
                remedy=f"make it one of {', '.join(sorted(_TENANCIES))}, or leave it out",
            )
        return cls(
            url=url or env.get("MEMLANE_URL") or default_url(env),
            tenancy=cast("Tenancy", told),
            aws=AwsSettings.from_variables(env),
        )


def _check_tenancy(tenancy: Tenancy, place: Place) -> None:
    if place.index is None and tenancy not in {"required", "per-user"}:
        raise ValidationError(
            f"tenancy is {tenancy!r} and the url names a bucket with an index per tenant",
            operation="connect",
            remedy="pass tenancy='required', or one shared index as s3vectors://bucket/index",
        )
    if place.index is not None and tenancy == "per-user":
        raise ValidationError(
            "tenancy is 'per-user' and the url names one index that all share",
            operation="connect",
            remedy="leave the index out: s3vectors://bucket",
        )
