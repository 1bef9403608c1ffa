"""The way to a token vending machine: proxies, a company's authority, and what failures tell."""

from __future__ import annotations

import base64
import json
import ssl
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.aws.answering import AnsweringServer, Say
from core.aws.machine import token_of, vended
from core.aws.tunnelling import TunnellingProxy
from memlane.aws.credentials import TenantCredentials, TokenVendingCredentials
from memlane.errors import UnavailableError, ValidationError
from memlane.scope import Scope

TLS = Path(__file__).parent / "tls"
AUTHORITY = str(TLS / "authority.pem")
SECRETS = ("ada-lovelace", "APIKEY77", "BEARER99", "PASSWORD55", "ANSWER33")
ADA = Scope("ada-lovelace", tenant="acme")
ANSWER = Say(body=json.dumps(vended("acme", expiration="2999-01-01T00:00:00Z")).encode())


@pytest.fixture
def secure() -> Iterator[AnsweringServer]:
    """A machine whose certificate no system trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")
    opened = AnsweringServer(context)
    opened.behave = lambda _: ANSWER
    yield opened
    opened.close()


@pytest.fixture
def proxy() -> Iterator[TunnellingProxy]:
    opened = TunnellingProxy()
    yield opened
    opened.close()


async def bearer(_scope: Scope) -> str:
    return "BEARER99"


async def at_once(_seconds: float) -> None:
    pass


def made(url: str, **kwargs: Any) -> TokenVendingCredentials:
    return TokenVendingCredentials(url, bearer=bearer, sleep=at_once, **kwargs)


def told(error: BaseException) -> str:
    """Return all that a log may show of an error, and of all that it comes from."""
    texts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        texts += [repr(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 abc ANSWER33\r\n\r\n",
        b"ANSWER33\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nANSWER33\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nANSWER33",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nANSWER33\r\n\r\n",
        b"",
    ],
)
async def test_an_answer_that_is_none_tells_nothing(
    proxy: TunnellingProxy, method: str, greeting: bytes
) -> None:
    """What was sent and what came back are in no text, repr or cause: users, tokens, keys."""
    proxy.greeting = greeting
    vending = made(f"http://127.0.0.1:{proxy.port}/x?apikey=APIKEY77", method=method, per_user=True)
    with pytest.raises(UnavailableError) as said:
        await TenantCredentials(vending, per_user=True).get(ADA)
    assert not [secret for secret in SECRETS if secret in told(said.value)]
    await vending.aclose()


async def test_a_machine_that_is_silent_tells_nothing(secure: AnsweringServer) -> None:
    """Nor does the timeout."""
    vending = made(
        secure.url.replace("https", "http").replace("localhost", "127.0.0.1") + "?k=APIKEY77",
        method="GET",
        per_user=True,
        timeout=0.05,
    )
    with pytest.raises(UnavailableError, match=r"in time|was closed") as said:
        await vending(ADA)
    assert not [secret for secret in SECRETS if secret in told(said.value)]
    await vending.aclose()


async def test_a_company_trusts_its_own_authority(secure: AnsweringServer) -> None:
    """The file is read on a thread, and what it holds is trusted instead of the system's."""
    vending = made(f"{secure.url}/x", ca_bundle=AUTHORITY)
    await vending.enter()
    assert (await vending(ADA)).access_key == "ASIAacme"
    assert (await vending(ADA)).access_key == "ASIAacme"
    assert secure.connections == 1
    await vending.aclose()


async def test_a_certificate_that_nobody_trusts(secure: AnsweringServer) -> None:
    """It is not asked for again, and the error says what helps."""

    async def never(seconds: float) -> None:
        raise AssertionError(seconds)

    vending = TokenVendingCredentials(f"{secure.url}/x", bearer=bearer, sleep=never)
    with pytest.raises(UnavailableError, match="not trusted") as said:
        await vending(ADA)
    assert "ca_bundle" in str(said.value.remedy)
    assert secure.asked == []
    await vending.aclose()


async def test_a_name_that_is_not_written_in_ascii(proxy: TunnellingProxy) -> None:
    """It is looked up, and asked for, as the world's names are written for that."""
    proxy.refusal = b"407 Proxy Authentication Required"
    vending = made("https://Bücher.example:8443/x", proxy=f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(UnavailableError, match="407"):
        await vending(ADA)
    assert proxy.heads[0].startswith("CONNECT xn--bcher-kva.example:8443 HTTP/1.1\r\n")
    await vending.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "https://two words.example/x",
        "https://" + "ü" * 70 + ".example/x",
        "https:///x",
        "https://ada:PASSWORD55/@store.example/x",
    ],
)
def test_a_name_that_is_none(url: str) -> None:
    """Is refused when it is given, by an error that leads to none of it."""
    with pytest.raises(ValidationError) as caught:
        made(url)
    assert caught.value.__cause__ is None
    assert not [secret for secret in SECRETS if secret in told(caught.value)]


async def test_a_bundle_that_is_none(secure: AnsweringServer) -> None:
    """As for the plane."""
    vending = made(f"{secure.url}/x", ca_bundle="no-such.pem")
    with pytest.raises(ValidationError, match="no-such"):
        await vending(ADA)
    await vending.aclose()


async def test_through_a_proxy(secure: AnsweringServer, proxy: TunnellingProxy) -> None:
    """It sees a host and a port, and who asks; neither token nor tenant."""
    vending = made(
        f"{secure.url}/x?apikey=APIKEY77",
        ca_bundle=AUTHORITY,
        proxy=f"http://ada:PASSWORD55@127.0.0.1:{proxy.port}",
    )
    assert (await vending(ADA)).access_key == "ASIAacme"
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{secure.port} ")
    assert base64.b64encode(b"ada:PASSWORD55").decode() in head
    assert "BEARER99" not in head
    assert [asked.headers["authorization"] for asked in secure.asked] == ["Bearer BEARER99"]
    assert "proxy-authorization" not in secure.asked[0].headers
    await vending.aclose()


@pytest.mark.parametrize("answer", [b"407 Proxy Authentication Required", b"403 No", b"502 Bad"])
async def test_a_proxy_that_refuses(
    secure: AnsweringServer, proxy: TunnellingProxy, answer: bytes
) -> None:
    """Said as the proxy's answer, without its password."""
    proxy.refusal = answer
    vending = made(f"{secure.url}/x", proxy=f"http://ada:PASSWORD55@127.0.0.1:{proxy.port}")
    with pytest.raises(UnavailableError, match=f"the proxy answered {answer[:3].decode()}") as said:
        await vending(ADA)
    assert "proxy" in str(said.value.remedy)
    text = told(said.value)
    assert base64.b64encode(b"ada:PASSWORD55").decode() not in text
    assert "PASSWORD55" not in text
    await vending.aclose()


async def test_no_proxy_reads_a_token_without_tls(proxy: TunnellingProxy) -> None:
    """Plain http is for this machine, where no proxy has to be."""
    machine = AnsweringServer()
    machine.behave = lambda _: ANSWER
    vending = made(f"{machine.url}/x", proxy=f"http://127.0.0.1:{proxy.port}")
    assert (await vending(ADA)).access_key == "ASIAacme"
    assert proxy.heads == []
    assert len(machine.asked) == 1
    await vending.aclose()
    machine.close()


def test_a_proxy_that_is_none() -> None:
    """It is refused at once, and not repeated."""
    with pytest.raises(ValidationError, match="proxy") as said:
        TokenVendingCredentials("https://x/", bearer=token_of, proxy="socks5://u:PASSWORD55@h:1")
    assert "PASSWORD55" not in str(said.value)
