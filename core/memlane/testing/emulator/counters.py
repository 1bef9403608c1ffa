"""What the emulator has been asked, counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from memlane.testing.emulator.routes import Told

__all__ = ("Counters", "Counting", "Served")

_LOGGED: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What has been counted since the last reset.

    Args:
        requests: By operation.
        statuses: By operation and status.
        peak: Requests that were being served at the same time, at most.
        peaks: The same by operation.
        connections_opened: Connections accepted.
        connections_open: Connections that stand now.
        connections_peak: Connections that stood at the same time, at most.
        vectors_put: Vectors that were stored.
        vectors_deleted: Keys that were asked to be deleted.
    """

    requests: Mapping[str, int]
    statuses: Mapping[str, Mapping[int, int]]
    peak: int
    peaks: Mapping[str, int]
    connections_opened: int
    connections_open: int
    connections_peak: int
    vectors_put: int
    vectors_deleted: int

    @property
    def total(self) -> int:
        """Requests of all operations."""
        return sum(self.requests.values())

    def failures(self, operation: str) -> int:
        """Return how many requests of an operation were answered with another status than 200."""
        counted = self.statuses.get(operation, {})
        return sum(times for status, times in counted.items() if status != 200)

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Counters:
        """Return what the control plane answered."""
        told = dict(answer)
        told["statuses"] = {
            operation: {int(status): times for status, times in counted.items()}
            for operation, counted in told["statuses"].items()
        }
        return cls(**told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request that was answered, or dropped (status 0).

    Args:
        operation: What was asked.
        resource: The ARN it named, if it named one.
        principal: The caller's ARN, once established.
        status: The answer's status.
        code: The error's code; "" for none.
        request_id: As the answer says it.
        vectors: How many vectors or keys it carried.
    """

    operation: str
    resource: str
    principal: str
    status: int
    code: str
    request_id: str
    vectors: int = 0


class Counting:
    """Counts what a running server does.

    Attributes:
        generation: Grows with each reset.
        log: The last requests, oldest first.
    """

    def __init__(self) -> None:
        self.connections_open = 0
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """Begin again; what is under way is not counted."""
        self.generation += 1
        self._flying: Counter[str] = Counter()
        self._statuses: dict[str, Counter[int]] = {}
        self._requests: Counter[str] = Counter()
        self._peaks: Counter[str] = Counter()
        self._peak = 0
        self.connections_opened = 0
        self.connections_peak = self.connections_open
        self.vectors_put = 0
        self.vectors_deleted = 0
        self.log: deque[Served] = deque(maxlen=_LOGGED)

    def opened(self) -> None:
        """Count a connection."""
        self.connections_opened += 1
        self.connections_open += 1
        self.connections_peak = max(self.connections_peak, self.connections_open)

    def closed(self) -> None:
        """Count the end of a connection."""
        self.connections_open -= 1

    def begun(self, operation: str) -> int:
        """Count a request, and return in which generation it began."""
        self._requests[operation] += 1
        self._flying[operation] += 1
        self._peaks[operation] = max(self._peaks[operation], self._flying[operation])
        self._peak = max(self._peak, self._flying.total())
        return self.generation

    def ended(self, operation: str, told: Told, generation: int) -> None:
        """Count an answer."""
        if generation != self.generation:
            return
        self._flying[operation] -= 1
        self._statuses.setdefault(operation, Counter())[told.status] += 1
        served = Served(
            operation=operation,
            resource=told.resource,
            principal=told.principal,
            status=told.status,
            code=told.code,
            request_id=told.request_id,
            vectors=told.vectors,
        )
        self.log.append(served)

    def told(self) -> dict[str, Any]:
        """Return the counters, as JSON can say them."""
        return {
            "requests": dict(self._requests),
            "statuses": {
                operation: {str(status): times for status, times in counted.items()}
                for operation, counted in self._statuses.items()
            },
            "peak": self._peak,
            "peaks": {operation: times for operation, times in self._peaks.items() if times},
            "connections_opened": self.connections_opened,
            "connections_open": self.connections_open,
            "connections_peak": self.connections_peak,
            "vectors_put": self.vectors_put,
            "vectors_deleted": self.vectors_deleted,
        }
