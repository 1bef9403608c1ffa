"""Which indexes there are, what they are like, and whose embedding space they are of.

What was learnt is kept until the service says that an index is gone. The space is noted in one
vector of the index, which is read as strongly as every other and needs no further permission. What
the index itself is like stands there too, for it stays as it was made: a tenant's first call asks
for one vector, and for no description.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.description import Description, described
from memlane.aws.s3vectors.index import Index, token_of, vectors_of
from memlane.aws.s3vectors.naming import is_reserved, space_key
from memlane.checks import check_space
from memlane.errors import (
    AccessDeniedError,
    BackendError,
    EmbeddingSpaceError,
    RequestRejectedError,
    ServiceError,
    TenantNotOnboardedError,
    UnavailableError,
)
from memlane.metadata import NON_FILTERABLE
from memlane.protocols import EmbeddingSpace
from memlane.runtime import SingleFlight, fork

__all__ = ("Indexes", "spaces_in")

_log = logging.getLogger(__name__)

_KEPT: Final = 10_000
_CONFLICT: Final = 409
_METRIC: Final = "cosine"


class _Noted(NamedTuple):
    """What the note in an index says; of the index itself it says nothing if it is an older one."""

    spaces: frozenset[str]
    description: Description | None


class _Known:
    """What is known of one index."""

    __slots__ = ("description", "noted", "only", "spaces")

    def __init__(self) -> None:
        self.description: Description | None = None
        self.spaces: dict[str, frozenset[str]] = {}  # by the key of the note that says them
        self.noted: dict[str, frozenset[str]] = {}  # those that the note is known to say
        self.only: str | None = None  # the space it was taken to, by this process


class Indexes:
    """The indexes of one bucket that this process has met. Usable from any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._describing: SingleFlight[Description] = SingleFlight()
        self._ensuring: SingleFlight[None] = SingleFlight()
        fork.watch(self._after_fork)

    def peek(self, index: Index) -> Description | None:
        """Return what an index is like, where that is known already."""
        known = self._known.get(index.target.index)
        return None if known is None else known.description

    def was_known(self, index: Index) -> bool:
        """Say whether the index was there once, though it may be gone."""
        return index.target.index in self._known

    async def described(self, index: Index) -> Description:
        """Return what an index is like.

        Raises:
            TenantNotOnboardedError: There is none.
        """
        description = self.peek(index)
        if description is None:
            description = await self._describing.run(
                index.target, functools.partial(self._describe, index)
            )
        return description

    def drop(self, index: Index) -> None:
        """Forget what an index was like: the service says it is gone."""
        with self._lock:
            known = self._known.get(index.target.index)
            if known is not None:
                known.description = None
                known.spaces = {}
                known.noted = {}

    def forget(self, index: Index) -> None:
        """Forget that there was an index at all: it was deleted on purpose."""
        with self._lock:
            self._known.pop(index.target.index, None)

    def settle(self, index: Index, space: EmbeddingSpace) -> None:
        """Note that an index was taken to another space: those of the old one are refused."""
        self.forget(index)
        known = self._of(index)
        known.only = space.id
        known.spaces[space_key(index.scope, shared=index.shared)] = frozenset({space.id})

    def check(self, index: Index, spaces: Iterable[str]) -> None:
        """Refuse spaces of which an index is no more.

        Raises:
            EmbeddingSpaceError: It was taken to another one.
        """
        known = self._known.get(index.target.index)
        if known is not None and known.only is not None:
            for space in spaces:
                check_space(space, {known.only}, scope=index.scope)

    async def explain(self, index: Index, space: str, error: RequestRejectedError) -> None:
        """Say so where a request was refused because the index is of another dimension now.

        Raises:
            EmbeddingSpaceError: Another process took the tenant to another space.
        """
        before = self.peek(index)
        if before is None or "vector" not in (error.detail or "").lower():
            return  # of something else
        try:
            if before.dimension == (await self._describe(index)).dimension:
                return
        except AccessDeniedError:
            return  # who may not ask is told what the service said
        noted = await index.get([space_key(index.scope, shared=index.shared)])
        self.drop(index)
        try:
            check_space(space, spaces_in(noted), scope=index.scope)
        except EmbeddingSpaceError as moved:
            raise moved from error

    async def ensure(self, index: Index, space: EmbeddingSpace, *, maker: Index | None) -> None:
        """Make sure that vectors of a space can be stored.

        Args:
            index: As the tenant sees it.
            space: Whose vectors.
            maker: The same index as somebody sees it who may make it; None makes none.

        Raises:
            EmbeddingSpaceError: The index is of another space.
            TenantNotOnboardedError: There is none.
        """
        known = self._known.get(index.target.index)
        note = space_key(index.scope, shared=index.shared)
        if known is not None and space.id in known.spaces.get(note, ()):
            return
        await self._ensuring.run(
            (index.target, note, space.id),
            functools.partial(self._ensure, index, space, maker),
        )

    async def claim(self, index: Index, description: Description, space: str) -> None:
        """Make sure, before records of a space are stored, that an older index says it is of it.

        Reading notes nothing in an index of another tool's; memlane's own are noted when made.

        Raises:
            EmbeddingSpaceError: Records of another space were stored in it first.
        """
        note = space_key(index.scope, shared=index.shared)
        if space not in self._of(index).noted.get(note, ()):
            await self._ensuring.run(
                (index.target, note, space, "claim"),
                functools.partial(self._claim, index, description, note, space),
            )

    async def _claim(self, index: Index, description: Description, note: str, space: str) -> None:
        spaces = _noted(await index.get([note]), index).spaces
        if space not in spaces:
            if spaces and (index.shared or not await _is_empty(index)):
                check_space(space, spaces, scope=index.scope)
            spaces = frozenset({space})
            await self._note(index, note, space, description)
        self._of(index).noted[note] = spaces

    async def make(
        self, maker: Index, space: EmbeddingSpace, *, like: Mapping[str, Any] | None = None
    ) -> bool:
        """Make an index, unless it is there; say whether it was made.

        Args:
            maker: As somebody sees it who may make it.
            space: Whose vectors it is to hold.
            like: What another one has that memlane gives none, in the words of CreateIndex.

        Raises:
            EmbeddingSpaceError: It is there, and of another space.
            StoreNotFoundError: There is no such bucket.
        """
        fields: dict[str, Any] = {
            "dataType": "float32",
            "dimension": space.dimensions,
            "distanceMetric": _METRIC,
            "metadataConfiguration": {"nonFilterableMetadataKeys": list(NON_FILTERABLE)},
            "tags": maker.tags,
        }
        if like is not None:
            fields = {
                **fields,
                **{key: like[key] for key in ("encryptionConfiguration",) if key in like},
                "metadataConfiguration": {
                    **fields["metadataConfiguration"], **like.get("metadataConfiguration", {})
                },
                "tags": {**like.get("tags", {}), **maker.tags},
            }  # fmt: skip
        made = True
        try:
            await maker.call("CreateIndex", fields)
        except ServiceError as error:
            # Of several who make it at once one is told 409 or, now and then, 500.
            if error.status != _CONFLICT and not isinstance(error, UnavailableError):
                raise
            made = False
            try:
                await self._describe(maker)
            except TenantNotOnboardedError:
                raise error from error.__cause__
        await self._ensure(maker, space, None)
        return made

    async def _describe(self, index: Index) -> Description:
        description = described(await index.call("GetIndex", {}))
        self._of(index).description = description
        return description

    async def _ensure(self, index: Index, space: EmbeddingSpace, maker: Index | None) -> None:
        note = space_key(index.scope, shared=index.shared)
        try:
            spaces, noted = _noted(await index.get([note]), index)
            description = noted or await self._describe(index)
        except TenantNotOnboardedError:
            if maker is None:
                raise
            await self.make(maker, space)
            return
        known = self._of(index)
        known.description = description
        _check(description, space, index)
        if description.is_older and not spaces:
            spaces = frozenset({space.id})
            _log.warning(
                "index %s was made by another tool: what it keeps unfilterable cannot be filtered "
                "by, long records do not fit, and vectors without a space are taken for %s",
                index.target.index,
                space.id,
            )
        elif space.id not in spaces:
            if spaces and (index.shared or not await _is_empty(index)):
                check_space(space.id, spaces, scope=index.scope)
            spaces = frozenset({space.id})
            await self._note(index, note, space.id, description)
        known.spaces[note] = spaces
        known.only = None

    async def _note(self, index: Index, key: str, space: str, description: Description) -> None:
        said = {"spaces": [space], "of": _place_of(index), "index": description.said()}
        vector = {
            "key": key,
            "data": {"float32": [1.0, *[0.0] * (description.dimension - 1)]},
            # Without `user_id`, so that no query finds it.
            "metadata": {"content": orjson.dumps(said).decode()},
        }
        try:
            await index.put([orjson.dumps(vector)])
        except AccessDeniedError:
            # Who may only read stores nothing of another space; who may write will note it.
            _log.debug("the space of index %s could not be noted", index.target.index)

    def _of(self, index: Index) -> _Known:
        with self._lock:
            known = self._known.get(index.target.index)
            if known is None:
                known = self._known[index.target.index] = _Known()
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return known

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


def _check(description: Description, space: EmbeddingSpace, index: Index) -> None:
    if description.metric != _METRIC:
        raise EmbeddingSpaceError(
            f"index {index.target.index!r} compares by {description.metric}, and memlane by cosine",
            operation="ensure_index",
            scope=index.scope,
            remedy="use an index made with the distance metric cosine",
        )
    if description.dimension != space.dimensions:
        raise EmbeddingSpaceError(
            f"index {index.target.index!r} holds vectors of {description.dimension} dimensions; "
            f"the embedding space {space.id} has {space.dimensions}",
            operation="ensure_index",
            scope=index.scope,
            remedy="use the embedder it was made for, or take the tenant to the new one with "
            "`admin(tenant).reembed`",
        )


def _noted(vectors: Sequence[Mapping[str, Any]], index: Index) -> _Noted:
    for vector in vectors:
        try:
            said = orjson.loads(vector["metadata"]["content"])
            spaces = frozenset(said["spaces"])
        except (KeyError, TypeError, ValueError):
            continue
        try:
            # Whoever copied an index copied this too, and may have made another kind of index.
            known = described(said) if said["of"] == _place_of(index) else None
        except (BackendError, KeyError):
            known = None
        return _Noted(spaces, known)
    return _Noted(frozenset(), None)


def spaces_in(vectors: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the spaces that the note of an index says, where that was read."""
    for vector in vectors:
        try:
            return frozenset(orjson.loads(vector["metadata"]["content"])["spaces"])
        except (KeyError, TypeError, ValueError):
            continue
    return frozenset()


def _place_of(index: Index) -> str:
    return f"{index.target.bucket}/{index.target.index}"


async def _is_empty(index: Index) -> bool:
    """Say whether an index holds no record; then its space may change."""
    page = await index.call("ListVectors", {"maxResults": 100})
    return not token_of(page) and all(is_reserved(each["key"]) for each in vectors_of(page))
