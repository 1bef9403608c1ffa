"""What every verb of a client stands on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from memlane.calls import Call, Ready
from memlane.embeddings import Embeddings
from memlane.images import Pictures
from memlane.keeper import Keeper
from memlane.limits import Limits
from memlane.powers import SupportsClose
from memlane.protocols import Clock, VectorBackend
from memlane.reader import Reader
from memlane.redaction import Redacting
from memlane.retrieval import Retriever
from memlane.runtime import WorkerThreads
from memlane.scope import Reach, Scope, Tenancy
from memlane.telemetry import Observer
from memlane.types import Match, MemoryRecord
from memlane.writer import Writer

__all__ = ("ClientParts", "Ids", "Matches", "Records")

# A method called `list` would hide the type inside a class body.
Matches: TypeAlias = Sequence[Match]
Records: TypeAlias = Sequence[MemoryRecord]
Ids: TypeAlias = str | Iterable[str]


class ClientParts:
    """What `MemoryClient` is made of, for the classes that hold its verbs."""

    _backend: VectorBackend
    _clock: Clock
    _embeddings: Embeddings
    _keeper: Keeper
    _limits: Limits
    _observer: Observer
    _owned: Sequence[SupportsClose]
    _pictures: Pictures
    _reader: Reader
    _ready: Ready
    _redacting: Redacting
    _retriever: Retriever
    _tenancy: Tenancy
    _workers: WorkerThreads
    _writer: Writer

    def _call(self, operation: str, scope: Scope) -> Call:
        """Refuse a scope this client does not serve, and let errors name verb and scope."""
        return Call(operation, scope, self._tenancy, self._ready, self._observer)

    def _point(self, scope: Scope, include_agents: bool, only_session: bool) -> Reach:
        now = self._clock.now()
        return Reach.point(scope, now=now, include_agents=include_agents, only_session=only_session)
