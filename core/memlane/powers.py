"""What some backends and embedders can do besides, each a protocol of its own.

A part that fits one has that power; the client asks with `isinstance`, and does without otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from memlane.filters import Filter
from memlane.protocols import EmbeddingSpace, IndexedRecord, Vector
from memlane.receipts import ForgetReceipt, Residue, TenantStats
from memlane.scope import Reach, Scope
from memlane.types import Image, MemoryRecord

__all__ = (
    "NamePage",
    "PendingPage",
    "SupportsActors",
    "SupportsAdmin",
    "SupportsClose",
    "SupportsCount",
    "SupportsEnter",
    "SupportsErase",
    "SupportsImages",
    "SupportsReembed",
    "SupportsRemains",
    "SupportsScrub",
    "SupportsTenants",
    "SupportsVersions",
    "SupportsWarm",
)


@runtime_checkable
class SupportsActors(Protocol):
    """A backend that knows who has spoken in a scope."""

    async def actors(self, *, reach: Reach) -> Sequence[str]:
        """Return the distinct actors of the records within reach."""
        ...


@runtime_checkable
class SupportsScrub(Protocol):
    """A backend that can take deleted bytes out of its files."""

    async def scrub(self, *, scope: Scope) -> Residue:
        """Remove what deletion left behind and say where bytes may still lie."""
        ...


@runtime_checkable
class SupportsRemains(Protocol):
    """A backend that finds what a deletion that was cut short left behind."""

    async def remains(self, *, reach: Reach, limit: int = 1_000) -> Sequence[str]:
        """Return ids of which anything is left within reach: a record, a window or a version.

        Windows and versions without their record are found, too; `delete` removes them.
        """
        ...


@runtime_checkable
class SupportsErase(Protocol):
    """A backend that deletes a whole scope cheaper than by reading what it deletes."""

    async def erase(self, *, reach: Reach) -> int:
        """Delete all within reach, windows and versions too; return how many records that were.

        Cut short and repeated it finishes. Whoever needs to be sure reads again.
        """
        ...


@runtime_checkable
class SupportsClose(Protocol):
    """A part that holds something to let go of."""

    async def aclose(self) -> None:
        """Finish what was accepted, then release everything; may be called twice."""
        ...


@runtime_checkable
class SupportsCount(Protocol):
    """A backend that counts without handing over what it counts."""

    async def count(
        self,
        *,
        reach: Reach,
        namespace: str = "/",
        filter: Filter | None = None,  # noqa: A002 - the public word for it
    ) -> int:
        """Return how many records `scan` would come by."""
        ...


@runtime_checkable
class SupportsEnter(Protocol):
    """A part that works cheaper on a loop it was introduced to."""

    async def enter(self) -> None:
        """Let the calling event loop have connections of its own until `aclose`."""
        ...


@runtime_checkable
class SupportsWarm(Protocol):
    """A backend that can begin, while a text is embedded, what a query will need."""

    def warm(self, scope: Scope) -> None:
        """Begin to fetch what is missing for `scope`; never waits and never fails."""
        ...


@runtime_checkable
class SupportsAdmin(Protocol):
    """A backend whose tenants are made and kept by somebody with more rights than they have."""

    async def onboard(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Make what a tenant needs; False when it was there. May be called again at any time."""
        ...

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        """Delete the tenant's records that expired at or before `now` and return how many."""
        ...


@runtime_checkable
class SupportsVersions(Protocol):
    """A backend that keeps what an update replaces (`IndexedRecord.replaces`)."""

    async def versions(self, record_id: str, *, reach: Reach) -> Sequence[MemoryRecord]:
        """Return every kept version of the records of that id within reach, the current aside.

        The newest first: by version, then by when it was stored. Of two writers that raced where
        conditions are not atomic both texts are there, perhaps under one number. What a record
        of another reach once was is as much out of reach as the record. At most
        `layout.MAX_VERSIONS` of a record are kept; deleting, forgetting or sweeping a record
        takes its versions with it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePage:
    """Some names in the backend's own stable order.

    Args:
        names: The names, each once over all pages.
        cursor: Where the next page begins; None is the end.
    """

    names: tuple[str, ...]
    cursor: str | None


@runtime_checkable
class SupportsTenants(Protocol):
    """A backend that can look at a tenant as a whole; `scope` names the tenant, its user nobody.

    With an index for each user, a call is about the user that `scope` names.
    """

    async def users(self, *, scope: Scope, cursor: str | None = None, limit: int = 100) -> NamePage:
        """Return users of whom the tenant has records, expired ones too."""
        ...

    async def stats(self, *, scope: Scope, now: datetime) -> TenantStats:
        """Count what the tenant has."""
        ...

    async def forget_tenant(self, *, scope: Scope) -> ForgetReceipt:
        """Delete all that the tenant has, and read again to prove it.

        Interrupted and repeated it ends in the same state: no record, version, window, name or
        note of an embedding space of that tenant is left. Other tenants notice nothing.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPage:
    """Records that the shadow of a tenant does not have yet, as they are now.

    Args:
        records: Of any users and agents of the tenant; without vectors.
        cursor: Where the next page begins; None is the end.
    """

    records: tuple[MemoryRecord, ...]
    cursor: str | None


@runtime_checkable
class SupportsReembed(Protocol):
    """A backend that can take a tenant from one embedding space to another.

    The vectors of the new space gather in a shadow that nobody recalls from, until `cut_over`
    puts them in the old ones' place. Each step may be cut short and repeated, by any process.
    """

    async def begin_reembed(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        """Make the shadow, or find it again.

        Raises:
            ConflictError: There is a shadow of another space; `abandon_reembed` removes it.
            EmbeddingSpaceError: The tenant's records are of that space already.
        """
        ...

    async def pending(
        self, *, scope: Scope, space: EmbeddingSpace, cursor: str | None = None, limit: int = 100
    ) -> PendingPage:
        """Return records that the shadow lacks, or has at another version."""
        ...

    async def shadow(
        self, records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
    ) -> None:
        """Put vectors into the shadow; each record is as `pending` returned it."""
        ...

    async def cut_over(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Put the shadow in the old vectors' place and remove those.

        Returns:
            False when records were stored or changed since they were shadowed; nothing was done.
        """
        ...

    async def abandon_reembed(self, *, scope: Scope) -> bool:
        """Remove a shadow; False when there was none."""
        ...


@runtime_checkable
class SupportsImages(Protocol):
    """An embedder whose space holds pictures beside texts."""

    async def embed_images(self, images: Sequence[Image]) -> Vector:
        """Return float32 of shape (len(images), dimensions), a row per picture, in order."""
        ...
