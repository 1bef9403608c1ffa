"""What the state machine does to records: store, change, delete, forget, and let time pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, initialize, multiple, precondition, rule

from memlane.errors import ConflictError, MemlaneError, PartialWriteError, ValidationError
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._machine import MachineBase, Target, stored
from memlane.testing._records import exact
from memlane.testing.model import next_version
from memlane.types import MemoryRecord, NewMemory
from memlane.writing import UNSET

__all__ = ("WritingRules",)

_MUCH = 8  # records; below, forgetting would leave too little for the others to do


def _is_of(record: MemoryRecord, item: NewMemory, forecast: MemoryRecord | str) -> bool:
    if isinstance(forecast, MemoryRecord):
        return record.id == forecast.id
    if item.record_id is not None:
        return record.id == item.record_id
    return record.text == item.content and record.id not in choices.IDS


def _nothing() -> MultipleResults[Target]:
    return multiple()


class WritingRules(MachineBase):
    """Rules that change what is there."""

    @initialize(
        target=stored,
        first=st.lists(
            st.tuples(choices.new_memories(), choices.scopes()), min_size=3, max_size=12
        ),
    )
    def begin(self, first: list[tuple[NewMemory, Scope]]) -> MultipleResults[Target]:
        """Some records are there from the beginning."""
        plain: dict[Scope, list[NewMemory]] = {}
        for item, scope in first:
            plain.setdefault(scope, []).append(replace(item, record_id=None, idempotency_key=None))
        targets: list[Target] = []
        for scope, items in plain.items():
            records = self._call("store_many", scope, items)
            assert not isinstance(records, MemlaneError), records
            targets += map(self._accept, items, [scope] * len(items), records)
        return multiple(*targets)

    @rule(target=stored, item=choices.new_memories(), scope=choices.scopes())
    def store(self, item: NewMemory, scope: Scope) -> MultipleResults[Target] | Target:
        """A new record is stored; a taken id conflicts; a known event is returned again."""
        forecast = self._forecast(item, scope)
        fields = {name: getattr(item, name) for name in item.__slots__ if name != "content"}
        answer = self._call("store", scope, item.content, **fields)
        if isinstance(forecast, MemoryRecord):
            assert isinstance(answer, MemoryRecord), answer
            assert exact(answer) == exact(forecast)
            return _nothing()
        if forecast == "conflict":
            assert isinstance(answer, ConflictError), answer
            return _nothing()
        return self._accept(item, scope, answer)

    @rule(
        target=stored,
        items=st.lists(choices.new_memories(), min_size=2, max_size=6),
        scope=choices.scopes(),
    )
    def store_many(self, items: list[NewMemory], scope: Scope) -> MultipleResults[Target]:
        """Items are stored in order; after a conflict exactly what the error says is stored."""
        names = [item.record_id or item.idempotency_key for item in items]
        repeated = len({*names} - {None}) < len([name for name in names if name])
        forecasts = [self._forecast(item, scope) for item in items]
        if repeated:
            return _nothing()
        answer = self._call("store_many", scope, items)
        if "conflict" in forecasts:
            assert isinstance(answer, ConflictError | PartialWriteError), answer
            records = answer.stored if isinstance(answer, PartialWriteError) else ()
        else:
            assert not isinstance(answer, MemlaneError), answer
            records = tuple(answer)
            assert len(records) == len(items)
        targets: list[Target] = []
        left = list(records)
        for item, forecast in zip(items, forecasts, strict=True):
            if not left or not _is_of(left[0], item, forecast):
                continue  # after a failure some are missing, and those there are in order
            record = left.pop(0)
            if isinstance(forecast, MemoryRecord):
                assert exact(record) == exact(forecast)
            else:
                targets.append(self._accept(item, scope, record))
        assert not left, "a record was returned that was not asked for"
        if isinstance(answer, MemlaneError):
            self.everything_is_there()
        return multiple(*targets)

    @rule(
        target_=stored,
        text=st.none() | choices.texts(),
        metadata=st.none() | choices.metadata(),
        namespace=st.none() | choices.namespaces(),
        expires=st.sampled_from((UNSET, None, timedelta(minutes=5))),
        stale=st.sampled_from((None, 0, 1)),
        others=choices.changes(),
        agents=st.booleans(),
    )
    def update(  # noqa: PLR0917 - hypothesis passes them by name
        self,
        target_: Target,
        text: str | None,
        metadata: dict[str, Any] | None,
        namespace: str | None,
        expires: object,
        stale: int | None,
        others: dict[str, Any],
        agents: bool,
    ) -> None:
        """The fields given change and the others do not, when the version is the expected one."""
        scope, record_id = target_
        now = self.clock.now()
        given: dict[str, Any] = {"text": text, "metadata": metadata, "namespace": namespace}
        given = {name: value for name, value in given.items() if value is not None} | others
        if expires is not UNSET:
            given["expires_at"] = now + expires if isinstance(expires, timedelta) else None
        if not given:
            return
        before = self.model.one(record_id, scope, any_agent=agents, only_session=False, now=now)
        version = (
            None
            if stale is None or not isinstance(before, MemoryRecord)
            else (before.version - stale)
        )
        answer = self._call(
            "update", scope, record_id, expected_version=version, include_agents=agents, **given
        )
        if not isinstance(before, MemoryRecord):
            assert type(answer) is before
        elif stale:
            assert isinstance(answer, ConflictError), answer
        elif choices.is_never(
            {"valid_from": before.valid_from, "valid_to": before.valid_to} | given
        ):
            assert isinstance(answer, ValidationError), answer
        else:
            if "namespace" in given:
                given["namespace"] = choices.NAMESPACES[given["namespace"]]
            space = self._at(scope.tenant).space.id
            after = self.model.change(next_version(before, given, now=now, space=space))
            assert isinstance(answer, MemoryRecord), answer
            assert exact(answer) == exact(after)

    @rule(several=st.lists(stored, min_size=1, max_size=3), agents=st.booleans())
    def delete(self, several: list[Target], agents: bool) -> None:
        """What is within reach of the first one's scope goes, and is counted."""
        scope = several[0][0]
        ids = [record_id for _, record_id in several]
        gone = [
            record
            for record in self.model.within(
                scope, any_agent=agents, only_session=False, now=self.clock.now()
            )
            if record.id in ids
        ]
        answer = self._call("delete", scope, [*ids, "nobody", ids[0]], include_agents=agents)
        assert answer == len(gone)
        self.model.remove(gone)

    @precondition(lambda self: len(self.model.records) >= _MUCH)
    @rule(scope=choices.scopes())
    def forget(self, scope: Scope) -> None:
        """All that the scope contains goes, expired records too, and is counted."""
        gone = self.model.whole(scope, now=None)
        answer = self._call("forget", scope)
        assert not isinstance(answer, MemlaneError), answer
        assert (answer.found, answer.deleted) == (len(gone), len(gone))
        assert (answer.failed, answer.verified_empty) == ((), True)
        self.model.remove(gone)
        self._check_empty(scope)

    @rule(by=st.sampled_from((timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=8))))
    def time_passes(self, by: timedelta) -> None:
        """Records expire by themselves."""
        self.clock.advance(by)

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        """What was stored is there for the next client on the same place."""
        self._shut()
        self._client = self._open()
