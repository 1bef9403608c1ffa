"""Long listings: what they ask for, in how much memory, and what is shown of what changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from core.aws.s3vectors.opened import MINE, Cloud, cloud
from core.aws.s3vectors.test_tenants import note_of_another_tool
from memlane import MemoryClient
from memlane.aws.s3vectors import S3VectorsBackend, streams
from memlane.errors import InvalidCursorError
from memlane.filters import Filter
from memlane.protocols import ScanPage
from memlane.scope import Reach, Scope
from memlane.testing import FakeClock, HashingEmbedder
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    ids_of,
    indexed,
    make_record,
    put,
    read_all,
)
from memlane.types import MemoryRecord

__all__ = ("cloud",)

HERE = Reach.whole(MINE, now=NOW)
EVER = Reach.whole(MINE, now=None)
COUNT = 2_300  # of some 450 bytes: three pages of a listing
NAMES = [f"r{n:04}" for n in range(COUNT)]


async def _filled(
    cloud: Cloud, count: int = COUNT, others: int = 0, **options: object
) -> S3VectorsBackend:
    backend = await cloud.onboarded(**options)
    for scope, many in ((MINE, count), (Scope("eve", tenant="acme"), others)):
        for at in range(0, many, 500):
            await put(
                backend,
                *(
                    indexed(make_record(name, scope=scope))
                    for name in NAMES[at : min(at + 500, many)]
                ),
            )
    await cloud.asked()
    return backend


async def test_who_has_the_index_is_listed_with_it(cloud: Cloud) -> None:
    """As many requests as the pages of the listing, and none for what is on them."""
    backend = await _filled(cloud)
    found = await read_all(backend, HERE, limit=500)
    assert ids_of(found) == NAMES
    asked = await cloud.asked()
    assert asked == {"ListVectors": 1 + 16}
    again = await read_all(backend, HERE, limit=70)
    assert [each.id for each in again] == [each.id for each in found]


async def test_who_has_little_of_it_is_read_by_keys(cloud: Cloud) -> None:
    """The texts of all others do not travel along."""
    backend = await _filled(cloud, count=300, others=1_500)
    assert ids_of(await read_all(backend, HERE, limit=100)) == NAMES[:300]
    asked = await cloud.asked()
    assert asked["GetVectors"] == 3
    assert asked["ListVectors"] <= 1 + 16


async def test_no_more_is_held_than_may_be(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what does not fit only the key is kept, and it is read once it is shown."""
    monkeypatch.setattr(streams, "MAX_HELD", 60)
    backend = await _filled(cloud)
    page = await backend.scan(reach=HERE, limit=10)
    (stream,) = backend._streams._kept.values()
    assert len(stream._held) <= 60
    found = [*page.records]
    while page.cursor is not None:
        page = await backend.scan(reach=HERE, cursor=page.cursor, limit=90)
        assert len(stream._held) <= 60
        found += page.records
    assert ids_of(found) == NAMES
    assert not backend._streams._kept


async def test_pages_go_on_anywhere_and_any_time(cloud: Cloud) -> None:
    """In another process, a minute later, twice from one cursor: each record is met once."""
    clock = FakeClock()
    backend = await _filled(cloud, clock=clock)
    first = await backend.scan(reach=HERE, limit=900)
    found: list[MemoryRecord] = [*first.records]
    cursor = first.cursor
    for number in range(20):
        if cursor is None:
            break
        reader = cloud.backend() if number % 3 == 1 else backend
        page = await reader.scan(reach=HERE, cursor=cursor, limit=300)
        again = await backend.scan(reach=HERE, cursor=cursor, limit=300)
        assert again.records == page.records
        found += page.records
        cursor = page.cursor
        clock.advance(timedelta(seconds=(0, 20, 61)[number % 3]))
    assert ids_of(found) == NAMES


async def _held(backend: S3VectorsBackend, page: ScanPage) -> list[str]:
    """Return ids that were listed with their records, and are still to be shown."""
    (stream,) = backend._streams._kept.values()
    seen = {record.id for record in page.records}
    return sorted({key.rpartition("/")[2] for key in stream._held} - seen)


async def test_what_this_process_changes_is_shown_as_it_is(cloud: Cloud) -> None:
    """At once, though it was listed before."""
    backend = await _filled(cloud)
    first = await backend.scan(reach=HERE, limit=100)
    deleted, changed, *_ = await _held(backend, first)
    await backend.delete([deleted], reach=HERE)
    await put(backend, indexed(make_record(changed, "new", scope=MINE, version=2)))
    rest = await _rest(backend, first, HERE)
    assert ids_of([*first.records, *rest]) == sorted({*NAMES} - {deleted})
    assert {record.text for record in rest if record.id == changed} == {"new"}


async def test_what_others_change_is_shown_seconds_later(cloud: Cloud) -> None:
    """What was listed is shown for ten; what ends meanwhile is not shown at all."""
    clock = FakeClock()
    backend, other = await _filled(cloud, clock=clock), cloud.backend()
    first = await backend.scan(reach=HERE, limit=100)
    deleted, ending, *_ = await _held(backend, first)
    await other.delete([deleted], reach=HERE)
    ends = NOW + timedelta(seconds=5)
    await put(other, indexed(make_record(ending, scope=MINE, version=2, expires_at=ends)))
    clock.advance(timedelta(seconds=11))
    later = replace(HERE, now=NOW + timedelta(seconds=11))
    rest = await _rest(backend, first, later)
    assert ids_of([*first.records, *rest]) == sorted({*NAMES} - {deleted, ending})


async def _rest(backend: S3VectorsBackend, page: ScanPage, reach: Reach) -> list[MemoryRecord]:
    found: list[MemoryRecord] = []
    while page.cursor is not None:
        page = await backend.scan(reach=reach, cursor=page.cursor, limit=1_000)
        found += page.records
    return found


async def test_windows_and_strangers_among_them(cloud: Cloud) -> None:
    """Windows are no records, and what another tool keeps for the user is one."""
    backend = await _filled(cloud)
    await put(backend, indexed(make_record("long", scope=MINE), *directions(40)))
    await note_of_another_tool(backend, "mem-1", user_id="ada", content="x")
    await note_of_another_tool(backend, "mem-2", user_id="eve", content="x")
    await note_of_another_tool(backend, "mem-3")
    found = await read_all(backend, HERE, limit=1_000)
    assert ids_of(found) == sorted([*NAMES, "long", "mem-1"])
    narrow = await read_all(backend, HERE, condition=Filter.eq("@kind", "summary"), limit=1_000)
    assert narrow == []


async def test_cursors_of_streams_are_checked(cloud: Cloud) -> None:
    """Edited in any way they are refused, and never lead to another's records."""
    backend = await _filled(cloud, others=COUNT)
    page = await backend.scan(reach=HERE, limit=10)
    cursor = page.cursor
    assert cursor is not None
    assert cursor[0] == "2"
    places = ("OTk", "OTlh", "MTZh", "YWFh", "")  # 99, 99a, 16a, aaa
    for wrong in (f"3{cursor[1:]}", f"{cursor}=", "2", *(f"2{'x' * 8}{each}" for each in places)):
        with pytest.raises(InvalidCursorError):
            await backend.scan(reach=HERE, cursor=wrong)
    eve = Reach.whole(Scope("eve", tenant="acme"), now=NOW)
    theirs = await backend.scan(reach=eve, cursor=cursor, limit=50)
    assert {record.scope.user for record in theirs.records} == {"eve"}


async def test_what_nobody_reads_on_is_let_go(cloud: Cloud) -> None:
    """A listing and a stream are held a minute, by a process that only stores too."""
    clock = FakeClock()
    backend = await _filled(cloud, clock=clock)
    eve = Scope("eve", tenant="acme")
    await put(backend, indexed(make_record("x", scope=eve)))
    page = await backend.scan(reach=HERE, limit=10)
    few = await backend.scan(reach=Reach.whole(eve, now=None), limit=1)
    assert page.cursor is not None
    assert few.cursor is None
    assert (len(backend._streams._kept), len(backend._listings._kept)) == (1, 1)
    clock.advance(timedelta(seconds=59))
    await put(backend, indexed(make_record("y", scope=eve)))
    assert (len(backend._streams._kept), len(backend._listings._kept)) == (1, 1)
    clock.advance(timedelta(seconds=2))
    await put(backend, indexed(make_record("z", scope=eve)))
    assert (len(backend._streams._kept), len(backend._listings._kept)) == (0, 0)
    page = await backend.scan(reach=HERE, cursor=page.cursor, limit=10)
    assert len(page.records) == 10


@pytest.mark.parametrize("agent", [None, "bot"])
async def test_forgetting_reads_no_record(cloud: Cloud, agent: str | None) -> None:
    """Of a user and of one agent: keys are listed and deleted; then it is proven."""
    scope = replace(MINE, agent=agent)
    backend = await cloud.onboarded()
    for at in range(0, 1_500, 500):
        items = [indexed(make_record(name, scope=scope)) for name in NAMES[at : at + 500]]
        await put(backend, *items)
    await put(backend, indexed(make_record("kept", scope=replace(MINE, agent="other"))))
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(SPACE.dimensions))
    await cloud.asked()
    receipt = await client.forget(scope)
    count = 1_500 + (agent is None)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (count, count, True)
    asked = await cloud.asked()
    # Whose names are to stay is read.
    assert asked.get("GetVectors", 0) == (agent is not None)
    assert asked["DeleteVectors"] <= 4 + 2
    assert asked["ListVectors"] <= 17 + 4
