"""The Condition element: operators, their set and IfExists forms, and what absent keys mean [D]."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from memlane.testing.emulator.failure import AwsError

__all__ = ("Condition", "Context", "Expand", "matches", "parsed_conditions", "satisfied")

Context: TypeAlias = Mapping[str, tuple[str, ...]]
"""What is known of a request, by condition key in lower case [D: keys ignore case]."""


class Expand(Protocol):
    """Replaces the variables of a value that a policy holds."""

    def __call__(self, pattern: str, /, *, escape: bool) -> str | None:
        """Return the value, or None when a variable cannot be resolved.

        Args:
            pattern: As the policy has it.
            escape: The result is a pattern still, and what was filled in stands for itself.
        """
        ...


_Test: TypeAlias = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key under one operator.

    Args:
        test: Compares a value of the request with one of the policy.
        key: In lower case.
        values: What the policy allows, any of them.
        negated: None of the values may fit, as in StringNotEquals.
        if_exists: An absent key is a match.
        over: "ForAllValues", "ForAnyValue", or None.
        null: For the operator Null: whether the key is to be absent.
    """

    test: _Test
    key: str
    values: tuple[str, ...]
    negated: bool = False
    if_exists: bool = False
    over: Literal["ForAllValues", "ForAnyValue"] | None = None
    null: bool | None = None


@lru_cache(maxsize=16_384)
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    source = "".join(
        {"*": ".*", "?": "."}.get(part, re.escape(_LITERALS.get(part, part)))
        for part in re.split(r"(\*|\?|\$\{[*?$]\})", pattern)
    )
    return re.compile(source, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


# How a policy writes the three characters that mean something [D].
_LITERALS: Final = {"${*}": "*", "${?}": "?", "${$}": "$"}


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Say whether a text fits a pattern of `*` and `?`."""
    if pattern == "*":
        return True
    return _compiled(pattern, ignore_case).fullmatch(text) is not None


def _arn_like(text: str, pattern: str) -> bool:
    """Compare two ARNs part by part: a `*` does not reach over a colon [D]."""
    parts, wanted = text.split(":", 5), pattern.split(":", 5)
    if len(parts) != 6 or len(wanted) != 6:
        return False
    return all(matches(one, other) for one, other in zip(wanted, parts, strict=True))


def _moment(text: str) -> float:
    with suppress(ValueError):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _compared(read: Callable[[str], float], holds: Callable[[float, float], bool]) -> _Test:
    def test(text: str, wanted: str) -> bool:
        try:
            return holds(read(text), read(wanted))
        except ValueError:
            return False

    return test


def _ordered(name: str, read: Callable[[str], float]) -> dict[str, tuple[_Test, bool]]:
    return {
        f"{name}Equals": (_compared(read, lambda a, b: a == b), False),
        f"{name}NotEquals": (_compared(read, lambda a, b: a == b), True),
        f"{name}LessThan": (_compared(read, lambda a, b: a < b), False),
        f"{name}LessThanEquals": (_compared(read, lambda a, b: a <= b), False),
        f"{name}GreaterThan": (_compared(read, lambda a, b: a > b), False),
        f"{name}GreaterThanEquals": (_compared(read, lambda a, b: a >= b), False),
    }


def _same(text: str, wanted: str) -> bool:
    return text == wanted


def _same_letters(text: str, wanted: str) -> bool:
    return text.casefold() == wanted.casefold()


def _like(text: str, wanted: str) -> bool:
    return matches(wanted, text)


def _inside(text: str, wanted: str) -> bool:
    try:
        return ip_address(text) in ip_network(wanted, strict=False)
    except ValueError:
        return False


_OPERATORS: Final[Mapping[str, tuple[_Test, bool]]] = {
    "StringEquals": (_same, False),
    "StringNotEquals": (_same, True),
    "StringEqualsIgnoreCase": (_same_letters, False),
    "StringNotEqualsIgnoreCase": (_same_letters, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    **_ordered("Numeric", float),
    **_ordered("Date", _moment),
    "Bool": (_same_letters, False),
    "BinaryEquals": (_same, False),
    "IpAddress": (_inside, False),
    "NotIpAddress": (_inside, True),
    # ArnEquals and ArnLike behave alike [D].
    "ArnEquals": (_arn_like, False),
    "ArnLike": (_arn_like, False),
    "ArnNotEquals": (_arn_like, True),
    "ArnNotLike": (_arn_like, True),
}
_BY_LETTERS: Final = {name.casefold(): name for name in (*_OPERATORS, "Null")}


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicyDocument", 400, message)


def _values(value: Any) -> tuple[str, ...]:
    several = cast("Sequence[Any]", value) if isinstance(value, list) else [value]
    texts: list[str] = []
    for each in several:
        if isinstance(each, bool):
            texts.append("true" if each else "false")
        elif isinstance(each, str | int | float):
            texts.append(str(each))
        else:
            raise _malformed("Syntax errors in policy.")
    return tuple(texts)


def parsed_conditions(element: Any) -> tuple[Condition, ...]:
    """Return the conditions of a statement.

    Raises:
        AwsError: MalformedPolicyDocument.
    """
    if not isinstance(element, Mapping):
        raise _malformed("Syntax errors in policy.")
    conditions: list[Condition] = []
    for name, keys in cast("Mapping[str, Any]", element).items():
        if not isinstance(keys, Mapping):
            raise _malformed("Syntax errors in policy.")
        conditions += [
            _condition(name, key, _values(value))
            for key, value in cast("Mapping[str, Any]", keys).items()
        ]
    return tuple(conditions)


def _condition(name: str, key: str, values: tuple[str, ...]) -> Condition:
    over, _, bare = name.rpartition(":")
    if_exists = bare.casefold().endswith("ifexists")
    bare = bare[: -len("IfExists")] if if_exists else bare
    known = _BY_LETTERS.get(bare.casefold())
    if known is None or over not in {"", "ForAllValues", "ForAnyValue"}:
        raise _malformed(f"Invalid Condition type : {name}.")
    if ":" not in key:
        raise _malformed(
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
        )
    if known == "Null":
        return Condition(
            test=_same, key=key.lower(), values=values, null=values[0].casefold() == "true"
        )
    test, negated = _OPERATORS[known]
    return Condition(
        test=test,
        key=key.lower(),
        values=values,
        negated=negated,
        if_exists=if_exists,
        over=cast("Literal['ForAllValues', 'ForAnyValue'] | None", over or None),
    )


def satisfied(condition: Condition, context: Context, expand: Expand) -> bool:
    """Say whether a request satisfies a condition.

    A value with a variable that cannot be resolved satisfies nothing, negated or not: the
    statement does not apply [D].
    """
    present = context.get(condition.key, ())
    if condition.null is not None:
        return condition.null == (not present)
    if not present:
        # [D]: without the key IfExists and ForAllValues hold, a negated operator holds too, and
        # everything else fails.
        if condition.over is not None:
            return condition.over == "ForAllValues" or condition.if_exists
        return condition.if_exists or condition.negated
    wanted: list[str] = []
    for value in condition.values:
        expanded = expand(value, escape=condition.test in {_like, _arn_like})
        if expanded is None:
            return False
        wanted.append(expanded)
    return _holds(condition, present, wanted)


def _holds(condition: Condition, present: Sequence[str], wanted: Sequence[str]) -> bool:
    def one(text: str) -> bool:
        return any(condition.test(text, each) for each in wanted) != condition.negated

    if condition.over == "ForAllValues":
        return all(one(text) for text in present)
    if condition.over == "ForAnyValue" or not condition.negated:
        return any(one(text) for text in present)
    # A negated operator on several values without a set operator: none of them may fit [K].
    return all(one(text) for text in present)
