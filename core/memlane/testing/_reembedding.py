"""That a tenant comes into another embedding space whole, or not at all, and alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from memlane.errors import BackendError, ConflictError, EmbeddingSpaceError
from memlane.powers import SupportsReembed, SupportsTenants
from memlane.protocols import EmbeddingSpace, IndexedRecord, VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._records import exact
from memlane.testing._suite import BackendSuite
from memlane.testing._versions import change, versions_of
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SPACE,
    directions,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)
from memlane.types import MemoryRecord

__all__ = ("ReembeddingSuite",)

HERE = Reach.point(SCOPE, now=NOW)
OTHER = EmbeddingSpace(model="another", dimensions=8)
THIRD = EmbeddingSpace(model="a third", dimensions=16)
TENANT = Scope("-", tenant=SCOPE.tenant)
BOB = Scope("bob", tenant=SCOPE.tenant, agent="x", session="s")
RIVAL = Scope("ada", tenant="Acme", agent="support", session="monday")


def _anew(records: Sequence[MemoryRecord]) -> list[IndexedRecord]:
    rows = directions(2, dimensions=OTHER.dimensions)
    return [indexed(record, *rows) for record in records]


async def _pending(backend: SupportsReembed, *, limit: int = 100) -> list[MemoryRecord]:
    found: list[MemoryRecord] = []
    cursor: str | None = None
    while True:
        page = await backend.pending(scope=TENANT, space=OTHER, cursor=cursor, limit=limit)
        assert len(page.records) <= limit
        found += page.records
        if (cursor := page.cursor) is None:
            return found


class ReembeddingSuite(BackendSuite):
    """`SupportsReembed`."""

    async def _filled(self, backend: VectorBackend) -> SupportsReembed:
        """Return a backend with five records of two users, and one of another tenant."""
        if not isinstance(backend, SupportsReembed):
            pytest.skip("this backend takes no tenant to another embedding space")
        if not self.moves:
            pytest.skip("tenants share an index here")
        await put(backend, *(indexed(make_record(f"a{n}", f"text {n}")) for n in range(3)))
        await put(backend, *(indexed(make_record(f"b{n}", scope=BOB)) for n in range(2)))
        await put(backend, indexed(make_record("theirs", scope=RIVAL)))
        return backend

    async def test_where_it_cannot_be_done_it_is_said(self, backend: VectorBackend) -> None:
        """Nothing changes, and the error says so."""
        if not isinstance(backend, SupportsReembed) or self.moves:
            pytest.skip("it can be done here, or nobody says that it can")
        await put(backend, indexed(make_record("a")))
        with pytest.raises(BackendError):
            await backend.begin_reembed(scope=TENANT, space=OTHER)
        assert sorted((await backend.query(query_for(unit(0)), reach=HERE)).record_ids) == ["a"]

    async def test_from_one_space_to_the_other(self, backend: VectorBackend) -> None:
        """Until the end all is as it was; then only the new space is served, with all records."""
        moving = await self._filled(backend)
        before = {(each.scope, each.id): exact(each) for each in await self._all(backend)}
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        records = await _pending(moving, limit=2)
        assert ids_of(records) == ["a0", "a1", "a2", "b0", "b1"]
        assert {(each.scope, each.id): exact(each) for each in records} == before
        await moving.shadow(_anew(records), scope=TENANT, space=OTHER)
        assert await _pending(moving) == []
        found = await backend.query(query_for(unit(0)), reach=HERE)
        assert sorted(found.record_ids) == ["a0", "a1", "a2"]
        assert await moving.cut_over(scope=TENANT, space=OTHER) is True
        after = {(each.scope, each.id): exact(each) for each in await self._all(backend)}
        assert after == {name: {**old, "space": OTHER.id} for name, old in before.items()}
        (row,) = directions(1, dimensions=OTHER.dimensions)
        found = await backend.query(query_for(row, space=OTHER.id), reach=HERE)
        assert sorted({*found.record_ids}) == ["a0", "a1", "a2"]
        assert float(found.distances.min()) == pytest.approx(0, abs=1e-3)
        (item,) = await backend.fetch(["a1"], reach=HERE, vectors=True)
        assert [part.vector.shape for part in item.parts] == [(OTHER.dimensions,)] * 2
        await self.check_raw(backend, ["a0", "a1", "a2", "b0", "b1", "theirs"])

    async def test_the_old_space_is_refused(self, backend: VectorBackend) -> None:
        """Afterwards nobody of the old space stores or recalls; the other tenants do."""
        moving = await self._filled(backend)
        await self._move(moving)
        with pytest.raises(EmbeddingSpaceError):
            await backend.ensure_index(scope=SCOPE, space=SPACE)
        with pytest.raises(EmbeddingSpaceError):
            await backend.upsert([indexed(make_record("new"))], scope=SCOPE)
        with pytest.raises(EmbeddingSpaceError):
            await backend.query(query_for(unit(0)), reach=HERE)
        await backend.ensure_index(scope=SCOPE, space=OTHER)
        new = replace(_anew([make_record("new", space=OTHER.id)])[0])
        await backend.upsert([new], scope=SCOPE, expected_version=0)
        assert "new" in ids_of(await read_all(backend, HERE))
        theirs = Reach.point(RIVAL, now=NOW)
        assert [*(await backend.query(query_for(unit(0)), reach=theirs)).record_ids] == ["theirs"]
        await put(backend, indexed(make_record("more", scope=RIVAL)))

    async def test_once_more_is_nothing(self, backend: VectorBackend) -> None:
        """Who comes second is told that it is done, at each step."""
        moving = await self._filled(backend)
        await self._move(moving)
        with pytest.raises(EmbeddingSpaceError):
            await moving.begin_reembed(scope=TENANT, space=OTHER)
        assert await _pending(moving) == []
        assert await moving.cut_over(scope=TENANT, space=OTHER) is True
        assert await moving.abandon_reembed(scope=TENANT) is False

    async def test_it_can_be_resumed(self, backend: VectorBackend) -> None:
        """Begun again it finds what was shadowed; only the rest is pending."""
        moving = await self._filled(backend)
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        records = await _pending(moving)
        await moving.shadow(_anew(records[:3]), scope=TENANT, space=OTHER)
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        rest = await _pending(moving, limit=1)
        assert [*map(exact, rest)] == [*map(exact, records[3:])]
        assert await moving.cut_over(scope=TENANT, space=OTHER) is False
        await backend.ensure_index(scope=SCOPE, space=SPACE)
        await moving.shadow(_anew(records), scope=TENANT, space=OTHER)  # some of it once more
        assert await moving.cut_over(scope=TENANT, space=OTHER) is True

    async def test_what_changes_meanwhile_is_pending(self, backend: VectorBackend) -> None:
        """Stored, changed or stored anew since it was shadowed: nothing is cut over without it."""
        moving = await self._filled(backend)
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        await moving.shadow(_anew(await _pending(moving)), scope=TENANT, space=OTHER)
        await backend.delete(["a0"], reach=HERE)
        changed = make_record("a1", "changed", version=2)
        await put(backend, replace(indexed(changed), replaces=make_record("a1", "text 1")))
        await put(backend, indexed(make_record("a3")))
        pending = await _pending(moving)
        assert sorted((each.id, each.version) for each in pending) == [("a1", 2), ("a3", 1)]
        assert await moving.cut_over(scope=TENANT, space=OTHER) is False
        await moving.shadow(_anew(pending), scope=TENANT, space=OTHER)
        assert await moving.cut_over(scope=TENANT, space=OTHER) is True
        assert ids_of(await read_all(backend, HERE)) == ["a1", "a2", "a3"]
        (row,) = directions(1, dimensions=OTHER.dimensions)
        found = await backend.query(query_for(row, space=OTHER.id), reach=HERE)
        assert sorted({*found.record_ids}) == ["a1", "a2", "a3"]
        if hasattr(backend, "versions"):
            assert [each.text for each in await versions_of(backend, "a1")] == ["text 1"]

    async def test_two_goals_at_once_are_refused(self, backend: VectorBackend) -> None:
        """A third space conflicts until the shadow is abandoned; then all is as it was."""
        moving = await self._filled(backend)
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        await moving.shadow(_anew(await _pending(moving)), scope=TENANT, space=OTHER)
        with pytest.raises(ConflictError):
            await moving.begin_reembed(scope=TENANT, space=THIRD)
        with pytest.raises(ConflictError):
            await moving.cut_over(scope=TENANT, space=THIRD)
        assert await moving.abandon_reembed(scope=TENANT) is True
        assert await moving.abandon_reembed(scope=TENANT) is False
        with pytest.raises(ConflictError):
            await moving.cut_over(scope=TENANT, space=OTHER)
        found = await backend.query(query_for(unit(0)), reach=HERE)
        assert sorted(found.record_ids) == ["a0", "a1", "a2"]
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        assert len(await _pending(moving)) == 5

    async def test_what_records_were_stays(self, backend: VectorBackend) -> None:
        """Versions come along, and are still no records."""
        moving = await self._filled(backend)
        records = await change(
            backend, *(make_record("v", f"text {n}", version=n) for n in range(1, 4))
        )
        if not hasattr(backend, "versions"):
            pytest.skip("this backend keeps no versions")
        await self._move(moving)
        kept = await versions_of(backend, "v")
        assert [each.text for each in kept] == [each.text for each in reversed(records[:-1])]
        assert ids_of(await read_all(backend, HERE)) == ["a0", "a1", "a2", "v"]

    async def test_a_forgotten_tenant_is_on_no_way(self, backend: VectorBackend) -> None:
        """With a tenant goes its shadow."""
        moving = await self._filled(backend)
        if not isinstance(backend, SupportsTenants):
            pytest.skip("this backend does not look at whole tenants")
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        await moving.shadow(_anew(await _pending(moving)), scope=TENANT, space=OTHER)
        await backend.forget_tenant(scope=TENANT)
        assert await moving.abandon_reembed(scope=TENANT) is False
        await self.check_raw(backend, ["theirs"])

    async def _move(self, moving: SupportsReembed) -> None:
        await moving.begin_reembed(scope=TENANT, space=OTHER)
        await moving.shadow(_anew(await _pending(moving)), scope=TENANT, space=OTHER)
        assert await moving.cut_over(scope=TENANT, space=OTHER) is True

    async def _all(self, backend: VectorBackend) -> list[MemoryRecord]:
        return [
            record
            for scope in (Scope("ada", tenant="acme"), Scope("bob", tenant="acme"))
            for record in await read_all(backend, Reach.whole(scope, now=None))
        ]
