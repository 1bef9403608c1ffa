"""What S3 Vectors would refuse is refused when a filter is made, with what to write instead."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest

from memlane.errors import InvalidFilterError
from memlane.filters import FIELDS, Filter, as_filter

TIMES = ("@occurred_at", "@stored_at")


def values_compared(wire: dict[str, Any]) -> int:
    """Count the values of a filter on the wire as the service does: one each, wrappers nothing."""
    ((key, inner),) = wire.items()
    if key in {"$and", "$or"}:
        return sum(map(values_compared, inner))
    return sum(len(each) if isinstance(each, list) else 1 for each in inner.values())


BAD_NAMES = ["", "@", "@user", "@Kind", "$and", "$", "x" * 64, "é" * 32, "\ud800", 1, None, b"f"]
MAKERS: list[Callable[[Any], Filter]] = [
    lambda field: Filter.eq(field, 1),
    lambda field: Filter.ne(field, 1),
    lambda field: Filter.gt(field, 1),
    lambda field: Filter.in_(field, [1]),
    lambda field: Filter.nin(field, [1]),
    Filter.exists,
    lambda field: Filter.starts_with(field, "x"),
    lambda field: Filter.parse({field: 1}),
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("make", MAKERS)
def test_names_no_record_can_have_are_refused(make: Callable[[Any], Filter], name: object) -> None:
    """Unknown fields of the record, operators, and keys that cannot be stored."""
    with pytest.raises(InvalidFilterError):
        make(name)


def test_longest_names_are_accepted_and_unknown_ones_told() -> None:
    """63 bytes are a key; an unknown record field names those that exist, and no more than that."""
    assert Filter.eq("x" * 63, 1).field == "x" * 63
    with pytest.raises(InvalidFilterError) as caught:
        Filter.eq(f"@user{'x' * 500}", 1)
    assert all(field in str(caught.value) for field in FIELDS)
    assert len(str(caught.value)) < 300


NOT_A_VALUE = [None, math.nan, math.inf, -math.inf, 2**63, 10**400, b"x", [1], {}, object(), 1j]
AWARE, NAIVE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1)  # noqa: DTZ001 - the point


@pytest.mark.parametrize("value", [*NOT_A_VALUE, "\ud800", AWARE, NAIVE, date(2026, 1, 1)])
def test_values_the_service_refuses_are_refused(value: Any) -> None:
    """Null, lists, what is not finite, lone surrogates, and datetimes against a user's key."""
    attempts: list[Callable[[], object]] = [
        lambda: Filter.eq("f", value),
        lambda: Filter.ne("f", value),
        lambda: Filter.gt("f", value),
        lambda: Filter.in_("f", [1, value]),
        lambda: Filter.nin("f", [value]),
        lambda: Filter.exists("f", value),
        lambda: Filter.parse({"f": {"$eq": value}}),
        lambda: Filter.parse({"f": {"$lte": value}}),
        lambda: Filter.parse({"f": {"$startsWith": value}}),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidFilterError):
            attempt()


@pytest.mark.parametrize("value", ["x", True, None])
def test_only_numbers_are_ordered(value: Any) -> None:
    """Strings and booleans have no order in S3 Vectors."""
    for make in (Filter.gt, Filter.gte, Filter.lt, Filter.lte):
        with pytest.raises(InvalidFilterError, match="finite number"):
            make("f", value)


@pytest.mark.parametrize("value", [NAIVE, "2026-01-01", True, date(2026, 1, 1)])
def test_a_time_is_an_aware_datetime_or_minutes(value: Any) -> None:
    """Anything else would never match a time, so it is an error that says what to pass."""
    for field in TIMES:
        for make in (Filter.eq, Filter.ne, Filter.gte):
            with pytest.raises(InvalidFilterError, match="aware datetime"):
                make(field, value)


@pytest.mark.parametrize("values", [[], (), set(), "abc", b"abc", {"a": 1}, 1, None, iter([1])])
def test_in_takes_a_list(values: Any) -> None:
    """Not nothing, not a bare string, not something that can be read once only."""
    attempts: list[Callable[[], object]] = [
        lambda: Filter.in_("f", values),
        lambda: Filter.nin("f", values),
        lambda: Filter.parse({"f": {"$in": values}}),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidFilterError):
            attempt()


STRUCTURES: list[tuple[object, str]] = [
    ({}, "exactly one key"),
    ({"a": 1, "b": 2}, "exactly one key"),
    ({"a": {}}, "no comparison"),
    ({"a": {"$eq": 1, "$bogus": 2}}, r"\$bogus.*\$startsWith"),
    ({"a": {"$and": [{"$eq": 1}]}}, "around fields"),
    ({"a": {"$not": {"$eq": 1}}}, "does not compare"),
    ({"a": {1: 2}}, "int does not compare"),
    ({"$not": {"a": 1}}, r"\$and"),
    ({"$nor": []}, r"\$and"),
    ({"$and": []}, "non-empty"),
    ({"$or": {}}, "non-empty"),
    ({"$or": "ab"}, "non-empty"),
    ({"$and": [{}]}, "exactly one key"),
    ({"$and": [{"a": 1}, None]}, "must be an object"),
    ({"$and": [Filter.eq("a", 1)]}, "not Filter"),
    ({"a": [1, 2]}, "not list"),
    ({"a": None}, "not NoneType"),
    ({1: 2}, "non-empty string"),
]


@pytest.mark.parametrize(("form", "said"), STRUCTURES)
def test_structures_the_service_refuses_are_refused(form: Any, said: str) -> None:
    """Each with what was wrong; and each as part of a larger filter too."""
    for whole in (form, {"$or": [{"ok": 1}, form]}):
        with pytest.raises(InvalidFilterError, match=said):
            Filter.parse(whole)


def test_several_comparisons_of_one_field_are_joined() -> None:
    """`{"$gte": 0, "$lte": 5}` is both."""
    between = Filter.parse({"n": {"$gte": 0, "$lte": 5}})
    assert between == Filter.gte("n", 0) & Filter.lte("n", 5)
    assert [n for n in range(-2, 9) if between.matches({"n": n})] == [0, 1, 2, 3, 4, 5]


def nested(levels: int) -> dict[str, Any]:
    form: dict[str, Any] = {"a": 1}
    for level in range(levels - 1):
        form = {"$and" if level % 2 else "$or": [form]}
    return form


def test_depth_is_bounded_however_a_filter_is_made() -> None:
    """16 levels are accepted, 17 not, and a million are refused without being walked."""
    deepest = Filter.parse(nested(16))
    assert Filter.parse(deepest.to_json()) == deepest
    for levels in (17, 10_000):
        with pytest.raises(InvalidFilterError, match="16 levels"):
            Filter.parse(nested(levels))
    made = Filter.eq("a", 1)
    for level in range(15):
        made = Filter.and_(made) if level % 2 else Filter.or_(made)
    with pytest.raises(InvalidFilterError, match="16 levels"):
        Filter.and_(made) if made.operator == "or" else Filter.or_(made)


def test_the_number_of_values_is_bounded_however_a_filter_is_made() -> None:
    """80 values on the wire: each of a list counts, and a negation asks one thing more."""
    eighty = list(range(80))
    assert values_compared(Filter.in_("a", eighty).to_wire(str)) == 80
    assert values_compared(Filter.nin("a", eighty[:79]).to_wire(str)) == 80
    forty = Filter.and_(*(Filter.ne("a", n) for n in range(40)))
    assert values_compared(forty.to_wire(str)) == 80
    attempts: list[Callable[[], object]] = [
        lambda: Filter.in_("a", [*eighty, 1]),
        lambda: Filter.nin("a", eighty),
        lambda: forty & Filter.exists("b"),
        lambda: Filter.or_(*(Filter.eq("a", n) for n in range(81))),
        lambda: Filter.parse({"$or": [{"a": n} for n in range(81)]}),
        lambda: Filter.parse({"a": {"$in": [*eighty, 1]}}),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidFilterError, match="at most 80 values, not 81"):
            attempt()


@pytest.mark.parametrize("parts", [(), (None,), ({"a": 1},), (Filter.eq("a", 1), "b")])
def test_joins_take_filters(parts: Sequence[Any]) -> None:
    """At least one, and nothing else."""
    for join in (Filter.and_, Filter.or_):
        with pytest.raises(InvalidFilterError):
            join(*parts)


def test_as_filter_reads_what_callers_pass() -> None:
    """A filter, its JSON form, or nothing; anything else is an error that shows how."""
    condition = Filter.eq("topic", "x")
    assert as_filter(None) is None
    assert as_filter(condition) is condition
    assert as_filter({"topic": "x"}) == condition
    wrong: Any
    for wrong in ("topic = x", [{"topic": "x"}], 1, object()):
        with pytest.raises(InvalidFilterError, match=r"Filter\.eq"):
            as_filter(wrong)
