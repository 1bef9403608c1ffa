"""Where the state machine stands: a client, a clock, a model, and how an answer is got."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from memlane.client import MemoryClient
from memlane.errors import MemlaneError
from memlane.powers import SupportsRemains, SupportsVersions
from memlane.protocols import Clock, VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing import _choices as choices
from memlane.testing._records import exact, past
from memlane.testing.fakes import FakeClock, HashingEmbedder
from memlane.testing.model import MemoryModel
from memlane.types import MemoryRecord, NewMemory

__all__ = (
    "ADMIN",
    "EVERYBODY",
    "OTHER",
    "TENANTS",
    "MachineBase",
    "MakeClient",
    "Reading",
    "Target",
    "backend_of",
    "named",
    "nobody",
    "stored",
)

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

TENANTS = (None, "t", "T")

OTHER = 32
"""Dimensions of the space that tenants are taken to, and from there back again."""

ADMIN = frozenset(
    {"abandon_reembed", "forget_tenant", "plan_reembed", "reembed", "stats", "sweep", "users"}
)
"""Verbs of `client.admin(tenant)`."""


def nobody(tenant: str | None) -> Scope:
    """Return the scope that errors name where a tenant is meant as a whole."""
    return Scope("-", tenant=tenant)


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
    moving: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self._model = MemoryModel()
        self._folder = Path(tempfile.mkdtemp(prefix="memlane-machine-"))
        self._runner = asyncio.Runner()
        self._twin: MemoryClient | None = None
        self._moved: set[str | None] = set()
        """Tenants that are in the other space."""
        self._shadows: dict[str | None, bool | None] = {}
        """Tenants that are on their way, or None where only the backend knows."""
        self._client = self._open()
        self._model.keeps = isinstance(backend_of(self._client), SupportsVersions)
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
            self._shut()
            self._runner.close()
            shutil.rmtree(self._folder)

    def _shut(self) -> None:
        for client in (self._twin, self._client):
            if client is not None:
                self._run(client.aclose())
        self._twin = None

    def _open(self) -> MemoryClient:
        return type(self).make_client(self.clock, self._folder)

    def _open_twin(self) -> MemoryClient:
        """Return a client of the other space over the same backend."""
        return MemoryClient(
            backend=backend_of(self._client), embedder=HashingEmbedder(OTHER), clock=self.clock
        )

    def _at(self, tenant: str | None, *, moved: bool | None = None) -> MemoryClient:
        """Return the client of the space that a tenant is in, or of the one it is said to be in."""
        if tenant in self._moved if moved is None else moved:
            self._twin = self._twin or self._open_twin()
            return self._twin
        return self._client

    def _run(self, waiting: Coroutine[Any, Any, Any] | AsyncIterator[Any]) -> Any:
        # Not `Runner.run`: it asks for the signal handler, and so for the repr of the last answer.
        if isinstance(waiting, AsyncIterator):
            waiting = _all_of(waiting)
        return self._runner.get_loop().run_until_complete(waiting)

    def _call(self, verb: str, scope: Scope, *args: object, **options: object) -> Any:
        """Return the verb's answer or its error, asked of the client or of a scoped one."""
        client = self._at(scope.tenant)
        if verb in ADMIN:
            waiting = getattr(client.admin(scope.tenant), verb)(*args, **options)
        elif scope.session == "s2":  # as good a coin as any, and the same one each time
            waiting = getattr(client.scoped(scope), verb)(*args, **options)
        elif verb == "forget":
            waiting = client.forget(scope)
        else:
            waiting = getattr(client, verb)(*args, scope=scope, **options)
        return self._answer(waiting)

    def _answer(self, waiting: Any) -> Any:
        try:
            return self._run(waiting)
        except MemlaneError as error:
            return error

    def _expect(self, item: NewMemory, scope: Scope) -> MemoryRecord:
        now = self.clock.now()
        assert isinstance(item.content, str)
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
            occurred_at=item.occurred_at or now,
            stored_at=now,
            updated_at=now,
            expires_at=None if item.ttl is None else now + item.ttl,
            space=self._at(scope.tenant).space.id,
            valid_from=item.valid_from,
            valid_to=item.valid_to,
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
        if item.idempotency_key is not None and self._was_said(there, item.content):
            return there
        return "conflict"

    def _was_said(self, record: MemoryRecord, text: object) -> bool:
        """Say whether a record is of the event of that text, as far as anybody knows."""
        said = self.model.history(record)
        return said[-1].version > 1 or any(version.text == text for version in said)

    @rule()
    def everything_is_there(self) -> None:
        """Every user's records are those of the model, field by field."""
        for scope in EVERYBODY:
            page = self._run(self._client.list(scope=scope, limit=1_000))
            found = {named(record): exact(record) for record in page.items}
            expected = self.model.whole(scope, now=self.clock.now())
            assert found == {named(record): exact(record) for record in expected}
            for record in expected:
                if record.version > 1:
                    self._check_history(record, self._run(self._history_of(record)))

    async def _history_of(self, record: MemoryRecord) -> Sequence[MemoryRecord]:
        return await self._at(record.scope.tenant).history(record.id, scope=record.scope)

    def _check_history(
        self, record: MemoryRecord, answer: object, *, session: str | None = None
    ) -> None:
        """Fail unless all a record was is there, the newest first."""
        assert not isinstance(answer, MemlaneError), answer
        expected = self.model.history(record, session=session)
        assert [*map(past, answer)] == [*map(past, expected)]  # type: ignore[call-overload] # records

    def _check_empty(self, scope: Scope) -> None:
        """Fail if anything is left of a scope, seen past the client."""
        backend = backend_of(self._client)
        if isinstance(backend, SupportsRemains):
            left = self._run(backend.remains(reach=Reach.whole(scope, now=None)))
            assert not left, f"something of {left} is left"


def backend_of(client: MemoryClient) -> VectorBackend:
    """Return what a client stands on; the powers it has decide what is to be expected."""
    found: VectorBackend = client._backend  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return found


async def _all_of(waiting: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in waiting]
