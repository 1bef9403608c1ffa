"""Several namespaces at once are checked as one, and each record answers once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.errors import ValidationError
from memlane.retrieval.subtrees import MAX_SUBTREES, merged, subtrees
from memlane.scope import Scope
from memlane.types import Match, MemoryRecord, NamespaceQuery, RetrievalOptions

NOW = datetime(2026, 3, 14, tzinfo=UTC)


def _asked(*namespaces: NamespaceQuery, **options: Any) -> list[NamespaceQuery]:
    bounds = {"namespace": None, "limit": 10, "min_similarity": None, "most": 100, **options}
    return [*subtrees(RetrievalOptions(namespaces=namespaces), **bounds)]


def test_without_namespaces_everything_is_asked() -> None:
    """One subtree, the root or the one named, with the call's own bounds."""
    assert _asked() == [NamespaceQuery(path="/", limit=10)]
    assert _asked(namespace="/a", min_similarity=0.5) == [
        NamespaceQuery(path="/a/", limit=10, min_similarity=0.5)
    ]


def test_each_subtree_has_bounds_of_its_own() -> None:
    """The call's least similarity is meant where a subtree names none; zero is one."""
    asked = _asked(
        NamespaceQuery(path="/a", limit=3),
        NamespaceQuery(path="/b/", limit=100, min_similarity=0.0),
        min_similarity=0.5,
    )
    assert asked == [
        NamespaceQuery(path="/a/", limit=3, min_similarity=0.5),
        NamespaceQuery(path="/b/", limit=100, min_similarity=0.0),
    ]


@pytest.mark.parametrize(
    ("namespaces", "options"),
    [
        ([NamespaceQuery(path="/a/")], {"namespace": "/"}),
        ([NamespaceQuery(path="/a/", limit=0)], {}),
        ([NamespaceQuery(path="/a/", limit=101)], {}),
        ([NamespaceQuery(path="/a/", min_similarity=1.5)], {}),
        ([NamespaceQuery(path="a")], {}),
        ([NamespaceQuery(path="/../")], {}),
        ([NamespaceQuery(path="")], {}),
        ([NamespaceQuery(path=f"/{n}/") for n in range(MAX_SUBTREES + 1)], {}),
        ([], {"namespace": ""}),
        ([], {"namespace": "a"}),
        ([], {"namespace": 0}),
        ([], {"namespace": []}),
        ([], {"min_similarity": -1}),
    ],
)
def test_bad_subtrees_are_refused(
    namespaces: list[NamespaceQuery], options: dict[str, Any]
) -> None:
    """Both ways at once, bounds out of range, and paths that are none; "" is not the root."""
    with pytest.raises(ValidationError):
        _asked(*namespaces, **options)


def _match(record_id: str, agent: str | None, score: float) -> Match:
    record = MemoryRecord(
        id=record_id,
        text="x",
        scope=Scope("ada", agent=agent),
        occurred_at=NOW,
        stored_at=NOW,
        updated_at=NOW,
    )
    return Match(record=record, score=score, similarity=None, passage="x")


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            _match,
            st.sampled_from(["a", "b", "c", "d"]),
            st.sampled_from([None, "x", "y"]),
            st.floats(0, 1),
        ),
        max_size=20,
    )
)
def test_merging_keeps_the_best_of_each_record(matches: list[Match]) -> None:
    """Best first; one id of two agents is two records."""
    found = merged(matches)
    assert [match.score for match in found] == sorted(
        (match.score for match in found), reverse=True
    )
    keys = [(match.record.scope.agent, match.record.id) for match in found]
    assert len(keys) == len(set(keys))
    best: dict[tuple[str | None, str], float] = {}
    for match in matches:
        key = (match.record.scope.agent, match.record.id)
        best[key] = max(best.get(key, 0), match.score)
    assert dict(zip(keys, (match.score for match in found), strict=True)) == best
