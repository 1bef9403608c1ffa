"""Whose records, and which, as a filter that S3 Vectors reads.

The filter lets through at least what it should: numbers may be compared as float32 there, and long
ids are compared by hash. What comes back is compared once more, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from memlane.aws.s3vectors.description import Description
from memlane.errors import InvalidFilterError
from memlane.filters import Filter
from memlane.layout import owner_prefix, to_minutes
from memlane.metadata import NO_AGENT, agent_form, id_form, wire_name
from memlane.protocols import VectorQuery
from memlane.scope import Reach

__all__ = ("MAX_CONSTRAINTS", "of_wholes", "wire_filter")

MAX_CONSTRAINTS: Final = 100
"""Values that an index of mode ENHANCED compares for one filter."""

Condition: TypeAlias = dict[str, Any]

_FORMS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {"@actor": id_form, "@session": id_form, "@agent": agent_form}
)
_FLOAT32_WHOLE: Final = 2**24  # from here on float32 leaves out whole numbers
_MINUTES: Final = frozenset({"@occurred_at", "@stored_at", "@valid_from", "@valid_to"})
"""Whole numbers, and mostly below that."""


def wire_filter(
    query: VectorQuery,
    *,
    reach: Reach,
    description: Description,
    shared: bool,
    narrow: bool = False,
) -> Condition:
    """Return the condition that a query's rows must meet.

    Args:
        query: What is asked.
        reach: Whose records.
        description: What the index can filter on.
        shared: Tenants share the index, so the user's id alone does not say whose it is.
        narrow: Trust the service to tell all numbers apart: what is next to a bound may be left
            out then, and what equals it does not crowd out the rest.

    Raises:
        InvalidFilterError: It names what this index keeps unfilterable, or compares too much.
    """
    older = description.is_older
    found = [_owner(reach, shared=shared, older=older)]
    if not reach.any_agent:
        found.append(_agent(reach.scope.agent, older=older))
    if not reach.any_session:
        session = reach.scope.session
        key = "conversation_id"
        found.append(_absent(key) if session is None else {key: id_form(session)})
    space: Condition = {"space": query.space}
    found.append(_or(space, _absent("space")) if older else space)
    if reach.now is not None:
        found.append(_or(_absent("expires"), {"expires": {"$gt": to_minutes(reach.now)}}))
    if query.namespace != "/":
        found.append({"namespace": {"$startsWith": query.namespace}})
    if query.actor is not None:
        found.append({"actor": id_form(query.actor)})
    if query.filter is not None:
        found.append(_translated(query.filter, narrow=narrow))
    condition = {"$and": found} if len(found) > 1 else found[0]
    if older or query.filter is not None:
        _check(condition, description)
    return condition


def of_wholes(condition: Condition, description: Description) -> Condition | None:
    """Return a condition for whole texts alone, one row a record; None where it cannot be said."""
    narrowed = {"$and": [condition, _or({"part": 0}, _absent("part"))]}
    try:
        _check(narrowed, description)
    except InvalidFilterError:
        return None
    return narrowed


def _absent(key: str) -> Condition:
    return {key: {"$exists": False}}


def _or(*conditions: Condition) -> Condition:
    return {"$or": list(conditions)}


def _owner(reach: Reach, *, shared: bool, older: bool) -> Condition:
    user = reach.scope.user
    form = id_form(user)
    # The older tools keep every id as it is.
    mine: Condition = {"user_id": {"$in": [form, user]} if older and form != user else form}
    if not shared:
        return mine
    owner: Condition = {"owner": owner_prefix(reach.scope)[:-1]}
    if not older or reach.scope.tenant is not None:
        return owner
    return _or(owner, {"$and": [_absent("owner"), mine]})


def _agent(agent: str | None, *, older: bool) -> Condition:
    form = agent_form(agent)
    if not older:
        return {"agent_name": form}
    if agent is None:
        return _or({"agent_name": NO_AGENT}, _absent("agent_name"))
    # In the older tools' own words "default" is no agent, and not the one that is called so.
    is_said_twice = agent not in {form, NO_AGENT}
    return {"agent_name": {"$in": [form, agent]} if is_said_twice else form}


def _translated(one: Filter, *, narrow: bool) -> Condition:
    if one.field is None:
        return {f"${one.operator}": [_translated(part, narrow=narrow) for part in one.parts]}
    key = wire_name(one.field)
    form = _FORMS.get(one.field)
    values: list[Any] = list(one.value) if isinstance(one.value, tuple) else [one.value]
    if one.operator == "exists":
        return _exists(one, key)
    if one.operator == "starts_with":
        return _prefixed(key, values[0], is_formed=form is not None)
    if form is not None:
        values = [form(value) if isinstance(value, str) else value for value in values]
    # Next to a number may lie another that float32, in which the service may compare, takes for it.
    is_blurred = _is_large if narrow or one.field in _MINUTES else _is_number
    match one.operator:
        case "eq" | "in":
            # Not $in: whether that looks into lists, as $eq does, is not documented.
            return _or(*({key: value} for value in values)) if len(values) > 1 else {key: values[0]}
        case "ne" | "nin":
            return _negated(key, [each for each in values if not is_blurred(each)])
        case _:
            sign = f"{one.operator}e" if is_blurred(values[0]) else one.operator
            return {key: {f"${sign[:3]}": values[0]}}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_large(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) >= _FLOAT32_WHOLE


def _prefixed(key: str, prefix: str, *, is_formed: bool) -> Condition:
    if not is_formed:
        return {key: {"$startsWith": prefix}}
    # A long id is there as its hash, of which nothing is known but how it begins.
    hashed: Condition = {key: {"$startsWith": "#"}}
    return hashed if prefix.startswith("#") else _or({key: {"$startsWith": prefix}}, hashed)


def _negated(key: str, values: list[Any]) -> Condition:
    # Whether a negation holds for what lacks the field is not documented.
    told: Condition = {key: {"$exists": True}}
    if values:
        told = {key: {"$ne": values[0]} if len(values) == 1 else {"$nin": values}}
    return _or(told, _absent(key))


def _exists(one: Filter, key: str) -> Condition:
    if one.field != "@agent":
        return {key: {"$exists": one.value}}
    return {key: {"$ne": NO_AGENT}} if one.value else _or({key: NO_AGENT}, _absent(key))


def _check(condition: Condition, description: Description) -> None:
    weight, keys = _weighed(condition)
    if weight > MAX_CONSTRAINTS:
        raise InvalidFilterError(
            f"the filter and the scope together compare {weight} values; S3 Vectors takes "
            f"{MAX_CONSTRAINTS}",
            remedy="ask in several calls",
        )
    hidden = sorted(keys & description.unfilterable)
    if hidden:
        raise InvalidFilterError(
            f"this index was made by another tool and cannot be filtered by {', '.join(hidden)}",
            remedy="leave that condition out, or store the records in an index of memlane's own",
        )


def _weighed(condition: Condition) -> tuple[int, set[str]]:
    weight, keys = 0, set[str]()
    for key, value in condition.items():
        if key in {"$and", "$or"}:
            for part in value:
                more, names = _weighed(part)
                weight += more
                keys |= names
            continue
        keys.add(key)
        operands: list[Any] = [value]
        if isinstance(value, dict):
            operands = [*cast("dict[str, Any]", value).values()]
        for each in operands:
            weight += len(cast("Any", each)) if isinstance(each, list) else 1
    return weight, keys
