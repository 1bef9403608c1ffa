"""A tenant as a whole: made and swept by a backend that can, and clearly not by one that cannot."""

from __future__ import annotations

from datetime import datetime

import pytest

from core.bare import BareBackend
from memlane import MemoryClient, Scope
from memlane.errors import BackendError, ScopeError, TenantNotOnboardedError
from memlane.local import InMemoryBackend
from memlane.powers import SupportsAdmin
from memlane.protocols import EmbeddingSpace
from memlane.scope import Tenancy
from memlane.testing import CountingBackend, FakeClock, HashingEmbedder, WrappedBackend

ADA = Scope("ada", tenant="acme")


class Administered(CountingBackend):
    """A backend whose tenants have to be made."""

    def __init__(self) -> None:
        super().__init__(InMemoryBackend())
        self.made: dict[Scope, EmbeddingSpace] = {}
        self.swept: list[tuple[Scope, datetime]] = []

    async def onboard(self, *, scope: Scope, space: EmbeddingSpace) -> bool:
        """Make a tenant once."""
        fresh = scope not in self.made
        self.made[scope] = space
        return fresh

    async def sweep(self, *, scope: Scope, now: datetime) -> int:
        """Remember when it was swept."""
        self.swept.append((scope, now))
        return 3


def _client(
    backend: WrappedBackend | InMemoryBackend | BareBackend,
    clock: FakeClock,
    tenancy: Tenancy = "required",
) -> MemoryClient:
    return MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock, tenancy=tenancy)


async def test_a_tenant_is_made_once(clock: FakeClock) -> None:
    """True when it was made now; told of the space and the tenant."""
    backend = Administered()
    assert isinstance(backend, SupportsAdmin)
    client = _client(backend, clock)
    admin = client.admin("acme")
    assert admin.tenant == "acme"
    assert await admin.onboard() is True
    assert await admin.onboard() is False
    assert await client.admin("other").onboard() is True
    assert {scope.tenant for scope in backend.made} == {"acme", "other"}
    assert set(backend.made.values()) == {client.space}


async def test_sweeping_says_how_many(clock: FakeClock) -> None:
    """As of now, by the client's clock."""
    backend = Administered()
    assert await _client(backend, clock).admin("acme").sweep() == 3
    ((scope, moment),) = backend.swept
    assert (scope.tenant, moment) == ("acme", clock.now())


async def test_elsewhere_there_is_nothing_to_make(clock: FakeClock) -> None:
    """The index is seen to; sweeping is refused with what is the matter."""
    admin = _client(BareBackend(), clock).admin("acme")
    assert await admin.onboard() is False
    with pytest.raises(BackendError, match=r"sweep tenant=acme.*'memory'"):
        await admin.sweep()
    for verb in (admin.users, admin.stats, admin.forget_tenant, admin.abandon_reembed):
        with pytest.raises(BackendError, match=r"tenant=acme.*'memory'"):
            await verb()
    for take in (admin.plan_reembed, admin.reembed):
        with pytest.raises(BackendError, match=r"reembed tenant=acme.*'memory'"):
            await take(HashingEmbedder())


async def test_with_an_index_for_each_user_one_is_named(clock: FakeClock) -> None:
    """Without, nobody knows which; with, it is that user's."""
    backend = Administered()
    admin = _client(backend, clock, "per-user").admin("acme")
    for verb in (admin.onboard, admin.sweep):
        with pytest.raises(ScopeError, match="no user"):
            await verb()
    assert await admin.onboard(user="ada")
    assert await admin.sweep(user="ada") == 3
    assert list(backend.made) == [ADA] == [scope for scope, _ in backend.swept]


@pytest.mark.parametrize(("tenancy", "tenant"), [("required", None), ("none", "acme")])
def test_a_tenant_the_client_does_not_serve(
    clock: FakeClock, tenancy: Tenancy, tenant: str | None
) -> None:
    """Refused as in every other call."""
    with pytest.raises(ScopeError, match="admin"):
        _client(InMemoryBackend(), clock, tenancy).admin(tenant)


async def test_an_index_that_is_gone_is_asked_for_again(clock: FakeClock) -> None:
    """Once a tenant's index is known it is not asked for, until it turns out not to be there."""
    backend = Administered()
    client = _client(backend, clock)
    for _ in range(3):
        await client.store("I like tea", scope=ADA)
    assert backend.calls["ensure_index"] == 1

    async def gone(*_: object, **__: object) -> None:
        raise TenantNotOnboardedError("no index", service="s3vectors")

    upsert, backend.upsert = backend.upsert, gone  # type: ignore[method-assign] # for once
    with pytest.raises(TenantNotOnboardedError, match="store tenant=acme"):
        await client.store("I like tea", scope=ADA)
    backend.upsert = upsert  # type: ignore[method-assign]
    await client.store("I like tea", scope=ADA)
    assert backend.calls["ensure_index"] == 2


@pytest.mark.parametrize(("tenancy", "times"), [("required", 1), ("per-user", 3)])
async def test_what_is_ready_is_a_tenants_or_a_users(
    clock: FakeClock, tenancy: Tenancy, times: int
) -> None:
    """With an index for each user, each is seen to once."""
    backend = Administered()
    client = _client(backend, clock, tenancy)
    for user in ("a", "b", "c", "a"):
        await client.store("I like tea", scope=Scope(user, tenant="acme"))
    assert backend.calls["ensure_index"] == times


async def test_entering_a_client_enters_what_it_owns(clock: FakeClock) -> None:
    """Parts that work better on a known loop are introduced to it; others are let be."""
    entered: list[str] = []

    class Part:
        async def enter(self) -> None:
            entered.append("enter")

        async def aclose(self) -> None:
            entered.append("close")

    class Plain:
        async def aclose(self) -> None:
            entered.append("plain")

    client = MemoryClient(
        backend=InMemoryBackend(), embedder=HashingEmbedder(), clock=clock, owned=[Part(), Plain()]
    )
    async with client:
        assert entered == ["enter"]
    assert entered == ["enter", "close", "plain"]
