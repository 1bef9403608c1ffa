"""Forgetting a user whose tenant is on its way to another space: nothing of them comes back."""

from __future__ import annotations

import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_reembed import (
    ALIKE,
    SHADOW,
    WIDER,
    embedded,
    reembed,
    short_turns,
)
from core.aws.s3vectors.test_tenants import EVE, TENANT, filled
from memlane.aws.s3vectors import S3VectorsBackend, tenants
from memlane.aws.s3vectors.index import Index
from memlane.eraser import forget
from memlane.errors import ConflictError, MemlaneError, TenantNotOnboardedError
from memlane.layout import owner_prefix
from memlane.scope import Reach
from memlane.testing.samples import indexed, make_record, put, read_all

__all__ = ("cloud", "short_turns")

EVER = Reach.whole(MINE, now=None)


async def _shadowed(backend: S3VectorsBackend) -> None:
    """Embed all of the tenant, and cut nothing over."""
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    page = await backend.pending(scope=TENANT, space=WIDER, limit=100)
    await backend.shadow(
        [embedded(record, WIDER) for record in page.records], scope=TENANT, space=WIDER
    )


async def _killed(cloud: Cloud, backend: S3VectorsBackend, operation: str) -> None:
    """Begin to cut over, and fail at the first such request."""
    await _shadowed(backend)
    await cloud.emulator.inject(operation=operation, status=400)
    with pytest.raises(MemlaneError):
        await backend.cut_over(scope=TENANT, space=WIDER)
    await cloud.emulator.clear_faults()


async def _holding(cloud: Cloud) -> dict[str, bool]:
    """Return of each index whether anything of the user lies there."""
    mine = owner_prefix(MINE)
    return {
        name: any(key.startswith(mine) for key in await cloud.keys(name))
        for name in (await cloud.emulator.indexes())[BUCKET]
    }


async def test_what_gathers_in_a_shadow_goes_too(cloud: Cloud) -> None:
    """Records, windows, versions and names; another user's stay, and are taken along."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE, EVE)
    await _shadowed(other)
    assert await _holding(cloud) == {ACME: True, SHADOW: True}
    receipt = await forget(backend, MINE, batch=100)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (2, 2, True)
    assert await _holding(cloud) == {ACME: False, SHADOW: False}
    assert await reembed(other) == 0
    assert len(await read_all(backend, Reach.whole(EVE, now=None))) == 2


@pytest.mark.parametrize("auto_onboard", [False, True])
@pytest.mark.parametrize("operation", ["CreateIndex", "DeleteIndex"])
async def test_nobody_comes_back_from_a_shadow(
    cloud: Cloud, operation: str, auto_onboard: bool
) -> None:
    """A cut-over that was killed, before the old index went or after, brings back the others."""
    backend = await cloud.onboarded()
    await filled(backend, MINE, EVE)
    await _killed(cloud, backend, operation)
    assert (ACME in (await cloud.emulator.indexes())[BUCKET]) is (operation == "DeleteIndex")
    elsewhere = cloud.backend(auto_onboard=auto_onboard)
    receipt = await forget(elsewhere, MINE, batch=100)
    assert (receipt.found, receipt.deleted, receipt.verified_empty) == (2, 2, True)
    assert not any((await _holding(cloud)).values())
    again = await forget(elsewhere, MINE, batch=100)
    assert (again.found, again.verified_empty) == (0, True)
    await reembed(cloud.backend())
    assert await _holding(cloud) == {ACME: False}
    assert len(await read_all(cloud.backend(), Reach.whole(EVE, now=None))) == 2


async def test_what_stays_in_a_shadow_is_told(cloud: Cloud) -> None:
    """Where nothing can be deleted there the receipt says so, whatever the tenant's index has."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=MINE)))
    await _killed(cloud, backend, "DeleteIndex")
    await cloud.emulator.inject(operation="DeleteVectors", status=400, skip=1, times=3)
    receipt = await forget(backend, MINE, batch=100)
    await cloud.emulator.clear_faults()
    assert (receipt.deleted, receipt.failed, receipt.verified_empty) == (1, ("a",), False)
    assert list(await backend.remains(reach=EVER)) == ["a"]
    assert (await forget(backend, MINE, batch=100)).verified_empty


async def test_a_tenant_that_nobody_made_is_still_named(cloud: Cloud) -> None:
    """Without an index, and without a shadow, there is nobody to forget."""
    backend = cloud.backend()
    with pytest.raises(TenantNotOnboardedError):
        await forget(backend, MINE, batch=100)
    lenient = cloud.backend(auto_onboard=True)
    assert (await forget(lenient, MINE, batch=100)).verified_empty


async def test_a_shadow_that_is_begun_meanwhile_goes_too(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the tenant's keys are listed another process begins to take it elsewhere."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE, EVE)
    list_all = tenants._all_of

    async def meanwhile(index: Index) -> tuple[list[str], list[str]]:
        found = await list_all(index)
        monkeypatch.setattr(tenants, "_all_of", list_all)
        await _shadowed(other)
        return found

    monkeypatch.setattr(tenants, "_all_of", meanwhile)
    assert (await backend.forget_tenant(scope=TENANT)).verified_empty
    assert (await cloud.emulator.indexes())[BUCKET] == {}
    await backend.onboard(scope=TENANT, space=WIDER)
    with pytest.raises(ConflictError):
        await other.cut_over(scope=TENANT, space=ALIKE)
    assert await cloud.keys() == {"memlane/space"}
