"""The credential chain is aioboto3's: profiles, SSO, containers, instance metadata and the rest.

The only module that imports it. The chain reads files and asks metadata services in ways that
block, and what it makes is bound to the loop it was made on. So each walk is a session of its own
on a loop of its own, in a worker thread, and leaves nothing but the keys.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, cast

from memlane.errors import CredentialsError, MissingExtraError
from memlane.protocols import Credentials

__all__ = ("walk_chain",)


if TYPE_CHECKING:

    class _Frozen(Protocol):
        access_key: str | None
        secret_key: str | None
        token: str | None

    class _Found(Protocol):
        def get_frozen_credentials(self) -> Awaitable[_Frozen | None]: ...

    class _Session(Protocol):
        def get_credentials(self) -> Awaitable[_Found | None]: ...


def walk_chain(profile: str | None = None) -> Credentials:
    """Return what the chain finds first. Blocks: for a thread that runs no loop.

    Args:
        profile: The profile to begin with; None for the environment's, or the default.

    Raises:
        CredentialsError: Nothing was found, or a link of the chain failed.
        MissingExtraError: Neither aioboto3 nor aiobotocore is installed.
    """
    import asyncio  # with the chain, paid for by those who use it

    try:
        return asyncio.run(_walk(_open_session(profile)))
    except (CredentialsError, MissingExtraError):
        raise
    except Exception as exc:
        # Only the kind of the failure: its text may hold a command line, or what a file says.
        raise CredentialsError(
            f"the AWS credential chain failed ({type(exc).__name__})",
            remedy=_REMEDIES.get(type(exc).__name__, "see the cause of this error"),
        ) from exc


_REMEDIES = {
    "ProfileNotFound": "name a profile that the AWS configuration files have",
    "UnauthorizedSSOTokenError": "run `aws sso login`",
    "SSOTokenLoadError": "run `aws sso login`",
    "TokenRetrievalError": "run `aws sso login`",
    "PartialCredentialsError": "give both the key's id and the secret key",
    "ConfigParseError": "correct the AWS configuration file",
}


def _open_session(profile: str | None) -> _Session:
    try:
        import aioboto3  # botocore with it: 160 ms that static keys do without
    except ImportError:
        return _open_bare_session(profile)
    return cast("_Session", aioboto3.Session(profile_name=profile))


def _open_bare_session(profile: str | None) -> _Session:
    """Open the session that aioboto3 wraps, where the extra `aws3` leaves aioboto3 out."""
    try:
        from aiobotocore.session import AioSession
    except ImportError as exc:
        raise MissingExtraError(
            "the AWS credential chain needs aioboto3", remedy="pip install 'memlane[aws]'"
        ) from exc
    return cast("_Session", AioSession(profile=profile))


async def _walk(session: _Session) -> Credentials:
    found = await session.get_credentials()
    frozen = None if found is None else await found.get_frozen_credentials()
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        raise CredentialsError(
            "no AWS credentials were found: not in the environment, a profile, a container or an "
            "instance's metadata",
            remedy="run `aws configure`, set AWS_PROFILE, or pass credentials",
        )
    return Credentials(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        session_token=frozen.token or None,
        expires_at=_end(found),
    )


def _end(found: object) -> datetime | None:
    # Only credentials that can be refreshed have it, and botocore makes it public nowhere.
    end: object = getattr(found, "_expiry_time", None)
    return end.astimezone(UTC) if isinstance(end, datetime) and end.tzinfo is not None else None
