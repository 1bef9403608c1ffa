"""Records on their way into an index, and what became of them where some requests failed.

A call may take many requests, and an answer may be lost after the service did its part. So after a
failure the service is asked what is there: what a caller is told to store again is not stored yet.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.records import batches, decoded, flat_of, is_oversized
from memlane.errors import (
    AccessDeniedError,
    BackendError,
    CredentialsError,
    MemlaneError,
    PartialWriteError,
    QuotaExceededError,
    RequestRejectedError,
    StoreNotFoundError,
    TenantNotOnboardedError,
)
from memlane.runtime import attempted
from memlane.types import MemoryRecord

__all__ = ("Outgoing", "Result", "put_records")

_REFUSALS: Final = (
    AccessDeniedError,
    CredentialsError,
    QuotaExceededError,
    RequestRejectedError,
    StoreNotFoundError,
    TenantNotOnboardedError,
)
"""After which a request has done nothing."""


class Outgoing(NamedTuple):
    """A record to be put.

    Args:
        record: The record.
        vectors: Encoded, the whole text first.
        is_new: The index holds no version of it.
        copies: Of versions to be kept, encoded; they are stored in one request with the text.
    """

    record: MemoryRecord
    vectors: Sequence[bytes]
    is_new: bool
    copies: Sequence[bytes] = ()

    @property
    def together(self) -> Sequence[bytes]:
        """All that is stored, what must be in one request first."""
        if not self.copies:
            return self.vectors
        return [self.vectors[0], *self.copies, *self.vectors[1:]]

    @property
    def is_long(self) -> bool:
        """Whether it takes several requests."""
        return is_oversized(self.together)


class Result(NamedTuple):
    """What became of records that were put.

    Args:
        stored: The keys of those that are there, windows too.
        error: The first failure, where not all are there.
        is_sure: The others are not there; False where that could not be asked.
    """

    stored: frozenset[str]
    error: Exception | None = None
    is_sure: bool = True

    def check(self, sent: Mapping[str, Outgoing]) -> None:
        """Raise what the caller must know.

        Raises:
            PartialWriteError: Some are stored.
            Exception: None is, for all anybody knows; the failure itself.
        """
        if self.error is None:
            return
        if not self.stored:
            raise self.error
        remedy = "store again those that are not in `stored`"
        if not self.is_sure:
            remedy = f"look for what is missing, nobody could be asked for it, and {remedy}"
        raise PartialWriteError(
            f"{len(self.stored)} of {len(sent)} records were stored before a failure",
            stored=[each.record for key, each in sent.items() if key in self.stored],
            remedy=remedy,
        ) from self.error


class _Request(NamedTuple):
    keys: Sequence[str]  # of the records it stores
    send: Callable[[], Awaitable[None]]


async def put_records(index: Index, sent: Mapping[str, Outgoing]) -> Result:
    """Put records, by key, several requests at a time, and find out what became of them."""
    requests = [*_requests(index, sent)]
    succeeded, error = await attempted([request.send for request in requests])
    if error is None:
        return Result(frozenset(sent))
    if len(requests) == 1 and isinstance(error, _REFUSALS):
        return Result(frozenset(), error)
    acknowledged = frozenset(
        key
        for request, done in zip(requests, succeeded, strict=True)
        if done
        for key in request.keys
    )
    try:
        stored = acknowledged | await _found(index, sent, acknowledged)
    except MemlaneError:
        return Result(acknowledged, error, is_sure=False)
    return Result(stored, None if len(stored) == len(sent) else error)


def _requests(index: Index, sent: Mapping[str, Outgoing]) -> Iterator[_Request]:
    long = [key for key, each in sent.items() if each.is_long]
    fitting = [key for key in sent if key not in long] if long else [*sent]
    at = 0
    for batch in batches(sent[key].together for key in fitting):
        begin, left = at, len(batch)
        while left:  # a record's vectors are in one batch, and in order
            left -= len(sent[fitting[at]].vectors) + len(sent[fitting[at]].copies)
            at += 1
        yield _Request(fitting[begin:at], functools.partial(index.put, batch))
    for key in long:
        yield _Request([key], functools.partial(_put_long, index, key, sent[key]))


async def _put_long(index: Index, key: str, sent: Outgoing) -> None:
    """Put a record that takes several requests; take a new one back if it cannot be whole."""
    first, *others = batches([sent.together])
    try:
        await index.put(first)
        _, error = await attempted([functools.partial(index.put, batch) for batch in others])
        if error is not None:
            raise error
    except MemlaneError:
        if sent.is_new:
            with suppress(MemlaneError):
                await index.delete(_keys(key, sent))
        raise


async def _found(
    index: Index, sent: Mapping[str, Outgoing], known: Collection[str]
) -> frozenset[str]:
    """Return which of the records that are not known to be stored are there as they were sent."""
    asked = {
        key: _keys(key, each) if each.is_long else [key]
        for key, each in sent.items()
        if key not in known
    }
    there = {
        vector["key"]: flat_of(vector)
        for vector in await index.get([each for keys in asked.values() for each in keys])
    }
    return frozenset(
        key
        for key, keys in asked.items()
        if all(_is_of(there.get(each), key, sent[key].record) for each in keys)
    )


def _is_of(flat: Mapping[str, Any] | None, key: str, record: MemoryRecord) -> bool:
    try:
        return flat is not None and decoded(key, flat, tenant=record.scope.tenant) == record
    except BackendError:
        return False  # damaged, and so another


def _keys(key: str, sent: Outgoing) -> list[str]:
    return [key, *(f"{key}#w{number}" for number in range(1, len(sent.vectors)))]
