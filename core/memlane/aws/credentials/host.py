"""The host's own credentials: what models are asked with, and tenants' sessions are begun with."""

from __future__ import annotations

import random as random_
from collections.abc import Callable
from typing import Protocol

from memlane.aws.credentials.cache import CredentialCache
from memlane.aws.credentials.static import StaticCredentials
from memlane.protocols import Clock, Credentials

__all__ = ("HostCredentials", "HostProvider")


class HostProvider(Protocol):
    """Fetches the host's credentials. It fetches only: the cache around it renews."""

    async def __call__(self) -> Credentials:
        """Return fresh credentials.

        Raises:
            CredentialsError: None can be had.
        """
        ...


class HostCredentials:
    """One set of credentials, for callers on any loop and any thread.

    Args:
        provider: Who fetches them, such as `AmbientCredentials()`.
        clock: Where the time comes from.
        random: Numbers of 0 to 1, for jitter.
        timeout: Seconds an asking may take.
    """

    def __init__(
        self,
        provider: HostProvider,
        *,
        clock: Clock | None = None,
        random: Callable[[], float] = random_.random,
        timeout: float = 60.0,
    ) -> None:
        async def ask(_: None) -> Credentials:
            return await provider()

        self._cache: CredentialCache[None, None] = CredentialCache(
            ask,
            size=1,
            clock=clock,
            random=random,
            timeout=timeout,
            fixed=isinstance(provider, StaticCredentials),
        )

    def peek(self) -> Credentials | None:
        """Return what is kept and valid; never waits."""
        return self._cache.peek(None, None)

    async def get(self) -> Credentials:
        """Return what is kept and valid, or fetch it.

        Raises:
            CredentialsError: None could be had.
            MemlaneError: Whatever else the provider says.
        """
        return await self._cache.get(None, None)

    def reject(self, credentials: Credentials) -> None:
        """Drop credentials that a service refused as invalid; `get` then fetches anew."""
        self._cache.reject(None, credentials)
