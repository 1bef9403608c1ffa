"""Sessions of one role: each reaches the index of its own tenant, whatever the tenant is called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest

from core.aws.sessions import (
    BUCKET,
    MEMBERS,
    allowing,
    onboarded,
    plane_to,
    send,
    signing,
    who_is,
)
from memlane.aws.credentials import (
    AssumeRoleCredentials,
    HostCredentials,
    TenantCredentials,
)
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Reply, Request
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    IsolationError,
    RequestRejectedError,
    ScopeError,
    UnavailableError,
    ValidationError,
)
from memlane.layout import index_name, tenant_code, user_code
from memlane.protocols import CredentialProvider, Credentials
from memlane.runtime import SystemClock
from memlane.scope import Scope
from memlane.testing import FakeClock
from memlane.testing.emulator import Emulator

ACME = Scope("ada", tenant="acme")
ROLE = "arn:aws:iam::111122223333:role/memlane-tenant"
ODD = ("Acme", "acme", "acme-1", "acme_1", "a--b", "x" * 300, "🦊", "../x", "a b:c/d,e", "None")


@pytest.fixture
async def plane(emulator: Emulator) -> AsyncIterator[DataPlane]:
    async with plane_to(emulator) as opened:
        yield opened


@pytest.fixture
def host(emulator: Emulator) -> HostCredentials:
    return signing(emulator.admin)


async def test_a_session_is_the_tenants(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """Its name says whose it is, and it ends when STS says."""
    provider = AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host)
    assert isinstance(provider, CredentialProvider)
    began = SystemClock().now()
    got = await provider(ACME)
    assert got.expires_at is not None
    assert abs(got.expires_at - began - timedelta(minutes=15)) < timedelta(seconds=30)
    assert (await who_is(plane, got)).endswith(":assumed-role/memlane-tenant/memlane-acme")


async def test_oddly_named_tenants_reach_their_own_index_only(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """No two of them share a session name, a tag or an index."""
    scopes = [Scope("ada", tenant=name) for name in ODD]
    names = await onboarded(emulator, *scopes)
    provider = AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host)
    sessions = [await provider(scope) for scope in scopes]
    assert len({await who_is(plane, session) for session in sessions}) == len(ODD)
    for mine, session in zip(names, sessions, strict=True):
        for name in names:
            if name == mine:
                await send(plane, session, "PutVectors", name)
            else:
                with pytest.raises(AccessDeniedError):
                    await send(plane, session, "PutVectors", name)


@pytest.mark.parametrize("operation", MEMBERS)
async def test_nothing_can_be_done_to_another_tenants_index(
    emulator: Emulator, plane: DataPlane, host: HostCredentials, operation: str
) -> None:
    """Raw on the wire, every operation is refused, whether or not the index exists."""
    await onboarded(emulator, ACME, Scope("bob", tenant="other"))
    await send(plane, emulator.admin, "PutVectors", "memory-other")
    session = await AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host)(ACME)
    for index in ("memory-other", "memory-absent", "memory-acm", "memory-acme2"):
        with pytest.raises(AccessDeniedError):
            await send(plane, session, operation, index)
    assert set(await emulator.vectors(BUCKET, "memory-other")) == {"k"}


async def test_a_hundred_first_calls_are_one_assume_role(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """For each of two tenants, counted where it arrives."""
    tenants = TenantCredentials(AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host))
    got: set[str] = set()

    async def ask(number: int) -> None:
        got.add((await tenants.get(Scope("u", tenant=f"t{number % 2}"))).access_key)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(ask, number)
    assert len(got) == 2
    assert (await emulator.counters()).requests["AssumeRole"] == 2


async def test_users_have_sessions_of_their_own(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """With `per_user` the tag `UserID` is the code of tenant and user, and names the index."""
    role = await emulator.put_role("users", policy=allowing("memory-${aws:PrincipalTag/UserID}"))
    await emulator.create_bucket(BUCKET)
    scopes = [Scope(user, tenant=tenant) for user in ("ada", "bob") for tenant in ("x", "y")]
    names = [index_name(user_code(scope.tenant, scope.user)) for scope in scopes]
    for name in names:
        await emulator.create_index(BUCKET, name, dimension=4)
    provider = AssumeRoleCredentials(role, plane=plane, host=host, per_user=True)
    for mine, scope in zip(names, scopes, strict=True):
        session = await provider(scope)
        for name in names:
            if name == mine:
                await send(plane, session, "PutVectors", name)
            else:
                with pytest.raises(AccessDeniedError):
                    await send(plane, session, "PutVectors", name)


async def test_an_external_id_goes_along(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """A trust policy that asks for one is satisfied by it, and by nothing else."""
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{emulator.account}:root"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {"StringEquals": {"sts:ExternalId": "e-1:2/3"}},
        },
    }
    role = await emulator.put_role("external", trust=trust, policy=allowing("*"))
    assert (
        await AssumeRoleCredentials(role, plane=plane, host=host, external_id="e-1:2/3")(ACME)
    ).access_key
    for other in (None, "another"):
        with pytest.raises(AccessDeniedError, match="sts:TagSession"):
            await AssumeRoleCredentials(role, plane=plane, host=host, external_id=other)(ACME)


async def test_a_denied_tenant_is_asked_for_once_in_five_seconds(
    emulator: Emulator, plane: DataPlane, host: HostCredentials, clock: FakeClock
) -> None:
    """The error says what the trust policy needs, and is remembered for a while, not longer."""
    provider = AssumeRoleCredentials(ROLE + "-absent", plane=plane, host=host)
    tenants = TenantCredentials(provider, clock=clock)
    for _ in range(5):
        with pytest.raises(AccessDeniedError, match="trust policy") as said:
            await tenants.get(ACME)
        # A model reads the text of whatever a tool of its fails with.
        assert "arn:" not in str(said.value)
        assert f"{ROLE}-absent" in str(said.value.detail)
        assert said.value.code == "AccessDenied"
        assert said.value.request_id
    assert (await emulator.counters()).requests["AssumeRole"] == 1
    clock.advance(timedelta(seconds=5.1))
    await emulator.put_role("memlane-tenant-absent", policy=allowing("*"))
    assert (await tenants.get(ACME)).access_key


async def test_a_host_whose_session_ended_is_asked_again(
    emulator: Emulator, plane: DataPlane
) -> None:
    """STS refuses an expired host; the host's chain is asked once more, and once only."""
    broker = await emulator.put_role("broker", policy=[allowing("*"), assuming("*")])
    sessions = AssumeRoleCredentials(broker, plane=plane, host=signing(emulator.admin))
    stale = await sessions(ACME)
    await emulator.advance(16 * 60)
    asked: list[Credentials] = []

    async def chain() -> Credentials:
        asked.append(fresh if len(asked) == 1 else stale_forever)
        return asked[-1]

    stale_forever = Credentials(
        access_key=stale.access_key, secret_key=stale.secret_key, session_token=stale.session_token
    )
    fresh = await sessions(ACME)
    provider = AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=HostCredentials(chain))
    assert (await provider(ACME)).access_key
    assert asked == [stale_forever, fresh]

    async def hopeless() -> Credentials:
        asked.append(stale_forever)
        return stale_forever

    del asked[:]
    provider = AssumeRoleCredentials(
        emulator.tenant_role, plane=plane, host=HostCredentials(hopeless)
    )
    with pytest.raises(CredentialsError):
        await provider(ACME)
    assert len(asked) == 2


def assuming(role: str) -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Resource": role,
        },
    }


async def test_sts_down_for_a_minute_is_not_noticed(
    emulator: Emulator, plane: DataPlane, host: HostCredentials, clock: FakeClock
) -> None:
    """What is valid is used meanwhile; afterwards it is renewed."""
    await onboarded(emulator, ACME)
    provider = AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host, clock=clock)
    tenants = TenantCredentials(provider, clock=clock)
    first = await tenants.get(ACME)
    clock.advance(timedelta(minutes=11))
    await emulator.inject(operation="AssumeRole", status=503)
    for _ in range(6):
        clock.advance(timedelta(seconds=10))
        got = tenants.peek(ACME) or await tenants.get(ACME)
        assert got is first
        await send(plane, got, "PutVectors", "memory-acme")
    await emulator.clear_faults()
    clock.advance(timedelta(minutes=3))
    assert await tenants.get(ACME) != first


async def test_sts_down_and_nothing_valid(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """Then it is said, and not remembered."""
    tenants = TenantCredentials(AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host))
    await emulator.inject(operation="AssumeRole", status=503)
    with pytest.raises(UnavailableError):
        await tenants.get(ACME)
    await emulator.clear_faults()
    assert (await tenants.get(ACME)).access_key


async def test_a_clock_that_is_wrong_here_does_not_end_sessions(
    emulator: Emulator, plane: DataPlane, host: HostCredentials, clock: FakeClock
) -> None:
    """A session lasts as long as was asked for, by whatever clock decides that it has ended."""
    provider = AssumeRoleCredentials(
        emulator.tenant_role, plane=plane, host=host, clock=clock, duration=timedelta(minutes=30)
    )
    got = await provider(ACME)
    assert got.expires_at == clock.now() + timedelta(minutes=30)


async def test_a_session_longer_than_the_role_allows(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """STS says so; nothing is guessed."""
    provider = AssumeRoleCredentials(
        emulator.tenant_role, plane=plane, host=host, duration=timedelta(hours=12)
    )
    with pytest.raises(RequestRejectedError):
        await provider(ACME)


class MixedUp:
    """A proxy that gives everybody the answer of whoever asked first."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._first: Reply | None = None

    async def call(self, request: Request, credentials: Credentials | None) -> Reply:
        if self._first is None:
            self._first = await self._plane.call(request, credentials)
        return self._first


async def test_an_answer_for_another_tenant_is_refused(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """The session's name in the answer must be the one that was asked for."""
    provider = AssumeRoleCredentials(emulator.tenant_role, plane=MixedUp(plane), host=host)
    assert (await provider(ACME)).access_key
    assert (await provider(Scope("bob", tenant="acme"))).access_key
    with pytest.raises(IsolationError):
        await provider(Scope("ada", tenant="other"))


async def test_a_scope_without_tenant(
    emulator: Emulator, plane: DataPlane, host: HostCredentials
) -> None:
    """Refused before the wire, unless that lane was asked for; it has a code no tenant has."""
    with pytest.raises(ScopeError, match="tenant"):
        await AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host)(Scope("ada"))
    assert "AssumeRole" not in (await emulator.counters()).requests
    lane = AssumeRoleCredentials(emulator.tenant_role, plane=plane, host=host, allow_no_tenant=True)
    arn = await who_is(plane, await lane(Scope("ada")))
    assert arn.endswith(f"/memlane-{tenant_code(None)}")


@pytest.mark.parametrize(
    "kwargs",
    [
        {"role_arn": "memlane-tenant"},
        {"role_arn": "arn:aws:iam::1:role/x"},
        {"role_arn": "arn:aws:iam::111122223333:user/x"},
        {"role_arn": None},
        {"duration": timedelta(minutes=14)},
        {"duration": timedelta(hours=13)},
        {"external_id": "x"},
        {"external_id": "a b"},
    ],
)
def test_arguments_that_sts_would_refuse(kwargs: dict[str, object]) -> None:
    """Said when the provider is made, not at the first call."""
    plane = DataPlane(region="us-east-1")
    host = signing(Credentials(access_key="A", secret_key="s"))
    with pytest.raises(ValidationError) as said:
        AssumeRoleCredentials(**{"role_arn": ROLE, "plane": plane, "host": host, **kwargs})  # type: ignore[arg-type]
    assert said.value.remedy
