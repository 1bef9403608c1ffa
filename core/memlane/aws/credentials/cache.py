"""Credentials are asked for once, kept while they are good, and renewed before they end.

Renewal is begun by use, not by a timer: what nobody uses is not renewed. It runs on the work loop
while the callers go on with what is still valid, so a provider that fails for a minute is noticed
by nobody but the log.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random as random_
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import anyio

from memlane.aws.credentials.checks import check_credentials
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    IsolationError,
    LoopError,
    MemlaneError,
    RequestRejectedError,
)
from memlane.protocols import Clock, Credentials
from memlane.runtime import SingleFlight, SystemClock, fork, io_loop, work_loop
from memlane.runtime.place import running_loop

__all__ = ("CredentialCache",)

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

DENIAL_SECONDS: Final = 5.0
FAILURE_SECONDS: Final = 1.0
KNOWN_GOOD_SECONDS: Final = 3_600.0
KNOWN_GOOD_PER_PLACE: Final = 10
"""Tenants remembered as known good for each one whose credentials are kept."""

UNSTATED_LIFE: Final = timedelta(minutes=10)
"""Credentials that name no end may have one all the same: they are asked for again after this."""

_MARGIN: Final = timedelta(seconds=60)
_RENEWAL: Final = timedelta(minutes=5)
_JITTER: Final = 0.1
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

_log = logging.getLogger(__name__)


class _Kept:
    """Credentials, with the moments from which they are renewed and no longer used."""

    __slots__ = ("credentials", "ends_at", "failures", "renew_at", "renewing")

    def __init__(self, credentials: Credentials, renew_at: datetime, ends_at: datetime) -> None:
        self.credentials = credentials
        self.renew_at = renew_at
        self.ends_at = ends_at
        self.failures = 0
        self.renewing = False


class CredentialCache(Generic[K, S]):
    """Credentials by key, for callers on any loop and any thread.

    Args:
        ask: Fetches credentials for a subject. Runs on the caller's loop when the caller has to
            wait for them, and on the work loop ahead of their end; never on the I/O loop.
        size: How many keys are kept; the least recently used is dropped first.
        clock: Where the time comes from.
        random: Numbers of 0 to 1, for jitter.
        timeout: Seconds an asking may take.
        fixed: Whether credentials that name no end have none.
    """

    def __init__(
        self,
        ask: Callable[[S], Awaitable[Credentials]],
        *,
        size: int,
        clock: Clock | None = None,
        random: Callable[[], float] = random_.random,
        timeout: float = 60.0,
        fixed: bool = False,
    ) -> None:
        self._ask = ask
        self._size = size
        self._clock = SystemClock() if clock is None else clock
        self._now = self._clock.now
        self._random = random
        self._timeout = timeout
        self._fixed = fixed
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, _Kept] = OrderedDict()
        self._good: OrderedDict[K, float] = OrderedDict()
        self._failures: OrderedDict[K, tuple[MemlaneError, float]] = OrderedDict()
        self._warming: set[K] = set()
        self._flight: SingleFlight[Credentials] = SingleFlight()
        fork.watch(self._after_fork)

    def peek(self, key: K, subject: S) -> Credentials | None:
        """Return what is kept and valid, and see to its renewal when that is due; never waits."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        now = self._now()
        if now >= kept.renew_at:
            if now >= kept.ends_at:
                return None
            if not kept.renewing:
                self._begin_renewal(key, subject, kept)
        try:  # noqa: SIM105  (each request comes this way)
            # Without the lock: each is one step, and another thread may drop the key in between.
            self._kept.move_to_end(key)
        except KeyError:
            pass
        return kept.credentials

    async def get(self, key: K, subject: S) -> Credentials:
        """Return what is kept and valid, or fetch it; callers that come meanwhile wait for that.

        Raises:
            IsolationError: What came is somebody else's; said again for five seconds.
            AccessDeniedError: There is nothing for this key; said again for five seconds.
            CredentialsError: None could be had, or what came cannot be used.
            MemlaneError: Whatever else the provider says.
        """
        found = self.peek(key, subject)
        if found is not None:
            return found
        with self._lock:
            failure = self._remembered(key)
        if failure is not None:
            raise failure.anew()
        if io_loop().is_here:
            # A provider is somebody else's code; nobody's requests wait for that.
            return await work_loop().call(self._fetch, key, subject, None)
        return await self._fetch(key, subject, None)

    def reject(self, key: K, credentials: Credentials) -> None:
        """Drop credentials that a service refused as invalid, unless they were replaced already."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.credentials == credentials:
                del self._kept[key]

    def known_good(self, key: K) -> bool:
        """Tell whether credentials were had for this key within the last hour."""
        since = self._good.get(key)
        return since is not None and self._clock.monotonic() - since < KNOWN_GOOD_SECONDS

    def warm(self, key: K, subject: S) -> None:
        """Begin to fetch what is missing for a key known good; never waits and never fails."""
        if self.peek(key, subject) is not None or not self.known_good(key):
            return
        with self._lock:
            if key in self._warming or self._remembered(key) is not None:
                return
            self._warming.add(key)
        try:
            work_loop().start(self._warm, key, subject)
        except LoopError:  # the interpreter exits
            self._warming.discard(key)

    @property
    def kept(self) -> int:
        """How many keys' credentials are kept."""
        return len(self._kept)

    async def _warm(self, key: K, subject: S) -> None:
        try:
            with suppress(Exception):  # whoever needs them asks again, and is told
                await self._fetch(key, subject, None)
        finally:
            self._warming.discard(key)

    def _begin_renewal(self, key: K, subject: S, kept: _Kept) -> None:
        with self._lock:
            if kept.renewing:
                return
            kept.renewing = True
        try:
            work_loop().start(self._renew, key, subject, kept)
        except LoopError:  # the interpreter exits
            kept.renewing = False

    async def _renew(self, key: K, subject: S, kept: _Kept) -> None:
        try:
            await self._fetch(key, subject, kept.credentials)
        except Exception as error:  # noqa: BLE001  (any failure leaves what is valid in use)
            pause = min(_FIRST_PAUSE * 2**kept.failures, _LONGEST_PAUSE)
            kept.failures += 1
            again = self._now() + timedelta(seconds=pause * (1 + self._random()) / 2)
            # Never beyond the end, which is looked at only from then on.
            kept.renew_at = min(again, kept.ends_at)
            _log.warning(
                "credentials could not be renewed (%s); those at hand are used until they end",
                type(error).__name__,
            )
        finally:
            kept.renewing = False

    async def _fetch(self, key: K, subject: S, old: Credentials | None) -> Credentials:
        return await self._flight.run(key, functools.partial(self._fetch_once, key, subject, old))

    async def _fetch_once(self, key: K, subject: S, old: Credentials | None) -> Credentials:
        kept = self._kept.get(key)
        if kept is not None and kept.credentials is not old and self._now() < kept.ends_at:
            return kept.credentials  # somebody was quicker
        try:
            credentials = check_credentials(await self._asked(subject))
            renew_at, ends_at = self._moments(credentials)
        except MemlaneError as error:
            self._remember_failure(key, error)
            raise
        with self._lock:
            self._failures.pop(key, None)
            self._keep(key, _Kept(credentials, renew_at, ends_at))
        return credentials

    async def _asked(self, subject: S) -> Credentials:
        if self._fixed:
            return await self._answer(subject)
        if running_loop() is None:
            with anyio.move_on_after(self._timeout):
                return await self._answer(subject)
        else:
            # Not anyio's: its half for asyncio costs a cold start as much as all of this package.
            limit = asyncio.timeout(self._timeout)
            try:
                async with limit:
                    return await self._answer(subject)
            except TimeoutError:
                if not limit.expired():
                    raise
        raise CredentialsError(
            f"a credential provider did not answer within {self._timeout:g} seconds",
            remedy="check that the service it asks can be reached",
        )

    async def _answer(self, subject: S) -> Credentials:
        try:
            return await self._ask(subject)
        except MemlaneError:
            raise
        except Exception as exc:
            raise CredentialsError(
                f"a credential provider failed ({type(exc).__name__})",
                remedy="see the cause of this error",
            ) from exc

    def _moments(self, credentials: Credentials) -> tuple[datetime, datetime]:
        """Return from when credentials are renewed, and from when they are not used."""
        now = self._now()
        end = credentials.expires_at
        if end is None:
            if self._fixed:
                return _NEVER, _NEVER
            return now + UNSTATED_LIFE * (1 - _JITTER * self._random()), _NEVER
        life = end - now
        if life <= timedelta(0):
            raise CredentialsError(
                "a credential provider returned credentials that have ended already",
                remedy="check this machine's clock, and what the provider keeps",
            )
        ahead = max(life / 4, min(_RENEWAL, life / 2)) + life * _JITTER * self._random()
        # A call that begins just before the end may take a while.
        return end - ahead, end - min(_MARGIN, life / 10)

    def _keep(self, key: K, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        self._good[key] = self._clock.monotonic()
        self._good.move_to_end(key)
        while len(self._good) > self._size * KNOWN_GOOD_PER_PLACE:
            self._good.popitem(last=False)

    def _remember_failure(self, key: K, error: MemlaneError) -> None:
        seconds = _remembered_for(error)
        if seconds is None:
            return
        with self._lock:
            if seconds == DENIAL_SECONDS:
                self._good.pop(key, None)
            # Another one, without a traceback: frames hold what was asked with.
            self._failures[key] = error.anew(), self._clock.monotonic() + seconds
            self._failures.move_to_end(key)
            while len(self._failures) > self._size:
                self._failures.popitem(last=False)

    def _remembered(self, key: K) -> MemlaneError | None:
        error, until = self._failures.get(key, (None, 0.0))
        if error is not None and self._clock.monotonic() >= until:
            del self._failures[key]
            return None
        return error

    def _after_fork(self) -> None:
        # Credentials are as good in the child; the renewals under way are the parent's.
        self._lock = threading.Lock()
        self._warming = set()
        for kept in self._kept.values():
            kept.renewing = False


def _remembered_for(error: MemlaneError) -> float | None:
    if isinstance(error, (IsolationError, AccessDeniedError, RequestRejectedError)):
        return DENIAL_SECONDS
    # A chain that finds nothing is dear to walk, and hundreds of callers may ask it at once.
    return FAILURE_SECONDS if isinstance(error, CredentialsError) else None
