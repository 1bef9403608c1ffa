"""What is known of an invocation while it runs, kept off the plugin and out of the caller's dict.

Strands hands the same `invocation_state` to every node of a graph, and hosts use one dict for many
calls: neither the dict nor the agent alone names an invocation, both together do.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias
from uuid import uuid4

from memlane import Scope

__all__ = ("Message", "Run", "Runs")

Message: TypeAlias = Mapping[str, Any]
"""A message as Strands has it: role, content blocks and, once in history, a tracking id."""


@dataclass(slots=True)
class Run:
    """One invocation of one agent. Holds no agent: an abandoned run must not keep one alive.

    Args:
        scope: Whose memory it is about, decided once.
        prompt: The very messages Strands puts into history, so that a later redaction is seen.
        begun: When it began.
        id: Sets the idempotency keys of this invocation apart from those of any other.
        recalled: Whether recall was tried, with or without success.
        block: The memories to show to the model, "" for none.
        turn: Tracking id of the message that is shown with them.
        replies: What the model said, in order.
    """

    scope: Scope
    prompt: Sequence[Message]
    begun: datetime
    id: str = field(default_factory=lambda: uuid4().hex)
    recalled: bool = False
    block: str = ""
    turn: str | None = None
    replies: list[Message] = field(default_factory=list[Message])


class Runs:
    """The invocations that are under way, by agent and invocation state."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._agents: weakref.WeakKeyDictionary[object, dict[int, Run | None]] = (
            weakref.WeakKeyDictionary()
        )

    def begin(
        self, agent: object, state: Mapping[str, Any], run: Run | None, *, reentrant: bool
    ) -> bool:
        """Note that an invocation begins.

        Args:
            agent: Who was invoked.
            state: The invocation's own dict; alive until it ends, so its identity is a name.
            run: What is known of it; None when it has no memory.
            reentrant: Whether the agent may have other invocations under way.

        Returns:
            False when another invocation of the agent uses the same dict at this moment. The two
            cannot be told apart, so neither has a memory.
        """
        with self._lock:
            mine = self._agents.setdefault(agent, {})
            if not reentrant:
                # Whatever is left here was abandoned: this agent does one thing at a time.
                mine.clear()
            alone = id(state) not in mine
            mine[id(state)] = run if alone else None
            return alone

    def find(self, agent: object, state: Mapping[str, Any]) -> Run | None:
        """Return the invocation that is under way."""
        with self._lock:
            return self._agents.get(agent, {}).get(id(state))

    def end(self, agent: object, state: Mapping[str, Any]) -> Run | None:
        """Return the invocation and forget it."""
        with self._lock:
            mine = self._agents.get(agent, {})
            run = mine.pop(id(state), None)
            if not mine:
                self._agents.pop(agent, None)
            return run
