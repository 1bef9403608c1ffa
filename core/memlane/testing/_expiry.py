"""That a record is gone from the moment it expires, and there until then."""

from __future__ import annotations

from datetime import timedelta

from memlane.powers import SupportsActors
from memlane.protocols import VectorBackend
from memlane.scope import Reach
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import (
    NOW,
    SCOPE,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)

__all__ = ("ExpirySuite",)

TICK = timedelta(microseconds=1)
HERE = Reach.point(SCOPE, now=NOW)
EVER = Reach.whole(SCOPE, now=None)


async def _fill(backend: VectorBackend) -> list[str]:
    times = {
        "before": NOW - TICK,
        "at": NOW,
        "after": NOW + TICK,
        "later": NOW + timedelta(days=400),
        "never": None,
    }
    await put(
        backend,
        *(
            indexed(make_record(each, expires_at=moment, actor=each))
            for each, moment in times.items()
        ),
    )
    return list(times)


class ExpirySuite(BackendSuite):
    """`reach.now` and `expires_at`."""

    async def test_expired_records_are_gone(self, backend: VectorBackend) -> None:
        """What expired at or before `reach.now` is not fetched, scanned or queried."""
        ids = await _fill(backend)
        expected = ["after", "later", "never"]
        assert ids_of(await backend.fetch(ids, reach=HERE)) == expected
        assert ids_of(await read_all(backend, HERE, limit=1)) == expected
        found = await backend.query(query_for(unit(0)), reach=HERE)
        assert sorted(found.record_ids) == expected
        if isinstance(backend, SupportsActors):
            assert sorted(await backend.actors(reach=HERE)) == expected

    async def test_time_passes(self, backend: VectorBackend) -> None:
        """The reach of a later moment sees less; no clock of the backend's own is asked."""
        ids = await _fill(backend)
        later = Reach.point(SCOPE, now=NOW + timedelta(days=500))
        earlier = Reach.point(SCOPE, now=NOW - timedelta(days=1))
        assert ids_of(await backend.fetch(ids, reach=later)) == ["never"]
        assert ids_of(await read_all(backend, earlier)) == sorted(ids)

    async def test_forgetting_sees_expired_records(self, backend: VectorBackend) -> None:
        """Without a moment everything is there, and can be deleted."""
        ids = await _fill(backend)
        assert ids_of(await backend.fetch(ids, reach=EVER)) == sorted(ids)
        assert ids_of(await read_all(backend, EVER)) == sorted(ids)
        assert await backend.delete(ids, reach=EVER) == len(ids)
        assert await read_all(backend, EVER) == []
        await self.check_raw(backend, [])

    async def test_expired_records_do_not_count_as_deleted(self, backend: VectorBackend) -> None:
        """A delete at a moment counts what still existed then."""
        ids = await _fill(backend)
        assert await backend.delete(ids, reach=HERE) == 3
        assert await read_all(backend, HERE) == []

    async def test_expiry_can_be_taken_back(self, backend: VectorBackend) -> None:
        """Replacing a record replaces its expiry too."""
        await put(backend, indexed(make_record("a", expires_at=NOW)))
        await put(backend, indexed(make_record("a", version=2)))
        assert ids_of(await backend.fetch(["a"], reach=HERE)) == ["a"]
        await put(backend, indexed(make_record("a", expires_at=NOW - TICK, version=3)))
        assert ids_of(await backend.fetch(["a"], reach=HERE)) == []
