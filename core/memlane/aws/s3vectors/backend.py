"""Records in S3 Vectors: an index a tenant, or a user, or one that tenants share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memlane.aws.credentials.host import HostCredentials
from memlane.aws.credentials.tenant import TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors.actors import actors_key
from memlane.aws.s3vectors.candidates import Answer, candidates_of, has_marks_to_make
from memlane.aws.s3vectors.conditions import wire_filter
from memlane.aws.s3vectors.doors import Doors
from memlane.aws.s3vectors.index import HostSigner
from memlane.aws.s3vectors.reading import Reading
from memlane.aws.s3vectors.searching import nearest
from memlane.aws.s3vectors.shadows import erase_shadowed, left_shadowed
from memlane.aws.s3vectors.speakers import name_speakers, speakers, unname
from memlane.aws.s3vectors.sweeping import clear, left
from memlane.aws.s3vectors.tenancy import TenantVerbs
from memlane.aws.s3vectors.versions import versions
from memlane.aws.s3vectors.watched import Watched
from memlane.checks import check_limit
from memlane.errors import RequestRejectedError, TenantNotOnboardedError, ValidationError
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
from memlane.receipts import Residue
from memlane.runtime import SystemClock, WorkerThreads
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("S3VectorsBackend",)

_BATCH: Final = 500
_MANY: Final = 500  # rows; more take a loop milliseconds


class S3VectorsBackend(TenantVerbs):
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
        self._plane = plane
        self._tenants = credentials
        doors = Doors(
            bucket=bucket,
            plane=plane,
            tenants=credentials,
            host=None if host is None else HostSigner(host),
            eraser=eraser,
            shared=index,
            per_user=per_user,
        )
        super().__init__(doors, auto_onboard=auto_onboard, clock=clock or SystemClock())
        self._owns_plane = owns_plane
        self._reading = Reading(self._listings, self._streams)
        self._workers = WorkerThreads("memlane-s3vectors", 1)
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
        maker = self._doors.maker(scope) if self._auto_onboard else None
        with Watched(self._indexes, index):
            await self._indexes.ensure(index, space, maker=maker)

    async def upsert(
        self,
        records: Sequence[IndexedRecord],
        *,
        scope: Scope,
        expected_version: int | None = None,
    ) -> None:
        index = self._index(scope, "upsert")
        with Watched(self._indexes, index):
            if not records:
                return
            self._indexes.check(index, {item.record.space for item in records})
            description = await self._indexes.described(index)
            if description.is_older:
                for space in {item.record.space for item in records}:
                    await self._indexes.claim(index, description, space)
            since = self._actors.forgotten(scope, index=index.target.index)
            try:
                await self._writing.upsert(
                    index, description, records, expected_version=expected_version
                )
            except RequestRejectedError as error:
                await self._indexes.explain(index, records[0].record.space, error)
                raise
            finally:
                self._streams.met(index, (item.record.id for item in records))
            if any(item.record.actor is not None for item in records):
                await self._actors.note(
                    [item.record for item in records],
                    index=index.target.index,
                    read=lambda: speakers(index),
                    write=lambda content: name_speakers(index, description, content),
                    erase=lambda: index.delete([actors_key(scope)]),
                    since=since,
                )

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        index = self._index(reach.scope, "query")
        with Watched(self._indexes, index):
            description = await self._described(index)
            if description is None:
                return candidates_of([], query, reach=reach, older=False, complete=True)
            self._indexes.check(index, [query.space])
            complete = False
            vectors: Sequence[Answer]
            if query.vector is None:
                # The filter is made to be refused where it cannot be said.
                wire_filter(query, reach=reach, description=description, shared=index.shared)
                vectors, complete = await self._reading.by_words(index, reach=reach)
            else:
                try:
                    vectors = await nearest(index, description, query, query.vector, reach=reach)
                except RequestRejectedError as error:
                    await self._indexes.explain(index, query.space, error)
                    raise
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
        with Watched(self._indexes, index):
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
        with Watched(self._indexes, index):
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
        with Watched(self._indexes, index):
            description = await self._described(index)
            if description is None:
                return 0
            try:
                return await self._writing.delete(index, record_ids, reach=reach)
            finally:
                self._streams.met(index, record_ids)

    async def erase(self, *, reach: Reach) -> int:
        """Delete all within reach, told by its keys alone; return how many records that were.

        What a reembedding of the tenant has gathered of it goes too.
        """
        index = self._index(reach.scope, "erase")
        missing: TenantNotOnboardedError | None = None
        count = 0
        with Watched(self._indexes, index):
            try:
                if await self._described(index) is not None:
                    count = await self._writing.erase(index, reach=reach)
            except TenantNotOnboardedError as error:
                self._indexes.drop(index)
                missing = error
            finally:
                self._streams.drop(index)
            # After the index: what is shadowed meanwhile has been read there.
            shadow = self._doors.shadow(reach.scope)
            shadowed = await erase_shadowed(shadow, self._indexes, self._writing, reach=reach)
            if missing is not None and shadowed is None:
                raise missing
            return max(count, shadowed or 0)

    async def versions(self, record_id: str, *, reach: Reach) -> Sequence[MemoryRecord]:
        """Return the kept versions of the records of an id within reach, the current ones aside."""
        index = self._index(reach.scope, "versions")
        with Watched(self._indexes, index):
            if await self._described(index) is None:
                return []
            return await versions(index, self._listings, record_id, reach=reach)

    async def remains(self, *, reach: Reach, limit: int = 1_000) -> Sequence[str]:
        """Return ids of which anything is left within reach: a record, a window or a version."""
        check_limit(limit)
        index = self._index(reach.scope, "remains")
        with Watched(self._indexes, index):
            shadow = self._doors.shadow(reach.scope)
            found = await left_shadowed(shadow, reach=reach, limit=limit)
            here: list[str] = []
            try:
                if await self._described(index) is not None:
                    here = await left(index, reach=reach, limit=limit)
            except TenantNotOnboardedError:
                if found is None:
                    raise
                self._indexes.drop(index)
            both: dict[str, None] = dict.fromkeys([*here, *(found or [])])
            return [*both][:limit]

    async def actors(self, *, reach: Reach) -> Sequence[str]:
        """Return who has spoken within reach, sorted; known for a minute, whatever the session."""
        index = self._index(reach.scope, "actors")
        return await self._actors.known(
            reach, index=index.target.index, read=lambda: speakers(index)
        )

    async def scrub(self, *, scope: Scope) -> Residue:
        """Delete windows and versions without their record, and names of who spoke in what is gone.

        What the service keeps of what it deleted it does not say.
        """
        index = self._index(scope, "scrub")
        reach = Reach.whole(scope, now=None)
        with Watched(self._indexes, index):
            try:
                description = await self._described(index)
                if description is None:
                    return "unknown"
                await clear(index, self._writing.turns_at, reach=reach)
                with self._actors.forgetting(scope, index=index.target.index):
                    await unname(index, description, reach)
            except TenantNotOnboardedError:
                shadow = self._doors.shadow(scope)
                if await left_shadowed(shadow, reach=reach, limit=1) is None:
                    raise
                self._indexes.drop(index)
        return "unknown"

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
