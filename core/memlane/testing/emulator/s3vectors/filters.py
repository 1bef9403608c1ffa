"""The filters of queries: what S3 Vectors takes, what it refuses, and what they match."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import numpy as np

from memlane.testing.emulator.s3vectors.refusals import invalid, invalid_filter
from memlane.testing.emulator.switches import Switches

__all__ = ("MAX_CONSTRAINTS", "Condition", "compiled")

Predicate: TypeAlias = Callable[[Mapping[str, Any]], bool]

MAX_CONSTRAINTS: Final = 100  # of an ENHANCED query: 100 taken, 101 refused [D]

_NUMBERS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter that was taken.

    Args:
        holds: Whether it holds for a vector's metadata.
        constraints: Values it compares; how $exists, $startsWith and $nin count is unknown [?].
        strings: Pairs of field and string of which each must be met: where a search may begin.
    """

    holds: Predicate
    constraints: int
    strings: tuple[tuple[str, str], ...] = ()


def compiled(
    value: object, *, hidden: Collection[str], enhanced: bool, switches: Switches
) -> Condition:
    """Return a filter's meaning.

    Args:
        value: The request's `filter`.
        hidden: Metadata keys that are not filterable.
        enhanced: Whether the query runs in mode ENHANCED.
        switches: What a comparison does where that is not known.

    Raises:
        AwsError: It is refused.
    """
    try:
        condition = _Compiler(frozenset(hidden), enhanced, switches).parsed(value)
    except RecursionError:  # how deep a filter may nest is unknown [?]
        raise invalid_filter() from None
    if enhanced and condition.constraints > MAX_CONSTRAINTS:
        raise invalid(f"Filter must have at most {MAX_CONSTRAINTS} constraints", "filter")
    return condition


class _Compiler:
    def __init__(self, hidden: frozenset[str], enhanced: bool, switches: Switches) -> None:
        self._hidden = hidden
        self._enhanced = enhanced
        self._switches = switches
        self._single = switches.numbers == "float32"

    def parsed(self, value: object) -> Condition:
        # Exactly one key: {} and {a: 1, b: 2} are refused [E].
        if not isinstance(value, dict):
            raise invalid_filter()
        ((key, operand), *others) = cast("dict[str, Any]", value).items() or (("", None),)
        if others or not value:
            raise invalid_filter()
        if key in {"$and", "$or"}:
            return self._joined(key, operand)
        if key.startswith("$"):  # there is no $not, and an unknown word is refused [E]
            raise invalid_filter()
        if isinstance(operand, dict):
            return self._compared(key, cast("dict[str, Any]", operand))
        return self._compared(key, {"$eq": operand})  # {field: v} is $eq [E]

    def _joined(self, key: str, operand: object) -> Condition:
        if not isinstance(operand, list) or not operand:
            raise invalid_filter()
        parts = [self.parsed(each) for each in cast("list[object]", operand)]
        count = sum(part.constraints for part in parts)  # the wrapper counts 0 [D]
        checks = [part.holds for part in parts]
        if key == "$or":
            return Condition(_any_of(checks), count)
        strings = tuple(pair for part in parts for pair in part.strings)
        return Condition(_all_of(checks), count, strings)

    def _compared(self, field: str, operators: dict[str, Any]) -> Condition:
        if not operators:
            raise invalid_filter()
        if field in self._hidden:
            raise invalid("Invalid use of non-filterable metadata in filter", "filter")
        parts = [self._one(field, word, operand) for word, operand in operators.items()]
        if len(parts) == 1:
            return parts[0]
        # Several operators on one field must all hold [E].
        strings = tuple(pair for part in parts for pair in part.strings)
        count = sum(part.constraints for part in parts)
        return Condition(_all_of([part.holds for part in parts]), count, strings)

    def _one(self, field: str, word: str, operand: Any) -> Condition:
        match word:
            case "$eq":
                strings = ((field, operand),) if isinstance(operand, str) else ()
                return Condition(self._equal(field, [_scalar(operand)]), 1, strings)
            case "$ne":
                return Condition(self._differs(field, [_scalar(operand)]), 1)
            case "$in" | "$nin":
                if not isinstance(operand, list) or not operand:
                    raise invalid_filter()
                values = [_scalar(each) for each in cast("list[object]", operand)]
                if word == "$nin":
                    return Condition(self._differs(field, values), len(values))
                lists = self._switches.in_on_lists
                return Condition(self._equal(field, values, lists=lists), len(values))
            case "$exists":
                if not isinstance(operand, bool):
                    raise invalid_filter()
                return Condition(lambda metadata: (field in metadata) is operand, 1)
            case "$startsWith" if self._enhanced and isinstance(operand, str):
                return Condition(_starts(field, operand), 1)
            case _ if word in _NUMBERS and _is_number(operand):
                return Condition(self._ordered(field, word, operand), 1)
            case _:
                raise invalid_filter()

    def _rounded(self, value: object) -> Any:
        if self._single and isinstance(value, int | float) and not isinstance(value, bool):
            return float(np.float32(value))
        return value

    def _equal(self, field: str, values: Sequence[Any], *, lists: bool = True) -> Predicate:
        wanted = frozenset((isinstance(value, bool), self._rounded(value)) for value in values)
        rounded = self._rounded

        def holds(metadata: Mapping[str, Any]) -> bool:
            found = metadata.get(field)
            if isinstance(found, list):
                each = cast("list[object]", found)
                return lists and any((False, rounded(one)) in wanted for one in each)
            return (isinstance(found, bool), rounded(found)) in wanted

        return holds

    def _differs(self, field: str, values: Sequence[Any]) -> Predicate:
        equal = self._equal(field, values)
        missing = self._switches.ne_matches_missing
        any_differs = self._switches.ne_on_lists == "any_differs"

        def holds(metadata: Mapping[str, Any]) -> bool:
            found = metadata.get(field)
            if found is None:
                return missing
            if any_differs and isinstance(found, list):
                each = cast("list[object]", found)
                return not all(equal({field: one}) for one in each)
            return not equal(metadata)

        return holds

    def _ordered(self, field: str, word: str, bound: float) -> Predicate:
        rounded = self._rounded
        limit, compare = rounded(bound), _NUMBERS[word]

        def holds(metadata: Mapping[str, Any]) -> bool:
            found = metadata.get(field)
            # A type that does not fit, or an absent field, matches nothing and is no error [E].
            return _is_number(found) and compare(rounded(found), limit)

        return holds


def _scalar(value: object) -> object:
    if isinstance(value, str | bool) or _is_number(value):
        return value
    raise invalid_filter()


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _starts(field: str, prefix: str) -> Predicate:
    def holds(metadata: Mapping[str, Any]) -> bool:
        found = metadata.get(field)
        return isinstance(found, str) and found.startswith(prefix)

    return holds


def _all_of(checks: list[Predicate]) -> Predicate:
    return lambda metadata: all(check(metadata) for check in checks)


def _any_of(checks: list[Predicate]) -> Predicate:
    return lambda metadata: any(check(metadata) for check in checks)
