"""All verbs in any order, against a dictionary: what no single test would have thought of."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from memlane.client import MemoryClient
from memlane.errors import ConflictError, MemlaneError, PartialWriteError
from memlane.protocols import Clock
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._recall import check_context, check_matches, wanted_by
from memlane.testing._records import exact
from memlane.testing.fakes import FakeClock
from memlane.testing.model import MemoryModel, below
from memlane.types import MemoryRecord, NamespaceQuery, NewMemory, RetrievalMode, RetrievalOptions
from memlane.writing import UNSET

__all__ = ("MakeClient", "MemoryMachine", "memory_machine")

MakeClient: TypeAlias = Callable[[Clock, Path], MemoryClient]
"""Makes a client that owns its backend, and keeps what it must keep in the given folder."""

_Target: TypeAlias = tuple[Scope, str]
_EVERYBODY = tuple(
    Scope(user, tenant=tenant) for user in ("u1", "u10") for tenant in (None, "t", "T")
)


class MemoryMachine(RuleBasedStateMachine):
    """Calls verbs of a client, predicts each answer with a `MemoryModel`, and compares."""

    stored: Bundle[_Target] = Bundle("stored")
    make_client: ClassVar[MakeClient]
    durable: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.model = MemoryModel()
        self._folder = Path(tempfile.mkdtemp(prefix="memlane-machine-"))
        self._runner = asyncio.Runner()
        self._client = self._open()
        self._reading: _Reading | None = None

    def teardown(self) -> None:
        """Compare everything once more, then let go."""
        try:
            self.everything_is_there()
        finally:
            self._run(self._client.aclose())
            self._runner.close()
            shutil.rmtree(self._folder)

    def _open(self) -> MemoryClient:
        return type(self).make_client(self.clock, self._folder)

    def _run(self, waiting: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(waiting)

    def _call(self, verb: str, scope: Scope, *args: object, **options: object) -> Any:
        """Return the verb's answer or its error, asked of the client or of a scoped one."""
        if scope.session == "s2":  # as good a coin as any, and the same one each time
            waiting = getattr(self._client.scoped(scope), verb)(*args, **options)
        elif verb == "forget":
            waiting = self._client.forget(scope)
        else:
            waiting = getattr(self._client, verb)(*args, scope=scope, **options)
        try:
            return self._run(waiting)
        except MemlaneError as error:
            return error

    def _expect(self, item: NewMemory, scope: Scope) -> MemoryRecord:
        now = self.clock.now()
        return MemoryRecord(
            id="",
            text=item.content,
            scope=scope,
            namespace=choices.NAMESPACES[item.namespace],
            kind=item.kind,
            metadata=item.metadata or {},
            tags=tuple(sorted(set(item.tags))),
            actor=item.actor,
            source=item.source,
            occurred_at=now,
            stored_at=now,
            updated_at=now,
            expires_at=None if item.ttl is None else now + item.ttl,
            space=self._client.space.id,
        )

    def _accept(self, item: NewMemory, scope: Scope, record: object) -> _Target:
        """Take a stored record into the model, after comparing it with what was asked for."""
        assert isinstance(record, MemoryRecord), record
        if item.record_id is not None:
            assert record.id == item.record_id
        else:
            assert self.model.at(scope, record.id) is None, "an id was given out twice"
        expected = exact(self._expect(item, scope))
        assert exact(record) == expected | {"id": record.id}
        self.model.put(record, key=item.idempotency_key)
        if self._reading is not None:
            self._reading.there.discard(_named(record))  # it is new, whoever had the id before
        return scope, record.id

    def _forecast(self, item: NewMemory, scope: Scope) -> MemoryRecord | str:
        """Say what storing an item should lead to: "new", "conflict", "either", or a record."""
        there = None
        if item.record_id is not None:
            there = self.model.at(scope, item.record_id)
        elif item.idempotency_key is not None:
            there = self.model.keyed(scope, item.idempotency_key)
        if there is None:
            return "new"
        if there not in list(self.model.alive(self.clock.now())):
            return "either"  # whether the id of what has expired is free: not the machine's matter
        if item.idempotency_key is not None and there.text == item.content:
            return there
        return "conflict"

    @initialize(
        target=stored,
        first=st.lists(
            st.tuples(choices.new_memories(), choices.scopes()), min_size=3, max_size=12
        ),
    )
    def begin(self, first: list[tuple[NewMemory, Scope]]) -> object:
        """Some records are there from the beginning."""
        plain = [(replace(i, record_id=None, idempotency_key=None), scope) for i, scope in first]
        answers = [self._call("store_many", scope, [item]) for item, scope in plain]
        return multiple(
            *(
                self._accept(item, scope, answer[0])
                for (item, scope), answer in zip(plain, answers, strict=True)
            )
        )

    @rule(target=stored, item=choices.new_memories(), scope=choices.scopes())
    def store(self, item: NewMemory, scope: Scope) -> object:
        """A new record is stored; a taken id conflicts; a known event is returned again."""
        forecast = self._forecast(item, scope)
        fields = {name: getattr(item, name) for name in item.__slots__ if name != "content"}
        answer = self._call("store", scope, item.content, **fields)
        if isinstance(forecast, MemoryRecord):
            assert isinstance(answer, MemoryRecord), answer
            assert exact(answer) == exact(forecast)
            return multiple()
        if forecast == "conflict" or (forecast == "either" and isinstance(answer, MemlaneError)):
            assert isinstance(answer, ConflictError), answer
            assert "update" in str(answer)
            return multiple()
        return self._accept(item, scope, answer)

    @rule(
        target=stored,
        items=st.lists(choices.new_memories(), min_size=2, max_size=6),
        scope=choices.scopes(),
    )
    def store_many(self, items: list[NewMemory], scope: Scope) -> object:
        """Items are stored in order; after a conflict exactly what the error says is stored."""
        names = [item.record_id or item.idempotency_key for item in items]
        repeated = len({*names} - {None}) < len([name for name in names if name])
        forecasts = [self._forecast(item, scope) for item in items]
        if repeated or "either" in forecasts:
            return multiple()
        answer = self._call("store_many", scope, items)
        if "conflict" in forecasts:
            assert isinstance(answer, ConflictError | PartialWriteError), answer
            records = answer.stored if isinstance(answer, PartialWriteError) else ()
        else:
            assert not isinstance(answer, MemlaneError), answer
            records = tuple(answer)
            assert len(records) == len(items)
        targets: list[_Target] = []
        for item, forecast, record in zip(items, forecasts, records, strict=False):
            if isinstance(forecast, MemoryRecord):
                assert exact(record) == exact(forecast)
            else:
                targets.append(self._accept(item, scope, record))
        return multiple(*targets)

    @rule(target_=stored, agents=st.booleans(), session=st.booleans(), other=choices.scopes())
    def get(self, target_: _Target, agents: bool, session: bool, other: Scope) -> None:
        """A record is found from its own scope, and from any other that reaches it."""
        for scope in (target_[0], other):
            only = session and scope.session is not None
            expected = self.model.one(
                target_[1], scope, any_agent=agents, only_session=only, now=self.clock.now()
            )
            answer = self._call("get", scope, target_[1], include_agents=agents, only_session=only)
            if isinstance(expected, MemoryRecord):
                assert isinstance(answer, MemoryRecord), answer
                assert exact(answer) == exact(expected)
            else:
                assert type(answer) is expected

    @rule(
        target_=stored,
        text=st.none() | choices.texts(),
        metadata=st.none() | choices.metadata(),
        namespace=st.none() | choices.namespaces(),
        expires=st.sampled_from((UNSET, None, timedelta(minutes=5))),
        stale=st.sampled_from((None, 0, 1)),
        others=st.sampled_from(
            ({}, {"kind": "note"}, {"actor": None}, {"tags": ("q", "x")}, {"actor": "Bob"})
        ),
        agents=st.booleans(),
    )
    def update(
        self,
        target_: _Target,
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
        else:
            if "namespace" in given:
                given["namespace"] = choices.NAMESPACES[given["namespace"]]
            after = self.model.change(before, {**given, "updated_at": now})
            assert isinstance(answer, MemoryRecord), answer
            assert exact(answer) == exact(after)

    @rule(several=st.lists(stored, min_size=1, max_size=3), agents=st.booleans())
    def delete(self, several: list[_Target], agents: bool) -> None:
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

    @rule(scope=choices.scopes())
    def forget(self, scope: Scope) -> None:
        """All that the scope contains goes, expired records too, and is counted."""
        gone = self.model.whole(scope, now=None)
        answer = self._call("forget", scope)
        assert not isinstance(answer, MemlaneError), answer
        assert (answer.found, answer.deleted) == (len(gone), len(gone))
        assert (answer.failed, answer.verified_empty) == ((), True)
        self.model.remove(gone)

    @rule(by=st.sampled_from((timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=8))))
    def time_passes(self, by: timedelta) -> None:
        """Records expire by themselves."""
        self.clock.advance(by)

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        """What was stored is there for the next client on the same place."""
        self._run(self._client.aclose())
        self._client = self._open()

    @rule(
        scope=choices.scopes(),
        namespace=st.none() | choices.namespaces(),
        condition=choices.conditions(),
        limit=st.integers(1, 5),
    )
    def list_and_count(
        self, scope: Scope, namespace: str | None, condition: choices.Condition, limit: int
    ) -> None:
        """Pages, the iterator and the count agree with the model."""
        expected = sorted(map(_named, self._listed(scope, namespace, condition)))
        found: list[MemoryRecord] = []
        cursor: str | None = None
        while True:
            page = self._call(
                "list", scope, namespace=namespace, filter=condition.given, cursor=cursor,
                limit=limit,
            )  # fmt: skip
            assert len(page.items) <= limit
            found += page.items
            if (cursor := page.cursor) is None:
                break
            assert len(page.items) == limit
        assert sorted(map(_named, found)) == expected
        iterated = self._run(self._iterated(scope, namespace, condition))
        assert [_named(record) for record in iterated] == [_named(record) for record in found]
        count = self._call("count", scope, namespace=namespace, filter=condition.given)
        assert count == len(expected)

    async def _iterated(
        self, scope: Scope, namespace: str | None, condition: choices.Condition
    ) -> list[MemoryRecord]:
        listing = self._client.iterate(scope=scope, namespace=namespace, filter=condition.given)
        return [record async for record in listing]

    def _listed(
        self, scope: Scope, namespace: str | None, condition: choices.Condition
    ) -> list[MemoryRecord]:
        path = choices.NAMESPACES[namespace or "/"]
        return [
            record
            for record in self.model.whole(scope, now=self.clock.now())
            if below(record.namespace, path) and condition.holds(record)
        ]

    @rule(scope=choices.scopes(), condition=choices.conditions(), limit=st.integers(1, 3))
    def begin_to_read(self, scope: Scope, condition: choices.Condition, limit: int) -> None:
        """A listing begins, to go on after whatever comes next."""
        self._reading = _Reading(scope, condition, limit)
        self._reading.there = {*map(_named, self._listed(scope, None, condition))}
        self._read_on()

    @precondition(lambda self: self._reading is not None)
    @rule()
    def go_on_reading(self) -> None:
        """The next page: what was there all the time is met once, wherever the cursor stands."""
        self._read_on()

    def _read_on(self) -> None:
        reading = self._reading
        assert reading is not None
        now = {*map(_named, self._listed(reading.scope, None, reading.condition))}
        reading.there &= now
        page = self._call(
            "list", reading.scope, filter=reading.condition.given, cursor=reading.cursor,
            limit=reading.limit,
        )  # fmt: skip
        assert not isinstance(page, MemlaneError), page
        reading.seen += map(_named, page.items)
        reading.cursor = page.cursor
        if page.cursor is None:
            for name in reading.there:
                assert reading.seen.count(name) == 1
            self._reading = None

    @rule(
        query=choices.texts(),
        scope=choices.scopes(),
        mode=st.sampled_from(("hybrid", "vector", "text")),
        condition=choices.conditions(),
        namespace=st.none() | choices.namespaces(),
        limit=st.sampled_from((1, 3, 500)),
        agents=st.booleans(),
        session=st.booleans(),
        nearness=st.sampled_from((None, None, 0.4)),
    )
    def retrieve(
        self,
        query: str,
        scope: Scope,
        mode: RetrievalMode,
        condition: choices.Condition,
        namespace: str | None,
        limit: int,
        agents: bool,
        session: bool,
        nearness: float | None,
    ) -> None:
        """Recall answers with records within reach, best first, and misses none it should find."""
        only = session and scope.session is not None
        eligible = [
            record
            for record in self.model.within(
                scope, any_agent=agents, only_session=only, now=self.clock.now()
            )
            if below(record.namespace, choices.NAMESPACES[namespace or "/"])
            and condition.holds(record)
        ]
        options = RetrievalOptions(include_agents=agents, only_session=only)
        asked: dict[str, object] = {
            "filter": condition.given, "mode": mode, "limit": limit, "options": options,
            "min_similarity": nearness, "namespace": namespace,
        }  # fmt: skip
        matches = self._call("retrieve", scope, query, **asked)
        assert not isinstance(matches, MemlaneError), matches
        wanted = wanted_by(query, eligible, mode=mode, min_similarity=nearness)
        check_matches(matches, eligible, wanted, limit=limit, mode=mode, min_similarity=nearness)
        block = self._call("context", scope, query, max_tokens=400, **asked)
        check_context(block, matches, max_tokens=400)

    @rule(query=choices.texts(), scope=choices.scopes(), limit=st.integers(1, 4))
    def retrieve_from_several_namespaces(self, query: str, scope: Scope, limit: int) -> None:
        """Several subtrees are asked at once; a record in two of them is met once."""
        paths = ("/a/", "/a/b/", "/ab/")
        options = RetrievalOptions(namespaces=tuple(NamespaceQuery(path=p) for p in paths))
        matches = self._call("retrieve", scope, query, limit=limit, options=options)
        assert not isinstance(matches, MemlaneError), matches
        eligible = [
            record
            for record in self.model.within(
                scope, any_agent=False, only_session=False, now=self.clock.now()
            )
            if any(below(record.namespace, path) for path in paths)
        ]
        check_matches(matches, eligible, eligible, limit=limit, mode="hybrid", min_similarity=None)

    @rule()
    def everything_is_there(self) -> None:
        """Every user's records are those of the model, field by field."""
        for scope in _EVERYBODY:
            page = self._run(self._client.list(scope=scope, limit=1_000))
            found = {_named(record): exact(record) for record in page.items}
            expected = self.model.whole(scope, now=self.clock.now())
            assert found == {_named(record): exact(record) for record in expected}


class _Reading:
    """A listing under way."""

    def __init__(self, scope: Scope, condition: choices.Condition, limit: int) -> None:
        self.scope = scope
        self.condition = condition
        self.limit = limit
        self.cursor: str | None = None
        self.there: set[tuple[str, str]] = set()
        self.seen: list[tuple[str, str]] = []


def _named(record: MemoryRecord) -> tuple[str, str]:
    return record.scope.agent or "", record.id


def memory_machine(make_client: MakeClient, *, durable: bool = False) -> type[MemoryMachine]:
    """Return a hypothesis state machine over all verbs of a client.

    Run it with `hypothesis.stateful.run_state_machine_as_test`, or give its `TestCase` to pytest.

    Args:
        make_client: Makes a client from a clock and an empty folder; it must own its backend.
        durable: Another client on the same folder finds what was stored; then clients are closed
            and opened again on the way.
    """
    parts = {"make_client": staticmethod(make_client), "durable": durable}
    machine: type[MemoryMachine] = type("MemoryMachine", (MemoryMachine,), parts)
    return machine
