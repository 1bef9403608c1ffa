"""Agents whose memory is in AWS: signed with their tenant's session, answering when it is down."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import pytest
from blockbuster import BlockBuster
from strands import tool

from adapters.strands.scripted import ScriptedModel, agent_with, patient, texts_in
from memlane import LoopError, MemoryClient, Scope
from memlane.runtime import work_loop
from memlane.testing.emulator import Emulator
from memlane_plain import SyncMemoryClient, connect
from memlane_strands import MemlanePlugin

BUCKET = "my-memory"
URL = f"s3vectors://{BUCKET}"
BOB = Scope("bob", tenant="globex")
FACT = "Prefers window seats"

QUESTION = "which seat?"
ANSWER = "certainly"

# An ARN, the account, a key, a role; and who is talked about.
AWS = re.compile(r"arn:|111122223333|A[KS]IA[A-Z0-9]|assumed-role|memlane-tenant|memory-acme")
WHO = re.compile(r"acme|globex|\bada\b")
LATE = "not finished within 0.4 seconds"


@pytest.fixture(autouse=True)
def surroundings(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the emulator and no others, and a bucket."""
    for name in os.environ:
        if name.startswith(("AWS_", "MEMLANE_")):
            monkeypatch.delenv(name)
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    emulator.blocking.create_bucket(BUCKET)


@pytest.fixture
def client(surroundings: None) -> Iterator[MemoryClient]:  # noqa: ARG001
    """A client that makes the indexes of its tenants; its model is Bedrock's."""
    made = connect(URL, auto_onboard=True)
    yield made
    SyncMemoryClient(made).close()


def whose(state: Mapping[str, Any]) -> Scope:
    """Trust the invocation state, as a host may decide to."""
    return Scope(state["user"], tenant=state["tenant"])


def contents(emulator: Emulator, tenant: str) -> list[str]:
    """Return what a tenant's index holds, read behind everybody's back."""
    held = emulator.blocking.vectors(BUCKET, f"memory-{tenant}").values()
    return sorted(str(each.metadata["content"]) for each in held if "user_id" in each.metadata)


async def contents_of(emulator: Emulator, tenant: str | None) -> list[str]:
    """Return the same, from a loop."""
    return await anyio.to_thread.run_sync(contents, emulator, str(tenant))


async def test_awaited_on_the_loop_that_entered(emulator: Emulator, ada: Scope) -> None:
    """Recalled and stored by the tenant, embedded by the host; the model learns of neither."""
    async with connect(URL, auto_onboard=True) as client:
        plugin = patient(client, scope=ada)
        await client.store(FACT, scope=ada)
        model = ScriptedModel(ANSWER)
        await agent_with(model, plugin).invoke_async(QUESTION)
        assert client.space.model == "amazon.titan-embed-text-v2:0"
    assert FACT in model.saw()
    assert not AWS.search(str(model.calls))
    assert not WHO.search(str(model.calls))
    assert await contents_of(emulator, "acme") == sorted([FACT, QUESTION, ANSWER])
    assert (plugin.counters.recalled, plugin.counters.written) == (1, 2)
    principals = {
        each.principal.rpartition("/")[2]
        for each in await emulator.requests()
        if each.operation == "QueryVectors"
    }
    assert principals == {"memlane-acme"}


def test_one_agent_called_again_and_again(
    emulator: Emulator, memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """Each call brings a loop of its own; session, index and connections are those of the first."""
    model = ScriptedModel("yes")
    agent = agent_with(model, plugin)
    for number in range(4):
        agent(f"remark number {number}")
    assert [model.blocks(call) for call in range(4)] == [0, 1, 1, 1]
    assert len(texts_in(memory, ada)) == 8
    counted = emulator.blocking.counters()
    assert counted.requests["AssumeRole"] == counted.requests["CreateIndex"] == 1
    assert counted.connections_peak < 20


async def test_synchronously_inside_the_loop_that_entered(ada: Scope) -> None:
    """The loop whose connections are the client's own stands still, and the agent remembers."""
    async with connect(URL, auto_onboard=True) as client:
        await client.store(FACT, scope=ada)
        model = ScriptedModel(ANSWER)
        agent_with(model, patient(client, scope=ada))(QUESTION)
        assert FACT in model.saw()
        found = await client.retrieve(QUESTION, scope=ada, namespace="/messages/")
        assert {match.record.text for match in found} == {QUESTION, ANSWER}


def test_two_loops_one_after_the_other(
    emulator: Emulator, client: MemoryClient, ada: Scope
) -> None:
    """Several `asyncio.run` share one client; the last of them enters and closes it."""
    plugin = patient(client, scope=ada)
    model = ScriptedModel("first", "second", "third")

    async def main(text: str) -> None:
        await agent_with(model, plugin).invoke_async(text)

    async def last(text: str) -> None:
        async with client:
            await main(text)

    asyncio.run(main("I keep bees"))
    asyncio.run(main("what do I keep?"))
    asyncio.run(last("and what did I say?"))
    assert all("I keep bees" in model.saw(call) for call in (1, 2))
    said = ["I keep bees", "what do I keep?", "and what did I say?"]
    assert contents(emulator, "acme") == sorted([*said, "first", "second", "third"])
    assert plugin.counters.recall_failed == plugin.counters.write_failed == 0


@pytest.mark.parametrize(
    "anyio_backend",
    [pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")],
)
async def test_from_threads_of_either_loop(emulator: Emulator) -> None:
    """Agents of two tenants in threads, while the loop that they were started from recalls."""
    async with connect(URL, auto_onboard=True) as client:
        plugin = patient(client, scope=whose)
        scopes = [Scope(f"user{n}", tenant=("acme", "globex")[n % 2]) for n in range(6)]
        seen: dict[Scope, str] = {}

        def talk(scope: Scope) -> None:
            model = ScriptedModel(f"hello {scope.user}")
            agent = agent_with(model, plugin)
            for turn in range(2):
                state = {"user": scope.user, "tenant": scope.tenant}
                agent(f"the secret word, {turn}?", invocation_state=state)
            seen[scope] = model.saw()

        async with anyio.create_task_group() as group:
            for scope in scopes:
                await client.store(f"the secret word is {scope.user}-word", scope=scope)
                group.start_soon(anyio.to_thread.run_sync, talk, scope)
                group.start_soon(partial(client.retrieve, "secret", scope=scope))
        for scope in scopes:
            assert set(re.findall(r"user\d", seen[scope])) == {scope.user}
            assert await client.count(scope=scope, namespace="/messages/") == 4
    assert plugin.counters.recall_failed == plugin.counters.write_failed == 0
    told = {*await contents_of(emulator, "acme"), *await contents_of(emulator, "globex")}
    assert len(told) == 14


async def test_two_tenants_at_once(emulator: Emulator, client: MemoryClient) -> None:
    """Each is shown and stores what is theirs, by their own session in their own index."""
    plugin = patient(client, scope=whose)
    people = (Scope("ada", tenant="acme"), Scope("ada", tenant="globex"))
    models = {scope: ScriptedModel(f"for {scope.tenant} only") for scope in people}
    for scope in people:
        await client.store(f"the code is {scope.tenant}-4711", scope=scope)

    async def talk(scope: Scope) -> None:
        state = {"user": scope.user, "tenant": scope.tenant}
        agent = agent_with(models[scope], plugin)
        await agent.invoke_async("what is the code?", invocation_state=state)

    async with anyio.create_task_group() as group:
        for scope in people:
            group.start_soon(talk, scope)
    for scope, other in (people, people[::-1]):
        assert f"{scope.tenant}-4711" in models[scope].saw()
        assert str(other.tenant) not in models[scope].saw()
        held = await contents_of(emulator, scope.tenant)
        assert f"for {scope.tenant} only" in held
        assert len(held) == 3
    for each in await emulator.requests():
        if each.operation in {"QueryVectors", "PutVectors"} and "assumed-role" in each.principal:
            assert each.resource.rpartition("-")[2] == each.principal.rpartition("-")[2]


class Fault(NamedTuple):
    """What goes wrong, what the warning may say, how many of the two messages are stored."""

    rule: dict[str, Any]
    warning: str
    stored: int

    @property
    def recalls(self) -> bool:
        return bool(self.rule["operation"] != "PutVectors")


FAULTS = (
    Fault({"operation": "QueryVectors", "status": 403}, "denied QueryVectors", 2),
    # How narrowly an attempt misses the deadline decides what it ends with.
    Fault({"operation": "QueryVectors", "status": 429}, f"no capacity for|throttled|{LATE}", 2),
    Fault({"operation": "QueryVectors", "latency": 600.0}, LATE, 2),
    Fault({"operation": "QueryVectors", "kind": "slow", "seconds": 600.0}, LATE, 2),
    Fault(
        {"operation": "QueryVectors", "kind": "truncate", "moment": "after"},
        f"gave no answer|{LATE}",
        2,
    ),
    Fault({"operation": "InvokeModel", "status": 429}, f"no capacity for|throttled|{LATE}", 0),
    Fault({"operation": "InvokeModel", "latency": 600.0}, LATE, 0),
    Fault(
        {"operation": "PutVectors", "latency": 600.0}, "not finished within 1 seconds|in time", 0
    ),
    Fault({"operation": "PutVectors", "status": 403}, "denied PutVectors", 0),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.rule.values())))
async def test_the_agent_answers_all_the_same(
    emulator: Emulator,
    client: MemoryClient,
    ada: Scope,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
) -> None:
    """Whatever fails, within its deadline, with one warning; nothing of it reaches the model."""
    await client.store(FACT, scope=ada)
    await emulator.inject(**fault.rule)
    seconds, patience = 0.4 if LATE in fault.warning else 30, 30 if fault.stored else 1.0
    plugin = MemlanePlugin(client, scope=ada, deadline=seconds, write_deadline=patience)
    model = ScriptedModel(ANSWER)
    assert str(await agent_with(model, plugin).invoke_async(QUESTION)) == f"{ANSWER}\n"
    counters = plugin.counters
    assert (counters.recalled, counters.recall_failed) == (1 - fault.recalls, fault.recalls)
    assert (counters.written, counters.write_failed) == (fault.stored, 2 - fault.stored)
    assert (model.calls[0][0]["content"] == [{"text": QUESTION}]) is fault.recalls
    assert not AWS.search(str(model.calls))
    assert not WHO.search(str(model.calls))
    warnings = [each for each in caplog.records if each.name.startswith("memlane_strands")]
    assert len(warnings) == fault.recalls + (fault.stored == 0)
    assert re.search(fault.warning, warnings[0].getMessage())
    assert not AWS.search(caplog.text)
    assert not [each for each in (FACT, QUESTION, ANSWER, "ada") if each in caplog.text]


@pytest.mark.parametrize("refused", ["no index", "no role"])
def test_a_tenant_that_is_refused(
    emulator: Emulator, ada: Scope, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    """Not onboarded, or refused a session: answered without memory, and with it once that ends."""
    client = connect(URL, auto_onboard=refused == "no role")
    if refused == "no role":
        emulator.blocking.inject(operation="AssumeRole", status=403)
    plugin = patient(client, scope=ada)
    model = ScriptedModel(ANSWER)
    with SyncMemoryClient(client) as memory:
        agent = agent_with(model, plugin)
        assert str(agent(QUESTION)) == f"{ANSWER}\n"
        assert model.calls[0][0]["content"] == [{"text": QUESTION}]
        assert (plugin.counters.recall_failed, plugin.counters.write_failed) == (1, 2)
        assert not [each for each in (QUESTION, ANSWER, "ada", "ASIA") if each in caplog.text]
        assert not AWS.search(str(model.calls))
        if refused == "no index":
            assert "memlane onboard acme" in caplog.text
            memory.admin("acme").onboard()
            agent("I sit at the window")
            agent(QUESTION)
            assert "I sit at the window" in str(model.calls[-1][-1])
            assert plugin.counters.written == 4
        else:
            assert "AssumeRole" in caplog.text


async def test_a_session_that_ended_between_two_turns(
    emulator: Emulator, client: MemoryClient, ada: Scope
) -> None:
    """It is renewed within the turn."""
    plugin = patient(client, scope=ada)
    model = ScriptedModel(ANSWER)
    agent = agent_with(model, plugin)
    await agent.invoke_async("I sit at the window")
    await emulator.advance(3_600)
    await agent.invoke_async(QUESTION)
    assert "I sit at the window" in str(model.calls[-1][-1])
    assert (plugin.counters.written, plugin.counters.recall_failed) == (4, 0)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_turn_is_stored_once(
    emulator: Emulator, memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope, moment: str
) -> None:
    """Also when the connection broke while it was stored, whether it had been or not."""
    memory.store(FACT, scope=ada)
    emulator.blocking.inject(operation="PutVectors", kind="reset", moment=moment, times=1)
    agent_with(ScriptedModel(ANSWER), plugin)(QUESTION)
    assert contents(emulator, "acme") == sorted([FACT, QUESTION, ANSWER])
    assert texts_in(memory, ada) == [QUESTION, ANSWER]


@pytest.mark.parametrize(("operation", "written"), [("QueryVectors", 1), ("PutVectors", 2)])
async def test_cancelled(
    emulator: Emulator, client: MemoryClient, ada: Scope, operation: str, written: int
) -> None:
    """While it recalls or stores: what was said by then is stored, and the next turn is whole."""
    await client.store(FACT, scope=ada)
    plugin, model = patient(client, scope=ada), ScriptedModel(ANSWER)
    await emulator.counters(reset=True)
    await emulator.inject(operation=operation, latency=0.3, times=1)
    task = asyncio.create_task(agent_with(model, plugin).invoke_async("I am off"))
    with anyio.fail_after(20):
        while not (await emulator.counters()).requests.get(operation):
            await anyio.lowlevel.checkpoint()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (plugin.counters.recall_failed, plugin.counters.written) == (0, written)
    await agent_with(model, plugin).invoke_async(QUESTION)
    assert all(text in model.saw() for text in (FACT, "I am off"))
    assert plugin.counters.written == written + 2


async def test_tools_of_the_host(emulator: Emulator, client: MemoryClient, ada: Scope) -> None:
    """A tool over a scoped memory, awaited or in a thread; its failure names nothing of AWS."""
    mine, waiting = client.scoped(ada), SyncMemoryClient(client)

    @tool
    async def recall(query: str) -> str:
        """Recall what the user said.

        Args:
            query: What to look for.
        """
        return "; ".join(match.record.text for match in await mine.retrieve(query))

    @tool
    def remember(text: str) -> str:
        """Remember something.

        Args:
            text: What.
        """
        return waiting.store(text, scope=ada).text

    calls = [[("remember", {"text": FACT})], [("recall", {"query": QUESTION})]]
    model = ScriptedModel(*calls, ANSWER)
    await agent_with(model, tools=[recall, remember]).invoke_async("remember my seat")
    assert str(model.calls[-1][-1]).count(FACT) == 1
    await emulator.inject(operation="QueryVectors", status=403)
    model = ScriptedModel(calls[1], ANSWER)
    await agent_with(model, tools=[recall]).invoke_async("and my seat?")
    said = str(model.calls[-1][-1])
    assert "denied QueryVectors" in said
    assert not AWS.search(said)
    assert "ada" not in said


def test_synchronous_code(memory: SyncMemoryClient, ada: Scope, blockbuster: BlockBuster) -> None:
    """Two threads, two tenants; a loop of the caller's waits, and memlane's own says why not."""

    def keep(scope: Scope) -> list[str]:
        for number in range(5):
            memory.store(f"note {number} of {scope.user}", scope=scope)
        assert memory.count(scope=scope) == 5
        return [match.record.text for match in memory.retrieve("note", scope=scope)]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(keep, (ada, BOB)))
    for scope, texts in zip((ada, BOB), found, strict=True):
        assert sorted(texts) == [f"note {number} of {scope.user}" for number in range(5)]

    async def call() -> None:
        memory.count(scope=ada)

    async def main() -> None:
        blockbuster.deactivate()  # this loop is the caller's, and is meant to stand still
        assert memory.count(scope=ada) == 5
        blockbuster.activate()
        with pytest.raises(LoopError, match="await the async client"):
            await work_loop().call(call)

    asyncio.run(main())
