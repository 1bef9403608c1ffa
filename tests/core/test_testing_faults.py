"""Planned faults happen where and when they were planned, and the machine sees what they break."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memlane import BackendError, MemlaneError, MemoryClient, Scope, ValidationError
from memlane.local import InMemoryBackend
from memlane.protocols import Embedder, IndexedRecord, VectorBackend
from memlane.scope import Reach
from memlane.testing import (
    Fault,
    Faults,
    FaultyBackend,
    FaultyEmbedder,
    GatedBackend,
    HashingEmbedder,
    WrappedBackend,
    faulty_memory_machine,
)
from memlane.testing.faults import Moment, Step
from memlane.testing.samples import NOW, SCOPE, indexed, make_record, put

HERE = Reach.point(SCOPE, now=NOW)
ABCD = tuple(indexed(make_record(name)) for name in "abcd")


async def _ids(backend: VectorBackend) -> str:
    return "".join(sorted(record.id for record in (await backend.scan(reach=HERE)).records))


@pytest.mark.parametrize(
    ("moment", "stored", "left"),
    [
        ("before", "", "abcd"),
        ("partway", "ab", "cd"),
        ("after", "abcd", ""),
        ("cancel", "abcd", ""),
    ],
)
async def test_a_write_fails_at_its_moment(moment: Moment, stored: str, left: str) -> None:
    """Nothing, half or all is written and deleted; the caller gets an error, or is cancelled."""
    faults = Faults()
    backend = FaultyBackend(InMemoryBackend(), faults)

    async def fails(step: Step, call: Callable[[], Any]) -> None:
        faults.plan(Fault(step=step, moment=moment))
        with faults.caller() as caller:
            with pytest.raises(BackendError, match="planned"):
                await call()
            assert not caller.cancel_called
        assert caller.cancelled_caught == (moment == "cancel")

    await fails("upsert", lambda: backend.upsert(ABCD, scope=SCOPE))
    assert await _ids(backend) == stored
    await backend.upsert(ABCD, scope=SCOPE)
    await fails("delete", lambda: backend.delete(list("abcd"), reach=HERE))
    assert await _ids(backend) == left
    assert [fault.step for fault in faults.met] == ["upsert", "delete"]
    faults.clear()
    assert faults.met == []


async def test_a_fault_waits_for_its_turn() -> None:
    """Calls that are skipped go well, those after a fault too; the error may be chosen."""
    faults = Faults()
    embedder = FaultyEmbedder(HashingEmbedder(), faults)
    assert isinstance(embedder, Embedder)
    assert (embedder.space, embedder.max_batch, embedder.max_chars) == (
        HashingEmbedder().space, HashingEmbedder().max_batch, HashingEmbedder().max_chars,
    )  # fmt: skip
    error = BackendError("the model is away")
    faults.plan(Fault(step="embed", moment="after", skip=1), error=error)
    client = MemoryClient(backend=InMemoryBackend(), embedder=embedder)
    await client.store("a", scope=Scope("ada"))
    with pytest.raises(BackendError) as caught:
        await client.store("b", scope=Scope("ada"))
    assert caught.value is error
    await client.store("c", scope=Scope("ada"))


async def test_a_conflict_comes_before_the_fault() -> None:
    """What the backend refuses itself it refuses, and the fault was not met."""
    faults = Faults()
    backend = FaultyBackend(InMemoryBackend(), faults)
    await put(backend, ABCD[0])
    faults.plan(Fault(step="upsert", moment="after"))
    with pytest.raises(MemlaneError, match="exists"):
        await backend.upsert(ABCD[:1], scope=SCOPE, expected_version=0)
    assert faults.met == []


async def test_nobody_to_cancel() -> None:
    """Cancelling needs to know whom."""
    faults = Faults()
    faults.plan(Fault(step="scan", moment="cancel"))
    with pytest.raises(ValidationError, match="caller"):
        await FaultyBackend(InMemoryBackend(), faults).scan(reach=HERE)


async def test_a_gate_holds_calls_of_other_loops() -> None:
    """Calls from another thread's loop stand at the same door, which that loop may open."""
    gated = GatedBackend(InMemoryBackend(), "upsert")

    async def elsewhere() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(put(gated, ABCD[0]))
            await gated.arrived()
            while gated.waiting < 2:  # noqa: ASYNC110 - the other one comes from another loop
                await asyncio.sleep(0.001)
            assert not task.done()
            gated.open()

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(put, gated, ABCD[1])
            thread.start()
        await gated.arrived()
    await anyio.to_thread.run_sync(thread.join)
    await put(gated, ABCD[2])
    assert gated.waiting == 2
    assert await _ids(gated) == "abc"


async def test_who_is_cancelled_at_a_gate_leaves() -> None:
    """A call that is cancelled while it is held writes nothing, and opening goes well."""
    gated = GatedBackend(InMemoryBackend(), "upsert")
    with anyio.move_on_after(0.01) as limit:
        await put(gated, ABCD[0])
    assert limit.cancelled_caught
    gated.open()
    assert await _ids(gated) == ""


class _Torn(WrappedBackend):
    """Writes words and vectors after the record, and may be cancelled in between."""

    async def upsert(self, records: Sequence[IndexedRecord], **options: Any) -> None:
        reach = replace(Reach.whole(options["scope"], now=None), any_session=True)
        ids = [item.record.id for item in records]
        there = await self.inner.fetch(ids, reach=reach, vectors=True)
        parts = {(item.record.scope.agent, item.record.id): item.parts for item in there}
        await self.inner.upsert(
            [
                replace(item, parts=parts.get((item.record.scope.agent, item.record.id), ()))
                for item in records
            ],
            **options,
        )
        await checkpoint()
        await self.inner.upsert(records, scope=options["scope"])


class _Written(WrappedBackend):
    """Keeps what it was given only when it is closed."""

    def __init__(self, kept: dict[Path, Any], folder: Path) -> None:
        super().__init__(kept.get(folder) or InMemoryBackend())
        self._kept, self._folder = kept, folder

    async def aclose(self) -> None:
        self._kept[self._folder] = self.inner


def _forgetful() -> Callable[[Path], VectorBackend]:
    kept: dict[Path, Any] = {}
    return lambda folder: _Written(kept, folder)


@pytest.mark.parametrize(
    ("make", "durable"),
    [(lambda: lambda _: _Torn(InMemoryBackend()), False), (_forgetful, True)],
    ids=["torn", "lost"],
)
def test_the_faulty_machine_finds_faults(
    make: Callable[[], Callable[[Path], VectorBackend]], durable: bool
) -> None:
    """Records torn by a cancellation are seen, and those a client that was not closed lost."""
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(
            faulty_memory_machine(make(), durable=durable),
            settings=settings(
                max_examples=150,
                stateful_step_count=20,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
