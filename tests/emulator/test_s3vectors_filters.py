"""The grammar of filters, with its rejections, and what filters match."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.signed import Signed, prepared
from memlane.filters import Filter
from memlane.testing.emulator import Emulator, Switches
from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.s3vectors.filters import compiled


def meaning(filter: Any, *, enhanced: bool = True, **switches: Any) -> Any:  # noqa: A002
    return compiled(filter, hidden=["content"], enhanced=enhanced, switches=Switches(**switches))


REFUSED: list[Any] = [
    {},
    [],
    "a",
    {"a": 1, "b": 2},
    {"a": None},
    {"a": []},
    {"a": [1]},
    {"a": {}},
    {"a": {"$eq": None}},
    {"a": {"$eq": [1]}},
    {"a": {"$ne": {}}},
    {"a": {"$gt": "1"}},
    {"a": {"$gte": True}},
    {"a": {"$lt": None}},
    {"a": {"$lte": float("nan")}},
    {"a": {"$in": []}},
    {"a": {"$in": [None]}},
    {"a": {"$in": "x"}},
    {"a": {"$nin": []}},
    {"a": {"$exists": 1}},
    {"a": {"$exists": None}},
    {"a": {"$startsWith": 1}},
    {"a": {"$regex": "x"}},
    {"a": {"b": 1}},
    {"a": {"$and": [{"b": 1}]}},
    {"a": {"$or": [{"b": 1}]}},
    {"$not": {"a": 1}},
    {"$eq": 1},
    {"$and": []},
    {"$and": {}},
    {"$and": {"a": 1}},
    {"$and": [{}]},
    {"$or": []},
    {"$or": [{}]},
    {"$or": [{"a": 1}, {"a": None}]},
    {"$and": [{"a": 1}], "b": 1},
]


@pytest.mark.parametrize("filter", REFUSED, ids=str)
def test_refused(filter: Any) -> None:  # noqa: A002
    with pytest.raises(AwsError) as caught:
        meaning(filter)
    assert caught.value.message == "Invalid filter"
    assert caught.value.fields == (("filter", "Invalid filter"),)


TAKEN: list[tuple[Any, Any, bool]] = [
    ({"a": 1}, {"a": 1}, True),
    ({"a": 1}, {"a": 1.0}, True),
    ({"a": 1}, {"a": True}, False),
    ({"a": True}, {"a": "true"}, False),
    ({"a": False}, {"a": 0}, False),
    ({"a": "x"}, {}, False),
    ({"a": "x"}, {"a": ["y", "x"]}, True),
    ({"a": 2}, {"a": [1, 2]}, True),
    ({"a": {"$ne": "x"}}, {"a": "y"}, True),
    ({"a": {"$ne": "x"}}, {"a": "x"}, False),
    ({"a": {"$ne": 1}}, {"a": True}, True),
    ({"a": {"$gte": 0, "$lte": 5}}, {"a": 5}, True),
    ({"a": {"$gte": 0, "$lt": 5}}, {"a": 5}, False),
    ({"a": {"$gt": 0}}, {"a": "1"}, False),
    ({"a": {"$gt": 0}}, {"a": True}, False),
    ({"a": {"$in": ["x", 1, True]}}, {"a": True}, True),
    ({"a": {"$in": ["x", 1]}}, {"a": True}, False),
    ({"a": {"$nin": ["x"]}}, {"a": "y"}, True),
    ({"a": {"$exists": True}}, {"a": False}, True),
    ({"a": {"$exists": False}}, {}, True),
    ({"a": {"$startsWith": "/x/"}}, {"a": "/x/y"}, True),
    ({"a": {"$startsWith": "/x/"}}, {"a": "/X/y"}, False),
    ({"a": {"$startsWith": ""}}, {"a": ""}, True),
    ({"a.b": 1}, {"a.b": 1}, True),
    ({"a.b": 1}, {"a": 1}, False),
    ({"": 1}, {"": 1}, True),
    ({"$and": [{"a": 1}, {"$or": [{"b": 1}, {"c": 1}]}]}, {"a": 1, "c": 1}, True),
    ({"$and": [{"a": 1}, {"$or": [{"b": 1}, {"c": 1}]}]}, {"a": 1, "c": 2}, False),
    ({"$and": [{"a": 1}]}, {"a": 1}, True),
]


@pytest.mark.parametrize(("filter", "metadata", "holds"), TAKEN, ids=str)
def test_taken(filter: Any, metadata: Any, holds: bool) -> None:  # noqa: A002
    assert meaning(filter).holds(metadata) is holds


@pytest.mark.parametrize(
    ("switches", "filter", "metadata", "holds"),
    [
        ({"ne_matches_missing": False}, {"a": {"$ne": 1}}, {}, False),
        ({"ne_matches_missing": True}, {"a": {"$ne": 1}}, {}, True),
        ({"ne_matches_missing": False}, {"a": {"$nin": [1]}}, {}, False),
        ({"ne_matches_missing": True}, {"a": {"$nin": [1]}}, {}, True),
        ({"ne_on_lists": "none_equals"}, {"a": {"$ne": 1}}, {"a": [1, 2]}, False),
        ({"ne_on_lists": "any_differs"}, {"a": {"$ne": 1}}, {"a": [1, 2]}, True),
        ({"ne_on_lists": "any_differs"}, {"a": {"$nin": [1, 2]}}, {"a": [1, 2]}, False),
        ({"in_on_lists": True}, {"a": {"$in": [1]}}, {"a": [1, 2]}, True),
        ({"in_on_lists": False}, {"a": {"$in": [1]}}, {"a": [1, 2]}, False),
        ({"in_on_lists": False}, {"a": 1}, {"a": [1, 2]}, True),
        ({"numbers": "float64"}, {"a": 16777217}, {"a": 16777216}, False),
        ({"numbers": "float32"}, {"a": 16777217}, {"a": 16777216}, True),
        ({"numbers": "float32"}, {"a": {"$gt": 16777216}}, {"a": 16777217}, False),
    ],
)
def test_switches(switches: Any, filter: Any, metadata: Any, holds: bool) -> None:  # noqa: A002
    assert meaning(filter, **switches).holds(metadata) is holds


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(st.sampled_from(["x", "y", "", "xx"]), st.integers(-2, 2), st.booleans())
FIELDS = st.one_of(
    VALUES,
    st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2),
    st.lists(st.integers(-2, 2), min_size=1, max_size=2),
)
LEAVES = st.one_of(
    st.builds(Filter.eq, NAMES, VALUES),
    st.builds(Filter.ne, NAMES, VALUES),
    st.builds(Filter.gt, NAMES, st.integers(-2, 2)),
    st.builds(Filter.lte, NAMES, st.integers(-2, 2)),
    st.builds(Filter.in_, NAMES, st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(Filter.nin, NAMES, st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(Filter.exists, NAMES, st.booleans()),
    st.builds(Filter.starts_with, NAMES, st.sampled_from(["x", "xx"])),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda some: Filter.and_(*some)),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: Filter.or_(*some)),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(FILTERS, st.dictionaries(NAMES, FIELDS), st.booleans())
def test_filters_mean_the_same_here_and_there(
    filter: Filter,  # noqa: A002
    metadata: dict[str, Any],
    missing: bool,
) -> None:
    """What memlane sends matches what memlane's own filters match, whatever $ne does alone."""
    sent = meaning(filter.to_wire(lambda name: name), ne_matches_missing=missing)
    assert sent.holds(metadata) is filter.matches(metadata)


def test_what_a_filter_may_begin_with() -> None:
    """Only strings that every match must hold narrow a search."""
    one = meaning({"$and": [{"a": "x"}, {"b": {"$eq": "y"}}, {"$or": [{"c": "z"}, {"d": 1}]}]})
    assert one.strings == (("a", "x"), ("b", "y"))
    assert meaning({"$or": [{"a": "x"}, {"b": "y"}]}).strings == ()
    assert meaning({"a": {"$eq": "x", "$exists": True}}).strings == (("a", "x"),)


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        ({"a": 1}, 1),
        ({"a": {"$in": [1, 2, 3]}}, 3),
        ({"$and": [{"a": {"$gte": 1, "$lt": 3}}, {"b": "x"}]}, 3),
        ({"$or": [{"a": {"$nin": [1, 2]}}, {"b": {"$exists": True}}]}, 3),
    ],
)
def test_constraints_are_counted(filter: Any, count: int) -> None:  # noqa: A002
    assert meaning(filter).constraints == count


def test_a_hundred_constraints_and_no_more() -> None:
    """A limit of ENHANCED alone."""
    within, beyond = ({"a": {"$in": list(range(n))}} for n in (100, 101))
    assert meaning(within).constraints == 100
    with pytest.raises(AwsError, match="ValidationException"):
        meaning(beyond)
    assert meaning(beyond, enhanced=False).constraints == 101


def test_prefixes_are_of_enhanced_queries() -> None:
    with pytest.raises(AwsError, match="Invalid filter"):
        meaning({"a": {"$startsWith": "x"}}, enhanced=False)


def test_deeper_than_anybody_reads() -> None:
    nested: Any = {"a": 1}
    for _ in range(900):
        nested = {"$and": [nested]}
    with pytest.raises(AwsError, match="Invalid filter"):
        meaning(nested)


def test_over_the_wire(emulator: Emulator) -> None:
    index: Signed = prepared(emulator, hidden=("content",))
    index.put("k1", metadata={"a": "x", "content": "c"})
    index.put("k2", metadata={"a": "y"})
    assert index.found(filter={"a": "x"}) == ["k1"]
    assert index.found(filter={"a": "z"}) == []
    assert index.found(filter={"$or": [{"a": "x"}, {"a": "y"}]}) in (["k1", "k2"], ["k2", "k1"])
    refused = index.query(filter={})
    assert refused.error == (400, "ValidationException", "Invalid filter")
    assert refused.paths == ["filter"]
    for hidden in ({"content": "c"}, {"content": {"$exists": True}}):
        answer = index.query(filter=hidden)
        text = "Invalid use of non-filterable metadata in filter"
        assert answer.error == (400, "ValidationException", text)
