"""Credentials are renewed before they end, by use, while callers go on with what is valid."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from core.aws.providers import Vendor, made, until
from memlane.aws.credentials import (
    HostCredentials,
    TenantCredentials,
)
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    DeadlineExceededError,
    IsolationError,
    MemlaneError,
    RequestRejectedError,
    UnavailableError,
)
from memlane.protocols import Credentials
from memlane.scope import Scope
from memlane.testing import FakeClock

ACME = Scope("ada", tenant="acme")


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


@pytest.fixture
def vendor(clock: FakeClock) -> Vendor:
    return Vendor(clock)


@pytest.fixture
def tenants(vendor: Vendor, clock: FakeClock) -> TenantCredentials:
    return TenantCredentials(vendor, clock=clock, random=lambda: 0.0)


def is_renewing(tenants: TenantCredentials) -> bool:
    return tenants._cache._kept["acme"].renewing


async def rested(tenants: TenantCredentials) -> None:
    await until(lambda: not is_renewing(tenants))


@pytest.mark.parametrize(
    ("life", "jitter", "renewed_after"),
    [
        (minutes(15), 0.0, minutes(10)),
        (minutes(15), 1.0, minutes(8.5)),
        (minutes(60), 0.0, minutes(45)),
        (minutes(60), 1.0, minutes(39)),
        (minutes(4), 0.0, minutes(2)),
        (minutes(720), 0.0, minutes(540)),
    ],
)
async def test_use_renews_before_the_end(
    vendor: Vendor, clock: FakeClock, life: timedelta, jitter: float, renewed_after: timedelta
) -> None:
    """Five minutes or a quarter ahead, and earlier by chance; nothing is begun before that."""
    vendor.life = life
    tenants = TenantCredentials(vendor, clock=clock, random=lambda: jitter)
    first = await tenants.get(ACME)
    clock.advance(renewed_after - timedelta(seconds=1))
    assert tenants.peek(ACME) is first
    assert not is_renewing(tenants)
    clock.advance(timedelta(seconds=2))
    assert tenants.peek(ACME) is first
    await until(lambda: tenants.peek(ACME) is not first)
    assert vendor.threads[1:] == ["memlane-work"]


async def test_what_nobody_uses_is_not_renewed(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """Time alone fetches nothing."""
    await tenants.get(ACME)
    clock.advance(minutes(14))
    await tenants.get(Scope("u", tenant="other"))
    assert [scope and scope.tenant for scope in vendor.asked] == ["acme", "other"]


async def test_many_uses_begin_one_renewal(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """A renewal under way is not begun again, and nobody waits for it."""
    first = await tenants.get(ACME)
    vendor.gate = threading.Event()
    clock.advance(minutes(11))
    for _ in range(100):
        assert tenants.peek(ACME) is first
        assert await tenants.get(ACME) is first
    await until(lambda: vendor.calls == 2)
    vendor.gate.set()
    await until(lambda: tenants.peek(ACME) is not first)
    assert vendor.calls == 2


async def test_what_is_valid_survives_failed_renewals(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A service down for a minute is in the log, at bounded intervals, and in no caller's way."""
    first = await tenants.get(ACME)
    clock.advance(minutes(11))
    vendor.failure = UnavailableError("down", remedy="wait")
    with caplog.at_level(logging.WARNING):
        for _ in range(60):
            clock.advance(timedelta(seconds=1))
            assert await tenants.get(ACME) is first
            await rested(tenants)
    # At once, and after pauses of 2.5, 5, 10, 20 and 30 seconds; the sixth is beyond the minute.
    assert 4 <= vendor.calls - 1 <= 6
    assert len(caplog.records) == vendor.calls - 1
    assert "UnavailableError" in caplog.text
    assert "ASIA" not in caplog.text
    vendor.failure = None
    clock.advance(timedelta(seconds=60))
    assert tenants.peek(ACME) is first
    await until(lambda: tenants.peek(ACME) is not first)


@pytest.mark.parametrize("failure", [AccessDeniedError("gone"), IsolationError("another's")])
async def test_a_denied_renewal_leaves_what_is_valid(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock, failure: MemlaneError
) -> None:
    """A role that was deleted is refused by the service itself; that is not guessed here."""
    first = await tenants.get(ACME)
    clock.advance(minutes(11))
    vendor.failure = failure
    assert tenants.peek(ACME) is first
    await until(lambda: vendor.calls == 2)
    await rested(tenants)
    assert await tenants.get(ACME) is first


async def test_nothing_is_used_to_its_very_end(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """A minute before the end they count as ended: a call that begins then still takes a while."""
    first = await tenants.get(ACME)
    vendor.failure = UnavailableError("down", remedy="wait")
    clock.advance(minutes(14) - timedelta(seconds=1))
    assert tenants.peek(ACME) is first
    await rested(tenants)
    clock.advance(timedelta(seconds=1))
    assert tenants.peek(ACME) is None
    with pytest.raises(UnavailableError):
        await tenants.get(ACME)
    vendor.failure = None
    assert await tenants.get(ACME) != first


async def test_credentials_that_name_no_end_are_asked_for_again(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """Ten minutes later, in the background; they stay in use however long that fails."""
    vendor.life = None
    first = await tenants.get(ACME)
    clock.advance(minutes(9.9))
    assert tenants.peek(ACME) is first
    vendor.failure = OSError("disk")
    clock.advance(minutes(1))
    assert tenants.peek(ACME) is first
    await until(lambda: vendor.calls == 2)
    await rested(tenants)
    clock.advance(minutes(6_000))
    vendor.failure = None
    assert tenants.peek(ACME) is first
    await until(lambda: tenants.peek(ACME) is not first)


async def test_the_host_has_one_set(vendor: Vendor, clock: FakeClock) -> None:
    """The host's cache fetches once, renews, and fetches again what was rejected."""
    host = HostCredentials(vendor, clock=clock, random=lambda: 0.0)
    assert host.peek() is None
    first = await host.get()
    assert await host.get() is first
    assert host.peek() is first
    host.reject(first)
    second = await host.get()
    assert second != first
    clock.advance(minutes(11))
    assert host.peek() is second
    await until(lambda: host.peek() not in {None, second})
    assert vendor.calls == 3


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (AccessDeniedError("no"), 5),
        (IsolationError("another's"), 5),
        (RequestRejectedError("malformed"), 5),
        (CredentialsError("nobody to ask"), 1),
    ],
)
async def test_a_denial_is_remembered_for_seconds(
    tenants: TenantCredentials,
    vendor: Vendor,
    clock: FakeClock,
    failure: MemlaneError,
    seconds: float,
) -> None:
    """It is said again without asking, to each caller anew, and to nobody of another tenant."""
    vendor.failure = failure
    with pytest.raises(type(failure)):
        await tenants.get(ACME)
    clock.advance(timedelta(seconds=seconds - 0.01))
    said = []
    for _ in range(2):
        with pytest.raises(type(failure)) as again:
            await tenants.get(ACME)
        said.append(again.value)
    assert len({id(error) for error in (failure, *said)}) == 3
    # Frames hold what was asked with: nothing of them is kept.
    assert tenants._cache._failures["acme", "ada"][0].__traceback__ is None
    assert vendor.calls == 1
    with pytest.raises(type(failure)):
        await tenants.get(Scope("u", tenant="other"))
    assert vendor.calls == 2
    clock.advance(timedelta(seconds=0.02))
    vendor.failure = None
    assert (await tenants.get(ACME)).access_key
    assert vendor.calls == 3


async def test_an_outage_is_not_remembered(tenants: TenantCredentials, vendor: Vendor) -> None:
    """What may be over by now is asked again."""
    vendor.failure = UnavailableError("down")
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await tenants.get(ACME)
    vendor.failure = None
    assert (await tenants.get(ACME)).access_key
    assert vendor.calls == 4


async def test_a_denied_tenant_is_not_known_good(
    tenants: TenantCredentials, vendor: Vendor, clock: FakeClock
) -> None:
    """Who was refused is not warmed, neither while that is remembered nor later."""
    tenants.reject(ACME, await tenants.get(ACME))
    vendor.failure = AccessDeniedError("offboarded")
    with pytest.raises(AccessDeniedError):
        await tenants.get(ACME)
    assert not tenants.known_good(ACME)
    clock.advance(timedelta(seconds=6))
    vendor.failure = None
    tenants.warm(ACME)
    await tenants.get(ACME)
    assert vendor.calls == 3


async def test_waiting_callers_share_a_failure(tenants: TenantCredentials, vendor: Vendor) -> None:
    """One asking fails for all who waited for it, and each has an error of their own."""
    vendor.gate = threading.Event()
    vendor.failure = AccessDeniedError("no", service="sts", code="AccessDenied", status=403)
    errors: list[AccessDeniedError] = []

    async def ask() -> None:
        with pytest.raises(AccessDeniedError) as said:
            await tenants.get(ACME)
        errors.append(said.value)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
        await until(lambda: vendor.calls == 1)
        vendor.gate.set()
    assert vendor.calls == 1
    assert len(set(map(id, errors))) == 20
    assert {error.code for error in errors} == {"AccessDenied"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "not Credentials"),
        ({"access_key": "a"}, "not Credentials"),
        (Credentials(access_key="", secret_key="s"), "access_key"),
        (Credentials(access_key="A", secret_key="s\r\nX: y"), "secret_key"),
        (Credentials(access_key="A", secret_key="s", session_token="é"), "session_token"),
        (Credentials(access_key="A", secret_key="s", expires_at=datetime(2030, 1, 1)), "aware"),  # noqa: DTZ001
        (made("old", datetime(2020, 1, 1, tzinfo=UTC)), "ended already"),
    ],
)
async def test_what_cannot_be_signed_with_is_refused(
    clock: FakeClock, answer: object, words: str
) -> None:
    """A provider's answer is checked before a request goes out with it; the error quotes no key."""

    async def provider(scope: Scope) -> Credentials:
        assert scope is ACME
        return answer  # type: ignore[return-value]

    tenants = TenantCredentials(provider, clock=clock)
    with pytest.raises(CredentialsError, match=words) as said:
        await tenants.get(ACME)
    assert "X: y" not in str(said.value)
    assert said.value.remedy


async def test_a_failing_provider_is_one_kind_of_error(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """Whatever somebody's code raises is a CredentialsError here, with the cause and no quote."""
    vendor.failure = KeyError("secret-thing")
    with pytest.raises(CredentialsError, match="KeyError") as said:
        await tenants.get(ACME)
    assert said.value.__cause__ is vendor.failure
    assert "secret-thing" not in str(said.value)


async def test_a_provider_that_hangs_is_given_up(clock: FakeClock) -> None:
    """A bound holds even for callers who have none."""

    async def provider(scope: Scope) -> Credentials:
        await anyio.sleep_forever()
        raise AssertionError(scope)

    tenants = TenantCredentials(provider, clock=clock, timeout=0.01)
    with pytest.raises(CredentialsError, match="did not answer"):
        await tenants.get(ACME)


async def test_a_providers_own_deadline_stays_its_own(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """It is not taken for the bound of the cache."""
    vendor.failure = DeadlineExceededError("not finished within 1 seconds")
    with pytest.raises(DeadlineExceededError, match="within 1 seconds"):
        await tenants.get(ACME)
    vendor.failure = TimeoutError("its own")
    with pytest.raises(CredentialsError, match="TimeoutError"):
        await tenants.get(ACME)


async def test_a_cancelled_caller_leaves_the_others_served(
    tenants: TenantCredentials, vendor: Vendor
) -> None:
    """Who fetches for all may go: another one takes over."""
    vendor.gate = threading.Event()
    got: list[Credentials] = []

    async def ask() -> None:
        got.append(await tenants.get(ACME))

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as first:
            tasks.start_soon(ask)
            async with anyio.create_task_group() as leading:
                leading.start_soon(tenants.get, ACME)
                await until(lambda: vendor.calls >= 1)
                tasks.start_soon(ask)
                first.cancel()
        vendor.gate.set()
    assert len(got) == 2
