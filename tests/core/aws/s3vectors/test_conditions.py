"""What is sent as a filter lets through at least what it means, whatever AWS does where unknown."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.aws.s3vectors.conditions import MAX_CONSTRAINTS, wire_filter
from memlane.aws.s3vectors.description import Description
from memlane.errors import InvalidFilterError
from memlane.filters import Filter, as_filter
from memlane.layout import to_minutes
from memlane.metadata import NON_FILTERABLE, record_fields, to_metadata
from memlane.protocols import VectorQuery
from memlane.scope import Reach, Scope
from memlane.testing.emulator.s3vectors.filters import compiled
from memlane.testing.emulator.switches import Switches
from memlane.testing.samples import NOW, SCOPE, SUSPECTS, make_record, query_for, unit
from memlane.types import MemoryRecord

QUICK = settings(deadline=None, max_examples=150)
OURS = Description(
    dimension=16, metric="cosine", unfilterable=frozenset(NON_FILTERABLE), is_enhanced=True
)
OLDER = replace(OURS, unfilterable=frozenset({"content", "stored_at", "conversation_id", "type"}))
# Every way in which AWS may treat what nobody has observed.
UNKNOWNS = [
    Switches().changed(
        {
            "ne_matches_missing": missing,
            "ne_on_lists": lists,
            "in_on_lists": looks,
            "numbers": numbers,
        }
    )
    for missing, lists, looks, numbers in itertools.product(
        (False, True), ("none_equals", "any_differs"), (False, True), ("float64", "float32")
    )
]

LONG = "x" * 65
NAMES = ["Ada", "ada", "default", LONG, f"{LONG}y", "#ada", "#"]
KEYS = ["n", "color", "content", "type", "user_id"]
WHOLE = [2**24, 2**24 + 1, -(2**60), 2**60]
BESIDE = [value + by for value in (0.1, 0.5, 1.0) for by in (-1e-12, 0.0, 1e-12)]
VALUES: list[Any] = ["red", "re", "", 1, True, False, *BESIDE, *WHOLE]
HERE = Reach.point(SCOPE, now=NOW)

scalars = st.sampled_from(VALUES)
numbers = st.sampled_from([one for one in VALUES if type(one) in {int, float}])
records = st.builds(
    lambda metadata, actor, agent, session, tags: replace(
        make_record("a", metadata=metadata, actor=actor, tags=tuple(tags)),
        scope=Scope("ada", tenant="acme", agent=agent, session=session),
    ),
    st.dictionaries(
        st.sampled_from(KEYS),
        scalars
        | st.lists(st.sampled_from(["red", "re", "x"]), min_size=1, max_size=3)
        | st.lists(numbers, min_size=1, max_size=3),
        max_size=3,
    ),
    st.none() | st.sampled_from(NAMES),
    st.none() | st.sampled_from(NAMES),
    st.none() | st.sampled_from(NAMES),
    st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True),
)
fields = st.sampled_from([*KEYS, "@actor", "@agent", "@session"])
leaves = st.one_of(
    st.builds(Filter.eq, fields, scalars | st.sampled_from(NAMES)),
    st.builds(Filter.ne, fields, scalars | st.sampled_from(NAMES)),
    st.builds(
        Filter.in_, fields, st.lists(scalars | st.sampled_from(NAMES), min_size=1, max_size=4)
    ),
    st.builds(
        Filter.nin, fields, st.lists(scalars | st.sampled_from(NAMES), min_size=1, max_size=4)
    ),
    *(st.builds(make, fields, numbers) for make in (Filter.gt, Filter.gte, Filter.lt, Filter.lte)),
    st.builds(Filter.exists, fields, st.booleans()),
    st.builds(Filter.starts_with, fields, st.sampled_from(["r", "red", "A", "#", "x" * 10, "de"])),
    st.builds(Filter.in_, st.just("@tags"), st.just(["x", "z"])),
    st.builds(Filter.ne, st.just("@tags"), st.just("x")),
)
# At most eight leaves of five values: a filter compares no more than eighty.
filters = st.recursive(
    leaves,
    lambda inner: st.builds(Filter.and_, inner, inner) | st.builds(Filter.or_, inner, inner),
    max_leaves=8,
)


def _wire(
    query: VectorQuery,
    reach: Reach,
    description: Description = OURS,
    *,
    shared: bool = False,
) -> dict[str, Any]:
    return wire_filter(query, reach=reach, description=description, shared=shared)


def _holds(
    condition: dict[str, Any], flat: dict[str, Any], switches: Switches, description: Description
) -> bool:
    taken = compiled(condition, hidden=description.unfilterable, enhanced=True, switches=switches)
    return taken.holds(flat)


def _flat(record: MemoryRecord) -> dict[str, Any]:
    return {key: value for key, value in to_metadata(record).items() if key not in NON_FILTERABLE}


@QUICK
@given(records, filters)
def test_no_record_that_meets_a_filter_is_left_out(record: MemoryRecord, one: Filter) -> None:
    """Hashed ids, lists, missing fields, large numbers: the wire is as wide as the meaning."""
    if not one.matches(record_fields(record)):
        return
    reach = Reach.point(record.scope, now=NOW)
    try:
        condition = _wire(query_for(unit(0), condition=one), reach)
    except InvalidFilterError:
        return
    for switches in UNKNOWNS:
        assert _holds(condition, _flat(record), switches, OURS), switches


@QUICK
@given(filters)
def test_what_is_sent_is_taken(one: Filter) -> None:
    """AWS's grammar, and its count of what a filter compares."""
    try:
        condition = _wire(query_for(unit(0), condition=one, namespace="/a/", actor=LONG), HERE)
    except InvalidFilterError as error:
        assert str(MAX_CONSTRAINTS) in str(error)  # noqa: PT017 - mostly nothing is raised
        return
    compiled(condition, hidden=NON_FILTERABLE, enhanced=True, switches=Switches())


@pytest.mark.parametrize("shared", [False, True], ids=["tenants", "shared"])
@pytest.mark.parametrize("any_agent", [False, True])
@pytest.mark.parametrize("any_session", [False, True])
def test_a_reach_lets_through_what_it_covers(
    any_agent: bool, any_session: bool, shared: bool
) -> None:
    """Among all suspects the filter alone finds those within reach, and in one index no others."""
    for mine in SUSPECTS:
        reach = Reach(scope=mine, any_agent=any_agent, any_session=any_session, now=NOW)
        condition = _wire(query_for(unit(0)), reach, shared=shared)
        for other in SUSPECTS:
            if not shared and other.tenant != mine.tenant:
                continue  # they are in another index
            record = make_record("a", scope=other)
            flat = _flat(record)
            if shared:
                flat["owner"] = _owner(other)
            for switches in UNKNOWNS:
                assert _holds(condition, flat, switches, OURS) == reach.covers(other)


def _owner(scope: Scope) -> str:
    condition = _wire(query_for(unit(0)), Reach.point(scope, now=NOW), shared=True)
    found: str = next(part["owner"] for part in condition["$and"] if "owner" in part)
    return found


def test_what_has_expired_is_left_out_to_the_minute() -> None:
    """A minute too long at most, never a moment too short, and nothing when time does not count."""
    for late, kept in ((-120, False), (-61, False), (1, True), (90, True)):
        record = make_record("a", expires_at=NOW + timedelta(seconds=late))
        flat, query = _flat(record), query_for(unit(0))
        assert _holds(_wire(query, HERE), flat, Switches(), OURS) is kept
        forever = Reach.whole(SCOPE, now=None)
        assert _holds(_wire(query, forever), flat, Switches(), OURS)


def test_space_actor_and_subtree_are_conditions() -> None:
    """Each of them alone keeps a record out."""
    record = make_record("a", namespace="/a/b/", actor=LONG)
    flat = _flat(record)
    asked = query_for(unit(0), namespace="/a/", actor=LONG)
    assert _holds(_wire(asked, HERE), flat, Switches(), OURS)
    for other in (
        replace(asked, namespace="/b/"),
        replace(asked, actor=f"{LONG}y"),
        replace(asked, space="another:16"),
    ):
        assert not _holds(_wire(other, HERE), flat, Switches(), OURS)


def test_too_many_values_are_refused_before_the_wire() -> None:
    """What the scope adds counts too: 80 values pass alone, and not with what they become."""
    many = as_filter({"@actor": {"$in": [f"a{n}" for n in range(79)]}})
    _wire(query_for(unit(0), condition=many), HERE)
    prefixes = Filter.or_(*(Filter.starts_with("@actor", f"a{n}") for n in range(79)))
    with pytest.raises(InvalidFilterError, match="100") as caught:
        _wire(query_for(unit(0), condition=prefixes), HERE)
    assert caught.value.remedy


def test_times_are_told_apart_on_the_wire() -> None:
    """They are whole minutes, which float32 holds: what equals a bound is not let through."""
    for condition in (
        Filter.gt("@stored_at", 100),
        Filter.lt("@occurred_at", 100),
        Filter.ne("@stored_at", 100),
        Filter.gt("@valid_from", 100),
        Filter.lt("@valid_to", 100),
    ):
        sent = _wire(query_for(unit(0), condition=condition), HERE)
        assert sent == wire_filter(
            query_for(unit(0), condition=condition),
            reach=HERE, description=OURS, shared=False, narrow=True,
        )  # fmt: skip
    sent = _wire(query_for(unit(0), condition=Filter.gt("@stored_at", 100)), HERE)
    assert {"stored": {"$gt": 100}} in sent["$and"]


@pytest.mark.parametrize("switches", UNKNOWNS)
def test_what_was_true_then_is_let_through(switches: Switches) -> None:
    """Whatever the service does with a time that a record does not have."""
    minute = to_minutes(NOW)
    then = Filter.and_(
        Filter.or_(Filter.lte("@valid_from", minute), Filter.exists("@valid_from", False)),
        Filter.or_(Filter.gt("@valid_to", minute), Filter.exists("@valid_to", False)),
    )
    condition = _wire(query_for(unit(0), condition=then), HERE)
    ago, ahead = NOW - timedelta(days=1), NOW + timedelta(days=1)
    for since, until in itertools.product((None, ago, ahead), (None, ago, ahead)):
        record = replace(make_record("a"), valid_from=since, valid_to=until)
        wanted = since is not ahead and until is not ago
        assert then.matches(record_fields(record)) is wanted
        assert _holds(condition, _flat(record), switches, OURS) is wanted


@pytest.mark.parametrize("field", ["@kind", "@session"])
def test_an_older_index_is_not_asked_what_it_cannot_say(field: str) -> None:
    """Keys that another tool made unfilterable are refused before the wire, by name."""
    condition = Filter.eq(field, "x")
    _wire(query_for(unit(0), condition=condition), HERE)
    with pytest.raises(InvalidFilterError, match="another tool"):
        _wire(query_for(unit(0), condition=condition), HERE, OLDER)


def test_one_session_of_an_older_index_cannot_be_asked_for() -> None:
    """There `conversation_id` is unfilterable; a narrower reach is refused, and never widened."""
    reach = Reach.point(SCOPE, now=NOW, only_session=True)
    with pytest.raises(InvalidFilterError, match="conversation_id"):
        _wire(query_for(unit(0)), reach, OLDER)


def test_vectors_of_older_tools_are_found_in_their_index() -> None:
    """Without a space, an expiry, or an agent where they know none; and of this user only."""
    flat = {"user_id": "ada", "agent_name": "support"}
    query = query_for(unit(0))
    assert _holds(_wire(query, HERE, OLDER), flat, Switches(), OLDER)
    assert not _holds(_wire(query, HERE, OURS), flat, Switches(), OURS)
    assert not _holds(_wire(query, HERE, OLDER), {**flat, "user_id": "eve"}, Switches(), OLDER)
    nobody = Reach.point(Scope("ada", tenant="acme"), now=NOW)
    for agent in ({"agent_name": "default"}, {}):
        assert _holds(_wire(query, nobody, OLDER), {"user_id": "ada", **agent}, Switches(), OLDER)
    called = Reach.point(Scope("ada", tenant="acme", agent="default"), now=NOW)
    assert not _holds(
        _wire(query, called, OLDER), {**flat, "agent_name": "default"}, Switches(), OLDER
    )
    long = Reach.point(Scope(LONG, tenant="acme", agent=LONG), now=NOW)
    theirs = {"user_id": LONG, "agent_name": LONG}
    assert _holds(_wire(query, long, OLDER), theirs, Switches(), OLDER)


def test_a_shared_older_index_tells_its_vectors_from_tenants() -> None:
    """What has no owner belongs to the user without a tenant, and to no tenant's."""
    theirs = {"user_id": "ada", "agent_name": "default"}
    query = query_for(unit(0))
    for tenant, found in ((None, True), ("acme", False)):
        reach = Reach.point(Scope("ada", tenant=tenant), now=NOW)
        condition = _wire(query, reach, OLDER, shared=True)
        assert _holds(condition, theirs, Switches(), OLDER) is found
        mine = {**theirs, "owner": _owner(reach.scope), "space": query.space}
        assert _holds(condition, mine, Switches(), OLDER)
        assert not _holds(condition, {**mine, "owner": "b" * 20}, Switches(), OLDER)
