"""A plane at a scripted server, used from the loop that entered it and from any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from core.aws.answering import AnsweringServer
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Request
from memlane.protocols import Credentials

CREDENTIALS = Credentials(access_key="AKIDEXAMPLE", secret_key="a-secret-key-of-someone")
QUERY = Request("s3vectors", "QueryVectors", "/QueryVectors", b'{"topK":5}')
CREATE = Request("s3vectors", "CreateIndex", "/CreateIndex", b"{}", idempotent=False)


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    """A server that says what the test wants."""
    opened = AnsweringServer()
    yield opened
    opened.close()


class Planes:
    """Makes planes at the server, entered or not."""

    def __init__(self, server: AnsweringServer, *, entered: bool) -> None:
        self._server = server
        self._entered = entered
        self.made: list[DataPlane] = []

    async def make(self, **options: Any) -> DataPlane:
        """Return a plane that does not wait between attempts, unless told otherwise."""
        options.setdefault("random", lambda: 0.0)
        options.setdefault("endpoint_urls", {"*": self._server.url})
        plane = DataPlane(region="us-east-1", **options)
        self.made.append(plane)
        if self._entered:
            await plane.enter()
        return plane


@pytest.fixture(params=["entered", "elsewhere"])
async def planes(
    request: pytest.FixtureRequest,
    server: AnsweringServer,
    anyio_backend: object,  # noqa: ARG001  (closed on the loop that entered)
) -> AsyncIterator[Planes]:
    """Each test on the loop that entered, and through the owned loop; on trio always the latter."""
    made = Planes(server, entered=request.param == "entered")
    yield made
    for plane in made.made:
        await plane.aclose()
