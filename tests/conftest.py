"""What every test stands on: both event loops, and an alarm for calls that block one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from types import ModuleType

import pytest
from blockbuster import BlockBuster
from hypothesis import settings

from memlane import MemoryClient
from memlane.local import InMemoryBackend
from memlane.testing import FakeClock, HashingEmbedder

pytest_plugins = ["memlane.testing.emulator.fixtures"]

# The gate draws the same examples each time, so that what passed once passes for everybody; the
# campaigns of `make test-all` look for new ones (--hypothesis-profile=search). No test is timed.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("gate")

_OURS = ("memlane", "memlane_plain", "memlane_strands", "memlane_langchain")


def _folder_of(name: str) -> ModuleType | None:
    """Return a stand-in that tells where a package lies without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    stand_in = ModuleType(name)
    stand_in.__path__ = list(spec.submodule_search_locations)
    return stand_in


# Only calls with our code on the stack count: what pytest, hypothesis and the tests do is theirs.
_SCANNED = [folder for name in _OURS if (folder := _folder_of(name)) is not None]


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"debug": False}), id="asyncio"),
        pytest.param(("trio", {}), id="trio"),
    ],
    scope="module",
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Each async test runs on asyncio and on trio."""
    chosen: tuple[str, dict[str, object]] = request.param
    return chosen


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Our code that blocks a running asyncio loop raises BlockingError where it does so."""
    guard = BlockBuster(_SCANNED)
    for function in guard.functions.values():
        # The chain runs on a loop of its own in a worker thread: to block is what that is for.
        function.can_block_in("memlane/aws/session.py", {"walk_chain"})
    guard.activate()
    try:
        yield guard
    finally:
        guard.deactivate()


@pytest.fixture
def clock() -> FakeClock:
    """Time that the test moves."""
    return FakeClock()


@pytest.fixture
def embedder() -> HashingEmbedder:
    """A model without a model."""
    return HashingEmbedder()


@pytest.fixture
async def client(clock: FakeClock, embedder: HashingEmbedder) -> AsyncIterator[MemoryClient]:
    """A client over an empty store in memory."""
    backend = InMemoryBackend()
    async with MemoryClient(
        backend=backend, embedder=embedder, clock=clock, owned=[backend]
    ) as opened:
        yield opened
