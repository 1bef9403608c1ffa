"""What memlane asks of the parts it is given. Implementations fit these; they do not inherit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from memlane.filters import Filter
from memlane.receipts import Redaction
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = (
    "Candidates",
    "Capabilities",
    "Clock",
    "CredentialProvider",
    "Credentials",
    "Embedder",
    "EmbeddingSpace",
    "IndexedRecord",
    "Purpose",
    "RecordPart",
    "Redactor",
    "ScanPage",
    "VectorBackend",
    "VectorQuery",
)

Vector: TypeAlias = npt.NDArray[np.float32]
Terms: TypeAlias = npt.NDArray[np.uint32]
Codes: TypeAlias = npt.NDArray[np.int32]
Integers: TypeAlias = npt.NDArray[np.int64]

MAX_MODEL_BYTES = 64
"""Longer model names, such as ARNs, are shortened to a beginning and a hash."""

Purpose = Literal["document", "query"]
"""What a text is embedded for; some models treat the two differently."""


class Clock(Protocol):
    """Time, injected so that tests own it."""

    def now(self) -> datetime:
        """Return the wall clock as an aware UTC datetime."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpace:
    """Where vectors may be compared: the same model, dimensions and treatment.

    Args:
        model: The model's name with what makes its vectors differ, such as its quantisation.
        dimensions: Components per vector.
        normalized: Whether vectors have length one.
        purposes: Whether documents and queries are embedded differently.
    """

    model: str
    dimensions: int
    normalized: bool = True
    purposes: bool = False

    @property
    def id(self) -> str:
        """Short stable name, stamped on each record: `model:dimensions` and marks."""
        marks = ("" if self.normalized else ":raw") + (":purposes" if self.purposes else "")
        model = self.model
        if len(model.encode()) > MAX_MODEL_BYTES:
            # The id is filtered by, among bytes that are counted.
            digest = hashlib.sha256(model.encode()).hexdigest()[:16]
            model = f"{model.encode()[: MAX_MODEL_BYTES - 17].decode(errors='ignore')}~{digest}"
        return f"{model}:{self.dimensions}{marks}"


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space the vectors belong to."""
        ...

    @property
    def max_batch(self) -> int:
        """Texts per call at most; the client cuts longer lists."""
        ...

    @property
    def max_chars(self) -> int:
        """Characters per text at most; the client cuts longer texts into windows."""
        ...

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        """Return float32 of shape (len(inputs), dimensions), a row per text, in order."""
        ...


@runtime_checkable
class Redactor(Protocol):
    """Takes out of a text what must not be kept, before it is embedded, stored or queued."""

    async def redact(self, text: str) -> Redaction:
        """Return the text as it may be kept, and what was found in it.

        Raises:
            RedactedError: It may not be kept at all.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a request is signed with. Its text shows no secret.

    Args:
        access_key: The key's id.
        secret_key: The key itself.
        session_token: What temporary credentials carry besides.
        expires_at: When they end, aware; None for never.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


@runtime_checkable
class CredentialProvider(Protocol):
    """Fetches credentials for a scope's tenant. It fetches only: the cache around it refreshes."""

    async def __call__(self, scope: Scope) -> Credentials:
        """Return fresh credentials.

        Raises:
            IsolationError: What came is another tenant's.
            CredentialsError: None can be had.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPart:
    """One vector of a record. The first part is the whole text, others are its windows.

    Args:
        start: First character of the part in the record's text.
        end: One past its last character.
        vector: float32 of shape (dimensions,).
        terms: Hashes of the part's stemmed words, repeats included; see `lexical.terms`.
    """

    start: int
    end: int
    vector: Vector
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRecord:
    """A record with what makes it findable.

    Args:
        record: The record.
        parts: Its vectors; empty where they were not asked for.
        replaces: The version that this one takes the place of, to be kept in its history; None
            where nothing is to be kept. Never set on what a backend returns.
        instead_of: An expired record whose id this one takes; it goes with its history. Never set
            on what a backend returns, nor together with `replaces`.
    """

    record: MemoryRecord
    parts: tuple[RecordPart, ...]
    replaces: MemoryRecord | None = None
    instead_of: MemoryRecord | None = None

    @property
    def over(self) -> MemoryRecord | None:
        """The record whose place this one takes, as its writer has read it."""
        return self.replaces or self.instead_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do, for `memlane info` and for the client's choices.

    Args:
        name: The backend's name in messages.
        exact: Queries consider every record in reach; False for approximate indexes.
        atomic_conditions: `expected_version` holds even against other processes.
        max_batch: Records per upsert or delete at most.
        isolation: What keeps tenants apart: "credentials" or this library's own checks.
    """

    name: str
    exact: bool
    atomic_conditions: bool
    max_batch: int = 1000
    isolation: Literal["credentials", "checks"] = "checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorQuery:
    """What to look for. A backend finds candidates; ranking them is not its business.

    Args:
        vector: float32 of shape (dimensions,); None when only words count.
        terms: Hashes of the query's words; empty when only the vector counts.
        space: Id of the embedding space; records of another are not candidates.
        limit: How many of the nearest (and, if it can, of the best by words) to return at least.
        records: How many records the answer needs, should the parts of fewer fill `limit`.
        actor: Look only at what this actor said.
        namespace: Look only in this subtree.
        filter: Look only at records that meet this condition.
    """

    vector: Vector | None
    terms: Terms
    space: str
    limit: int
    records: int = 0
    actor: str | None = None
    namespace: str = "/"
    filter: Filter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Columns over what a query found: one row per part, rows of one record together.

    Rows are in stored order (`order` does not decrease), so that within a session the row before
    is what was said before.

    Args:
        record_ids: Record of each row, n of them.
        agents: Agent of each row; with the id it names a record of the user.
        parts: int32 (n,): 0 is the whole text, k its k-th window.
        spans: int64 (n, 2): first character and one past the last of each part.
        distances: float32 (n,): cosine distance 0..2; NaN when the query had no vector.
        terms: uint32: the term hashes of all rows, one after the other.
        offsets: int64 (n + 1,): where each row's terms begin in `terms`.
        actors: int32 (n,): index into `actor_names`, -1 for nobody.
        actor_names: The actors that occur.
        sessions: int32 (n,): equal numbers are equal sessions, -1 for none.
        order: int64 (n,): position in stored order, equal for the rows of one record and no others.
        occurred: int64 (n,): whole minutes since the epoch of `layout`.
        complete: Every record in reach that meets the query's conditions is here.
        records: The records, row by row, where they came for free; else None and `fetch` is asked.
        directions: Given row numbers, k of them, returns float32 (k, m) of length one whose inner
            products are the cosines between those rows' vectors, exactly or nearly (a backend that
            keeps sketches says how nearly); None where a backend cannot tell.
    """

    record_ids: Sequence[str]
    agents: Sequence[str | None]
    parts: Codes
    spans: Integers
    distances: Vector
    terms: Terms
    offsets: Integers
    actors: Codes
    actor_names: Sequence[str]
    sessions: Codes
    order: Integers
    occurred: Integers
    complete: bool
    records: Sequence[MemoryRecord] | None = None
    directions: Callable[[Sequence[int]], Vector] | None = None

    def __len__(self) -> int:
        return len(self.record_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPage:
    """Some of what is in reach, in the backend's own stable order.

    Args:
        records: The records; without vectors.
        cursor: Where the next page begins, in the backend's own words; None is the end.
    """

    records: tuple[MemoryRecord, ...]
    cursor: str | None


@runtime_checkable
class VectorBackend(Protocol):
    """Where records and their vectors live. Every call is bounded by a scope or a reach.

    A write is durable when its call returns. Empty means empty; whatever else goes wrong raises a
    `MemlaneError`. A backend never ranks, and never widens a reach.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        ...

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        """Make sure that vectors of `space` can be stored for the scope's tenant.

        Raises:
            EmbeddingSpaceError: The tenant's records belong to another space.
        """
        ...

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        """Store records of one tenant, user and agent, replacing those with the same ids.

        Args:
            records: All of `scope`'s tenant, user and agent; their sessions may differ.
            scope: Whose they are.
            expected_version: None replaces whatever is there; 0 demands that no such record
                exists; n that each is at version n and, where it names what it replaces or is
                there instead of, still that very record: an id that was forgotten and stored
                anew is at version 1 again.

        Raises:
            ConflictError: `expected_version` does not hold; nothing was written.
            PartialWriteError: Only some of several were stored, where that is not one step.
        """
        ...

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        """Return at least the `limit` nearest candidates within reach, unranked."""
        ...

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        """Return those of the records that exist within reach, in no particular order.

        With `reach.any_agent` one id may name a record of each of several agents.
        """
        ...

    async def scan(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
        cursor: str | None = None,
        limit: int = 100,
    ) -> ScanPage:
        """Return the next records within reach; a page may be short without being the last."""
        ...

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        """Delete records within reach and return how many existed."""
        ...
