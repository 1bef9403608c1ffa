"""The retriever over memory in AWS: the right tenant's, from wherever it is called, or an error."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from typing_extensions import override

from memlane import (
    AccessDeniedError,
    DeadlineExceededError,
    LoopError,
    MemlaneError,
    MemoryClient,
    NewMemory,
    Scope,
    TenantNotOnboardedError,
    ThrottledError,
    UnavailableError,
)
from memlane.runtime import work_loop
from memlane.testing.emulator import Emulator
from memlane_langchain import MemlaneRetriever
from memlane_plain import SyncMemoryClient, connect

BUCKET = "my-memory"
URL = f"s3vectors://{BUCKET}"
ADA = Scope("ada", tenant="acme")
BOB = Scope("bob", tenant="globex")
QUESTION = "which seat does she prefer?"
TEXTS = ("She prefers window seats", "She drinks green tea", "She keeps bees in Graz")
AWS = re.compile(r"arn:|111122223333|A[KS]IA[A-Z0-9]|assumed-role|memlane-tenant|memory-acme")
# How narrowly an attempt misses the deadline decides what it ends with.
THROTTLED = (ThrottledError, DeadlineExceededError)
EITHER_LOOP = pytest.mark.parametrize(
    "anyio_backend",
    [pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")],
)


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryClient]:
    """A client with variables of the emulator and no others; two tenants have memories."""
    for name in os.environ:
        if name.startswith(("AWS_", "MEMLANE_")):
            monkeypatch.delenv(name)
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    emulator.blocking.create_bucket(BUCKET)
    made = connect(URL)
    with SyncMemoryClient(made) as memory:
        for scope in (ADA, BOB):
            memory.admin(scope.tenant).onboard()
        memory.store_many([NewMemory(content=text) for text in TEXTS], scope=ADA)
        memory.store("He prefers aisle seats", scope=BOB)
        yield made


@pytest.fixture
def retriever(client: MemoryClient) -> MemlaneRetriever:
    return MemlaneRetriever(client=client, scope=ADA)


@pytest.fixture
def per_call(client: MemoryClient) -> MemlaneRetriever:
    return MemlaneRetriever(client=client, scope_from=from_config, k=1)


def from_config(configurable: Mapping[str, Any]) -> Scope:
    """Trust the config, as a host may decide to."""
    return Scope(configurable["user"], tenant=configurable["tenant"])


def config_of(scope: Scope) -> Any:
    return {"configurable": {"user": scope.user, "tenant": scope.tenant}}


def texts_of(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


async def test_awaited(emulator: Emulator, retriever: MemlaneRetriever) -> None:
    """On the caller's loop: a document for each memory, found with the tenant's own session."""
    await emulator.counters(reset=True)
    documents = await retriever.ainvoke(QUESTION)
    assert sorted(texts_of(documents)) == sorted(TEXTS)
    ours = documents[0].metadata["memlane"]
    assert 0 < ours["score"] <= 1
    assert ours["passage"] == documents[0].page_content
    asked = [each for each in await emulator.requests() if each.operation == "QueryVectors"]
    assert [each.principal.rpartition("/")[2] for each in asked] == ["memlane-acme"]
    assert not AWS.search(str(documents))
    assert not re.search(r"acme|globex|\bada\b", str(documents))


@pytest.mark.usefixtures("blocking_is_meant")
async def test_synchronously_inside_a_running_loop(
    client: MemoryClient, retriever: MemlaneRetriever
) -> None:
    """Also inside the loop that entered the client, whose connections stand still meanwhile."""
    async with client:
        awaited = texts_of(await retriever.ainvoke(QUESTION))
        assert texts_of(retriever.invoke("seats?", k=3)) == texts_of(
            await retriever.ainvoke("seats?", k=3)
        )
        assert texts_of(await retriever.ainvoke(QUESTION)) == awaited


@pytest.mark.usefixtures("blocking_is_meant")
async def test_synchronously_while_the_loop_itself_is_asking(
    emulator: Emulator, client: MemoryClient
) -> None:
    """What a task of that loop had begun to fetch, and cannot end now, is fetched by the call."""
    retriever = MemlaneRetriever(client=connect(URL), scope=ADA, deadline=20)
    await emulator.counters(reset=True)
    await emulator.inject(operation="AssumeRole", latency=0.2, times=1)
    async with retriever.client, anyio.create_task_group() as group:
        group.start_soon(retriever.ainvoke, QUESTION)
        with anyio.fail_after(20):
            while not (await emulator.counters()).requests.get("AssumeRole"):
                await anyio.lowlevel.checkpoint()
        assert sorted(texts_of(retriever.invoke(QUESTION))) == sorted(TEXTS)
    assert await client.count(scope=ADA) == 3


async def test_on_a_loop_that_memlane_owns(retriever: MemlaneRetriever) -> None:
    """A synchronous call there would wait for itself, and says so."""

    async def call() -> None:
        retriever.invoke(QUESTION)

    with pytest.raises(LoopError, match="await"):
        await work_loop().call(call)


def test_two_loops_one_after_the_other(client: MemoryClient, retriever: MemlaneRetriever) -> None:
    """Several `asyncio.run` share one retriever, whoever of them enters the client."""
    assert sorted(texts_of(asyncio.run(retriever.ainvoke(QUESTION)))) == sorted(TEXTS)
    assert sorted(texts_of(retriever.invoke(QUESTION))) == sorted(TEXTS)

    async def last() -> list[Document]:
        async with client:
            return await retriever.ainvoke("something else")

    assert sorted(texts_of(asyncio.run(last()))) == sorted(TEXTS)


def test_batches(emulator: Emulator, retriever: MemlaneRetriever) -> None:
    """Each query is answered in its place, by one session, over a few connections."""
    emulator.blocking.counters(reset=True)
    asked = [f"{text}?" for text in TEXTS] * 4
    for found in (
        retriever.batch(asked, k=1),
        asyncio.run(retriever.abatch(asked, k=1)),
        asyncio.run(retriever.abatch(asked, config={"max_concurrency": 2}, k=1)),
    ):
        assert [texts_of(each) for each in found] == [[text] for text in TEXTS] * 4
    counted = emulator.blocking.counters()
    assert counted.requests["QueryVectors"] == 36
    assert counted.requests.get("AssumeRole", 0) == 0
    assert counted.connections_peak < 40


@EITHER_LOOP
async def test_from_threads_of_either_loop(
    client: MemoryClient, per_call: MemlaneRetriever
) -> None:
    """Threads of two tenants call one retriever while the loop uses its client."""
    scopes = [ADA, BOB] * 4
    together = threading.Barrier(len(scopes))

    def call(scope: Scope) -> list[str]:
        together.wait(timeout=30)
        return [
            *texts_of(per_call.invoke("window or aisle seats", config_of(scope))),
            *texts_of(per_call.batch(["tea", "seats"], config_of(scope))[1]),
        ]

    def all_of_them() -> list[list[str]]:
        with ThreadPoolExecutor(len(scopes)) as pool:
            return list(pool.map(call, scopes))

    async with client, anyio.create_task_group() as group:
        for scope in scopes:
            group.start_soon(partial(client.retrieve, "seats", scope=scope))
        found = await anyio.to_thread.run_sync(all_of_them)
    for scope, texts in zip(scopes, found, strict=True):
        assert set(texts) == {TEXTS[0] if scope is ADA else "He prefers aisle seats"}


async def test_two_tenants_in_a_chain_and_a_tool(
    emulator: Emulator, per_call: MemlaneRetriever
) -> None:
    """The config of a call says whose index is asked, at the same time for several."""
    chain: Any = RunnablePassthrough() | per_call | RunnableLambda(texts_of)
    tool = create_retriever_tool(per_call, "recall", "Recall what the user said.")
    expected = {ADA: TEXTS[0], BOB: "He prefers aisle seats"}
    found: dict[Scope, tuple[Any, Any]] = {}
    await emulator.counters(reset=True)

    async def ask(scope: Scope) -> None:
        config = config_of(scope)
        said = await chain.ainvoke("window or aisle seats", config)
        found[scope] = (said, await tool.ainvoke({"query": "prefers which seats"}, config))

    async with anyio.create_task_group() as group:
        for scope in expected:
            group.start_soon(ask, scope)
    assert found == {scope: ([text], text) for scope, text in expected.items()}
    asked = [each for each in await emulator.requests() if each.operation == "QueryVectors"]
    assert len(asked) == 4
    for each in asked:
        assert each.resource.rpartition("-")[2] == each.principal.rpartition("-")[2]


class Watching(BaseCallbackHandler):
    """Keeps what tracers are told of errors."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @override
    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.told.append(f"{error} {error!r}")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"operation": "QueryVectors", "status": 403}, AccessDeniedError),
        ({"operation": "QueryVectors", "status": 429}, THROTTLED),
        ({"operation": "QueryVectors", "latency": 600.0}, DeadlineExceededError),
        ({"operation": "QueryVectors", "kind": "slow", "seconds": 600.0}, DeadlineExceededError),
        ({"operation": "QueryVectors", "status": 503}, (UnavailableError, *THROTTLED)),
        ({"operation": "InvokeModel", "status": 429}, THROTTLED),
        ({"operation": "InvokeModel", "status": 403}, AccessDeniedError),
    ],
)
@pytest.mark.parametrize("how", ["awaited", "in a thread", "batch"])
async def test_what_fails_is_an_error_and_no_empty_answer(
    emulator: Emulator,
    client: MemoryClient,
    fault: dict[str, Any],
    expected: type[MemlaneError] | tuple[type[MemlaneError], ...],
    how: str,
) -> None:
    """Within the deadline; tracers and tools are told neither who was asked nor by which role."""
    seconds = 30 if expected is AccessDeniedError else 0.3
    retriever = MemlaneRetriever(client=client, scope=ADA, deadline=seconds)
    watching = Watching()
    config: Any = {"callbacks": [watching]}
    calls: dict[str, Callable[[], Any]] = {
        "awaited": lambda: retriever.ainvoke(QUESTION, config),
        "in a thread": lambda: anyio.to_thread.run_sync(retriever.invoke, QUESTION, config),
        "batch": lambda: retriever.abatch([QUESTION, "tea?"], config),
    }
    await emulator.inject(**fault)
    with pytest.raises(expected) as caught:
        await calls[how]()
    assert caught.value.operation == "retrieve"
    assert caught.value.scope == ADA
    for said in (*watching.told, str(caught.value), repr(caught.value)):
        assert not AWS.search(said)
        assert not re.search(r"\bada\b", said)
        assert QUESTION not in said
    assert watching.told
    await emulator.clear_faults()
    patient = MemlaneRetriever(client=client, scope=ADA, deadline=30)
    assert sorted(texts_of(await patient.ainvoke(QUESTION))) == sorted(TEXTS)


async def test_a_tenant_without_an_index(
    emulator: Emulator, client: MemoryClient, per_call: MemlaneRetriever
) -> None:
    """It is told of, by every way; the other tenants of a batch are answered."""
    eve = Scope("eve", tenant="initech")
    with pytest.raises(TenantNotOnboardedError, match="memlane onboard initech"):
        await per_call.ainvoke("seats", config_of(eve))
    with pytest.raises(TenantNotOnboardedError):
        await anyio.to_thread.run_sync(per_call.invoke, "seats", config_of(eve))
    found: list[Any] = await per_call.abatch(
        ["seats", "seats"], [config_of(eve), config_of(BOB)], return_exceptions=True
    )
    assert isinstance(found[0], TenantNotOnboardedError)
    assert texts_of(found[1]) == ["He prefers aisle seats"]
    await client.admin("initech").onboard()
    assert await per_call.ainvoke("seats", config_of(eve)) == []
    assert set((await emulator.indexes())[BUCKET]) == {
        "memory-acme",
        "memory-globex",
        "memory-initech",
    }


async def test_a_session_that_ended_is_renewed(
    emulator: Emulator, retriever: MemlaneRetriever
) -> None:
    """Nobody who asks hears of it."""
    await retriever.ainvoke(QUESTION)
    await emulator.advance(3_600)
    found = await retriever.abatch([QUESTION, "tea?", "bees?"])
    assert [len(each) for each in found] == [3, 3, 3]
