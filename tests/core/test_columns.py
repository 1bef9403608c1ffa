"""Columns say of each row what its record says, and distances hold for any finite numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memlane.columns import candidates_of, cosine_distances, meets
from memlane.errors import EmbeddingSpaceError
from memlane.filters import Filter
from memlane.layout import to_minutes
from memlane.protocols import IndexedRecord, Vector
from memlane.scope import Scope
from memlane.testing.samples import (
    NOW,
    SCOPE,
    directions,
    indexed,
    make_record,
    query_for,
    unit,
    words,
)

QUICK = settings(deadline=None, max_examples=150)
# Below it the products of float32 have no digits left; no model is that faint.
FAINTEST = 2.0**-100
finite = st.floats(FAINTEST, width=32, allow_infinity=False) | st.floats(
    max_value=-FAINTEST, width=32, allow_infinity=False
) | st.just(0.0)  # fmt: skip
matrices = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(5)), elements=finite)
vectors = hnp.arrays(np.float32, 5, elements=finite)


@QUICK
@given(matrices, vectors)
@example(np.array([[3e38, 3e38, 3e38, -3e38, -3e38]], np.float32), np.ones(5, np.float32))
@example(np.full((1, 5), 3e38, np.float32), np.full(5, -1e-30, np.float32))
def test_distances_lie_between_zero_and_two(matrix: Vector, vector: Vector) -> None:
    """Huge, tiny and zero vectors too have a distance, and it is the exact one."""
    found = cosine_distances(matrix, vector)
    assert found.dtype == np.float32
    assert found.shape == (len(matrix),)
    rows, query = matrix.astype(np.longdouble), vector.astype(np.longdouble)
    lengths = np.sqrt((rows * rows).sum(axis=1)) * np.sqrt((query * query).sum())
    dots = rows @ query
    expected = 1 - np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    assert found == pytest.approx(np.clip(expected, 0, 2).astype(np.float64), abs=2e-6)


@QUICK
@given(matrices.filter(len), st.floats(2.0**-10, 2.0**10))
def test_distance_does_not_know_length(matrix: Vector, factor: float) -> None:
    """A vector made longer points where it pointed."""
    sane = np.clip(matrix, -1e6, 1e6)
    sane[np.abs(sane) < 1e-6] = 0
    longer = (sane[0] * factor).astype(np.float32)
    assert cosine_distances(sane, longer) == pytest.approx(
        cosine_distances(sane, sane[0]), abs=1e-5
    )


def test_distances_of_known_directions() -> None:
    """Same is 0, orthogonal 1, opposite 2; no direction is 1 and no query NaN."""
    matrix = np.array([[1, 0], [0, 3], [-2, 0], [0, 0]], dtype=np.float32)
    assert cosine_distances(matrix, np.array([5, 0], dtype=np.float32)).tolist() == [0, 1, 2, 1]
    assert cosine_distances(matrix, np.zeros(2, dtype=np.float32)).tolist() == [1, 1, 1, 1]
    assert np.isnan(cosine_distances(matrix, None)).all()
    assert cosine_distances(np.zeros((0, 0), dtype=np.float32), unit(0)).shape == (0,)
    ones = directions(20)
    assert cosine_distances(ones, ones[3], unit_rows=True) == pytest.approx(
        cosine_distances(ones, ones[3]), abs=1e-6
    )


@pytest.mark.parametrize(
    "bad", [[1, 0], [[1, 0, 0]], [1, 0, float("nan")], [1, 0, float("inf")], []]
)
def test_a_query_of_another_space_is_refused(bad: list[object]) -> None:
    """Another length, another shape and numbers that are none are one error."""
    with pytest.raises(EmbeddingSpaceError, match="query vector"):
        cosine_distances(np.eye(3, dtype=np.float32), np.array(bad, dtype=np.float32))


def _items() -> list[IndexedRecord]:
    other = replace(SCOPE, agent="sales", session=None)
    long = indexed(
        make_record("long", "one two three", actor="Ada", namespace="/a/b/"),
        unit(0), unit(1), unit(2),
        terms=[words(1, 2, 3), words(1), words()],
    )  # fmt: skip
    return [
        long,
        indexed(make_record("bare", actor=None, scope=replace(SCOPE, session=None))),
        indexed(make_record("same", actor="Eve", metadata={"topic": "tea"})),
        indexed(make_record("same", actor="Ada", scope=other, occurred_at=NOW - timedelta(1))),
        replace(indexed(make_record("unread")), parts=()),
        indexed(make_record("foreign", space="another:16")),
    ]


def test_each_row_says_what_its_record_says() -> None:
    """A row per part, in stored order, with codes that lead back to names."""
    found = candidates_of(_items(), query_for(unit(0)), complete=False)
    assert list(found.record_ids) == ["long", "long", "long", "bare", "same", "same"]
    assert found.parts.tolist() == [0, 1, 2, 0, 0, 0]
    assert found.agents == ["support"] * 5 + ["sales"]
    assert found.order.tolist() == [0, 0, 0, 1, 2, 3]
    assert found.offsets.tolist() == [0, 3, 4, 4, 7, 10, 13]
    assert found.terms.dtype == np.uint32
    assert found.distances.tolist() == [0, 1, 1, 0, 0, 0]
    assert found.spans.tolist()[0] == [0, 13]
    named = [found.actor_names[code] if code >= 0 else None for code in found.actors]
    assert named == ["Ada", "Ada", "Ada", None, "Eve", "Ada"]
    assert found.sessions.tolist() == [0, 0, 0, -1, 0, -1]
    assert found.occurred[-1] == to_minutes(NOW - timedelta(1))
    assert found.complete is False
    assert found.records is not None
    assert [record.id for record in found.records] == list(found.record_ids)


def test_conditions_narrow_what_is_found() -> None:
    """Space, subtree, actor and filter each hold for every row; nothing found is an empty table."""

    def ids(**conditions: object) -> list[str]:
        found = candidates_of(_items(), query_for(unit(0), **conditions))  # type: ignore[arg-type] # by name
        return sorted(set(found.record_ids))

    assert ids(space="another:16") == ["foreign"]
    assert ids(namespace="/a/") == ["long"]
    assert ids(actor="Ada") == ["long", "same"]
    assert ids(condition=Filter.eq("topic", "tea")) == ["same"]
    assert ids(condition=Filter.eq("topic", "coffee")) == []
    none = candidates_of([], query_for(None))
    assert (len(none), none.spans.shape, none.offsets.tolist()) == (0, (0, 2), [0])
    assert meets(_items()[0].record, query_for(None, namespace="/a/b/"))
    assert not meets(_items()[0].record, query_for(None, namespace="/a/b/c/"))


def test_without_a_vector_there_is_no_distance() -> None:
    """A search by words alone has NaN where a distance would be."""
    assert np.isnan(candidates_of(_items(), query_for(None)).distances).all()


def test_vectors_of_two_lengths_in_one_space_are_refused() -> None:
    """A store that two models wrote into under one name says so."""
    mixed = [indexed(make_record("a"), unit(0)), indexed(make_record("b"), unit(0, dimensions=3))]
    with pytest.raises(EmbeddingSpaceError, match="different dimensions"):
        candidates_of(mixed, query_for(unit(0)))


@QUICK
@given(st.lists(st.tuples(st.sampled_from([None, "s1", "s2"]), st.sampled_from([None, "A", "B"]),
                          st.integers(0, 3)), max_size=12))  # fmt: skip
def test_codes_are_equal_where_names_are(rows: list[tuple[str | None, str | None, int]]) -> None:
    """Sessions and actors have one number each, and nobody has none."""
    items = [
        indexed(
            make_record(str(n), scope=Scope("u", session=session), actor=actor),
            *[unit(k) for k in range(parts + 1)],
        )
        for n, (session, actor, parts) in enumerate(rows)
    ]
    found = candidates_of(items, query_for(unit(0)))
    assert len(found) == sum(parts + 1 for _, _, parts in rows)
    records = found.records or []
    for left in range(len(found)):
        for right in range(len(found)):
            one, other = records[left], records[right]
            same_session = one.scope.session == other.scope.session
            assert bool(found.sessions[left] == found.sessions[right]) is same_session
            assert bool(found.actors[left] == found.actors[right]) is (one.actor == other.actor)
            assert bool(found.order[left] == found.order[right]) is (one is other)
