"""When to ask again: after a random wait, within the deadline, and about once per success."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from typing import Final, NoReturn

import anyio

from memlane.aws.pace import Track
from memlane.aws.wire import Request, RetryPolicy
from memlane.errors import ServiceError, ThrottledError
from memlane.protocols import Credentials
from memlane.runtime.place import running_loop

__all__ = ("Budget", "Budgets", "Call", "backoff", "patience_here")

# With nothing succeeding, nothing is earned; this much a second keeps callers from starving.
TRICKLE: Final = 1.0


def backoff(policy: RetryPolicy, attempt: int, random: Callable[[], float]) -> float:
    """Return how long to wait after the attempt with this number, counted from 0."""
    return random() * min(policy.cap, policy.base * 2.0 ** min(attempt, 64))


class Budget:
    """Retries that may still be made; shared by all callers of a service, on every loop.

    Args:
        size: Retries saved up at most; what it begins with.
        now: Seconds that never run backwards.
    """

    def __init__(self, size: float, now: Callable[[], float]) -> None:
        self._size = size
        self._now = now
        self._lock = threading.Lock()
        self._saved = size
        self._since = now()

    def earn(self, refund: float = 0.0) -> None:
        """Count a success.

        Args:
            refund: Retries it had paid for that are to be had back.
        """
        if self._saved < self._size:
            with self._lock:
                self._saved = min(self._size, self._saved + 1.0 + refund)

    def take(self) -> float:
        """Pay for a retry.

        Returns:
            0 when it is paid for, else the seconds until it can be.
        """
        with self._lock:
            now = self._now()
            self._saved = min(self._size, self._saved + (now - self._since) * TRICKLE)
            self._since = now
            if self._saved >= 1.0:
                self._saved -= 1.0
                return 0.0
            return (1.0 - self._saved) / TRICKLE

    def after_fork(self) -> None:
        """Replace the lock: who holds it may not exist in this process."""
        self._lock = threading.Lock()


class Budgets:
    """A budget for each service: one that fails leaves the others theirs.

    Args:
        size: Retries saved up at most, each.
        now: Seconds that never run backwards.
    """

    def __init__(self, size: float, now: Callable[[], float]) -> None:
        self._size = size
        self._now = now
        self._kept: dict[str, Budget] = {}

    def of(self, service: str) -> Budget:
        """Return a service's budget."""
        budget = self._kept.get(service)
        if budget is None:
            budget = self._kept.setdefault(service, Budget(self._size, self._now))
        return budget

    def after_fork(self) -> None:
        """Replace the locks: who holds them may not exist in this process."""
        for budget in self._kept.values():
            budget.after_fork()


def patience_here() -> float:
    """Return the seconds until the calling task is cancelled by a deadline of its own."""
    if "anyio._backends._asyncio" not in sys.modules and running_loop() is not None:
        # Nobody has a deadline of anyio's there who has not loaded it, which takes 14 ms.
        return math.inf
    deadline = anyio.current_effective_deadline()
    return deadline if math.isinf(deadline) else deadline - anyio.current_time()


class Call:
    """One call with all its attempts.

    Args:
        request: What is asked for.
        credentials: Who asks.
        track: The pace it keeps.
        budget: What its retries are paid from.
        begun: When it began.
        limit: Seconds after which no attempt goes on.
        patience: Seconds after which its caller is cancelled; None: it is the calling task, to be
            asked when that matters, for it mostly does not.
    """

    __slots__ = (
        "_begun", "_patience", "attempt", "budget", "credentials", "ends", "is_cut_short",
        "knows_until", "last", "offset", "refund", "request", "track", "until", "was_held_back",
        "was_stale",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        credentials: Credentials | None,
        track: Track,
        budget: Budget,
        *,
        begun: float,
        limit: float,
        patience: float | None,
    ) -> None:
        self.request = request
        self.credentials = credentials
        self.track = track
        self.budget = budget
        self.ends = begun + limit
        self.until = begun
        self.knows_until = False
        self.attempt = 0
        self.last: ServiceError | None = None
        self.was_held_back = False
        self.is_cut_short = False
        self.was_stale = False
        # How far the services' clock is ahead, by a refusal; None: nothing was said of it.
        self.offset: float | None = None
        # Retries that it paid for and will have back: asking again was all that was wanted of it.
        self.refund = 0.0
        self._begun = begun
        self._patience = patience

    def find_until(self, now: float) -> float:
        """Return when the caller stops waiting, which is not known before this."""
        if not self.knows_until:
            self.knows_until = True
            # As seconds from now: the caller's loop counts from another moment.
            patience = self._patience
            gives_up = now + patience_here() if patience is None else self._begun + patience
            self.until = min(self.ends, gives_up)
        return self.until

    def give_up(self, needed: float | None, left: float) -> NoReturn:
        """Raise what a caller is told for whom the next attempt comes too late.

        Args:
            needed: Seconds until then; None: there is no more time at all.
            left: Seconds that the caller has.
        """
        last = self.last
        is_hurried = self.knows_until and self.until < self.ends
        if last is not None and not isinstance(last, ThrottledError):
            last.is_hurried = is_hurried
            raise last
        request = self.request
        why = "time is up"
        if needed is not None:
            why = f"the next attempt is in {needed:.1f} seconds, and the call has {left:.1f} left"
        error = ThrottledError(
            f"{request.service} has no capacity for {request.operation}: {why}",
            service=request.service,
            wire_operation=request.operation,
            code=None if last is None else last.code,
            status=None if last is None else last.status,
            request_id=None if last is None else last.request_id,
            detail=None if last is None else last.detail,
            remedy="ask for less at once, or with a later deadline",
        )
        error.is_hurried = is_hurried
        raise error from last
