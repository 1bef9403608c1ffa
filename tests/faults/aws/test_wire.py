"""The wire breaks: nothing is doubled, nothing lost, and half an answer is none."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from faults.aws.clouds import BUCKET, Cloud, ScriptedEmbedder
from memlane import NewMemory, Scope
from memlane.aws.wire import RetryPolicy, Timeouts
from memlane.errors import (
    DeadlineExceededError,
    MemlaneError,
    RequestRejectedError,
    TenantNotOnboardedError,
    ThrottledError,
    UnavailableError,
)

ADA = Scope("ada", tenant="acme")
DATA = ("PutVectors", "GetVectors", "QueryVectors", "ListVectors", "DeleteVectors")


async def _records(cloud: Cloud) -> list[str]:
    """Return what the index holds, read by other means."""
    held = await cloud.emulator.vectors(BUCKET, "memory-acme")
    return sorted(
        str(vector.metadata["content"]) for vector in held.values() if "user_id" in vector.metadata
    )


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_a_put_that_breaks_off_is_stored_once(cloud: Cloud, kind: str, moment: str) -> None:
    """Whether the service had done it or not."""
    async with cloud.client() as client:
        await client.store("first", scope=ADA)
        await cloud.emulator.inject(operation="PutVectors", kind=kind, moment=moment, times=1)
        stored = await client.store("second", scope=ADA)
        assert await _records(cloud) == ["first", "second"]
        assert (await client.get(stored.id, scope=ADA)).text == "second"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_batch_that_breaks_off_is_stored_once(cloud: Cloud, moment: str) -> None:
    """All of it, and each once."""
    async with cloud.client() as client:
        await client.store("first", scope=ADA)
        await cloud.emulator.inject(operation="PutVectors", kind="reset", moment=moment, times=2)
        await client.store_many([NewMemory(content=f"note {n}") for n in range(300)], scope=ADA)
        assert len(await _records(cloud)) == 301
        assert await client.count(scope=ADA) == 301


@pytest.mark.parametrize("operation", DATA)
@pytest.mark.parametrize("kind", ["reset", "truncate"])
async def test_one_broken_answer_is_asked_for_again(
    cloud: Cloud, operation: str, kind: str
) -> None:
    """Of every operation, since all of them may be repeated."""
    async with cloud.client() as client:
        record = await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.inject(operation=operation, kind=kind, moment="after", times=1)
        await client.store("Lives in Ghent", scope=ADA)
        assert (await client.get(record.id, scope=ADA)).text == "Prefers window seats"
        assert len(await client.retrieve("seats", scope=ADA)) == 2
        assert await client.count(scope=ADA) == 2
        assert await client.delete(record.id, scope=ADA) == 1
        assert await client.count(scope=ADA) == 1


async def test_a_put_whose_answers_never_come_is_read_back(cloud: Cloud) -> None:
    """What is there was stored, however badly that was said."""
    async with cloud.client(retries=RetryPolicy(base=0.001, cap=0.002, attempts=3)) as client:
        await client.store("first", scope=ADA)
        await cloud.emulator.inject(operation="PutVectors", kind="truncate", moment="after")
        await client.store("second", scope=ADA)
        assert await _records(cloud) == ["first", "second"]


@pytest.mark.parametrize("operation", DATA)
async def test_what_always_breaks_is_an_error_and_no_empty_answer(
    cloud: Cloud, operation: str
) -> None:
    """After as many attempts as the policy allows."""
    async with cloud.client(retries=RetryPolicy(base=0.001, cap=0.002, attempts=3)) as client:
        record = await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.inject(operation=operation, kind="reset", moment="before")
        calls: dict[str, Any] = {
            "PutVectors": lambda: client.store("Lives in Ghent", scope=ADA),
            "GetVectors": lambda: client.get(record.id, scope=ADA),
            "QueryVectors": lambda: client.retrieve("seats", scope=ADA),
            "ListVectors": lambda: client.count(scope=ADA),
            "DeleteVectors": lambda: client.delete(record.id, scope=ADA),
        }
        with pytest.raises(UnavailableError) as caught:
            await calls[operation]()
        assert caught.value.wire_operation == operation


async def test_a_slow_answer_ends_with_the_deadline(cloud: Cloud) -> None:
    """And the next call finds no piece of it on its connection."""
    async with cloud.client() as client:
        await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.inject(operation="QueryVectors", kind="slow", seconds=20.0, times=1)
        with pytest.raises(DeadlineExceededError):
            await client.retrieve("which seat?", scope=ADA, deadline=0.3)
        for _ in range(3):
            found = await client.retrieve("which seat?", scope=ADA)
            assert [match.record.text for match in found] == ["Prefers window seats"]


async def test_cancelled_calls_leave_no_half_read_answer(cloud: Cloud) -> None:
    """Whatever the moment they are cancelled at."""
    async with cloud.client() as client:
        await client.store_many([NewMemory(content=f"note {n}") for n in range(40)], scope=ADA)
        for wait in (0.0, 0.001, 0.002, 0.004, 0.006, 0.01, 0.02):
            await cloud.emulator.inject(
                operation="QueryVectors", kind="slow", seconds=0.05, times=4
            )
            with anyio.move_on_after(wait):
                async with anyio.create_task_group() as group:
                    for n in range(4):
                        group.start_soon(partial(client.retrieve, f"note {n}", scope=ADA))
            await cloud.emulator.clear_faults()
            found = await client.retrieve("note 7", scope=ADA, limit=1, mode="vector")
            assert found[0].record.text == "note 7"


async def test_an_attempt_that_hangs_is_tried_again(cloud: Cloud) -> None:
    """The attempt has a bound of its own, below the call's."""
    async with cloud.client(timeouts=Timeouts(attempt=0.3)) as client:
        await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.inject(operation="QueryVectors", latency=30.0, times=1)
        assert await client.retrieve("which seat?", scope=ADA)


async def test_connections_the_service_closed_are_noticed_by_nobody(cloud: Cloud) -> None:
    """Idle ones end at any time."""
    async with cloud.client() as client:
        await client.store("Prefers window seats", scope=ADA)
        for _ in range(3):
            await cloud.emulator.disconnect()
            assert await client.retrieve("which seat?", scope=ADA)
            await cloud.emulator.disconnect()
            await client.store("Prefers window seats", scope=ADA, idempotency_key="seat")
        assert await client.count(scope=ADA) == 2


async def test_an_index_deleted_under_a_running_client(cloud: Cloud) -> None:
    """Each verb says so; onboarded again, all goes on."""
    async with cloud.client(auto_onboard=False) as client:
        await client.admin("acme").onboard()
        record = await client.store("Prefers window seats", scope=ADA)
        calls: dict[str, Any] = {
            "store": lambda: client.store("Lives in Ghent", scope=ADA),
            "retrieve": lambda: client.retrieve("which seat?", scope=ADA),
            "get": lambda: client.get(record.id, scope=ADA),
            "update": lambda: client.update(record.id, scope=ADA, text="Prefers the aisle"),
            "list": lambda: client.list(scope=ADA),
            "count": lambda: client.count(scope=ADA),
            "delete": lambda: client.delete(record.id, scope=ADA),
            "forget": lambda: client.forget(ADA),
        }
        for verb, call in calls.items():
            assert await cloud.emulator.drop_index(BUCKET, "memory-acme"), verb
            for _ in range(2):
                with pytest.raises(TenantNotOnboardedError, match="memlane onboard") as caught:
                    await call()
                assert caught.value.operation == verb
            assert await client.admin("acme").onboard()
            await client.store("Back again", scope=ADA)
            assert await client.count(scope=ADA) == 1


@pytest.mark.parametrize("losers_fail", [False, True])
async def test_two_clients_make_one_index(cloud: Cloud, *, losers_fail: bool) -> None:
    """The loser of the race hears of a conflict, or of an internal error, and goes on."""
    await cloud.emulator.switch(create_losers_fail=losers_fail)
    await cloud.emulator.inject(operation="CreateIndex", latency=0.05)
    async with cloud.client() as one, cloud.client() as other:
        async with anyio.create_task_group() as group:
            for n in range(10):
                client = one if n % 2 else other
                group.start_soon(partial(client.store, f"note {n}", scope=ADA))
        assert await one.count(scope=ADA) == await other.count(scope=ADA) == 10


async def test_only_the_offender_of_a_shared_put_is_refused(cloud: Cloud) -> None:
    """Callers that share a request share no failure."""
    async with cloud.client() as client:
        await client.store("first", scope=ADA)
        await cloud.emulator.inject(operation="PutVectors", latency=0.05, times=1)
        # What the service alone may refuse, as if one of its rules had changed.
        refused: list[int] = []

        async def store(n: int) -> None:
            try:
                await client.store(f"note {n}", scope=ADA)
            except RequestRejectedError:
                refused.append(n)

        await cloud.emulator.inject(
            operation="PutVectors", status=400, code="ValidationException", skip=1, times=1
        )
        async with anyio.create_task_group() as group:
            for n in range(30):
                group.start_soon(store, n)
        # The one refusal was of all that shared it; asked in parts, all of them were fine.
        assert refused == []
        assert len(await _records(cloud)) == 31


async def test_throttled_callers_all_get_through(cloud: Cloud) -> None:
    """A third of the requests refused at random, thirty-two callers, no error."""
    async with cloud.client() as client:
        await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.counters(reset=True)
        await cloud.emulator.inject(operation="QueryVectors", status=429, rate=0.3)

        async def ask(n: int) -> None:
            for m in range(6):
                assert await client.retrieve(f"seat {n} {m}?", scope=ADA, deadline=30)

        async with anyio.create_task_group() as group:
            for n in range(32):
                group.start_soon(ask, n)
        counted = await cloud.emulator.counters()
        assert counted.requests["QueryVectors"] <= 1.7 * 32 * 6


async def test_a_service_without_capacity_is_left_alone(cloud: Cloud) -> None:
    """The callers hear of it by their deadline, and few of their requests go out."""
    async with cloud.client(retries=RetryPolicy()) as client:
        await client.store("Prefers window seats", scope=ADA)
        await cloud.emulator.inject(operation="QueryVectors", status=429)
        await cloud.emulator.counters(reset=True)
        failures: list[MemlaneError] = []

        async def ask(n: int) -> None:
            try:
                await client.retrieve(f"seat {n}?", scope=ADA, deadline=3)
            except (ThrottledError, DeadlineExceededError) as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for n in range(16):
                group.start_soon(ask, n)
        assert len(failures) == 16
        # Each caller's first, and then no more than the pace of the whole client.
        assert (await cloud.emulator.counters()).requests["QueryVectors"] <= 16 * 3
        await cloud.emulator.clear_faults()
        assert await client.retrieve("which seat?", scope=ADA, deadline=10)


async def test_a_model_that_fails_stores_nothing(cloud: Cloud) -> None:
    """Embedding comes first; what could not be embedded is not there."""
    embedder = ScriptedEmbedder()
    async with cloud.client(embedder=embedder) as client:
        await client.store("first", scope=ADA)
        embedder.answer = [float("nan")] * 64
        with pytest.raises(MemlaneError):
            await client.store_many([NewMemory(content="a"), NewMemory(content="b")], scope=ADA)
        embedder.answer = None
        assert await _records(cloud) == ["first"]
