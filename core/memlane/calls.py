"""What every verb does first and last: whose call it is, and what its errors say."""

from __future__ import annotations

from types import TracebackType

from memlane.errors import MemlaneError, TenantNotOnboardedError
from memlane.metering import Meter, current
from memlane.powers import SupportsWarm
from memlane.protocols import Embedder, VectorBackend
from memlane.scope import Scope, Tenancy, check_tenancy
from memlane.telemetry import Observer, Span

__all__ = ("Call", "Ready")

_MOST = 10_000  # a set of names; beyond it they are checked again


class Ready:
    """The tenants, or with an index for each user the users, whose index is known to stand.

    Args:
        backend: Where the indexes are.
        embedder: Whose vectors they are for.
        per_user: Each user has an index.
    """

    __slots__ = ("_backend", "_embedder", "_known", "_per_user", "_warming")

    def __init__(self, backend: VectorBackend, embedder: Embedder, *, per_user: bool) -> None:
        self._backend = backend
        self._embedder = embedder
        self._per_user = per_user
        self._known: set[object] = set()
        # Asked once: looking a protocol's methods up takes longer than most of what they do.
        self._warming = backend if isinstance(backend, SupportsWarm) else None

    async def ensure(self, scope: Scope) -> None:
        """Let the scope's index be made or looked at, once; later begin what a call will need."""
        name = self._name(scope)
        if name in self._known:
            if self._warming is not None:
                self._warming.warm(scope)
            return
        await self._backend.ensure_index(scope=scope, space=self._embedder.space)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known.add(name)

    def discard(self, scope: Scope) -> None:
        """Ask for it again the next time."""
        self._known.discard(self._name(scope))

    def _name(self, scope: Scope) -> object:
        return (scope.tenant, scope.user) if self._per_user else scope.tenant


class Call:
    """A block in which errors say which verb was asked for, and about whose memory.

    Not a generator's context manager: that costs several times as much, with each call.

    Args:
        operation: The verb.
        scope: Whose memory.
        tenancy: What a scope must, may or must not name.
        ready: Told when the index turns out to be gone.
        observer: Told of the call, unless it is part of another one.

    Raises:
        ScopeError: The scope is none that this client serves.
    """

    __slots__ = ("_meter", "_observer", "_operation", "_ready", "_scope", "_span")

    def __init__(
        self, operation: str, scope: Scope, tenancy: Tenancy, ready: Ready, observer: Observer
    ) -> None:
        self._operation = operation
        self._scope = check_tenancy(scope, tenancy, operation=operation)
        self._ready = ready
        self._observer = observer
        self._meter: Meter | None = None
        self._span: Span | None = None

    def __enter__(self) -> None:
        if current() is not None:
            return  # a verb that another one calls is part of that one
        self._meter = meter = Meter(self._operation, self._scope.tenant)
        self._span = self._observer.begin(self._operation, self._scope)
        meter.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        meter = self._meter
        if meter is not None:
            meter.stop(error)
            self._observer.end(self._span, meter, error)
        if not isinstance(error, MemlaneError):
            return
        error.operation = self._operation
        if error.scope is None:
            error.scope = self._scope
        if isinstance(error, TenantNotOnboardedError):
            self._ready.discard(self._scope)
