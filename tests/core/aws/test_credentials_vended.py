"""A token vending machine is believed about the tenant that was asked for, and about no other."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import anyio
import pytest

from core.aws.machine import VendingMachine, fails, raw, says, token_of, vended, without
from memlane.aws.credentials import TenantCredentials, TokenVendingCredentials
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    IsolationError,
    MemlaneError,
    ScopeError,
    ThrottledError,
    UnavailableError,
    ValidationError,
)
from memlane.layout import tenant_code, user_code
from memlane.protocols import CredentialProvider
from memlane.scope import Scope
from memlane.testing import FakeClock

ACME = Scope("ada", tenant="acme")
END = datetime(2026, 3, 14, 10, 26, 53, tzinfo=UTC)


@pytest.fixture(scope="module")
def serving() -> Iterator[VendingMachine]:
    machine = VendingMachine()
    yield machine
    machine.close()


@pytest.fixture
def machine(serving: VendingMachine) -> VendingMachine:
    for seen in (serving.asked, serving.headers, serving.answers):
        seen.clear()
    return serving


@pytest.fixture
async def vending(machine: VendingMachine) -> TokenVendingCredentials:
    return made(machine)


async def at_once(_seconds: float) -> None:
    pass


def made(
    machine: VendingMachine, bearer: Callable[[Scope], Awaitable[str]] = token_of, **kwargs: object
) -> TokenVendingCredentials:
    return TokenVendingCredentials(machine.url, bearer=bearer, sleep=at_once, **kwargs)  # type: ignore[arg-type]


async def test_a_tenants_token_buys_its_credentials(
    vending: TokenVendingCredentials, machine: VendingMachine
) -> None:
    """The bearer of the scope goes along, and what comes back is the tenant's."""
    got = await vending(ACME)
    assert (got.access_key, got.secret_key, got.session_token) == (
        "ASIAacme",
        "secret-acme",
        "token-acme",
    )
    assert got.expires_at == END
    assert machine.asked == [
        {"method": "POST", "path": "/credentials", "tenantId": "acme", "tenantCode": "acme"}
    ]
    assert machine.headers[0]["Authorization"] == "Bearer token-of-acme"
    await vending.aclose()


async def test_no_cookie_of_one_tenant_is_sent_for_another(machine: VendingMachine) -> None:
    """What the machine would remember a caller by is forgotten with the answer."""
    url = machine.url.replace("127.0.0.1", "localhost")
    vending = TokenVendingCredentials(url, bearer=token_of)
    machine.then(raw(json.dumps(vended("acme")).encode(), **{"Set-Cookie": "tenant=acme; Path=/"}))
    await vending(ACME)
    await vending(Scope("bob", tenant="other"))
    assert len(machine.headers) == 2
    assert all("Cookie" not in headers for headers in machine.headers)
    await vending.aclose()


async def test_get_asks_in_the_query(machine: VendingMachine) -> None:
    """A machine that reads no body is asked by GET; ids arrive as they are."""
    scope = Scope("ä &+/", tenant="Acme & Söhne/+")
    machine.then(lambda asked: says(**vended(asked["tenantId"], userId=asked["userId"]))({}))
    vending = made(machine, bearer=lambda _: token_of(ACME), method="GET", per_user=True)
    await vending(scope)
    assert machine.asked == [
        {
            "method": "GET",
            "path": "/credentials",
            "tenantId": scope.tenant,
            "tenantCode": tenant_code(scope.tenant),
            "userId": scope.user,
            "userCode": user_code(scope.tenant, scope.user),
        }
    ]
    await vending.aclose()


async def test_a_code_is_not_taken_for_an_id(machine: VendingMachine) -> None:
    """A tenant may be named as another one's code; its credentials are not the other's."""
    victim = Scope("ada", tenant="Acme")
    code = tenant_code("Acme")
    vending = made(machine)
    machine.then(says(**vended(code)))
    with pytest.raises(IsolationError):
        await vending(victim)
    machine.then(says(**vended("Acme", tenantCode=code)))
    assert (await vending(victim)).access_key
    await vending.aclose()


async def test_an_unnamed_answer_is_believed_when_told_so(machine: VendingMachine) -> None:
    """`trust_unnamed` takes silence for consent, and still no other name."""
    vending = made(machine, trust_unnamed=True)
    machine.then(says(**without("tenantId")), says(**vended("other")))
    assert (await vending(ACME)).access_key
    with pytest.raises(IsolationError):
        await vending(ACME)
    await vending.aclose()


@pytest.mark.parametrize("named", [{}, {"userId": "bob"}, {"userCode": "u--other"}])
async def test_another_users_answer_is_refused(
    machine: VendingMachine, named: dict[str, object]
) -> None:
    """With `per_user` an answer must be about the user as well."""
    vending = made(machine, per_user=True)
    machine.then(says(**vended("acme", **named)), says(**vended("acme", userId="ada")))
    with pytest.raises(IsolationError):
        await vending(ACME)
    assert (await vending(ACME)).access_key
    await vending.aclose()


@pytest.mark.parametrize(
    ("status", "kind", "asked"),
    [
        (301, CredentialsError, 1),
        (307, CredentialsError, 1),
        (400, CredentialsError, 1),
        (401, AccessDeniedError, 1),
        (403, AccessDeniedError, 1),
        (404, CredentialsError, 1),
        (408, UnavailableError, 3),
        (429, ThrottledError, 3),
        (500, UnavailableError, 3),
        (503, UnavailableError, 3),
    ],
)
async def test_each_status_is_one_kind_of_error(
    vending: TokenVendingCredentials,
    machine: VendingMachine,
    status: int,
    kind: type[MemlaneError],
    asked: int,
) -> None:
    """A redirect is not followed; what may pass is tried again, and the rest is not."""
    machine.then(*[fails(status, Location=f"{machine.url}/elsewhere")] * 3)
    with pytest.raises(kind) as said:
        await vending(ACME)
    assert str(status) in str(said.value)
    assert "LEAK" not in str(said.value)
    assert len(machine.asked) == asked
    assert {request["path"] for request in machine.asked} == {"/credentials"}
    await vending.aclose()


async def test_a_failure_that_passes_is_not_noticed(
    vending: TokenVendingCredentials, machine: VendingMachine
) -> None:
    """The second or third attempt may do, each with a token of its own."""
    machine.then(fails(503), fails(429))
    assert (await vending(ACME)).access_key == "ASIAacme"
    await vending.aclose()


@pytest.mark.parametrize("packed", [{}, {"Content-Encoding": "gzip"}])
async def test_only_64_kb_are_read(
    vending: TokenVendingCredentials, machine: VendingMachine, packed: dict[str, str]
) -> None:
    """A page, a file or a bomb is not taken in."""
    machine.then(raw(json.dumps(vended("acme", note="x" * 66_000)).encode(), **packed))
    with pytest.raises(CredentialsError, match="longer"):
        await vending(ACME)
    assert (await vending(ACME)).access_key
    await vending.aclose()


async def test_a_machine_that_is_not_there(machine: VendingMachine) -> None:
    """No answer is an UnavailableError with its cause."""
    refused = TokenVendingCredentials("http://127.0.0.1:1/", bearer=token_of, sleep=at_once)
    with pytest.raises(UnavailableError) as said:
        await refused(ACME)
    assert said.value.__cause__ is not None
    await refused.aclose()
    del machine


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "é", None, b"bytes", "x" * 20_000])
async def test_what_is_no_token_is_not_sent(machine: VendingMachine, token: object) -> None:
    """A bearer becomes a header; nothing that would break out of it does."""

    async def bearer(_scope: Scope) -> str:
        return token  # type: ignore[return-value]

    with pytest.raises(CredentialsError, match="no token"):
        await made(machine, bearer=bearer)(ACME)
    assert machine.asked == []


async def test_a_failing_bearer(machine: VendingMachine) -> None:
    """Its own memlane errors pass; others are wrapped, not quoted."""

    async def broken(_scope: Scope) -> str:
        raise KeyError("LEAK")

    async def denied(_scope: Scope) -> str:
        raise AccessDeniedError("not this one")

    with pytest.raises(CredentialsError, match="KeyError") as said:
        await made(machine, bearer=broken)(ACME)
    assert "LEAK" not in str(said.value)
    with pytest.raises(AccessDeniedError):
        await made(machine, bearer=denied)(ACME)


async def test_a_scope_without_tenant(machine: VendingMachine) -> None:
    """It is refused unless it was said that it has credentials too."""
    with pytest.raises(ScopeError, match="tenant"):
        await made(machine)(Scope("ada"))
    assert machine.asked == []
    lane = made(machine, allow_no_tenant=True)
    code = tenant_code(None)
    machine.then(says(**vended(None, accessKeyId="ASIALANE", tenantCode=code)), says(**vended("x")))
    assert (await lane(Scope("ada"))).access_key == "ASIALANE"
    with pytest.raises(IsolationError):
        await lane(Scope("ada"))
    await lane.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "ftp://localhost/x",
        "https://",
        "https://user:password@example.com/",
        "https://example.com/#part",
        "https://example.com:99999/",
        "https://[::1",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "//example.com",
        "",
        None,
    ],
)
def test_urls_that_tokens_are_not_sent_to(url: str) -> None:
    """Plain http leaves this machine with nobody's token, and the URL itself is not repeated."""
    with pytest.raises(ValidationError) as said:
        TokenVendingCredentials(url, bearer=token_of)
    assert "password@" not in str(said.value)


@pytest.mark.parametrize(
    "url",
    ["https://example.com/x?y=z", "http://localhost:1/", "http://[::1]/", "http://127.9.9.9/"],
)
def test_urls_that_tokens_are_sent_to(url: str) -> None:
    """Https anywhere, http here."""
    assert isinstance(TokenVendingCredentials(url, bearer=token_of), CredentialProvider)


def test_methods_are_two() -> None:
    """Others have no meaning here."""
    with pytest.raises(ValidationError, match="method"):
        TokenVendingCredentials("https://x/", bearer=token_of, method="PUT")  # type: ignore[arg-type]


async def test_a_hundred_callers_of_ten_tenants_ask_ten_times(
    vending: TokenVendingCredentials, machine: VendingMachine, clock: FakeClock
) -> None:
    """Behind the cache, each tenant's token is sent once and its answer goes to its callers."""
    tenants = TenantCredentials(vending, clock=clock)
    await vending.enter()

    async def ask(number: int) -> None:
        tenant = f"t{number % 10}"
        assert (await tenants.get(Scope("u", tenant=tenant))).access_key == f"ASIA{tenant}"

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(ask, number)
    assert len(machine.asked) == 10
    await vending.aclose()
