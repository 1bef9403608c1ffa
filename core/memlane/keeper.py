"""Keeps a store within its retention, beside the calls that fill it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from memlane.errors import ValidationError
from memlane.layout import normalize_namespace
from memlane.powers import SupportsAdmin
from memlane.protocols import Clock, VectorBackend
from memlane.retention import Retention, check_interval
from memlane.rooms import Rooms
from memlane.runtime import Later, Repeating
from memlane.scope import Scope
from memlane.types import MemoryRecord, NewMemory

__all__ = ("Keeper",)

_TENANTS: Final = 10_000  # swept in the background; more are for `admin(tenant).sweep()`

_ROOMY: Final = nullcontext()  # where nothing is counted, which is nearly always

_log = logging.getLogger(__name__)


class Keeper:
    """Gives records their end, makes room, and sweeps in the background.

    Args:
        backend: Where records live.
        retention: What to keep to.
        clock: When it is.
        every: How often to sweep; None is never.
        per_user: Each user has an index, and is swept apart.
        later: How to wait between two sweeps, for tests.

    Raises:
        ValidationError: `every` is no positive length of time.
    """

    def __init__(
        self,
        backend: VectorBackend,
        retention: Retention | None,
        *,
        clock: Clock,
        every: timedelta | None,
        per_user: bool = False,
        later: Later | None = None,
    ) -> None:
        if retention is not None and not isinstance(cast("object", retention), Retention):
            raise ValidationError(
                f"retention must be a Retention, not {type(retention).__name__}",
                remedy="pass Retention(namespaces={...})",
            )
        self._retention = retention
        self._clock = clock
        self._per_user = per_user
        self._rooms: Rooms | None = None
        if retention is not None and retention.max_records is not None:
            self._rooms = Rooms(backend, retention.max_records, retention.when_full, clock=clock)
        self._is_refusing = retention is not None and retention.when_full == "refuse"
        self._due: OrderedDict[tuple[str | None, str], Scope] = OrderedDict()
        self._sweeping: Repeating | None = None
        if every is not None:
            seconds = check_interval(every, name="sweep_every").total_seconds()
            if isinstance(backend, SupportsAdmin):
                self._sweeper = backend
                self._sweeping = Repeating(self._sweep, seconds, later=later)

    def timed(self, items: Iterable[NewMemory]) -> Iterable[NewMemory]:
        """Return items with the end that retention gives those without one.

        What is none, or lies nowhere, is left as it is: the writer refuses it.
        """
        if self._retention is None:
            return items
        if isinstance(items, NewMemory) or not isinstance(cast("object", items), Iterable):
            return items
        return [self._timed(item, self._retention) for item in items]

    def _timed(self, item: NewMemory, retention: Retention) -> NewMemory:
        if (
            not isinstance(cast("object", item), NewMemory)
            or item.ttl is not None
            or item.expires_at is not None
        ):
            return item
        try:
            path = normalize_namespace(item.namespace)
        except ValidationError:
            return item
        ttl = retention.ttl(path)
        return item if ttl is None else replace(item, ttl=ttl)

    def room(
        self, wanted: Iterable[NewMemory], *, scope: Scope
    ) -> AbstractAsyncContextManager[None]:
        """Return a block to store what is wanted in, where there is room for it.

        Raises:
            QuotaExceededError: The scope is full, and the policy is to refuse.
        """
        rooms = self._rooms
        if rooms is None or not self._is_refusing or not isinstance(wanted, Sequence):
            return _ROOMY
        return _checked(rooms, wanted, scope)

    async def stored(self, records: Sequence[MemoryRecord], *, scope: Scope) -> None:
        """Make room after something was stored, and have its tenant swept from now on.

        What is durable is not said to have failed: where no room can be made, the next call does.
        """
        if self._sweeping is not None and any(each.expires_at is not None for each in records):
            self.watch(scope)
        if self._rooms is None or self._is_refusing:
            return
        try:
            await self._rooms.make(records, scope)
        except Exception as error:  # noqa: BLE001 - told in the log: it would be stored once more
            name = type(error).__name__
            _log.warning("making room failed with %s and is tried again at the next store", name)

    def changed(self, record: MemoryRecord) -> None:
        """Take note that a record is another version, which may end sooner or go later."""
        if record.expires_at is not None:
            self.watch(record.scope)
        if self._rooms is not None:
            self._rooms.changed(record.scope)

    def watch(self, scope: Scope) -> None:
        """Have a tenant swept from now on: something of it has an end."""
        if self._sweeping is not None:
            self._remember(scope)
            self._sweeping.start()

    def forget(self, scope: Scope) -> None:
        """Drop what is known of a user who was forgotten."""
        if self._rooms is not None:
            self._rooms.forget(scope)

    def forget_tenant(self, scope: Scope) -> None:
        """Drop what is known of a tenant that was forgotten."""
        for key in [key for key in list(self._due) if key[0] == scope.tenant]:
            self._due.pop(key, None)
        if self._rooms is not None:
            # Whose each is cannot be told from its key.
            self._rooms.forget_all()

    async def aclose(self) -> None:
        """Stop sweeping."""
        if self._sweeping is not None:
            await self._sweeping.stop()

    def _remember(self, scope: Scope) -> None:
        # The user says nothing where all of a tenant's lie in one index, and is not kept.
        user = scope.user if self._per_user else "-"
        key = (scope.tenant, user)
        if key not in self._due:
            self._due[key] = Scope(user, tenant=scope.tenant)
            while len(self._due) > _TENANTS:
                self._due.popitem(last=False)

    async def _sweep(self) -> None:
        for scope in list(self._due.values()):
            try:
                await self._sweeper.sweep(scope=scope, now=self._clock.now())
            except Exception as error:  # noqa: BLE001 - the other tenants still have their turn
                name = type(error).__name__
                _log.warning("sweeping a tenant failed with %s and is tried again later", name)


@asynccontextmanager
async def _checked(rooms: Rooms, wanted: Sequence[NewMemory], scope: Scope) -> AsyncGenerator[None]:
    async with rooms.turn(scope):
        await rooms.check(wanted, scope)
        yield
