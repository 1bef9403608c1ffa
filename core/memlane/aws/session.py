"""The credential chain is aioboto3's: profiles, SSO, containers, instance metadata and the rest.

The only module that imports it. The chain reads files and asks metadata services in ways that
block, and what it makes is bound to the loop it was made on. So each walk is a session of its own
on a loop of its own, in a worker thread, and leaves nothing but the keys.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from memlane.errors import CredentialsError, MissingExtraError
from memlane.protocols import Credentials

__all__ = ("Ending", "walk_chain")

WALK_SECONDS: Final = 30.0
"""A program or a service that the chain asks may hang; this is for callers who wait for ever."""


if TYPE_CHECKING:
    import asyncio

    class _Frozen(Protocol):
        access_key: str | None
        secret_key: str | None
        token: str | None

    class _Found(Protocol):
        def get_frozen_credentials(self) -> Awaitable[_Frozen | None]: ...

    class _Session(Protocol):
        def get_credentials(self) -> Awaitable[_Found | None]: ...


class Ending:
    """Ends a walk from another thread, once nobody waits for what it finds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], object] | None = None
        self._is_over = False

    def __call__(self) -> None:
        """End it, if it goes on; if it has not begun, it will not get far."""
        with self._lock:
            self._is_over = True
            if self._end is not None:
                self._end()

    def arm(self, end: Callable[[], object] | None) -> None:
        """Say how it is ended from now on; None: it is not any more."""
        with self._lock:
            self._end = end
            if end is not None and self._is_over:
                end()


def walk_chain(
    profile: str | None = None, *, seconds: float = WALK_SECONDS, ending: Ending | None = None
) -> Credentials:
    """Return what the chain finds first. Blocks: for a thread that runs no loop.

    Args:
        profile: The profile to begin with; None for the environment's, or the default.
        seconds: How long it may take.
        ending: What ends it before that.

    Raises:
        CredentialsError: Nothing was found, or a link of the chain failed or took too long.
        MissingExtraError: Neither aioboto3 nor aiobotocore is installed.
    """
    import asyncio  # with the chain, paid for by those who use it

    try:
        return asyncio.run(_walk(_open_session(profile), seconds, ending or Ending()))
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


async def _walk(session: _Session, seconds: float, ending: Ending) -> Credentials:
    import asyncio

    loop, task = asyncio.get_running_loop(), cast("asyncio.Task[object]", asyncio.current_task())
    programs = _programs_of(loop)
    limit = asyncio.timeout(seconds)
    ending.arm(lambda: loop.call_soon_threadsafe(task.cancel))
    try:
        async with limit:
            await asyncio.sleep(0)  # whoever was ended while it was queued, ends here
            found = await session.get_credentials()
            frozen = None if found is None else await found.get_frozen_credentials()
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise CredentialsError(
            f"the AWS credential chain did not end within {seconds:g} seconds",
            remedy="check the profile's credential_process, and the services that it asks",
        ) from exc
    finally:
        ending.arm(None)
        for program in programs:
            await _kill(program)
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


async def _kill(program: asyncio.SubprocessTransport) -> None:
    import asyncio

    program.close()
    for _ in range(100):
        if program.get_returncode() is not None:
            break
        await asyncio.sleep(0.01)  # the loop has to see it end, or complains once it is closed


def _programs_of(loop: asyncio.AbstractEventLoop) -> list[asyncio.SubprocessTransport]:
    """Return what will hold the programs that are run from the loop; closing one kills it.

    The chain waits for them and, cancelled, lets them run on.
    """
    begun: list[asyncio.SubprocessTransport] = []
    begin = loop.subprocess_exec

    async def noting(*args: Any, **options: Any) -> tuple[asyncio.SubprocessTransport, Any]:
        transport, protocol = await begin(*args, **options)
        begun.append(transport)
        return transport, protocol

    with suppress(AttributeError):  # a loop written in C, such as uvloop's: they do run on
        loop.subprocess_exec = noting  # type: ignore[method-assign]
    return begun


def _end(found: object) -> datetime | None:
    # Only credentials that can be refreshed have it, and botocore makes it public nowhere.
    end: object = getattr(found, "_expiry_time", None)
    return end.astimezone(UTC) if isinstance(end, datetime) and end.tzinfo is not None else None
