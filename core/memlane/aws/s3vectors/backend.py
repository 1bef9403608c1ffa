"""Records in S3 Vectors: an index a tenant, or a user, or one that tenants share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Final

from memlane.aws.credentials.host import HostCredentials
from memlane.aws.credentials.tenant import TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors.actors import Actors, actors_key, actors_vector, remaining
from memlane.aws.s3vectors.candidates import Answer, candidates_of, has_marks_to_make
from memlane.aws.s3vectors.conditions import wire_filter
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.index import HostSigner, Index, Signer
from memlane.aws.s3vectors.indexes import Indexes
from memlane.aws.s3vectors.listing import Listings, listed
from memlane.aws.s3vectors.naming import IndexTarget, codes_of, index_of
from memlane.aws.s3vectors.reading import Reading
from memlane.aws.s3vectors.records import decoded
from memlane.aws.s3vectors.searching import nearest
from memlane.aws.s3vectors.writing import Writing
from memlane.checks import check_limit, closed_error
from memlane.errors import TenantNotOnboardedError, ValidationError
from memlane.filters import Filter
from memlane.protocols import (
    Candidates,
    Capabilities,
    Clock,
    EmbeddingSpace,
    IndexedRecord,
    ScanPage,
    VectorQuery,
)
from memlane.runtime import SystemClock, WorkerThreads
from memlane.scope import Reach, Scope
from memlane.types import Residue

__all__ = ("S3VectorsBackend",)

_BATCH: Final = 500
_MANY: Final = 500  # rows; more take a loop milliseconds


class S3VectorsBackend:
    """Memory in S3 Vectors, usable from any loop.

    Queries are approximate, as the service's are: ask for more than you need. Listing, counting
    and forgetting are complete, and read the keys of the whole index. Conditions on versions hold
    within this one object; of two that change a record, in one process or in several, the later
    wins. What was given up at a deadline may still arrive, after what was stored since.

    Args:
        bucket: The vector bucket.
        plane: The way to AWS.
        credentials: Whose signatures a tenant's data is read and written with.
        host: Who makes indexes, and reads and writes one that tenants share.
        eraser: Who deletes, where `credentials` may not.
        index: One index for all tenants, kept apart by this library alone; None is one for each
            tenant, kept apart by their credentials.
        per_user: Each user has an index.
        auto_onboard: Make a missing index when something is to be stored; needs `host`.
        clock: When it is.
        owns_plane: Close the plane with this.

    Raises:
        ValidationError: Nobody is there to sign.
    """

    def __init__(
        self,
        bucket: str,
        *,
        plane: DataPlane,
        credentials: TenantCredentials | None = None,
        host: HostCredentials | None = None,
        eraser: TenantCredentials | None = None,
        index: str | None = None,
        per_user: bool = False,
        auto_onboard: bool = False,
        clock: Clock | None = None,
        owns_plane: bool = False,
    ) -> None:
        if credentials is None and (index is None or host is None):
            raise ValidationError(
                "nobody is there to sign what is asked of the index",
                remedy="pass credentials=TenantCredentials(...), or index= and host=",
            )
        if (auto_onboard and host is None) or (index is not None and per_user):
            raise ValidationError(
                "auto_onboard needs the host's credentials, and users that have an index of their "
                "own share none",
                remedy="pass host=HostCredentials(...), or leave out auto_onboard or per_user",
            )
        self._bucket = bucket
        self._plane = plane
        self._host = None if host is None else HostSigner(host)
        self._tenants = credentials
        self._eraser: Signer | None = eraser
        self._shared = index
        self._per_user = per_user
        self._auto_onboard = auto_onboard
        self._owns_plane = owns_plane
        clock = clock or SystemClock()
        self._indexes = Indexes()
        listings = Listings(clock=clock)
        self._reading = Reading(listings)
        self._writing = Writing(listings, clock=clock)
        self._actors = Actors(clock=clock)
        self._workers = WorkerThreads("memlane-s3vectors", 1)
        self._closed = False
        self._capabilities = Capabilities(
            name="s3vectors",
            exact=False,
            atomic_conditions=False,
            max_batch=_BATCH,
            isolation="checks" if index is not None else "credentials",
        )

    @property
    def capabilities(self) -> Capabilities:
        """Approximate; tenants are kept apart by credentials, unless they share an index."""
        return self._capabilities

    async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
        index = self._index(scope, "ensure_index")
        maker = self._maker(scope) if self._auto_onboard else None
        with _Watched(self._indexes, index):
            await self._indexes.ensure(index, space, maker=maker)

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        index = self._index(scope, "upsert")
        with _Watched(self._indexes, index):
            if not records:
                return
            description = await self._indexes.described(index)
            if description.is_older:
                for space in {item.record.space for item in records}:
                    await self._indexes.claim(index, description, space)
            since = self._actors.forgotten(scope, index=index.target.index)
            await self._writing.upsert(
                index, description, records, expected_version=expected_version
            )
            if any(item.record.actor is not None for item in records):
                await self._actors.note(
                    [item.record for item in records],
                    index=index.target.index,
                    read=lambda: _names(index),
                    write=lambda content: _name(index, description, content),
                    erase=lambda: index.delete([actors_key(scope)]),
                    since=since,
                )

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        index = self._index(reach.scope, "query")
        with _Watched(self._indexes, index):
            description = await self._described(index)
            if description is None:
                return candidates_of([], query, reach=reach, older=False, complete=True)
            complete = False
            vectors: Sequence[Answer]
            if query.vector is None:
                # The filter is made to be refused where it cannot be said.
                wire_filter(query, reach=reach, description=description, shared=index.shared)
                vectors, complete = await self._reading.by_words(index, reach=reach)
            else:
                vectors = await nearest(index, description, query, query.vector, reach=reach)
            if len(vectors) > _MANY or has_marks_to_make(vectors, windows=query.vector is None):
                return await self._workers.run(
                    lambda: candidates_of(
                        vectors, query, reach=reach, older=description.is_older, complete=complete
                    )
                )
            return candidates_of(
                vectors, query, reach=reach, older=description.is_older, complete=complete
            )

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        index = self._index(reach.scope, "fetch")
        with _Watched(self._indexes, index):
            description = await self._described(index)
            if description is None:
                return []
            return await self._reading.fetch(
                index, description, record_ids, reach=reach, vectors=vectors
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
        check_limit(limit)
        index = self._index(reach.scope, "scan")
        with _Watched(self._indexes, index):
            if await self._described(index) is None:
                return ScanPage(records=(), cursor=None)
            return await self._reading.scan(
                index,
                reach=reach,
                namespace=namespace,
                condition=filter,
                cursor=cursor,
                limit=limit,
            )

    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        index = self._index(reach.scope, "delete")
        with _Watched(self._indexes, index):
            description = await self._described(index)
            if description is None:
                return 0
            return await self._writing.delete(index, description, record_ids, reach=reach)

    async def actors(self, *, reach: Reach) -> Sequence[str]:
        """Return who has spoken within reach, sorted; known for a minute, whatever the session."""
        index = self._index(reach.scope, "actors")
        return await self._actors.known(reach, index=index.target.index, read=lambda: _names(index))

    async def scrub(self, *, scope: Scope) -> Residue:
        """Delete windows that lost their record, and the names of who spoke in what is gone.

        What the service keeps of what it deleted it does not say.
        """
        index = self._index(scope, "scrub")
        with _Watched(self._indexes, index):
            description = await self._described(index)
            if description is None:
                return "unknown"
            reach = Reach.whole(scope, now=None)
            await self._writing.clear(index, reach=reach)
            with self._actors.forgetting(scope, index=index.target.index):
                await _unname(index, description, reach)
        return "unknown"

    async def onboard(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Make the tenant's index, tagged with its code; False when it was there.

        Raises:
            ValidationError: There are no host credentials.
        """
        self._index(scope, "onboard")
        maker = self._maker(scope)
        if maker is None:
            raise ValidationError(
                "only the host makes indexes, and its credentials are not there",
                operation="onboard",
                scope=scope,
                remedy="pass host=HostCredentials(...)",
            )
        return await self._indexes.make(maker, space)

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        """Delete the tenant's records that expired at or before `now` and return how many.

        Reads the metadata of the whole index.
        """
        index = self._index(scope, "sweep")
        with _Watched(self._indexes, index):
            return await self._writing.sweep(index, now=now)

    def warm(self, scope: Scope) -> None:
        """Begin to fetch the credentials of a tenant known good; never waits and never fails."""
        if self._tenants is not None and not self._closed:
            self._tenants.warm(scope)

    async def enter(self) -> None:
        """Let the calling event loop have connections of its own."""
        await self._plane.enter()

    async def aclose(self) -> None:
        """Let go of everything; may be called twice."""
        self._closed = True
        self._workers.close()
        if self._owns_plane:
            await self._plane.aclose()

    def _index(self, scope: Scope, operation: str) -> Index:
        if self._closed:
            raise closed_error(operation, scope)
        shared = self._shared is not None
        signer: Signer | None = self._host if shared or self._tenants is None else self._tenants
        assert signer is not None  # noqa: S101 - seen to when it was made
        return Index(
            self._plane, self._target(scope), scope, signer=signer, eraser=self._eraser,
            shared=shared,
        )  # fmt: skip

    def _maker(self, scope: Scope) -> Index | None:
        if self._host is None:
            return None
        tags = {} if self._shared is not None else codes_of(scope, per_user=self._per_user)
        return Index(
            self._plane, self._target(scope), scope, signer=self._host,
            shared=self._shared is not None, tags=tags,
        )  # fmt: skip

    def _target(self, scope: Scope) -> IndexTarget:
        name = self._shared or index_of(scope, per_user=self._per_user)
        return IndexTarget(self._bucket, name)

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


class _Watched:
    """Forgets an index that the service says is gone."""

    __slots__ = ("_index", "_indexes")

    def __init__(self, indexes: Indexes, index: Index) -> None:
        self._indexes = indexes
        self._index = index

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, TenantNotOnboardedError):
            self._indexes.drop(self._index)


async def _names(index: Index) -> str | None:
    for vector in await index.get([actors_key(index.scope)]):
        content: str | None = vector["metadata"].get("content")
        return content
    return None


async def _name(index: Index, description: Description, content: str) -> None:
    await index.put([actors_vector(index.scope, content, dimensions=description.dimension)])


async def _unname(index: Index, description: Description, reach: Reach) -> None:
    """Delete the names of who spoke in nothing that is left within reach, whatever the session."""
    kept: str | None = None
    if not (reach.any_agent and reach.any_session):
        names = await _names(index)
        if names is None:
            return
        listing = await listed(index, reach=reach)
        kept = remaining(
            names,
            (
                decoded(vector["key"], vector["metadata"], tenant=reach.scope.tenant)
                for vector in await index.get(listing.records)
            ),
            reach=reach,
        )
        if kept == names:
            return
    if kept is None:
        await index.delete([actors_key(index.scope)])
    else:
        await _name(index, description, kept)
