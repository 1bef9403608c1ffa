"""A state machine whose calls meet faults: how one is made, and what it may have left behind."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import anyio

from memlane.client import MemoryClient
from memlane.errors import BackendError, PartialWriteError
from memlane.limits import Limits
from memlane.powers import SupportsClose, SupportsTenants, SupportsVersions
from memlane.protocols import Embedder, EmbeddingSpace, IndexedRecord, VectorBackend
from memlane.receipts import ForgetReceipt
from memlane.scope import Reach, Scope
from memlane.testing import _choices as choices
from memlane.testing._doubts import Doubts, PartsOracle, place_of, read_everything
from memlane.testing._life_rules import LifeRules
from memlane.testing._machine import EVERYBODY, OTHER, backend_of, named
from memlane.testing._records import exact, past
from memlane.testing.fakes import HashingEmbedder
from memlane.testing.faults import Fault, Faults, FaultyBackend, FaultyEmbedder, Step
from memlane.testing.model import Address, MemoryModel, next_version, restored_from
from memlane.testing.wrappers import WrappedBackend
from memlane.types import MemoryRecord, NewMemory

__all__ = ("CANCELLED", "READING", "FaultyMachineBase", "LostError", "MakeBackend")

T = TypeVar("T")

MakeBackend: TypeAlias = Callable[[Path], VectorBackend]
"""Makes a backend that keeps what it must keep in the given folder."""

CANCELLED: Final = object()
"""What a cancelled call answers."""

_PATIENCE: Final = 60  # seconds; a call that takes longer waits for something that never comes
_BATCH: Final = 3  # so that `store_many` takes several
_WRITES: Final = frozenset({"upsert", "delete"})
_LONG: Final = frozenset({"forget", "forget_tenant", "import_records", "sweep"})
"""Verbs that may have done something before their last step."""


READING: Final[dict[str, tuple[Step, ...]]] = {
    "get": ("fetch",),
    "list": ("scan",),
    "iterate": ("scan",),
    "count": ("scan", "count"),
    "history": ("fetch", "versions"),
    "export": ("scan", "versions"),
    "retrieve": ("embed", "query", "fetch", "versions", "ensure_index"),
    "context": ("embed", "query", "fetch", "ensure_index"),
    "users": ("users",),
    "stats": ("stats",),
    "plan_reembed": ("pending", "users", "scan", "stats"),
}
"""Verbs that change nothing, and the steps they may fail at."""


class LostError(Exception):
    """A call met its fault; what it changed is written down as a doubt."""


class _Prepared(WrappedBackend):
    """Refuses what is stored before the tenant's index was ensured, as a service would."""

    def __init__(self, inner: VectorBackend) -> None:
        super().__init__(inner)
        self._tenants: set[str | None] = set()

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        await super().ensure_index(scope=scope, space=space)
        self._tenants.add(scope.tenant)

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        assert scope.tenant in self._tenants, f"no index was made for {scope}"
        await super().upsert(records, scope=scope, expected_version=expected_version)

    async def forget_tenant(self, *, scope: Scope) -> ForgetReceipt:
        """Forget that the tenant's index was ensured, too, if the inner backend can do it."""
        assert isinstance(self.inner, SupportsTenants), "nobody else is asked to"
        try:
            return await self.inner.forget_tenant(scope=scope)
        finally:
            self._tenants.discard(scope.tenant)


class FaultyMachineBase(LifeRules):
    """Runs calls into faults, and settles what they did when somebody asks the model."""

    make_backend: ClassVar[MakeBackend]

    def __init__(self) -> None:
        self._faults = Faults()
        self._armed: Fault | None = None
        self._doubts: Doubts | None = None
        self._oracle = PartsOracle(HashingEmbedder(), HashingEmbedder(OTHER))
        self._abandoned: list[MemoryClient] = []
        super().__init__()

    @property
    def model(self) -> MemoryModel:
        """What should be there, without any doubt."""
        self._settle()
        return self._model

    def teardown(self) -> None:
        """Compare everything once more, then let go."""
        try:
            for client in self._abandoned:
                self._run(client.aclose())
        finally:
            super().teardown()
            self._oracle.close()

    def _open(self) -> MemoryClient:
        self._inner = type(self).make_backend(self._folder)
        return self._over(self._inner, owned=[self._inner])

    def _over(self, inner: VectorBackend, *, owned: Sequence[object] = ()) -> MemoryClient:
        return MemoryClient(
            backend=FaultyBackend(_Prepared(inner), self._faults),
            embedder=FaultyEmbedder(HashingEmbedder(max_batch=4), self._faults),
            clock=self.clock,
            limits=Limits(batch=_BATCH),
            owned=[part for part in owned if isinstance(part, SupportsClose)],
        )

    def _open_twin(self) -> MemoryClient:
        return MemoryClient(
            backend=backend_of(self._client),
            embedder=FaultyEmbedder(HashingEmbedder(OTHER, max_batch=4), self._faults),
            clock=self.clock,
            limits=Limits(batch=_BATCH),
        )

    def _elsewhere(self, tenant: str | None) -> Embedder:
        return FaultyEmbedder(super()._elsewhere(tenant), self._faults)

    def _run(self, waiting: Awaitable[Any] | AsyncIterator[Any]) -> Any:
        return super()._run(self._patient(waiting))

    async def _patient(self, waiting: Awaitable[Any] | AsyncIterator[Any]) -> Any:
        answer: Any = CANCELLED
        with anyio.fail_after(_PATIENCE), self._faults.caller():
            if isinstance(waiting, AsyncIterator):
                answer = [record async for record in waiting]
            else:
                answer = await waiting
        return answer

    def _fail(self, fault: Fault, follow: Callable[[], T]) -> tuple[T | None, bool]:
        """Follow a rule whose next call may meet a fault; return what it returns, and if it did."""
        self._armed = fault
        try:
            return follow(), False
        except LostError:
            return None, True
        finally:
            self._armed = None

    def _call(self, verb: str, scope: Scope, *args: object, **options: object) -> Any:
        fault, self._armed = self._armed, None
        if fault is None:
            self._settle()  # before it adds to what there is
            return super()._call(verb, scope, *args, **options)
        doubts = None if verb in READING else self._doubts_about(verb, scope, args, options)
        call = functools.partial(super()._call, verb, scope, *args, **options)
        answer, met = self._meet(fault, call)
        if not met:
            return answer
        if verb == "forget" and isinstance(answer, ForgetReceipt):
            self._take_forgotten(answer, scope)
            raise LostError
        self._check_failure(answer, fault, verb, scope)
        if doubts is None:
            self._doubts = self._doubts or Doubts()
            raise LostError
        if isinstance(answer, PartialWriteError):
            assert verb == "store_many", f"{verb}: {answer!r}"
            doubts = self._take_partial(answer, args[0], scope)  # type: ignore[arg-type] # its items
        if verb == "reembed":
            raise LostError  # it may be between two places, where only the next call finds it
        certain = fault.moment == "before" or fault.step not in _WRITES
        if verb in _LONG or not certain or (verb == "store_many" and answer is CANCELLED):
            self._doubts = doubts
        else:
            self._doubts = Doubts()  # nothing was done, or the error says what
        if answer is CANCELLED:
            self._raze(self._settle())
        raise LostError

    def _meet(self, fault: Fault, call: Callable[[], Any]) -> tuple[Any, bool]:
        """Return what a call answers, and whether it met the fault: it may not go so far."""
        self._faults.plan(fault)
        try:
            return call(), bool(self._faults.met)
        finally:
            self._faults.clear()

    def _check_failure(self, answer: object, fault: Fault, verb: str, scope: Scope) -> None:
        """Fail unless the caller was told, in the right words and no others."""
        if fault.moment == "cancel":
            assert answer is CANCELLED, f"{verb} went on after it was cancelled: {answer!r}"
            return
        assert isinstance(answer, BackendError | PartialWriteError), f"{fault} became {answer!r}"
        assert answer.operation == verb, f"{verb}: {answer.operation}"
        assert answer.scope == scope, f"{answer!r} is about {answer.scope}, not {scope}"
        said = f"{answer!s} {answer!r}".lower()
        for secret in (*choices.VOCABULARY, *({scope.user} - {"-"})):
            assert secret not in said, f"an error says {secret!r}: {said}"

    def _doubts_about(
        self, verb: str, scope: Scope, args: Sequence[Any], options: dict[str, Any]
    ) -> Doubts:
        """Return what a call may change."""
        model, now = self.model, self.clock.now()
        if verb == "store":
            return self._coming([NewMemory(content=args[0], **options)], scope)
        if verb == "store_many":
            return self._coming(args[0], scope)
        if verb == "update":
            return self._changed(args[0], scope, **options)
        if verb == "delete":
            agents = options.get("include_agents", False)
            near = model.within(scope, any_agent=agents, only_session=False, now=now)
            return Doubts(going={place_of(record) for record in near if record.id in args[0]})
        if verb == "restore":
            return self._restored(args[0], scope, **options)
        if verb == "import_records":
            return Doubts(chains=[one.chain for one in self._coming_now])
        if verb in {"forget_tenant", "sweep", "reembed"}:
            expired = None if verb == "forget_tenant" else now
            going = model.of_tenant(scope.tenant, expired=expired)
            return Doubts(going={place_of(record) for record in going})
        if verb == "abandon_reembed":
            return Doubts()
        assert verb == "forget", verb
        return Doubts(going={place_of(record) for record in model.whole(scope, now=None)})

    def _coming(self, items: Sequence[NewMemory], scope: Scope) -> Doubts:
        return Doubts([
            (replace(self._expect(item, scope), id=item.record_id or ""), item.idempotency_key)
            for item in items
            if self._forecast(item, scope) == "new"
        ])  # fmt: skip

    def _changed(
        self,
        record_id: str,
        scope: Scope,
        *,
        expected_version: int | None,
        include_agents: bool,
        **given: Any,
    ) -> Doubts:
        now, space = self.clock.now(), self._at(scope.tenant).space.id
        before = self.model.one(
            record_id, scope, any_agent=include_agents, only_session=False, now=now
        )
        if not isinstance(before, MemoryRecord):
            return Doubts()
        if expected_version not in {None, before.version}:
            return Doubts()
        if "namespace" in given:
            given["namespace"] = choices.NAMESPACES[given["namespace"]]
        return Doubts([(next_version(before, given, now=now, space=space), None)])

    def _restored(
        self,
        record_id: str,
        scope: Scope,
        *,
        version: int,
        expected_version: int | None,
        include_agents: bool,
    ) -> Doubts:
        now, space = self.clock.now(), self._at(scope.tenant).space.id
        before = self.model.one(
            record_id, scope, any_agent=include_agents, only_session=False, now=now
        )
        if not isinstance(before, MemoryRecord) or expected_version not in {None, before.version}:
            return Doubts()
        olds = [old for old in self.model.history(before) if old.version == version]
        return Doubts(
            [(restored_from(before, old, now=now, space=space), None) for old in olds[-1:]]
        )

    def _take_partial(
        self, error: PartialWriteError, items: Sequence[NewMemory], scope: Scope
    ) -> Doubts:
        """Take what `store_many` says it stored, a beginning of its items; doubt the others."""
        done = len(error.stored)
        assert 0 < done <= len(items), f"{error!r}"
        forecasts = [self._forecast(item, scope) for item in items]
        for item, forecast, record in zip(items, forecasts, error.stored, strict=False):
            if isinstance(forecast, MemoryRecord):
                assert exact(record) == exact(forecast)
            else:
                assert forecast == "new", f"stored over another: {record}"
                self._accept(item, scope, record)
        return self._coming(items[done:], scope)

    def _take_forgotten(self, receipt: ForgetReceipt, scope: Scope) -> None:
        """Take that a scope was forgotten in spite of a fault: what was not told is not counted."""
        gone = self.model.whole(scope, now=None)
        assert (receipt.failed, receipt.verified_empty) == ((), True), receipt
        assert receipt.found == receipt.deleted <= len(gone), receipt
        self.model.remove(gone)
        self._check_empty(scope)

    def _settle(self) -> set[Address]:
        """Read the backend, past the client and the faults, if there is a doubt."""
        doubts, self._doubts = self._doubts, None
        if doubts is None:
            return set()
        there = self._run(self._read(doubts))
        for place, record in there.items():
            before = self._model.records.get(place)
            if self._reading is not None and record.version == 1 and before != record:
                self._reading.there.discard(named(record))  # it is new, as in `_accept`
        touched = doubts.settle(self._model, there)
        self._run(self._look_back())
        return touched

    async def _read(self, doubts: Doubts | None = None) -> dict[Address, MemoryRecord]:
        """Return all there is; fail on vectors and words that are not those of their text."""
        there = await read_everything(self._inner, EVERYBODY)
        for place, item in there.items():
            # What an import has not come to the end of has the words of no text yet.
            if doubts is None or not doubts.is_halfway(place, item.record):
                await self._oracle.check(item)
        return {place: item.record for place, item in there.items()}

    async def _look_back(self) -> None:
        """Fail unless all that records were is there, expired ones' too, and nothing else."""
        if not isinstance(self._inner, SupportsVersions):
            return
        for place, record in self._model.records.items():
            if record.version > 1:
                reach = replace(Reach.point(record.scope, now=self.clock.now()), now=None)
                kept = await self._inner.versions(record.id, reach=reach)
                expected = [*reversed(self._model.kept.get(place, ()))]
                assert [*map(past, kept)] == [*map(past, expected)]

    def _raze(self, places: set[Address]) -> None:
        """Take away what a cancelled call may have done: whether it did is a race.

        The histories of one seed are the same in every run, whoever wins.
        """
        gone = [record for place, record in self._model.records.items() if place in places]
        for record in gone:
            reach = replace(Reach.point(record.scope, now=self.clock.now()), now=None)
            assert self._run(self._inner.delete([record.id], reach=reach)) == 1
        self._model.remove(gone)
