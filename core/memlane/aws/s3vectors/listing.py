"""What a user has, from the keys of an index alone.

Listing is complete and costs the whole index: S3 Vectors lists by no prefix and no filter.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from memlane.aws.s3vectors.actors import is_actors_key
from memlane.aws.s3vectors.copies import whole_of
from memlane.aws.s3vectors.index import SEGMENTS, Index
from memlane.aws.s3vectors.naming import is_reserved
from memlane.aws.s3vectors.records import decoded, flat_of
from memlane.errors import InvalidCursorError
from memlane.layout import agent_prefix, owner_prefix, parse_vector_key, record_key
from memlane.scope import Reach
from memlane.types import MemoryRecord

__all__ = (
    "BY_KEYS",
    "BY_SEGMENTS",
    "Listing",
    "decode_cursor",
    "decode_place",
    "encode_cursor",
    "encode_place",
    "listed",
    "listing_of",
    "name_of",
    "prefix_of",
    "record_of",
)

BY_KEYS: Final = "1"
BY_SEGMENTS: Final = "2"
_TOKEN_CHARS: Final = 8
_SEGMENT_CHARS: Final = 2


class Listing(NamedTuple):
    """Keys of one user's vectors, each list sorted.

    Args:
        records: Of records, whole texts only.
        windows: Of windows.
        copies: Of versions that are kept.
        older: Of what older tools wrote for the user.
    """

    records: Sequence[str]
    windows: Sequence[str]
    copies: Sequence[str]
    older: Sequence[str]

    def named(self, record_ids: Iterable[str]) -> list[str]:
        """Return the keys of records of these ids, of whichever agents."""
        ids = set(record_ids)
        names = {record_key("", each) for each in ids}
        return [
            *(key for key in self.records if name_of(key) in names),
            *(key for key in self.older if key in ids),
        ]

    def beside(self) -> dict[str, list[str]]:
        """Return the keys of windows and copies by the key of the record they belong to."""
        found: dict[str, list[str]] = {}
        for key in (*self.windows, *self.copies):
            found.setdefault(whole_of(key), []).append(key)
        return found


async def listed(index: Index, *, reach: Reach) -> Listing:
    """Return the keys of a user, or of one agent, sessions and expiry aside."""
    return await listing_of(index, await index.keys(), reach=reach)


def prefix_of(reach: Reach) -> str:
    """Return how the keys of all that a reach may cover begin."""
    return owner_prefix(reach.scope) if reach.any_agent else agent_prefix(reach.scope)


async def listing_of(
    index: Index,
    keys: Sequence[str],
    *,
    reach: Reach,
    vectors: Sequence[Mapping[str, Any]] | None = None,
) -> Listing:
    """Return which of all the keys of an index are a user's, or one agent's.

    Args:
        index: The index.
        keys: All of its keys.
        reach: Whose.
        vectors: The same with metadata, where that came with them.
    """
    prefix = prefix_of(reach)
    mine = sorted(key for key in keys if key.startswith(prefix) and not is_actors_key(key))
    theirs: list[str] = []
    if index.may_hold_strangers:
        theirs = [key for key in keys if parse_vector_key(key) is None and not is_reserved(key)]
    return Listing(
        [key for key in mine if "#" not in key],
        [key for key in mine if "#w" in key],
        [key for key in mine if "#v" in key],
        await _of_user(index, theirs, reach, vectors) if theirs else [],
    )


async def _of_user(
    index: Index,
    keys: Sequence[str],
    reach: Reach,
    vectors: Sequence[Mapping[str, Any]] | None,
) -> list[str]:
    """Return those of the older tools' keys whose metadata names the user and the agent."""
    ever = replace(reach, any_session=True, now=None)
    if vectors is None:
        vectors = await index.get(keys)
    there = {*keys}
    return sorted(
        each["key"]
        for each in vectors
        if each["key"] in there and record_of(each, ever) is not None
    )


def record_of(vector: Mapping[str, Any], reach: Reach) -> MemoryRecord | None:
    """Return the record that a vector is of, where it is one and within reach.

    Raises:
        BackendError: What memlane wrote is damaged.
    """
    key, flat = vector["key"], flat_of(vector)
    if is_reserved(key):
        return None
    # Whose it is comes first: what is odd about another user's is not to be told.
    if parse_vector_key(key) is None and flat.get("user_id") != reach.scope.user:
        return None
    record = decoded(key, flat, tenant=reach.scope.tenant)
    return record if reach.covers(record.scope, expires_at=record.expires_at) else None


def name_of(key: str) -> str:
    """Return the id of a record as it stands in its key."""
    # The last "/" is the one before the id: ids have theirs escaped.
    return key.rpartition("/")[2]


def encode_cursor(order: str, token: str, place: str) -> str:
    """Return a cursor behind a place in an order."""
    told = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    return f"{order}{token}{told}"


def decode_cursor(cursor: str) -> tuple[str, str, str]:
    """Return order, token and place.

    Raises:
        InvalidCursorError: It is none that `encode_cursor` made.
    """
    order, token, place = cursor[:1], cursor[1 : 1 + _TOKEN_CHARS], cursor[1 + _TOKEN_CHARS :]
    try:
        raw = base64.b64decode(place + "=" * (-len(place) % 4), altchars=b"-_", validate=True)
        key = raw.decode()
    except (binascii.Error, ValueError) as exc:
        raise _no_cursor() from exc
    if order not in {BY_KEYS, BY_SEGMENTS} or not key or cursor != encode_cursor(order, token, key):
        raise _no_cursor()
    return order, token, key


def encode_place(segment: int, key: str) -> str:
    """Return a place in the order of segments."""
    return f"{segment:02}{key}"


def decode_place(place: str) -> tuple[int, str]:
    """Return segment and key.

    Raises:
        InvalidCursorError: It is none that `encode_place` made.
    """
    number, key = place[:_SEGMENT_CHARS], place[_SEGMENT_CHARS:]
    if not (number.isascii() and number.isdigit() and key) or int(number) >= SEGMENTS:
        raise _no_cursor()
    return int(number), key


def _no_cursor() -> InvalidCursorError:
    return InvalidCursorError(
        "this is not a cursor of this listing",
        operation="scan",
        remedy="start again without a cursor",
    )
