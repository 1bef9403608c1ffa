"""Prefixes and keys made apart are the keys made at once, and an id tells when it was made."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlane.layout import agent_prefix, owner_prefix, record_key, ulid, ulid_time, vector_key
from memlane.scope import Scope
from memlane.testing.samples import SUSPECTS
from memlane.writing import RecordIds

NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)


@pytest.mark.parametrize(
    "record_id", ["a", "a/b", "a#w1", "%", "caf\u00e9", "\u0661", "actors", "A1", "a b", "a_b~"]
)
def test_keys_are_made_of_their_prefixes(record_id: str) -> None:
    """Owner, agent, id: the same in one step and in three."""
    for scope in SUSPECTS:
        key = vector_key(scope, record_id)
        assert key == record_key(agent_prefix(scope), record_id)
        assert agent_prefix(scope).startswith(owner_prefix(scope))
        assert key.count("/") == 2
        assert key.isascii()


def test_prefixes_tell_owners_and_agents_apart() -> None:
    """As many as there are; remembering them confuses none."""
    for _ in range(2):
        owners = {owner_prefix(scope) for scope in SUSPECTS}
        agents = {agent_prefix(scope) for scope in SUSPECTS}
        assert len(owners) == len({(scope.tenant, scope.user) for scope in SUSPECTS})
        assert len(agents) == len({(s.tenant, s.user, s.agent) for s in SUSPECTS})


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_a_ulid_says_its_number(milliseconds: int, entropy: int) -> None:
    """Its digits, five bits each, are those of the time and the entropy."""
    number = 0
    for char in ulid(milliseconds, entropy):
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(char)
    assert number == (milliseconds << 80) + entropy


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_a_ulid_tells_its_time(milliseconds: int, entropy: int) -> None:
    """To the millisecond, whatever the rest."""
    assert ulid_time(ulid(milliseconds, entropy)) == milliseconds


def test_our_own_ids_tell_when_they_were_made() -> None:
    """Those that a client gives out."""
    assert ulid_time(RecordIds().new(NOW)) == int(NOW.timestamp() * 1000)


@pytest.mark.parametrize(
    "text",
    ["", "a", "8" + "Z" * 25, "0" * 25, "0" * 27, "0" * 25 + "I", "0" * 25 + "a", "\u0661" * 26],
)
def test_other_ids_tell_nothing(text: str) -> None:
    """What only looks like one is none."""
    assert ulid_time(text) is None


def test_keys_are_pinned() -> None:
    """They are part of the format."""
    scope = Scope("ada", tenant="acme", agent="bot")
    assert agent_prefix(scope) == "2asxqm3ckjxe3gtyfjur/ncuwgrmkczrewro3/"
