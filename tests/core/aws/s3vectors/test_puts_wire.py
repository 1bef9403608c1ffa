"""Puts over the wire: the emulator counts the requests and shows what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from core.aws.s3vectors.switchboard import vector
from memlane.aws.plane import Channel, DataPlane
from memlane.aws.s3vectors.naming import IndexTarget
from memlane.aws.s3vectors.puts import put_vectors
from memlane.errors import (
    CredentialsError,
    RequestRejectedError,
    StoreNotFoundError,
    UnavailableError,
)
from memlane.protocols import Credentials
from memlane.testing.emulator import Emulator

TARGET = IndexTarget("memories", "memory-acme")


@pytest.fixture(params=["entered", "hopping"])
async def plane(emulator: Emulator, request: pytest.FixtureRequest) -> AsyncIterator[DataPlane]:
    """A plane at an emulator that has one index."""
    await emulator.create_bucket("memories")
    await emulator.create_index("memories", "memory-acme", dimension=2)
    opened = DataPlane(region=emulator.region, endpoint_urls={"*": emulator.url})
    if request.param == "entered":
        await opened.enter()
    try:
        yield opened
    finally:
        await opened.aclose()


async def _attached(plane: DataPlane) -> int:
    async def look(channel: Channel) -> int:
        return len(channel.attached)

    return await plane.run(look)


async def test_concurrent_puts_share_requests(emulator: Emulator, plane: DataPlane) -> None:
    """A hundred stores are a few requests; all are there, and nothing is kept of the queue."""
    await emulator.inject(operation="PutVectors", latency=0.05)
    async with anyio.create_task_group() as tasks:
        for n in range(100):
            tasks.start_soon(put_vectors, plane, TARGET, emulator.admin, [vector(f"k{n}")])
    counters = await emulator.counters()
    assert counters.vectors_put == 100
    assert counters.requests["PutVectors"] <= 17
    assert len(await emulator.vectors("memories", "memory-acme")) == 100
    assert await _attached(plane) == 0


async def test_alone_each_put_is_a_request(emulator: Emulator, plane: DataPlane) -> None:
    """And nothing waits for company."""
    await put_vectors(plane, TARGET, emulator.admin, [])
    for n in range(3):
        await put_vectors(plane, TARGET, emulator.admin, [vector(f"k{n}", n + 1.0)])
    stored = await emulator.vectors("memories", "memory-acme")
    assert sorted(stored) == ["k0", "k1", "k2"]
    assert (await emulator.counters()).requests["PutVectors"] == 3


@pytest.mark.parametrize("bad", [0, 7, 19])
async def test_the_service_refuses_one_of_many(
    emulator: Emulator, plane: DataPlane, bad: int
) -> None:
    """Metadata that weighs too much is one caller's affair; the others' vectors are stored."""
    await emulator.inject(operation="PutVectors", latency=0.05, times=1)
    errors: dict[int, Exception] = {}

    async def put(n: int) -> None:
        try:
            text = "x" * (3000 if n == bad else 3)
            await put_vectors(plane, TARGET, emulator.admin, [vector(f"k{n}", text=text)])
        except RequestRejectedError as error:
            errors[n] = error

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(put, n)
    assert set(errors) == {bad}
    assert "AKIA" not in str(errors[bad])
    stored = await emulator.vectors("memories", "memory-acme")
    assert sorted(stored) == sorted(f"k{n}" for n in range(20) if n != bad)
    # The first, the shared one, the offender alone and the rest: the service says which it is.
    # A busy machine may miss a gathering or two; asked one by one it would be twenty and more.
    assert (await emulator.counters()).requests["PutVectors"] <= 10


async def test_the_last_of_one_key_stays(emulator: Emulator, plane: DataPlane) -> None:
    """The service refuses a key that is twice in a request: it never is."""
    await emulator.inject(operation="PutVectors", latency=0.02)
    both = [vector("a", 1.0), vector("b", 1.0), vector("a", 3.0)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put_vectors, plane, TARGET, emulator.admin, [vector("c")])
        for _ in range(4):
            tasks.start_soon(put_vectors, plane, TARGET, emulator.admin, both)
    stored = await emulator.vectors("memories", "memory-acme")
    assert sorted(stored) == ["a", "b", "c"]
    assert list(stored["a"].data) == [3.0, 0.0]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_reset_in_the_middle_of_a_put(
    emulator: Emulator, plane: DataPlane, moment: str
) -> None:
    """Stored or not, the request is repeated: nothing is doubled and nothing lost."""
    await emulator.inject(operation="PutVectors", kind="reset", moment=moment, times=2)
    async with anyio.create_task_group() as tasks:
        for n in range(10):
            tasks.start_soon(put_vectors, plane, TARGET, emulator.admin, [vector(f"k{n}")])
    assert len(await emulator.vectors("memories", "memory-acme")) == 10


async def test_failures_reach_everybody(emulator: Emulator, plane: DataPlane) -> None:
    """An index that is not there, credentials that are refused: each caller is told."""
    stranger = Credentials(access_key="AKIAUNKNOWN", secret_key="x")
    told: list[type[Exception]] = []

    async def put(target: IndexTarget, credentials: Credentials, n: int) -> None:
        try:
            await put_vectors(plane, target, credentials, [vector(f"k{n}")])
        except (StoreNotFoundError, CredentialsError) as error:
            told.append(type(error))

    async with anyio.create_task_group() as tasks:
        for n in range(5):
            tasks.start_soon(put, IndexTarget("memories", "memory-nobody"), emulator.admin, n)
            tasks.start_soon(put, TARGET, stranger, n)
            tasks.start_soon(put, TARGET, emulator.admin, n)
    assert told.count(StoreNotFoundError) == 5
    assert told.count(CredentialsError) == 5
    assert len(await emulator.vectors("memories", "memory-acme")) == 5
    assert await _attached(plane) == 0


async def test_a_deadline_ends_the_attempts(emulator: Emulator, plane: DataPlane) -> None:
    """A service that never answers well is not asked for longer than the caller waits."""
    await emulator.inject(operation="PutVectors", status=503)
    outcome = None
    with anyio.move_on_after(0.3):
        try:
            await put_vectors(plane, TARGET, emulator.admin, [vector("a")])
        except UnavailableError as error:
            outcome = error
    assert await emulator.vectors("memories", "memory-acme") == {}
    assert (await emulator.counters()).requests["PutVectors"] >= 1
    assert outcome is None or outcome.status == 503


async def test_expired_credentials_are_told_and_not_retried(
    emulator: Emulator, plane: DataPlane
) -> None:
    """Whoever put renews them; the queue of the old ones rests."""
    stranger = Credentials(access_key="ASIAUNKNOWN", secret_key="x", session_token="t")
    with pytest.raises(CredentialsError):
        await put_vectors(plane, TARGET, stranger, [vector("a")])
    assert (await emulator.counters()).requests.get("PutVectors", 0) <= 1
    assert await _attached(plane) == 0
