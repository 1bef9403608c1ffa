"""Each verb with the rights that docs/tenancy.md gives it, and with none besides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from core.aws.s3vectors.opened import MINE, Cloud, cloud
from core.aws.s3vectors.test_reembed import WIDER, reembed
from core.aws.s3vectors.test_tenants import TENANT, filled
from core.aws.s3vectors.test_versions import texts
from core.aws.sessions import plane_to, signing
from core.aws.test_credentials_page import BUCKET, BY_TAG, ENDING, HOST, TRUST
from core.aws.test_credentials_page import TENANT as TENANTS
from memlane.aws.credentials import AssumeRoleCredentials, HostCredentials, TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.errors import AccessDeniedError
from memlane.scope import Reach
from memlane.testing.samples import NOW, SPACE, indexed, make_record, read_all

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
READ_AND_WRITE, ERASE = TENANTS["Statement"]
FORGET, SHADOW = ENDING["Statement"]


@pytest.fixture
async def plane(cloud: Cloud) -> AsyncIterator[DataPlane]:
    await cloud.emulator.create_bucket(BUCKET)
    async with plane_to(cloud.emulator) as opened:
        yield opened


async def opened(
    cloud: Cloud,
    plane: DataPlane,
    *,
    hosts: tuple[dict[str, Any], ...] = (FORGET, SHADOW),
    tenants: tuple[dict[str, Any], ...] = (READ_AND_WRITE, ERASE),
) -> S3VectorsBackend:
    """Return a backend whose roles have these statements of the page, besides the host's own."""
    host_policy = {**HOST, "Statement": [*HOST["Statement"], *hosts]}
    arn = await cloud.emulator.put_role("app", policy=host_policy)
    policy = {**TENANTS, "Statement": list(tenants)}
    role = await cloud.emulator.put_role("memlane-tenant", trust=TRUST, policy=policy)
    admin = signing(cloud.emulator.admin)
    host: HostCredentials = signing(await AssumeRoleCredentials(arn, plane=plane, host=admin)(MINE))
    sessions = AssumeRoleCredentials(role, plane=plane, host=host)
    return cloud.backend(bucket=BUCKET, host=host, credentials=TenantCredentials(sessions))


async def test_all_verbs_with_the_rights_of_the_page(cloud: Cloud, plane: DataPlane) -> None:
    """Versions, users, counts, sweeping, reembedding and the end, with no action besides."""
    backend = await opened(cloud, plane)
    await backend.onboard(scope=MINE, space=SPACE)
    await filled(backend, MINE)
    assert texts(await backend.versions("a", reach=HERE)) == ["second", "été"]
    assert (await backend.users(scope=TENANT)).names == ("ada",)
    assert (await backend.stats(scope=TENANT, now=NOW)).versions == 2
    assert await backend.sweep(scope=TENANT, now=NOW) == 1
    assert await reembed(backend, WIDER) == 1
    assert texts(await read_all(backend, Reach.whole(MINE, now=NOW))) == ["third"]
    assert await backend.delete(["a"], reach=HERE) == 1
    assert list(await backend.remains(reach=Reach.whole(MINE, now=None))) == []
    assert (await backend.forget_tenant(scope=TENANT)).verified_empty
    assert (await cloud.emulator.indexes())[BUCKET] == {}


async def test_who_may_not_erase_deletes_nothing(cloud: Cloud, plane: DataPlane) -> None:
    """Reading history and storing versions need no right to erase; sweeping and deleting do."""
    backend = await opened(cloud, plane, hosts=(), tenants=(READ_AND_WRITE,))
    await backend.onboard(scope=MINE, space=SPACE)
    await filled(backend, MINE)
    assert texts(await backend.versions("a", reach=HERE)) == ["second", "été"]
    count = len(await cloud.emulator.vectors(BUCKET, "memory-acme"))
    for call in (
        backend.sweep(scope=TENANT, now=NOW),
        backend.delete(["a"], reach=HERE),
        backend.forget_tenant(scope=TENANT),
    ):
        with pytest.raises(AccessDeniedError):
            await call
    assert len(await cloud.emulator.vectors(BUCKET, "memory-acme")) == count


async def test_who_may_not_delete_indexes_empties_them(cloud: Cloud, plane: DataPlane) -> None:
    """The tenant is forgotten all the same; taking it elsewhere is refused before it begins."""
    backend = await opened(cloud, plane, hosts=())
    await backend.onboard(scope=MINE, space=SPACE)
    await filled(backend, MINE)
    with pytest.raises(AccessDeniedError):
        await backend.begin_reembed(scope=TENANT, space=WIDER)
    receipt = await backend.forget_tenant(scope=TENANT)
    assert (receipt.deleted, receipt.verified_empty) == (2, True)
    assert (await cloud.emulator.indexes())[BUCKET] == {"memory-acme": 0}


async def test_a_host_that_may_not_delete_keeps_what_there_is(
    cloud: Cloud, plane: DataPlane
) -> None:
    """A cut-over that may not delete the old index changes nothing, and can be repeated."""
    backend = await opened(cloud, plane, hosts=(SHADOW,))
    await backend.onboard(scope=MINE, space=SPACE)
    await filled(backend, MINE)
    with pytest.raises(AccessDeniedError):
        await reembed(backend, WIDER)
    assert texts(await read_all(backend, Reach.whole(MINE, now=NOW))) == ["third"]
    backend = await opened(cloud, plane)
    assert await reembed(backend, WIDER) == 0


@pytest.mark.parametrize("statements", [(READ_AND_WRITE, ERASE), BY_TAG["Statement"]])
async def test_a_tenants_session_opens_no_shadow(
    cloud: Cloud, plane: DataPlane, statements: tuple[dict[str, Any], ...]
) -> None:
    """Neither its own nor another's, by name or by tag: what gathers there is the host's."""
    backend = await opened(cloud, plane, tenants=statements)
    await backend.onboard(scope=MINE, space=SPACE)
    await backend.upsert([indexed(make_record("a", scope=MINE))], scope=MINE)
    await backend.begin_reembed(scope=TENANT, space=WIDER)
    shadow = backend._doors.shadow(MINE)
    assert shadow is not None
    other = replace(MINE, tenant="other")
    for scope in (MINE, other):
        index = backend._index(scope, "test")
        index.target = shadow.target
        with pytest.raises(AccessDeniedError):
            await index.keys()
