"""That what an update replaces is kept for whoever may see the record, and found by nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from memlane.errors import ConflictError
from memlane.layout import MAX_VERSIONS
from memlane.powers import SupportsAdmin, SupportsCount, SupportsRemains, SupportsVersions
from memlane.protocols import IndexedRecord, VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._records import exact
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SPACE,
    SUSPECTS,
    directions,
    indexed,
    lies_within,
    make_record,
    query_for,
    read_all,
    unit,
    words,
)
from memlane.types import ImageNote, MemoryRecord

__all__ = ("VersionsSuite", "change", "versions_of")

HERE = Reach.point(SCOPE, now=NOW)
EVER = Reach.whole(SCOPE, now=None)
TICK = timedelta(microseconds=1)


async def versions_of(
    backend: VectorBackend, record_id: str = "a", *, reach: Reach = HERE
) -> list[MemoryRecord]:
    """Return what a backend keeps; a backend that keeps nothing skips the test."""
    if not isinstance(backend, SupportsVersions):
        pytest.skip("this backend keeps no versions")
    return [*await backend.versions(record_id, reach=reach)]


async def change(
    backend: VectorBackend, *records: MemoryRecord, checked: bool = True
) -> list[MemoryRecord]:
    """Store records one after the other, each in the place of the one before it."""
    before: MemoryRecord | None = None
    for record in records:
        owner = replace(record.scope, session=None)
        await backend.ensure_index(scope=owner, space=SPACE)
        (vector,) = directions(1, seed=record.version)
        item = replace(indexed(record, vector, terms=[words(record.version)]), replaces=before)
        have = 0 if before is None else before.version
        await backend.upsert([item], scope=owner, expected_version=have if checked else None)
        before = record
    return [*records]


def _told(record_id: str, count: int, *, scope: Scope = SCOPE) -> list[MemoryRecord]:
    return [
        make_record(record_id, f"text {number} of {record_id}", scope=scope, version=number)
        for number in range(1, count + 1)
    ]


class VersionsSuite(BackendSuite):
    """`SupportsVersions`, and `IndexedRecord.replaces`."""

    async def test_what_is_replaced_is_kept(self, backend: VectorBackend) -> None:
        """Every version but the current one is there, the newest first, exactly as it was."""
        await versions_of(backend)
        note = ImageNote(sha256="0" * 64, media_type="image/png", size=7, embedded=False)
        first = replace(
            make_record("a", "first \0 \u05e9", metadata={"deep": [{"x": 1.0}, True]}, tags=("x",)),
            valid_from=NOW - timedelta(days=3, microseconds=7),
            valid_to=NOW + TICK,
            source="tool",
            images=(note,),
        )
        later = _told("a", 4)[1:]
        records = await change(backend, first, *later)
        (current,) = await backend.fetch(["a"], reach=HERE)
        assert exact(current.record) == exact(records[-1])
        kept = await versions_of(backend)
        assert [*map(exact, kept)] == [*map(exact, reversed(records[:-1]))]

    async def test_a_new_record_was_nothing_before(self, backend: VectorBackend) -> None:
        """It has no versions, nor has what nobody stored."""
        await versions_of(backend)
        await change(backend, *_told("a", 1))
        assert await versions_of(backend) == []
        assert await versions_of(backend, "nobody") == []

    async def test_versions_are_no_records(self, backend: VectorBackend) -> None:
        """What a record was is not listed, counted, fetched or found, by its vector or words."""
        await versions_of(backend)
        records = await change(backend, *_told("a", 3))
        await change(backend, *_told("b", 2))
        assert [record.text for record in await read_all(backend, EVER)] == [
            "text 3 of a",
            "text 2 of b",
        ]
        if isinstance(backend, SupportsCount):
            assert await backend.count(reach=HERE) == 2
        (old,) = directions(1, seed=records[0].version)
        for query in (
            query_for(old, terms=words(1)),
            query_for(None, terms=words(1)),
            query_for(old),
        ):
            found = await backend.query(query, reach=HERE)
            assert sorted(found.record_ids) in (["a", "b"], [])
            if found.records is not None:
                assert {record.version for record in found.records} <= {3, 2}
        fetched = await backend.fetch(["a"], reach=HERE, vectors=True)
        assert [item.record.version for item in fetched] == [3]
        await self.check_raw(backend, ["a", "b"])

    async def test_deleting_takes_all_a_record_was(self, backend: VectorBackend) -> None:
        """Of a deleted record nothing is left, and its id begins anew."""
        await versions_of(backend)
        await change(backend, *_told("a", 3))
        await change(backend, *_told("b", 3))
        assert await backend.delete(["a"], reach=HERE) == 1
        assert await versions_of(backend) == []
        assert len(await versions_of(backend, "b")) == 2
        if isinstance(backend, SupportsRemains):
            assert [*await backend.remains(reach=EVER)] == ["b"]
        await change(backend, make_record("a", "anew"))
        assert await versions_of(backend) == []
        await self.check_raw(backend, ["a", "b"])

    async def test_another_record_of_the_id_has_no_past(self, backend: VectorBackend) -> None:
        """Version 1 in the place of one that had expired was nothing before."""
        await versions_of(backend)
        old = replace(_told("a", 2)[1], expires_at=NOW)
        await change(backend, _told("a", 1)[0], old)
        await backend.upsert([indexed(make_record("a", "anew"))], scope=SCOPE, expected_version=2)
        assert await versions_of(backend) == []
        assert await versions_of(backend, reach=EVER) == []

    @pytest.mark.parametrize("any_session", [True, False], ids=["sessions", "session"])
    @pytest.mark.parametrize("any_agent", [True, False], ids=["agents", "agent"])
    async def test_versions_stay_within_reach(
        self, backend: VectorBackend, any_agent: bool, any_session: bool
    ) -> None:
        """From every scope exactly the versions of the records within reach are seen."""
        await versions_of(backend)
        owners: dict[tuple[str | None, str, str | None], Scope] = {}
        for scope in SUSPECTS:  # of one owner's sessions only one can have the id
            owners[scope.tenant, scope.user, scope.agent] = scope
        for scope in owners.values():
            await change(
                backend,
                make_record("same", f"old of {scope}", scope=scope),
                make_record("same", f"new of {scope}", scope=scope, version=2),
            )
        for mine in SUSPECTS:
            reach = Reach(scope=mine, any_agent=any_agent, any_session=any_session, now=NOW)
            found = await versions_of(backend, "same", reach=reach)
            assert sorted(record.text for record in found) == sorted(
                f"old of {other}"
                for other in owners.values()
                if lies_within(mine, other, any_agent=any_agent, any_session=any_session)
            )

    async def test_what_was_said_in_another_session_stays_there(
        self, backend: VectorBackend
    ) -> None:
        """A record that an import took into another session has its past where that was."""
        await versions_of(backend)
        first, second = _told("a", 2)
        moved = replace(second, scope=replace(SCOPE, session="tuesday"))
        await change(backend, first, moved)
        for scope, any_session, told in (
            (moved.scope, True, [first.text]),
            (moved.scope, False, []),
            (SCOPE, True, [first.text]),
            (SCOPE, False, []),  # the record itself is out of reach
        ):
            reach = Reach(scope=scope, any_agent=False, any_session=any_session, now=NOW)
            found = await versions_of(backend, reach=reach)
            assert [record.text for record in found] == told

    async def test_an_expired_record_has_no_past(self, backend: VectorBackend) -> None:
        """Its versions are out of reach with it; when they were to expire themselves is nothing."""
        await versions_of(backend)
        brief, lasting = (make_record("a", "brief", expires_at=NOW - TICK), _told("a", 2)[1])
        await change(backend, brief, lasting)
        assert [*map(exact, await versions_of(backend))] == [exact(brief)]
        gone = replace(_told("b", 2)[1], expires_at=NOW)
        await change(backend, _told("b", 1)[0], gone)
        assert await versions_of(backend, "b") == []
        assert len(await versions_of(backend, "b", reach=EVER)) == 1
        earlier = Reach.point(SCOPE, now=NOW - TICK)
        assert len(await versions_of(backend, "b", reach=earlier)) == 1

    async def test_not_more_are_kept_than_are_promised(self, backend: VectorBackend) -> None:
        """Of many versions the newest are there, at the latest after a sweep."""
        await versions_of(backend)
        records = await change(backend, *_told("a", MAX_VERSIONS + 4))
        if not backend.capabilities.atomic_conditions and isinstance(backend, SupportsAdmin):
            await backend.sweep(scope=SCOPE, now=NOW)
        kept = await versions_of(backend)
        expected = records[-1 - MAX_VERSIONS : -1]
        assert [record.version for record in kept] == [each.version for each in reversed(expected)]
        assert (await backend.fetch(["a"], reach=HERE))[0].record.version == MAX_VERSIONS + 4

    async def test_of_two_that_race_no_text_is_lost(self, backend: VectorBackend) -> None:
        """Two versions 2 of one record: the loser is told, or both texts are there."""
        await versions_of(backend)
        first, second = _told("a", 2)
        await change(backend, first, second)
        other = replace(second, text="another text", updated_at=second.updated_at + TICK)
        item = replace(indexed(other), replaces=first)
        if backend.capabilities.atomic_conditions:
            with pytest.raises(ConflictError):
                await backend.upsert([item], scope=SCOPE, expected_version=1)
            assert [record.text for record in await versions_of(backend)] == [first.text]
        await backend.upsert([item], scope=SCOPE)  # as one does who knows of no other
        (current,) = await backend.fetch(["a"], reach=HERE)
        texts = [current.record.text, *(record.text for record in await versions_of(backend))]
        assert sorted(texts) == sorted([first.text, second.text, other.text])
        assert texts[0] == other.text

    async def test_numbers_may_begin_anywhere(self, backend: VectorBackend) -> None:
        """What comes from elsewhere has versions with gaps, and two under one number."""
        await versions_of(backend)
        told = [
            make_record("a", text, version=number)
            for number, text in ((3, "three"), (7, "seven"), (7, "seven too"), (9, "nine"))
        ]
        told[2] = replace(told[2], updated_at=told[1].updated_at + TICK)
        await change(backend, *told)
        kept = await versions_of(backend)
        assert [(record.version, record.text) for record in kept] == [
            (7, "seven too"),
            (7, "seven"),
            (3, "three"),
        ]

    async def test_several_at_once(self, backend: VectorBackend) -> None:
        """A batch replaces several records, and keeps what each one was."""
        await versions_of(backend)
        ids = [f"r{number:02}" for number in range(30)]
        olds = [make_record(each, f"old {each}") for each in ids]
        await backend.ensure_index(scope=SCOPE, space=SPACE)
        await backend.upsert([indexed(old) for old in olds], scope=SCOPE)
        items: list[IndexedRecord] = [
            replace(indexed(make_record(old.id, f"new {old.id}", version=2), unit(3)), replaces=old)
            for old in olds
        ]
        await backend.upsert(items, scope=SCOPE, expected_version=1)
        for old in (olds[0], olds[17], olds[-1]):
            assert [*map(exact, await versions_of(backend, old.id))] == [exact(old)]
