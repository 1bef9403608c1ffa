"""Agents of one user share the order of storing, however many come and go."""

from __future__ import annotations

import pytest

from memlane.local import InMemoryBackend, SqliteBackend
from memlane.protocols import IndexedRecord
from memlane.scope import Reach, Scope
from memlane.testing.samples import NOW, SPACE, indexed, make_record, put, query_for, unit

_USER = Scope("ada", tenant="acme")
_EVERYONE = Reach.whole(_USER, now=NOW)


def _of(agent: str | None) -> Scope:
    return Scope("ada", tenant="acme", agent=agent)


async def _order(backend: InMemoryBackend | SqliteBackend, cursor: str | None = None) -> list[str]:
    page = await backend.scan(reach=_EVERYONE, cursor=cursor)
    return [record.id for record in page.records]


@pytest.mark.parametrize("agents", [("m", "a", None, "z"), (None, "z", "b"), ("z", "y", "x", "w")])
async def test_places_go_on_whoever_counts_them(
    backend: InMemoryBackend | SqliteBackend, agents: tuple[str | None, ...]
) -> None:
    """New agents before and after the others, and the end of any of them, keep the order."""
    stored: list[tuple[str, str | None]] = []

    async def store(agent: str | None) -> None:
        record_id = f"r{len(stored)}"
        await put(backend, indexed(make_record(record_id, scope=_of(agent))))
        stored.append((record_id, agent))

    for count in range(1, len(agents) + 1):
        for agent in agents[:count]:
            await store(agent)
    assert await _order(backend) == [record_id for record_id, _ in stored]
    page = await backend.scan(reach=_EVERYONE, limit=len(stored) - 1)
    for gone in agents[:-1]:
        mine = [record_id for record_id, agent in stored if agent == gone]
        await backend.delete(mine, reach=Reach.point(_of(gone), now=NOW))
        await store(agents[-1])
        await store(gone)
        # What is stored after a cursor was made comes after it.
        assert (await _order(backend, page.cursor))[-2:] == [one for one, _ in stored[-2:]]
        left = await _order(backend)
        assert left == sorted(left, key=lambda one: int(one[1:]))


async def test_vectors_that_come_after_a_record_without(
    backend: InMemoryBackend | SqliteBackend,
) -> None:
    """What was read of an agent while there were no vectors does not meet those of another."""
    bare = IndexedRecord(record=make_record("bare", scope=_of("a")), parts=())
    await backend.upsert([bare], scope=_of("a"))
    query = query_for(unit(1))
    assert not len(await backend.query(query, reach=_EVERYONE))
    await put(backend, indexed(make_record("near", scope=_of("b")), unit(1)))
    found = await backend.query(query, reach=_EVERYONE)
    assert list(found.record_ids) == ["near"]
    assert found.distances.tolist() == [0.0]
    assert SPACE.dimensions == len(unit(1))
