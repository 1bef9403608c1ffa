"""What all connections of a plane share: pace, budgets, the services' clock, and its settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from memlane.aws.endpoints import Endpoints
from memlane.aws.pace import Pace
from memlane.aws.retries import Budgets
from memlane.aws.route import Route
from memlane.aws.signing import Signer
from memlane.aws.skew import Skew
from memlane.aws.wire import Lane, RetryPolicy, Timeouts
from memlane.protocols import Clock
from memlane.runtime import WorkerThreads

__all__ = ("Shared",)


class Shared:
    """What both homes of a plane use. Usable from any thread."""

    def __init__(
        self,
        *,
        region: str,
        endpoints: Endpoints,
        route: Route,
        concurrency: int,
        timeouts: Timeouts,
        retries: RetryPolicy,
        clock: Clock,
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] | None,
    ) -> None:
        self.endpoints = endpoints
        self.route = route
        self.has_tls = route.has_tls or not endpoints.are_plain
        self.signer = Signer(region)
        self.concurrency = concurrency
        self.timeouts = timeouts
        self.retries = retries
        self.monotonic = clock.monotonic
        self.random = random
        self.sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep if sleep is None else sleep
        self.skew = Skew(clock)
        self.pace = Pace(clock.monotonic, random)
        self.budgets = Budgets(retries.budget, clock.monotonic)
        self.lanes: dict[str, Lane] = {}
        self.threads = WorkerThreads("memlane-aws", 2)

    def lane(self, service: str) -> Lane:
        """Return the lane of requests that name none."""
        lane = self.lanes.get(service)
        if lane is None:
            lane = self.lanes[service] = Lane(service)
        return lane

    def after_fork(self) -> None:
        """Replace every lock: who holds it may not exist in this process."""
        for locked in (self.skew, self.pace, self.budgets):
            locked.after_fork()
