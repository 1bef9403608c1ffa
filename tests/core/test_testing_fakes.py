"""The fakes do what they say, so that what is tested with them is tested."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import anyio
import numpy as np
import pytest
from blockbuster import BlockingError

from memlane import BackendError, MemoryClient, Scope, ValidationError
from memlane.local import InMemoryBackend
from memlane.powers import SupportsActors, SupportsScrub
from memlane.protocols import Clock, Embedder, VectorBackend
from memlane.scope import Reach
from memlane.testing import (
    CountingBackend,
    FailingBackend,
    FakeClock,
    GatedBackend,
    HashingEmbedder,
    LyingBackend,
    WrappedBackend,
)
from memlane.testing.samples import NOW, SCOPE, indexed, make_record, put
from memlane.testing.wrappers import Operation

HERE = Reach.point(SCOPE, now=NOW)


def test_a_clock_moves_when_told() -> None:
    """Advancing moves both clocks, setting only the wall clock, and neither moves by itself."""
    clock: Clock = FakeClock()
    fake = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock.now() == clock.now()
    assert fake.advance(timedelta(seconds=90)) == datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)
    assert fake.monotonic() == 90
    fake.set(datetime(2020, 1, 1, tzinfo=UTC))
    assert (fake.now(), fake.monotonic()) == (datetime(2020, 1, 1, tzinfo=UTC), 90)


def test_a_clock_is_aware_and_never_runs_back() -> None:
    """Naive times and negative steps are refused."""
    with pytest.raises(ValidationError):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(ValidationError):
        FakeClock().set(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(ValidationError):
        FakeClock().advance(timedelta(seconds=-1))


async def test_the_embedder_counts_and_refuses() -> None:
    """Calls are counted; too many texts and too long ones are errors."""
    embedder = HashingEmbedder(8, max_batch=2, max_chars=5)
    await embedder.embed(["a", "b"], purpose="query")
    await embedder.embed([], purpose="document")
    assert embedder.calls == 2
    with pytest.raises(ValidationError):
        await embedder.embed(["a"] * 3, purpose="document")
    with pytest.raises(ValidationError):
        await embedder.embed(["abcdef"], purpose="document")
    with pytest.raises(ValidationError):
        HashingEmbedder(0)


async def test_the_embedder_puts_related_texts_near() -> None:
    """Shared words and shared letters make texts near; no text is a zero vector."""
    embedder = HashingEmbedder(256)
    texts = ["window seats", "the window seat", "windows", "zebra quartz", "", " ", "?"]
    rows = await embedder.embed(texts, purpose="document")
    near = rows @ rows[0]
    assert near[1] > 0.5
    assert near[1] > near[2] > near[3]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


async def test_the_embedder_is_the_same_in_every_process() -> None:
    """Vectors do not depend on the hash seed of a process."""
    here = (await HashingEmbedder(8).embed(["window seats"], purpose="query")).tolist()
    code = (
        "import anyio\n"
        "from memlane.testing import HashingEmbedder\n"
        "async def main():\n"
        "    print((await HashingEmbedder(8).embed(['window seats'], purpose='query')).tolist())\n"
        "anyio.run(main)\n"
    )
    done = await anyio.run_process([sys.executable, "-c", code])
    assert done.stdout.decode().strip() == str(here)


def test_wrappers_are_backends() -> None:
    """Each wrapper fits the protocol and the optional powers."""
    inner = InMemoryBackend()
    for wrapper in (
        WrappedBackend(inner),
        CountingBackend(inner),
        FailingBackend(inner),
        GatedBackend(inner, "upsert"),
        LyingBackend(inner, []),
    ):
        assert isinstance(wrapper, VectorBackend)
        assert isinstance(wrapper, SupportsActors)
        assert isinstance(wrapper, SupportsScrub)
        assert wrapper.capabilities == inner.capabilities
    assert isinstance(HashingEmbedder(), Embedder)


class _Plain:
    """A backend without the optional powers."""

    def __init__(self) -> None:
        inner = InMemoryBackend()
        self.capabilities = inner.capabilities
        self.ensure_index = inner.ensure_index
        self.upsert = inner.upsert
        self.query = inner.query
        self.fetch = inner.fetch
        self.scan = inner.scan
        self.delete = inner.delete


async def test_wrappers_make_up_for_missing_powers() -> None:
    """Around a backend without the optional powers actors are read, and residue is unknown."""
    wrapper = WrappedBackend(_Plain())
    for n, actor in enumerate(["Bob", "Ada", None, "Bob"]):
        await put(wrapper, indexed(make_record(str(n), actor=actor)))
    assert list(await wrapper.actors(reach=HERE)) == ["Ada", "Bob"]
    assert await wrapper.scrub(scope=SCOPE) == "unknown"
    await wrapper.aclose()


async def test_counting() -> None:
    """Every call is counted under its name."""
    backend = CountingBackend(InMemoryBackend())
    await put(backend, indexed(make_record("a")))
    await backend.fetch(["a"], reach=HERE)
    await backend.fetch(["a"], reach=HERE)
    assert dict(backend.calls) == {"ensure_index": 1, "upsert": 1, "fetch": 2}


async def test_failing_after_and_times() -> None:
    """A fault waits for its turn, happens as often as asked, and the inner backend is untouched."""
    backend = FailingBackend(InMemoryBackend())
    fault = BackendError("the disk is full")
    backend.fail("upsert", fault, after=1, times=2)
    await put(backend, indexed(make_record("a")))
    for _ in range(2):
        with pytest.raises(BackendError) as caught:
            await put(backend, indexed(make_record("b")))
        assert caught.value is fault
    await put(backend, indexed(make_record("c")))
    assert len((await backend.scan(reach=HERE)).records) == 2


async def test_a_gate_holds_calls() -> None:
    """Calls of the operation wait at the gate, others do not."""
    gated = GatedBackend(InMemoryBackend(), "upsert")
    async with anyio.create_task_group() as group:
        group.start_soon(put, gated, indexed(make_record("a")))
        await gated.arrived()
        assert gated.waiting == 1
        assert (await gated.scan(reach=HERE)).records == ()
        gated.open()
    assert len((await gated.scan(reach=HERE)).records) == 1


async def test_wrappers_compose(clock: FakeClock) -> None:
    """A wrapper around a wrapper around a backend works under a client."""
    counting = CountingBackend(FailingBackend(InMemoryBackend()))
    client = MemoryClient(backend=counting, embedder=HashingEmbedder(), clock=clock)
    await client.store("window", scope=Scope("ada"))
    assert (await client.forget(Scope("ada"))).residue == "none"
    assert counting.calls["scrub"] == 1


class _Sleepy(WrappedBackend):
    async def before(self, operation: Operation) -> None:
        del operation
        time.sleep(0)  # noqa: ASYNC251 - that is the point


async def test_what_blocks_a_loop_is_caught(clock: FakeClock, anyio_backend_name: str) -> None:
    """A blocking call made below our code raises on asyncio; the alarm knows no other loop."""
    backend = _Sleepy(InMemoryBackend())
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock)
    if anyio_backend_name == "asyncio":
        with pytest.raises(BlockingError):
            await client.store("window", scope=Scope("ada"))
    else:
        await client.store("window", scope=Scope("ada"))


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_a_missing_extra_is_named(missing: str) -> None:
    """Without pytest or hypothesis the import error says which extra to install."""
    code = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"
        "from memlane import MissingExtraError\n"
        "try:\n"
        "    import memlane.testing\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "memlane[testing]" in done.stdout
