"""Pages of a user who has a good part of an index: read by listing it, with what is listed.

Whoever has most of an index is listed by its segments, one after the other, in the order of their
keys: each request brings records, and none is asked for a second time by its key. Where many users
share the index their texts would all travel along, so there keys alone are listed (`reading`).
"""

from __future__ import annotations

import functools
import secrets
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from memlane.aws.s3vectors.index import SEGMENTS, Index
from memlane.aws.s3vectors.listing import name_of, prefix_of
from memlane.aws.s3vectors.naming import is_reserved
from memlane.aws.s3vectors.records import flat_of
from memlane.layout import parse_vector_key, record_key
from memlane.protocols import Clock
from memlane.runtime import fork, together
from memlane.scope import Reach

__all__ = ("Stream", "Streams")

KEPT_SECONDS: Final = 60.0

FRESH_SECONDS: Final = 10.0
"""How long what was listed is shown; what is then still to be shown is read once more."""

MAX_HELD: Final = 10_000
"""Records of one stream in memory; of what is listed besides only the key is kept."""

_KEPT: Final = 4

Vector = Mapping[str, Any]


class Stream:
    """One reading of an index, segment by segment.

    Args:
        index: The index.
        reach: Whose records.
        clock: Decides what is still fresh.
    """

    def __init__(self, index: Index, reach: Reach, *, clock: Clock) -> None:
        self.until = 0.0
        self.prefix = prefix_of(reach)
        self._clock = clock
        self._strangers = index.may_hold_strangers
        self._user = reach.scope.user
        self._keys: dict[int, list[str]] = {}
        self._held: dict[str, tuple[float, Vector]] = {}
        self._changed: set[str] = set()
        self._ahead = 1

    async def after(
        self, index: Index, segment: int, key: str, count: int
    ) -> list[tuple[int, str]]:
        """Return the next keys behind one of a segment, with their segments; none is the end."""
        found: list[tuple[int, str]] = []
        while segment < SEGMENTS and len(found) < count:
            keys = self._keys.get(segment)
            if keys is None:
                keys = await self._load(index, segment)
            at = bisect_right(keys, key) if key else 0
            found += [(segment, each) for each in keys[at : at + count - len(found)]]
            if len(found) < count:
                segment, key = segment + 1, ""
        return found

    async def read(self, index: Index, keys: Sequence[str]) -> dict[str, Vector]:
        """Return the vectors of keys that are there."""
        now = self._clock.monotonic()
        found: dict[str, Vector] = {}
        missing: list[str] = []
        for key in keys:
            held = self._held.get(key)
            if held is None or now >= held[0] or {key, name_of(key)} & self._changed:
                missing.append(key)
            else:
                found[key] = held[1]
        for vector in await index.get(missing):
            found[vector["key"]] = vector
        return found

    def let_go(self, keys: Iterable[str]) -> None:
        """Hold what was shown no longer."""
        for key in keys:
            self._held.pop(key, None)

    def met(self, record_ids: Iterable[str]) -> None:
        """Note what this process changed since."""
        for each in record_ids:
            self._changed.add(each)  # another tool's is its whole key
            self._changed.add(record_key("", each))

    async def _load(self, index: Index, segment: int) -> list[str]:
        numbers = range(segment, min(SEGMENTS, segment + self._ahead))
        for number in [number for number in self._keys if number < segment]:
            self._keys.pop(number, None)
        loaded: dict[int, list[str]] = {number: [] for number in numbers}

        async def take(number: int, vectors: Sequence[Vector]) -> None:
            until = self._clock.monotonic() + FRESH_SECONDS
            for vector in vectors:
                key = vector["key"]
                if self._is_mine(key, vector):
                    loaded[number].append(key)
                    if len(self._held) < MAX_HELD:
                        self._held[key] = until, vector

        await together([
            functools.partial(index.segment, number, functools.partial(take, number), metadata=True)
            for number in numbers
        ])  # fmt: skip
        for number, keys in loaded.items():
            keys.sort()
            self._keys[number] = keys
        # As many at once as there is room for.
        most = max(map(len, loaded.values()))
        self._ahead = max(1, min(SEGMENTS, MAX_HELD // max(1, most)))
        return loaded[segment]

    def _is_mine(self, key: str, vector: Vector) -> bool:
        if key.startswith(self.prefix):
            return "#" not in key and not is_reserved(key)
        if not self._strangers or parse_vector_key(key) is not None or is_reserved(key):
            return False
        return bool(flat_of(vector).get("user_id") == self._user)


class Streams:
    """Streams that pages go on in. Usable from any loop.

    Args:
        clock: Decides how long one is kept.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str], Stream] = OrderedDict()
        fork.watch(self._after_fork)

    def begin(self, index: Index, reach: Reach) -> tuple[str, Stream]:
        """Return a new stream, and the token under which `find` knows it a minute."""
        token = secrets.token_urlsafe(6)
        stream = Stream(index, reach, clock=self._clock)
        now = self._clock.monotonic()
        stream.until = now + KEPT_SECONDS
        with self._lock:
            self._let_go(now)
            self._kept[index.target.index, stream.prefix, token] = stream
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token, stream

    def find(self, index: Index, reach: Reach, token: str) -> Stream | None:
        """Return a stream that is kept."""
        now = self._clock.monotonic()
        with self._lock:
            stream = self._kept.get((index.target.index, prefix_of(reach), token))
            if stream is None or now >= stream.until:
                return None
            stream.until = now + KEPT_SECONDS
            return stream

    def end(self, index: Index, reach: Reach, token: str) -> None:
        """Let go of a stream that was read to its end."""
        with self._lock:
            self._kept.pop((index.target.index, prefix_of(reach), token), None)

    def met(self, index: Index, record_ids: Iterable[str]) -> None:
        """Note what this process stored or deleted: it is to be shown as it is now."""
        if not self._kept:
            return
        changed = [*record_ids]
        with self._lock:
            self._let_go(self._clock.monotonic())
            for (where, _, _), stream in self._kept.items():
                if where == index.target.index:
                    stream.met(changed)

    def drop(self, index: Index) -> None:
        """Forget all streams of an index that was emptied."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == index.target.index]:
                del self._kept[key]

    def _let_go(self, now: float) -> None:
        """Forget what was kept long enough: what nobody reads on would grow with each store."""
        for name in [name for name, each in self._kept.items() if now >= each.until]:
            del self._kept[name]

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
