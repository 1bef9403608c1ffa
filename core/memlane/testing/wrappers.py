"""Backends around a backend: what fails, waits, counts or lies is composed, not flagged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar, cast

from memlane.columns import candidates_of
from memlane.filters import Filter
from memlane.powers import (
    PendingPage,
    SupportsActors,
    SupportsClose,
    SupportsCount,
    SupportsErase,
    SupportsRemains,
    SupportsScrub,
)
from memlane.protocols import (
    Candidates,
    Capabilities,
    EmbeddingSpace,
    IndexedRecord,
    ScanPage,
    VectorBackend,
    VectorQuery,
)
from memlane.receipts import Residue
from memlane.runtime import Answer, expect
from memlane.scope import Reach, Scope
from memlane.testing._powered import Operation, powered

__all__ = (
    "CountingBackend",
    "FailingBackend",
    "GatedBackend",
    "LyingBackend",
    "Operation",
    "WrappedBackend",
)

T = TypeVar("T")


class WrappedBackend:
    """A backend that hands every call to another; a wrapper overrides `before`, or `around`.

    It has the powers of the inner backend. `actors` and `scrub` it always has: what the inner
    backend cannot do is answered by reading it.

    Args:
        inner: The backend that does the work.
    """

    _hidden: ClassVar[tuple[type, ...]] = ()
    """Powers it does not have, whatever the inner backend has."""

    def __init__(self, inner: VectorBackend) -> None:
        # What asks for a power looks at the class, so that each set of powers has one of its own.
        self.__class__ = powered(type(self), inner, hidden=self._hidden)
        self.inner = inner

    async def before(self, operation: Operation) -> None:
        """Be told of a call before the inner backend is; may wait, or raise instead."""

    async def around(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of the inner backend and return its answer."""
        await self.before(operation)
        return await call()

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner backend."""
        return self.inner.capabilities

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        await self.around("ensure_index", lambda: self.inner.ensure_index(scope=scope, space=space))

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        await self.around(
            "upsert",
            lambda: self.inner.upsert(records, scope=scope, expected_version=expected_version),
        )

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        return await self.around("query", lambda: self.inner.query(query, reach=reach))

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        return await self.around(
            "fetch", lambda: self.inner.fetch(record_ids, reach=reach, vectors=vectors)
        )

    async def scan(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> ScanPage:
        return await self.around(
            "scan",
            lambda: self.inner.scan(
                reach=reach, namespace=namespace, filter=filter, cursor=cursor, limit=limit
            ),
        )

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        return await self.around("delete", lambda: self.inner.delete(record_ids, reach=reach))

    async def actors(self, *, reach: Reach) -> Sequence[str]:
        """Return the distinct actors within reach, sorted."""
        return await self.around("actors", lambda: self._actors(reach))

    async def _actors(self, reach: Reach) -> Sequence[str]:
        if isinstance(self.inner, SupportsActors):
            return await self.inner.actors(reach=reach)
        names: set[str] = set()
        cursor: str | None = None
        while True:
            page = await self.inner.scan(reach=reach, cursor=cursor)
            names.update(record.actor for record in page.records if record.actor is not None)
            if (cursor := page.cursor) is None:
                return sorted(names)

    async def scrub(self, *, scope: Scope) -> Residue:
        """Scrub the inner backend, if it can; else nobody knows."""
        return await self.around("scrub", lambda: self._scrub(scope))

    async def _scrub(self, scope: Scope) -> Residue:
        if isinstance(self.inner, SupportsScrub):
            return await self.inner.scrub(scope=scope)
        return "unknown"

    async def aclose(self) -> None:
        """Close the inner backend, if it holds anything."""
        if isinstance(self.inner, SupportsClose):
            await self.inner.aclose()


class CountingBackend(WrappedBackend):
    """Counts calls.

    Attributes:
        calls: How often each was made.
    """

    def __init__(self, inner: VectorBackend) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self.calls: Counter[Operation] = Counter()

    async def before(self, operation: Operation) -> None:
        with self._lock:
            self.calls[operation] += 1


class FailingBackend(WrappedBackend):
    """Fails when told to; the inner backend hears nothing of a failed call."""

    def __init__(self, inner: VectorBackend) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._faults: dict[Operation, tuple[int, int, Exception]] = {}

    def fail(
        self, operation: Operation, error: Exception, *, after: int = 0, times: int = 1
    ) -> None:
        """Let `times` calls raise `error`, once `after` more have succeeded."""
        with self._lock:
            self._faults[operation] = (after, times, error)

    async def before(self, operation: Operation) -> None:
        with self._lock:
            after, times, error = self._faults.get(operation, (0, 0, None))
            if error is None:
                return
            if after:
                self._faults[operation] = (after - 1, times, error)
                return
            if times > 1:
                self._faults[operation] = (0, times - 1, error)
            else:
                del self._faults[operation]
        raise error


class GatedBackend(WrappedBackend):
    """Holds calls of one operation at the door, whatever thread or event loop they come from.

    Args:
        inner: The backend that does the work.
        operation: What to hold.

    Attributes:
        waiting: How many calls came to the closed door, those that were cancelled there too.
    """

    def __init__(self, inner: VectorBackend, operation: Operation) -> None:
        super().__init__(inner)
        self._operation = operation
        self._lock = threading.Lock()
        self._gate = _Bell()
        self._arrived = _Bell()
        self.waiting = 0

    async def before(self, operation: Operation) -> None:
        if operation == self._operation and not self._gate.rung:
            with self._lock:
                self.waiting += 1
            self._arrived.ring()
            await self._gate.wait()

    async def arrived(self) -> None:
        """Wait until a call stands at the door."""
        await self._arrived.wait()

    def open(self) -> None:
        """Let all calls through, those that wait and those to come; from any thread."""
        self._gate.ring()


class _Bell:
    """An event that tasks of any loop wait for, none of them blocking its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Answer[None]] = []
        self.rung = False

    def ring(self) -> None:
        with self._lock:
            self.rung = True
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.set_result(None)

    async def wait(self) -> None:
        with self._lock:
            if self.rung:
                return
            listener: Answer[None] = expect()
            self._listeners.append(listener)
        await listener.wait(lambda: True)


class LyingBackend(WrappedBackend):
    """Returns foreign records with its own: what a client must never believe.

    It neither counts nor names ids, nor erases what it does not show: nobody could tell that a
    number or a name is a lie.

    Args:
        inner: The backend that does the work.
        foreign: Records to slip into each answer, whatever the call's reach.
        whole: Queries bring the records themselves, not only columns that lead to `fetch`.
    """

    _hidden = (SupportsCount, SupportsErase, SupportsRemains)

    def __init__(
        self, inner: VectorBackend, foreign: Sequence[IndexedRecord], *, whole: bool = True
    ) -> None:
        super().__init__(inner)
        self._foreign = tuple(foreign)
        self._whole = whole

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        del reach
        wide = replace(query, namespace="/", filter=None, actor=None)
        found = candidates_of(self._foreign, wide)
        return found if self._whole else replace(found, records=None)

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        found = [*await self.inner.fetch(record_ids, reach=reach, vectors=vectors)]
        return [*found, *(item for item in self._foreign if item.record.id in record_ids)]

    async def scan(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> ScanPage:
        page = await self.inner.scan(
            reach=reach, namespace=namespace, filter=filter, cursor=cursor, limit=limit
        )
        theirs = tuple(item.record for item in self._foreign)
        return ScanPage(records=page.records + theirs, cursor=page.cursor)

    async def around(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        answer: Any = await super().around(operation, call)
        theirs = tuple(item.record for item in self._foreign)
        if operation == "versions":
            answer = [*answer, *theirs]
        elif operation == "pending":
            answer = PendingPage(records=answer.records + theirs, cursor=answer.cursor)
        return cast("T", answer)
