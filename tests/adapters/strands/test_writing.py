"""What is stored of an invocation, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from strands.hooks import (
    AfterInvocationEvent,
    BeforeInvocationEvent,
    BeforeToolCallEvent,
    HookProvider,
    HookRegistry,
)
from typing_extensions import override

from adapters.strands.scripted import (
    ScriptedModel,
    agent_with,
    messages_in,
    patient,
    texts_in,
    weather,
)
from memlane import MemoryClient, Scope
from memlane.testing import FakeClock
from memlane_plain import SyncMemoryClient
from memlane_strands import MemlanePlugin


def test_who_said_what_when(client: MemoryClient, memory: SyncMemoryClient, ada: Scope) -> None:
    """Two records: what the user said, then what the assistant said, each with role and source."""
    clock = FakeClock()
    plugin = patient(client, scope=ada, clock=clock)

    async def later() -> str:
        clock.advance(timedelta(seconds=3))
        return "hello Ada"

    agent_with(ScriptedModel(later), plugin)("hello there")
    user, assistant = messages_in(memory, ada)
    assert (user.text, assistant.text) == ("hello there", "hello Ada")
    assert (user.actor, assistant.actor) == ("user", "assistant")
    assert (user.source, assistant.source) == ("user", "assistant")
    assert (user.metadata, assistant.metadata) == ({"role": "user"}, {"role": "assistant"})
    assert assistant.occurred_at - user.occurred_at == timedelta(seconds=3)
    for record in (user, assistant):
        assert record.kind == "message"
        assert record.namespace == "/messages/"
        assert record.scope == ada


def test_order_when_no_time_passes(
    client: MemoryClient, memory: SyncMemoryClient, ada: Scope
) -> None:
    """The answer comes after the question, even when the clock has not moved or went back."""
    clock = FakeClock()

    async def earlier() -> str:
        clock.set(clock.now() - timedelta(hours=1))
        return "answer"

    plugin = patient(client, scope=ada, clock=clock, namespace="/chat/")
    agent = agent_with(ScriptedModel("first answer", earlier), plugin)
    agent("first question")
    clock.advance(timedelta(minutes=1))
    agent("question")
    found = memory.list(scope=ada, namespace="/chat/").items
    times = {record.text: record.occurred_at for record in found}
    assert sorted(times, key=lambda text: times[text]) == [
        "first question",
        "first answer",
        "question",
        "answer",
    ]


def test_the_same_words_twice(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """Saying the same thing in two calls is two events."""
    agent = agent_with(ScriptedModel("ok"), plugin)
    agent("again")
    agent("again")
    assert texts_in(memory, ada) == ["again", "ok", "again", "ok"]


def test_tools_and_narration(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """Tool calls and results are left out; what the model says around them is one reply."""
    model = ScriptedModel([("weather", {"city": "Graz"})], "Take an umbrella.")
    model.text_with_tools = "Let me look."
    agent_with(model, plugin, tools=[weather])("what should I wear?")
    assert texts_in(memory, ada) == ["what should I wear?", "Let me look.\n\nTake an umbrella."]


def test_blocks_and_messages(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """Several blocks are one text, several messages several records; guarded text is text."""
    prompt: Any = [
        {"role": "user", "content": [{"text": "earlier"}, {"text": "question"}]},
        {"role": "assistant", "content": [{"text": "earlier answer"}]},
        {
            "role": "user",
            "content": [
                {"guardContent": {"text": {"text": "guarded question"}}},
                {"guardContent": {"text": {"text": "a page", "qualifiers": ["grounding_source"]}}},
                {"text": "   "},
            ],
        },
    ]
    agent_with(ScriptedModel("ok"), plugin)(prompt)
    assert {record.text for record in messages_in(memory, ada)} == {
        "earlier\nquestion",
        "earlier answer",
        "guarded question",
        "ok",
    }


def test_a_message_longer_than_a_record(
    memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """A message over the limit of a record is stored whole, in numbered pieces."""
    words = " ".join(f"wörd{number}" for number in range(10_000))
    agent_with(ScriptedModel("ok"), plugin)(words)
    found = [record for record in messages_in(memory, ada) if record.source == "user"]
    found.sort(key=lambda record: record.metadata["part"])  # type: ignore[arg-type,return-value] # integers
    parts = len(found)
    assert parts > 2
    assert "".join(record.text for record in found) == words
    assert [record.metadata["part"] for record in found] == [*range(1, parts + 1)]
    assert {record.metadata["parts"] for record in found} == {parts}
    assert {record.scope.session for record in found} == {"monday"}
    assert plugin.counters.written == parts + 1


def test_a_broken_character(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """Half of a surrogate pair costs its place, not the message."""
    agent_with(ScriptedModel("fine"), plugin)("I like \ud83d a lot")
    assert texts_in(memory, ada) == ["I like ? a lot", "fine"]
    assert plugin.counters.recall_failed == plugin.counters.write_failed == 0


def test_writing_switched_off(client: MemoryClient, memory: SyncMemoryClient, ada: Scope) -> None:
    """With writing off nothing is stored."""
    agent_with(ScriptedModel("ok"), patient(client, scope=ada, write=False))("hello")
    assert memory.count(scope=ada) == 0


def test_a_model_that_fails(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """When the model fails the caller hears of it, and what the user said is stored alone."""
    model = ScriptedModel([("weather", {"city": "Graz"})], RuntimeError("model down"))
    model.text_with_tools = "Half an ans"
    with pytest.raises(Exception, match="model down"):
        agent_with(model, plugin, tools=[weather])("what should I wear?")
    assert texts_in(memory, ada) == ["what should I wear?"]


def test_cancelled_by_the_host(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """An agent told to stop stores the user's words and not the framework's placeholder."""
    agent: Any = None

    async def stop() -> str:
        agent.cancel()
        return "I was about to"

    agent = agent_with(ScriptedModel(stop), plugin)
    assert agent("tell me everything").stop_reason == "cancelled"
    assert texts_in(memory, ada) == ["tell me everything"]


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered"])
def test_stopped_by_a_guardrail(
    memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope, reason: str
) -> None:
    """What a guardrail stopped is not remembered at all."""
    model = ScriptedModel("I may not say that")
    model.stop_reason = reason
    agent_with(model, plugin)("something forbidden")
    assert memory.count(scope=ada) == 0


class Before(HookProvider):
    """Changes an invocation before it begins."""

    def __init__(self, change: Callable[[BeforeInvocationEvent], None]) -> None:
        self._change = change

    @override
    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        registry.add_callback(BeforeInvocationEvent, self._before)

    def _before(self, event: BeforeInvocationEvent) -> None:
        self._change(event)


def _deny(event: BeforeInvocationEvent) -> None:
    event.cancel = "not today"


def _redact(event: BeforeInvocationEvent) -> None:
    event.messages = [{"role": "user", "content": [{"text": "my number is [gone]"}]}]


def test_an_invocation_that_is_denied(
    memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """What the host's hook denied is not remembered, whatever the order of plugins and hooks."""
    model = ScriptedModel("ok")
    agent = agent_with(model, plugin)
    agent.add_hook(_deny, BeforeInvocationEvent)
    agent("let me in")
    assert not model.calls
    assert memory.count(scope=ada) == 0
    assert not plugin._runs._agents


def test_words_that_are_redacted(
    memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """What a hook redacts before the invocation is redacted in memory too."""
    agent_with(ScriptedModel("ok"), plugin, hooks=[Before(_redact)])("my number is 4711")
    assert texts_in(memory, ada) == ["my number is [gone]", "ok"]


def test_words_that_are_redacted_later(
    memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """What is redacted in the history while the agent works is redacted in memory too."""
    agent: Any = None

    async def guarded() -> str:
        agent.messages[-1]["content"] = [{"text": "[redacted]"}]
        return "ok"

    agent = agent_with(ScriptedModel(guarded), plugin)
    agent("my number is 4711")
    assert texts_in(memory, ada) == ["[redacted]", "ok"]


def test_interrupted_and_resumed(
    memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """An invocation that asks a person and goes on later stores each half when it ends."""
    model = ScriptedModel([("weather", {"city": "Graz"})], "Rain.")
    model.text_with_tools = "May I look?"
    agent = agent_with(model, plugin, tools=[weather])

    def approve(event: BeforeToolCallEvent) -> None:
        event.interrupt("approval", reason="outside")

    agent.add_hook(approve, BeforeToolCallEvent)
    [interrupt] = agent("what should I wear?").interrupts or []
    assert texts_in(memory, ada) == ["what should I wear?", "May I look?"]
    response: Any = {"interruptResponse": {"interruptId": interrupt.id, "response": "yes"}}
    assert agent([response]).stop_reason == "end_turn"
    assert texts_in(memory, ada) == ["what should I wear?", "May I look?", "Rain."]


def test_resumed_by_a_hook(memory: SyncMemoryClient, plugin: MemlanePlugin, ada: Scope) -> None:
    """An agent that a hook sends on has two invocations, each recalled for and stored."""
    model = ScriptedModel("first", "second")
    agent = agent_with(model, plugin)
    more = ["go on"]

    def send_on(event: AfterInvocationEvent) -> None:
        event.resume = more.pop() if more else None

    agent.add_hook(send_on, AfterInvocationEvent)
    agent("begin")
    assert texts_in(memory, ada) == ["begin", "first", "go on", "second"]
    assert [model.blocks(call) for call in (0, 1)] == [0, 1]


async def test_a_stream_that_is_left_early(
    client: MemoryClient, plugin: MemlanePlugin, ada: Scope
) -> None:
    """A stream closed early stores what the user said and not half of an answer."""
    agent = agent_with(ScriptedModel("a long answer"), plugin)
    async with aclosing(agent.stream_async("tell me")) as events:  # type: ignore[type-var] # a generator
        async for event in events:
            if "data" in event:
                break
    page = await client.list(scope=ada)
    assert [record.text for record in page.items] == ["tell me"]
    assert not plugin._runs._agents
