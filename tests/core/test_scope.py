"""Each row of the table of reach holds for any two scopes, and no scope is malformed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.errors import MemlaneError, ScopeError, ValidationError, hashed_user
from memlane.scope import MAX_ID_BYTES, Reach, Scope, Tenancy, check_id, check_tenancy

QUICK = settings(deadline=None, max_examples=300)
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)

# Few, and alike: prefixes of each other, other cases, other forms of one letter, words for nobody.
IDS = ("ada", "ada1", "Ada", "ad\u00e1", "ada\u0301", "a/b", "None", "default", "*", "%", " ada")
ids = st.sampled_from(IDS)
names = st.none() | ids
scopes = st.builds(
    lambda user, tenant, agent, session: Scope(user, tenant=tenant, agent=agent, session=session),
    ids, names, names, names,
)  # fmt: skip
moments = st.none() | st.integers(-3, 3).map(lambda minutes: NOW + timedelta(minutes=minutes))


def owned(one: Scope, other: Scope) -> bool:
    return (one.tenant, one.user) == (other.tenant, other.user)


@QUICK
@given(scopes, scopes)
def test_point_calls_meet_the_agent_exactly_and_any_session(mine: Scope, theirs: Scope) -> None:
    """Get, update, delete, retrieve and context: no agent is a lane of its own."""
    covered = Reach.point(mine, now=NOW).covers(theirs)
    assert covered is (owned(mine, theirs) and mine.agent == theirs.agent)


@QUICK
@given(scopes, scopes)
def test_include_agents_meets_all_agents_of_the_user(mine: Scope, theirs: Scope) -> None:
    """The supervisor's view ends where the user ends."""
    covered = Reach.point(mine, now=NOW, include_agents=True).covers(theirs)
    assert covered is owned(mine, theirs)


@QUICK
@given(scopes.filter(lambda scope: scope.session is not None), scopes, st.booleans())
def test_only_session_meets_the_session_exactly(
    mine: Scope, theirs: Scope, include_agents: bool
) -> None:
    """It narrows what the agent's rule has left, and records of no session are not of it."""
    narrow = Reach.point(mine, now=NOW, include_agents=include_agents, only_session=True)
    wide = Reach.point(mine, now=NOW, include_agents=include_agents)
    assert narrow.covers(theirs) is (wide.covers(theirs) and mine.session == theirs.session)


@QUICK
@given(scopes, scopes)
def test_whole_scope_calls_meet_what_the_scope_contains(mine: Scope, theirs: Scope) -> None:
    """List, iterate, count, export and forget: what is not named is not narrowed."""
    expected = (
        owned(mine, theirs)
        and (mine.agent is None or mine.agent == theirs.agent)
        and (mine.session is None or mine.session == theirs.session)
    )
    assert Reach.whole(mine, now=NOW).covers(theirs) is expected


@QUICK
@given(scopes, moments)
def test_expired_records_are_gone_from_every_reach(
    mine: Scope, expires_at: datetime | None
) -> None:
    """At the very moment of expiry too; only forget, which has no now, still meets them."""
    alive = expires_at is None or expires_at > NOW
    assert Reach.point(mine, now=NOW).covers(mine, expires_at=expires_at) is alive
    assert Reach.whole(mine, now=NOW).covers(mine, expires_at=expires_at) is alive
    assert Reach.whole(mine, now=None).covers(mine, expires_at=expires_at)


@QUICK
@given(scopes, scopes, moments, st.booleans())
def test_nobody_reaches_another_user_or_tenant(
    mine: Scope, theirs: Scope, expires_at: datetime | None, include_agents: bool
) -> None:
    """Whatever is asked for: no tenant is not any tenant."""
    reaches = [
        Reach.point(mine, now=NOW, include_agents=include_agents),
        Reach.whole(mine, now=NOW),
        Reach.whole(mine, now=None),
    ]
    if not owned(mine, theirs):
        assert not any(reach.covers(theirs, expires_at=expires_at) for reach in reaches)


@QUICK
@given(scopes)
def test_what_a_scope_stores_it_finds_again(mine: Scope) -> None:
    """A record of a scope is within every reach of that scope."""
    assert Reach.point(mine, now=NOW).covers(mine)
    assert Reach.whole(mine, now=NOW).covers(mine)
    if mine.session is not None:
        assert Reach.point(mine, now=NOW, only_session=True).covers(mine)


def test_only_session_needs_a_session() -> None:
    """An answer from all sessions would not be what was asked for."""
    with pytest.raises(ScopeError, match="only_session needs a scope with a session"):
        Reach.point(Scope("ada"), now=NOW, only_session=True)


TENANCIES: tuple[tuple[Tenancy, bool, bool], ...] = (
    # tenancy, with a tenant, without one
    ("required", True, False),
    ("per-user", True, False),
    ("none", False, True),
    ("optional", True, True),
)


@pytest.mark.parametrize(("tenancy", "with_tenant", "without"), TENANCIES)
@given(mine=scopes)
@settings(deadline=None, max_examples=50)
def test_tenancy_says_which_scopes_are_accepted(
    mine: Scope, tenancy: Tenancy, with_tenant: bool, without: bool
) -> None:
    """A scope that the client was not made for is refused, named by verb and hash alone."""
    accepted = without if mine.tenant is None else with_tenant
    if accepted:
        assert check_tenancy(mine, tenancy, operation="store") is mine
        return
    with pytest.raises(ScopeError, match=r"^store tenant=") as caught:
        check_tenancy(mine, tenancy, operation="store")
    assert caught.value.scope is mine
    assert f"user#{hashed_user(mine.user)}" in str(caught.value)
    assert repr(mine.user) not in str(caught.value)


@pytest.mark.parametrize("scope", [None, "ada", ("ada", "acme"), {"user": "ada"}, Scope])
@pytest.mark.parametrize("tenancy", ["required", "none", "optional", "per-user"])
def test_a_call_takes_a_scope(scope: object, tenancy: Tenancy) -> None:
    """A bare user id is an error that shows the right form."""
    with pytest.raises(ScopeError, match=r"must be a Scope.*Scope\("):
        check_tenancy(scope, tenancy, operation="retrieve")


BAD_IDS: list[object] = [
    "", " ", "\t", "\u3000", "a\0", "a\nb", "\x1b[31m", "a\x7f", "\ud800", "a\udc80b",
    "x" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2 + 1), 1, 1.5, True, b"ada", ["ada"],
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_IDS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("part", ["user", "tenant", "agent", "session"])
def test_ids_that_name_nobody_are_refused(part: str, value: Any) -> None:
    """Each part of a scope by the same rules, the message naming the part and not the id."""
    parts: dict[str, Any] = {"user": "ada", part: value}
    with pytest.raises(ScopeError, match=f"^{part} ") as caught:
        Scope(parts.pop("user"), **parts)
    assert isinstance(caught.value, ValidationError | MemlaneError)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 200


def test_no_user_is_refused() -> None:
    """None is no wildcard for a user; for the other parts it is nobody."""
    nobody: Any = None
    with pytest.raises(ScopeError, match="user must be a string"):
        Scope(nobody)
    assert Scope("ada", tenant=None, agent=None, session=None) == Scope("ada")


@QUICK
@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1))
def test_any_printable_id_is_kept_exactly(text: str) -> None:
    """Other scripts, spaces and slashes are part of an id; nothing is folded or trimmed."""
    if text.strip() and len(text.encode()) <= MAX_ID_BYTES:
        assert Scope(text, tenant=text).user == text
        assert check_id(text, name="actor") is text
    longest = "é" * (MAX_ID_BYTES // 2)
    assert Scope(longest).user == longest


@QUICK
@given(scopes, scopes)
def test_scopes_are_values(one: Scope, other: Scope) -> None:
    """Equal by their parts alone, hashable, and never changed in place."""
    parts = (one.user, one.tenant, one.agent, one.session)
    same = parts == (other.user, other.tenant, other.agent, other.session)
    assert (one == other) is same
    assert len({one, other}) == (1 if same else 2)
    assert replace(one) == one
    changed: Any = one
    with pytest.raises(AttributeError):
        changed.user = "eve"


def test_only_the_user_is_positional() -> None:
    """`Scope("ada", "acme")` would leave open which of them is the tenant."""
    make: Any = Scope
    with pytest.raises(TypeError):
        make("ada", "acme")
