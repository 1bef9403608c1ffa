"""The table of scopes: one test per row of what docs/concepts promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane import (
    ConflictError,
    MemoryClient,
    NewMemory,
    NotFoundError,
    RetrievalOptions,
    Scope,
    ScopeError,
    Tenancy,
)
from memlane.errors import hashed_user
from memlane.local import InMemoryBackend
from memlane.scope import Reach
from memlane.testing import CountingBackend, FakeClock, HashingEmbedder
from memlane.testing.samples import NOW, contains, lies_within

U = Scope("ada", tenant="acme")
LANES = (
    U,
    Scope("ada", tenant="acme", agent="sales"),
    Scope("ada", tenant="acme", agent="support"),
    Scope("ada", tenant="acme", session="s1"),
    Scope("ada", tenant="acme", agent="sales", session="s1"),
    Scope("ada", tenant="acme", agent="sales", session="s2"),
)
"""Agents and sessions of one user."""

_Call: TypeAlias = Callable[[MemoryClient, Scope], Awaitable[object]]


def _name(scope: Scope) -> str:
    return f"{scope.agent}-{scope.session}"


async def _fill(client: MemoryClient) -> None:
    for scope in LANES:
        await client.store(f"window of {_name(scope)}", scope=scope, record_id=_name(scope))


async def _seen(client: MemoryClient, scope: Scope, options: RetrievalOptions) -> set[str]:
    matches = await client.retrieve("window", scope=scope, options=options)
    return {match.record.id for match in matches}


@pytest.mark.parametrize("scope", LANES, ids=_name)
async def test_point_calls_match_the_agent_exactly(client: MemoryClient, scope: Scope) -> None:
    """Recall, get, update and delete see the scope's agent; None is a lane, not a wildcard."""
    await _fill(client)
    own = {_name(lane) for lane in LANES if lane.agent == scope.agent}
    assert await _seen(client, scope, RetrievalOptions()) == own
    block = await client.context("window", scope=scope, max_tokens=2_000)
    assert {match.record.id for match in block.matches} == own
    for lane in LANES:
        name = _name(lane)
        if name in own:
            assert (await client.get(name, scope=scope)).scope == lane
            assert (await client.update(name, scope=scope, tags=["t"])).scope == lane
        else:
            with pytest.raises(NotFoundError):
                await client.get(name, scope=scope)
            with pytest.raises(NotFoundError):
                await client.update(name, scope=scope, tags=["t"])
    assert await client.delete([_name(lane) for lane in LANES], scope=scope) == len(own)


@pytest.mark.parametrize("scope", LANES, ids=_name)
async def test_include_agents_is_the_supervisors_view(client: MemoryClient, scope: Scope) -> None:
    """With include_agents point calls see all of the user's agents, and of no other user."""
    await _fill(client)
    await client.store("window", scope=Scope("bob", tenant="acme"), record_id="bob")
    every = {_name(lane) for lane in LANES}
    assert await _seen(client, scope, RetrievalOptions(include_agents=True)) == every
    for name in every:
        assert (await client.get(name, scope=scope, include_agents=True)).id == name
        changed = await client.update(name, scope=scope, kind="seen", include_agents=True)
        assert changed.kind == "seen"
    assert await client.delete([*every, "bob"], scope=scope, include_agents=True) == len(every)


async def test_an_id_of_several_agents_is_ambiguous(client: MemoryClient) -> None:
    """A call for one record asks which agent's it is, where several have the id."""
    for agent in (None, "sales"):
        scope = Scope("ada", tenant="acme", agent=agent)
        await client.store(f"window {agent}", scope=scope, record_id="same")
    with pytest.raises(ConflictError, match="agent"):
        await client.get("same", scope=U, include_agents=True)
    with pytest.raises(ConflictError, match="agent"):
        await client.update("same", scope=U, text="x", include_agents=True)
    matches = await client.retrieve(
        "window", scope=U, options=RetrievalOptions(include_agents=True)
    )
    assert {match.record.text for match in matches} == {"window None", "window sales"}
    assert (await client.get("same", scope=U)).text == "window None"
    assert await client.delete("same", scope=U, include_agents=True) == 2


@pytest.mark.parametrize("scope", LANES, ids=_name)
async def test_session_is_provenance(client: MemoryClient, scope: Scope) -> None:
    """Point calls look across sessions, unless only_session asks for the scope's own."""
    await _fill(client)
    if scope.session is None:
        for call in (
            client.retrieve("w", scope=scope, options=RetrievalOptions(only_session=True)),
            client.get("x", scope=scope, only_session=True),
            client.update("x", scope=scope, text="y", only_session=True),
            client.delete("x", scope=scope, only_session=True),
        ):
            with pytest.raises(ScopeError, match="only_session"):
                await call
        return
    own = {_name(lane) for lane in LANES if lane == scope}
    assert await _seen(client, scope, RetrievalOptions(only_session=True)) == own
    other = next(lane for lane in LANES if lane.agent == scope.agent and lane != scope)
    assert (await client.get(_name(other), scope=scope)).scope == other
    with pytest.raises(NotFoundError):
        await client.get(_name(other), scope=scope, only_session=True)
    with pytest.raises(NotFoundError):
        await client.update(_name(other), scope=scope, text="x", only_session=True)
    ids = [_name(lane) for lane in LANES]
    assert await client.delete(ids, scope=scope, only_session=True) == 1


@pytest.mark.parametrize("scope", LANES, ids=_name)
async def test_whole_scope_calls_cover_what_it_contains(client: MemoryClient, scope: Scope) -> None:
    """List, iterate, count and forget: no agent is all agents, no session is all sessions."""
    await _fill(client)
    inside = {
        _name(lane)
        for lane in LANES
        if scope.agent in {None, lane.agent} and scope.session in {None, lane.session}
    }
    assert {record.id for record in (await client.list(scope=scope)).items} == inside
    assert {record.id async for record in client.iterate(scope=scope)} == inside
    assert await client.count(scope=scope) == len(inside)
    receipt = await client.forget(scope)
    assert receipt.deleted == len(inside)
    left = {record.id for record in (await client.list(scope=U)).items}
    assert left == {_name(lane) for lane in LANES} - inside


CALLS: dict[str, _Call] = {
    "store": lambda client, scope: client.store("a", scope=scope),
    "store_many": lambda client, scope: client.store_many([NewMemory(content="a")], scope=scope),
    "retrieve": lambda client, scope: client.retrieve("a", scope=scope),
    "context": lambda client, scope: client.context("a", scope=scope, max_tokens=50),
    "get": lambda client, scope: client.get("a", scope=scope),
    "update": lambda client, scope: client.update("a", scope=scope, text="b"),
    "delete": lambda client, scope: client.delete("a", scope=scope),
    "list": lambda client, scope: client.list(scope=scope),
    "iterate": lambda client, scope: client.iterate(scope=scope).__anext__(),
    "count": lambda client, scope: client.count(scope=scope),
    "forget": lambda client, scope: client.forget(scope),
}


@pytest.mark.parametrize(
    ("tenancy", "tenant", "allowed"),
    [
        ("required", None, False),
        ("required", "acme", True),
        ("per-user", None, False),
        ("per-user", "acme", True),
        ("none", None, True),
        ("none", "acme", False),
        ("optional", None, True),
        ("optional", "acme", True),
    ],
)
@pytest.mark.parametrize("call", CALLS)
async def test_tenancy_is_kept_by_every_verb(
    tenancy: Tenancy, tenant: str | None, allowed: bool, call: str
) -> None:
    """A scope the tenancy does not allow is refused before anything is paid for."""
    backend, embedder = CountingBackend(InMemoryBackend()), HashingEmbedder()
    client = MemoryClient(backend=backend, embedder=embedder, tenancy=tenancy, clock=FakeClock())
    scope = Scope("ada-lovelace", tenant=tenant)
    if allowed:
        with suppress(NotFoundError, StopAsyncIteration):
            await CALLS[call](client, scope)
        assert backend.calls
        return
    with pytest.raises(ScopeError) as caught:
        await CALLS[call](client, scope)
    assert caught.value.remedy
    assert "lovelace" not in str(caught.value)
    assert (dict(backend.calls), embedder.calls) == ({}, 0)
    with pytest.raises(ScopeError):
        client.scoped(scope)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("scope", ["ada", None, ("ada", "acme"), {"user": "ada"}])
async def test_a_scope_is_a_scope(client: MemoryClient, call: str, scope: object) -> None:
    """Anything else in its place is refused, and never taken for a user."""
    with pytest.raises(ScopeError, match="scope must be a Scope"):
        await CALLS[call](client, scope)  # type: ignore[arg-type] # that is the point


async def test_no_tenant_is_a_lane_of_its_own(client: MemoryClient) -> None:
    """With optional tenancy a user without tenant is not that user of any tenant."""
    await client.store("window", scope=Scope("ada"), record_id="bare")
    await client.store("window", scope=U, record_id="acme")
    assert await client.count(scope=Scope("ada")) == 1
    assert await _seen(client, Scope("ada"), RetrievalOptions(include_agents=True)) == {"bare"}
    assert (await client.forget(U)).deleted == 1
    assert await client.count(scope=Scope("ada")) == 1


async def test_an_absent_record_names_nobody(client: MemoryClient) -> None:
    """The error names verb, tenant and a hash of the user; the scope is its attribute."""
    scope = Scope("ada-lovelace", tenant="acme", agent="sales", session="s-77")
    with pytest.raises(NotFoundError) as caught:
        await client.get("nothing", scope=scope)
    text = str(caught.value)
    assert text.startswith(f"get tenant=acme user#{hashed_user('ada-lovelace')}: ")
    for hidden in ("lovelace", "s-77", "sales"):
        assert hidden not in text
    assert caught.value.scope == scope
    assert isinstance(caught.value, LookupError)


_IDS = st.none() | st.sampled_from(("a", "b", "A", " a"))
_SCOPES = st.builds(Scope, st.sampled_from(("u", "v")), tenant=_IDS, agent=_IDS, session=_IDS)


@settings(max_examples=500, deadline=None)
@given(mine=_SCOPES, other=_SCOPES, agents=st.booleans(), session=st.booleans())
def test_reach_follows_the_table(mine: Scope, other: Scope, agents: bool, session: bool) -> None:
    """`Reach` agrees with the table, said in other words, for any two scopes."""
    only = session and mine.session is not None
    point = Reach.point(mine, now=NOW, include_agents=agents, only_session=only)
    assert point.covers(other) == lies_within(mine, other, any_agent=agents, any_session=not only)
    assert Reach.whole(mine, now=NOW).covers(other) == contains(mine, other)
