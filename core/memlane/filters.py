"""Conditions on records, with S3 Vectors' value rules, so that what works here works there."""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, cast

from memlane.errors import InvalidFilterError

__all__ = ("FIELDS", "FieldValue", "Filter", "FilterLike", "as_filter")

Operator: TypeAlias = Literal[
    "eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists", "starts_with", "and", "or"
]
Scalar: TypeAlias = str | int | float | bool

FieldValue: TypeAlias = str | int | float | bool | Sequence[str] | Sequence[int | float]
"""What a filter may meet in a record: one value, or a list of strings or of numbers."""

FIELDS: Final = (
    "@actor", "@agent", "@kind", "@namespace", "@occurred_at", "@session", "@source", "@stored_at",
    "@tags", "@valid_from", "@valid_to",
)  # fmt: skip
"""The record's own fields a filter may name; every other name is a key of the user's metadata."""

# An index of mode ENHANCED compares 100 values per filter; reach, space and expiry need some too.
MAX_CONSTRAINTS: Final = 80
MAX_DEPTH: Final = 16  # ours: deeper than people write, and shallow enough to recurse into
_MAX_NAME_BYTES: Final = 63  # of a metadata key
_MAX_INTEGER: Final = 2**63  # JSON's readers take no larger one
_SHOWN_CHARS: Final = 40
_EXAMPLE: Final = '{"key": {"$eq": "value"}}'
_NUMBER: Final = "finite number below 2**63"
_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
_TIMES: Final = frozenset({"@occurred_at", "@stored_at", "@valid_from", "@valid_to"})
_JOINS: Final[Mapping[object, Literal["and", "or"]]] = {"$and": "and", "$or": "or"}
_WORDS: Final[Mapping[object, Operator]] = {
    "$eq": "eq", "$ne": "ne", "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte", "$in": "in",
    "$nin": "nin", "$exists": "exists", "$startsWith": "starts_with",
}  # fmt: skip
_SIGNS: Final = {operator: str(word) for word, operator in _WORDS.items()}
_KNOWN_WORDS: Final = ", ".join(_SIGNS.values())
_ORDER: Final[Mapping[Operator, Callable[[float, float], bool]]] = {
    "gt": python.gt, "gte": python.ge, "lt": python.lt, "lte": python.le,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Filter:
    """A condition on records; made by its class methods, joined by `&` and `|`.

    Plain names are keys of the user's metadata; the record's own fields are those of `FIELDS`.
    Times are compared in whole minutes, rounded down. A boolean never equals a number. `ne` and
    `nin` are the negations of `eq` and `in_`, so they hold for records without the field.

    Raises:
        InvalidFilterError: From each class method, when S3 Vectors would refuse the condition.
    """

    operator: Operator
    field: str | None = None
    value: Scalar | tuple[Scalar, ...] | None = None
    parts: tuple[Filter, ...] = ()

    @classmethod
    def eq(cls, field: str, value: Scalar | datetime) -> Filter:
        """The field equals the value, or is a list that holds it."""
        return cls("eq", _name(field), _scalar(field, value, "eq"))

    @classmethod
    def ne(cls, field: str, value: Scalar | datetime) -> Filter:
        """`eq` does not hold."""
        return cls("ne", _name(field), _scalar(field, value, "ne"))

    @classmethod
    def gt(cls, field: str, value: float | datetime) -> Filter:
        """The field is a number above the value."""
        return cls("gt", _name(field), _bound(field, value, "gt"))

    @classmethod
    def gte(cls, field: str, value: float | datetime) -> Filter:
        """The field is a number not below the value."""
        return cls("gte", _name(field), _bound(field, value, "gte"))

    @classmethod
    def lt(cls, field: str, value: float | datetime) -> Filter:
        """The field is a number below the value."""
        return cls("lt", _name(field), _bound(field, value, "lt"))

    @classmethod
    def lte(cls, field: str, value: float | datetime) -> Filter:
        """The field is a number not above the value."""
        return cls("lte", _name(field), _bound(field, value, "lte"))

    @classmethod
    def in_(cls, field: str, values: Collection[object]) -> Filter:
        """The field equals one of the values, or is a list that holds one."""
        return _bounded(cls("in", _name(field), _several(field, values, "in_")))

    @classmethod
    def nin(cls, field: str, values: Collection[object]) -> Filter:
        """`in_` does not hold."""
        return _bounded(cls("nin", _name(field), _several(field, values, "nin")))

    @classmethod
    def exists(cls, field: str, flag: bool = True) -> Filter:
        """The field is there, or with False is not."""
        if not isinstance(flag, bool):
            raise _refuse("exists takes a boolean", "pass True or False")
        return cls("exists", _name(field), flag)

    @classmethod
    def starts_with(cls, field: str, prefix: str) -> Filter:
        """The field is a string that begins with the prefix."""
        if not isinstance(prefix, str) or not prefix:
            raise _refuse("starts_with takes a non-empty string", "pass a prefix, or use exists")
        return cls("starts_with", _name(field), _text(prefix, "a prefix"))

    @classmethod
    def and_(cls, *filters: Filter) -> Filter:
        """All of the filters hold."""
        return _joined("and", filters)

    @classmethod
    def or_(cls, *filters: Filter) -> Filter:
        """At least one of the filters holds."""
        return _joined("or", filters)

    def __and__(self, other: Filter) -> Filter:
        return Filter.and_(self, other) if isinstance(other, Filter) else NotImplemented

    def __or__(self, other: Filter) -> Filter:
        return Filter.or_(self, other) if isinstance(other, Filter) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Filter) else False

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        if self.parts:
            return f"Filter.{self.operator}_({', '.join(map(repr, self.parts))})"
        method = "in_" if self.operator == "in" else self.operator
        return f"Filter.{method}({self.field!r}, {self._operand()!r})"

    def _identity(self) -> tuple[object, ...]:
        # To Python True is 1; to a filter they are two values.
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        flags = tuple(isinstance(value, bool) for value in values)
        return self.operator, self.field, self.value, flags, self.parts

    def _operand(self) -> object:
        return list(self.value) if isinstance(self.value, tuple) else self.value

    @classmethod
    def parse(cls, mapping: Mapping[str, object]) -> Filter:
        """Read the JSON form, that of S3 Vectors: `{"topic": "x"}`, `{"n": {"$gte": 1}}`."""
        return _bounded(_parsed(mapping, depth=1))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; `parse` of it equals this filter."""
        if self.field is None:
            return {f"${self.operator}": [part.to_json() for part in self.parts]}
        return {self.field: {_SIGNS[self.operator]: self._operand()}}

    def to_wire(self, rename: Callable[[str], str]) -> dict[str, Any]:
        """Return the form sent to S3 Vectors, where ne and nin say that the field may be missing.

        Args:
            rename: From a filter's field to the metadata key it lies under.
        """
        if self.field is None:
            return {f"${self.operator}": [part.to_wire(rename) for part in self.parts]}
        key = rename(self.field)
        condition = {key: {_SIGNS[self.operator]: self._operand()}}
        if self.operator in {"ne", "nin"}:
            return {"$or": [condition, {key: {"$exists": False}}]}
        return condition

    def fields(self) -> frozenset[str]:
        """Return the names of all fields the filter looks at."""
        if self.field is not None:
            return frozenset({self.field})
        return frozenset(name for part in self.parts for name in part.fields())

    def matches(self, fields: Mapping[str, FieldValue]) -> bool:
        """Say whether the filter holds for a record's flat, filterable values."""
        if self.field is None:
            held = (part.matches(fields) for part in self.parts)
            return all(held) if self.operator == "and" else any(held)
        found = fields.get(self.field)
        match self.operator:
            case "eq" | "in":
                return _equals(found, self.value)
            case "ne" | "nin":
                return not _equals(found, self.value)
            case "exists":
                return (found is not None) is self.value
            case "starts_with":
                return isinstance(found, str) and found.startswith(cast("str", self.value))
            case _:
                if isinstance(found, bool) or not isinstance(found, int | float):
                    return False
                return _ORDER[self.operator](found, cast("float", self.value))


FilterLike: TypeAlias = Filter | Mapping[str, object]
"""A filter, or its JSON form."""


def as_filter(value: FilterLike | None) -> Filter | None:
    """Return a filter from a filter, its JSON form or None.

    Raises:
        InvalidFilterError: It is none of these, or says what S3 Vectors refuses.
    """
    if value is None or isinstance(value, Filter):
        return value
    if isinstance(value, Mapping):
        return Filter.parse(value)
    raise _refuse(
        f"a filter must be a Filter or a mapping, not {type(value).__name__}",
        'pass Filter.eq("key", "value")',
    )


def _refuse(reason: str, remedy: str) -> InvalidFilterError:
    return InvalidFilterError(reason, remedy=remedy)


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}...")


def _text(value: str, what: str) -> str:
    text = str.__str__(value)  # an enum's member is kept as the string it stands for
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise _refuse(f"{what} holds a lone surrogate", "decode it properly first") from exc
    return text


def _name(field: object) -> str:
    if not isinstance(field, str) or not field:
        raise _refuse("a filter's field must be a non-empty string", "name a metadata key")
    if field.startswith("@") and field not in FIELDS:
        raise _refuse(
            f"a record has no field {_shown(field)}", f"use a metadata key or {', '.join(FIELDS)}"
        )
    if field.startswith("$"):
        raise _refuse(
            f"{_shown(field)} is neither a field nor a way to join conditions",
            f"use a metadata key, $and or $or; below a key {_KNOWN_WORDS}",
        )
    name = _text(field, "a filter's field")
    size = len(name.encode("utf-8"))
    if size > _MAX_NAME_BYTES:
        raise _refuse(f"a metadata key has at most {_MAX_NAME_BYTES} bytes, not {size}", "cut it")
    return name


def _number(field: str, value: object) -> int | float | None:
    """Return a plain number; None for what is no number, not finite, or beyond 64 bits."""
    if isinstance(value, datetime):
        if field not in _TIMES:
            remedy = "store it as a number, or filter on @occurred_at or @stored_at"
            raise _refuse(f"{_shown(field)} cannot be compared with a datetime", remedy)
        if value.utcoffset() is None:
            raise _refuse("a datetime in a filter has no time zone", "pass an aware datetime")
        return (value - _EPOCH) // timedelta(minutes=1)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value) if -_MAX_INTEGER < value < _MAX_INTEGER else None
    return float(value) if isinstance(value, float) and math.isfinite(value) else None


def _bound(field: str, value: object, operator: str) -> int | float:
    number = _number(field, value)
    if number is None:
        kind, remedy = type(value).__name__, "store what is to be compared as a number"
        remedy = "pass an aware datetime" if field in _TIMES else remedy
        raise _refuse(f"{operator} takes a {_NUMBER}, not {kind}", remedy)
    return number


def _scalar(field: str, value: object, operator: str) -> Scalar:
    if field in _TIMES:
        return _bound(field, value, operator)
    if isinstance(value, str):
        return _text(value, "a value in a filter")
    number = value if isinstance(value, bool) else _number(field, value)
    if number is None:
        kind, remedy = type(value).__name__, "use exists for missing fields, in_ for several values"
        raise _refuse(f"{operator} takes text, a boolean or a {_NUMBER}, not {kind}", remedy)
    return number


def _several(field: str, values: object, operator: str) -> tuple[Scalar, ...]:
    if not isinstance(values, list | tuple | set | frozenset) or not values:
        raise _refuse(f"{operator} takes a list of at least one value", "use exists for any value")
    given = cast("Collection[object]", values)
    several = [_scalar(field, value, operator) for value in given]
    if isinstance(values, set | frozenset):
        # The order of a set differs between processes; cursors are bound to the filter's form.
        several.sort(key=lambda value: (type(value).__name__, repr(value)))
    return tuple(several)


def _joined(operator: Literal["and", "or"], filters: Sequence[object]) -> Filter:
    parts: list[Filter] = []
    for one in filters:
        if not isinstance(one, Filter):
            kind = type(one).__name__
            raise _refuse(f"{operator}_ takes filters, not {kind}", "use Filter.parse for JSON")
        parts += one.parts if one.operator == operator else (one,)
    if not parts:
        raise _refuse(f"{operator}_ takes at least one filter", "leave the filter out instead")
    return _bounded(Filter(operator, parts=tuple(parts)))


def _weight(one: Filter) -> int:
    if one.field is None:
        return sum(map(_weight, one.parts))
    values = len(one.value) if isinstance(one.value, tuple) else 1
    # On the wire these also ask whether the field is missing.
    return values + 1 if one.operator in {"ne", "nin"} else values


def _depth(one: Filter) -> int:
    return 1 + max(map(_depth, one.parts), default=0)


def _shallow(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _refuse(f"a filter nests at most {MAX_DEPTH} levels", "flatten it")


def _bounded(one: Filter) -> Filter:
    _shallow(_depth(one))
    weight = _weight(one)
    if weight > MAX_CONSTRAINTS:
        reason = f"a filter compares at most {MAX_CONSTRAINTS} values, not {weight}"
        raise _refuse(f"{reason}; a negation counts one more", "ask in several calls")
    return one


def _parsed(condition: object, *, depth: int) -> Filter:
    _shallow(depth)
    if not isinstance(condition, Mapping):
        kind = type(condition).__name__
        raise _refuse(f"a condition must be an object, not {kind}", f"write {_EXAMPLE}")
    entries = list(cast("Mapping[object, object]", condition).items())
    if len(entries) != 1:
        remedy = "join several with $and, or leave the filter out"
        raise _refuse(f"a condition has exactly one key, not {len(entries)}", remedy)
    key, value = entries[0]
    if key in _JOINS:
        if not isinstance(value, list | tuple) or not value:
            raise _refuse(f"{key} takes a non-empty list of conditions", "leave it out instead")
        parts = (_parsed(each, depth=depth + 1) for each in cast("Sequence[object]", value))
        return Filter(_JOINS[key], parts=tuple(parts))
    field = _name(key)
    if not isinstance(value, Mapping):
        return Filter.eq(field, cast("Scalar", value))
    comparisons = cast("Mapping[object, object]", value)
    if not comparisons:
        raise _refuse("a field has no comparison", f"write {_EXAMPLE}")
    several = tuple(_compared(field, word, operand) for word, operand in comparisons.items())
    return several[0] if len(several) == 1 else Filter("and", parts=several)


def _compared(field: str, word: object, operand: Any) -> Filter:
    operator = _WORDS.get(word)
    if operator is None:
        shown = _shown(word) if isinstance(word, str) else type(word).__name__
        raise _refuse(
            f"{shown} does not compare a field",
            f"use one of {_KNOWN_WORDS}; $and and $or stand around fields, not below them",
        )
    make = getattr(Filter, "in_" if operator == "in" else operator)
    return cast("Filter", make(field, operand))


def _equals(found: object, wanted: object) -> bool:
    if isinstance(found, list | tuple):
        return any(_equals(one, wanted) for one in cast("Sequence[object]", found))
    several = cast("tuple[object, ...]", wanted) if isinstance(wanted, tuple) else (wanted,)
    flag = isinstance(found, bool)
    return any(found == one and isinstance(one, bool) is flag for one in several)
