"""Where the state machine stands: a client, a clock, a model, and how an answer is got."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from memlane.client import MemoryClient
from memlane.errors import MemlaneError
from memlane.protocols import Clock
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._records import exact
from memlane.testing.fakes import FakeClock
from memlane.testing.model import MemoryModel
from memlane.types import MemoryRecord, NewMemory

__all__ = ("EVERYBODY", "MachineBase", "MakeClient", "Reading", "Target", "named", "stored")

MakeClient: TypeAlias = Callable[[Clock, Path], MemoryClient]
"""Makes a client that owns its backend, and keeps what it must keep in the given folder."""

Target: TypeAlias = tuple[Scope, str]
"""A scope, and the id of a record stored from it."""

stored: Bundle[Target] = Bundle("stored")
"""What was stored so far, some of it gone since."""

EVERYBODY = tuple(
    Scope(user, tenant=tenant) for user in ("u1", "u10") for tenant in (None, "t", "T")
)
"""Users of whom the machine keeps books, whole."""


class Reading:
    """A listing under way."""

    def __init__(self, scope: Scope, condition: choices.Condition, limit: int) -> None:
        self.scope = scope
        self.condition = condition
        self.limit = limit
        self.cursor: str | None = None
        self.there: set[tuple[str, str]] = set()
        self.seen: list[tuple[str, str]] = []


def named(record: MemoryRecord) -> tuple[str, str]:
    """Return what names a record of a user."""
    return record.scope.agent or "", record.id


class MachineBase(RuleBasedStateMachine):
    """Holds one client for one history."""

    make_client: ClassVar[MakeClient]
    durable: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self._model = MemoryModel()
        self._folder = Path(tempfile.mkdtemp(prefix="memlane-machine-"))
        self._runner = asyncio.Runner()
        self._client = self._open()
        self._reading: Reading | None = None

    @property
    def model(self) -> MemoryModel:
        """What should be there."""
        return self._model

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
        # Not `Runner.run`: it asks for the signal handler, and so for the repr of the last answer.
        return self._runner.get_loop().run_until_complete(waiting)

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

    def _accept(self, item: NewMemory, scope: Scope, record: object) -> Target:
        """Take a stored record into the model, after comparing it with what was asked for."""
        assert isinstance(record, MemoryRecord), record
        if item.record_id is not None:
            assert record.id == item.record_id
        else:
            there = self.model.at(scope, record.id)
            assert there is None or not self._is_alive(there), "an id was given out twice"
        expected = exact(self._expect(item, scope))
        assert exact(record) == expected | {"id": record.id}
        self.model.put(record, key=item.idempotency_key)
        if self._reading is not None:
            self._reading.there.discard(named(record))  # it is new, whoever had the id before
        return scope, record.id

    def _is_alive(self, record: MemoryRecord) -> bool:
        return record.expires_at is None or record.expires_at > self.clock.now()

    def _forecast(self, item: NewMemory, scope: Scope) -> MemoryRecord | str:
        """Say what storing an item should lead to: "new", "conflict", or a record."""
        there = None
        if item.record_id is not None:
            there = self.model.at(scope, item.record_id)
        elif item.idempotency_key is not None:
            there = self.model.keyed(scope, item.idempotency_key)
        if there is None or not self._is_alive(there):
            return "new"
        if item.idempotency_key is not None and there.text == item.content:
            return there
        return "conflict"

    @rule()
    def everything_is_there(self) -> None:
        """Every user's records are those of the model, field by field."""
        for scope in EVERYBODY:
            page = self._run(self._client.list(scope=scope, limit=1_000))
            found = {named(record): exact(record) for record in page.items}
            expected = self.model.whole(scope, now=self.clock.now())
            assert found == {named(record): exact(record) for record in expected}
