"""A hundred callers that need the same thing at once should cost one call, whatever they run on."""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar, cast

import anyio

from memlane.errors import MemlaneError
from memlane.runtime import fork
from memlane.runtime.delivery import Answer, expect
from memlane.runtime.place import Place

__all__ = ("SingleFlight",)

T = TypeVar("T")

# A loop that is closed, left, or blocked under its task tells nobody, so those who wait look.
PROBE_SECONDS: Final = 0.2


class _Landed(Generic[T]):
    """What came of an execution."""

    __slots__ = ("error", "value")

    def __init__(self, value: T | None, error: Exception | None) -> None:
        self.value = value
        self.error = error

    def unwrap(self) -> T:
        error = self.error
        if isinstance(error, MemlaneError):
            # One for each: what a client writes into its own names a scope to nobody else.
            raise error.anew() from error.__cause__
        if error is not None:
            raise error
        return cast("T", self.value)


class _Flight(Generic[T]):
    """One execution: where it runs, who waits for it, and what came of it."""

    __slots__ = ("landed", "leader", "waiting")

    def __init__(self) -> None:
        self.leader: Place | None = None
        self.waiting: set[Answer[None]] = set()
        self.landed: _Landed[T] | None = None


class SingleFlight(Generic[T]):
    """One execution at a time per key, shared by callers on several loops, threads and trio.

    Args:
        probe_seconds: How often a waiting caller looks whether the one it waits for can still
            make progress; when not, it takes over.
    """

    def __init__(self, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._probe_seconds = probe_seconds
        # Re-entrant: a leader thrown away with its loop may be finalised in the middle of one.
        self._lock = threading.RLock()
        self._flights: dict[Hashable, _Flight[T]] = {}
        fork.watch(self._after_fork)

    async def run(self, key: Hashable, fn: Callable[[], Awaitable[T]]) -> T:
        """Return `await fn()`, or the result of a call with an equal key that is under way.

        The first caller runs its `fn` on its own loop and the others wait. An exception goes to
        all of them; nothing is cached. When the first caller is cancelled or had too little time
        of its own, or its loop is closed or stands still, whoever blocks it, one of the others
        runs its own `fn` instead.

        Args:
            key: What makes two calls the same.
            fn: An async function; must not run the same key on the same flight.

        Raises:
            LoopError: The caller runs on no event loop.
        """
        flight: _Flight[T] | None = None
        while True:
            flight, part = self._join(key, flight)
            if isinstance(part, _Landed):
                return part.unwrap()
            if isinstance(part, Place):
                return await self._lead(key, flight, part, fn)
            with anyio.move_on_after(self._probe_seconds) as probe:
                await part.wait(functools.partial(self._leave, flight, part))
            if probe.cancelled_caught:
                self._look(flight)

    def _join(
        self, key: Hashable, flight: _Flight[T] | None
    ) -> tuple[_Flight[T], _Landed[T] | Place | Answer[None]]:
        """Return a flight, and what came of it, or the place to lead it at, or a wait for it."""
        with self._lock:
            if flight is not None and flight.landed is not None:
                return flight, flight.landed
            # A flight that lost its leader was taken off the table: nobody may be left to lead
            # it. Whoever comes first puts it back, unless there is a newer one to join.
            current: _Flight[T] = self._flights.get(key) or flight or _Flight()
            if current.leader is not None and not current.leader.is_stuck():
                answer: Answer[None] = expect()
                current.waiting.add(answer)
                return current, answer
            current.leader = place = Place()
            self._flights[key] = current
            return current, place

    def _look(self, flight: _Flight[T]) -> None:
        """Take the lead from whoever's loop has not turned since somebody looked before."""
        with self._lock:
            if flight.leader is not None and flight.leader.is_silent(self._probe_seconds / 2):
                flight.leader = None

    def _leave(self, flight: _Flight[T], answer: Answer[None]) -> bool:
        with self._lock:
            flight.waiting.discard(answer)
        return True

    async def _lead(
        self, key: Hashable, flight: _Flight[T], place: Place, fn: Callable[[], Awaitable[T]]
    ) -> T:
        landed: _Landed[T] | None = None
        try:
            value = await fn()
            landed = _Landed(value, None)
        except Exception as error:
            if not (isinstance(error, MemlaneError) and error.is_hurried):
                landed = _Landed[T](None, error)
            raise
        else:
            return value
        finally:
            # Also when cancelled or hurried, or thrown away with its loop: nothing has landed.
            self._end(key, flight, place, landed)

    def _end(
        self, key: Hashable, flight: _Flight[T], place: Place, landed: _Landed[T] | None
    ) -> None:
        with self._lock:
            flight.landed = flight.landed or landed
            if flight.landed is None and flight.leader is not place:
                return  # somebody else took over meanwhile
            flight.leader = None
            if self._flights.get(key) is flight:
                del self._flights[key]
            waiting, flight.waiting = flight.waiting, set()
        for answer in waiting:
            answer.set_result(None)

    def _after_fork(self) -> None:
        fork.keep(self._flights)
        self._lock = threading.RLock()
        self._flights = {}
