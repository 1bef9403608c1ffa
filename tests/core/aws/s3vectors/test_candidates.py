"""Rows become columns: none of another's, none that only nearly fits, none of another version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from memlane.aws.s3vectors.candidates import candidates_of, has_marks_to_make
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.records import encoded, first_of, parts_of
from memlane.columns import TimedCandidates
from memlane.errors import BackendError, IsolationError
from memlane.filters import Filter
from memlane.layout import to_minutes, vector_key
from memlane.marks import marked_terms
from memlane.metadata import NON_FILTERABLE
from memlane.protocols import IndexedRecord, VectorQuery
from memlane.scope import Reach, Scope
from memlane.testing._queries import check_columns
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SUSPECTS,
    indexed,
    make_record,
    query_for,
    unit,
    words,
)

OURS = Description(
    dimension=16, metric="cosine", unfilterable=frozenset(NON_FILTERABLE), is_enhanced=True
)
HERE = Reach.point(SCOPE, now=NOW)
NOBODYS = Reach.point(replace(SCOPE, agent=None), now=NOW)
ODD = (
    "actor", "row", "payload", "expires", "occurred", "stored", "namespace", "agent_name", "tags",
    "content", "conversation_id", "type", "space", "owner", "part", "stored_at",
)  # fmt: skip
LONG = "x" * 65
LATER = NOW + timedelta(minutes=5)


def _rows(item: IndexedRecord, *, first: int = 1, distance: float = 0.5) -> list[dict[str, Any]]:
    key = vector_key(item.record.scope, item.record.id)
    raw = encoded(item, key=key, first=first, description=OURS, shared=False)
    return [
        {"key": (one := json.loads(each))["key"], "metadata": one["metadata"], "distance": distance}
        for each in raw
    ]


def _columns(
    *rows: Mapping[str, Any],
    query: VectorQuery | None = None,
    reach: Reach = HERE,
    older: bool = False,
) -> TimedCandidates:
    asked = query or query_for(unit(0))
    found = candidates_of(rows, asked, reach=reach, older=older)
    assert isinstance(found, TimedCandidates)
    check_columns(found, asked)
    return found


def test_columns_are_in_the_order_of_storing() -> None:
    """Whatever the order of the answer; windows by number beside their record."""
    old = indexed(make_record("z", "ab"), *[unit(n) for n in range(12)])
    rows = [*_rows(indexed(make_record("a")), first=9), *reversed(_rows(old, first=3))]
    found = _columns(*rows)
    assert list(found.record_ids) == ["z"] * 12 + ["a"]
    assert found.parts.tolist() == [*range(12), 0]
    assert found.order.tolist() == [0] * 12 + [1]
    assert found.stored.tolist() == [3] * 12 + [9]


def test_names_and_times_are_exact() -> None:
    """Also those that are too long to be filtered by, and lie as a hash."""
    scope = Scope("ada", tenant="acme", agent=LONG, session=LONG)
    record = make_record("r/1#w2 %", scope=scope, actor=LONG)
    wide = Reach.point(replace(scope, agent=None), now=NOW, include_agents=True)
    found = _columns(*_rows(indexed(record, terms=[words(4, 4)])), reach=wide)
    assert (found.record_ids[0], found.agents[0]) == ("r/1#w2 %", LONG)
    assert list(found.actor_names) == [LONG]
    assert found.occurred.tolist() == [to_minutes(NOW)]
    assert found.terms.tolist() == [4, 4]
    assert found.records is not None
    assert found.records[0] == record
    assert found.records[0:1] == [record]


@pytest.mark.parametrize("any_agent", [False, True])
def test_a_foreign_row_fails_the_whole_answer(any_agent: bool) -> None:
    """From every suspect's reach, a row of a scope outside of it raises and shows nothing."""
    for mine in SUSPECTS:
        reach = Reach(scope=mine, any_agent=any_agent, any_session=True, now=NOW)
        for other in SUSPECTS:
            rows = _rows(indexed(make_record("a", "the secret", scope=other)))
            if reach.covers(other):
                assert len(_columns(*rows, reach=reach)) == 1
                continue
            with pytest.raises(IsolationError) as caught:
                _columns(*rows, reach=reach)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize("distance", ["0.5", None, [0.5]])
def test_a_distance_is_a_number(distance: object) -> None:
    """Anything else is refused, also what could be taken for one."""
    row = {**_rows(indexed(make_record("a")))[0], "distance": distance}
    with pytest.raises(BackendError):
        _columns(row)


def test_distances_are_brought_into_their_range() -> None:
    """Where the service rounded; what came without one stays so."""
    told = {"a": -0.25, "b": 0, "c": 2.5}
    rows = [_rows(indexed(make_record(name)), distance=told[name])[0] for name in told]
    assert _columns(*rows).distances.tolist() == [0.0, 0.0, 2.0]
    bare = [{"key": row["key"], "metadata": row["metadata"]} for row in rows]
    assert np.isnan(_columns(*bare, query=query_for(None)).distances).all()


def test_a_note_of_ours_is_no_row() -> None:
    """The service cannot return one; if it does, something is wrong."""
    for key in ("memlane/space", f"{'a' * 20}/actors"):
        with pytest.raises(IsolationError):
            _columns({"key": key, "metadata": {"user_id": "ada"}, "distance": 0.1})


NEARLY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "space": ({"space": "another:16"}, {}),
    "subtree": ({"namespace": "/b/"}, {"namespace": "/a/"}),
    "actor": ({"actor": "Bob"}, {"actor": "Ada"}),
    "no actor": ({}, {"actor": "Ada"}),
    "hashed actor": ({"actor": f"{LONG}y"}, {"actor": LONG}),
    "expired this minute": ({"expires_at": NOW}, {}),
    "filter": ({"metadata": {"n": 2**24 + 1}}, {"condition": Filter.eq("n", 2**24)}),
}


@pytest.mark.parametrize(("made", "asked"), NEARLY.values(), ids=NEARLY)
def test_what_only_nearly_fits_is_left_out(made: dict[str, Any], asked: dict[str, Any]) -> None:
    """The service compares in minutes, float32 and hashes; here it is exact."""
    rows = _rows(indexed(make_record("a", **made)))
    assert len(_columns(*rows, query=query_for(unit(0), **asked))) == 0
    fitting = {
        "namespace": asked.get("namespace", "/"),
        "actor": asked.get("actor"),
        "metadata": {"n": 2**24},
        "expires_at": NOW + timedelta(microseconds=1),
    }
    rows = _rows(indexed(make_record("a", **fitting)))
    assert len(_columns(*rows, query=query_for(unit(0), **asked))) == 1


def test_scopes_are_shared_where_they_are_equal() -> None:
    """The call's own, and that of the session before; never one that only resembles it."""
    scopes = [SCOPE, SCOPE, *[replace(SCOPE, session=name) for name in ("one", "one", "two")]]
    rows = [
        row
        for number, scope in enumerate(scopes)
        for row in _rows(indexed(make_record(f"{number}", scope=scope)), first=number)
    ]
    records = _columns(*rows).records
    assert records is not None
    found = [record.scope for record in records]
    assert found == scopes
    assert found[0] is SCOPE
    assert found[1] is SCOPE
    assert found[3] is found[2]


@pytest.mark.parametrize("name", ["user", "tenant", "agent", "session"])
def test_a_record_that_says_it_is_anothers_keeps_saying_so(name: str) -> None:
    """Under a key of this user's: whoever checks what comes back must see it."""
    (row,) = _rows(indexed(make_record("a")))
    payload = json.loads(row["metadata"]["payload"]) | {name: "somebody"}
    flat = row["metadata"] | {"payload": json.dumps(payload)}
    answer = [row | {"metadata": flat}]
    records = candidates_of(answer, query_for(unit(0)), reach=HERE, older=False).records
    assert records is not None
    assert getattr(records[0].scope, name) == "somebody"


def test_one_session_is_exact() -> None:
    """With one, only its records; without one, only those of none."""
    for mine, other in (
        (SCOPE, replace(SCOPE, session="x")),
        (replace(SCOPE, session=None), SCOPE),
    ):
        reach = Reach(scope=mine, any_agent=False, any_session=False, now=NOW)
        kept = _rows(indexed(make_record("a", scope=mine)))
        left = _rows(indexed(make_record("b", scope=other)))
        assert list(_columns(*kept, *left, reach=reach).record_ids) == ["a"]


def test_windows_of_another_version_are_left_out() -> None:
    """A record that is replaced while it is searched is met in one version: the whole text's."""
    old = _rows(indexed(make_record("a", "old"), unit(0), unit(1), unit(2)))
    new = _rows(indexed(make_record("a", "new", version=2), unit(0), unit(1)))
    for rows in ([new[0], *old[1:]], [*old[1:], *new], [new[1], *old[1:]]):
        found = _columns(*rows)
        assert found.records is not None
        assert {record.text for record in found.records} == {"new"}
    found = _columns(old[0], new[1])
    assert found.records is not None
    assert [record.text for record in found.records] == ["old"]


def test_terms_are_made_where_they_were_left_out() -> None:
    """From the part's own text; a hundred long ones are work for a thread."""
    text = "window seat. " * 2_400
    item = indexed(make_record("a", text), terms=[marked_terms(text)])
    (row,) = _rows(replace(item, parts=(replace(item.parts[0], terms=words(*range(9_000))),)))
    assert _columns(row).terms.tolist() == marked_terms(text).tolist()
    assert has_marks_to_make([row])
    short = make_record("a", text[:9_000])
    assert not has_marks_to_make(_rows(indexed(short, terms=[marked_terms(short.text)])))
    assert not has_marks_to_make(_rows(indexed(make_record("b"), terms=[words()])))


def _older(**names: object) -> dict[str, Any]:
    flat = {"user_id": "ada", "agent_name": "support", "content": "likes tea", **names}
    return {"key": "mem-1", "metadata": flat, "distance": 0.25}


def test_vectors_of_older_tools_are_rows() -> None:
    """Of the user and the agent they name; the whole text is the one part."""
    found = _columns(_older(stored_at="2025-01-01"), older=True)
    assert list(found.record_ids) == ["mem-1"]
    assert found.spans.tolist() == [[0, 9]]
    assert found.terms.tolist() == marked_terms("likes tea").tolist()
    assert found.records is not None
    assert found.records[0].text == "likes tea"
    assert found.records[0].scope == Scope("ada", tenant="acme", agent="support")
    assert len(_columns(_older(), older=False)) == 0
    for other in ({"user_id": "eve"}, {"agent_name": "other"}, {"agent_name": "default"}):
        with pytest.raises(IsolationError):
            _columns(_older(**other), older=True)
    # "default" is their word for no agent, and not the agent that is called so.
    called = Reach.point(replace(SCOPE, agent="default"), now=NOW)
    with pytest.raises(IsolationError):
        _columns(_older(agent_name="default"), older=True, reach=called)
    assert len(_columns(_older(agent_name="default"), older=True, reach=NOBODYS)) == 1


@pytest.mark.parametrize("value", [5, "x", "a\nb", " ", 5_000_000, -1.5, True, ["x"], "#x", "e30="])
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("by_words", [False, True])
def test_another_tool_may_call_its_own_what_it_likes(
    name: str, value: object, by_words: bool
) -> None:
    """Words that memlane uses otherwise are that tool's metadata, and no damage."""
    row = _older(**{"agent_name": "default", name: value})
    asked = query_for(unit(0))
    if by_words:
        del row["distance"]
        asked = replace(asked, vector=None)
    has_marks_to_make([row], windows=by_words)
    wide = replace(NOBODYS, any_agent=True)
    found = _columns(row, query=asked, older=True, reach=wide)
    assert list(found.record_ids) == ["mem-1"]
    assert list(found.actor_names) == []
    assert found.records is not None
    record = found.records[0]
    if name in {"actor", "row", "payload", "expires", "occurred"}:
        assert record.metadata[name] == value
    assert (parts_of(row["metadata"]), first_of(row["metadata"])) == (1, 0)
    condition = Filter.eq("@kind", record.kind)
    asked = replace(asked, filter=condition)
    assert len(_columns(row, query=asked, older=True, reach=wide)) == 1


@pytest.mark.parametrize("name", ["row", "payload", "content", "occurred"])
@pytest.mark.parametrize("value", ["?", 7, None, "e30="])
def test_damage_is_one_error(name: str, value: object) -> None:
    """Whatever lies in a row, the caller gets an error of ours or the row without it."""
    record = make_record("a", "the secret", actor=LONG, expires_at=LATER)
    (row,) = _rows(indexed(record))
    row["metadata"][name] = value
    try:
        found = _columns(row, query=query_for(unit(0), condition=Filter.exists("@kind")))
    except BackendError as error:
        assert "secret" not in str(error)  # noqa: PT017 - or nothing is raised
    else:
        assert len(found) == 1
