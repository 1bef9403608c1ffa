"""A model that says what it is told to and keeps what it was really shown; agents around it."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from strands import Agent, tool
from strands.models import Model
from typing_extensions import override

from memlane import MemoryClient, MemoryRecord, Scope
from memlane.testing import HashingEmbedder, WrappedBackend
from memlane_plain import SyncMemoryClient
from memlane_strands import MemlanePlugin

Step: TypeAlias = "str | Exception | Sequence[tuple[str, Mapping[str, Any]]] | Callable[[], Any]"
"""A reply, a failure, tool calls, or something to await (a function that returns a step)."""


class ScriptedModel(Model):
    """Says the steps of a script, the last one for ever."""

    def __init__(self, *script: Any, text_with_tools: str = "") -> None:
        self.script = script or ("noted",)
        self.text_with_tools = text_with_tools
        self.calls: list[list[dict[str, Any]]] = []
        self.system_prompts: list[str | None] = []
        self.stop_reason = "end_turn"

    def update_config(self, **model_config: Any) -> None:
        """There is nothing to configure."""

    def get_config(self) -> Any:
        return {"context_window_limit": 200_000}

    @override
    async def structured_output(
        self, output_model: Any, prompt: Any, system_prompt: Any = None, **kwargs: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        yield {"output": output_model.model_validate(self.script[0])}

    @override
    async def stream(
        self, messages: Any, tool_specs: Any = None, system_prompt: Any = None, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        step = self.script[min(len(self.calls), len(self.script) - 1)]
        self.calls.append(copy.deepcopy(messages))
        self.system_prompts.append(system_prompt)
        if callable(step):
            step = await step()
        if isinstance(step, Exception):
            raise step
        yield {"messageStart": {"role": "assistant"}}
        said = step if isinstance(step, str) else self.text_with_tools
        if said:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": said}}}
            yield {"contentBlockStop": {}}
        stop_reason = self.stop_reason
        if not isinstance(step, str):
            for number, (name, args) in enumerate(step):
                use = {"name": name, "toolUseId": f"t{len(self.calls)}-{number}"}
                yield {"contentBlockStart": {"start": {"toolUse": use}}}
                yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(args)}}}}
                yield {"contentBlockStop": {}}
            stop_reason = "tool_use"
        yield {"messageStop": {"stopReason": stop_reason}}
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}

    def saw(self, call: int = -1) -> str:
        """Return every text block of one call's messages."""
        return "\n".join(
            block["text"]
            for message in self.calls[call]
            for block in message["content"]
            if "text" in block
        )

    def blocks(self, call: int = -1) -> int:
        """Return how many blocks of memories one call's messages held."""
        return self.saw(call).count("<memories ")


@tool
def weather(city: str) -> str:
    """Say what the weather is like.

    Args:
        city: Where.
    """
    return f"rain in {city}"


def agent_with(model: Model, *plugins: Any, **options: Any) -> Agent:
    """Return an agent that prints nothing."""
    return Agent(model=model, plugins=list(plugins), callback_handler=None, **options)


def patient(client: MemoryClient, **settings: Any) -> MemlanePlugin:
    """Return a plugin whose deadlines a busy machine cannot miss, unless the test says else."""
    return MemlanePlugin(client, **{"deadline": 30.0, "write_deadline": 30.0, **settings})


def client_over(backend: WrappedBackend) -> MemoryClient:
    """Return a client over a wrapped backend, which it closes."""
    return MemoryClient(backend=backend, embedder=HashingEmbedder(), owned=[backend])


def messages_in(memory: SyncMemoryClient, scope: Scope) -> list[MemoryRecord]:
    """Return what was stored of a user's conversations, in the order it was said."""
    found = memory.list(scope=scope, namespace="/messages/", limit=1000).items
    return sorted(found, key=lambda record: record.occurred_at)


def texts_in(memory: SyncMemoryClient, scope: Scope) -> list[str]:
    """Return the texts of `messages_in`."""
    return [record.text for record in messages_in(memory, scope)]
