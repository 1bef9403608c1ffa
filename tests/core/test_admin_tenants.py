"""A tenant looked at and forgotten as a whole, and no other tenant's anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memlane import InvalidCursorError, MemoryClient, NewMemory, Scope, ValidationError
from memlane.errors import BackendError, ScopeError
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.protocols import Capabilities, EmbeddingSpace
from memlane.scope import Tenancy
from memlane.testing import FakeClock, HashingEmbedder

USERS = [f"user {number:03}" for number in range(25)]
ADA = Scope("ada", tenant="other")
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Each local store."""
    made: Any = (
        InMemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "memory.db")
    )
    yield made
    await made.aclose()


def _client(backend: Any, clock: FakeClock, tenancy: Tenancy = "optional") -> MemoryClient:
    return MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock, tenancy=tenancy)


@pytest.fixture
async def client(backend: Any, clock: FakeClock) -> MemoryClient:
    """A tenant of 25 users, one of one, and a user of none."""
    made = _client(backend, clock)
    for user in USERS:
        for agent in (None, "a"):
            await made.store("note", scope=Scope(user, tenant="acme", agent=agent), record_id="n")
    await made.store("note", scope=ADA, record_id="n")
    await made.store("note", scope=Scope("nobodys"), record_id="n")
    return made


@pytest.mark.parametrize("limit", [1, 7, 25, 1000])
async def test_users_page_by_page(client: MemoryClient, limit: int) -> None:
    """Each once, whatever the page; expired ones too, and those of no tenant for themselves."""
    admin, found, cursor = client.admin("acme"), list[str](), None
    while True:
        page = await admin.users(cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        if (cursor := page.cursor) is None:
            break
    assert sorted(found) == USERS
    assert (await client.admin("other").users()).items == ("ada",)
    assert (await client.admin(None).users()).items == ("nobodys",)
    assert (await client.admin("unknown").users()).items == ()


async def test_a_cursor_is_of_its_tenants_users(client: MemoryClient) -> None:
    """Not of another tenant's, not of a listing of records, and not edited."""
    cursor = (await client.admin("acme").users(limit=5)).cursor
    assert cursor is not None
    listing = (await client.list(scope=Scope("-", tenant="acme"), limit=1)).cursor
    assert listing is None
    with pytest.raises(InvalidCursorError):
        await client.admin("other").users(cursor=cursor)
    with pytest.raises(InvalidCursorError):
        await client.list(scope=Scope("-", tenant="acme"), cursor=cursor)
    for wrong in (cursor[:-2], cursor + "AA", "nonsense"):
        with pytest.raises(InvalidCursorError):
            await client.admin("acme").users(cursor=wrong)
    for limit in (0, 1001):
        with pytest.raises(ValidationError):
            await client.admin("acme").users(limit=limit)


async def test_stats_are_counted(client: MemoryClient, clock: FakeClock) -> None:
    """Records in reach, expired ones, versions and spaces, of this tenant alone."""
    admin = client.admin("other")
    await client.update("n", scope=ADA, text="changed")
    await client.store_many([NewMemory(content="soon", ttl=HOUR)] * 3, scope=ADA)
    clock.advance(HOUR)
    counted = await admin.stats()
    assert (counted.users, counted.records, counted.expired, counted.versions) == (1, 1, 3, 1)
    assert counted.text_bytes == len("changed")
    assert dict(counted.spaces) == {client.space.id: 1}
    assert await admin.sweep() == 3
    assert (await admin.stats()).expired == 0


async def test_forgetting_a_tenant(client: MemoryClient) -> None:
    """All of it, and nothing of another's; twice is as good as once."""
    receipt = await client.admin("acme").forget_tenant()
    assert (receipt.found, receipt.deleted, receipt.failed) == (50, 50, ())
    assert receipt.verified_empty
    stats = await client.admin("acme").stats()
    assert (stats.users, stats.records, stats.vectors, stats.versions) == (0, 0, 0, 0)
    assert (await client.admin("acme").users()).items == ()
    again = await client.admin("acme").forget_tenant()
    assert (again.found, again.deleted, again.verified_empty) == (0, 0, True)
    assert await client.count(scope=ADA) == 1
    assert await client.count(scope=Scope("nobodys")) == 1


async def test_a_forgotten_tenant_begins_anew(
    backend: Any, client: MemoryClient, clock: FakeClock
) -> None:
    """Even with another model; the client itself may go on as well."""
    await client.admin("acme").forget_tenant()
    scope = Scope(USERS[0], tenant="acme")
    other = MemoryClient(backend=backend, embedder=HashingEmbedder(32), clock=clock)
    await other.store("in another space", scope=scope)
    await other.admin("acme").forget_tenant()
    await client.store("in the old space", scope=scope)
    assert len(await client.retrieve("space", scope=scope)) == 1


async def test_what_was_known_of_a_tenant_is_asked_again(clock: FakeClock) -> None:
    """Its index may be gone with it: the next call sees to it, and no other tenant's does."""
    seen: list[str | None] = []

    class Watched(InMemoryBackend):
        async def ensure_index(self, *, scope: Scope, space: EmbeddingSpace) -> None:
            seen.append(scope.tenant)
            await super().ensure_index(scope=scope, space=space)

    client = _client(Watched(), clock)
    acme = Scope("a", tenant="acme")
    for _ in range(2):
        for scope in (acme, ADA, acme):
            await client.retrieve("x", scope=scope)
        await client.admin("acme").forget_tenant()
    assert seen == ["acme", "other", "acme"]


@pytest.mark.parametrize("fails", [False, True])
async def test_what_was_asked_is_forgotten_too(backend: Any, clock: FakeClock, fails: bool) -> None:
    """Query vectors of all its users leave memory, also when the store fails half way."""
    embedder = HashingEmbedder()
    client = MemoryClient(backend=backend, embedder=embedder, clock=clock)
    scopes = [Scope("a", tenant="acme"), Scope("b", tenant="acme"), ADA]

    async def embedded(scope: Scope) -> int:
        before = embedder.calls
        await client.retrieve("where does she sit?", scope=scope)
        return embedder.calls - before

    assert [await embedded(scope) for scope in (*scopes, *scopes)] == [1, 1, 1, 0, 0, 0]
    if fails:

        async def away(*, scope: Scope) -> Any:
            raise BackendError(f"away {scope.tenant}")

        backend.forget_tenant = away
        with pytest.raises(BackendError, match="forget_tenant tenant=acme"):
            await client.admin("acme").forget_tenant()
    else:
        await client.admin("acme").forget_tenant()
    assert [await embedded(scope) for scope in scopes] == [1, 1, 0]


async def test_a_user_is_not_taken_for_a_tenant(client: MemoryClient) -> None:
    """Where no user has an index, naming one means the wrong thing: all would be gone."""
    admin = client.admin("acme")
    for verb in (admin.users, admin.stats, admin.forget_tenant, admin.abandon_reembed):
        with pytest.raises(ScopeError, match="no index for each user"):
            await verb(user=USERS[0])
    for take in (admin.plan_reembed, admin.reembed):
        with pytest.raises(ScopeError, match="no index for each user"):
            await take(HashingEmbedder(32), user=USERS[0])
    assert (await admin.stats()).records == 50


async def test_tenancy_per_user_where_no_user_has_an_index(
    backend: Any, client: MemoryClient, clock: FakeClock
) -> None:
    """The whole tenant is meant there, and may be said so."""
    per_user = _client(backend, clock, "per-user")
    assert (await per_user.admin("acme").stats()).records == 50
    with pytest.raises(ScopeError, match="no index for each user"):
        await per_user.admin("acme").forget_tenant(user=USERS[0])
    assert (await per_user.admin("acme").forget_tenant()).deleted == 50
    assert await client.count(scope=ADA) == 1


class Apart(InMemoryBackend):
    """A store that says that its users are kept apart by credentials."""

    @property
    def capabilities(self) -> Capabilities:
        """With an index for each."""
        return replace(super().capabilities, isolation="credentials")


async def test_with_an_index_for_each_user_one_is_named(clock: FakeClock) -> None:
    """For each of these calls: without, nobody knows whose index it is."""
    admin = _client(Apart(), clock, "per-user").admin("acme")
    for verb in (admin.users, admin.stats, admin.forget_tenant, admin.abandon_reembed):
        with pytest.raises(ScopeError, match="no user"):
            await verb()
        await verb(user="ada")
    for take in (admin.plan_reembed, admin.reembed):
        with pytest.raises(ScopeError, match="no user"):
            await take(HashingEmbedder(32))
        await take(HashingEmbedder(32), user="ada")
