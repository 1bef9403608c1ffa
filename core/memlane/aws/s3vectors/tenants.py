"""A tenant as a whole: its users, what it has, and its end.

A tenant's own index ends in one request. Of an index that tenants share only what says that it is
this tenant's goes, again and again until nothing of it is found.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import anyio.lowlevel

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.actors import is_actors_key
from memlane.aws.s3vectors.copies import is_copy_key, whole_of
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.listing import name_of
from memlane.aws.s3vectors.naming import is_reserved, is_space_key, space_key
from memlane.aws.s3vectors.records import decoded, flat_of
from memlane.errors import (
    AccessDeniedError,
    BackendError,
    InvalidCursorError,
    TenantNotOnboardedError,
)
from memlane.layout import owner_prefix, parse_vector_key
from memlane.patterns import lazy
from memlane.powers import NamePage
from memlane.protocols import Clock
from memlane.receipts import ForgetReceipt, TenantStats
from memlane.runtime import fork
from memlane.scope import Scope

__all__ = ("NOTHING", "Users", "forget_tenant", "stats")

Vector: TypeAlias = Mapping[str, Any]
_Owners: TypeAlias = dict[str, list[str]]

KEPT_SECONDS: Final = 60.0
_KEPT: Final = 4
_AT_A_TIME: Final = 2_000  # keys, which take some three milliseconds to read
_CODE = lazy(r"[a-z2-7]{20}")
NOTHING: Final = TenantStats(
    users=0, records=0, expired=0, versions=0, vectors=0, text_bytes=0, spaces={}
)
_PASSES: Final = 3
_OWNER: Final = 20  # characters of an owner's code
_SAID: Final = ("content", "payload", "namespace", "type", "source", "tags")


class Users:
    """The users of tenants, page by page, in the order of their codes. Usable from any loop.

    Keys alone say how many there are; what each is called says one record of each.

    Args:
        clock: Decides how long the keys are kept for further pages.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str | None], tuple[float, _Owners]] = OrderedDict()
        fork.watch(self._after_fork)

    async def page(self, index: Index, *, cursor: str | None, limit: int) -> NamePage:
        """Return users of whom the tenant has records.

        Raises:
            InvalidCursorError: The cursor is none of such a page's.
        """
        if cursor is not None and not _CODE().fullmatch(cursor):
            raise InvalidCursorError(
                "this is not a cursor of a tenant's users",
                operation="users",
                remedy="start again without a cursor",
            )
        owners = None if cursor is None else self._find(index)
        if owners is None:
            owners = await _owners(index)
            self._keep(index, owners)
        codes = sorted(owners)
        at = bisect_right(codes, cursor) if cursor is not None else 0
        found: list[str] = []
        while at < len(codes) and len(found) < limit:
            some = codes[at : at + limit - len(found)]
            names = await _names(index, {code: owners[code] for code in some})
            found += [names[code] for code in some if code in names]
            at += len(some)
        return NamePage(names=tuple(found), cursor=codes[at - 1] if at < len(codes) else None)

    def _find(self, index: Index) -> _Owners | None:
        with self._lock:
            self._let_go()
            kept = self._kept.get((index.target.index, index.scope.tenant))
        return None if kept is None else kept[1]

    def _keep(self, index: Index, owners: _Owners) -> None:
        until = self._clock.monotonic() + KEPT_SECONDS
        with self._lock:
            self._let_go()
            self._kept[index.target.index, index.scope.tenant] = until, owners
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def _let_go(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, (until, _) in self._kept.items() if now >= until]:
            del self._kept[name]

    def drop(self, index: Index) -> None:
        """Forget the users of a tenant that was forgotten."""
        with self._lock:
            self._kept.pop((index.target.index, index.scope.tenant), None)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


async def _owners(index: Index) -> _Owners:
    """Return the keys of records by the code of their owner."""
    owners: _Owners = {}
    strangers: list[str] = []
    for at, key in enumerate(await index.keys()):
        if at % _AT_A_TIME == 0:
            await anyio.lowlevel.checkpoint()
        parsed = parse_vector_key(key)
        if parsed is None:
            if not is_reserved(key):
                strangers.append(key)
        elif not parsed.part:
            owners.setdefault(parsed.owner, []).append(key)
    if strangers and index.may_hold_strangers:
        for vector in await index.get(strangers):
            name = _user_of(vector, index)
            if name is not None:
                owners.setdefault(_code_of(name, index), []).append(vector["key"])
    return owners


async def _names(index: Index, owners: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what users are called, by their codes; without those who have no record any more."""
    found: dict[str, str] = {}
    left = {code: [*keys] for code, keys in owners.items()}
    while left:
        asked = {keys.pop(): code for code, keys in left.items()}
        for vector in await index.get([*asked]):
            name = _user_of(vector, index)
            if name is not None:
                found[asked[vector["key"]]] = name
            elif index.shared:
                left[asked[vector["key"]]] = []  # another tenant's, and so are the others
        # One that was deleted in between says nothing; the next one may.
        left = {code: keys for code, keys in left.items() if code not in found and keys}
    return found


def _user_of(vector: Vector, index: Index) -> str | None:
    """Return whose a record is; None where it is another tenant's, or nobody's."""
    try:
        scope = decoded(vector["key"], flat_of(vector), tenant=index.scope.tenant).scope
    except BackendError:
        return None
    return scope.user if scope.tenant == index.scope.tenant else None


def _code_of(user: str, index: Index) -> str:
    return owner_prefix(Scope(user, tenant=index.scope.tenant))[:_OWNER]


async def stats(index: Index, *, now: datetime) -> TenantStats:
    """Count what the tenant has. Reads the metadata of the whole index."""
    counted = _Counted(index, now)
    await index.each_page(counted.take, metadata=True)
    return counted.told()


class _Counted:
    """What was counted so far."""

    def __init__(self, index: Index, now: datetime) -> None:
        self._index = index
        self._now = now
        self._users: set[str] = set()
        self._spaces: Counter[str] = Counter()
        self._records = self._expired = self._vectors = self._bytes = 0
        self._copies: dict[str, set[bytes]] = {}
        self._current: dict[str, bytes] = {}

    async def take(self, vectors: Sequence[Vector]) -> None:
        """Count a page."""
        for vector in vectors:
            self._count(vector)

    def _count(self, vector: Vector) -> None:
        key, flat = vector["key"], flat_of(vector)
        if is_copy_key(key):
            if _tenant_of(vector) == self._index.scope.tenant or not self._index.shared:
                self._copies.setdefault(whole_of(key), set()).add(_digest(flat))
            return
        if is_reserved(key) or not _is_of(vector, self._index):
            return
        self._vectors += 1
        parsed = parse_vector_key(key)
        if parsed is not None and parsed.part:
            return
        try:
            record = decoded(key, flat, tenant=self._index.scope.tenant)
        except BackendError:
            return  # nobody's: another tool's that names no user, or damaged
        self._users.add(record.scope.user)
        if record.version > 1:
            self._current[key] = _digest(flat)
        if record.expires_at is not None and record.expires_at <= self._now:
            self._expired += 1
            return
        self._records += 1
        self._spaces[record.space] += 1
        self._bytes += len(record.text.encode())

    def told(self) -> TenantStats:
        """Return the counts."""
        return TenantStats(
            users=len(self._users),
            records=self._records,
            expired=self._expired,
            versions=sum(
                len(self._copies.get(key, set()) - {now}) for key, now in self._current.items()
            ),
            vectors=self._vectors,
            text_bytes=self._bytes,
            spaces=dict(self._spaces),
        )


def _digest(flat: Mapping[str, Any]) -> bytes:
    said = orjson.dumps([flat.get(name) for name in _SAID])
    return hashlib.blake2b(said, digest_size=16).digest()


def _tenant_of(vector: Vector) -> str | None:
    """Return the tenant that memlane's vectors name; "" where they name none that can be read."""
    try:
        tenant: str | None = orjson.loads(flat_of(vector)["payload"]).get("tenant")
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
    return tenant


def _is_of(vector: Vector, index: Index) -> bool:
    """Say whether a vector of an index is its scope's tenant's."""
    if not index.shared:
        return True
    if parse_vector_key(whole_of(vector["key"])) is None and not is_actors_key(vector["key"]):
        return index.may_hold_strangers and not is_reserved(vector["key"])
    return _tenant_of(vector) == index.scope.tenant


async def forget_tenant(index: Index, remover: Index | None) -> ForgetReceipt:
    """Delete all that the tenant has, and read again to prove it.

    Args:
        index: As the tenant, and whoever erases for it, sees it.
        remover: The same as somebody sees it who may delete it whole; None in an index that
            tenants share, and where nobody is there who may.
    """
    found = 0
    left: list[str] = []
    others: list[str] = []
    for _ in range(_PASSES):
        try:
            records, others = await _all_of(index)
            left = records
            if remover is None and not records and not others:
                break
            found += len(records)
            if remover is not None:
                try:
                    await remover.remove()
                    continue
                except AccessDeniedError:
                    # Who makes indexes may not delete them here. What they hold goes all the same.
                    remover = None
            await _delete(index, [*others, *records])
        except TenantNotOnboardedError:
            left = others = []
            break
    else:
        left, others = await _left(index)
    return ForgetReceipt(
        found=found,
        deleted=found - len(left),
        failed=tuple(dict.fromkeys(map(_id_of, left))),
        verified_empty=not left and not others,
        residue="unknown",
    )


async def _delete(index: Index, keys: Sequence[str]) -> None:
    notes = [key for key in keys if is_space_key(key)]
    await index.delete([key for key in keys if not is_space_key(key)])
    # Last: until all is gone it says whose space the rest is of.
    await index.delete(notes)


async def _left(index: Index) -> tuple[list[str], list[str]]:
    try:
        return await _all_of(index)
    except TenantNotOnboardedError:
        return [], []


async def _all_of(index: Index) -> tuple[list[str], list[str]]:
    """Return the keys of a tenant's records, and of all else it has."""
    if not index.shared:
        keys = await index.keys()
    else:
        keys = await _of_tenant(index)
    records = [key for key in keys if "#" not in key and not is_reserved(key)]
    there = {*records}
    return records, [key for key in keys if key not in there]


async def _of_tenant(index: Index) -> list[str]:
    """Return the keys of one tenant in an index that several share."""
    mine: list[str] = []
    names: list[str] = []
    owners: set[str] = set()

    async def take(vectors: Sequence[Vector]) -> None:
        for vector in vectors:
            key = vector["key"]
            if is_actors_key(key):
                names.append(key)
            if _is_of(vector, index):
                mine.append(key)
                if parse_vector_key(whole_of(key)) is not None:
                    owners.add(key[:_OWNER])

    await index.each_page(take, metadata=True)
    note = space_key(index.scope, shared=True)
    noted = [vector["key"] for vector in await index.get([note])]
    # Names that an earlier version wrote say of no tenant that they are its.
    mine += [key for key in names if key[:_OWNER] in owners]
    return [*dict.fromkeys([*mine, *noted])]


def _id_of(key: str) -> str:
    parsed = parse_vector_key(key)
    return name_of(key) if parsed is None else parsed.record_id
