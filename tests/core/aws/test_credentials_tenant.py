"""A tenant's credentials are fetched once, and for that tenant alone."""

from __future__ import annotations

import random
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from core.aws.providers import Vendor, made, until
from core.runtime.surroundings import ForeignLoop
from memlane.aws.credentials import TenantCredentials
from memlane.errors import ValidationError
from memlane.protocols import Credentials
from memlane.runtime import io_loop, work_loop
from memlane.scope import Scope
from memlane.testing import FakeClock

ACME = Scope("ada", tenant="acme")
MINUTES_5 = timedelta(minutes=5)


@pytest.fixture
def vendor(clock: FakeClock) -> Vendor:
    return Vendor(clock)


@pytest.fixture
def tenants(vendor: Vendor, clock: FakeClock) -> TenantCredentials:
    return TenantCredentials(vendor, clock=clock)


async def test_a_hundred_first_calls_are_one_fetch(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """Who comes while credentials are fetched waits for those."""
    vendor.gate = threading.Event()
    got: list[Credentials] = []

    async def ask() -> None:
        got.append(await tenants.get(ACME))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
        await until(lambda: vendor.calls == 1)
        vendor.gate.set()
    assert vendor.calls == 1
    assert len(got) == 100
    assert len(set(map(id, got))) == 1


def test_first_calls_from_several_loops_are_one_fetch(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """The callers' loops need not be the same, nor of one kind."""
    vendor.gate = threading.Event()
    loops = [ForeignLoop(), ForeignLoop()]
    try:
        waiting = [loop.spawn(tenants.get(ACME)) for loop in loops for _ in range(25)]
        with ThreadPoolExecutor(3) as pool:
            threads = [
                pool.submit(partial(anyio.run, tenants.get, ACME, backend=kind))
                for kind in ("asyncio", "trio", "trio")
            ]
            while not vendor.calls:
                pass
            vendor.gate.set()
            got = [future.result(20) for future in (*waiting, *threads)]
    finally:
        for loop in loops:
            loop.abandon()
    assert vendor.calls == 1
    assert set(got) == {got[0]}


async def test_tenants_are_kept_apart(tenants: TenantCredentials, vendor: Vendor) -> None:
    """Each tenant, and the lane without one, has its own; users and agents share their tenant's."""
    scopes = [Scope("ada", tenant=tenant) for tenant in ("acme", "Acme", "None", None)]
    got = [await tenants.get(scope) for scope in scopes]
    assert len(set(got)) == 4
    assert vendor.asked == scopes
    again = [Scope("bob", tenant=scope.tenant, agent="x", session="y") for scope in scopes]
    assert [await tenants.get(scope) for scope in again] == got
    assert vendor.calls == 4


async def test_per_user_keeps_users_apart(vendor: Vendor, clock: FakeClock) -> None:
    """With `per_user` each user of each tenant has credentials of their own."""
    users = TenantCredentials(vendor, per_user=True, clock=clock)
    scopes = [Scope(user, tenant=tenant) for user in ("a", "b") for tenant in ("x", "y", None)]
    assert len({await users.get(scope) for scope in scopes}) == 6
    assert await users.get(Scope("a", tenant="x", agent="z")) == await users.get(scopes[0])
    assert vendor.calls == 6


async def test_peek_waits_for_nothing(tenants: TenantCredentials, vendor: Vendor) -> None:
    """What is kept is there at once; what is not is None and fetches nothing."""
    assert tenants.peek(ACME) is None
    assert vendor.calls == 0
    got = await tenants.get(ACME)
    assert tenants.peek(ACME) is got
    assert await tenants.get(ACME) is got


async def test_the_least_recently_used_tenant_is_dropped(vendor: Vendor, clock: FakeClock) -> None:
    """The cache is bounded, and use keeps a tenant in it."""
    tenants = TenantCredentials(vendor, size=2, clock=clock)
    one, two, three = (Scope("u", tenant=name) for name in ("one", "two", "three"))
    await tenants.get(one)
    await tenants.get(two)
    assert tenants.peek(one) is not None
    await tenants.get(three)
    assert tenants.peek(two) is None
    assert tenants.peek(one) is not None
    assert tenants.kept == 2


async def test_ten_thousand_tenants_pass_through_a_thousand_places(
    vendor: Vendor, clock: FakeClock
) -> None:
    """In random order everybody gets their own, and the cache stays what it was told to be."""
    tenants = TenantCredentials(vendor, clock=clock)
    order = [number % 10_000 for number in range(20_000)]
    random.Random(7).shuffle(order)
    for number in order:
        scope = Scope("u", tenant=f"t{number}")
        got = tenants.peek(scope) or await tenants.get(scope)
        assert got.access_key.startswith(f"ASIAt{number}-")
    assert tenants.kept == 1_000
    assert 10_000 <= vendor.calls < 20_000
    assert len(tenants._cache._good) == 10_000


async def test_rejected_credentials_are_fetched_again_once(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """A hundred callers who were refused with the same ones cost one new fetch."""
    old = await tenants.get(ACME)
    tenants.reject(ACME, made("somebody's"))
    assert tenants.peek(ACME) is old

    async def renew() -> None:
        tenants.reject(ACME, old)
        assert await tenants.get(ACME) != old

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(renew)
    assert vendor.calls == 2
    tenants.reject(ACME, old)
    assert tenants.peek(ACME) is not None


async def test_nothing_of_the_users_runs_on_the_io_loop(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """Asked for from the I/O loop, a provider runs on the work loop."""
    await io_loop().call(tenants.get, ACME)
    assert vendor.threads == ["memlane-work"]


async def test_a_caller_runs_the_provider_where_it_stands(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """Who has to wait for credentials has them fetched on their own loop."""
    await tenants.get(ACME)
    assert vendor.threads == [threading.current_thread().name]


async def test_only_a_tenant_that_was_good_within_the_hour_is_warmed(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """Nothing is begun for a tenant that nobody knows, or that was seen too long ago."""
    assert not tenants.known_good(ACME)
    tenants.warm(ACME)
    first = await tenants.get(ACME)
    assert tenants.known_good(ACME)
    tenants.warm(ACME)
    assert vendor.calls == 1
    tenants.reject(ACME, first)
    tenants.warm(ACME)
    await until(lambda: tenants.peek(ACME) is not None)
    assert vendor.calls == 2
    assert vendor.threads[1] == "memlane-work"
    clock.advance(timedelta(minutes=61))
    assert not tenants.known_good(ACME)
    tenants.warm(ACME)
    await tenants.get(Scope("u", tenant="other"))
    assert [scope and scope.tenant for scope in vendor.asked] == ["acme", "acme", "other"]


async def test_a_call_joins_what_was_warmed(tenants: TenantCredentials, vendor: Vendor) -> None:
    """What was begun in the background is not begun again by who needs it, nor by another warm."""
    tenants.reject(ACME, await tenants.get(ACME))
    vendor.gate = threading.Event()
    for _ in range(10):
        tenants.warm(ACME)
    await until(lambda: vendor.calls == 2)
    await work_loop().call(anyio.lowlevel.checkpoint)
    assert not any(flight.waiting for flight in tenants._cache._flight._flights.values())
    vendor.gate.set()
    await tenants.get(ACME)
    assert vendor.calls == 2


async def test_a_tenant_is_known_good_after_it_was_dropped(
    vendor: Vendor, clock: FakeClock
) -> None:
    """That a tenant exists is remembered for ten times as many as have a place, not for all."""
    tenants = TenantCredentials(vendor, size=1, clock=clock)
    await tenants.get(ACME)
    await tenants.get(Scope("u", tenant="other"))
    assert tenants.peek(ACME) is None
    assert tenants.known_good(ACME)
    for number in range(20):
        await tenants.get(Scope("u", tenant=f"t{number}"))
    assert not tenants.known_good(ACME)
    assert len(tenants._cache._good) == 10


async def test_a_tenant_costs_two_kilobytes_at_most(clock: FakeClock) -> None:
    """A thousand tenants with tokens of 700 characters fit into two megabytes."""

    async def fetch(scope: Scope) -> Credentials:
        return Credentials(
            access_key=f"ASIA{scope.tenant:>016}",
            secret_key=f"{scope.tenant:>040}",
            session_token=f"{scope.tenant:>0700}",
            expires_at=clock.now() + MINUTES_5,
        )

    tenants = TenantCredentials(fetch, clock=clock)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1_000):
            await tenants.get(Scope("u", tenant=f"t{number}"))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tenants.kept == 1_000
    assert (after - before) / 1_000 < 2_048


def test_a_cache_of_no_places_is_refused(vendor: Vendor) -> None:
    """A size that keeps nothing is a mistake."""
    with pytest.raises(ValidationError, match="size"):
        TenantCredentials(vendor, size=0)
