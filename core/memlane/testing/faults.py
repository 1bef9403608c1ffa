"""Faults by plan: a call that is refused, done by half, done and not told, or cancelled."""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel

from memlane.errors import BackendError, ValidationError
from memlane.powers import SupportsReembed, SupportsTenants
from memlane.protocols import (
    Embedder,
    EmbeddingSpace,
    IndexedRecord,
    Purpose,
    Vector,
    VectorBackend,
)
from memlane.scope import Reach, Scope
from memlane.testing.wrappers import Operation, WrappedBackend
from memlane.types import MemoryRecord

__all__ = ("Fault", "Faults", "FaultyBackend", "FaultyEmbedder", "Moment", "Step")

T = TypeVar("T")

_Call: TypeAlias = "functools.partial[Any]"
_NO_TIME = datetime.min.replace(tzinfo=UTC)

Moment: TypeAlias = Literal["after", "before", "cancel", "partway"]
"""When a call fails, seen from the part that was to do it.

- `before`: it hears nothing of the call.
- `partway`: it does the first half of a batch of `upsert`, `delete` or `shadow`, of `sweep` and of
  `forget_tenant` those users that come first; others fail as `before`.
- `after`: it does the call, and the answer is lost.
- `cancel`: the caller is cancelled while it waits; how much is done is the part's own business.
"""

Step: TypeAlias = Operation | Literal["embed"]
"""A call of a backend or an embedder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One call that goes wrong.

    Args:
        step: Which call.
        moment: When it fails.
        skip: Calls of the step that go well before.
    """

    step: Step
    moment: Moment
    skip: int = 0


async def _nothing() -> None:
    """Do no part of a call."""


class Faults:
    """What is to go wrong in the backend and the embedder that share this plan.

    Attributes:
        met: What has gone wrong since the last `clear`, in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[tuple[Fault, Exception]] = []
        self._caller: anyio.CancelScope | None = None
        self.met: list[Fault] = []

    def plan(self, fault: Fault, *, error: Exception | None = None) -> None:
        """Let one call fail.

        Args:
            fault: Which, and when.
            error: What it raises, a `BackendError` if None; nothing is raised on `cancel`.
        """
        with self._lock:
            self._planned.append((fault, error or BackendError("a fault was planned here")))

    def clear(self) -> None:
        """Forget what was planned and met."""
        with self._lock:
            self._planned, self.met = [], []

    @contextmanager
    def caller(self) -> Generator[anyio.CancelScope]:
        """Say who is cancelled by a `cancel`: the block, which ends there without an error."""
        before = self._caller
        with anyio.CancelScope() as scope:
            self._caller = scope
            try:
                yield scope
            finally:
                self._caller = before

    async def meet(
        self,
        step: Step,
        call: Callable[[], Awaitable[T]],
        half: Callable[[], Awaitable[object]] = _nothing,
    ) -> T:
        """Make a call, unless it is its turn to fail."""
        due = self._due(step)
        if due is None:
            return await call()
        fault, error = due
        await anyio.lowlevel.checkpoint()  # as what takes time does: others go on meanwhile
        if fault.moment == "cancel":
            self._cancel()
            self.met.append(fault)
            try:
                return await call()
            finally:
                await anyio.lowlevel.checkpoint()  # here, if the call never waited itself
        if fault.moment == "after":
            await call()
        elif fault.moment == "partway":
            await half()
        self.met.append(fault)
        raise error

    def _due(self, step: Step) -> tuple[Fault, Exception] | None:
        with self._lock:
            for place, (fault, error) in enumerate(self._planned):
                if fault.step != step:
                    continue
                if fault.skip:
                    self._planned[place] = replace(fault, skip=fault.skip - 1), error
                    return None
                del self._planned[place]
                return fault, error
            return None

    def _cancel(self) -> None:
        if self._caller is None:
            raise ValidationError(
                "there is nobody to cancel", remedy="make the call inside `with faults.caller():`"
            )
        self._caller.cancel()


def _is_forwarded(call: object) -> bool:
    return isinstance(call, functools.partial)


async def _half_of_shadow(inner: VectorBackend, call: _Call) -> None:
    assert isinstance(inner, SupportsReembed)
    (records,) = call.args
    await inner.shadow(records[: len(records) // 2], **call.keywords)


async def _half_of_sweep(inner: VectorBackend, call: _Call) -> None:
    now: datetime = call.keywords["now"]
    await _delete_of_some(
        inner,
        call.keywords["scope"],
        lambda record: record.expires_at is not None and record.expires_at <= now,
    )


async def _half_of_tenant(inner: VectorBackend, call: _Call) -> None:
    await _delete_of_some(inner, call.keywords["scope"], lambda _: True)


async def _delete_of_some(
    inner: VectorBackend, tenant: Scope, is_meant: Callable[[MemoryRecord], bool]
) -> None:
    """Delete records of the users that come first, half of all of them."""
    if not isinstance(inner, SupportsTenants):
        return
    page = await inner.users(scope=tenant, limit=1_000)
    for user in page.names[: (len(page.names) + 1) // 2]:
        reach = Reach.whole(Scope(user, tenant=tenant.tenant), now=None)
        found = await inner.scan(reach=reach, limit=1_000)
        for record in found.records:
            if is_meant(record):  # one by one: an id may be of several agents, not all meant
                own = replace(Reach.point(record.scope, now=_NO_TIME), now=None)
                await inner.delete([record.id], reach=own)


_HALVES: Mapping[Step, Callable[[VectorBackend, _Call], Awaitable[None]]] = {
    "forget_tenant": _half_of_tenant,
    "shadow": _half_of_shadow,
    "sweep": _half_of_sweep,
}


class FaultyBackend(WrappedBackend):
    """Fails by plan.

    Args:
        inner: The backend that does the work.
        faults: The plan.
    """

    def __init__(self, inner: VectorBackend, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    async def around(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        half, whole = _HALVES.get(operation), cast("Any", call)
        if half is None or not _is_forwarded(call):
            return await self._faults.meet(operation, call)
        return await self._faults.meet(operation, call, lambda: half(self.inner, whole))

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        async def write(some: Sequence[IndexedRecord]) -> None:
            if some:
                await self.inner.upsert(some, scope=scope, expected_version=expected_version)

        await self._faults.meet(
            "upsert", lambda: write(records), lambda: write(records[: len(records) // 2])
        )

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        return await self._faults.meet(
            "delete",
            lambda: self.inner.delete(record_ids, reach=reach),
            lambda: self.inner.delete(record_ids[: len(record_ids) // 2], reach=reach),
        )


class FaultyEmbedder:
    """Fails by plan, as the step "embed".

    Args:
        inner: The embedder that does the work.
        faults: The plan.
    """

    def __init__(self, inner: Embedder, faults: Faults) -> None:
        self.inner = inner
        self._faults = faults

    @property
    def space(self) -> EmbeddingSpace:
        """That of the inner embedder."""
        return self.inner.space

    @property
    def max_batch(self) -> int:
        """That of the inner embedder."""
        return self.inner.max_batch

    @property
    def max_chars(self) -> int:
        """That of the inner embedder."""
        return self.inner.max_chars

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        return await self._faults.meet("embed", lambda: self.inner.embed(inputs, purpose=purpose))
