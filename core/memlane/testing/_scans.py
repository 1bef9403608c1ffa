"""That reading page by page meets every record once, whatever happens between two pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from memlane.errors import InvalidCursorError
from memlane.filters import as_filter
from memlane.protocols import VectorBackend
from memlane.scope import Reach
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import NOW, SCOPE, ids_of, indexed, make_record, put, read_all

__all__ = ("ScansSuite",)

HERE = Reach.whole(SCOPE, now=NOW)

NO_CURSORS = ("nonsense", "\0", "\U0001f9e0", "{}", "not a cursor", "' OR 1=1 --", "1e9", "9" * 40)


async def _fill(backend: VectorBackend, count: int) -> list[str]:
    # Not in the order of their ids or times, so that no sorting passes for stored order.
    ids = [f"r{(n * 7) % count:02}" for n in range(count)]
    await put(
        backend,
        *(
            indexed(make_record(each, occurred_at=NOW - timedelta(hours=(n * 5) % count)))
            for n, each in enumerate(ids)
        ),
    )
    return ids


class ScansSuite(BackendSuite):
    """Pages and cursors."""

    @pytest.mark.parametrize("limit", [1, 2, 3, 11, 12, 100])
    async def test_pages_hold_everything_once(self, backend: VectorBackend, limit: int) -> None:
        """Pages of any size together are everything, without repeats, in one stable order."""
        ids = await _fill(backend, 11)
        first = [record.id for record in await read_all(backend, HERE, limit=limit)]
        assert sorted(first) == sorted(ids)
        assert [record.id for record in await read_all(backend, HERE, limit=limit)] == first
        assert [record.id for record in await read_all(backend, HERE, limit=5)] == first

    async def test_scanning_changes_nothing(self, backend: VectorBackend) -> None:
        """A cursor can be used twice and gives the same page."""
        await _fill(backend, 6)
        first = await backend.scan(reach=HERE, limit=2)
        assert first.cursor is not None
        again = [await backend.scan(reach=HERE, cursor=first.cursor, limit=2) for _ in range(2)]
        assert again[0] == again[1]
        assert not {r.id for r in first.records} & {r.id for r in again[0].records}

    async def test_pages_survive_what_happens_between_them(self, backend: VectorBackend) -> None:
        """What was there all the time is met exactly once, though others come, go and change."""
        ids = await _fill(backend, 12)
        page = await backend.scan(reach=HERE, limit=4)
        seen = [record.id for record in page.records]
        read, unread = seen[0], next(each for each in ids if each not in seen)
        changed = [seen[1], next(each for each in reversed(ids) if each not in {*seen, unread})]
        await backend.delete([read, unread], reach=HERE)
        await put(backend, *(indexed(make_record(each)) for each in ("r00a", "zz", "a")))
        await put(backend, *(indexed(make_record(each, "new", version=2)) for each in changed))
        cursor = page.cursor
        while cursor is not None:
            page = await backend.scan(reach=HERE, cursor=cursor, limit=4)
            seen += [record.id for record in page.records]
            cursor = page.cursor
        assert len(seen) == len(set(seen)), "a record was met twice"
        assert set(ids) - {read, unread} <= set(seen), "a record was skipped"
        assert unread not in seen

    async def test_a_cursor_outlives_its_own_record(self, backend: VectorBackend) -> None:
        """The last record of a page may be deleted before the next page is read."""
        ids = await _fill(backend, 9)
        page = await backend.scan(reach=HERE, limit=3)
        seen = [record.id for record in page.records]
        await backend.delete(seen, reach=HERE)
        cursor = page.cursor
        while cursor is not None:
            page = await backend.scan(reach=HERE, cursor=cursor, limit=3)
            seen += [record.id for record in page.records]
            cursor = page.cursor
        assert sorted(seen) == sorted(ids)

    async def test_a_cursor_outlives_everything(self, backend: VectorBackend) -> None:
        """After all was deleted a cursor leads to the end, not to an error."""
        ids = await _fill(backend, 5)
        page = await backend.scan(reach=HERE, limit=2)
        await backend.delete(ids, reach=HERE)
        rest = await backend.scan(reach=HERE, cursor=page.cursor, limit=2)
        assert (rest.records, rest.cursor) == ((), None)

    async def test_changing_a_record_does_not_move_it(self, backend: VectorBackend) -> None:
        """A replaced record keeps its place in the order."""
        await _fill(backend, 7)
        before = [record.id for record in await read_all(backend, HERE)]
        for each in before[::3]:
            await put(backend, indexed(make_record(each, "changed", version=2)))
        assert [record.id for record in await read_all(backend, HERE)] == before

    @pytest.mark.parametrize("limit", [1, 2, 50])
    async def test_conditions_hold_on_every_page(self, backend: VectorBackend, limit: int) -> None:
        """Namespace and filter leave records out; pages may be short, and the end is reached."""
        items = [
            indexed(
                make_record(
                    f"r{n:02}",
                    namespace="/a/" if n % 2 else "/b/",
                    metadata={"n": n % 3},
                )
            )
            for n in range(24)
        ]
        await put(backend, *items)
        found = await read_all(
            backend, HERE, namespace="/a/", condition=as_filter({"n": 2}), limit=limit
        )
        assert ids_of(found) == ["r05", "r11", "r17", "r23"]

    @pytest.mark.parametrize("cursor", NO_CURSORS)
    async def test_what_is_no_cursor_is_refused(self, backend: VectorBackend, cursor: str) -> None:
        """Text that no scan returned raises InvalidCursorError, never another error or page one."""
        await _fill(backend, 3)
        if cursor == "9" * 40:  # it may look like a place behind everything
            try:
                page = await backend.scan(reach=HERE, cursor=cursor)
            except InvalidCursorError:
                return
            assert page.records == ()
            return
        with pytest.raises(InvalidCursorError):
            await backend.scan(reach=HERE, cursor=cursor)

    async def test_another_scopes_cursor_shows_only_ones_own(self, backend: VectorBackend) -> None:
        """With a cursor of another's scan one's own reach still holds."""
        mine = replace(SCOPE, user="other")
        await _fill(backend, 6)
        await put(backend, *(indexed(make_record(f"m{n}", scope=mine)) for n in range(6)))
        theirs = await backend.scan(reach=HERE, limit=2)
        try:
            page = await backend.scan(reach=Reach.whole(mine, now=NOW), cursor=theirs.cursor)
        except InvalidCursorError:
            return
        assert all(record.scope == mine for record in page.records)
