"""That a condition means on every backend what `Filter.matches` says, and what people expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from memlane.filters import Filter, as_filter
from memlane.metadata import record_fields
from memlane.protocols import IndexedRecord, VectorBackend
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

__all__ = ("FilteringSuite",)

HERE = Reach.point(SCOPE, now=NOW)

RECORDS: tuple[IndexedRecord, ...] = tuple(
    indexed(record)
    for record in (
        make_record("a", metadata={"color": "red", "n": 1, "on": True}, tags=("x", "y")),
        make_record("b", metadata={"color": "Red", "n": 2.5, "on": False}, kind="message"),
        make_record("c", metadata={"color": ["red", "blue"], "n": [1, 2]}, actor="Ada"),
        make_record("d", metadata={"color": None, "n": "1", "on": 1}, actor="ada", tags=("X",)),
        make_record("e", metadata={"deep": {"color": "red"}}, namespace="/a/"),
        make_record("f", metadata={"a.b": "red", "o'k\"%": "it's", "n": -3}, namespace="/a%20b/"),
        make_record("g", metadata={}, occurred_at=NOW - timedelta(days=30), tags=("x y",)),
        make_record("h", metadata={"color": "re", "n": 0}, scope=replace(SCOPE, session=None)),
        make_record("i", metadata={"color": "r%d", "n": 10**15}),
    )
)

CASES: dict[str, tuple[Filter | Mapping[str, object], str]] = {
    "text": ({"color": "red"}, "ac"),
    "text in lower case only": ({"color": {"$eq": "RED"}}, ""),
    "percent is no pattern": ({"color": "r%d"}, "i"),
    "number": ({"n": 1}, "ac"),
    "number as float": ({"n": 1.0}, "ac"),
    "fraction": ({"n": 2.5}, "b"),
    "zero is not missing": ({"n": 0}, "h"),
    "number as text": ({"n": "1"}, "d"),
    "true": ({"on": True}, "a"),
    "false": ({"on": False}, "b"),
    "one is not true": ({"on": 1}, "d"),
    "not": ({"color": {"$ne": "red"}}, "bdefghi"),
    "not a number": ({"n": {"$ne": 1}}, "bdefghi"),
    "above": ({"n": {"$gt": 0}}, "abi"),
    "from": ({"n": {"$gte": 0}}, "abhi"),
    "below": ({"n": {"$lt": 1}}, "fh"),
    "up to": ({"n": {"$lte": 1}}, "afh"),
    "between": ({"n": {"$gt": -3, "$lte": 2.5}}, "abh"),
    "one of": ({"color": {"$in": ["red", "re"]}}, "ach"),
    "one of several types": ({"n": {"$in": ["1", 2.5, True]}}, "bd"),
    "none of": ({"color": {"$nin": ["red", "re"]}}, "bdefgi"),
    "there": ({"color": {"$exists": True}}, "abchi"),
    "missing": ({"color": {"$exists": False}}, "defg"),
    "nested values are no fields": ({"deep": {"$exists": True}}, ""),
    "prefix": ({"color": {"$startsWith": "re"}}, "ah"),
    "a prefix is no pattern": ({"color": {"$startsWith": "r%"}}, "i"),
    "a dot is no path": ({"a.b": "red"}, "f"),
    "quotes": ({"o'k\"%": "it's"}, "f"),
    "all": ({"$and": [{"color": "red"}, {"n": {"$lt": 2}}]}, "a"),
    "any": ({"$or": [{"color": "re"}, {"n": {"$lt": 0}}]}, "fh"),
    "nested": (
        {"$and": [{"$or": [{"n": 1}, {"n": 0}]}, {"$or": [{"on": True}, {"color": "re"}]}]},
        "ah",
    ),
    "kind": ({"@kind": "message"}, "b"),
    "source": ({"@source": "app"}, "abcdefghi"),
    "actor": ({"@actor": "Ada"}, "c"),
    "no actor": ({"@actor": {"$exists": False}}, "abefghi"),
    "tag": ({"@tags": "x"}, "a"),
    "tag with a space": ({"@tags": "x y"}, "g"),
    "one of the tags": ({"@tags": {"$in": ["y", "X"]}}, "ad"),
    "without a tag": ({"@tags": {"$ne": "x"}}, "bcdefghi"),
    "session": ({"@session": "monday"}, "abcdefgi"),
    "no session": ({"@session": {"$exists": False}}, "h"),
    "agent": ({"@agent": "support"}, "abcdefghi"),
    "namespace": ({"@namespace": "/a/"}, "e"),
    "namespace by prefix": ({"@namespace": {"$startsWith": "/a"}}, "ef"),
    "since": (Filter.gte("@occurred_at", NOW - timedelta(days=1)), "abcdefhi"),
    "until": (Filter.lt("@occurred_at", NOW - timedelta(days=1)), "g"),
    "stored": (Filter.lte("@stored_at", NOW), "abcdefghi"),
    "an absent field": ({"nobody": "x"}, ""),
    "an absent field is not equal": ({"nobody": {"$ne": "x"}}, "abcdefghi"),
}


class FilteringSuite(BackendSuite):
    """Scans and queries under conditions."""

    def test_the_cases_agree_with_the_filter_itself(self) -> None:
        """`Filter.matches` says the same as the table of what people expect."""
        for case, (given, expected) in CASES.items():
            condition = as_filter(given)
            assert condition is not None
            found = [i.record.id for i in RECORDS if condition.matches(record_fields(i.record))]
            assert (case, "".join(found)) == (case, expected)

    @pytest.mark.parametrize("reader", ["scan", "query"])
    async def test_conditions(self, backend: VectorBackend, reader: str) -> None:
        """Under each condition of the table exactly the records that meet it are found."""
        await put(backend, *RECORDS)
        found: dict[str, str] = {}
        for case, (given, _) in CASES.items():
            condition = as_filter(given)
            if reader == "scan":
                ids = ids_of(await read_all(backend, HERE, condition=condition, limit=2))
            else:
                query = query_for(unit(0), condition=condition)
                ids = sorted((await backend.query(query, reach=HERE)).record_ids)
            found[case] = "".join(ids)
        assert found == {case: expected for case, (_, expected) in CASES.items()}

    async def test_conditions_follow_a_change(self, backend: VectorBackend) -> None:
        """A replaced record is found by its new values and no longer by its old ones."""
        await put(backend, indexed(make_record("a", metadata={"state": "open"}, tags=("t",))))
        await put(backend, indexed(make_record("a", metadata={"state": "shut"}, version=2)))
        for given, expected in (
            ({"state": "open"}, []),
            ({"state": "shut"}, ["a"]),
            ({"@tags": "t"}, []),
        ):
            condition = as_filter(given)
            assert ids_of(await read_all(backend, HERE, condition=condition)) == expected
            query = query_for(unit(0), condition=condition)
            assert list((await backend.query(query, reach=HERE)).record_ids) == expected

    async def test_a_selective_condition_finds_the_far_one(self, backend: VectorBackend) -> None:
        """The condition comes before the limit: what meets it is found behind all that is near."""
        near = [indexed(make_record(f"n{n}"), unit(0)) for n in range(150)]
        await put(backend, *near, indexed(make_record("far", metadata={"odd": True}), -unit(0)))
        condition = as_filter({"odd": True})
        found = await backend.query(query_for(unit(0), limit=1, condition=condition), reach=HERE)
        assert list(found.record_ids) == ["far"]
