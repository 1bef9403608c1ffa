"""One index, as the tenant of one call sees it: its operations, signed, and its refusals named."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol, TypeVar
from urllib.parse import quote

from memlane.aws._extra import orjson
from memlane.aws.answers import decode
from memlane.aws.credentials.host import HostCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors.naming import IndexTarget
from memlane.aws.s3vectors.puts import put_vectors
from memlane.aws.wire import Lane, Request
from memlane.errors import (
    CredentialsError,
    ServiceError,
    StoreNotFoundError,
    TenantNotOnboardedError,
    UnavailableError,
)
from memlane.protocols import Credentials
from memlane.runtime import together
from memlane.scope import Scope

__all__ = ("KEYS_LISTED", "SEGMENTS", "HostSigner", "Index", "Signer", "token_of", "vectors_of")

R = TypeVar("R")

_KEYS_GOT: Final = 100
_KEYS_DELETED: Final = 500
KEYS_LISTED: Final = 1_000
"""Of one ListVectors."""

SEGMENTS: Final = 16
"""That an index is listed in at once."""

Vector = Mapping[str, Any]


def vectors_of(answer: Any) -> list[Vector]:
    """Return the vectors of an answer.

    Raises:
        UnavailableError: It has none where there should be some, or none.
    """
    try:
        found: list[Vector] = answer["vectors"]
        if not all(isinstance(vector["key"], str) for vector in found):
            raise TypeError("a key is no string")  # noqa: TRY301 - one place says what is wrong
    except (KeyError, TypeError) as exc:
        raise UnavailableError(
            "the service answered in an unknown form",
            service="s3vectors",
            remedy="look for a proxy in between, or try again",
        ) from exc
    return found


def token_of(answer: Any) -> str | None:
    """Return where an answer goes on."""
    token: str | None = answer.get("nextToken")
    return token


class Signer(Protocol):
    """Whose credentials sign what is done for a scope."""

    def peek(self, scope: Scope) -> Credentials | None: ...

    async def get(self, scope: Scope) -> Credentials: ...

    def reject(self, scope: Scope, credentials: Credentials) -> None: ...


class HostSigner:
    """The host's credentials, whatever the scope.

    Args:
        credentials: The host's.
    """

    def __init__(self, credentials: HostCredentials) -> None:
        self._credentials = credentials

    def peek(self, scope: Scope) -> Credentials | None:
        """Return what is kept and valid; never waits."""
        del scope
        return self._credentials.peek()

    async def get(self, scope: Scope) -> Credentials:
        """Return what is kept and valid, or fetch it."""
        del scope
        return await self._credentials.get()

    def reject(self, scope: Scope, credentials: Credentials) -> None:
        """Drop credentials that a service refused."""
        del scope
        self._credentials.reject(credentials)


class Index:
    """An index for one scope. Made for each call, and as cheap as that.

    Args:
        plane: The way there.
        target: The index.
        scope: For whom.
        signer: Whose credentials sign.
        eraser: Whose credentials sign deletions.
        shared: Tenants share it.
        tags: What it is tagged with when it is made.
    """

    __slots__ = ("_eraser", "_plane", "_signer", "scope", "shared", "tags", "target")

    def __init__(
        self,
        plane: DataPlane,
        target: IndexTarget,
        scope: Scope,
        *,
        signer: Signer,
        eraser: Signer | None = None,
        shared: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._plane = plane
        self._signer = signer
        self._eraser = signer if eraser is None else eraser
        self.target = target
        self.scope = scope
        self.shared = shared
        self.tags: Mapping[str, str] = {} if tags is None else tags

    @property
    def may_hold_strangers(self) -> bool:
        """Whether what other tools wrote here is the tenant's: in a shared index it is nobody's."""
        return not self.shared or self.scope.tenant is None

    async def call(
        self, operation: str, fields: Mapping[str, Any], *, idempotent: bool = True
    ) -> Any:
        """Return the service's answer to an operation that changes no vectors.

        Raises:
            TenantNotOnboardedError: There is no such index.
            StoreNotFoundError: There is no such bucket.
            ServiceError: Whatever else the service refused.
        """
        body = {
            "vectorBucketName": self.target.bucket, "indexName": self.target.index, **fields,
        }  # fmt: skip
        request = Request(
            "s3vectors",
            operation,
            f"/{operation}",
            orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY),
            idempotent=idempotent,
        )
        return await self._send(request, self.target.reading, 1.0, self._signer)

    async def tagged(self, arn: str) -> Mapping[str, str]:
        """Return what the index of that ARN is tagged with."""
        request = Request(
            "s3vectors", "ListTagsForResource", f"/tags/{quote(arn, safe='')}", b"", method="GET"
        )
        answer = await self._send(request, self.target.reading, 1.0, self._signer)
        tags: Mapping[str, str] = answer.get("tags") or {}
        return tags

    async def get(self, keys: Sequence[str], *, data: bool = False) -> list[Vector]:
        """Return those of the vectors that exist, with metadata, in no order."""
        calls = [
            functools.partial(
                self.call,
                "GetVectors",
                {
                    "keys": keys[at : at + _KEYS_GOT],
                    "returnMetadata": True,
                    **({"returnData": True} if data else {}),
                },
            )
            for at in range(0, len(keys), _KEYS_GOT)
        ]
        if not calls:
            return []
        return [vector for answer in await together(calls) for vector in vectors_of(answer)]

    async def keys(self) -> list[str]:
        """Return the keys of all vectors, in no order.

        A small index is one page. A large one is read in 16 segments at once.
        """
        first = await self.call("ListVectors", {"maxResults": KEYS_LISTED})
        keys = [vector["key"] for vector in vectors_of(first)]
        return await self.all_keys() if token_of(first) else keys

    async def all_keys(self) -> list[str]:
        """Return the same of an index that is known to be large."""
        found: list[str] = []

        async def take(vectors: Sequence[Vector]) -> None:
            found.extend(vector["key"] for vector in vectors)

        await self.each_page(take)
        return found

    async def each_page(
        self,
        take: Callable[[Sequence[Vector]], Awaitable[None]],
        *,
        metadata: bool = False,
        data: bool = False,
    ) -> None:
        """Hand every page of the index to `take`, several at a time, in no order."""
        calls = [
            functools.partial(self.segment, number, take, metadata=metadata, data=data)
            for number in range(SEGMENTS)
        ]
        await together(calls, at_once=SEGMENTS)

    async def segment(
        self,
        number: int,
        take: Callable[[Sequence[Vector]], Awaitable[None]],
        *,
        metadata: bool = False,
        data: bool = False,
    ) -> None:
        """Hand every page of one of the `SEGMENTS` that an index is listed in to `take`."""
        fields: dict[str, Any] = {
            "maxResults": KEYS_LISTED, "segmentCount": SEGMENTS, "segmentIndex": number,
        }  # fmt: skip
        if metadata:
            fields["returnMetadata"] = True
        if data:
            fields["returnData"] = True
        while True:
            page = await self.call("ListVectors", fields)
            await take(vectors_of(page))
            token = token_of(page)
            if not token:
                return
            fields["nextToken"] = token

    async def put(self, vectors: Sequence[bytes]) -> None:
        """Store encoded vectors, at most one request's."""
        await self._signed(
            self._signer,
            lambda credentials: put_vectors(self._plane, self.target, credentials, vectors),
        )

    async def remove(self) -> bool:
        """Delete the index with all it holds; False when there is none."""
        try:
            await self.call("DeleteIndex", {})
        except TenantNotOnboardedError:
            return False
        return True

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete vectors, whether or not they exist."""
        await together([
            functools.partial(self._delete, keys[at : at + _KEYS_DELETED])
            for at in range(0, len(keys), _KEYS_DELETED)
        ])  # fmt: skip

    async def _delete(self, keys: Sequence[str]) -> None:
        body = {
            "vectorBucketName": self.target.bucket, "indexName": self.target.index, "keys": keys,
        }  # fmt: skip
        request = Request("s3vectors", "DeleteVectors", "/DeleteVectors", orjson.dumps(body))
        await self._send(request, self.target.lane, float(len(keys)), self._eraser)

    async def _send(self, request: Request, lane: Lane, weight: float, signer: Signer) -> Any:
        reply = await self._signed(
            signer,
            lambda credentials: self._plane.call(request, credentials, lane=lane, weight=weight),
        )
        return decode(reply)

    async def _signed(self, signer: Signer, send: Callable[[Credentials], Awaitable[R]]) -> R:
        """Send with credentials, and once more with new ones if these are not accepted."""
        scope = self.scope
        credentials = signer.peek(scope) or await signer.get(scope)
        try:
            return await send(credentials)
        except CredentialsError:
            signer.reject(scope, credentials)
        except StoreNotFoundError as error:
            self._missing(error)
        credentials = await signer.get(scope)
        try:
            return await send(credentials)
        except StoreNotFoundError as error:
            self._missing(error)

    def _missing(self, error: ServiceError) -> NoReturn:
        """Raise what a missing index, or a missing bucket, is to the caller."""
        kind: type[ServiceError]
        if "bucket" in (error.detail or "").lower():
            kind, reason = StoreNotFoundError, f"there is no vector bucket {self.target.bucket!r}"
            remedy = "make it, or check the name, the region and the account"
        else:
            # In an index that tenants share one may read what another's call found.
            tenant = None if self.shared else self.scope.tenant
            whose = "tenants have no index yet" if self.shared else "the tenant has no index yet"
            kind, reason = TenantNotOnboardedError, whose
            remedy = f"run `memlane onboard{f' {shlex.quote(tenant)}' if tenant else ''}`"
        raise kind(
            f"{reason} (bucket {self.target.bucket!r}, index {self.target.index!r})",
            service=error.service,
            wire_operation=error.wire_operation,
            code=error.code,
            status=error.status,
            request_id=error.request_id,
            detail=error.detail,
            remedy=remedy,
        ) from error
