"""That from one scope another's records cannot be told from records that do not exist."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import pytest

from memlane.client import MemoryClient
from memlane.errors import ConflictError, InvalidCursorError, MemlaneError
from memlane.powers import SupportsTenants, SupportsVersions
from memlane.protocols import VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._records import exact
from memlane.testing._suite import IsolationSuite
from memlane.testing.fakes import FakeClock, HashingEmbedder
from memlane.testing.samples import SUSPECTS, contains, lies_within
from memlane.testing.wrappers import CountingBackend
from memlane.types import RetrievalMode, RetrievalOptions

__all__ = ("NeighboursSuite",)

_Verb: TypeAlias = Callable[[MemoryClient, Scope, str], Awaitable[object]]
_Snapshot: TypeAlias = dict[tuple[Scope, str], object]

ABSENT = "only-xx"
WIDE = {"$or": [{"@kind": {"$exists": True}}, {"@agent": {"$exists": False}}]}
"""A condition that every record of everybody meets."""

POINT: dict[str, tuple[_Verb, bool]] = {
    "get": (lambda client, scope, each: client.get(each, scope=scope), False),
    "get of all agents": (
        lambda client, scope, each: client.get(each, scope=scope, include_agents=True),
        True,
    ),
    "history": (lambda client, scope, each: client.history(each, scope=scope), False),
    "history of all agents": (
        lambda client, scope, each: client.history(each, scope=scope, include_agents=True),
        True,
    ),
    "restore": (lambda client, scope, each: client.restore(each, scope=scope, version=1), False),
    "update": (lambda client, scope, each: client.update(each, scope=scope, text="mine"), False),
    "update a version": (
        lambda client, scope, each: client.update(
            each, scope=scope, metadata={}, expected_version=1
        ),
        False,
    ),
    "update of all agents": (
        lambda client, scope, each: client.update(
            each, scope=scope, text="mine", include_agents=True
        ),
        True,
    ),
    "delete": (lambda client, scope, each: client.delete(each, scope=scope), False),
    "delete several": (
        lambda client, scope, each: client.delete([each, ABSENT], scope=scope),
        False,
    ),
    "delete of all agents": (
        lambda client, scope, each: client.delete(each, scope=scope, include_agents=True),
        True,
    ),
}
"""Calls that name a record, and whether they reach all agents of the user."""


def _id(number: int) -> str:
    return f"only-{number:02}"


def _secret(number: int) -> str:
    return f"the secret word of neighbour number{number} is swordfish{number}"


async def _settle(client: MemoryClient) -> None:
    """Store one record for each suspect, and let the client meet every tenant."""
    for number, scope in enumerate(SUSPECTS):
        await client.store(_secret(number), scope=scope, record_id=_id(number))
        await client.retrieve("warm up", scope=scope)


async def _snapshot(backend: VectorBackend) -> _Snapshot:
    found: _Snapshot = {}
    for scope in SUSPECTS:
        reach = Reach.whole(replace(scope, session=None), now=None)
        page = await backend.scan(reach=reach, limit=1_000)
        assert page.cursor is None
        ids = [record.id for record in page.records]
        for item in await backend.fetch(ids, reach=reach, vectors=True):
            vectors = [(part.start, part.end, part.vector.tobytes()) for part in item.parts]
            found[item.record.scope, item.record.id] = (exact(item.record), vectors)
    return found


async def _outcome(
    verb: _Verb, client: MemoryClient, counting: CountingBackend, scope: Scope, record_id: str
) -> object:
    """Return all that a caller, or somebody who watches the wire, can tell of a call."""
    counting.calls.clear()
    try:
        answer: object = await verb(client, scope, record_id)
    except MemlaneError as error:
        text = str(error).replace(record_id, "<id>")
        answer = (type(error), text, type(error.__cause__), error.scope)
    return answer, dict(counting.calls)


@contextmanager
def _from(scope: Scope) -> Generator[None]:
    try:
        yield
    except AssertionError as failure:
        failure.add_note(f"asked from {scope}")
        raise


class NeighboursSuite(IsolationSuite):
    """Every scope among the suspects asks for what every other has."""

    @pytest.mark.parametrize("verb", POINT)
    async def test_foreign_records_look_absent(self, backend: VectorBackend, verb: str) -> None:
        """A foreign id gives the answer of an absent one: type, text, requests; and no effect."""
        counting = CountingBackend(backend)
        client = self.make_client(counting)
        await _settle(client)
        before = await _snapshot(backend)
        call, any_agent = POINT[verb]
        for mine in SUSPECTS:
            absent = await _outcome(call, client, counting, mine, ABSENT)
            for number, other in enumerate(SUSPECTS):
                if lies_within(mine, other, any_agent=any_agent, any_session=True):
                    continue
                with _from(mine):
                    assert await _outcome(call, client, counting, mine, _id(number)) == absent
        assert await _snapshot(backend) == before

    @pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
    @pytest.mark.parametrize("any_agent", [False, True], ids=["agent", "agents"])
    async def test_recall_finds_ones_own(
        self, backend: VectorBackend, mode: RetrievalMode, any_agent: bool
    ) -> None:
        """Asked in the very words of a foreign record, recall answers with one's own, or not."""
        client = self.make_client(backend)
        await _settle(client)
        options = RetrievalOptions(include_agents=any_agent)
        for place, mine in enumerate(SUSPECTS):
            own = {
                number
                for number, other in enumerate(SUSPECTS)
                if lies_within(mine, other, any_agent=any_agent, any_session=True)
            }
            for number in {place, place - 1, 0, len(SUSPECTS) // 2} - {-1}:
                matches = await client.retrieve(
                    _secret(number), scope=mine, mode=mode, options=options, filter=WIDE
                )
                with _from(mine):
                    found = {match.record.id for match in matches}
                    assert found == {_id(each) for each in own}
            context = await client.context(
                "swordfish", scope=mine, max_tokens=10_000, options=options
            )
            with _from(mine):
                for number in range(len(SUSPECTS)):
                    assert (f"swordfish{number}<" in context.text) == (number in own)

    async def test_listings_hold_what_the_scope_contains(self, backend: VectorBackend) -> None:
        """List, iterate and count see all agents and sessions of the scope and nothing else."""
        client = self.make_client(backend)
        await _settle(client)
        for mine in SUSPECTS:
            own = sorted(_id(n) for n, other in enumerate(SUSPECTS) if contains(mine, other))
            with _from(mine):
                page = await client.list(scope=mine, filter=WIDE)
                assert sorted(record.id for record in page.items) == own
                assert sorted([record.id async for record in client.iterate(scope=mine)]) == own
                assert await client.count(scope=mine, filter=WIDE) == len(own)

    async def test_forgetting_leaves_the_others(self, backend: VectorBackend) -> None:
        """Forgetting a scope removes what it contains and leaves the rest, byte by byte."""
        client = self.make_client(backend)
        await _settle(client)
        expected = await _snapshot(backend)
        for mine in (*SUSPECTS[3:], *SUSPECTS[:3]):
            gone = [key for key in expected if contains(mine, key[0])]
            receipt = await client.forget(mine)
            for key in gone:
                del expected[key]
            with _from(mine):
                assert (receipt.found, receipt.deleted) == (len(gone), len(gone))
                assert (receipt.failed, receipt.verified_empty) == ((), True)
                assert await _snapshot(backend) == expected
        assert expected == {}
        await self.check_raw(backend, [])

    async def test_ids_and_keys_are_ones_own(self, backend: VectorBackend) -> None:
        """Each tenant, user and agent may use an id, or an idempotency key, that others use."""
        client = self.make_client(backend)
        owners = list(dict.fromkeys(replace(scope, session=None) for scope in SUSPECTS))
        for mine in owners:
            with _from(mine):
                await client.store(f"kept for {mine}", scope=mine, record_id="shared")
                keyed = await client.store(f"keyed for {mine}", scope=mine, idempotency_key="k")
                assert keyed.scope == mine
        for mine in owners:
            with _from(mine):
                assert (await client.get("shared", scope=mine)).text == f"kept for {mine}"
                again = await client.store(f"keyed for {mine}", scope=mine, idempotency_key="k")
                assert again.scope == mine
                with pytest.raises(ConflictError):
                    await client.store("other", scope=mine, record_id="shared")
                mine_alone = await client.count(scope=mine)
                assert mine_alone == 2 * sum(contains(mine, other) for other in owners)

    async def test_cursors_do_not_travel(self, backend: VectorBackend) -> None:
        """A cursor of one scope is refused by every other, and by another namespace or filter."""
        client = self.make_client(backend)
        cursors: dict[Scope, str] = {}
        for mine in SUSPECTS:
            for number in range(3):
                await client.store(f"note {number}", scope=mine)
            page = await client.list(scope=mine, limit=1)
            assert page.cursor is not None
            cursors[mine] = page.cursor
        for mine in SUSPECTS:
            for other, cursor in cursors.items():
                if other == mine:
                    continue
                with _from(mine), pytest.raises(InvalidCursorError):
                    await client.list(scope=mine, cursor=cursor)
            with _from(mine):
                assert (await client.list(scope=mine, cursor=cursors[mine])).items
            with pytest.raises(InvalidCursorError):
                await client.list(scope=mine, cursor=cursors[mine], namespace="/a/")
            with pytest.raises(InvalidCursorError):
                await client.list(scope=mine, cursor=cursors[mine], filter=WIDE)

    async def test_nobody_learns_what_others_asked(self, backend: VectorBackend) -> None:
        """A question costs its first asker the same whether or not another has asked it."""
        embedder = HashingEmbedder()
        client = self.make_client(backend, embedder=embedder)
        users = list(dict.fromkeys((scope.tenant, scope.user) for scope in SUSPECTS))
        for tenant, user in users:
            scope = Scope(user, tenant=tenant)
            before = embedder.calls
            await client.retrieve("is anybody pregnant?", scope=scope)
            asked_first = embedder.calls - before
            before = embedder.calls
            await client.retrieve(f"a question of {user} in {tenant} alone", scope=scope)
            with _from(scope):
                assert embedder.calls - before == asked_first

    async def test_the_past_is_ones_own(self, backend: VectorBackend) -> None:
        """Asked of a moment gone by, recall answers with what one's own records said then."""
        clock = FakeClock()
        client = self.make_client(backend, clock=clock)
        await _settle(client)
        then = clock.now()
        clock.advance(timedelta(minutes=2))
        for number, scope in enumerate(SUSPECTS):
            await client.update(_id(number), scope=scope, text=f"nothing of {number} any more")
        options = RetrievalOptions(as_of=then)
        for mine in SUSPECTS:
            own = [
                number
                for number, other in enumerate(SUSPECTS)
                if lies_within(mine, other, any_agent=False, any_session=True)
            ]
            matches = await client.retrieve(
                "nothing", scope=mine, mode="vector", limit=100, options=options
            )
            with _from(mine):
                if isinstance(backend, SupportsVersions):
                    assert sorted(one.record.text for one in matches) == sorted(map(_secret, own))
                else:
                    assert not matches
                for number in own:
                    told = [each.text for each in await client.history(_id(number), scope=mine)]
                    said = [f"nothing of {number} any more", _secret(number)]
                    assert told == said[: 1 + isinstance(backend, SupportsVersions)]

    async def test_what_is_told_of_a_scope_is_its_own(self, backend: VectorBackend) -> None:
        """An export holds what the scope contains, and an import gives it to whom it names."""
        client = self.make_client(backend)
        await _settle(client)
        heir = Scope("heir", tenant="elsewhere")
        for mine in SUSPECTS:
            own = [number for number, other in enumerate(SUSPECTS) if contains(mine, other)]
            lines = [line async for line in client.export(scope=mine)]
            with _from(mine):
                for number in range(len(SUSPECTS)):
                    assert any(f'swordfish{number}"' in line for line in lines) == (number in own)
                receipt = await client.import_records(lines, scope=heir)
                assert receipt.imported == len(own)
                page = await client.list(scope=heir)
                assert sorted(r.text for r in page.items) == sorted(map(_secret, own))
                assert {(r.scope.tenant, r.scope.user) for r in page.items} <= {
                    ("elsewhere", "heir")
                }
                await client.forget(heir)

    async def test_tenants_are_seen_and_forgotten_alone(self, backend: VectorBackend) -> None:
        """Users, counts and the end of one tenant are no other's."""
        if not isinstance(backend, SupportsTenants):
            pytest.skip("this backend does not look at whole tenants")
        client = self.make_client(backend)
        await _settle(client)
        left = dict(enumerate(SUSPECTS))
        for tenant in dict.fromkeys(scope.tenant for scope in SUSPECTS):
            mine = {number: scope for number, scope in left.items() if scope.tenant == tenant}
            users = (await client.admin(tenant).users()).items
            assert sorted(users) == sorted({scope.user for scope in mine.values()})
            assert (await client.admin(tenant).stats()).records == len(mine)
            assert await client.admin(tenant).sweep() == 0
            assert (await client.admin(tenant).forget_tenant()).deleted == len(mine)
            left = {number: scope for number, scope in left.items() if number not in mine}
            found = await _snapshot(backend)
            assert sorted(name for _, name in found) == sorted(map(_id, left))
        await self.check_raw(backend, [])
