"""What is done for a tenant as a whole, on every index of a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memlane.aws.s3vectors.actors import Actors
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.doors import Doors
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.indexes import Indexes
from memlane.aws.s3vectors.listings import Listings
from memlane.aws.s3vectors.moving import Moving
from memlane.aws.s3vectors.streams import Streams
from memlane.aws.s3vectors.sweeping import sweep
from memlane.aws.s3vectors.tenants import NOTHING, Users, forget_tenant, stats
from memlane.aws.s3vectors.watched import Watched
from memlane.aws.s3vectors.writing import Writing
from memlane.checks import check_limit, closed_error
from memlane.errors import TenantNotOnboardedError
from memlane.powers import NamePage, PendingPage
from memlane.protocols import Clock, EmbeddingSpace, IndexedRecord
from memlane.receipts import ForgetReceipt, TenantStats
from memlane.scope import Scope

__all__ = ("TenantVerbs",)


class TenantVerbs:
    """The verbs of `S3VectorsBackend` about a whole tenant, and what all its verbs stand on.

    Args:
        doors: How indexes are opened.
        auto_onboard: Make a missing index when something is to be stored.
        clock: When it is.
    """

    def __init__(self, doors: Doors, *, auto_onboard: bool, clock: Clock) -> None:
        self._doors = doors
        self._auto_onboard = auto_onboard
        self._indexes = Indexes()
        self._listings = Listings(clock=clock)
        self._streams = Streams(clock=clock)
        self._writing = Writing(self._listings, clock=clock)
        self._moving = Moving(doors, self._indexes)
        self._users = Users(clock=clock)
        self._actors = Actors(clock=clock)
        self._closed = False

    async def onboard(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Make the tenant's index, tagged with its code; False when it was there.

        Raises:
            ValidationError: There are no host credentials.
        """
        self._index(scope, "onboard")
        return await self._indexes.make(self._doors.needed_maker(scope, "onboard"), space)

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        """Delete the tenant's records that expired at or before `now` and return how many.

        Windows and versions without their record go too, and versions beyond the latest hundred.
        Reads the metadata of the whole index. Of two that sweep at once each may count the same.
        """
        index = self._index(scope, "sweep")
        with Watched(self._indexes, index):
            if await self._described(index) is None:
                return 0
            return await sweep(index, self._writing.turns_at, now=now)

    async def users(self, *, scope: Scope, cursor: str | None = None, limit: int = 100) -> NamePage:
        """Return users of whom the tenant has records, in the order of their codes."""
        check_limit(limit)
        index = self._index(scope, "users")
        with Watched(self._indexes, index):
            if await self._described(index) is None:
                return NamePage(names=(), cursor=None)
            return await self._users.page(index, cursor=cursor, limit=limit)

    async def stats(self, *, scope: Scope, now: datetime) -> TenantStats:
        """Count what the tenant has. Reads the metadata of the whole index."""
        index = self._index(scope, "stats")
        with Watched(self._indexes, index):
            if await self._described(index) is None:
                return NOTHING
            return await stats(index, now=now)

    async def forget_tenant(self, *, scope: Scope) -> ForgetReceipt:
        """Delete all that the tenant has, and read again to prove it.

        An index of its own is deleted by the host, with what a reembedding left beside it; where
        that may not be, or is shared, the tenant's vectors are deleted by whoever erases.
        """
        index = self._index(scope, "forget_tenant")
        remover = None if index.shared else self._doors.maker(scope)
        with Watched(self._indexes, index):
            # First, so that nobody fills from it what was forgotten.
            await self._moving.let_go(scope)
            try:
                receipt = await forget_tenant(index, remover)
                # And what somebody began meanwhile: without the index nobody can begin again.
                await self._moving.let_go(scope)
                return receipt
            finally:
                self._indexes.forget(index)
                self._listings.drop(index)
                self._streams.drop(index)
                self._users.drop(index)
                self._actors.drop(index.target.index)

    async def begin_reembed(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        """Make the shadow, or find it again. Needs the host; not where tenants share an index."""
        self._check_open(scope, "begin_reembed")
        await self._moving.begin(scope, space)

    async def pending(
        self, *, scope: Scope, space: EmbeddingSpace, cursor: str | None = None, limit: int = 100
    ) -> PendingPage:
        """Return records that the shadow lacks, or has at another version."""
        check_limit(limit)
        self._check_open(scope, "pending")
        return await self._moving.pending(scope, space, cursor=cursor, limit=limit)

    async def shadow(
        self, records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
    ) -> None:
        """Put vectors into the shadow."""
        self._check_open(scope, "shadow")
        await self._moving.shadow(records, scope, space)

    async def cut_over(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Put the shadow in the place of the tenant's index, which is deleted and made anew.

        Nobody else may write meanwhile: what is stored then may be lost, and whoever recalls finds
        less. False where records changed since they were shadowed.
        """
        self._check_open(scope, "cut_over")
        return await self._moving.cut_over(scope, space)

    async def abandon_reembed(self, *, scope: Scope) -> bool:
        """Remove a shadow; False where there was none."""
        self._check_open(scope, "abandon_reembed")
        return await self._moving.abandon(scope)

    def _index(self, scope: Scope, operation: str) -> Index:
        self._check_open(scope, operation)
        return self._doors.index(scope)

    def _check_open(self, scope: Scope, operation: str) -> None:
        if self._closed:
            raise closed_error(operation, scope)

    async def _described(self, index: Index) -> Description | None:
        """Return what an index is like; None where there is none yet, and it will be made."""
        description = self._indexes.peek(index)
        if description is not None:
            return description
        try:
            return await self._indexes.described(index)
        except TenantNotOnboardedError:
            if self._auto_onboard and not self._indexes.was_known(index):
                return None
            raise
