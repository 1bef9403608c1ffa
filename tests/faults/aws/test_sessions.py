"""Sessions that end, roles that vanish, an STS that is down: recall goes on or says why not."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial

import anyio
import pytest

from faults.aws.clouds import BUCKET, Cloud, MovedClock
from memlane import NewMemory, Scope
from memlane.aws.wire import Timeouts
from memlane.errors import (
    AccessDeniedError,
    BackendError,
    CredentialsError,
    ServiceError,
)
from memlane.layout import index_name, tenant_code

ADA = Scope("ada", tenant="acme")
LIFE = timedelta(minutes=15)


async def test_a_token_that_ends_between_two_pages_is_renewed(cloud: Cloud) -> None:
    """Only the page that was refused is asked for again."""
    async with cloud.client() as client:
        await client.store_many([NewMemory(content=f"note {n}") for n in range(250)], scope=ADA)
        await cloud.emulator.counters(reset=True)
        await cloud.emulator.inject(
            operation="QueryVectors", status=403, code="ExpiredTokenException", skip=1, times=1
        )
        found = await client.retrieve("note 77", scope=ADA, limit=200)
        assert len(found) == 200
        counted = await cloud.emulator.counters()
        assert counted.requests["AssumeRole"] == 1
        assert counted.failures("QueryVectors") == 1


async def test_sessions_that_really_ended_are_renewed(cloud: Cloud) -> None:
    """The service's clock decides, whatever this machine's says."""
    async with cloud.client() as client:
        await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.advance(LIFE.total_seconds() + 60)
        assert await client.retrieve("which seat?", scope=ADA)
        assert await client.count(scope=ADA) == 1
        await client.store("Lives in Ghent", scope=ADA)
        assert await client.count(scope=ADA) == 2


async def test_a_session_is_renewed_ahead_of_its_end(moved_cloud: Cloud) -> None:
    """Nobody waits: what is valid is used while the next one is fetched."""
    clock = moved_cloud.clock
    assert isinstance(clock, MovedClock)
    async with moved_cloud.client() as client:
        await client.store("Prefers window seats", scope=ADA)
        await moved_cloud.emulator.counters(reset=True)
        late = LIFE - timedelta(minutes=2)
        clock.moved += late
        await moved_cloud.emulator.advance(late.total_seconds())
        await moved_cloud.emulator.inject(operation="AssumeRole", latency=0.2)
        assert await client.retrieve("which seat?", scope=ADA, mode="vector")
        assert (await moved_cloud.emulator.counters()).statuses.get("AssumeRole", {}) == {}
        with anyio.fail_after(20):
            while not (await moved_cloud.emulator.counters()).statuses.get("AssumeRole"):
                await anyio.lowlevel.checkpoint()
        assert (await moved_cloud.emulator.counters()).requests["AssumeRole"] == 1


async def test_a_minute_without_sts_is_noticed_by_nobody(moved_cloud: Cloud) -> None:
    """While a valid session is at hand; a new tenant is told what is wrong."""
    clock = moved_cloud.clock
    assert isinstance(clock, MovedClock)
    async with moved_cloud.client() as client:
        await client.store("Prefers window seats", scope=ADA)
        late = LIFE - timedelta(minutes=3)
        clock.moved += late
        await moved_cloud.emulator.advance(late.total_seconds())
        await moved_cloud.emulator.inject(operation="AssumeRole", status=503)
        for _ in range(6):
            clock.moved += timedelta(seconds=10)
            await moved_cloud.emulator.advance(10)
            assert await client.retrieve("which seat?", scope=ADA)
            await client.store("And another thing", scope=ADA)
        with pytest.raises(ServiceError) as caught:
            await client.retrieve("anything?", scope=Scope("bob", tenant="new"), deadline=2)
        assert caught.value.service == "sts"
        await moved_cloud.emulator.clear_faults()
        clock.moved += timedelta(seconds=5)
        assert await client.retrieve("which seat?", scope=ADA)


async def test_a_deleted_role_is_an_error_and_no_empty_answer(cloud: Cloud) -> None:
    """Its sessions end with it, and no new one begins."""
    await cloud.emulator.put_role(
        "memory-role",
        policy={
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"}],
        },
    )
    role = f"arn:aws:iam::{cloud.emulator.account}:role/memory-role"
    async with cloud.client(role=role) as client:
        await client.store("Prefers window seats", scope=ADA)
        assert await cloud.emulator.delete_role("memory-role")
        for _ in range(2):
            with pytest.raises((AccessDeniedError, CredentialsError)) as caught:
                await client.retrieve("which seat?", scope=ADA)
            assert caught.value.scope == ADA
        with pytest.raises(BackendError):
            await client.store("Lost?", scope=ADA)
        with pytest.raises(BackendError):
            await client.count(scope=ADA)


async def test_a_clock_that_is_wrong_is_corrected(cloud: Cloud) -> None:
    """Signatures are dated by the service's time once it said what that is."""
    await cloud.emulator.switch(clock_skew=3_600.0)
    async with cloud.client() as client:
        await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.counters(reset=True)
        for _ in range(5):
            assert await client.retrieve("which seat?", scope=ADA)
        counted = await cloud.emulator.counters()
        assert not any(counted.failures(name) for name in counted.requests)


async def test_a_hundred_first_callers_cost_one_session(cloud: Cloud) -> None:
    """And one look at the index."""
    async with cloud.client(auto_onboard=False) as client:
        await cloud.emulator.create_index(
            BUCKET,
            "memory-acme",
            dimension=client.space.dimensions,
            metadataConfiguration={
                "nonFilterableMetadataKeys": ["content", "stored_at", "payload", "row"]
            },
        )
        async with anyio.create_task_group() as group:
            for n in range(100):
                user = Scope(f"user-{n}", tenant="acme")
                group.start_soon(partial(client.retrieve, "seats?", scope=user))
        counted = await cloud.emulator.counters()
        assert counted.requests["AssumeRole"] == 1
        assert counted.requests["GetIndex"] == 1
        assert counted.requests["QueryVectors"] == 100


async def test_more_tenants_than_places_in_random_order(cloud: Cloud) -> None:
    """Whoever was dropped comes back as who they are."""
    tenants = [f"tenant-{n}" for n in range(16)]
    order = random.Random(7).choices(tenants, k=48)
    async with cloud.client(places=4) as client:
        for tenant in tenants:
            await client.store(f"a secret of {tenant}", scope=Scope("ada", tenant=tenant))
        for tenant in order:
            found = await client.retrieve("whose secret?", scope=Scope("ada", tenant=tenant))
            assert [match.record.text for match in found] == [f"a secret of {tenant}"]
        counted = await cloud.emulator.counters()
        assert len(tenants) < counted.requests["AssumeRole"] <= len(tenants) + len(order)


@pytest.mark.campaign
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {}), id="asyncio")])
async def test_ten_thousand_tenants_through_a_thousand_places(cloud: Cloud) -> None:
    """Each has an index of its own; a bucket holds as many."""
    tenants = [f"tenant-{n}" for n in range(10_000)]
    order = random.Random(7).sample(tenants, k=10_000)
    limiter = anyio.CapacityLimiter(20)
    patient = Timeouts(attempt=60.0, call=180.0)  # a busy machine is no fault
    async with cloud.client(places=1_000, timeouts=patient) as client:

        async def visit(tenant: str) -> None:
            scope = Scope("ada", tenant=tenant)
            async with limiter:
                await client.store(f"a secret of {tenant}", scope=scope)
                found = await client.retrieve("whose secret?", scope=scope)
                assert [match.record.text for match in found] == [f"a secret of {tenant}"]

        async with anyio.create_task_group() as group:
            for tenant in order:
                group.start_soon(visit, tenant)
    indexes = (await cloud.emulator.indexes())[BUCKET]
    assert set(indexes) == {index_name(tenant_code(tenant)) for tenant in tenants}


NEIGHBOURS = (
    "Acme", "acme", "acme-1", "acme_1", "a--b", "a-b", "x" * 300, "\N{SNOWMAN}", "../x",
    "acme/..", "ACME", "acme ", "%61cme", "memory-acme", "*", "${aws:PrincipalTag/TenantID}",
)  # fmt: skip


async def test_tenants_that_look_alike_are_not(cloud: Cloud) -> None:
    """Each with an index and a session of its own, whatever its name is made of."""
    async with cloud.client() as client:
        for place, tenant in enumerate(NEIGHBOURS):
            await client.store(f"secret {place}", scope=Scope("ada", tenant=tenant))
        for place, tenant in enumerate(NEIGHBOURS):
            scope = Scope("ada", tenant=tenant)
            found = await client.retrieve("secret", scope=scope)
            assert [match.record.text for match in found] == [f"secret {place}"]
            assert await client.count(scope=scope) == 1
    assert len((await cloud.emulator.indexes())[BUCKET]) == len(NEIGHBOURS)
    principals = {
        (served.principal, served.resource)
        for served in await cloud.emulator.requests()
        if served.operation == "QueryVectors"
    }
    assert len(principals) == len(NEIGHBOURS)


@pytest.mark.parametrize("tenant", ["", " ", None])
async def test_no_tenant_is_nobody(cloud: Cloud, tenant: str | None) -> None:
    """Refused before anything is asked of anyone."""
    async with cloud.client() as client:
        with pytest.raises(ValueError, match="tenant"):
            await client.store("Whose?", scope=Scope("ada", tenant=tenant))
    assert (await cloud.emulator.counters()).total == 0
