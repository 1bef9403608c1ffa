"""That a reach is a wall: what lies outside of it is not there, for any call."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from memlane.powers import SupportsActors
from memlane.protocols import VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SUSPECTS,
    contains,
    ids_of,
    indexed,
    lies_within,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)

__all__ = ("ReachingSuite",)

NAMESPACES = (
    "/", "/users/", "/users/u1/", "/users/u1/a/", "/users/u10/", "/users/U1/", "/users/u_/",
    "/users/u%25/", "/users/%5B/", "/user/", "/users%2Fu1/",
)  # fmt: skip


async def _by_fetch(backend: VectorBackend, ids: Sequence[str], reach: Reach) -> list[str]:
    return ids_of(await backend.fetch(ids, reach=reach))


async def _by_scan(backend: VectorBackend, ids: Sequence[str], reach: Reach) -> list[str]:
    del ids
    return ids_of(await read_all(backend, reach, limit=4))


async def _by_query(backend: VectorBackend, ids: Sequence[str], reach: Reach) -> list[str]:
    del ids
    return sorted((await backend.query(query_for(unit(0)), reach=reach)).record_ids)


READERS = {"fetch": _by_fetch, "scan": _by_scan, "query": _by_query}


async def _fill(backend: VectorBackend) -> list[str]:
    """Store one record for each suspect, named by its place in the list."""
    await put(
        backend,
        *(indexed(make_record(str(n), scope=scope)) for n, scope in enumerate(SUSPECTS)),
    )
    return [str(n) for n in range(len(SUSPECTS))]


class ReachingSuite(BackendSuite):
    """Reads and deletes through every kind of reach."""

    @pytest.mark.parametrize("reader", READERS)
    @pytest.mark.parametrize("any_session", [True, False], ids=["sessions", "session"])
    @pytest.mark.parametrize("any_agent", [True, False], ids=["agents", "agent"])
    async def test_reads_see_what_is_within(
        self, backend: VectorBackend, any_agent: bool, any_session: bool, reader: str
    ) -> None:
        """From every scope, fetch, scan and query see exactly the records within reach."""
        ids = await _fill(backend)
        for mine in SUSPECTS:
            reach = Reach(scope=mine, any_agent=any_agent, any_session=any_session, now=NOW)
            found = await READERS[reader](backend, ids, reach)
            assert found == sorted(
                str(n)
                for n, other in enumerate(SUSPECTS)
                if lies_within(mine, other, any_agent=any_agent, any_session=any_session)
            )

    @pytest.mark.parametrize("any_agent", [True, False], ids=["agents", "agent"])
    async def test_deletes_stay_within(self, backend: VectorBackend, any_agent: bool) -> None:
        """Deleting every id through one reach takes what is within, counts it, leaves the rest."""
        ids = await _fill(backend)
        left = dict(enumerate(SUSPECTS))
        for mine in (SUSPECTS[0], SUSPECTS[3], SUSPECTS[-2], SUSPECTS[9]):
            reach = Reach(scope=mine, any_agent=any_agent, any_session=True, now=NOW)
            gone = [
                n
                for n, other in left.items()
                if lies_within(mine, other, any_agent=any_agent, any_session=True)
            ]
            assert await backend.delete(ids, reach=reach) == len(gone)
            for n in gone:
                del left[n]
            for other in SUSPECTS:
                found = await read_all(backend, Reach.whole(other, now=None))
                assert ids_of(found) == sorted(
                    str(n) for n, there in left.items() if contains(other, there)
                )
        await self.check_raw(backend, [str(n) for n in left])

    async def test_one_id_names_a_record_of_each_agent(self, backend: VectorBackend) -> None:
        """Through `any_agent` all agents' records of an id are met, and deleted, one by one."""
        agents = (None, "a", "b")
        scopes = [Scope("u", tenant="t", agent=agent) for agent in agents]
        await put(
            backend,
            *(indexed(make_record("same", f"of {s.agent}", scope=s), unit(0)) for s in scopes),
        )
        wide = Reach.point(scopes[0], now=NOW, include_agents=True)
        narrow = Reach.point(scopes[1], now=NOW)
        expected = ["of None", "of a", "of b"]
        assert sorted(i.record.text for i in await backend.fetch(["same"], reach=wide)) == expected
        assert [i.record.text for i in await backend.fetch(["same"], reach=narrow)] == ["of a"]
        found = await backend.query(query_for(unit(0)), reach=wide)
        assert sorted(map(str, found.agents)) == ["None", "a", "b"]
        assert len(set(found.order.tolist())) == 3
        assert await backend.delete(["same"], reach=narrow) == 1
        assert await backend.delete(["same"], reach=wide) == 2

    @pytest.mark.parametrize("reader", ["scan", "query"])
    async def test_namespaces_are_subtrees(self, backend: VectorBackend, reader: str) -> None:
        """A namespace means itself and what is below; no pattern, no prefix of a segment."""
        await put(
            backend,
            *(indexed(make_record(str(n), namespace=path)) for n, path in enumerate(NAMESPACES)),
        )
        reach = Reach.point(SCOPE, now=NOW)
        for asked in (*NAMESPACES, "/nowhere/", "/users/u/"):
            if reader == "scan":
                found = ids_of(await read_all(backend, reach, namespace=asked, limit=3))
            else:
                query = query_for(unit(0), namespace=asked)
                found = sorted((await backend.query(query, reach=reach)).record_ids)
            inside = [str(n) for n, path in enumerate(NAMESPACES) if _below(path, asked)]
            assert found == sorted(inside)

    async def test_actors_are_those_within(self, backend: VectorBackend) -> None:
        """A backend that knows actors names each once, and none that spoke only elsewhere."""
        if not isinstance(backend, SupportsActors):
            pytest.skip("this backend does not say who has spoken")
        for n, (user, agent, actor) in enumerate(
            [("u", None, "Ada"), ("u", None, "Ada"), ("u", "x", "Bob"), ("v", None, "Eve")]
        ):
            scope = Scope(user, tenant="t", agent=agent)
            await put(backend, indexed(make_record(str(n), scope=scope, actor=actor)))
        await put(backend, indexed(make_record("none", scope=Scope("u", tenant="t"))))
        mine = Scope("u", tenant="t")
        assert list(await backend.actors(reach=Reach.point(mine, now=NOW))) == ["Ada"]
        wide = Reach.point(mine, now=NOW, include_agents=True)
        assert sorted(await backend.actors(reach=wide)) == ["Ada", "Bob"]


def _below(path: str, asked: str) -> bool:
    """Say by segments, not by a prefix of text, whether a namespace lies in a subtree."""
    own, top = path.strip("/").split("/"), asked.strip("/").split("/")
    return top == [""] or own[: len(top)] == top
