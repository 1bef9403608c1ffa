"""Two answers about one user become one table: each row once, in stored order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.columns import TimedCandidates, candidates_of, merged
from memlane.layout import EPOCH
from memlane.protocols import Candidates, IndexedRecord
from memlane.scope import Scope
from memlane.testing._queries import check_columns
from memlane.testing.samples import NOW, indexed, make_record, query_for, unit, words

QUERY = query_for(unit(0))
_SESSIONS = (None, "monday", "tuesday", "wednesday")
_ACTORS = (None, "Ada", "Eve", "Bob")
_COLUMNS = (
    "parts", "spans", "distances", "actors", "sessions", "order", "occurred", "stored",
)  # fmt: skip
_AGENTS = (None, "", "support")


def _records(seeds: Sequence[tuple[int, int, int, int, int]]) -> list[IndexedRecord]:
    """Return records in stored order; several may be of one moment."""
    made: list[IndexedRecord] = []
    moment, group = NOW, 99
    for place, (step, agent, session, actor, parts) in enumerate(seeds):
        # Ids of others need not rise; those of one moment do.
        moment, group = moment + timedelta(microseconds=step), group - step
        scope = Scope("u", agent=_AGENTS[agent] or None, session=_SESSIONS[session])
        record = make_record(f"id{group:02}{place}", "some text", scope=scope, actor=_ACTORS[actor])
        record = replace(record, stored_at=moment, occurred_at=NOW - timedelta(minutes=place))
        terms = [words(*range(place + k)) for k in range(parts)]
        made.append(indexed(record, *[unit(place + k) for k in range(parts)], terms=terms))
    return made


def _timed(candidates: Candidates) -> TimedCandidates:
    assert candidates.records is not None
    names = list(dict.fromkeys(
        record.scope.session for record in candidates.records if record.scope.session is not None
    ))  # fmt: skip
    given = {field.name: getattr(candidates, field.name) for field in fields(Candidates)}
    return TimedCandidates(
        **given,
        stored=np.array(
            [(each.stored_at - EPOCH) // timedelta(microseconds=1) for each in candidates.records],
            dtype=np.int64,
        ),
        session_names=names,
    )


def _rows(table: Candidates) -> list[dict[str, Any]]:
    """Return what each row says, with names instead of codes."""
    assert table.records is not None
    return [
        {
            "id": table.record_ids[row],
            "agent": table.agents[row],
            "part": int(table.parts[row]),
            "span": table.spans[row].tolist(),
            "distance": float(table.distances[row]),
            "terms": table.terms[table.offsets[row] : table.offsets[row + 1]].tolist(),
            "actor": None if table.actors[row] < 0 else table.actor_names[table.actors[row]],
            "occurred": int(table.occurred[row]),
            "record": table.records[row].id,
        }
        for row in range(len(table))
    ]


seeds = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(1, 3),
    ),
    max_size=10,
)


@settings(deadline=None, max_examples=200)
@given(seeds, st.data(), st.booleans())
def test_the_whole_is_what_one_query_would_have_found(
    made: list[tuple[int, int, int, int, int]], data: st.DataObject, timed: bool
) -> None:
    """Cut a table into two that overlap and join them: nothing is lost, doubled or mixed up."""
    records = _records(made)
    some = st.lists(st.sampled_from(range(len(records))), unique=True) if records else st.just([])
    one = [records[at] for at in sorted(data.draw(some))]
    two = [records[at] for at in sorted(data.draw(some))]
    first, second = (candidates_of(part, QUERY, complete=False) for part in (one, two))
    if timed:
        first, second = _timed(first), _timed(second)
    whole = [item for item in records if item in one or item in two]
    expected = candidates_of(whole, QUERY, complete=False)
    found = merged(first, second)
    check_columns(found, QUERY)
    assert _rows(found) == _rows(expected)
    assert found.order.tolist() == expected.order.tolist()
    assert found.directions is not None
    assert expected.directions is not None
    backwards = range(len(expected))[::-1]
    np.testing.assert_array_equal(found.directions(backwards), expected.directions(backwards))
    sessions = found.sessions.tolist()
    for a, left in enumerate(expected.sessions.tolist()):
        assert (sessions[a] < 0) == (left < 0)
        for b, right in enumerate(expected.sessions.tolist()):
            assert (sessions[a] == sessions[b]) == (left == right)


def test_who_tells_no_directions_has_none_when_joined() -> None:
    """Of rows of which nothing is known nobody can say how near they are."""
    one, two = (candidates_of([item], QUERY) for item in _records([(0, 0, 1, 1, 1)] * 2))
    assert merged(one, two).directions is not None
    assert merged(replace(one, directions=None), two).directions is None
    assert merged(one, replace(two, directions=None)).directions is None


def test_windows_found_by_the_second_query_join_their_record() -> None:
    """Rows of one record lie together, in order, under one place."""
    (long, other) = _records([(0, 0, 1, 1, 3), (1, 0, 2, 2, 1)])
    table = _timed(candidates_of([long, other], QUERY, complete=False))
    one, two = _only(table, [1, 3]), _only(table, [0, 1, 2])
    found = merged(one, two)
    assert list(found.record_ids) == ["id990"] * 3 + ["id981"]
    assert found.parts.tolist() == [0, 1, 2, 0]
    assert found.order.tolist() == [0, 0, 0, 1]
    assert found.records is not None
    assert [each.id for each in found.records[1:]] == ["id990", "id990", "id981"]


def _only(table: TimedCandidates, rows: list[int]) -> TimedCandidates:
    chosen = np.array(rows)
    assert table.records is not None
    edges = table.offsets
    pieces = [table.terms[edges[row] : edges[row + 1]] for row in rows]
    return replace(
        table,
        record_ids=[table.record_ids[row] for row in rows],
        agents=[table.agents[row] for row in rows],
        records=[table.records[row] for row in rows],
        terms=np.concatenate(pieces),
        offsets=np.array([0, *np.cumsum([len(piece) for piece in pieces])], dtype=np.int64),
        **{
            name: getattr(table, name)[chosen]
            for name in _COLUMNS
        },
    )  # fmt: skip


def test_nothing_new_leaves_the_first_as_it_is() -> None:
    """The very object: most questions name somebody who is among the nearest anyway."""
    records = _records([(0, 0, 1, 1, 1), (1, 0, 2, 2, 1)])
    first = candidates_of(records, QUERY, complete=False)
    assert merged(first, candidates_of(records[:1], QUERY, complete=False)) is first


@pytest.mark.parametrize("lean", [0, 1])
def test_answers_that_cannot_be_joined_are_the_first_alone(lean: int) -> None:
    """Without times and records nobody knows which was stored before which."""
    records = _records([(0, 0, 1, 1, 1), (1, 0, 2, 2, 1)])
    tables = [candidates_of([record], QUERY, complete=False) for record in records]
    tables[lean] = replace(tables[lean], records=None)
    assert merged(*tables) is tables[0]


def test_records_that_come_later_stay_away() -> None:
    """Joined without its records, a timed answer has none either, and they are fetched."""
    records = _records([(0, 0, 1, 1, 1), (1, 0, 2, 2, 1)])
    tables = [_timed(candidates_of([record], QUERY, complete=True)) for record in records]
    found = merged(tables[0], replace(tables[1], records=None, complete=False))
    assert found.records is None
    assert found.complete
    assert list(found.record_ids) == ["id990", "id981"]
