"""The policies of docs/tenancy.md, word for word, decided upon by the emulator's IAM."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.aws.sessions import MEMBERS, VECTOR, plane_to, send, signing
from memlane.aws.credentials import AssumeRoleCredentials, HostCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.sts import assume_role
from memlane.aws.wire import Request
from memlane.errors import AccessDeniedError
from memlane.layout import index_name, tenant_code, user_code
from memlane.protocols import Credentials
from memlane.scope import Scope
from memlane.testing.emulator import Emulator

PAGE = (Path(__file__).parents[3] / "docs" / "tenancy.md").read_text()
BLOCKS: list[dict[str, Any]] = [
    json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
]
TRUST, TENANT, HOST, ENDING, PER_USER, BY_TAG = BLOCKS
BUCKET = "my-bucket"
READING = {"GetIndex", "GetVectors", "ListVectors", "QueryVectors"}
ACME = Scope("ada", tenant="acme")
OTHER = Scope("bob", tenant="Other & Co")


@pytest.fixture
async def plane(emulator: Emulator) -> AsyncIterator[DataPlane]:
    async with plane_to(emulator) as opened:
        yield opened


@pytest.fixture
async def host(emulator: Emulator, plane: DataPlane) -> HostCredentials:
    """A session of the role `app`, as the page has it."""
    await emulator.create_bucket(BUCKET)
    await emulator.put_role("memlane-tenant", trust=TRUST, policy=TENANT)
    return await becoming("app", emulator, plane)


async def becoming(role: str, emulator: Emulator, plane: DataPlane) -> HostCredentials:
    arn = await emulator.put_role(role, policy=HOST)
    admin = signing(emulator.admin)
    return signing(await AssumeRoleCredentials(arn, plane=plane, host=admin)(ACME))


def sessions(
    plane: DataPlane, host: HostCredentials, *, per_user: bool = False
) -> AssumeRoleCredentials:
    role = HOST["Statement"][0]["Resource"]
    return AssumeRoleCredentials(role, plane=plane, host=host, per_user=per_user)


async def test_the_host_onboards_and_its_tenants_read_and_write(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """All that the library does is allowed to whoever does it, and to no other tenant."""
    names = [index_name(tenant_code(scope.tenant)) for scope in (ACME, OTHER)]
    for name, scope in zip(names, (ACME, OTHER), strict=True):
        await create(plane, await host.get(), name, {"TenantID": tenant_code(scope.tenant)})
    session = await sessions(plane, host)(ACME)
    for operation in MEMBERS:
        with pytest.raises(AccessDeniedError):
            await send(plane, session, operation, names[1], BUCKET)
        if operation in READING | {"PutVectors", "DeleteVectors"}:
            await send(plane, session, operation, names[0], BUCKET)
        else:
            with pytest.raises(AccessDeniedError):
                await send(plane, session, operation, names[0], BUCKET)
    assert await emulator.vectors(BUCKET, names[1]) == {}


async def create(
    plane: DataPlane, credentials: Credentials, index: str, tags: dict[str, str]
) -> None:
    members = {
        "vectorBucketName": BUCKET,
        "indexName": index,
        "dataType": "float32",
        "dimension": len(VECTOR["float32"]),
        "distanceMetric": "cosine",
        "tags": tags,
    }
    request = Request("s3vectors", "CreateIndex", "/CreateIndex", orjson.dumps(members))
    await plane.call(request, credentials)


@pytest.mark.parametrize("kept", ["ReadAndWrite", "Erase"])
async def test_reading_and_erasing_can_be_taken_apart(
    emulator: Emulator, plane: DataPlane, host: HostCredentials, kept: str
) -> None:
    """Each statement alone allows what its name says."""
    statements = [found for found in TENANT["Statement"] if found["Sid"] == kept]
    await emulator.put_role(
        "memlane-tenant", trust=TRUST, policy={**TENANT, "Statement": statements}
    )
    await emulator.create_index(BUCKET, "memory-acme", dimension=4)
    session = await sessions(plane, host)(ACME)
    may = {"ReadAndWrite": READING | {"PutVectors"}, "Erase": {"DeleteVectors"}}[kept]
    for operation in MEMBERS:
        if operation in may:
            await send(plane, session, operation, "memory-acme", BUCKET)
        else:
            with pytest.raises(AccessDeniedError):
                await send(plane, session, operation, "memory-acme", BUCKET)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"TenantID": ""},
        {"UserID": "acme"},
        {"TenantID": "acme", "UserID": "x"},
        {"TenantID": "acme", "Department": "x"},
    ],
)
async def test_a_session_names_one_tenant_and_nothing_else(
    plane: DataPlane, host: HostCredentials, tags: dict[str, str]
) -> None:
    """The trust policy refuses sessions without a tenant, and with tags nobody asked for."""
    role = HOST["Statement"][0]["Resource"]
    request = assume_role(role, session_name="by-hand", seconds=900, tags=tags)
    with pytest.raises(AccessDeniedError):
        await plane.call(request, await host.get())
    request = assume_role(role, session_name="by-hand", seconds=900, tags={"TenantID": "acme"})
    assert (await plane.call(request, await host.get())).status == 200


async def test_nobody_but_the_host_begins_sessions(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """Another role of the account with the very same policy may not."""
    other = await becoming("another-app", emulator, plane)
    with pytest.raises(AccessDeniedError, match="trust policy"):
        await sessions(plane, other)(ACME)
    assert (await sessions(plane, host)(ACME)).session_token


async def test_an_index_for_each_user(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """With the other tag in the resource, and both demanded, users are apart as tenants are."""
    trust = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Condition": PER_USER}]}
    assert "index/memory-${aws:PrincipalTag/UserID}" in PAGE
    policy = json.loads(json.dumps(TENANT).replace("PrincipalTag/TenantID", "PrincipalTag/UserID"))
    await emulator.put_role("memlane-tenant", trust=trust, policy=policy)
    ada, bob = Scope("ada", tenant="acme"), Scope("bob", tenant="acme")
    names = [index_name(user_code(scope.tenant, scope.user)) for scope in (ada, bob)]
    for name in names:
        await emulator.create_index(BUCKET, name, dimension=4)
    session = await sessions(plane, host, per_user=True)(ada)
    await send(plane, session, "PutVectors", names[0], BUCKET)
    for index in (names[1], "memory-acme"):
        with pytest.raises(AccessDeniedError):
            await send(plane, session, "PutVectors", index, BUCKET)
    with pytest.raises(AccessDeniedError):
        await sessions(plane, host)(ada)


async def test_tags_do_instead_of_names(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """An index is its tenant's by its tag, whatever it is called; an untagged one is nobody's."""
    await emulator.put_role("memlane-tenant", trust=TRUST, policy=BY_TAG)
    tags = {"memory-a": {"TenantID": "acme"}, "memory-b": {"TenantID": "other"}, "memory-acme": {}}
    for name, tag in tags.items():
        await create(plane, await host.get(), name, tag)
    session = await sessions(plane, host)(ACME)
    await send(plane, session, "PutVectors", "memory-a", BUCKET)
    for index in ("memory-b", "memory-acme"):
        with pytest.raises(AccessDeniedError):
            await send(plane, session, "PutVectors", index, BUCKET)


async def test_the_host_embeds(plane: DataPlane, host: HostCredentials) -> None:
    """Models are the host's; a tenant's session may not ask them."""
    model = HOST["Statement"][1]["Resource"].rpartition("/")[2].replace(":", "%3A")
    request = Request("bedrock", "InvokeModel", f"/model/{model}/invoke", b'{"inputText":"hello"}')
    assert (await plane.call(request, await host.get())).status == 200
    with pytest.raises(AccessDeniedError):
        await plane.call(request, await sessions(plane, host)(ACME))


def test_the_codes_on_the_page_are_right() -> None:
    """What a reader compares with the console is what they will see there."""
    assert tenant_code("Acme") in PAGE
