"""However and from wherever an agent is called, it remembers, and remembers the right person."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from strands import Agent
from strands.multiagent import GraphBuilder
from strands.types.agent import ConcurrentInvocationMode

from adapters.strands.scripted import ScriptedModel, agent_with, patient, texts_in
from memlane import MemoryClient, Scope
from memlane_plain import SyncMemoryClient
from memlane_strands import MemlanePlugin

USERS = tuple(f"user{number}" for number in range(8))


def whose(state: Mapping[str, Any]) -> Scope | None:
    """Trust the invocation state, as a host may decide to."""
    return Scope(state["user"], tenant="acme") if "user" in state else None


@pytest.fixture
def shared(client: MemoryClient) -> MemlanePlugin:
    return patient(client, scope=whose)


def secrets_of(memory: SyncMemoryClient) -> None:
    """Give each user one memory that names its owner."""
    for user in USERS:
        memory.store(f"the secret word is {user}-word", scope=Scope(user, tenant="acme"))


def words_in(text: str) -> set[str]:
    """Return whose secret words a text holds."""
    return {user for user in USERS if f"{user}-word" in text}


def test_two_synchronous_calls(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """Two agents called one after the other, each on a loop closed after it, share memory."""
    agent_with(ScriptedModel("noted"), plugin)("I keep bees in Graz")
    model = ScriptedModel("In Graz")
    agent_with(model, plugin)("where do I keep bees?")
    assert "I keep bees in Graz" in model.saw()
    assert texts_in(memory, ada) == [
        "I keep bees in Graz",
        "noted",
        "where do I keep bees?",
        "In Graz",
    ]
    assert plugin.counters.written == 4
    assert plugin.counters.recall_failed == plugin.counters.write_failed == 0


def test_one_agent_called_again_and_again(
    memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """One agent called several times synchronously meets the same memory on each new loop."""
    model = ScriptedModel("yes")
    agent = agent_with(model, plugin)
    for number in range(4):
        agent(f"remark number {number}")
    assert [model.blocks(call) for call in range(4)] == [0, 1, 1, 1]
    assert len(texts_in(memory, ada)) == 8


async def test_synchronously_inside_a_running_loop(
    client: MemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """A synchronous call inside a running loop works, between uses of the same client there."""
    await client.store("Ada sails on Sundays", scope=ada)
    model = ScriptedModel("you sail")
    agent_with(model, plugin)("what do I do on Sundays?")
    assert "Ada sails on Sundays" in model.saw()
    found = await client.retrieve("you sail", scope=ada, namespace="/messages/")
    assert {match.record.text for match in found} == {"what do I do on Sundays?", "you sail"}


async def test_synchronously_in_threads_while_the_loop_uses_the_client(
    client: MemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """Synchronous calls in threads and awaited calls on a loop use one client at the same time."""

    def call(number: int) -> str:
        return str(agent_with(ScriptedModel(f"reply {number}"), plugin)(f"question {number}"))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(anyio.to_thread.run_sync, call, number)
            group.start_soon(lambda text: client.store(text, scope=ada), f"fact {number}")
            group.start_soon(lambda: client.retrieve("question", scope=ada))
    assert await client.count(scope=ada) == 12
    assert plugin.counters.recall_failed == plugin.counters.write_failed == 0


async def test_awaited(client: MemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """An awaited call recalls on the caller's loop and has stored when it returns."""
    await client.store("Ada is allergic to nuts", scope=ada)
    model = ScriptedModel("no nuts then")
    await agent_with(model, plugin).invoke_async("what should I cook, given my allergies?")
    assert "allergic to nuts" in model.saw()
    assert await client.count(scope=ada, namespace="/messages/") == 2


def test_eight_threads(memory: SyncMemoryClient, shared: MemlanePlugin) -> None:
    """Eight threads, each with its own agent and user, share one plugin without mixing anybody."""
    secrets_of(memory)
    together = threading.Barrier(len(USERS))

    def call(user: str) -> str:
        model = ScriptedModel(f"hello {user}")
        agent = agent_with(model, shared)
        together.wait(timeout=30)
        for turn in range(3):
            agent(f"what is the secret word, {turn}?", invocation_state={"user": user})
        return "".join(model.saw(call) for call in range(3))

    with ThreadPoolExecutor(len(USERS)) as pool:
        seen = dict(zip(USERS, pool.map(call, USERS), strict=True))
    for user, text in seen.items():
        assert words_in(text) == {user}
        assert set(texts_in(memory, Scope(user, tenant="acme"))) == {
            f"hello {user}",
            *(f"what is the secret word, {turn}?" for turn in range(3)),
        }
    assert shared.counters.recalled == shared.counters.written / 2 == 24


def test_one_plugin_on_two_agents(memory: SyncMemoryClient, shared: MemlanePlugin) -> None:
    """One plugin on two agents remembers both, each for its own user."""
    secrets_of(memory)
    models = ScriptedModel("one"), ScriptedModel("two")
    agents = [agent_with(model, shared) for model in models]
    agents[0]("the secret word?", invocation_state={"user": "user0"})
    agents[1]("the secret word?", invocation_state={"user": "user1"})
    assert [words_in(model.saw()) for model in models] == [{"user0"}, {"user1"}]
    assert texts_in(memory, Scope("user0", tenant="acme")) == ["the secret word?", "one"]
    assert texts_in(memory, Scope("user1", tenant="acme")) == ["the secret word?", "two"]


async def test_concurrent_invocations_of_one_agent(
    memory: SyncMemoryClient, client: MemoryClient, shared: MemlanePlugin
) -> None:
    """Concurrent invocations of one agent each see and store only their own user's memory."""
    await anyio.to_thread.run_sync(secrets_of, memory)
    all_called = asyncio.Barrier(len(USERS))

    async def together() -> str:
        await all_called.wait()
        return "done"

    model = ScriptedModel(together)
    agent = agent_with(
        model,
        shared,
        concurrent_invocation_mode=ConcurrentInvocationMode.UNSAFE_REENTRANT,
    )

    async def call(user: str) -> None:
        await agent.invoke_async(f"I am {user}; the secret word?", invocation_state={"user": user})

    async with anyio.create_task_group() as group:
        for user in USERS:
            group.start_soon(call, user)
    shown = []
    for messages in model.calls:
        blocks = [
            block["text"]
            for message in messages
            for block in message["content"]
            if "<memories" in block.get("text", "")
        ]
        assert len(blocks) == 1
        [turn] = [m for m in messages if any("<memories" in b["text"] for b in m["content"])]
        owner = words_in(blocks[0]).pop()
        assert words_in(blocks[0]) == {owner}
        assert f"I am {owner};" in turn["content"][0]["text"]
        shown.append(owner)
    assert sorted(shown) == list(USERS)
    assert agent.system_prompt is None
    for user in USERS:
        page = await client.list(scope=Scope(user, tenant="acme"), namespace="/messages/")
        assert {record.text for record in page.items} == {
            f"I am {user}; the secret word?",
            "done",
        }


async def test_two_invocations_that_share_a_dict_at_once(
    client: MemoryClient, shared: MemlanePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """Invocations of one agent that share a dict at once go without memory, with a warning."""
    await client.store("the secret word is user0-word", scope=Scope("user0", tenant="acme"))
    both = asyncio.Barrier(2)

    async def together() -> str:
        await both.wait()
        return "done"

    agent = agent_with(
        ScriptedModel(together, together, "done"),
        shared,
        concurrent_invocation_mode=ConcurrentInvocationMode.UNSAFE_REENTRANT,
    )
    state = {"user": "user0"}
    async with anyio.create_task_group() as group:
        for text in ("first", "second"):
            group.start_soon(lambda text: agent.invoke_async(text, invocation_state=state), text)
    assert await client.count(scope=Scope("user0", tenant="acme"), namespace="/messages/") == 0
    assert "share an invocation_state" in caplog.text
    await agent.invoke_async("third", invocation_state=dict(state))
    assert await client.count(scope=Scope("user0", tenant="acme"), namespace="/messages/") == 2


def test_concurrent_nodes_of_a_graph(memory: SyncMemoryClient, shared: MemlanePlugin) -> None:
    """Nodes of a graph that run at once on one shared dict are each recalled for and stored."""
    secrets_of(memory)
    both = asyncio.Barrier(2)

    async def meet() -> str:
        await both.wait()
        return "we met"

    models = {
        "left": ScriptedModel(meet),
        "right": ScriptedModel(meet),
        "end": ScriptedModel("bye"),
    }
    builder = GraphBuilder()
    for name, model in models.items():
        builder.add_node(agent_with(model, shared, name=name), name)
    builder.add_edge("left", "end")
    builder.add_edge("right", "end")
    builder.set_entry_point("left")
    builder.set_entry_point("right")
    graph = builder.set_max_node_executions(10).build()
    graph("the secret word?", invocation_state={"user": "user3"})
    for model in models.values():
        assert words_in(model.saw()) == {"user3"}
    stored = texts_in(memory, Scope("user3", tenant="acme"))
    assert len(stored) == 6
    assert stored.count("we met") == 2


def test_plugins_with_names_of_their_own(client: MemoryClient) -> None:
    """Two plugins with different names show an agent two memories: the user's and the team's."""
    with SyncMemoryClient(client) as memory:
        memory.store("Ada likes tea", scope=Scope("ada"))
        memory.store("the team drinks at four", scope=Scope("team"))
        mine = patient(client, scope=Scope("ada"))
        ours = patient(client, scope=Scope("team"), name="team", write=False)
        model = ScriptedModel("tea at four")
        agent: Agent = agent_with(model, mine, ours)
        agent("when is tea?")
        assert model.blocks() == 2
        assert memory.count(scope=Scope("team")) == 1
        assert (mine.counters.written, ours.counters.written) == (2, 0)
