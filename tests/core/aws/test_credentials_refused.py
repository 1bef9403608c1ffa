"""Who is refused, or gives up, costs nobody else anything, and the services little."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from core.aws.providers import Vendor, made, until
from memlane.aws.credentials import (
    AssumeRoleCredentials,
    HostCredentials,
    IndexPolicy,
    StaticCredentials,
    TenantCredentials,
    TokenVendingCredentials,
)
from memlane.aws.sts import read_assumed_role
from memlane.aws.wire import Reply, Request
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    MemlaneError,
    UnavailableError,
    ValidationError,
)
from memlane.protocols import Credentials
from memlane.runtime import io_loop
from memlane.scope import Scope
from memlane.testing import FakeClock

ACME = Scope("ada", tenant="acme")
MALLORY = Scope("mallory", tenant="acme")
ROLE = "arn:aws:iam::111122223333:role/memlane-tenant"
BUCKET_ARN = "arn:aws:s3vectors:us-east-1:111122223333:bucket/memories"


@pytest.fixture
def vendor(clock: FakeClock) -> Vendor:
    return Vendor(clock)


@pytest.fixture
def tenants(vendor: Vendor, clock: FakeClock) -> TenantCredentials:
    return TenantCredentials(vendor, clock=clock)


class Gatekeeper(Vendor):
    """Refuses mallory, whose token is no good, and serves the others of the tenant."""

    refusal: MemlaneError = AccessDeniedError("a bad token")

    async def __call__(self, scope: Scope | None = None) -> Credentials:
        got = await super().__call__(scope)
        if scope is not None and scope.user == "mallory":
            raise self.refusal
        return got


class Denying:
    """An STS that refuses everybody."""

    calls = 0

    async def call(self, request: Request, credentials: Credentials | None) -> Reply:
        assert (request.service, credentials is not None) == ("sts", True)
        self.calls += 1
        raise AccessDeniedError("no", service="sts", code="AccessDenied", status=403)


async def test_sessions_that_are_always_rejected_are_few(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """Each call may fetch once more; but not a session for every call of a refused tenant."""
    failed = 0
    for _ in range(200):
        clock.advance(timedelta(milliseconds=50))
        try:
            first = tenants.peek(ACME) or await tenants.get(ACME)
            tenants.reject(ACME, first)
            await tenants.get(ACME)
        except CredentialsError:
            failed += 1
    assert failed > 180
    with pytest.raises(CredentialsError, match="rejected"):
        await tenants.get(ACME)
    assert vendor.calls <= 8
    # Nobody else's, and not for long.
    assert (await tenants.get(Scope("ada", tenant="other"))).access_key
    clock.advance(timedelta(seconds=2.01))
    assert (await tenants.get(ACME)).access_key


async def test_a_rejected_tenant_is_not_warmed(tenants: TenantCredentials, vendor: Vendor) -> None:
    """While it is remembered that they are refused, none are fetched ahead either."""
    for _ in range(2):
        tenants.reject(ACME, await tenants.get(ACME))
    tenants.warm(ACME)
    await tenants.get(Scope("u", tenant="other"))
    assert vendor.calls == 3


async def test_one_early_end_a_while_is_renewed(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """What is rejected now and then is fetched again at once, each time."""
    for turn in range(4):
        tenants.reject(ACME, await tenants.get(ACME))
        assert (await tenants.get(ACME)).access_key == f"ASIAacme-{turn + 2}"
        clock.advance(timedelta(seconds=5))
    assert vendor.calls == 5


async def test_a_host_whose_keys_were_revoked_walks_its_chain_rarely(clock: FakeClock) -> None:
    """The chain gives the same keys each time, and is dear to walk."""
    walks = []

    async def chain() -> Credentials:
        walks.append(1)
        return made("revoked")

    host = HostCredentials(chain, clock=clock)
    for _ in range(100):
        try:
            host.reject(await host.get())
        except CredentialsError:
            clock.advance(timedelta(milliseconds=20))
    assert len(walks) == 2
    clock.advance(timedelta(seconds=2))
    assert (await host.get()).access_key == "ASIArevoked"


async def test_a_fetch_outlives_who_began_it(tenants: TenantCredentials, vendor: Vendor) -> None:
    """A caller's deadline is shorter than the fetch: the next caller finds what came of it."""
    vendor.gate = threading.Event()
    for turn in range(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tenants.get, ACME)
            if turn == 0:
                await until(lambda: vendor.calls == 1)
            else:
                await until(lambda: _waiting(tenants) == 1)
            tasks.cancel_scope.cancel()
        await until(lambda: vendor.calls == 2)
    vendor.gate.set()
    await until(lambda: tenants.peek(ACME) is not None)
    assert vendor.calls == 2
    assert vendor.threads[1] == "memlane-work"


async def test_who_comes_next_does_not_come_first(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """Impatient callers in a row: what the first one left behind is not ended by the second."""
    vendor.gate = threading.Event()
    for _ in range(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tenants.get, ACME)
            await until(lambda: vendor.calls >= 1)
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    await until(lambda: vendor.calls == 2)
    vendor.gate.set()
    await until(lambda: tenants.peek(ACME) is not None)
    assert vendor.calls == 2


async def test_what_goes_on_is_waited_for_where_it_goes_on(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """Behind it in the queue: a caller that has to be the first elsewhere might end it again."""
    tenants._cache._warming.add("acme")
    await tenants.get(ACME)
    assert vendor.threads == ["memlane-work"]


async def test_a_fetch_for_the_io_loop_outlives_its_caller(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """There too, where it is done elsewhere from the beginning."""
    vendor.gate = threading.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(io_loop().call, tenants.get, ACME)
        await until(lambda: vendor.calls == 1)
        tasks.cancel_scope.cancel()
    await until(lambda: vendor.calls == 2)
    vendor.gate.set()
    await until(lambda: tenants.peek(ACME) is not None)
    assert set(vendor.threads) == {"memlane-work"}


async def test_what_failed_is_not_begun_again_for_who_went(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """A fetch that ends in an error ends there, whoever waited."""
    vendor.failure = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await tenants.get(ACME)
    await io_loop().call(anyio.lowlevel.checkpoint)
    assert vendor.calls == 1


async def test_one_users_denial_is_not_the_tenants(clock: FakeClock) -> None:
    """A token is a user's: a bad one denies its owner, and the tenant stays known good."""
    vendor = Gatekeeper(clock)
    tenants = TenantCredentials(vendor, clock=clock)
    tenants.reject(ACME, await tenants.get(ACME))
    for _ in range(3):
        with pytest.raises(AccessDeniedError):
            await tenants.get(MALLORY)
    assert vendor.calls == 2
    assert not tenants.known_good(MALLORY)
    assert tenants.known_good(ACME)
    assert (await tenants.get(ACME)).access_key == "ASIAacme-3"
    # What is had is the tenant's, for whoever the host lets in.
    assert (await tenants.get(MALLORY)).access_key == "ASIAacme-3"


async def test_a_denial_is_forgotten_by_and_by(clock: FakeClock) -> None:
    """Within the hour, or as soon as the user is served."""
    vendor = Gatekeeper(clock)
    tenants = TenantCredentials(vendor, clock=clock)
    for _ in range(2):
        with pytest.raises(AccessDeniedError):
            await tenants.get(MALLORY)
        clock.advance(timedelta(minutes=59))
        tenants.reject(ACME, await tenants.get(ACME))
        assert not tenants.known_good(MALLORY)
        clock.advance(timedelta(minutes=2))
        tenants.reject(ACME, await tenants.get(ACME))
    assert tenants.known_good(MALLORY)


@pytest.mark.parametrize(
    "refusal", [AccessDeniedError("a bad token"), CredentialsError("no token")]
)
async def test_who_waited_for_a_denied_user_asks_for_themselves(
    clock: FakeClock, refusal: MemlaneError
) -> None:
    """The first of many has a bad token; the others join the asking, and not its end."""
    vendor = Gatekeeper(clock)
    vendor.refusal = refusal
    vendor.gate = threading.Event()
    tenants = TenantCredentials(vendor, clock=clock)
    outcomes: list[object] = []

    async def ask(scope: Scope) -> None:
        try:
            outcomes.append((await tenants.get(scope)).access_key[:8])
        except MemlaneError as error:
            outcomes.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, MALLORY)
        await until(lambda: vendor.calls == 1)
        for number in range(10):
            tasks.start_soon(ask, Scope(f"u{number}", tenant="acme"))
            tasks.start_soon(ask, MALLORY)
        await until(lambda: _waiting(tenants) == 20)
        vendor.gate.set()
    assert outcomes.count("ASIAacme") >= 10
    assert set(outcomes) <= {"ASIAacme", type(refusal)}
    assert sum(scope == MALLORY for scope in vendor.asked) == 1
    assert vendor.calls <= 11


def _waiting(tenants: TenantCredentials) -> int:
    return sum(len(flight.waiting) for flight in tenants._cache._flight._flights.values())


async def test_a_role_is_denied_to_the_tenant(clock: FakeClock) -> None:
    """STS looks at no user: a thousand of one refused tenant are one question in five seconds."""
    sts = Denying()
    host = HostCredentials(StaticCredentials("AKIAHOST", "secret"), clock=clock)
    tenants = TenantCredentials(AssumeRoleCredentials(ROLE, plane=sts, host=host), clock=clock)
    for number in range(20):
        with pytest.raises(AccessDeniedError):
            await tenants.get(Scope(f"u{number}", tenant="acme"))
    assert sts.calls == 1
    users = TenantCredentials(
        AssumeRoleCredentials(ROLE, plane=sts, host=host, per_user=True), per_user=True, clock=clock
    )
    for number in range(20):
        with pytest.raises(AccessDeniedError):
            await users.get(Scope(f"u{number % 2}", tenant="acme"))
    assert sts.calls == 3


async def token(scope: Scope) -> str:
    return f"token-of-{scope.user}"


@pytest.mark.parametrize("per_user", [True, False])
def test_a_cache_and_its_provider_agree_on_users(per_user: bool) -> None:
    """Otherwise one user's session would be handed to all users of the tenant."""
    host = HostCredentials(StaticCredentials("AKIAHOST", "secret"))
    for provider in (
        AssumeRoleCredentials(ROLE, plane=Denying(), host=host, per_user=per_user),
        TokenVendingCredentials("https://example.com/", bearer=token, per_user=per_user),
    ):
        assert TenantCredentials(provider, per_user=per_user).per_user is per_user
        with pytest.raises(ValidationError, match="per_user"):
            TenantCredentials(provider, per_user=not per_user)
    policy = IndexPolicy(BUCKET_ARN, per_user=per_user)
    made_for = AssumeRoleCredentials(
        ROLE, plane=Denying(), host=host, per_user=per_user, policy=policy
    )
    assert made_for.per_user is per_user
    with pytest.raises(ValidationError, match="policy"):
        AssumeRoleCredentials(
            ROLE, plane=Denying(), host=host, per_user=not per_user, policy=policy
        )


@pytest.mark.parametrize("name", ["*", "memory-*", "a/b", "Memory", "", "ab", "x" * 64, "a?c", 5])
def test_a_policys_index_is_one(name: str) -> None:
    """A name with an asterisk is a pattern to IAM, and all tenants' indexes match it."""
    with pytest.raises(ValidationError, match="index"):
        IndexPolicy(BUCKET_ARN, index=name)
    assert "/index/memory-x.y" in IndexPolicy(BUCKET_ARN, index="memory-x.y")(ACME)
    with pytest.raises(ValidationError, match="per_user"):
        IndexPolicy(BUCKET_ARN, index="shared", per_user=True)


@pytest.mark.parametrize(
    "end",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
    ],
)
async def test_an_end_beyond_the_calendar_is_refused(clock: FakeClock, end: datetime) -> None:
    """Some mean "never" by it; that is said by None."""

    async def provider(scope: Scope) -> Credentials:
        return made(scope.user, end)

    with pytest.raises(CredentialsError, match="calendar"):
        await TenantCredentials(provider, clock=clock).get(ACME)
    with pytest.raises(ValidationError, match="None for never"):
        StaticCredentials("AKIA", "secret", "token", end)


async def test_the_last_moment_of_the_calendar_is_an_end(clock: FakeClock) -> None:
    """As late as it is, it can be told."""
    end = datetime.max.replace(tzinfo=UTC)

    async def provider(scope: Scope) -> Credentials:
        return made(scope.user, end)

    assert (await TenantCredentials(provider, clock=clock).get(ACME)).expires_at == end


def test_sts_with_an_end_beyond_the_calendar() -> None:
    """It is an answer that cannot be read, as any other nonsense is."""
    body = (
        "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><Arn>a/b</Arn></AssumedRoleUser>"
        "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>"
        "<SessionToken>T</SessionToken><Expiration>9999-12-31T23:59:59-05:00</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    with pytest.raises(CredentialsError, match="Expiration"):
        read_assumed_role(body.encode())
