"""A filter means the same here, read back from JSON, and in the form S3 Vectors accepts."""

from __future__ import annotations

import copy
import enum
import json
import math
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memlane.filters import FIELDS, FieldValue, Filter

QUICK = settings(deadline=None, max_examples=150)

# Few names and values, so that conditions and records meet often.
NAMES = ("topic", "n", "a.b", "x y", "é", *FIELDS)
TIMES = ("@occurred_at", "@stored_at", "@valid_from", "@valid_to")
names = st.sampled_from(NAMES)
untimed = st.sampled_from([name for name in NAMES if name not in TIMES])
texts = st.sampled_from(["", "x", "xy", "X", "1", "True", "é"]) | st.text(
    st.characters(codec="utf-8"), max_size=5
)
numbers = st.sampled_from([0, 1, -1, 1.0, 0.5, 2**63 - 1, 1e300]) | st.integers(-3, 3)
scalars = texts | numbers | st.booleans()


def conditions_on(field: str) -> st.SearchStrategy[Filter]:
    values: st.SearchStrategy[str | int | float | bool] = numbers if field in TIMES else scalars
    several = st.lists(values, min_size=1, max_size=3)
    return st.one_of(
        *(
            st.builds(make, st.just(field), values)
            for make in (Filter.eq, Filter.ne)
        ),
        *(
            st.builds(make, st.just(field), numbers)
            for make in (Filter.gt, Filter.gte, Filter.lt, Filter.lte)
        ),
        *(st.builds(make, st.just(field), several) for make in (Filter.in_, Filter.nin)),
        st.builds(Filter.exists, st.just(field), st.booleans()),
        st.builds(Filter.starts_with, st.just(field), texts.filter(bool)),
    )  # fmt: skip


def joined(parts: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(parts, min_size=1, max_size=3)
    return several.map(lambda some: Filter.and_(*some)) | several.map(
        lambda some: Filter.or_(*some)
    )


filters = st.recursive(st.one_of(*map(conditions_on, NAMES)), joined, max_leaves=6)
stored = st.one_of(
    scalars, st.lists(texts, min_size=1, max_size=3), st.lists(numbers, min_size=1, max_size=3)
)
records: st.SearchStrategy[dict[str, FieldValue]] = st.dictionaries(names, stored, max_size=6)


def kind(value: object) -> str:
    return {bool: "flag", str: "text", int: "number", float: "number"}[type(value)]


def same(one: object, other: object) -> bool:
    return bool(kind(one) == kind(other) and one == other)


def holds(condition: Mapping[str, Any], record: Mapping[str, Any], *, ne_of_missing: bool) -> bool:
    """Read the JSON form naively; `ne_of_missing` is what nobody knows of the service."""
    ((key, inner),) = condition.items()
    if key in {"$and", "$or"}:
        held = [holds(each, record, ne_of_missing=ne_of_missing) for each in inner]
        return False not in held if key == "$and" else True in held
    ((word, operand),) = inner.items()
    there = key in record
    found: list[Any] = []
    if there:
        found = list(record[key]) if isinstance(record[key], list | tuple) else [record[key]]
    alone = record[key] if there and not isinstance(record[key], list | tuple) else None
    if word == "$exists":
        return there is operand
    if word in {"$eq", "$in"}:
        wanted = operand if word == "$in" else [operand]
        return True in [same(one, other) for one in found for other in wanted]
    if word in {"$ne", "$nin"}:
        if not there:
            return ne_of_missing
        wanted = operand if word == "$nin" else [operand]
        return True not in [same(one, other) for one in found for other in wanted]
    if word == "$startsWith":
        return isinstance(alone, str) and alone.find(operand) == 0
    if alone is None or kind(alone) != "number":
        return False
    order = {
        "$gt": alone > operand,
        "$gte": alone >= operand,
        "$lt": alone < operand,
        "$lte": alone <= operand,
    }
    return bool(order[word])


def check_service_grammar(condition: object) -> int:
    """Refuse what S3 Vectors refuses, by its own grammar; return the values it would compare."""
    assert isinstance(condition, dict)
    entries: list[tuple[object, object]] = list(condition.items())
    assert len(entries) == 1, "a condition object holds exactly one key"
    key, inner = entries[0]
    assert isinstance(key, str)
    if key in {"$and", "$or"}:
        assert isinstance(inner, list)
        assert inner, "non-empty list of filters"
        return sum(check_service_grammar(each) for each in inner)
    assert not key.startswith("$"), "unknown operator"
    assert isinstance(inner, dict)
    assert inner, "a field needs an operator"
    return sum(check_operand(word, operand) for word, operand in inner.items())


def check_operand(word: object, operand: object) -> int:
    if word in {"$eq", "$ne"}:
        assert type(operand) in {str, int, float, bool}
    elif word in {"$gt", "$gte", "$lt", "$lte"}:
        assert type(operand) in {int, float}
    elif word in {"$in", "$nin"}:
        assert isinstance(operand, list)
        assert operand
        assert all(type(each) in {str, int, float, bool} for each in operand)
        return len(operand)
    elif word == "$exists":
        assert type(operand) is bool
    else:
        assert word == "$startsWith"
        assert type(operand) is str
    if isinstance(operand, float):
        assert math.isfinite(operand)
    return 1


@QUICK
@given(filters, records)
def test_a_filter_holds_when_a_naive_reading_of_its_json_does(
    condition: Filter, record: dict[str, FieldValue]
) -> None:
    """`matches` agrees with an evaluator that was written apart from it."""
    expected = holds(condition.to_json(), record, ne_of_missing=True)
    assert condition.matches(record) is expected


@QUICK
@given(filters, records, st.booleans())
def test_the_wire_form_means_the_same_whatever_ne_does_with_missing_fields(
    condition: Filter, record: dict[str, FieldValue], ne_of_missing: bool
) -> None:
    """The service does not say whether $ne meets records without the field; both are right."""
    wire = condition.to_wire(lambda name: f"~{name}")
    renamed = {f"~{name}": value for name, value in record.items()}
    assert holds(wire, renamed, ne_of_missing=ne_of_missing) is condition.matches(record)


@QUICK
@given(filters)
def test_the_wire_form_is_one_the_service_accepts(condition: Filter) -> None:
    """Only shapes of the service's grammar, at most 100 values, every name mapped once."""
    seen: list[str] = []

    def rename(name: str) -> str:
        seen.append(name)
        return f"key{FIELDS.index(name)}" if name in FIELDS else name

    wire = condition.to_wire(rename)
    assert check_service_grammar(wire) <= 100
    assert set(seen) == condition.fields()


@QUICK
@given(filters)
def test_a_filter_comes_back_from_json_equal(condition: Filter) -> None:
    """Through the JSON form, text, pickle and copy a filter stays itself, hash and all."""
    again = Filter.parse(json.loads(json.dumps(condition.to_json())))
    assert again == condition
    assert hash(again) == hash(condition)
    assert again.to_json() == condition.to_json()
    assert pickle.loads(pickle.dumps(condition)) == condition  # noqa: S301 - our own bytes
    assert copy.deepcopy(condition) == condition


@QUICK
@given(untimed, scalars, records)
def test_ne_is_the_negation_of_eq(
    field: str, value: str | float, record: dict[str, FieldValue]
) -> None:
    """Whatever the record holds, or lacks, exactly one of the two holds."""
    assert Filter.ne(field, value).matches(record) is not Filter.eq(field, value).matches(record)


@QUICK
@given(untimed, st.lists(scalars, min_size=1, max_size=4), records)
def test_nin_is_the_negation_of_in_and_in_is_any_eq(
    field: str, values: list[object], record: dict[str, FieldValue]
) -> None:
    """`in_` is a short way to write several `eq`; `nin` is its negation."""
    one_of = Filter.in_(field, values)
    assert Filter.nin(field, values).matches(record) is not one_of.matches(record)
    each = [Filter.eq(field, cast("str", value)) for value in values]
    assert one_of.matches(record) is Filter.or_(*each).matches(record)


@settings(QUICK, max_examples=50)
@given(st.lists(filters, min_size=2, max_size=3), records)
def test_operators_join_and_flatten(parts: list[Filter], record: dict[str, FieldValue]) -> None:
    """`&` and `|` mean and/or, and a chain of one kind is one list."""
    every, either = parts[0], parts[0]
    for part in parts[1:]:
        every &= part
        either |= part
    assert every.matches(record) is all(part.matches(record) for part in parts)
    assert either.matches(record) is any(part.matches(record) for part in parts)
    assert every == Filter.and_(*parts)
    assert either == Filter.or_(*parts)
    assert all(part.operator != "and" for part in every.parts)
    assert all(part.operator != "or" for part in either.parts)


@pytest.mark.parametrize(
    ("value", "found", "equal"),
    [
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        (0, False, False),
        (1, 1.0, True),
        ("1", 1, False),
        (1, "1", False),
        ("True", True, False),
        ("x", ["y", "x"], True),
        (1, ["1"], False),
        (1, [2, 1.0], True),
        (True, [1], False),
        ("x", "xy", False),
    ],
)
def test_kinds_never_equal_each_other(value: str | float, found: FieldValue, equal: bool) -> None:
    """A boolean is no number and a string neither; of a list any element may be meant."""
    assert Filter.eq("f", value).matches({"f": found}) is equal
    assert Filter.in_("f", [value]).matches({"f": found}) is equal


def test_filters_of_true_and_of_one_are_two_filters() -> None:
    """Python says that True is 1; a cache keyed by filters must not."""
    assert Filter.eq("f", True) != Filter.eq("f", 1)
    assert Filter.in_("f", [0, 1]) != Filter.in_("f", [False, 1])
    assert Filter.and_(Filter.eq("f", True)) != Filter.and_(Filter.eq("f", 1))
    assert len({Filter.eq("f", True), Filter.eq("f", 1), Filter.eq("f", 1.0)}) == 2
    assert Filter.eq("f", "x") != "f = x"


def test_repr_is_how_the_filter_is_written() -> None:
    """What a log or a failed test shows can be pasted back."""
    condition = Filter.eq("topic", "x") & (Filter.in_("n", [1, 2]) | Filter.exists("@tags", False))
    shown = repr(condition)
    assert shown == (
        "Filter.and_(Filter.eq('topic', 'x'), "
        "Filter.or_(Filter.in_('n', [1, 2]), Filter.exists('@tags', False)))"
    )
    assert eval(shown, {"Filter": Filter}) == condition  # noqa: S307 - our own text


def test_a_filter_cannot_be_changed() -> None:
    """Filters are values: frozen, without room for other attributes."""
    condition: Any = Filter.eq("topic", "x")
    with pytest.raises(AttributeError):
        condition.value = "y"
    assert not hasattr(condition, "__dict__")


def test_joining_with_something_else_is_a_type_error() -> None:
    """`&` with a dict is Python's own error, not a filter that means something else."""
    condition: Any = Filter.eq("topic", "x")
    for other in ({"n": 1}, None, True):
        with pytest.raises(TypeError):
            condition & other
        with pytest.raises(TypeError):
            condition | other


@QUICK
@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(2020, 1, 1, tzinfo=UTC))
@example(datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC))
def test_times_are_whole_minutes_rounded_down(moment: datetime) -> None:
    """A datetime is minutes since 2020, before it too, wherever its clock stood."""
    expected = math.floor((moment - datetime(2020, 1, 1, tzinfo=UTC)) / timedelta(minutes=1))
    for field in TIMES:
        assert Filter.gte(field, moment).value == expected
        assert Filter.in_(field, [moment]).value == (expected,)
    if 2 < moment.year < 9000:
        abroad = moment.astimezone(timezone(timedelta(hours=-7, minutes=-30)))
        assert Filter.lt("@stored_at", abroad) == Filter.lt("@stored_at", moment)


class Colour(enum.StrEnum):
    RED = "red"


class Rank(enum.IntEnum):
    FIRST = 1


class Exact(float):
    pass


def test_values_are_kept_as_what_they_stand_for() -> None:
    """Members of enums and other subclasses become plain strings and numbers."""
    plain = Filter.in_(Colour.RED, [Colour.RED, Rank.FIRST, Exact(0.5)])
    assert plain == Filter.in_("red", ["red", 1, 0.5])
    assert isinstance(plain.value, tuple)
    assert [type(value) for value in (plain.field, *plain.value)] == [str, str, int, float]
    assert type(Filter.starts_with("f", Colour.RED).value) is str


def test_a_set_has_one_order() -> None:
    """A filter made from a set reads the same in every process: cursors are bound to it."""
    values = {"b", "a", 2, 10, True, 0.5}
    assert Filter.in_("f", values).value == (True, 0.5, 10, 2, "a", "b")
    assert Filter.in_("f", frozenset(values)) == Filter.in_("f", values)
