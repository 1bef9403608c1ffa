"""Memory that is down, slow, wrong or cancelled never keeps an agent from answering."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from strands.hooks import BeforeInvocationEvent

from adapters.strands.scripted import ScriptedModel, agent_with, client_over, patient, texts_in
from memlane import BackendError, Limits, MemoryClient, Scope
from memlane.local import SqliteBackend
from memlane.protocols import Candidates, IndexedRecord, VectorQuery
from memlane.scope import Reach
from memlane.testing import FailingBackend, GatedBackend, HashingEmbedder, WrappedBackend
from memlane_plain import SyncMemoryClient
from memlane_strands import MemlanePlugin

EVE = Scope("eve", tenant="acme")
CONTENT = "the vault's code is 4711"


@pytest.fixture
def inner(tmp_path: Path) -> SqliteBackend:
    """A file that works, to be wrapped in something that does not."""
    return SqliteBackend(str(tmp_path / "memory.db"))


def test_recall_that_is_down(
    inner: SqliteBackend, ada: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    """A backend that fails is counted, and logged without content; the agent answers."""
    failing = FailingBackend(inner)
    client = client_over(failing)
    failing.fail("query", RuntimeError(CONTENT), times=1)
    plugin = patient(client, scope=ada)
    model = ScriptedModel("I am fine")
    with SyncMemoryClient(client) as memory:
        assert str(agent_with(model, plugin)("how are you?")) == "I am fine\n"
        assert model.blocks() == 0
        assert plugin.counters.recall_failed == 1
        assert texts_in(memory, ada) == ["how are you?", "I am fine"]
    assert "RuntimeError" in caplog.text
    for content in (CONTENT, "how are you", "I am fine", "ada"):
        assert content not in caplog.text


async def test_recall_that_is_slow(inner: SqliteBackend, ada: Scope) -> None:
    """A recall that does not come within the deadline is given up, and the agent answers."""
    door = GatedBackend(inner, "query")
    client = client_over(door)
    plugin = patient(client, scope=ada, deadline=0.05)
    model = ScriptedModel("here I am")
    began = time.monotonic()
    result = await agent_with(model, plugin).invoke_async("hello?")
    assert str(result) == "here I am\n"
    assert time.monotonic() - began < 10  # the door would have kept it for ever
    assert plugin.counters.recall_failed == 1
    assert plugin.counters.written == 2
    door.open()
    await client.aclose()


class Misdirected(WrappedBackend):
    """Answers everybody with what is Eve's."""

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        return await self.inner.query(query, reach=replace(reach, scope=EVE))

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        mine = replace(reach, scope=EVE)
        return await self.inner.fetch(record_ids, reach=mine, vectors=vectors)


def test_recall_that_lies(
    inner: SqliteBackend, ada: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    """When the store returns somebody else's record nothing is shown to the model."""
    client = client_over(Misdirected(inner))
    plugin = patient(client, scope=ada, write=False)
    model = ScriptedModel("I do not know")
    with SyncMemoryClient(client) as memory:
        memory.store(CONTENT, scope=EVE)
        agent_with(model, plugin)("what is the vault's code?")
    assert model.blocks() == 0
    assert CONTENT not in model.saw()
    assert plugin.counters.recall_failed == 1
    assert CONTENT not in caplog.text


@pytest.mark.parametrize("operation", ["fetch", "upsert"])
def test_writing_that_is_down(
    inner: SqliteBackend, ada: Scope, caplog: pytest.LogCaptureFixture, operation: str
) -> None:
    """When storing fails the answer is given all the same, with a warning and a count."""
    failing = FailingBackend(inner)
    client = client_over(failing)
    failing.fail(operation, BackendError("the disk is full"), times=9)  # type: ignore[arg-type] # one of the literals
    plugin = patient(client, scope=ada, recall=False)
    with SyncMemoryClient(client):
        agent = agent_with(ScriptedModel("certainly"), plugin)
        assert str(agent("remember this")) == "certainly\n"
    assert plugin.counters.write_failed == 2
    assert plugin.counters.written == 0
    assert "the disk is full" in caplog.text
    assert "remember this" not in caplog.text


async def test_writing_that_is_slow(inner: SqliteBackend, ada: Scope) -> None:
    """Storing that does not end within its deadline is given up; the agent answers."""
    door = GatedBackend(inner, "upsert")
    client = client_over(door)
    plugin = patient(client, scope=ada, write_deadline=0.05)
    result = await agent_with(ScriptedModel("certainly"), plugin).invoke_async("hello")
    assert str(result) == "certainly\n"
    assert plugin.counters.write_failed == 2
    door.open()
    await client.aclose()


@pytest.fixture
async def door_to_writing(inner: SqliteBackend) -> AsyncIterator[tuple[MemoryClient, GatedBackend]]:
    door = GatedBackend(inner, "upsert")
    client = client_over(door)
    yield client, door
    door.open()
    await client.aclose()


async def test_cancelled_while_it_stores(
    door_to_writing: tuple[MemoryClient, GatedBackend], ada: Scope
) -> None:
    """A task cancelled while its turn is being stored ends after that, with everything stored."""
    client, door = door_to_writing
    plugin = patient(client, scope=ada)
    agent = agent_with(ScriptedModel("certainly"), plugin)
    task = asyncio.create_task(agent.invoke_async("remember this"))
    await door.arrived()
    task.cancel()
    await anyio.lowlevel.checkpoint()
    assert not task.done()
    task.cancel()
    await anyio.lowlevel.checkpoint()
    assert not task.done()
    door.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await client.count(scope=ada) == plugin.counters.written == 2
    assert plugin.counters.write_failed == 0


async def test_a_cancel_scope_around_it(
    door_to_writing: tuple[MemoryClient, GatedBackend], ada: Scope
) -> None:
    """A cancel scope, which cancels again and again, does not stop the storing either."""
    client, door = door_to_writing
    plugin = patient(client, scope=ada)
    agent = agent_with(ScriptedModel("certainly"), plugin)
    async with anyio.create_task_group() as group:
        group.start_soon(agent.invoke_async, "remember this")
        await door.arrived()
        group.cancel_scope.cancel()
        door.open()
    assert await client.count(scope=ada) == plugin.counters.written == 2


async def test_cancelled_while_the_model_thinks(
    client: MemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """A task cancelled before there is an answer stores what the user said, and is cancelled."""
    thinking = asyncio.Event()

    async def think() -> str:
        thinking.set()
        await asyncio.Event().wait()
        return "never"

    agent = agent_with(ScriptedModel(think), plugin)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(agent.invoke_async, "a question")
            await thinking.wait()
            scope.cancel()
    page = await client.list(scope=ada)
    assert [record.text for record in page.items] == ["a question"]
    assert not plugin._runs._agents


async def test_cancelled_while_it_recalls(inner: SqliteBackend, ada: Scope) -> None:
    """A cancellation during recall is a cancellation, not a recall that failed."""
    door = GatedBackend(inner, "query")
    client = client_over(door)
    plugin = patient(client, scope=ada, deadline=30)
    model = ScriptedModel("never")
    task = asyncio.create_task(agent_with(model, plugin).invoke_async("a question"))
    await door.arrived()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not model.calls
    assert plugin.counters.recall_failed == 0
    assert plugin.counters.written == 1
    door.open()
    await client.aclose()


async def test_a_stream_that_is_dropped(
    client: MemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """A stream left without being closed is finished in another task, and stored from there."""
    agent = agent_with(ScriptedModel("a long answer"), plugin)

    async def look() -> None:
        async for event in agent.stream_async("tell me"):
            if "data" in event:
                break

    await look()
    gc.collect()
    with anyio.fail_after(10):
        while not plugin.counters.written:
            await anyio.lowlevel.checkpoint()
    page = await client.list(scope=ada)
    assert [record.text for record in page.items] == ["tell me"]
    assert not plugin._runs._agents


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_abandoned_agent_is_let_go(plugin: MemlanePlugin) -> None:
    """An invocation whose loop was closed under it leaves nothing with the plugin."""
    agent = agent_with(ScriptedModel("ok"), plugin)
    loop = asyncio.new_event_loop()
    stream = agent.stream_async("hello")
    loop.run_until_complete(stream.__anext__())
    loop.close()
    assert plugin._runs._agents
    del stream, agent
    gc.collect()
    assert not plugin._runs._agents


def test_an_invocation_that_never_began(plugin: MemlanePlugin) -> None:
    """A hook that fails before an invocation begins does not cost the next one its memory."""
    agent = agent_with(ScriptedModel("ok"), plugin)
    outcomes = [RuntimeError("not yet"), None]

    def admit(event: BeforeInvocationEvent) -> None:
        del event
        if error := outcomes.pop(0):
            raise error

    agent.add_hook(admit, BeforeInvocationEvent, order=1000)
    state = {"mine": 1}
    with pytest.raises(RuntimeError, match="not yet"):
        agent("hello", invocation_state=state)
    agent("hello", invocation_state=state)
    assert plugin.counters.written == 2
    assert plugin.counters.scope_failed == 0
    assert not plugin._runs._agents


async def test_a_partial_write(inner: SqliteBackend, ada: Scope) -> None:
    """What was stored before a failure is counted as stored, and the rest as failed."""
    failing = FailingBackend(inner)
    async with MemoryClient(
        backend=failing, embedder=HashingEmbedder(), limits=Limits(batch=1), owned=[failing]
    ) as client:
        failing.fail("upsert", BackendError("the disk is full"), after=1)
        plugin = patient(client, scope=ada)
        await agent_with(ScriptedModel("certainly"), plugin).invoke_async("hello")
        assert (plugin.counters.written, plugin.counters.write_failed) == (1, 1)
        page = await client.list(scope=ada)
        assert [record.text for record in page.items] == ["hello"]
