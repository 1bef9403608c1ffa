"""Listings that are kept a moment, so that pages, and what is done with them, need no new ones."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from memlane.aws.s3vectors.copies import whole_of
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import Listing, name_of, prefix_of
from memlane.layout import owner_prefix, record_key
from memlane.protocols import Clock
from memlane.runtime import fork
from memlane.scope import Reach, Scope

__all__ = ("Kept", "Listings")

KEPT_SECONDS: Final = 60.0
_KEPT: Final = 32
_KEPT_KEYS: Final = 200_000


class Kept:
    """A listing, what was stored since, and until when it is worth something."""

    __slots__ = ("_beside", "_by_name", "_later", "_listing", "keys", "prefix", "until")

    def __init__(self, keys: Sequence[str], listing: Listing, *, prefix: str, until: float) -> None:
        self.keys = keys
        self.prefix = prefix
        self.until = until
        self._listing = listing
        self._later: dict[str, None] = {}
        self._by_name: tuple[dict[str, list[str]], frozenset[str]] | None = None
        self._beside: dict[str, list[str]] | None = None

    def named(self, record_ids: Iterable[str], prefix: str) -> list[str] | None:
        """Return the keys of records of these ids; None where one of the ids was not met.

        Args:
            record_ids: The ids.
            prefix: How keys within reach begin; those of older tools begin as they like.
        """
        if self._by_name is None:
            self._by_name = _by_name(self._listing.records), frozenset(self._listing.older)
        listed_keys, older = self._by_name
        since = _by_name([*self._later])
        found: dict[str, None] = {}
        for each in record_ids:
            name = record_key("", each)
            keys = [*listed_keys.get(name, ()), *since.get(name, ())]
            keys = [key for key in keys if key.startswith(prefix)]
            if each in older:
                keys.append(each)
            if not keys:
                return None
            found.update(dict.fromkeys(keys))
        return [*found]

    def beside(self, wholes: Iterable[str], *, sign: str = "#") -> list[str]:
        """Return the keys of windows ("#w") and copies ("#v") of records."""
        if self._beside is None:
            self._beside = self._listing.beside()
        later: dict[str, list[str]] = {}
        for key in [*self._later]:
            if "#" in key:
                later.setdefault(whole_of(key), []).append(key)
        return [
            key
            for whole in wholes
            for key in (*self._beside.get(whole, ()), *later.get(whole, ()))
            if sign in key
        ]

    def met(self, keys: Iterable[str]) -> None:
        """Note what was stored since."""
        for key in keys:
            self._later[key] = None


def _by_name(keys: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(name_of(key), []).append(key)
    return found


class Listings:
    """Listings that pages go on in. Usable from any loop.

    Args:
        clock: Decides how long one is kept.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str], Kept] = OrderedDict()
        fork.watch(self._after_fork)

    def keep(
        self, index: Index, keys: Sequence[str], reach: Reach, listing: Listing
    ) -> tuple[str, Kept]:
        """Return a token under which `find` knows the keys for a minute after each use."""
        now = self._clock.monotonic()
        token = secrets.token_urlsafe(6)
        kept = Kept(keys, listing, prefix=prefix_of(reach), until=now + KEPT_SECONDS)
        with self._lock:
            self._let_go(now)
            self._kept[index.target.index, owner_prefix(reach.scope), token] = kept
            while len(self._kept) > _KEPT or (
                len(self._kept) > 1 and sum(len(k.keys) for k in self._kept.values()) > _KEPT_KEYS
            ):
                self._kept.popitem(last=False)
        return token, kept

    def find(self, index: Index, scope: Scope, token: str) -> Kept | None:
        """Return a listing that is kept."""
        now = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get((index.target.index, owner_prefix(scope), token))
            if kept is None or now >= kept.until:
                return None
            kept.until = now + KEPT_SECONDS
            return kept

    def latest(self, index: Index, reach: Reach) -> Kept | None:
        """Return the latest listing that has all that a reach covers, while it is kept.

        What other processes stored since is not in it.
        """
        if not self._kept:
            return None
        with self._lock:
            return next(self._covering(index, prefix_of(reach)), None)

    def met(self, index: Index, prefix: str, keys: Iterable[str]) -> None:
        """Note what an agent has now: the listings say too little."""
        if not self._kept:
            return
        with self._lock:
            for kept in self._covering(index, prefix):
                kept.met(keys)

    def _covering(self, index: Index, prefix: str) -> Iterator[Kept]:
        """Yield the listings of all whose keys begin so, the latest first."""
        self._let_go(self._clock.monotonic())
        for (where, _, _), kept in reversed(self._kept.items()):
            if where == index.target.index and prefix.startswith(kept.prefix):
                yield kept

    def _let_go(self, now: float) -> None:
        """Forget what was kept long enough: each may be all the keys of an index."""
        for name in [name for name, kept in self._kept.items() if now >= kept.until]:
            del self._kept[name]

    def drop(self, index: Index) -> None:
        """Forget all listings of an index that was emptied."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == index.target.index]:
                del self._kept[key]

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
