"""The plugin: shows a Strands agent what it remembers and stores what was said.

A plugin is one object on many agents, entered by many invocations at once, on loops that come and
go with each call. So it holds no state of any of them, and nothing that belongs to a loop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from memlane import (
    MemlaneError,
    MemoryClient,
    MissingExtraError,
    NewMemory,
    PartialWriteError,
    RetrievalOptions,
    Scope,
    ValidationError,
)
from memlane.filters import FilterLike, as_filter
from memlane.layout import normalize_namespace
from memlane.limits import check_limit, check_similarity, check_tokens
from memlane.protocols import Clock
from memlane.runtime import Answer, SystemClock, expect, within, work_loop
from memlane.scope import Tenancy, check_tenancy
from memlane_strands.counters import Counting, PluginCounters
from memlane_strands.runs import Message, Run, Runs
from memlane_strands.turns import memories_of, own_turn, pieces, place_of, shown, text_of

try:
    from strands import Agent
    from strands.hooks import (
        AfterInvocationEvent,
        AfterModelCallEvent,
        BeforeInvocationEvent,
        HookOrder,
    )
    from strands.middleware import InvokeModelContext, InvokeModelStage
    from strands.plugins import Plugin
    from strands.types.agent import ConcurrentInvocationMode
except ImportError as exc:
    raise MissingExtraError(
        "memlane_strands needs strands-agents 1.62 or newer",
        remedy="pip install 'memlane[strands]'",
    ) from exc

__all__ = ("MemlanePlugin", "ScopeSource")

ScopeSource: TypeAlias = Scope | Callable[[Mapping[str, Any]], Scope | None]
"""Whose memory it is: one scope, or the host's own function of an invocation's state."""

_STOPPED: Final = frozenset({"content_filtered", "guardrail_intervened"})
"""What a guardrail stopped is not remembered, neither the question nor the answer."""

_log = logging.getLogger(__name__)


class MemlanePlugin(Plugin):
    """Long-term memory for Strands agents: `Agent(plugins=[MemlanePlugin(client, scope=...)])`.

    Before the model is called for a user's turn, what the scope remembers of it is shown to the
    model after that turn, as data, for this invocation only: neither the agent's messages nor its
    system prompt change. After the invocation the user's text and the model's are stored.

    One plugin serves any number of agents, threads, loops and concurrent invocations. Memory never
    keeps an agent from answering: what fails is counted and logged without its content.

    Args:
        client: The memory. It is not closed by the plugin.
        scope: Whose memory it is, or a function of the invocation state that says so. The function
            is the host's decision about whom to trust; it returns None for an invocation without
            memory, and when it raises there is none either.
        recall: Whether to show memories to the model.
        write: Whether to store what was said.
        max_tokens: Size of what is shown at most.
        limit: Memories considered at most.
        min_similarity: 0..1; leave out what is further away.
        filter: Recall only records that meet this condition.
        options: How recall differs from the default.
        deadline: Seconds a recall may take; then the agent answers without it.
        write_deadline: Seconds storing may take, also when the invocation is cancelled meanwhile.
        namespace: Where messages are stored. Recall reads the whole scope.
        name: Of the plugin; two on one agent need different names.
        clock: When it is.

    Raises:
        ValidationError: A bound is none.
        ScopeError: The scope is not one, or the client's tenancy does not allow it.
    """

    def __init__(
        self,
        client: MemoryClient,
        *,
        scope: ScopeSource,
        recall: bool = True,
        write: bool = True,
        max_tokens: int = 800,
        limit: int = 20,
        min_similarity: float | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        options: RetrievalOptions | None = None,
        deadline: float = 0.8,
        write_deadline: float = 5.0,
        namespace: str = "/messages/",
        name: str = "memlane",
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._client = client
        self._tenancy: Tenancy = client.tenancy
        self._scope = (
            scope
            if callable(scope)
            else check_tenancy(scope, self._tenancy, operation="MemlanePlugin")
        )
        self._recall = recall
        self._write = write
        # Checked here and not by the first recall, where a mistake would only be counted.
        self._max_tokens = check_tokens(max_tokens)
        self._limit = check_limit(limit, most=client.limits.results)
        self._min_similarity = check_similarity(min_similarity)
        self._filter = as_filter(filter)
        self._options = options
        self._deadline = _seconds(deadline, name="deadline")
        self._write_deadline = _seconds(write_deadline, name="write_deadline")
        self._namespace = normalize_namespace(namespace)
        self._clock: Clock = clock or SystemClock()
        self._counting = Counting()
        self._runs = Runs()
        super().__init__()

    @property
    def name(self) -> str:
        """What an agent knows this plugin by."""
        return self._name

    @property
    def counters(self) -> PluginCounters:
        """What this plugin has done so far."""
        return self._counting.snapshot()

    def init_agent(self, agent: Agent) -> None:
        # Last, so that what other hooks deny or redact is seen; and when `retry` is final.
        agent.add_hook(self._begin, BeforeInvocationEvent, order=HookOrder.SDK_LAST)
        agent.add_hook(self._listen, AfterModelCallEvent, order=HookOrder.SDK_LAST)
        agent.add_hook(self._remember, AfterInvocationEvent)
        if self._recall:
            agent.add_middleware(InvokeModelStage.Input, self._show)

    def _begin(self, event: BeforeInvocationEvent) -> None:
        if event.messages is None:
            return  # the deprecated structured_output(), which calls the model by another way
        scope = None if event.cancel else self._whose(event.invocation_state)
        prompt = cast("Sequence[Message]", event.messages)
        run = Run(scope=scope, prompt=prompt, begun=self._clock.now()) if scope else None
        mode = getattr(event.agent, "concurrent_invocation_mode", None)
        if not self._runs.begin(
            event.agent,
            event.invocation_state,
            run,
            reentrant=mode is ConcurrentInvocationMode.UNSAFE_REENTRANT,
        ):
            self._counting.add(scope_failed=1)
            _log.warning(
                "two invocations of one agent share an invocation_state at once and cannot be "
                "told apart: both go on without memory; give each a dict of its own"
            )

    def _whose(self, state: Mapping[str, Any]) -> Scope | None:
        if isinstance(self._scope, Scope):
            return self._scope
        try:
            scope = self._scope(MappingProxyType(state))
            if scope is not None:
                return check_tenancy(scope, self._tenancy, operation="invoke")
        except Exception as error:  # noqa: BLE001 - the host's function; the agent still answers
            self._counting.add(scope_failed=1)
            _warn("nobody could say whose memory an invocation is about", error)
        else:
            _log.debug("an invocation has no scope and goes on without memory")
        return None

    async def _show(self, context: InvokeModelContext) -> InvokeModelContext:
        run = self._runs.find(context.agent, context.invocation_state)
        if run is None:
            return context
        messages = cast("Sequence[Message]", context.messages)
        try:
            place = await self._recalled(run, messages)
        except Exception as error:  # noqa: BLE001 - memory never keeps an agent from answering
            self._counting.add(recall_failed=1)
            _warn("recall failed and the agent answers without memory", error)
            return context
        if place is None or not run.block:
            return context
        changed: list[Any] = [*messages]
        changed[place] = shown(messages[place], run.block)
        # Providers set their cache point before what changes at the end of the last message.
        trailing = int(place == len(messages) - 1)
        return context.replace(
            messages=changed, dynamic_trailing_blocks=context.dynamic_trailing_blocks + trailing
        )

    async def _recalled(self, run: Run, messages: Sequence[Message]) -> int | None:
        """Return the place of the turn to show memories after; the first call finds both."""
        if run.recalled:
            # Later calls of an invocation answer tools. They see the turn with the memories the
            # first one saw: the answer needs them, and the history stays the one cached before.
            return place_of(messages, run.turn)
        run.recalled = True
        place = own_turn(messages, run.prompt)
        if place is None or not (query := text_of(messages[place])):
            return None
        run.turn = messages[place].get("tracking_id")
        found = await self._client.context(
            pieces(query)[0],
            scope=run.scope,
            max_tokens=self._max_tokens,
            limit=self._limit,
            min_similarity=self._min_similarity,
            filter=self._filter,
            options=self._options,
            deadline=self._deadline,
        )
        run.block = found.text
        self._counting.add(**{"recalled" if found.text else "recall_empty": 1})
        return place

    def _listen(self, event: AfterModelCallEvent) -> None:
        run = self._runs.find(event.agent, event.invocation_state)
        if run is not None and event.stop_response is not None and not event.retry:
            run.replies.append(cast("Message", event.stop_response.message))

    async def _remember(self, event: AfterInvocationEvent) -> None:
        run = self._runs.end(event.agent, event.invocation_state)
        reason = event.result.stop_reason if event.result is not None else None
        if run is None or not self._write or reason in _STOPPED:
            return
        items: Sequence[NewMemory] = ()
        try:
            # Without a result the invocation failed, was cancelled, or its stream was left. What
            # the user said was said all the same; what the model said may be half an answer.
            items = memories_of(
                run,
                replied=reason not in {None, "cancelled"},
                ended=self._clock.now(),
                namespace=self._namespace,
            )
            await self._store(items, run.scope)
        except Exception as error:  # noqa: BLE001 - the answer exists and is not withheld
            self._counting.add(write_failed=len(items) or 1)
            _warn("what was said is not stored", error)

    async def _store(self, items: Sequence[NewMemory], scope: Scope) -> None:
        """Store on memlane's own loop, which neither ends with this call nor is cancelled by it."""
        if not items:
            return
        done: Answer[None] = expect()

        async def keep() -> None:
            try:
                await self._keep(items, scope)
            finally:
                done.set_result(None)

        work_loop().start(keep)
        # A cancelled invocation waits too, so that a host may close the client after it: for the
        # write deadline at most, and a transaction that is being committed then.
        await done.wait(lambda: False, shield=True)

    async def _keep(self, items: Sequence[NewMemory], scope: Scope) -> None:
        stored = 0
        try:
            async with within(self._write_deadline, operation="store_many", scope=scope):
                stored = len(await self._client.store_many(items, scope=scope))
        except Exception as error:  # noqa: BLE001 - the answer exists and is not withheld
            if isinstance(error, PartialWriteError):
                stored = len(error.stored)
            _warn("what was said is not stored", error)
        finally:
            self._counting.add(written=stored, write_failed=len(items) - stored)


def _seconds(value: float, *, name: str) -> float:
    if not math.isfinite(value) or value <= 0:
        raise ValidationError(f"{name} must be a positive number of seconds", remedy="pass 0.8")
    return float(value)


def _warn(what: str, error: Exception) -> None:
    # Our own errors hold no content; of anybody else's only the type is known not to.
    _log.warning("%s: %s", what, error if isinstance(error, MemlaneError) else type(error).__name__)
