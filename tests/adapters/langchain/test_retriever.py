"""The retriever finds the right person's memories, from wherever it is called."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pydantic
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from typing_extensions import override

from memlane import (
    DeadlineExceededError,
    Filter,
    InvalidFilterError,
    LoopError,
    MemoryClient,
    RetrievalOptions,
    Scope,
    ScopeError,
    ValidationError,
)
from memlane.local import SqliteBackend
from memlane.runtime import work_loop
from memlane.testing import FakeClock, GatedBackend, HashingEmbedder
from memlane_langchain import MemlaneRetriever
from memlane_plain import SyncMemoryClient, connect

QUESTION = "which seats does Ada prefer?"
ANSWER = "Ada prefers window seats"


def texts_of(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def from_config(configurable: Mapping[str, Any]) -> Scope:
    """Trust `user_id` in the config, as a host may decide to."""
    return Scope(configurable["user_id"], tenant="acme")


@pytest.fixture
def per_call(client: MemoryClient) -> MemlaneRetriever:
    return MemlaneRetriever(client=client, scope_from=from_config)


def test_from_a_plain_thread(retriever: MemlaneRetriever) -> None:
    """A synchronous call where no loop runs answers, as often as it is made."""
    for _ in range(2):
        documents = retriever.invoke(QUESTION)
        assert len(documents) == 4
        assert documents[0].page_content == ANSWER


async def test_awaited(retriever: MemlaneRetriever) -> None:
    """An awaited call runs on the caller's loop and finds the same."""
    documents = await retriever.ainvoke(QUESTION)
    assert documents[0].page_content == ANSWER
    other = await anyio.to_thread.run_sync(retriever.invoke, QUESTION)
    assert texts_of(other) == texts_of(documents)


@pytest.mark.usefixtures("blocking_is_meant")
async def test_synchronously_inside_a_running_loop(retriever: MemlaneRetriever) -> None:
    """A synchronous call inside a running loop answers, between awaited ones."""
    awaited = await retriever.ainvoke(QUESTION)
    assert texts_of(retriever.invoke(QUESTION)) == texts_of(awaited)
    assert texts_of(await retriever.ainvoke(QUESTION)) == texts_of(awaited)


async def test_on_a_loop_that_memlane_owns(retriever: MemlaneRetriever) -> None:
    """A synchronous call on memlane's own loop, which would wait for itself, is an error."""

    async def call() -> None:
        retriever.invoke(QUESTION)

    with pytest.raises(LoopError):
        await work_loop().call(call)


def test_from_eight_threads(retriever: MemlaneRetriever) -> None:
    """Eight threads call one retriever at once."""
    together = threading.Barrier(8)

    def call(_: int) -> list[str]:
        together.wait(timeout=30)
        return texts_of(retriever.invoke(QUESTION))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))
    assert answers == [answers[0]] * 8
    assert answers[0][0] == ANSWER


def test_batch(retriever: MemlaneRetriever) -> None:
    """A batch answers each query in its place."""
    found = retriever.batch([QUESTION, "green tea", "bees"])
    assert [texts_of(each)[0] for each in found] == [
        ANSWER,
        "Ada drinks green tea",
        "Ada keeps bees in Graz",
    ]


async def test_abatch(retriever: MemlaneRetriever) -> None:
    """An awaited batch answers each query in its place, within `max_concurrency`."""
    found = await retriever.abatch(["sails", "nuts"], config={"max_concurrency": 1}, k=1)
    assert [texts_of(each) for each in found] == [
        ["Ada sails on Sundays"],
        ["Ada is allergic to nuts"],
    ]


async def test_keywords_of_one_call(retriever: MemlaneRetriever) -> None:
    """k, filter, namespace, mode and min_similarity of one call replace the retriever's own."""
    assert len(await retriever.ainvoke(QUESTION, k=2)) == 2
    tea = Filter.eq("@tags", "drinks")
    for condition in (tea, tea.to_json()):
        found = await retriever.ainvoke(QUESTION, filter=condition)
        assert texts_of(found) == ["Ada drinks green tea"]
    assert await retriever.ainvoke(QUESTION, namespace="/elsewhere/") == []
    [words, *_] = await retriever.ainvoke(QUESTION, mode="text")
    assert words.metadata["memlane"]["similarity"] is None
    assert await retriever.ainvoke(QUESTION, min_similarity=1.0) == []
    assert len(await retriever.ainvoke(QUESTION)) == 4


def test_keywords_of_one_synchronous_call(retriever: MemlaneRetriever) -> None:
    """Keywords reach a synchronous call; one that does not exist is an error, not dropped."""
    assert len(retriever.invoke(QUESTION, k=1)) == 1
    found = retriever.invoke(QUESTION, filter={"@tags": "drinks"}, mode="vector")
    assert texts_of(found) == ["Ada drinks green tea"]
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUESTION, top_k=1)


def test_settings(client: MemoryClient, ada: Scope) -> None:
    """What the retriever was made with holds for its calls."""
    with SyncMemoryClient(client) as memory:
        memory.store("Ada's agent says hello", scope=Scope("ada", tenant="acme", agent="bot"))
        retriever = MemlaneRetriever(
            client=client,
            scope=ada,
            k=6,
            filter=Filter.ne("@tags", "drinks"),
            namespace="/",
            mode="text",
            options=RetrievalOptions(include_agents=True),
        )
        found = texts_of(retriever.invoke("Ada"))
        assert "Ada's agent says hello" in found
        assert "Ada drinks green tea" not in found
        assert len(found) == 5


@pytest.mark.parametrize("url", ["memory://", "sqlite:///documents.db"])
def test_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A document has the record's id and whole text; its owner's metadata and ours do not meet."""
    clock = FakeClock(datetime(2026, 1, 2, tzinfo=UTC))
    monkeypatch.chdir(tmp_path)
    made = connect(url, embedder=HashingEmbedder(), clock=clock)
    text = " ".join(f"This is sentence number {number} about nothing." for number in range(80))
    scope = Scope("ada")
    with SyncMemoryClient(made) as memory:
        record = memory.store(
            f"{text} The cat is called Schrödinger. {text}",
            scope=scope,
            namespace="/pets/",
            kind="note",
            metadata={"memlane": "mine", "nested": {"list": [1, {"a": None}]}},
            tags=["pet", "cat"],
            actor="bob",
            source="user",
        )
        [document] = MemlaneRetriever(client=made, scope=scope).invoke("Schrödinger the cat")
        assert document.id == record.id
        assert document.page_content == record.text
        ours = document.metadata.pop("memlane_")
        assert document.metadata == {"memlane": "mine", "nested": {"list": [1, {"a": None}]}}
        assert "Schrödinger" in ours["passage"]
        assert len(ours["passage"]) < len(record.text)
        assert 0 < ours["score"] <= 1
        assert 0 < ours["similarity"] <= 1
        assert {name: ours[name] for name in ours.keys() - {"passage", "score", "similarity"}} == {
            "namespace": "/pets/",
            "kind": "note",
            "actor": "bob",
            "source": "user",
            "occurred_at": "2026-01-02T00:00:00+00:00",
            "tags": ["cat", "pet"],
        }
        document.metadata["nested"]["list"].append("changed")
        assert memory.get(record.id, scope=scope).metadata["nested"] == {"list": [1, {"a": None}]}
        assert dumps(document)


async def test_a_scope_for_each_call(per_call: MemlaneRetriever) -> None:
    """With `scope_from` each call asks about the user of its own config, also concurrently."""
    users = {"ada": ANSWER, "eve": "Eve prefers aisle seats"}
    found: dict[str, list[str]] = {}

    async def call(user: str) -> None:
        config = {"configurable": {"user_id": user}}
        found[user] = texts_of(await per_call.ainvoke("seats", config, k=1))  # type: ignore[arg-type] # a config

    async with anyio.create_task_group() as group:
        for user in users:
            group.start_soon(call, user)
    assert found == {user: [text] for user, text in users.items()}
    sync = await anyio.to_thread.run_sync(
        lambda: per_call.batch(
            ["seats", "seats"], [{"configurable": {"user_id": user}} for user in users], k=1
        )
    )
    assert [texts_of(each)[0] for each in sync] == list(users.values())


async def test_a_scope_inside_a_chain_and_a_tool(per_call: MemlaneRetriever) -> None:
    """The config of a whole chain reaches the retriever in it, and the retriever in its tool."""
    config: Any = {"configurable": {"user_id": "eve"}}
    chain: Any = RunnablePassthrough() | per_call | RunnableLambda(texts_of)
    assert await chain.ainvoke("seats", config) == ["Eve prefers aisle seats"]
    tool = create_retriever_tool(per_call, "recall", "Recall what the user said.")
    assert await tool.ainvoke({"query": "seats"}, config) == "Eve prefers aisle seats"
    found = await anyio.to_thread.run_sync(lambda: tool.invoke({"query": "seats"}, config))
    assert found == "Eve prefers aisle seats"
    assert set(tool.args) == {"query"}


def test_a_scope_that_cannot_be_told(per_call: MemlaneRetriever, client: MemoryClient) -> None:
    """A function that raises or answers no scope is an error of the call, nobody's memory."""
    with pytest.raises(KeyError):
        per_call.invoke("seats")
    with pytest.raises(KeyError):
        per_call.invoke("seats", {"metadata": {"user_id": "ada"}})
    with pytest.raises(KeyError):
        per_call.invoke("seats", configurable={"user_id": "ada"})
    nobody: Any = lambda configurable: None  # noqa: E731, ARG005 - what a host may write
    with pytest.raises(ScopeError):
        MemlaneRetriever(client=client, scope_from=nobody).invoke("seats")


def test_a_fixed_scope_is_deaf(retriever: MemlaneRetriever) -> None:
    """With a fixed scope nothing in a config or in keywords says whose memory it is."""
    config: Any = {"configurable": {"user_id": "eve", "scope": Scope("eve", tenant="acme")}}
    found = retriever.invoke("seats", config, configurable={"user_id": "eve"})
    assert all(text.startswith("Ada") for text in texts_of(found))
    with pytest.raises(TypeError):
        retriever.invoke("seats", scope=Scope("eve", tenant="acme"))


def test_one_scope_and_no_other(client: MemoryClient, ada: Scope) -> None:
    """A retriever is made with one way to know whose memory it is; a dict is not a scope."""
    wrong: list[dict[str, Any]] = [
        {},
        {"scope": ada, "scope_from": from_config},
        {"scope": {"user": "ada", "tenant": "acme"}},
        {"scope": "ada"},
        {"scope": ada, "mode": "fuzzy"},
        {"scope": ada, "options": {"include_agents": True}},
    ]
    for settings in wrong:
        with pytest.raises(pydantic.ValidationError):
            MemlaneRetriever(client=client, **settings)


def test_errors_are_memlanes(retriever: MemlaneRetriever, client: MemoryClient) -> None:
    """What is refused is refused in memlane's words, with types that Python knows too."""
    with pytest.raises(ValidationError):
        retriever.invoke(QUESTION, k=0)
    with pytest.raises(InvalidFilterError):
        retriever.invoke(QUESTION, filter={"@nothing": 1})
    with pytest.raises(ValidationError, match="blank"):
        retriever.invoke(" ")
    tenantless = MemoryClient(
        backend=client._backend, embedder=HashingEmbedder(), tenancy="required"
    )
    with pytest.raises(ScopeError):
        MemlaneRetriever(client=tenantless, scope=Scope("ada")).invoke(QUESTION)


async def test_a_deadline(tmp_path: Path, ada: Scope) -> None:
    """A call that takes longer than the retriever's deadline raises; there is no silent nothing."""
    inner = SqliteBackend(str(tmp_path / "slow.db"))
    gate = GatedBackend(inner, "query")
    async with MemoryClient(backend=gate, embedder=HashingEmbedder(), owned=[inner]) as slow:
        retriever = MemlaneRetriever(client=slow, scope=ada, deadline=0.05)
        with pytest.raises(DeadlineExceededError) as caught:
            await retriever.ainvoke(QUESTION)
        assert isinstance(caught.value, TimeoutError)
        gate.open()
        assert await MemlaneRetriever(client=slow, scope=ada).ainvoke(QUESTION) == []


def test_configurable_fields(retriever: MemlaneRetriever) -> None:
    """Fields the host makes configurable are set for a call; the client is shared, not copied."""
    configurable: Any = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(configurable.invoke(QUESTION, {"configurable": {"k": 2}})) == 2
    assert len(configurable.invoke(QUESTION)) == 4
    prepared, _ = configurable.prepare({"configurable": {"k": 2}})
    assert prepared.client is retriever.client


async def test_in_a_chain(retriever: MemlaneRetriever) -> None:
    """The retriever is a link of a chain, streamed and with its settings bound."""
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    chain = {
        "context": retriever.bind(k=1) | (lambda found: "\n".join(texts_of(found))),
        "question": RunnablePassthrough(),
    } | prompt
    said = await chain.ainvoke(QUESTION)
    assert said.to_string() == f"Human: {ANSWER}\n\n{QUESTION}"
    assert [len(found) async for found in retriever.astream(QUESTION)] == [4]


async def test_a_tool_with_documents(retriever: MemlaneRetriever) -> None:
    """A tool made of it shows the model texts and hands the host the documents."""
    tool = create_retriever_tool(
        retriever, "recall", "Recall.", response_format="content_and_artifact"
    )
    call = {"name": "recall", "args": {"query": QUESTION}, "id": "1", "type": "tool_call"}
    message = await tool.ainvoke(call)
    assert message.content.startswith(ANSWER)
    assert "score" not in message.content
    assert len(message.artifact) == 4


class Watching(BaseCallbackHandler):
    """Keeps what tracers are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    @override
    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.told.append(("start", (serialized, query)))

    @override
    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.told.append(("end", len(documents)))

    @override
    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.told.append(("error", type(error)))


async def test_tracing(retriever: MemlaneRetriever) -> None:
    """Callbacks hear of start, end and errors; a representation tells nobody whose memory it is."""
    watching = Watching()
    await retriever.ainvoke("seats", {"callbacks": [watching]})
    with pytest.raises(ValidationError):
        await retriever.ainvoke("seats", {"callbacks": [watching]}, k=0)
    assert [name for name, _ in watching.told] == ["start", "end", "start", "error"]
    for said in (repr(watching.told), repr(retriever), str(retriever), dumps(retriever)):
        assert "ada" not in said.lower()
        assert "acme" not in said


def test_without_langchain() -> None:
    """Without langchain-core the import says in one line what to install."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['langchain_core'] = None; import memlane_langchain",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1] == (
        "memlane.errors.MissingExtraError: memlane_langchain needs langchain-core; "
        "pip install 'memlane[langchain]'"
    )
