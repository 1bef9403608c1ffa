"""Providers as somebody might write them, which count and can be made to wait or to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel

from memlane.protocols import Clock, Credentials
from memlane.scope import Scope


class Vendor:
    """Gives each tenant credentials that tell whose they are and the how-manieth."""

    def __init__(self, clock: Clock, life: timedelta | None = timedelta(minutes=15)) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.life = life
        self.asked: list[Scope | None] = []
        self.threads: list[str] = []
        self.failure: Exception | None = None
        self.gate: threading.Event | None = None

    @property
    def calls(self) -> int:
        return len(self.asked)

    async def __call__(self, scope: Scope | None = None) -> Credentials:
        with self._lock:
            self.asked.append(scope)
            self.threads.append(threading.current_thread().name)
            number = len(self.asked)
        while self.gate is not None and not self.gate.is_set():
            await anyio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        tenant = "-" if scope is None else scope.tenant
        return made(f"{tenant}-{number}", self._end())

    def _end(self) -> datetime | None:
        return None if self.life is None else self._clock.now() + self.life


def made(name: str, end: datetime | None = None) -> Credentials:
    return Credentials(
        access_key=f"ASIA{name}",
        secret_key=f"secret-{name}",
        session_token=f"token-{name}",
        expires_at=end,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait until what happens on another thread has happened."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()
