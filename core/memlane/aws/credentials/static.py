"""Keys that somebody already has: from a test, a vault, or the environment."""

from __future__ import annotations

from datetime import datetime

from memlane.aws.credentials.checks import check_key, check_moment
from memlane.protocols import Credentials
from memlane.scope import Scope

__all__ = ("StaticCredentials",)


class StaticCredentials:
    """Always the same credentials, for host and tenants alike.

    Tenants signed for with them are not kept apart by IAM: use them for the host, or in tests.

    Args:
        access_key: The key's id.
        secret_key: The key itself.
        session_token: What temporary credentials carry besides.
        expires_at: When they end, aware; None for never.

    Raises:
        ValidationError: A key is blank or cannot be sent, or the time has no zone.
    """

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        session_token: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        self._credentials = Credentials(
            access_key=check_key(access_key, name="access_key"),
            secret_key=check_key(secret_key, name="secret_key"),
            session_token=None
            if session_token is None
            else check_key(session_token, name="session_token"),
            expires_at=None if expires_at is None else check_moment(expires_at),
        )

    async def __call__(self, scope: Scope | None = None) -> Credentials:
        """Return them."""
        del scope
        return self._credentials
