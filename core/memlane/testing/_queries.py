"""That queries find what is near, as numpy finds it, and describe it in sound columns."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from memlane.errors import EmbeddingSpaceError, MemlaneError
from memlane.layout import to_minutes
from memlane.protocols import Candidates, VectorBackend, VectorQuery
from memlane.scope import Reach
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import (
    NOW,
    SCOPE,
    directions,
    indexed,
    make_record,
    put,
    query_for,
    unit,
    words,
)

__all__ = ("QueriesSuite", "check_columns")

HERE = Reach.point(SCOPE, now=NOW)
_PRECISION = 5e-3  # of a distance, when vectors are kept as float16
_APPROXIMATE = 0.8  # share of the true neighbours an approximate index must find


def check_columns(found: Candidates, query: VectorQuery) -> None:
    """Fail unless the columns are as long, typed and ordered as `Candidates` says."""
    count = len(found)
    assert len(found.agents) == count
    for column, kind in (
        (found.parts, np.int32),
        (found.distances, np.float32),
        (found.actors, np.int32),
        (found.sessions, np.int32),
        (found.order, np.int64),
        (found.occurred, np.int64),
    ):
        assert len(column) == count
        assert np.dtype(kind) == column.dtype
    assert found.spans.shape == (count, 2)
    assert (found.spans[:, 0] <= found.spans[:, 1]).all()
    assert found.terms.dtype == np.uint32
    assert len(found.offsets) == count + 1
    assert (found.offsets[0], found.offsets[-1]) == (0, len(found.terms))
    assert (np.diff(found.offsets) >= 0).all()
    assert (np.diff(found.order) >= 0).all(), "rows are not in stored order"
    names = list(zip(found.agents, found.record_ids, strict=True))
    for (place, name), (next_place, next_name) in pairwise(zip(found.order, names, strict=True)):
        assert (place == next_place) == (name == next_name), "order does not tell records apart"
    rows = list(zip(names, found.parts.tolist(), strict=True))
    assert len(rows) == len(set(rows)), "a part is there twice"
    assert ((found.actors >= -1) & (found.actors < len(found.actor_names))).all()
    assert (found.sessions >= -1).all()
    if query.vector is None:
        assert np.isnan(found.distances).all()
    else:
        assert ((found.distances >= 0) & (found.distances <= 2)).all()
    if found.records is not None:
        assert [record.id for record in found.records] == list(found.record_ids)
        assert [record.scope.agent for record in found.records] == list(found.agents)


class QueriesSuite(BackendSuite):
    """Candidates, against a brute-force search by the test itself."""

    @pytest.mark.parametrize("limit", [1, 5, 20, 100])
    async def test_the_nearest_are_found(self, backend: VectorBackend, limit: int) -> None:
        """At least the `limit` nearest records are there, at the distances numpy computes."""
        vectors = directions(60)
        await put(
            backend, *(indexed(make_record(f"r{n}"), vector) for n, vector in enumerate(vectors))
        )
        for wanted in directions(6, seed=11):
            query = query_for(wanted, limit=limit)
            found = await backend.query(query, reach=HERE)
            check_columns(found, query)
            truth = 1.0 - vectors @ wanted
            for record_id, distance in zip(found.record_ids, found.distances, strict=True):
                assert distance == pytest.approx(truth[int(record_id[1:])], abs=_PRECISION)
            edge = np.sort(truth)[min(limit, len(truth)) - 1]
            # Ties within the precision of storage may fall either way.
            nearest = {f"r{n}" for n in np.flatnonzero(truth < edge - 2 * _PRECISION)}
            met = nearest & set(found.record_ids)
            needed = 1.0 if backend.capabilities.exact else _APPROXIMATE
            assert len(met) >= needed * len(nearest)
            assert len(found) >= min(limit, len(vectors)) * needed

    async def test_length_of_a_vector_does_not_matter(self, backend: VectorBackend) -> None:
        """Distance is the cosine's: a vector twice as long is at the same distance."""
        vectors = directions(4)
        await put(
            backend,
            *(indexed(make_record(f"r{n}"), vector * (n + 1)) for n, vector in enumerate(vectors)),
        )
        for scale in (0.25, 1.0, 8.0):
            found = await backend.query(query_for(vectors[0] * scale), reach=HERE)
            by_id = dict(zip(found.record_ids, found.distances, strict=True))
            for n, vector in enumerate(vectors):
                expected = 1.0 - float(vectors[0] @ vector)
                assert by_id[f"r{n}"] == pytest.approx(expected, abs=_PRECISION)

    async def test_parts_are_found_as_rows(self, backend: VectorBackend) -> None:
        """A window near to the query brings its record, with span, terms and distance."""
        await put(
            backend,
            indexed(make_record("short"), unit(0), terms=[words(9)]),
            indexed(
                make_record("long", "ab"), unit(1), unit(2), unit(3),
                terms=[words(1, 2, 2), words(1), words(2, 2)],
            ),
        )  # fmt: skip
        query = query_for(unit(3), limit=10)
        found = await backend.query(query, reach=HERE)
        check_columns(found, query)
        rows = {
            (each, int(part)): row
            for row, (each, part) in enumerate(zip(found.record_ids, found.parts, strict=True))
        }
        assert set(rows) == {("short", 0), ("long", 0), ("long", 1), ("long", 2)}
        near = rows["long", 2]
        assert found.distances[near] == pytest.approx(0, abs=_PRECISION)
        assert found.spans[near].tolist() == [1, 2]
        terms = found.terms[found.offsets[near] : found.offsets[near + 1]]
        assert sorted(terms.tolist()) == [2, 2]
        whole = rows["long", 0]
        assert found.spans[whole].tolist() == [0, 2]
        assert len(found.terms[found.offsets[whole] : found.offsets[whole + 1]]) == 3

    async def test_columns_say_who_when_and_where(self, backend: VectorBackend) -> None:
        """Actor, session, agent and time of each row are those of its record."""
        said = [("a", "Ada", "s1"), ("b", None, None), ("c", "Bob", "s2"), ("d", "Ada", "s1")]
        await put(
            backend,
            *(
                indexed(
                    make_record(
                        each,
                        actor=actor,
                        scope=replace(SCOPE, session=session),
                        occurred_at=NOW - timedelta(minutes=n),
                    ),
                    unit(n),
                )
                for n, (each, actor, session) in enumerate(said)
            ),
        )
        query = query_for(unit(0))
        found = await backend.query(query, reach=HERE)
        check_columns(found, query)
        sessions: dict[str, int] = {}
        for row, record_id in enumerate(found.record_ids):
            number, (_, actor, session) = next(
                (n, each) for n, each in enumerate(said) if each[0] == record_id
            )
            code = int(found.actors[row])
            assert (None if code == -1 else found.actor_names[code]) == actor
            assert found.agents[row] == SCOPE.agent
            assert found.occurred[row] == to_minutes(NOW - timedelta(minutes=number))
            own = int(found.sessions[row])
            assert (own == -1) == (session is None)
            if session is not None:
                assert sessions.setdefault(session, own) == own
        assert len(set(sessions.values())) == 2

    async def test_order_is_that_of_storing(self, backend: VectorBackend) -> None:
        """Rows come in the order in which their records were first stored."""
        ids = [f"r{(n * 5) % 9}" for n in range(9)]
        for each in ids:
            await put(backend, indexed(make_record(each), unit(0)))
        await put(backend, indexed(make_record(ids[4], "changed", version=2), unit(0)))
        found = await backend.query(query_for(unit(0)), reach=HERE)
        assert list(found.record_ids) == ids

    async def test_complete_means_complete(self, backend: VectorBackend) -> None:
        """`complete` is only said when every record that meets the query is there."""
        await put(backend, *(indexed(make_record(f"r{n}"), unit(n)) for n in range(30)))
        found = await backend.query(query_for(unit(0), limit=3), reach=HERE)
        if found.complete:
            assert set(found.record_ids) == {f"r{n}" for n in range(30)}
        else:
            assert len(set(found.record_ids)) >= 3

    async def test_other_spaces_are_no_candidates(self, backend: VectorBackend) -> None:
        """A record stamped with another space is refused, or is not compared with those of ours."""
        await put(backend, indexed(make_record("mine"), unit(0)))
        kept: list[str] = []
        for name, space in (("theirs", "another:16"), ("unstamped", "")):
            try:
                await put(backend, indexed(make_record(name, space=space), unit(0)))
            except EmbeddingSpaceError:
                continue
            kept.append(name)
        found = await backend.query(query_for(unit(0)), reach=HERE)
        assert list(found.record_ids) == ["mine"]
        by_words = await backend.query(query_for(None, terms=words(1)), reach=HERE)
        assert set(by_words.record_ids) <= {"mine"}
        assert len(await backend.fetch(["theirs", "unstamped"], reach=HERE)) == len(kept)

    async def test_one_actors_records_alone(self, backend: VectorBackend) -> None:
        """`actor` leaves out what others, or nobody, said; near or not."""
        for each, actor in (("a", "Ada"), ("b", "Ada B"), ("c", None), ("d", "ada"), ("e", "Ada")):
            await put(backend, indexed(make_record(each, actor=actor), unit(ord(each))))
        found = await backend.query(query_for(unit(ord("b")), actor="Ada"), reach=HERE)
        assert sorted(found.record_ids) == ["a", "e"]
        assert len(await backend.query(query_for(unit(0), actor="Eve"), reach=HERE)) == 0

    async def test_words_without_a_vector(self, backend: VectorBackend) -> None:
        """With `vector=None` distances are NaN and nothing else changes."""
        await put(
            backend,
            indexed(make_record("a"), unit(0), terms=[words(5)]),
            indexed(make_record("b"), unit(1), terms=[words(6)]),
        )
        query = query_for(None, terms=words(5))
        found = await backend.query(query, reach=HERE)
        check_columns(found, query)
        if found.complete:
            assert sorted(found.record_ids) == ["a", "b"]

    async def test_a_vector_of_another_length_is_an_error(self, backend: VectorBackend) -> None:
        """A query that cannot be compared is refused; it does not find nothing."""
        await put(backend, indexed(make_record("a")))
        with pytest.raises(MemlaneError):
            await backend.query(query_for(unit(0, dimensions=5)), reach=HERE)
