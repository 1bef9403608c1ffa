"""That since when and until when a record is true is kept exactly, and can be asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from memlane.filters import Filter
from memlane.protocols import VectorBackend
from memlane.scope import Reach
from memlane.testing._records import exact
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

__all__ = ("ValiditySuite",)

HERE = Reach.point(SCOPE, now=NOW)
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)

RECORDS = (
    make_record("always"),
    replace(make_record("since"), valid_from=NOW),
    replace(make_record("until"), valid_to=NOW + TICK),
    replace(make_record("both"), valid_from=NOW - 9 * HOUR, valid_to=NOW - HOUR),
    replace(make_record("late"), valid_from=NOW + HOUR, valid_to=NOW + 2 * HOUR),
    replace(make_record("first"), valid_from=datetime(1, 1, 1, tzinfo=UTC)),
    replace(make_record("last"), valid_to=datetime.max.replace(tzinfo=UTC)),
    make_record("named", metadata={"valid_from": "a key of its own", "valid_to": 3}),
)

CASES = {
    "begun by now": (Filter.lte("@valid_from", NOW), ["both", "first", "since"]),
    "still to begin": (Filter.gt("@valid_from", NOW + HOUR / 2), ["late"]),
    "over": (Filter.lt("@valid_to", NOW - HOUR / 2), ["both"]),
    "not over": (Filter.gte("@valid_to", NOW - HOUR / 2), ["last", "late", "until"]),
    "says since when": (Filter.exists("@valid_from"), ["both", "first", "late", "since"]),
    "says nothing of an end": (
        Filter.exists("@valid_to", False),
        ["always", "first", "named", "since"],
    ),
    "a key of its own": (Filter.eq("valid_to", 3), ["named"]),
}


class ValiditySuite(BackendSuite):
    """`valid_from` and `valid_to`."""

    async def test_times_come_back_exactly(self, backend: VectorBackend) -> None:
        """To the microsecond, from the year 1 to the year 9999, beside keys of the same names."""
        await put(backend, *map(indexed, RECORDS))
        fetched = await backend.fetch([record.id for record in RECORDS], reach=HERE)
        expected = {record.id: exact(record) for record in RECORDS}
        assert {item.record.id: exact(item.record) for item in fetched} == expected
        assert {each.id: exact(each) for each in await read_all(backend, HERE)} == expected

    async def test_what_is_not_true_is_there(self, backend: VectorBackend) -> None:
        """A backend leaves out nothing by itself: to be true is not to exist."""
        await put(backend, *map(indexed, RECORDS))
        ids = sorted(record.id for record in RECORDS)
        assert ids_of(await read_all(backend, HERE)) == ids
        assert sorted((await backend.query(query_for(unit(0)), reach=HERE)).record_ids) == ids

    async def test_times_can_be_asked_for(self, backend: VectorBackend) -> None:
        """Conditions on both, in listings and queries."""
        await put(backend, *map(indexed, RECORDS))
        for name, (condition, expected) in CASES.items():
            listed = ids_of(await read_all(backend, HERE, condition=condition))
            assert listed == expected, name
            query = query_for(unit(0), condition=condition)
            found = await backend.query(query, reach=HERE)
            assert sorted(found.record_ids) == expected, name
