"""A session policy leaves of a role's rights one index, and some of what can be done to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest

from core.aws.sessions import (
    BUCKET,
    BUCKET_ARN,
    MEMBERS,
    allowing,
    onboarded,
    plane_to,
    send,
    signing,
)
from memlane.aws.credentials import AssumeRoleCredentials, HostCredentials, IndexPolicy
from memlane.aws.plane import DataPlane
from memlane.errors import AccessDeniedError, ValidationError
from memlane.layout import index_name, user_code
from memlane.scope import Scope
from memlane.testing.emulator import Emulator

ACME = Scope("ada", tenant="acme")


@pytest.fixture
async def plane(emulator: Emulator) -> AsyncIterator[DataPlane]:
    async with plane_to(emulator) as opened:
        yield opened


@pytest.fixture
def host(emulator: Emulator) -> HostCredentials:
    return signing(emulator.admin)


@pytest.mark.parametrize(
    ("allow", "may"),
    [
        ("read", {"GetIndex", "GetVectors", "ListVectors", "QueryVectors"}),
        ("write", {"GetIndex", "GetVectors", "ListVectors", "QueryVectors", "PutVectors"}),
        ("erase", {"GetIndex", "GetVectors", "ListVectors", "QueryVectors", "DeleteVectors"}),
        ("all", {"GetIndex", "GetVectors", "ListVectors", "QueryVectors", "PutVectors",
                 "DeleteVectors"}),
    ],
)  # fmt: skip
async def test_a_session_policy_leaves_one_index_and_some_rights(
    emulator: Emulator, plane: DataPlane, host: HostCredentials, allow: str, may: set[str]
) -> None:
    """Under a role that may do everything to all indexes, the session may not."""
    role = await emulator.put_role("wide", policy=allowing("*"))
    mine, theirs = await onboarded(emulator, ACME, Scope("u", tenant="other"))
    policy = IndexPolicy(BUCKET_ARN, allow=allow)  # type: ignore[arg-type]
    session = await AssumeRoleCredentials(role, plane=plane, host=host, policy=policy)(ACME)
    for operation in MEMBERS:
        with pytest.raises(AccessDeniedError):
            await send(plane, session, operation, theirs)
        if operation in may:
            await send(plane, session, operation, mine)
        else:
            with pytest.raises(AccessDeniedError):
                await send(plane, session, operation, mine)


def test_session_policies_name_the_index() -> None:
    """The tenant's, the user's, or the shared one."""

    def resource(policy: IndexPolicy, scope: Scope = ACME) -> str:
        found: str = json.loads(policy(scope))["Statement"][0]["Resource"]
        return found.removeprefix(f"{BUCKET_ARN}/index/")

    assert resource(IndexPolicy(BUCKET_ARN)) == "memory-acme"
    assert resource(IndexPolicy(BUCKET_ARN, index="shared")) == "shared"
    user = resource(IndexPolicy(BUCKET_ARN, per_user=True))
    assert user == index_name(user_code("acme", "ada"))
    longest = IndexPolicy(BUCKET_ARN.replace(BUCKET, "b" * 63))(Scope("u", tenant="x" * 56))
    assert len(longest) < 500


async def test_a_long_session_policy_is_refused_before_the_wire(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """STS takes 2,048 characters; one more is not sent."""

    def policy(length: int, _scope: Scope) -> str:
        text = json.dumps(allowing("*"))
        return text + " " * (length - len(text))

    for length in (2_048, 2_049):
        provider = AssumeRoleCredentials(
            emulator.tenant_role, plane=plane, host=host, policy=partial(policy, length)
        )
        if length == 2_048:
            assert (await provider(ACME)).access_key
            continue
        with pytest.raises(ValidationError, match="2049"):
            await provider(ACME)
    assert (await emulator.counters()).requests["AssumeRole"] == 1


@pytest.mark.parametrize(
    ("arn", "allow"), [("b", "all"), (f"{BUCKET_ARN}/index/x", "all"), (BUCKET_ARN, "own")]
)
def test_session_policies_that_make_no_sense(arn: str, allow: str) -> None:
    """An ARN of something else, or rights nobody has heard of."""
    with pytest.raises(ValidationError):
        IndexPolicy(arn, allow=allow)  # type: ignore[arg-type]
