"""What several processes do to one tenant at the same time, on the backend itself."""

from __future__ import annotations

import zlib
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np

from faults.children import Line
from memlane.errors import ConflictError, EmbeddingSpaceError
from memlane.local import SqliteBackend
from memlane.local.sqlite import tenants
from memlane.protocols import EmbeddingSpace, IndexedRecord, RecordPart
from memlane.scope import Reach, Scope
from memlane.testing.fakes import START as NOW
from memlane.types import MemoryRecord

ACME: Final = Scope("-", tenant="acme")
OTHER: Final = Scope("eve", tenant="other")
OLD: Final = EmbeddingSpace(model="old", dimensions=16)
NEW: Final = EmbeddingSpace(model="new", dimensions=8)
USERS: Final = 5
STEP: Final = 20  # records a change removes here: so that many are needed
_PATIENCE: Final = 20.0


def scope_of(user: int) -> Scope:
    """Return where a user's records are: every other has an agent."""
    return Scope(f"user {user}", tenant="acme", agent="a" if user % 2 else None)


def made(record: MemoryRecord, space: EmbeddingSpace) -> IndexedRecord:
    """Return a record with the vectors its text has in a space: one, or one and a window."""
    seed = zlib.crc32(record.text.encode())
    rows = np.random.default_rng(seed).normal(size=(1 + seed % 2, space.dimensions))
    terms = np.array([seed], dtype=np.uint32)
    return IndexedRecord(
        record=record,
        parts=tuple(
            RecordPart(start=0, end=len(record.text), vector=row.astype(np.float32), terms=terms)
            for row in rows
        ),
    )


def record(record_id: str, scope: Scope, *, ends: bool = False, version: int = 1) -> MemoryRecord:
    """Return a record whose text says its id and version."""
    return MemoryRecord(
        id=record_id,
        text=f"{record_id} of {scope.user} at version {version}",
        scope=scope,
        occurred_at=NOW,
        stored_at=NOW,
        updated_at=NOW + timedelta(seconds=version),
        expires_at=NOW - timedelta(minutes=len(record_id)) if ends else None,
        version=version,
        space=OLD.id,
    )


async def fill(path: Path, each: int) -> None:
    """Store for some users of the tenant, as many again that have expired, and for another."""
    backend = SqliteBackend(path)
    for scope in (*map(scope_of, range(USERS)), OTHER):
        for ends in (False, True):
            name = "gone" if ends else "kept"
            items = [record(f"{name} {n}", scope, ends=ends) for n in range(each)]
            await backend.upsert([made(one, OLD) for one in items], scope=scope)
        first = record("kept 0", scope)
        second = record("kept 0", scope, version=2)
        item = made(second, OLD)
        replacing = IndexedRecord(record=second, parts=item.parts, replaces=first)
        await backend.upsert([replacing], scope=scope)
    await backend.aclose()


def _opened(line: Line, path: str) -> SqliteBackend:
    """Return the store once all are ready to begin."""
    setattr(tenants, "AT_ONCE", STEP)  # noqa: B010 - final elsewhere; in this process alone
    backend = SqliteBackend(path, busy_timeout=_PATIENCE)
    line.say("ready")
    line.hear()
    return backend


async def sweep(line: Line, path: str) -> None:
    """Sweep the tenant."""
    backend = _opened(line, path)
    line.say("swept", await backend.sweep(scope=ACME, now=NOW))
    await backend.aclose()


async def forget(line: Line, path: str) -> None:
    """Forget the tenant."""
    backend = _opened(line, path)
    receipt = await backend.forget_tenant(scope=ACME)
    line.say("forgot", receipt.deleted, receipt.verified_empty)
    await backend.aclose()


async def take(backend: SqliteBackend) -> None:
    """Take the tenant to the new space, whoever else does."""
    try:
        await backend.begin_reembed(scope=ACME, space=NEW)
    except EmbeddingSpaceError:
        return  # somebody was first
    while True:
        page = await backend.pending(scope=ACME, space=NEW, limit=STEP)
        await backend.shadow([made(one, NEW) for one in page.records], scope=ACME, space=NEW)
        if not page.records and await backend.cut_over(scope=ACME, space=NEW):
            return


async def take_over(line: Line, path: str) -> None:
    """Take the tenant to the new space."""
    backend = _opened(line, path)
    await take(backend)
    line.say("taken")
    await backend.aclose()


async def write(line: Line, path: str, name: str, ending: bool) -> None:
    """Store, update and read until the space is another or somebody says that it is enough."""
    backend = _opened(line, path)
    scope = scope_of(len(name) % USERS)
    reach = Reach.point(scope, now=NOW)
    number = 0
    try:
        while not line.asked():
            number += 1
            mine = record(f"{name} {number}", scope)
            await backend.upsert([made(mine, OLD)], scope=scope, expected_version=0)
            line.say("stored", mine.id, scope.user, 1)
            again = record(mine.id, scope, version=2)
            item = IndexedRecord(record=again, parts=made(again, OLD).parts, replaces=mine)
            await backend.upsert([item], scope=scope, expected_version=1)
            line.say("stored", mine.id, scope.user, 2)
            if ending:
                short = record(f"gone {name} {number}", scope, ends=True)
                await backend.upsert([made(short, OLD)], scope=scope)
            found = await backend.fetch([mine.id], reach=reach)
            assert [one.record.version for one in found] == [2]
    except (EmbeddingSpaceError, ConflictError) as error:
        line.say("refused", type(error).__name__)
    await backend.aclose()
