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
H = TypeVar("H", bound=Hashable)
V = TypeVar("V")

DENIAL_SECONDS: Final = 5.0
FAILURE_SECONDS: Final = 1.0
REJECTION_SECONDS: Final = 2.0
REJECTIONS_APART: Final = 5.0
"""Once is a session that ended early. Twice within this, the next one would be refused as well."""

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
        asker: Whom a failure to fetch is about, where subjects of one key may fare differently;
            if None, all of the key.
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
        asker: Callable[[S], Hashable] | None = None,
    ) -> None:
        self._ask = ask
        self._size = size
        self._clock = SystemClock() if clock is None else clock
        self._now = self._clock.now
        self._random = random
        self._timeout = timeout
        self._fixed = fixed
        self._asker = asker
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, _Kept] = OrderedDict()
        self._good: OrderedDict[K, float] = OrderedDict()
        self._denied: OrderedDict[Hashable, float] = OrderedDict()
        self._rejected: OrderedDict[K, float] = OrderedDict()
        self._failures: OrderedDict[Hashable, tuple[MemlaneError, float]] = OrderedDict()
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

        A caller who goes before it is there leaves the fetching to the work loop: else, where it
        takes longer than callers have, none would ever be served.

        Raises:
            IsolationError: What came is somebody else's; said again for five seconds.
            AccessDeniedError: There is nothing for this key; said again for five seconds.
            CredentialsError: None could be had, or what came cannot be used, or was rejected twice.
            MemlaneError: Whatever else the provider says.
        """
        found = self.peek(key, subject)
        if found is not None:
            return found
        with self._lock:
            failure = self._failure(key, subject)
        if failure is not None:
            raise failure.anew()
        try:
            if io_loop().is_here or key in self._warming:
                # A provider is somebody else's code; nobody's requests wait for that. And what
                # was begun on the work loop is waited for behind it, or the next impatient
                # caller would come first and end it again.
                return await work_loop().call(self._fetch_shared, key, subject)
            return await self._fetch_shared(key, subject)
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            self._begin_fetch(key, subject)
            raise

    def reject(self, key: K, credentials: Credentials) -> None:
        """Drop credentials that a service refused as invalid, unless they were replaced already.

        When their successors are refused within seconds, nothing is fetched for a while: it is
        not their age, and whatever it is, sessions by the thousand do not mend it.
        """
        now = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.credentials != credentials:
                return
            del self._kept[key]
            before = self._rejected.get(key)
            _put(self._rejected, key, now, most=self._size)
            if before is not None and now - before < REJECTIONS_APART:
                failure = CredentialsError(
                    "credentials were rejected by the service, and so were the ones before them",
                    remedy="check whether their owner was disabled, and the clock and region",
                )
                _put(self._failures, key, (failure, now + REJECTION_SECONDS), most=self._size)

    def known_good(self, key: K, subject: S) -> bool:
        """Tell whether there were credentials within the last hour, and no denial since."""
        now = self._clock.monotonic()
        since = self._good.get(key)
        if since is None or now - since >= KNOWN_GOOD_SECONDS:
            return False
        denied = self._denied.get(self._about(key, subject)) if self._denied else None
        return denied is None or now - denied >= KNOWN_GOOD_SECONDS

    def warm(self, key: K, subject: S) -> None:
        """Begin to fetch what is missing for a key known good; never waits and never fails."""
        if self.peek(key, subject) is None and self.known_good(key, subject):
            self._begin_fetch(key, subject)

    def _begin_fetch(self, key: K, subject: S) -> None:
        with self._lock:
            if key in self._warming or self._failure(key, subject) is not None:
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

    async def _fetch_shared(self, key: K, subject: S) -> Credentials:
        try:
            return await self._fetch(key, subject, None)
        except MemlaneError as error:
            if self._asker is None or _remembered_for(error) is None:
                raise
            about = self._asker(subject)
            with self._lock:
                if self._remembered(about) is not None:
                    raise
        # Somebody else was refused, and that says nothing of this one.
        return await self._flight.run(
            (key, about), functools.partial(self._fetch_once, key, subject, None)
        )

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
            self._remember_failure(self._about(key, subject), error)
            raise
        with self._lock:
            self._failures.pop(key, None)
            about = self._about(key, subject)
            self._failures.pop(about, None)
            self._denied.pop(about, None)
            _put(self._kept, key, _Kept(credentials, renew_at, ends_at), most=self._size)
            most = self._size * KNOWN_GOOD_PER_PLACE
            _put(self._good, key, self._clock.monotonic(), most=most)
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

    def _remember_failure(self, about: Hashable, error: MemlaneError) -> None:
        seconds = _remembered_for(error)
        if seconds is None:
            return
        now = self._clock.monotonic()
        with self._lock:
            if seconds == DENIAL_SECONDS:
                _put(self._denied, about, now, most=self._size * KNOWN_GOOD_PER_PLACE)
            # Another one, without a traceback: frames hold what was asked with.
            _put(self._failures, about, (error.anew(), now + seconds), most=self._size)

    def _about(self, key: K, subject: S) -> Hashable:
        """Return whom a failure to fetch is about."""
        return key if self._asker is None else self._asker(subject)

    def _failure(self, key: K, subject: S) -> MemlaneError | None:
        # What was rejected was everybody's; who was denied is one of them, or all.
        found = self._remembered(key)
        return found if found or self._asker is None else self._remembered(self._asker(subject))

    def _remembered(self, about: Hashable) -> MemlaneError | None:
        error, until = self._failures.get(about, (None, 0.0))
        if error is not None and self._clock.monotonic() >= until:
            del self._failures[about]
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


def _put(memory: OrderedDict[H, V], key: H, value: V, *, most: int) -> None:
    """Remember as the newest, and forget the oldest beyond so many."""
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
