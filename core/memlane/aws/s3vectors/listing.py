"""What a user has, from the keys of an index alone; kept a moment, so that pages need no new one.

Listing is complete and costs the whole index: S3 Vectors lists by no prefix and no filter.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.naming import is_reserved
from memlane.aws.s3vectors.records import flat_of
from memlane.errors import InvalidCursorError
from memlane.layout import agent_prefix, owner_prefix, parse_vector_key
from memlane.metadata import NO_AGENT
from memlane.protocols import Clock
from memlane.runtime import fork
from memlane.scope import Reach, Scope

__all__ = ("Listing", "Listings", "decode_cursor", "encode_cursor", "listed")

KEPT_SECONDS: Final = 60.0
RECENT_SECONDS: Final = 5.0
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

    @property
    def agents(self) -> frozenset[str]:
        """The key prefixes of the agents that have records."""
        # The last "/" is the one before the id: ids have theirs escaped.
        return frozenset(key[: key.rindex("/") + 1] for key in self.records)


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
    agent = reach.scope.agent or NO_AGENT
    return sorted(
        vector["key"]
        for vector in await index.get(keys)
        if (flat := flat_of(vector)).get("user_id") == reach.scope.user
        and (reach.any_agent or flat.get("agent_name", NO_AGENT) == agent)
    )


class _Kept(NamedTuple):
    keys: Sequence[str]
    agents: frozenset[str]
    is_whole: bool
    until: float
    recent_until: float


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
                keys, listing.agents, reach.any_agent, now + KEPT_SECONDS, now + RECENT_SECONDS
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

    def agents(self, index: Index, scope: Scope) -> frozenset[str] | None:
        """Return all agents of a user, where they were listed just now.

        Forgetting reads pages and deletes what is on them: each deletion would list all again.
        """
        now, owner = self._clock.monotonic(), owner_prefix(scope)
        with self._lock:
            for (name, whose, _), kept in reversed(self._kept.items()):
                if (name, whose) == (index.target.index, owner) and kept.is_whole:
                    return kept.agents if now < kept.recent_until else None
        return None

    def met(self, index: Index, prefix: str) -> None:
        """Note that an agent has records now: listings without it say too little."""
        if not self._kept:
            return
        with self._lock:
            for place, kept in self._kept.items():
                name, owner, _ = place
                if (
                    name == index.target.index
                    and prefix.startswith(owner)
                    and prefix not in kept.agents
                ):
                    self._kept[place] = kept._replace(recent_until=float("-inf"))

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
