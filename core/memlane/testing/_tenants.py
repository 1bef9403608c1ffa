"""That a tenant is seen and forgotten as a whole, and no tenant that looks like it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from memlane.powers import SupportsRemains, SupportsTenants
from memlane.protocols import EmbeddingSpace, VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._suite import BackendSuite
from memlane.testing._versions import change, versions_of
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SPACE,
    directions,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)

__all__ = ("LOOKALIKES", "TenantsSuite", "tenants_of")

LOOKALIKES = (
    "acme", "Acme", "ACME", "acme1", "acme-1", "acm", "acme ", "acme/x", "acme%", "a_me", "None",
    "acme#w1", "cafe\u0301", "caf\u00e9", None,
)  # fmt: skip
"""Tenants that a careless key, prefix, pattern or comparison takes for one another."""

_USERS = ("ada", "Ada", "ada/x", "\u05e9 1", "None")


def tenants_of(backend: VectorBackend) -> SupportsTenants:
    """Return a backend that looks at whole tenants; another skips the test."""
    if not isinstance(backend, SupportsTenants):
        pytest.skip("this backend does not look at whole tenants")
    return backend


def nobody(tenant: str | None) -> Scope:
    """Return the scope that names a tenant."""
    return Scope("-", tenant=tenant)


async def _fill(backend: VectorBackend, tenant: str | None) -> None:
    """Store a record that was changed, one of another user's agent, and one that has expired."""
    ada = Scope("ada", tenant=tenant)
    await change(
        backend,
        make_record("a", "what it was", scope=ada, actor="Ada"),
        make_record("a", "what it is", scope=ada, actor="Ada", version=2),
    )
    bob = Scope("bob", tenant=tenant, agent="x", session="s")
    await put(
        backend,
        indexed(make_record("b", "caf\u00e9", scope=bob), *directions(3)),
        indexed(make_record("e", "gone", scope=bob, expires_at=NOW)),
    )


async def _all_of(backend: VectorBackend, tenant: str | None) -> list[str]:
    found: list[str] = []
    for user in ("ada", "bob"):
        found += ids_of(await read_all(backend, Reach.whole(Scope(user, tenant=tenant), now=None)))
    return found


class TenantsSuite(BackendSuite):
    """`SupportsTenants`."""

    async def test_users_are_those_with_records(self, backend: VectorBackend) -> None:
        """Each is named once over all pages, those too of whom all has expired."""
        tenants = tenants_of(backend)
        for number, user in enumerate(_USERS):
            scope = Scope(user, tenant="acme", agent="x" if number % 2 else None)
            end = NOW if number == 1 else None
            await put(
                backend,
                indexed(make_record("a", scope=scope, expires_at=end)),
                indexed(make_record("b", scope=scope, expires_at=end)),
            )
        await put(backend, indexed(make_record("a", scope=Scope("eve", tenant="Acme"))))
        for limit in (1, 2, 100):
            found: list[str] = []
            cursor: str | None = None
            while True:
                page = await tenants.users(scope=nobody("acme"), cursor=cursor, limit=limit)
                assert len(page.names) <= limit
                found += page.names
                if (cursor := page.cursor) is None:
                    break
            assert sorted(found) == sorted(_USERS)
        await backend.delete(["a", "b"], reach=Reach.whole(Scope("ada", tenant="acme"), now=None))
        page = await tenants.users(scope=nobody("acme"))
        assert "ada" not in page.names

    async def test_stats_count_one_tenant(self, backend: VectorBackend) -> None:
        """Users, records, what has expired, versions, vectors and bytes, of this tenant alone."""
        tenants = tenants_of(backend)
        for tenant in LOOKALIKES:
            await _fill(backend, tenant)
        await put(backend, indexed(make_record("c", scope=Scope("ada", tenant="acme"))))
        for tenant in LOOKALIKES:
            more = tenant == "acme"
            stats = await tenants.stats(scope=nobody(tenant), now=NOW)
            assert (stats.users, stats.records, stats.expired) == (2, 2 + more, 1)
            assert stats.versions == 1 or not hasattr(backend, "versions")
            assert stats.vectors == 5 + more
            texts = ["what it is", "caf\u00e9", *(["prefers window seats"] * more)]
            assert stats.text_bytes == sum(len(text.encode()) for text in texts)
            assert dict(stats.spaces) == {SPACE.id: 2 + more}

    async def test_of_nothing_there_is_nothing(self, backend: VectorBackend) -> None:
        """A tenant nobody knows has no users and no records, and is forgotten at once."""
        tenants = tenants_of(backend)
        scope = nobody("nobody")
        assert (await tenants.users(scope=scope)).names == ()
        assert (await tenants.stats(scope=scope, now=NOW)).records == 0
        receipt = await tenants.forget_tenant(scope=scope)
        assert (receipt.found, receipt.deleted, receipt.verified_empty) == (0, 0, True)

    async def test_forgetting_leaves_the_look_alikes(self, backend: VectorBackend) -> None:
        """All of one tenant goes, counted; every other tenant has what it had."""
        tenants = tenants_of(backend)
        for tenant in LOOKALIKES:
            await _fill(backend, tenant)
        left = [*LOOKALIKES]
        for tenant in LOOKALIKES:
            receipt = await tenants.forget_tenant(scope=nobody(tenant))
            assert (receipt.found, receipt.deleted) == (3, 3)
            assert (receipt.failed, receipt.verified_empty) == ((), True)
            left.remove(tenant)
            again = await tenants.forget_tenant(scope=nobody(tenant))
            assert (again.found, again.verified_empty) == (0, True)
            assert (await tenants.users(scope=nobody(tenant))).names == ()
            assert await _all_of(backend, tenant) == []
            for other in left:
                assert await _all_of(backend, other) == ["a", "b", "e"]
        await self.check_raw(backend, [])

    async def test_nothing_is_left_of_a_tenant(self, backend: VectorBackend) -> None:
        """No version, window or name; and its embedding space is free again."""
        tenants = tenants_of(backend)
        await _fill(backend, "acme")
        await _fill(backend, "Acme")
        await tenants.forget_tenant(scope=nobody("acme"))
        ada = Scope("ada", tenant="acme")
        other = EmbeddingSpace(model="another", dimensions=SPACE.dimensions)
        await backend.ensure_index(scope=ada, space=other)
        reach = Reach.point(ada, now=NOW)
        assert not len(await backend.query(query_for(unit(0), space=other.id), reach=reach))
        if isinstance(backend, SupportsRemains):
            assert [*await backend.remains(reach=Reach.whole(ada, now=None))] == []
        stats = await tenants.stats(scope=nobody("acme"), now=NOW)
        assert (stats.users, stats.records, stats.versions, stats.vectors) == (0, 0, 0, 0)
        await backend.upsert([indexed(make_record("a", scope=ada, space=other.id))], scope=ada)
        if hasattr(backend, "versions"):
            assert await versions_of(backend, reach=reach) == []
            kept = await versions_of(
                backend, reach=Reach.point(Scope("ada", tenant="Acme"), now=NOW)
            )
            assert [record.text for record in kept] == ["what it was"]

    async def test_time_is_the_callers(self, backend: VectorBackend) -> None:
        """What has expired is counted as of the moment asked for."""
        tenants = tenants_of(backend)
        later = NOW + timedelta(days=400)
        await put(backend, indexed(replace(make_record("a"), expires_at=later)))
        scope = nobody(SCOPE.tenant)
        for moment, expired in ((NOW, 0), (later, 1), (later - timedelta(seconds=1), 0)):
            stats = await tenants.stats(scope=scope, now=moment)
            assert (stats.records, stats.expired) == (1 - expired, expired)
