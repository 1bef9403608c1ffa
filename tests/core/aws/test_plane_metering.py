"""Requests, retries, bytes and tokens reach the receipt of the call that spent them."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from memlane import CallReceipt, MemoryClient, NewMemory, Scope
from memlane.testing.emulator import Emulator
from memlane_plain import connect

ADA = Scope("ada", tenant="acme")
URL = "s3vectors://my-memory"
EITHER_LOOP = pytest.mark.parametrize("entered", [True, False])


@pytest.fixture
def make(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[CallReceipt]], MemoryClient]:
    emulator.blocking.create_bucket("my-memory")
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    return lambda told: connect(URL, auto_onboard=True, on_receipt=told.append)


@EITHER_LOOP
async def test_a_call_knows_its_requests(
    make: Callable[[list[CallReceipt]], MemoryClient], emulator: Emulator, *, entered: bool
) -> None:
    """Also where its connections are another loop's; what the service counted is what is told."""
    told: list[CallReceipt] = []
    client = make(told)
    if entered:
        await client.__aenter__()
    await client.store("Drinks tea", scope=ADA)
    await emulator.counters(reset=True)
    await client.store("Prefers window seats", scope=ADA)
    await client.retrieve("which seat?", scope=ADA, mode="vector")
    counted = (await emulator.counters()).requests
    stored, recalled = told[-2:]
    assert stored.operations == {"InvokeModel": 1, "PutVectors": 1}
    assert recalled.operations == {"InvokeModel": 1, "QueryVectors": 1}
    assert stored.requests + recalled.requests == sum(counted.values())
    assert stored.tokens > 0
    assert stored.bytes_sent > 1_000 < recalled.bytes_sent
    assert recalled.bytes_received > 1_000
    assert (stored.retries, recalled.retries) == (0, 0)
    await client.aclose()


@EITHER_LOOP
async def test_what_is_repeated_is_counted(
    make: Callable[[list[CallReceipt]], MemoryClient], emulator: Emulator, *, entered: bool
) -> None:
    """Each attempt is a request."""
    told: list[CallReceipt] = []
    client = make(told)
    if entered:
        await client.__aenter__()
    await client.store("Drinks tea", scope=ADA)
    await emulator.inject(operation="QueryVectors", status=503, times=2)
    await client.retrieve("tea?", scope=ADA, mode="vector")
    assert told[-1].operations["QueryVectors"] == 3
    assert told[-1].retries == 2
    await client.aclose()


async def test_calls_at_once_count_for_themselves(
    make: Callable[[list[CallReceipt]], MemoryClient],
) -> None:
    """None counts for another, whatever loop they share."""
    told: list[CallReceipt] = []
    client = make(told)
    await client.store("Drinks tea", scope=ADA)
    del told[:]

    async def store(tenant: str, count: int) -> None:
        items = [NewMemory(content=f"{tenant} {n}") for n in range(count)]
        await client.store_many(items, scope=Scope("u", tenant=tenant))

    async with anyio.create_task_group() as tasks:
        for count, tenant in enumerate(("a", "b", "c"), start=2):
            tasks.start_soon(store, tenant, count)
    found = {each.tenant: each.operations["InvokeModel"] for each in told}
    assert found == {"a": 2, "b": 3, "c": 4}
    await client.aclose()
