"""What a user has, from the keys of an index alone; kept a moment, so that pages need no new one.

Listing is complete and costs the whole index: S3 Vectors lists by no prefix and no filter.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.naming import is_reserved
from memlane.aws.s3vectors.records import decoded, flat_of
from memlane.errors import InvalidCursorError
from memlane.layout import agent_prefix, owner_prefix, parse_vector_key, record_key
from memlane.protocols import Clock
from memlane.runtime import fork
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord

__all__ = ("Listing", "Listings", "decode_cursor", "encode_cursor", "listed", "record_of")

KEPT_SECONDS: Final = 60.0
_KEPT: Final = 32
_KEPT_KEYS: Final = 200_000
_VERSION: Final = "1"
_TOKEN_CHARS: Final = 8


class Listing(NamedTuple):
    """Keys of one user's vectors, each list sorted.

    Args:
        records: Of records, whole texts only.
        windows: Of windows.
        older: Of what older tools wrote for the user.
    """

    records: Sequence[str]
    windows: Sequence[str]
    older: Sequence[str]

    def named(self, record_ids: Iterable[str]) -> list[str]:
        """Return the keys of records of these ids, of whichever agents."""
        ids = set(record_ids)
        names = {record_key("", each) for each in ids}
        return [
            *(key for key in self.records if _name(key) in names),
            *(key for key in self.older if key in ids),
        ]


async def listed(index: Index, *, reach: Reach) -> Listing:
    """Return the keys of a user, or of one agent, sessions and expiry aside."""
    keys = await index.keys()
    prefix = owner_prefix(reach.scope) if reach.any_agent else agent_prefix(reach.scope)
    mine = sorted(key for key in keys if key.startswith(prefix) and not is_reserved(key))
    theirs: list[str] = []
    if index.may_hold_strangers:
        theirs = [key for key in keys if parse_vector_key(key) is None and not is_reserved(key)]
    return Listing(
        [key for key in mine if "#" not in key],
        [key for key in mine if "#" in key],
        await _of_user(index, theirs, reach) if theirs else [],
    )


async def _of_user(index: Index, keys: Sequence[str], reach: Reach) -> list[str]:
    """Return those of the older tools' keys whose metadata names the user and the agent."""
    ever = replace(reach, any_session=True, now=None)
    vectors = await index.get(keys)
    return sorted(each["key"] for each in vectors if record_of(each, ever) is not None)


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


def _name(key: str) -> str:
    # The last "/" is the one before the id: ids have theirs escaped.
    return key[key.rindex("/") + 1 :]


class _Kept:
    """A listing, what was stored since, and until when it is worth something."""

    __slots__ = ("_by_name", "_older", "_records", "is_whole", "keys", "later", "until")

    def __init__(
        self, keys: Sequence[str], listing: Listing, *, is_whole: bool, until: float
    ) -> None:
        self.keys = keys
        self.is_whole = is_whole
        self.until = until
        self.later: set[str] = set()
        self._records = listing.records
        self._older = listing.older
        self._by_name: tuple[dict[str, list[str]], frozenset[str]] | None = None

    def named(self, record_ids: Iterable[str], later: Iterable[str]) -> list[str] | None:
        """Return the keys of records of these ids; None where one of the ids was not met."""
        if self._by_name is None:
            self._by_name = _by_name(self._records), frozenset(self._older)
        listed_keys, older = self._by_name
        since = _by_name(later)
        found: dict[str, None] = {}
        for each in record_ids:
            name = record_key("", each)
            keys = [*listed_keys.get(name, ()), *since.get(name, ())]
            if each in older:
                keys.append(each)
            if not keys:
                return None
            found.update(dict.fromkeys(keys))
        return [*found]


def _by_name(keys: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(_name(key), []).append(key)
    return found


class Listings:
    """Listings that pages go on in. Usable from any loop.

    Args:
        clock: Decides how long one is kept.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()
        fork.watch(self._after_fork)

    def keep(self, index: Index, keys: Sequence[str], reach: Reach, listing: Listing) -> str:
        """Return a token under which `find` knows the keys for a minute."""
        now = self._clock.monotonic()
        token = secrets.token_urlsafe(6)
        with self._lock:
            self._kept[index.target.index, owner_prefix(reach.scope), token] = _Kept(
                keys, listing, is_whole=reach.any_agent, until=now + KEPT_SECONDS
            )
            while len(self._kept) > _KEPT or (
                len(self._kept) > 1 and sum(len(k.keys) for k in self._kept.values()) > _KEPT_KEYS
            ):
                self._kept.popitem(last=False)
        return token

    def find(self, index: Index, scope: Scope, token: str) -> Sequence[str] | None:
        """Return the keys of a listing that is kept."""
        with self._lock:
            kept = self._kept.get((index.target.index, owner_prefix(scope), token))
        return kept.keys if kept is not None and self._clock.monotonic() < kept.until else None

    def named(self, index: Index, scope: Scope, record_ids: Sequence[str]) -> list[str] | None:
        """Return the keys of a user's records of these ids, where all were listed just now.

        Forgetting reads pages and deletes what is on them: each deletion would list all again.
        What other processes stored since is not among them, and met by the next listing.
        """
        with self._lock:
            kept = self._latest(index.target.index, owner_prefix(scope))
            later = [] if kept is None else [*kept.later]
        return None if kept is None else kept.named(record_ids, later)

    def met(self, index: Index, prefix: str, keys: Iterable[str]) -> None:
        """Note what an agent has now: the latest listing says too little."""
        if not self._kept:
            return
        with self._lock:
            kept = self._latest(index.target.index, prefix[: prefix.index("/") + 1])
            if kept is not None:
                kept.later.update(keys)

    def _latest(self, name: str, owner: str) -> _Kept | None:
        """Return the latest listing of all agents of a user, while it is kept."""
        for (where, whose, _), kept in reversed(self._kept.items()):
            if (where, whose) == (name, owner) and kept.is_whole:
                return kept if self._clock.monotonic() < kept.until else None
        return None

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


def encode_cursor(token: str, key: str) -> str:
    """Return a cursor behind a key."""
    place = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    return f"{_VERSION}{token}{place}"


def decode_cursor(cursor: str) -> tuple[str, str]:
    """Return token and key.

    Raises:
        InvalidCursorError: It is none that `encode_cursor` made.
    """
    token, place = cursor[1 : 1 + _TOKEN_CHARS], cursor[1 + _TOKEN_CHARS :]
    try:
        raw = base64.b64decode(place + "=" * (-len(place) % 4), altchars=b"-_", validate=True)
        key = raw.decode()
    except (binascii.Error, ValueError) as exc:
        raise _no_cursor() from exc
    if not key or cursor != encode_cursor(token, key):
        raise _no_cursor()
    return token, key


def _no_cursor() -> InvalidCursorError:
    return InvalidCursorError(
        "this is not a cursor of this listing",
        operation="scan",
        remedy="start again without a cursor",
    )
