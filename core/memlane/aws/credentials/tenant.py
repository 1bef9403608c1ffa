"""Each tenant's credentials, for a client that serves thousands of them."""

from __future__ import annotations

import random as random_
from collections.abc import Callable, Hashable
from typing import Final, TypeAlias

from memlane.aws.credentials.assumed import AssumeRoleCredentials
from memlane.aws.credentials.cache import CredentialCache
from memlane.aws.credentials.static import StaticCredentials
from memlane.errors import ValidationError
from memlane.protocols import Clock, CredentialProvider, Credentials
from memlane.scope import Scope

__all__ = ("TenantCredentials",)

_Key: TypeAlias = str | tuple[str | None, str] | None

_PLACES: Final = 1_000


class TenantCredentials:
    """Credentials by tenant, or by tenant and user, for callers on any loop and any thread.

    A hundred callers that need the same tenant's at once cost one fetch. What a scope says besides
    tenant and user is handed to the provider and keeps nothing apart.

    Args:
        provider: Who fetches them, such as `AssumeRoleCredentials(...)`.
        per_user: Whether each user has credentials of their own.
        size: Tenants, or users, whose credentials are kept; the least recently used go first.
        clock: Where the time comes from.
        random: Numbers of 0 to 1, for jitter.
        timeout: Seconds an asking may take.

    Raises:
        ValidationError: `size` is below one, or the provider says that its `per_user` is another.
    """

    def __init__(
        self,
        provider: CredentialProvider,
        *,
        per_user: bool = False,
        size: int = _PLACES,
        clock: Clock | None = None,
        random: Callable[[], float] = random_.random,
        timeout: float = 60.0,
    ) -> None:
        if size < 1:
            raise ValidationError("size is below 1", remedy=f"pass {_PLACES}")
        theirs: object = getattr(provider, "per_user", per_user)
        if theirs is not per_user:
            # One user's session would be handed to all users of the tenant, or be taken for theirs.
            raise ValidationError(
                f"per_user is {per_user}, and {theirs} for the provider",
                remedy="pass the same to both",
            )
        self._per_user = per_user
        # A session of a role is begun by the host, and refused to the tenant. Others are handed
        # the scope, and may ask with the user's own token.
        is_tenants = per_user or isinstance(provider, (AssumeRoleCredentials, StaticCredentials))
        self._cache: CredentialCache[_Key, Scope] = CredentialCache(
            provider,
            size=size,
            clock=clock,
            random=random,
            timeout=timeout,
            fixed=isinstance(provider, StaticCredentials),
            asker=None if is_tenants else _asker,
        )

    @property
    def per_user(self) -> bool:
        """Whether each user has credentials of their own."""
        return self._per_user

    def peek(self, scope: Scope) -> Credentials | None:
        """Return what is kept and valid; never waits."""
        return self._cache.peek(self._key(scope), scope)

    async def get(self, scope: Scope) -> Credentials:
        """Return what is kept and valid, or fetch it.

        Raises:
            IsolationError: What came is another tenant's.
            AccessDeniedError: The tenant, or this user of it, is given none.
            CredentialsError: None could be had, or one after the other was rejected.
            MemlaneError: Whatever else the provider says.
        """
        return await self._cache.get(self._key(scope), scope)

    def reject(self, scope: Scope, credentials: Credentials) -> None:
        """Drop credentials that a service refused as invalid; `get` then fetches anew."""
        self._cache.reject(self._key(scope), credentials)

    def known_good(self, scope: Scope) -> bool:
        """Tell whether the tenant had credentials within the last hour, and this user no denial.

        Only then may work for a scope begin before its credentials are there: whoever invents
        tenants should not be able to spend anything.
        """
        return self._cache.known_good(self._key(scope), scope)

    def warm(self, scope: Scope) -> None:
        """Begin to fetch what is missing for a tenant known good; never waits and never fails."""
        self._cache.warm(self._key(scope), scope)

    @property
    def kept(self) -> int:
        """How many tenants', or users', credentials are kept."""
        return self._cache.kept

    def _key(self, scope: Scope) -> _Key:
        return (scope.tenant, scope.user) if self._per_user else scope.tenant


def _asker(scope: Scope) -> Hashable:
    return scope.tenant, scope.user
