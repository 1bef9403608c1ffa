"""Whatever was said by whomever: a statement's place goes to its own owner's words or to nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane import Filter, MemoryClient, NewMemory, RetrievalOptions, Scope
from memlane.columns import candidates_of
from memlane.local import InMemoryBackend
from memlane.protocols import Candidates, IndexedRecord, RecordPart, VectorQuery
from memlane.retrieval.question import read_question
from memlane.retrieval.recipe import HYBRID, rank
from memlane.retrieval.supersession import POOL, Seen, Succession
from memlane.scope import Reach
from memlane.testing import HashingEmbedder, WrappedBackend
from memlane.testing.samples import NOW, SCOPE, SPACE, make_record
from memlane.types import Match

SOME = settings(deadline=None, max_examples=60)
ADA = Scope("ada")
OFF = RetrievalOptions(supersede=False)

OPENINGS = ("", "", "No, ", "Now ", "News: ", "I used to say ", "Perhaps ", "It is not so that ")
THINGS = ("the gate code", "the back gate code", "my home", "my dog", "my shift")
VALUES = ("4412", "8830", "Porto", "Lisbon", "Rex", "late")
texts = st.builds(
    lambda opening, thing, value, whole: f"{opening}{f'{thing} is ' if whole else ''}{value}.",
    st.sampled_from(OPENINGS),
    st.sampled_from(THINGS),
    st.sampled_from(VALUES),
    st.integers(0, 4).map(bool),
)
said = st.lists(
    st.tuples(
        texts,
        st.sampled_from([None, "Ada", "Eve"]),
        st.integers(0, 40),
        st.sampled_from(["/a/", "/b/"]),
        st.sampled_from(["s1", "s2"]),
    ),
    min_size=1,
    max_size=25,
)
questions = st.sampled_from(
    ["What is the gate code?", "As of March 2026: what is my home?", "What was my dog's name?",
     "What is my shift?", "What does Eve say of the back gate code?"]
)  # fmt: skip


class Heard(WrappedBackend):
    """Keeps what it answered."""

    def __init__(self, inner: InMemoryBackend) -> None:
        super().__init__(inner)
        self.found: list[Candidates] = []

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        self.found.append(await super().query(query, reach=reach))
        return self.found[-1]


async def _told(
    records: Sequence[tuple[str, str | None, int, str, str]], backend: InMemoryBackend
) -> MemoryClient:
    client = MemoryClient(backend=backend, embedder=HashingEmbedder())
    for text, actor, days, namespace, session in records:
        note = NewMemory(
            content=text,
            actor=actor,
            occurred_at=NOW + timedelta(days=days),
            namespace=namespace,
        )
        await client.store_many([note], scope=replace(ADA, session=session))
    return client


@SOME
@given(said, questions, st.integers(1, 12), st.sampled_from([None, "/a/"]))
def test_superseding_only_moves_what_may_be_recalled(
    records: list[tuple[str, str | None, int, str, str]],
    question: str,
    limit: int,
    namespace: str | None,
) -> None:
    """The answer is as long, sorted, explained, and of the subtree that is asked for."""

    async def ask() -> tuple[list[Match], list[Match], list[Match]]:
        client = await _told(records, InMemoryBackend())
        narrow = Filter.eq("@session", "s1")
        found = [
            await client.retrieve(
                question, scope=ADA, namespace=namespace, filter=narrow, limit=most, options=options
            )
            for most, options in ((limit, None), (limit, OFF), (100, OFF))
        ]
        return [*found[0]], [*found[1]], [*found[2]]

    on, off, every = anyio.run(ask)
    assert len(on) == len(off)
    assert [match.score for match in on] == sorted((m.score for m in on), reverse=True)
    known = {match.record.id for match in every}
    for match in on:
        assert match.record.id in known
        assert match.record.scope.session == "s1"
        assert sum(match.features.values()) == pytest.approx(match.score, abs=1e-5)
        assert match.features.get("supersedes", 0.0) >= 0
        assert match.features.get("superseded", 0.0) <= 0
    assert not any("supersed" in name for match in off for name in match.features)
    owners = {match.record.actor for match in on if "superseded" in match.features}
    heirs = {match.record.actor for match in on if "supersedes" in match.features}
    assert owners <= heirs


@SOME
@given(said, questions)
def test_off_is_the_order_of_the_recipe(
    records: list[tuple[str, str | None, int, str, str]], question: str
) -> None:
    """To the last digit, as if there were no such thing."""

    async def ask() -> tuple[list[Match], Candidates, Sequence[str]]:
        backend = InMemoryBackend()
        await _told(records, backend)
        heard = Heard(backend)
        again = MemoryClient(backend=heard, embedder=HashingEmbedder())
        found = await again.retrieve(question, scope=ADA, options=OFF)
        return [*found], heard.found[-1], await backend.actors(reach=Reach.point(ADA, now=NOW))

    found, columns, actors = anyio.run(ask)
    ranked = rank(
        columns, read_question(question, actors=actors), limit=10, weights=HYBRID
    ).places()
    assert [(match.record.id, match.score, match.features) for match in found] == [
        (columns.record_ids[place.row], place.score, place.explain()) for place in ranked
    ]


def _columns(
    rows: Sequence[tuple[str, str | None, str | None]],
) -> tuple[list[IndexedRecord], VectorQuery]:
    """Return records that all point where the question does, by text, actor and agent."""
    vector = np.eye(1, SPACE.dimensions, dtype=np.float32)[0]
    no_terms = np.zeros(0, dtype=np.uint32)
    records = [
        IndexedRecord(
            record=make_record(
                f"r{n}",
                text,
                actor=actor,
                scope=replace(SCOPE, agent=agent),
                occurred_at=NOW + timedelta(days=n),
            ),
            parts=(RecordPart(start=0, end=len(text), vector=vector, terms=no_terms),),
        )
        for n, (text, actor, agent) in enumerate(rows)
    ]
    return records, VectorQuery(vector=vector, terms=no_terms, space=SPACE.id, limit=10)


@pytest.mark.parametrize(
    ("older", "newer", "replaced"),
    [
        (("Ada", "a"), ("Ada", "b"), True),
        ((None, "a"), (None, "a"), True),
        ((None, None), (None, None), True),
        ((None, "a"), (None, "b"), False),
        (("Ada", "a"), ("Eve", "a"), False),
        (("Ada", "a"), (None, "a"), False),
    ],
)
def test_only_an_owner_takes_back_what_an_owner_said(
    older: tuple[str | None, str | None], newer: tuple[str | None, str | None], *, replaced: bool
) -> None:
    """A person is one to all agents; what nobody is named for is the agent's that noted it."""
    records, query = _columns([("I live here", *older), ("I moved there", *newer)])
    found = candidates_of(records, query)
    question = read_question("where", actors=[])
    # Of equals the newer comes first: the older one is put first by hand.
    places = rank(found, question, limit=30, weights=HYBRID).places()[::-1]
    succession = Succession(found, question, places, limit=10)
    seen = {n: Seen(item.record, item.record.text) for n, item in enumerate(records)}
    settled = succession.settle(places, seen)
    assert [place.row for place in settled] == ([1, 0] if replaced else [0, 1])
    # What may not be recalled replaces nothing.
    assert [place.row for place in succession.settle(places[:1], {0: seen[0]})] == [0]


spots = st.lists(
    st.tuples(
        st.sampled_from(["I live here", "I moved there"]),
        st.sampled_from([None, "Ada", "Eve"]),
        st.none(),
    ),
    min_size=1,
    max_size=POOL + 5,
)


@SOME
@given(spots, st.integers(1, 9), st.randoms(use_true_random=False), st.booleans())
def test_all_pairs_that_may_be_told_apart_by_their_texts_are_looked_at(
    rows: list[tuple[str, str | None, str | None]], limit: int, random: Random, then: bool
) -> None:
    """Of one actor, the better one in the answer, the other not older unless a time is named."""
    records, query = _columns(rows)
    random.shuffle(records)
    found = candidates_of(records, query)
    found = replace(found, occurred=found.occurred // (2 * 24 * 60))
    asked = "As of March 2030: where was I?" if then else "where"
    question = read_question(asked, actors=[])
    places = rank(found, question, limit=100, weights=HYBRID).places()
    random.shuffle(places)
    pool = [place.row for place in places[:POOL]]
    expected = [
        (above, below)
        for at, above in enumerate(pool[:limit])
        for below in pool[at + 1 :]
        if found.actors[above] == found.actors[below]
        and (then or found.occurred[above] <= found.occurred[below])
    ]
    pairs = Succession(found, question, places, limit=limit)._pairs
    assert [(pair.above, pair.below) for pair in pairs] == expected


def test_what_was_said_before_is_of_the_same_session() -> None:
    """Of one that has none nothing is known, nor of a part of a long text."""
    records, query = _columns([("Porto", None, None)] * 3)
    found = candidates_of(records, query)
    found = replace(found, occurred=np.zeros(3, np.int64), sessions=np.zeros(3, np.int32))
    nowhere = replace(found, sessions=np.full(3, -1, np.int32))
    windows = replace(found, parts=np.ones(3, np.int32))
    question = read_question("where", actors=[])
    for columns, before in ((found, [-1, 0, 1]), (nowhere, [-1] * 3), (windows, [-1] * 3)):
        succession = Succession(columns, question, [], limit=3)
        assert succession._said_before(np.arange(3)) == before


def test_without_directions_nothing_is_superseded() -> None:
    """A backend that cannot tell how near two records are is believed to know nothing of it."""
    records, query = _columns([("I live here", "Ada", None), ("I moved there", "Ada", None)])
    found = replace(candidates_of(records, query), directions=None)
    question = read_question("where", actors=[])
    places = rank(found, question, limit=30, weights=HYBRID).places()[::-1]
    succession = Succession(found, question, places, limit=10)
    assert succession.rows == []
    assert succession.settle(places, {}) == places
