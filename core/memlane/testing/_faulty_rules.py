"""Calls that meet a fault, each at a drawn step and moment, and what comes right after them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import anyio
from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, precondition, rule

from memlane.errors import MemlaneError
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._faulty_machine import CANCELLED, READING, FaultyMachineBase
from memlane.testing._machine import Target, nobody, stored
from memlane.testing.faults import Fault, Moment, Step
from memlane.types import NewMemory, RetrievalOptions
from memlane.writing import UNSET

__all__ = ("BATCH", "FaultyRules", "faults")

_WHOLE: tuple[Moment, ...] = ("before", "after", "cancel")
BATCH: tuple[Moment, ...] = ("before", "partway", "after", "cancel")
_MUCH = 8  # records; below, forgetting would leave too little for the others to do


def faults(
    *steps: Step, moments: tuple[Moment, ...] = _WHOLE, skip: tuple[int, ...] = (0,)
) -> st.SearchStrategy[Fault]:
    return st.builds(
        Fault,
        step=st.sampled_from(steps),
        moment=st.sampled_from(moments),
        skip=st.sampled_from(skip),
    )


def _named(items: Sequence[NewMemory], scope: Scope) -> MultipleResults[Target]:
    """Return where records may be whose ids the caller chose."""
    return multiple(*((scope, item.record_id) for item in items if item.record_id is not None))


_STORING: tuple[Step, ...] = ("upsert",) * 4 + ("embed", "fetch")


class FaultyRules(FaultyMachineBase):
    """Rules whose calls fail; those they inherit do not, and find everything in order."""

    @rule(
        target=stored,
        fault=faults(*_STORING),
        item=choices.new_memories(),
        scope=choices.scopes(),
    )
    def store_fails(
        self, fault: Fault, item: NewMemory, scope: Scope
    ) -> MultipleResults[Target] | Target:
        """The record is there or it is not."""
        targets, _ = self._fail(fault, lambda: self.store(item, scope))
        return targets or _named([item], scope)

    @rule(
        target=stored,
        fault=faults("ensure_index"),
        item=choices.new_memories(),
        scope=choices.scopes(),
    )
    def first_call_fails(
        self, fault: Fault, item: NewMemory, scope: Scope
    ) -> MultipleResults[Target] | Target:
        """What a client could not make ready with one call it makes ready with the next."""
        usual, self._client = self._client, self._over(self._inner)
        try:
            targets, _ = self._fail(fault, lambda: self.store(item, scope))
            return targets or self.store(item, scope)
        finally:
            self._run(self._client.aclose())
            self._client = usual

    @rule(
        target=stored,
        fault=faults(*_STORING, moments=BATCH, skip=(0, 0, 1, 2)),
        items=st.lists(choices.new_memories(), min_size=2, max_size=8),
        scope=choices.scopes(),
    )
    def store_many_fails(
        self, fault: Fault, items: list[NewMemory], scope: Scope
    ) -> MultipleResults[Target] | Target:
        """Each record is there or it is not; those the error names are."""
        targets, _ = self._fail(fault, lambda: self.store_many(items, scope))
        return targets or _named(items, scope)

    @rule(
        target_=stored,
        fault=faults("upsert", "upsert", "upsert", "embed", "fetch"),
        text=st.none() | choices.texts(),
        metadata=choices.metadata(),
        namespace=st.none() | choices.namespaces(),
        expires=st.sampled_from((UNSET, UNSET, timedelta(minutes=5))),
        stale=st.sampled_from((None, None, None, 0, 1)),
        agents=st.booleans(),
        again=st.booleans(),
    )
    def update_fails(  # noqa: PLR0917 - hypothesis passes them by name
        self,
        target_: Target,
        fault: Fault,
        text: str | None,
        metadata: dict[str, Any],
        namespace: str | None,
        expires: object,
        stale: int | None,
        agents: bool,
        again: bool,
    ) -> None:
        """All of the change was made or none of it."""
        change = functools.partial(
            self.update, target_, text, metadata, namespace, expires, stale, {}, agents
        )
        _, met = self._fail(fault, change)
        if met and again:
            change()

    @rule(
        several=st.lists(stored, min_size=1, max_size=4),
        fault=faults("delete", moments=BATCH),
        agents=st.booleans(),
        again=st.booleans(),
    )
    def delete_fails(self, several: list[Target], fault: Fault, agents: bool, again: bool) -> None:
        """Each record is there or it is not, and the next call counts the rest."""
        _, met = self._fail(fault, lambda: self.delete(several, agents))
        if met and again:
            self.delete(several, agents)

    @precondition(lambda self: len(self._model.records) >= _MUCH)
    @rule(scope=choices.scopes())
    def forget(self, scope: Scope) -> None:
        """All that the scope contains goes; whether there is much is no reason to look again."""
        super().forget(scope)

    @rule(
        scope=choices.scopes(),
        fault=faults(
            "delete", "delete", "scan", "erase", "remains", "scrub", moments=BATCH, skip=(0, 0, 1)
        ),
        again=st.booleans(),
    )
    def forget_fails(self, scope: Scope, fault: Fault, again: bool) -> None:
        """The caller is told, and when it is repeated the scope is empty."""
        forget = functools.partial(super().forget, scope)
        _, met = self._fail(fault, forget)
        if met and again:
            forget()

    @rule(
        moment=st.sampled_from(_WHOLE),
        which=st.integers(0, 3),
        target_=stored,
        query=choices.texts(),
        again=st.booleans(),
    )
    def reading_fails(
        self, moment: Moment, which: int, target_: Target, query: str, again: bool
    ) -> None:
        """Who cannot be answered is told so, never that there is nothing; the next one is."""
        scope, record_id = target_
        embedder = self._elsewhere(scope.tenant)
        then = RetrievalOptions(as_of=self.clock.now() - timedelta(microseconds=1))
        asked: dict[str, Callable[[], object]] = {
            "get": lambda: self._call("get", scope, record_id),
            "list": lambda: self._call("list", scope, limit=2),
            "count": lambda: self._call("count", scope),
            "iterate": lambda: self._call("iterate", scope),
            "history": lambda: self._call("history", scope, record_id),
            "export": lambda: self._call("export", scope),
            "retrieve": lambda: self._call("retrieve", scope, query, options=then),
            "users": lambda: self._call("users", nobody(scope.tenant)),
            "stats": lambda: self._call("stats", nobody(scope.tenant)),
            "plan_reembed": lambda: self._call("plan_reembed", nobody(scope.tenant), embedder),
            "context": lambda: self._call("context", scope, query, max_tokens=400),
        }
        for verb, steps in READING.items():
            self._fail(Fault(step=steps[which % len(steps)], moment=moment), asked[verb])
        if again:
            everything = choices.CONDITIONS[0]
            self.get(target_, False, False, scope)
            self.retrieve(query, scope, "hybrid", everything, None, 500, False, False, None, None)
            self.list_and_count(scope, None, everything, 5)

    @rule(
        fault=faults("embed"),
        query=choices.texts(),
        scope=choices.scopes(),
    )
    def one_of_two_fails(self, fault: Fault, query: str, scope: Scope) -> None:
        """Two ask the same at once: both are told, or the one not cancelled is answered."""
        answers, met = self._meet(fault, lambda: self._run(self._both(query, scope)))
        cancelled = met and fault.moment == "cancel"
        assert (answers[0] is CANCELLED) == cancelled, f"{fault}: {answers[0]!r}"
        failed = [answer for answer in answers if isinstance(answer, MemlaneError)]
        assert bool(failed) == (met and not cancelled), f"{fault}: {failed}"
        matches = self._call("retrieve", scope, query)
        assert not isinstance(matches, MemlaneError), matches
        for answer in answers:
            if answer is not CANCELLED and answer not in failed:
                assert answer == matches, f"{fault}: {answer} is not {matches}"

    async def _both(self, query: str, scope: Scope) -> list[Any]:
        answers: list[Any] = [CANCELLED, CANCELLED]
        client = self._at(scope.tenant)

        async def ask(place: int) -> None:
            try:
                answers[place] = await client.retrieve(query, scope=scope)
            except MemlaneError as error:
                answers[place] = error

        async def ask_and_be_cancelled() -> None:
            with self._faults.caller():
                await ask(0)

        async with anyio.create_task_group() as group:
            group.start_soon(ask_and_be_cancelled)
            group.start_soon(ask, 1)
        return answers

    @precondition(lambda self: self.durable)
    @rule()
    def abandon(self) -> None:
        """A client that is not closed keeps nothing from the next one."""
        self._abandoned += [client for client in (self._twin, self._client) if client is not None]
        self._twin = None
        self._client = self._open()

    @rule()
    def everything_is_there(self) -> None:
        """Records are those of the model, and their vectors and words those of their texts."""
        super().everything_is_there()
        self._run(self._read())
