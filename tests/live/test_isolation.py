"""Tenants are kept apart by IAM: with a role whose policy the page on tenancy has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from live.account import Account
from memlane import AccessDeniedError, MemoryClient, Scope
from memlane.aws.credentials import AssumeRoleCredentials
from memlane.layout import index_name, tenant_code
from memlane.testing import HashingEmbedder
from memlane_plain import connect

ADA = Scope("ada", tenant="Acme")
BOB = Scope("bob", tenant="acme")


@pytest.fixture
def role(account: Account) -> str:
    """The role that is assumed for tenants."""
    arn = account.settings.aws.role_arn
    if arn is None:
        pytest.skip("set MEMLANE_ROLE_ARN to a role for bucket/memlane-live-*/index/memory-…")
    return arn


@pytest.fixture
async def client(account: Account, role: str) -> AsyncIterator[MemoryClient]:
    """Two tenants with a memory each."""
    url = f"s3vectors://{account.bucket}"
    embedder = HashingEmbedder(64)
    async with connect(url, role_arn=role, embedder=embedder, auto_onboard=True) as opened:
        await opened.store("Prefers window seats", scope=ADA)
        await opened.store("Prefers the aisle", scope=BOB)
        yield opened


@pytest.fixture
def session(account: Account, role: str) -> AssumeRoleCredentials:
    """Begin a session of a tenant, past everything that memlane checks."""
    return AssumeRoleCredentials(
        role,
        plane=account.plane,
        host=account.host,
        external_id=account.settings.aws.external_id,
    )


async def test_each_finds_their_own(client: MemoryClient) -> None:
    """Names that differ in case alone are two tenants."""
    for scope, text in ((ADA, "Prefers window seats"), (BOB, "Prefers the aisle")):
        assert [m.record.text for m in await client.retrieve("seat", scope=scope)] == [text]
        assert await client.count(scope=scope) == 1


MEMBERS: dict[str, dict[str, Any]] = {
    "QueryVectors": {"topK": 1, "queryVector": {"float32": [1.0] * 64}},
    "GetVectors": {"keys": ["k"]},
    "ListVectors": {},
    "PutVectors": {"vectors": [{"key": "k", "data": {"float32": [1.0] * 64}}]},
    "DeleteVectors": {"keys": ["k"]},
    "GetIndex": {},
    "DeleteIndex": {},
}


@pytest.mark.parametrize("operation", MEMBERS)
@pytest.mark.parametrize("there", [True, False], ids=["there", "not there"])
async def test_another_tenants_index_is_refused(
    *,
    client: MemoryClient,
    account: Account,
    session: AssumeRoleCredentials,
    operation: str,
    there: bool,
) -> None:
    """Raw on the wire, for each operation, whether or not the index exists."""
    del client
    credentials = await session(ADA)
    other = index_name(tenant_code(BOB.tenant if there else "nobody-at-all"))
    place: dict[str, Any] = {"vectorBucketName": account.bucket, "indexName": other}
    with pytest.raises(AccessDeniedError):
        await account.call(operation, credentials, **place, **MEMBERS[operation])
