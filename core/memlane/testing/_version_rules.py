"""What the state machine asks of a record's past, and of what says the same again."""

from __future__ import annotations

import json
from datetime import datetime

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, rule

from memlane.errors import ConflictError, NotFoundError
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._machine import MachineBase, Target, stored
from memlane.testing._records import exact
from memlane.testing.model import restored_from
from memlane.types import MemoryRecord, NewMemory

__all__ = ("VersionRules",)


class VersionRules(MachineBase):
    """Rules about versions."""

    @rule(target_=stored, agents=st.booleans(), session=st.booleans(), other=choices.scopes())
    def history(self, target_: Target, agents: bool, session: bool, other: Scope) -> None:
        """Whoever reaches a record reaches what it was, and nobody else does."""
        for scope in (target_[0], other):
            only = session and scope.session is not None
            expected = self.model.one(
                target_[1], scope, any_agent=agents, only_session=only, now=self.clock.now()
            )
            answer = self._call(
                "history", scope, target_[1], include_agents=agents, only_session=only
            )
            if isinstance(expected, MemoryRecord):
                self._check_history(expected, answer, session=scope.session if only else None)
            else:
                assert type(answer) is expected

    @rule(
        target_=stored,
        back=st.integers(0, 3),
        stale=st.sampled_from((None, None, 0, 1)),
        agents=st.booleans(),
    )
    def restore(self, target_: Target, back: int, stale: int | None, agents: bool) -> None:
        """What a record said becomes its next version; its end and its place in trust stay."""
        scope, record_id = target_
        now = self.clock.now()
        before = self.model.one(record_id, scope, any_agent=agents, only_session=False, now=now)
        have = before.version if isinstance(before, MemoryRecord) else 1
        wanted = max(1, have - back) if back < 3 else have + 1
        expected = None if stale is None else have - stale
        answer = self._call(
            "restore", scope, record_id, version=wanted, expected_version=expected,
            include_agents=agents,
        )  # fmt: skip
        if not isinstance(before, MemoryRecord):
            assert type(answer) is before
            return
        if stale:
            assert isinstance(answer, ConflictError), answer
            return
        history = self.model.history(before)
        # Of two under one number the record has the other one's words already.
        meant = [old for old in (*history[1:], before) if old.version == wanted]
        if not meant:
            assert isinstance(answer, NotFoundError), answer
            return
        space = self._at(scope.tenant).space.id
        after = self.model.change(restored_from(before, meant[0], now=now, space=space))
        assert isinstance(answer, MemoryRecord), answer
        assert exact(answer) == exact(after)

    @rule(target=stored, item=choices.new_memories(), scope=choices.scopes())
    def collapse(self, item: NewMemory, scope: Scope) -> MultipleResults[Target] | Target:
        """What is there in the same words is returned, and nothing stored beside it."""
        same = [
            record
            for record in self.model.within(
                scope, any_agent=False, only_session=False, now=self.clock.now()
            )
            if exact_words(record, item) and serves(record, item, self.clock.now())
        ]
        answer = self._call(
            "store", scope, item.content, duplicates="collapse", namespace=item.namespace,
            kind=item.kind, actor=item.actor, metadata=item.metadata,
        )  # fmt: skip
        assert isinstance(answer, MemoryRecord), answer
        there = self.model.at(answer.scope, answer.id)
        if there is None:
            assert not same, "stored once more"
            bare = NewMemory(
                content=item.content,
                namespace=item.namespace,
                kind=item.kind,
                actor=item.actor,
                metadata=item.metadata,
            )
            return self._accept(bare, scope, answer)
        assert exact(answer) == exact(there)
        assert serves(there, item, self.clock.now())
        assert sorted(there.text.lower().split()) == sorted(str(item.content).lower().split())
        return multiple()


def exact_words(record: MemoryRecord, item: NewMemory) -> bool:
    """Say whether a record says what a new one would, word for word."""
    return (record.text, record.kind, record.namespace, record.actor) == (
        item.content,
        item.kind,
        choices.NAMESPACES[item.namespace],
        item.actor,
    )


def serves(record: MemoryRecord, item: NewMemory, now: datetime) -> bool:
    """Say whether a record, kept for ever and true for ever, has all that a new one would say."""
    wanted = item.metadata or {}
    return (
        (record.expires_at, record.valid_from, record.valid_to) == (None, None, None)
        and record.source == "app"
        and not record.images
        and record.occurred_at <= now
        and all(
            name in record.metadata
            and json.dumps(record.metadata[name], sort_keys=True)
            == json.dumps(value, sort_keys=True)
            for name, value in wanted.items()
        )
    )
