"""A channel whose answers the test gives one by one: what is tested is who shares a request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson

from memlane.aws.wire import Lane, Reply, Request
from memlane.errors import RequestRejectedError
from memlane.protocols import Credentials

CREDENTIALS = Credentials(access_key="AKIAEXAMPLE", secret_key="secret")
OK = Reply(200, {}, b"{}")


def vector(key: str, value: float = 1.0, **metadata: object) -> bytes:
    """Return a vector as callers encode it."""
    return orjson.dumps({"key": key, "data": {"float32": [value, 0.0]}, "metadata": metadata})


@dataclass
class Sent:
    """One request on its way."""

    request: Request
    weight: float
    lane: Lane | None
    deadline: float | None
    answer: asyncio.Future[Reply]

    @property
    def keys(self) -> list[str]:
        """The keys it would store."""
        return [each["key"] for each in orjson.loads(self.request.body)["vectors"]]

    def succeed(self) -> None:
        """Let it be stored."""
        self.answer.set_result(OK)

    def fail(self, error: Exception) -> None:
        """Let it fail."""
        self.answer.set_exception(error)


class Switchboard:
    """Sends nothing: keeps each request until the test answers it."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.flying = 0
        self.most = 0
        self.attached: dict[object, object] = {}

    async def call(
        self,
        request: Request,
        credentials: Credentials | None,
        *,
        lane: Lane | None = None,
        weight: float = 1.0,
        deadline: float | None = None,
    ) -> Reply:
        """Wait for the test's answer."""
        assert credentials is CREDENTIALS
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.sent.append(Sent(request, weight, lane, deadline, answer))
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            return await answer
        finally:
            self.flying -= 1

    @property
    def keys(self) -> list[list[str]]:
        """The keys of each request so far."""
        return [sent.keys for sent in self.sent]


def rejection(detail: str = "") -> RequestRejectedError:
    """Return the service's word that something in a request is invalid."""
    return RequestRejectedError(
        "the request is invalid", service="s3vectors", code="ValidationException", status=400,
        detail=detail, request_id="r-1",
    )  # fmt: skip
