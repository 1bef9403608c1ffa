"""What a call took is told by its receipt, to whoever asks, and to nobody else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import anyio
import pytest

from memlane import (
    CallReceipt,
    InvalidCursorError,
    MemoryClient,
    NewMemory,
    NotFoundError,
    Scope,
)
from memlane.local import InMemoryBackend
from memlane.metering import Meter, current, last_receipt
from memlane.prices import Prices, TenantCosts
from memlane.protocols import Purpose, Vector
from memlane.receipts import TenantStats
from memlane.testing import HashingEmbedder

ADA = Scope("ada", tenant="acme")
BOB = Scope("bob", tenant="globex")


def a_client(on_receipt: Callable[[CallReceipt], object] | None = None) -> MemoryClient:
    return MemoryClient(
        backend=InMemoryBackend(), embedder=HashingEmbedder(), on_receipt=on_receipt
    )


async def test_a_receipt_tells_of_the_last_call() -> None:
    """Its verb, whose tenant, how long, and what was embedded or known already."""
    client = a_client()
    await client.store_many([NewMemory(content="tea"), NewMemory(content="coffee")], scope=ADA)
    stored = client.last_receipt()
    assert stored is not None
    assert (stored.operation, stored.tenant, stored.embedded) == ("store_many", "acme", 2)
    assert stored.seconds > 0
    assert stored.failed is None
    await client.retrieve("what to drink?", scope=ADA)
    first = client.last_receipt()
    await client.retrieve("what to drink?", scope=ADA)
    second = client.last_receipt()
    assert first is not None
    assert second is not None
    assert (first.embedded, first.cache_hits) == (1, 0)
    assert (second.embedded, second.cache_hits) == (0, 1)
    assert current() is None


async def test_a_verb_that_calls_another_is_one_call() -> None:
    """`context` retrieves, and a listing read to its end is a call for each page."""
    told: list[CallReceipt] = []
    client = a_client(told.append)
    await client.store("tea", scope=ADA)
    await client.context("drink?", scope=ADA, max_tokens=100)
    assert [each.operation for each in told] == ["store", "context"]
    assert [record.text async for record in client.iterate(scope=ADA)] == ["tea"]
    assert [each.operation for each in told[2:]] == ["iterate"]


async def test_what_is_done_for_a_tenant_is_a_call_too() -> None:
    """With a receipt of its own, whatever it embeds and looks at."""
    told: list[CallReceipt] = []
    client = a_client(told.append)
    await client.store("tea", scope=ADA)
    admin = client.admin("acme")
    await admin.users()
    await admin.stats()
    await admin.reembed(HashingEmbedder(dimensions=32))
    with pytest.raises(InvalidCursorError):
        await admin.users(cursor="edited")
    await admin.forget_tenant()
    assert [each.operation for each in told[1:]] == [
        "users", "stats", "reembed", "users", "forget_tenant",
    ]  # fmt: skip
    assert [each.embedded for each in told[1:]] == [0, 0, 1, 0, 0]
    assert [each.failed for each in told[1:]] == [None, None, None, "InvalidCursorError", None]
    assert {each.tenant for each in told} == {"acme"}


async def test_a_failure_is_named_and_its_text_is_not() -> None:
    """What went wrong by its class alone."""
    told: list[CallReceipt] = []
    client = a_client(told.append)
    with pytest.raises(NotFoundError):
        await client.get("nothing", scope=ADA)
    assert [(each.operation, each.failed) for each in told] == [("get", "NotFoundError")]
    assert "nothing" not in repr(told)
    assert "ada" not in repr(told)


async def test_each_task_knows_its_own() -> None:
    """Calls at once do not count for each other."""
    client = a_client()
    found: dict[str, CallReceipt | None] = {}

    async def call(scope: Scope, count: int) -> None:
        items = [NewMemory(content=f"{scope.user} {n}") for n in range(count)]
        await client.store_many(items, scope=scope)
        found[scope.user] = client.last_receipt()

    before = last_receipt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, ADA, 3)
        tasks.start_soon(call, BOB, 5)
    ada, bob = found["ada"], found["bob"]
    assert ada is not None
    assert bob is not None
    assert (ada.tenant, ada.embedded, bob.tenant, bob.embedded) == ("acme", 3, "globex", 5)
    assert last_receipt() is before


async def test_a_listener_that_fails_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by its class: its text may hold anything."""

    def listen(receipt: CallReceipt) -> None:
        raise RuntimeError(f"secret {receipt}")

    client = a_client(listen)
    with caplog.at_level(logging.WARNING, logger="memlane"):
        record = await client.store("tea", scope=ADA)
    assert (await client.get(record.id, scope=ADA)).text == "tea"
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_attempts_are_counted_by_what_they_ask() -> None:
    """A repeated one is a request and a retry."""
    meter = Meter("store", "acme")
    meter.request("InvokeModel", sent=10, again=False)
    meter.request("PutVectors", sent=100, again=False)
    meter.request("PutVectors", sent=100, again=True)
    receipt = meter.receipt()
    assert (receipt.requests, receipt.retries, receipt.bytes_sent) == (3, 1, 210)
    assert receipt.operations == {"InvokeModel": 1, "PutVectors": 2}


TITAN = "amazon.titan-embed-text-v2:0:1024"


def test_a_small_put_is_paid_as_a_large_one() -> None:
    """128 KiB at least, so a million single puts cost what aws's calculator says: about $25."""
    prices = Prices()
    put = CallReceipt(operation="store", tenant="acme", operations={"PutVectors": 1}, requests=1)
    assert 24 < prices.call(put, space=TITAN) * 1_000_000 < 27
    ask = CallReceipt(operation="retrieve", tenant="acme", operations={"QueryVectors": 1})
    assert prices.call(ask, space=TITAN) == pytest.approx(2.5e-6)


def test_tokens_cost_what_their_model_costs() -> None:
    """A model without a known price has none, and is not taken for free of charge."""
    prices = Prices()
    assert prices.tokens(1_000_000, space=TITAN) == pytest.approx(0.02)
    assert prices.tokens(1_000_000, space="somebody's:384") is None


def test_costs_add_up_by_tenant() -> None:
    """Who was never asked for has cost nothing."""
    costs = TenantCosts(space=TITAN)
    for tenant, tokens in (("acme", 100), ("acme", 200), ("globex", 50)):
        costs(CallReceipt(operation="store", tenant=tenant, tokens=tokens))
    assert costs.of("acme") == pytest.approx(300 * 0.02e-6)
    assert costs.of("globex") == pytest.approx(50 * 0.02e-6)
    assert costs.of("nobody") == 0


def test_keeping_is_paid_by_the_month() -> None:
    """A million vectors of 1,024 dimensions are about five gigabytes."""
    stats = TenantStats(
        users=1, records=10**6, expired=0, versions=0, vectors=10**6, text_bytes=10**8, spaces={}
    )
    assert 0.25 < Prices().month(stats, dimensions=1024) < 0.4


async def test_a_task_that_outlives_its_call_makes_calls_of_its_own() -> None:
    """Begun in an embedder, say: what it does is told, and the first call's receipt stays."""
    told: list[CallReceipt] = []
    ended = anyio.Event()

    class Beginning(HashingEmbedder):
        async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
            if not told and len(inputs) == 1:
                tasks.start_soon(later)
            return await super().embed(inputs, purpose=purpose)

    async def later() -> None:
        await ended.wait()
        await client.store_many([NewMemory(content=n) for n in "abc"], scope=BOB)

    client = MemoryClient(backend=InMemoryBackend(), embedder=Beginning(), on_receipt=told.append)
    async with anyio.create_task_group() as tasks:
        await client.store("tea", scope=ADA)
        first = client.last_receipt()
        ended.set()
    assert [(each.operation, each.embedded) for each in told] == [("store", 1), ("store_many", 3)]
    assert client.last_receipt() == first
