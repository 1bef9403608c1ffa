"""The emulator in place of the canned server: the same requests, each signature and rule checked.

It costs more per request than the clients that are measured: ratios of CPU stay, rates do not.
What floor and memlane find is what each stored into its own index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

from memlane.testing.emulator import Emulator


class Emulated:
    """A running emulator that is ruled as `Canned` is."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._latency: Mapping[str, float] = {}
        self._throttled: Mapping[str, float] = {}

    def __enter__(self) -> Self:
        self._emulator = self._stack.enter_context(Emulator.launch())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def exports(self) -> Mapping[str, str]:
        """What AWS clients read from the environment."""
        return self._emulator.environment()

    @property
    def settings(self) -> dict[str, Any]:
        """The same for clients that are told."""
        admin = self._emulator.admin
        return {
            "endpoint": self._emulator.url,
            "region": self._emulator.region,
            "access_key": admin.access_key,
            "secret_key": admin.secret_key,
        }

    def learn(self, learning: bool) -> None:
        """Nothing to do: it keeps whatever is put, always."""

    def slow(self, latency: Mapping[str, float]) -> None:
        """Take this long for these operations, and no time for others."""
        self._latency = latency
        self._rule()

    def throttle(self, rates: Mapping[str, float]) -> None:
        """Answer this share of these operations with 429."""
        self._throttled = rates
        self._rule()

    def _rule(self) -> None:
        ruled = self._emulator.blocking
        ruled.clear_faults()
        for operation, rate in self._throttled.items():
            ruled.inject(operation=operation, kind="error", status=429, rate=rate)
        for operation, seconds in self._latency.items():
            ruled.inject(operation=operation, latency=seconds)

    def reset(self) -> None:
        """Count anew."""
        self._emulator.blocking.counters(reset=True)

    def counters(self) -> dict[str, Any]:
        """Return what was counted since the last reset."""
        counted = self._emulator.blocking.counters()
        throttled = {
            operation: statuses[429]
            for operation, statuses in counted.statuses.items()
            if 429 in statuses
        }
        return {
            "requests": dict(counted.requests),
            "throttled": throttled,
            "received": dict.fromkeys(counted.requests, 0),
            "peak_open": counted.connections_peak,
        }

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket."""
        self._emulator.blocking.create_bucket(bucket)

    def create(self, bucket: str, index: str, non_filterable: Sequence[str] = ()) -> None:
        """Make a bucket and an index of 1,024 dimensions, as whoever onboards a tenant does."""
        ruled = self._emulator.blocking
        self.create_bucket(bucket)
        ruled.create_index(bucket, index, dimension=1024, hidden=tuple(non_filterable))
