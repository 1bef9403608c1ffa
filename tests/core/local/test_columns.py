"""Candidates built from whole records are laid out as the protocol says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlane.columns import candidates_of, cosine_distances
from memlane.errors import EmbeddingSpaceError
from memlane.filters import Filter
from memlane.layout import to_minutes
from memlane.scope import Scope
from memlane.testing.samples import NOW, indexed, make_record, query_for, unit, words


def test_layout() -> None:
    """Rows of one record lie together, and every column says the same about a row."""
    scopes = [Scope("u", agent="a", session="s"), Scope("u"), Scope("u", agent="a", session="s")]
    items = [
        indexed(
            make_record(f"r{number}", "abc", scope=scope, actor="ada" if number else None),
            *[unit(number), unit(number + 1)][: 1 + number % 2],
            terms=[words(*range(number)), words(9)],
        )
        for number, scope in enumerate(scopes)
    ]
    found = candidates_of(items, query_for(unit(1)))
    assert len(found) == 4
    assert list(found.record_ids) == ["r0", "r1", "r1", "r2"]
    assert list(found.agents) == ["a", None, None, "a"]
    assert found.parts.tolist() == [0, 0, 1, 0]
    assert found.spans.tolist() == [[0, 3], [0, 3], [0, 1], [0, 3]]
    assert found.distances.tolist() == [1, 0, 1, 1]
    assert found.terms.tolist() == [0, 9, 0, 1]
    assert found.offsets.tolist() == [0, 0, 1, 2, 4]
    assert found.actors.tolist() == [-1, 0, 0, 0]
    assert list(found.actor_names) == ["ada"]
    assert found.sessions.tolist() == [0, -1, -1, 0]
    assert found.order.tolist() == [0, 1, 1, 2]
    assert found.occurred.tolist() == [to_minutes(NOW)] * 4
    assert found.complete
    assert found.records is not None
    assert [record.id for record in found.records] == list(found.record_ids)


def test_conditions() -> None:
    """Space, namespace, actor and filter narrow; a gap in the order stays a gap."""
    items = [
        indexed(make_record("a", namespace="/x/", actor="ada", metadata={"k": 1})),
        indexed(make_record("b", namespace="/xy/", actor="ada", metadata={"k": 1})),
        indexed(make_record("c", namespace="/x/", actor="bob", metadata={"k": 1})),
        indexed(make_record("d", namespace="/x/", actor="ada", metadata={"k": 2})),
        indexed(make_record("e", namespace="/x/", actor="ada", metadata={"k": 1}, space="else")),
        indexed(make_record("f", namespace="/x/y/", actor="ada", metadata={"k": 1})),
    ]
    query = query_for(None, namespace="/x/", actor="ada", condition=Filter.eq("k", 1))
    found = candidates_of(items, query, complete=False)
    assert list(found.record_ids) == ["a", "f"]
    assert found.order.tolist() == [0, 5]
    assert np.isnan(found.distances).all()
    assert not found.complete


def test_nothing() -> None:
    """No records are no rows, in the shapes that rows would have."""
    found = candidates_of([], query_for(unit(0)))
    assert len(found) == 0
    assert found.spans.shape == (0, 2)
    assert found.offsets.tolist() == [0]
    assert found.distances.dtype == np.float32


def test_mixed_dimensions_are_refused() -> None:
    """Vectors of one space that differ in length cannot be compared."""
    items = [indexed(make_record("a")), indexed(make_record("b"), unit(0, dimensions=3))]
    with pytest.raises(EmbeddingSpaceError):
        candidates_of(items, query_for(unit(0)))


_FAR = 2.0**50
_rows = st.lists(
    st.lists(st.floats(-_FAR, _FAR, width=32), min_size=4, max_size=4), min_size=1, max_size=5
)


@given(_rows, st.lists(st.floats(-_FAR, _FAR, width=32), min_size=4, max_size=4))
def test_distances_are_distances(rows: list[list[float]], query: list[float]) -> None:
    """Whatever the lengths, a distance is finite, 0 to 2, and that of exact arithmetic."""
    matrix, vector = np.array(rows, dtype=np.float32), np.array(query, dtype=np.float32)
    distances = cosine_distances(matrix, vector)
    assert distances.dtype == np.float32
    assert ((distances >= 0) & (distances <= 2)).all()
    for row, distance in zip(matrix.astype(np.float64), distances, strict=True):
        lengths = np.linalg.norm(row) * np.linalg.norm(vector.astype(np.float64))
        exact = 1 - row @ vector.astype(np.float64) / lengths if lengths > 1e-60 else 1.0
        if lengths > 1e-60:
            assert distance == pytest.approx(exact, abs=1e-4)
