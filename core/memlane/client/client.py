"""The client as a whole: what it is made of, how it opens and how it closes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self, cast, get_args

from memlane.admin import TenantAdmin
from memlane.calls import Ready
from memlane.client.keeping import Keeping
from memlane.client.recalling import Recalling
from memlane.client.storing import Storing
from memlane.embeddings import Embeddings
from memlane.errors import ValidationError
from memlane.images import Pictures
from memlane.keeper import Keeper
from memlane.limits import Limits
from memlane.metering import last_receipt
from memlane.powers import SupportsClose, SupportsEnter
from memlane.protocols import Capabilities, Clock, Embedder, EmbeddingSpace, Redactor, VectorBackend
from memlane.reader import Reader
from memlane.receipts import CallReceipt
from memlane.redaction import Redacting
from memlane.retention import Retention
from memlane.retrieval import Retriever
from memlane.runtime import SystemClock, WorkerThreads
from memlane.scope import Scope, Tenancy, check_tenancy
from memlane.scoped import ScopedMemory
from memlane.telemetry import Observer
from memlane.trust import TrustPolicy
from memlane.writer import Writer

__all__ = ("MemoryClient",)

_TENANCIES = frozenset(get_args(Tenancy))


class MemoryClient(Storing, Recalling, Keeping):
    """Long-term memory for agents.

    Bound to no event loop: one client serves asyncio and trio, several loops, and, through
    `memlane_plain.SyncMemoryClient`, synchronous code. Nothing is opened before the first call.

    Args:
        backend: Where records live.
        embedder: How texts become vectors.
        tenancy: Whether a scope must, may or must not name a tenant.
        clock: When it is.
        limits: Bounds to keep.
        redactor: Takes out of texts what must not be kept, before they are embedded or stored.
        trust: What may be recalled, and how it is labelled.
        retention: How long, and how much of it, is kept where nobody says else.
        sweep_every: How often expired records are deleted in the background, tenants that this
            client stored something for; None leaves it to `admin(tenant).sweep()`.
        on_receipt: Told what each call took, on the loop that made the call.
        owned: Parts this client closes with itself; what somebody else opened is left open.

    Raises:
        ValidationError: One of these is not what it must be.
    """

    def __init__(
        self,
        *,
        backend: VectorBackend,
        embedder: Embedder,
        tenancy: Tenancy = "optional",
        clock: Clock | None = None,
        limits: Limits | None = None,
        redactor: Redactor | None = None,
        trust: TrustPolicy | None = None,
        retention: Retention | None = None,
        sweep_every: timedelta | None = None,
        on_receipt: Callable[[CallReceipt], object] | None = None,
        owned: Sequence[SupportsClose] = (),
    ) -> None:
        if tenancy not in _TENANCIES:
            raise ValidationError(
                f"unknown tenancy {tenancy!r}", remedy=f"pass one of {sorted(_TENANCIES)}"
            )
        if trust is not None and not isinstance(cast("object", trust), TrustPolicy):
            raise ValidationError(
                f"trust must be a TrustPolicy, not {type(trust).__name__}",
                remedy="pass TrustPolicy(...), or leave it out",
            )
        if on_receipt is not None and not callable(cast("object", on_receipt)):
            raise ValidationError(
                f"on_receipt must be a function, not {type(on_receipt).__name__}",
                remedy="pass a function of one CallReceipt, or leave it out",
            )
        self._tenancy: Tenancy = tenancy
        self._backend = backend
        self._clock: Clock = clock or SystemClock()
        self._limits = limits or Limits()
        self._owned = tuple(owned)
        self._workers = WorkerThreads("memlane-rank", self._limits.rank_threads)
        self._embeddings = Embeddings(
            embedder, workers=self._workers, cached_queries=self._limits.cached_queries
        )
        self._pictures = Pictures(seen=self._embeddings.sees_pictures, space=embedder.space.id)
        self._redacting = Redacting(redactor)
        self._retriever = Retriever(backend, self._embeddings, self._workers, trust=trust)
        self._reader = Reader(backend)
        self._writer = Writer(
            backend, self._embeddings, clock=self._clock, batch=self._limits.batch
        )
        self._ready = Ready(backend, embedder, per_user=tenancy == "per-user")
        self._keeper = Keeper(
            backend,
            retention,
            clock=self._clock,
            every=sweep_every,
            per_user=tenancy == "per-user",
        )
        self._observer = Observer(
            backend=backend.capabilities.name, model=embedder.space.id, on_receipt=on_receipt
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the backend can do."""
        return self._backend.capabilities

    @property
    def space(self) -> EmbeddingSpace:
        """The embedding space new records are stored in."""
        return self._embeddings.space

    @property
    def tenancy(self) -> Tenancy:
        """What is demanded of a scope's tenant."""
        return self._tenancy

    @property
    def limits(self) -> Limits:
        """The bounds this client keeps."""
        return self._limits

    async def __aenter__(self) -> Self:
        for part in self._owned:
            if isinstance(part, SupportsEnter):
                await part.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was accepted and close what this client owns; may be called twice."""
        await self._keeper.aclose()
        for part in self._owned:
            await part.aclose()
        self._workers.close()
        self._pictures.close()

    def admin(self, tenant: str | None) -> TenantAdmin:
        """Return what is done for a tenant as a whole, by whoever runs the service."""
        return TenantAdmin(
            self._backend,
            tenant,
            space=self.space,
            clock=self._clock,
            tenancy=self._tenancy,
            call=self._call,
            moved=self._unlearn,
            forgotten=self._forget_tenant,
        )

    def scoped(self, scope: Scope) -> ScopedMemory:
        """Return the same verbs for one scope, to hand to code that must not choose it."""
        return ScopedMemory(self, check_tenancy(scope, self._tenancy, operation="scoped"))

    def last_receipt(self) -> CallReceipt | None:
        """Return what the last call of this task, or of this thread, took; None before the first.

        A task that was started by another begins with what the other one knew.
        """
        return last_receipt()

    def _unlearn(self, scope: Scope) -> None:
        self._ready.discard(scope)
        self._embeddings.forget_tenant(scope.tenant)

    def _forget_tenant(self, scope: Scope) -> None:
        self._unlearn(scope)
        self._keeper.forget_tenant(scope)
