"""Bounds are whole numbers in range, and a client without room to work is refused when made."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlane import MemoryClient, Scope
from memlane.errors import ValidationError
from memlane.limits import Limits, check_limit, check_similarity, check_tokens, check_version
from memlane.local import InMemoryBackend
from memlane.testing import HashingEmbedder

NOT_WHOLE: tuple[object, ...] = (None, True, False, 1.0, "1", b"1", [1], Decimal(1), np.int64(1))


@given(st.integers(1, 1000))
def test_a_limit_within_bounds_is_itself(limit: int) -> None:
    """From one to the most, both included."""
    assert check_limit(limit, most=1000) == limit
    assert check_tokens(limit) == limit


@pytest.mark.parametrize("bad", [*NOT_WHOLE, 0, -1, 1001, 10**400])
def test_other_limits_are_refused(bad: object) -> None:
    """The message names the bound, and the way to read everything."""
    with pytest.raises(ValidationError, match=r"1 to 1000; .*iterate"):
        check_limit(bad, most=1000)


@pytest.mark.parametrize("bad", [*NOT_WHOLE, 0, -1])
def test_other_budgets_are_refused(bad: object) -> None:
    """A budget of tokens is a positive whole number."""
    with pytest.raises(ValidationError, match="max_tokens"):
        check_tokens(bad)


@given(st.floats(0, 1))
def test_a_similarity_within_bounds_is_itself(similarity: float) -> None:
    """From zero to one, both included; numpy's float64 is a float too."""
    assert check_similarity(similarity) == similarity
    assert check_similarity(np.float64(similarity)) == similarity


def test_similarities_may_be_left_out_or_whole() -> None:
    """None keeps every match; 0 and 1 need no decimal point."""
    assert check_similarity(None) is None
    assert check_similarity(0) == 0.0
    assert type(check_similarity(1)) is float


@pytest.mark.parametrize(
    "bad",
    [-0.001, 1.001, float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), True, "0.5",
     [0.5], Decimal("0.5"), 1j],
)  # fmt: skip
def test_other_similarities_are_refused(bad: object) -> None:
    """However large, however odd: it is our error and no other."""
    with pytest.raises(ValidationError, match="min_similarity"):
        check_similarity(bad)


@pytest.mark.parametrize(
    ("name", "least"), [("results", 1), ("batch", 1), ("cached_queries", 0), ("rank_threads", 1)]
)
def test_limits_leave_room_to_work(name: str, least: int) -> None:
    """Without a thread an answer would never be ranked; such bounds are refused at once."""
    assert getattr(Limits(**{name: least}), name) == least
    for bad in (least - 1, None, 1.5, "4", True):
        with pytest.raises(ValidationError, match=name):
            Limits(**{name: bad})  # type: ignore[arg-type] # what untyped code would pass


@pytest.mark.parametrize("bad", NOT_WHOLE)
def test_a_version_is_a_number(bad: object) -> None:
    """Any whole one: whether there is such a version is the store's to say."""
    with pytest.raises(ValidationError, match="expected_version must be a whole number"):
        check_version(bad, name="expected_version")
    assert check_version(-1, name="expected_version") == -1


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("update", {"text": "y", "expected_version": True}),
        ("restore", {"version": True}),
        ("restore", {"version": 1, "expected_version": "1"}),
    ],
)
async def test_versions_are_looked_at_first(verb: str, given: dict[str, Any]) -> None:
    """To a store the text "1" is another version than 1, and True is the first."""
    client = MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder())
    ada = Scope("ada")
    record = await client.store("x", scope=ada)
    with pytest.raises(ValidationError, match="version must be a whole number"):
        await getattr(client, verb)(record.id, scope=ada, **given)
    assert await client.get(record.id, scope=ada) == record
