"""What the state machine asks: get, list, count, retrieve, context, and pages with pauses."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from memlane.errors import MemlaneError
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._machine import MachineBase, Reading, Target, named, stored
from memlane.testing._recall import as_they_stood, check_context, check_matches, wanted_by
from memlane.testing._records import exact
from memlane.testing.model import below, held_at
from memlane.types import MemoryRecord, NamespaceQuery, RetrievalMode, RetrievalOptions

__all__ = ("ReadingRules",)


class ReadingRules(MachineBase):
    """Rules that change nothing."""

    @rule(target_=stored, agents=st.booleans(), session=st.booleans(), other=choices.scopes())
    def get(self, target_: Target, agents: bool, session: bool, other: Scope) -> None:
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
        scope=choices.scopes(),
        namespace=st.none() | choices.namespaces(),
        condition=choices.conditions(),
        limit=st.integers(1, 5),
    )
    def list_and_count(
        self, scope: Scope, namespace: str | None, condition: choices.Condition, limit: int
    ) -> None:
        """Pages, the iterator and the count agree with the model."""
        expected = sorted(map(named, self._listed(scope, namespace, condition)))
        found: list[MemoryRecord] = []
        cursor: str | None = None
        while True:
            page = self._call(
                "list", scope, namespace=namespace, filter=condition.given, cursor=cursor,
                limit=limit,
            )  # fmt: skip
            assert not isinstance(page, MemlaneError), page
            assert len(page.items) <= limit
            found += page.items
            if (cursor := page.cursor) is None:
                break
            assert len(page.items) == limit
        assert sorted(map(named, found)) == expected
        iterated = self._run(self._iterated(scope, namespace, condition))
        assert [named(record) for record in iterated] == [named(record) for record in found]
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
        self._reading = Reading(scope, condition, limit)
        self._reading.there = {*map(named, self._listed(scope, None, condition))}
        self._read_on()

    @precondition(lambda self: self._reading is not None)
    @rule()
    def go_on_reading(self) -> None:
        """The next page: what was there all the time is met once, wherever the cursor stands."""
        self._read_on()

    def _read_on(self) -> None:
        reading = self._reading
        assert reading is not None
        now = {*map(named, self._listed(reading.scope, None, reading.condition))}
        reading.there &= now
        page = self._call(
            "list", reading.scope, filter=reading.condition.given, cursor=reading.cursor,
            limit=reading.limit,
        )  # fmt: skip
        assert not isinstance(page, MemlaneError), page
        reading.seen += map(named, page.items)
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
        limit=st.sampled_from((500, 500, 3, 1)),
        agents=st.booleans(),
        session=st.booleans(),
        nearness=st.sampled_from((None, None, None, 0.4)),
        back=choices.moments(),
    )
    def retrieve(  # noqa: PLR0917 - hypothesis passes them by name
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
        back: timedelta | None,
    ) -> None:
        """Recall answers with records within reach, best first, and misses none it should find."""
        only = session and scope.session is not None
        if mode == "text":
            nearness = None  # of words alone nothing is near, and asking for it is refused
        now = self.clock.now()
        moment = None if back is None else now + back
        near = self.model.within(scope, any_agent=agents, only_session=only, now=now)
        path = choices.NAMESPACES[namespace or "/"]
        then, found = as_they_stood(
            self.model, near, now=now, moment=moment, session=scope.session if only else None,
            holds=lambda record: below(record.namespace, path) and condition.holds(record),
        )  # fmt: skip
        options = RetrievalOptions(include_agents=agents, only_session=only, as_of=moment)
        asked: dict[str, object] = {
            "filter": condition.given, "mode": mode, "limit": limit, "options": options,
            "min_similarity": nearness, "namespace": namespace,
        }  # fmt: skip
        matches = self._call("retrieve", scope, query, **asked)
        assert not isinstance(matches, MemlaneError), matches
        wanted = wanted_by(query, found, mode=mode, min_similarity=nearness)
        check_matches(
            matches, then, wanted, limit=limit, mode=mode, min_similarity=nearness,
            may_be_more=moment is not None,
        )  # fmt: skip
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
            and held_at(record, self.clock.now())
        ]
        check_matches(matches, eligible, eligible, limit=limit, mode="hybrid", min_similarity=None)
