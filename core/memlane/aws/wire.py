"""What goes over the wire, as data: a request, an answer, and how long to try.

Named tuples: one of each is made per request, and a frozen dataclass takes three times as long,
to make as well as to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ("Lane", "Reply", "Request", "RetryPolicy", "Timeouts")


class Request(NamedTuple):
    """One request, not signed yet.

    Args:
        service: The signing name's service here: "s3vectors", "bedrock", "sts" or "dynamodb".
        operation: The service's own name for it, such as "QueryVectors".
        path: Path on the host, percent-encoded once, beginning with "/".
        body: The bytes sent.
        method: "POST" mostly.
        query: Query string, encoded, without "?".
        content_type: What the body is.
        headers: Further headers, such as "X-Amz-Target"; signed too. A tuple, so that requests
            can be made at no cost and kept.
        idempotent: Doing it twice is doing it once; only then is it repeated when no answer came.
    """

    service: str
    operation: str
    path: str
    body: bytes
    method: str = "POST"
    query: str = ""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    idempotent: bool = True

    def __repr__(self) -> str:
        """Name it; its body is somebody's memories."""
        return f"<Request {self.service} {self.operation}>"


class Reply(NamedTuple):
    """One answer.

    Args:
        status: The HTTP status.
        headers: By names in lower case.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Name it; its body is somebody's memories."""
        return f"<Reply {self.status}, {len(self.body)} bytes>"


class Lane(NamedTuple):
    """What shares a pace: one index of one bucket, or one model.

    Args:
        name: Its name, such as "bucket/index".
        requests: Requests a second at most; None for no bound of ours.
        weight: Weight a second at most, such as vectors; None for no bound of ours.
    """

    name: str
    requests: float | None = None
    weight: float | None = None


class Timeouts(NamedTuple):
    """Seconds.

    Args:
        connect: Until a connection stands.
        attempt: For one attempt, its answer read.
        call: For a call with all its attempts, when its caller gives no earlier deadline.
    """

    connect: float = 3.0
    attempt: float = 15.0
    call: float = 60.0


class RetryPolicy(NamedTuple):
    """When to try again. Waits are a random share of `base * 2**attempt`, at most `cap` seconds.

    Args:
        base: Seconds.
        cap: Seconds.
        budget: Retries saved up at most; each success earns about one more.
        attempts: Attempts a call at most, whatever its deadline.
    """

    base: float = 0.05
    cap: float = 5.0
    budget: float = 100.0
    attempts: int = 12
