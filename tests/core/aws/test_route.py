"""Real TLS: whom a plane believes, what it says when it does not, and proxies in between."""

import base64
import ssl
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.aws.answering import AnsweringServer, Say
from core.aws.planes import CREATE, CREDENTIALS, QUERY, Planes, planes, server
from core.aws.tunnelling import TunnellingProxy
from memlane.aws.plane import DataPlane
from memlane.aws.wire import Request, RetryPolicy
from memlane.errors import UnavailableError, ValidationError

__all__ = ("planes", "server")

TLS = Path(__file__).parent / "tls"
AUTHORITY = str(TLS / "authority.pem")
PEM = Path(AUTHORITY).read_text()


@pytest.fixture
def secure() -> Iterator[AnsweringServer]:
    """A server whose certificate no system trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")
    opened = AnsweringServer(context)
    yield opened
    opened.close()


@pytest.fixture
def proxy() -> Iterator[TunnellingProxy]:
    """A proxy that asks nobody who they are."""
    opened = TunnellingProxy()
    yield opened
    opened.close()


async def never(seconds: float) -> None:
    """Fail: what these tests see is not asked for again."""
    raise AssertionError(seconds)


async def test_trusted_by_a_bundle(secure: AnsweringServer, planes: Planes) -> None:
    """A company's own authority; the connection is kept like any other."""
    plane = await planes.make(endpoint_urls={"*": secure.url}, ca_bundle=AUTHORITY)
    secure.behave = lambda asked: Say(body=asked.body)
    for _ in range(3):
        assert (await plane.call(QUERY, CREDENTIALS)).body == QUERY.body
    assert secure.connections == 1


async def test_a_large_body_over_tls(secure: AnsweringServer, planes: Planes) -> None:
    """It arrives whole there too."""
    plane = await planes.make(endpoint_urls={"*": secure.url}, ca_bundle=AUTHORITY)
    body = b"".join(b"%07d," % number for number in range(300_000))
    await plane.call(Request("s3vectors", "PutVectors", "/PutVectors", body), CREDENTIALS)
    assert secure.asked[0].body == body


async def test_a_certificate_that_nobody_trusts(
    secure: AnsweringServer, planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking again would change nothing, so nobody does; the error says what would."""
    handshakes = _count_handshakes(monkeypatch)
    plane = await planes.make(endpoint_urls={"*": secure.url}, sleep=never)
    with pytest.raises(UnavailableError, match="not trusted: unable to get local issuer") as caught:
        await plane.call(QUERY, CREDENTIALS)
    assert "ca_bundle" in str(caught.value.remedy)
    assert (secure.asked, len(handshakes)) == ([], 1)


async def test_a_certificate_of_another_host(secure: AnsweringServer, planes: Planes) -> None:
    """Its authority being trusted is not enough."""
    url = secure.url.replace("localhost", "127.0.0.1")
    plane = await planes.make(endpoint_urls={"*": url}, ca_bundle=AUTHORITY)
    with pytest.raises(UnavailableError, match="not trusted: IP address mismatch"):
        await plane.call(QUERY, CREDENTIALS)
    assert secure.asked == []


async def test_https_where_no_tls_is_spoken(proxy: TunnellingProxy, planes: Planes) -> None:
    """That is a wrong URL, and not the weather."""
    proxy.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    plane = await planes.make(
        endpoint_urls={"*": f"https://localhost:{proxy.port}"}, ca_bundle=AUTHORITY, sleep=never
    )
    with pytest.raises(UnavailableError, match="no TLS") as caught:
        await plane.call(QUERY, CREDENTIALS)
    assert "scheme" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["there-is-none.pem", "__init__.py"])
async def test_a_bundle_without_certificates(
    planes: Planes, secure: AnsweringServer, tmp_path: Path, name: str
) -> None:
    """Said by name; and once it is there, the same plane works."""
    path = tmp_path / name
    if name.endswith(".py"):
        path.write_text("no certificate")
    plane = await planes.make(endpoint_urls={"*": secure.url}, ca_bundle=str(path))
    with pytest.raises(ValidationError, match=name):
        await plane.call(QUERY, CREDENTIALS)
    path.write_text(PEM)
    await plane.call(QUERY, CREDENTIALS)


async def test_a_bundle_is_read_once_and_elsewhere(
    planes: Planes, secure: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system's bundle takes 20 ms, which no event loop has."""
    readers: list[str] = []
    make = ssl.create_default_context

    def noting(**options: Any) -> ssl.SSLContext:
        readers.append(threading.current_thread().name)
        return make(**options)

    monkeypatch.setattr(ssl, "create_default_context", noting)
    plane = await planes.make(endpoint_urls={"*": secure.url}, ca_bundle=AUTHORITY)
    await plane.call(QUERY, CREDENTIALS)
    await plane.aclose()
    await plane.call(QUERY, CREDENTIALS)
    assert [name.startswith("memlane-aws") for name in readers] == [True]


async def test_through_a_proxy(
    secure: AnsweringServer, proxy: TunnellingProxy, planes: Planes
) -> None:
    """It sees a host and a port; what is asked there goes by it encrypted, on one tunnel."""
    secure.behave = lambda asked: Say(body=asked.body)
    plane = await planes.make(
        endpoint_urls={"*": secure.url},
        ca_bundle=AUTHORITY,
        proxy=f"http://ada:p%40ss@127.0.0.1:{proxy.port}",
    )
    for _ in range(3):
        assert (await plane.call(QUERY, CREDENTIALS)).body == QUERY.body
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{secure.port} HTTP/1.1\r\n")
    token = base64.b64encode(b"ada:p@ss").decode()
    assert f"Proxy-Authorization: Basic {token}\r\n" in head
    assert "AWS4" not in head
    assert all("proxy-authorization" not in asked.headers for asked in secure.asked)


async def test_without_tls_there_is_no_tunnel(server: AnsweringServer, planes: Planes) -> None:
    """The proxy is asked for the whole URL, and told who asks."""
    plane = await planes.make(
        endpoint_urls={"*": "http://store.example:4566"},
        proxy=server.url.replace("//", "//ada:p%40ss@"),
    )
    await plane.call(QUERY, CREDENTIALS)
    (asked,) = server.asked
    assert asked.target == "http://store.example:4566/QueryVectors"
    assert asked.headers["host"] == "store.example:4566"
    assert base64.b64decode(asked.headers["proxy-authorization"].split()[1]) == b"ada:p@ss"
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert "proxy-authorization" not in asked.headers["authorization"]


async def test_a_proxy_that_refuses(
    secure: AnsweringServer, proxy: TunnellingProxy, planes: Planes
) -> None:
    """Once is enough, and no password gets into the error or what it comes from."""
    proxy.refusal = b"407 Proxy Authentication Required"
    plane = await planes.make(
        endpoint_urls={"*": secure.url},
        proxy=f"http://ada:password@127.0.0.1:{proxy.port}",
        sleep=never,
    )
    with pytest.raises(UnavailableError, match="the proxy answered 407") as caught:
        await plane.call(QUERY, CREDENTIALS)
    assert "proxy" in str(caught.value.remedy)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__cause__ is None
    assert "password" not in told.replace("ada:password@127", "")
    assert base64.b64encode(b"ada:password").decode() not in told


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_proxys_password_is_told_to_nobody(
    secure: AnsweringServer, proxy: TunnellingProxy, planes: Planes, is_there: bool
) -> None:
    """It is in nothing that is raised, not even in what only `repr` shows."""
    port = proxy.port if is_there else 1
    plane = await planes.make(
        endpoint_urls={"*": secure.url},
        proxy=f"http://ada:password@127.0.0.1:{port}",
        retries=RetryPolicy(attempts=1),
    )
    with pytest.raises(UnavailableError, match="not trusted" if is_there else "no conn") as caught:
        await plane.call(QUERY, CREDENTIALS)
    error: BaseException | None = caught.value
    while error is not None:
        assert "password" not in repr(error)
        error = error.__cause__


async def test_a_proxy_that_finds_nobody(
    secure: AnsweringServer, proxy: TunnellingProxy, planes: Planes
) -> None:
    """That may pass: nothing was sent, so it is tried again whatever it is."""
    proxy.refusal = b"503 Service Unavailable"

    async def recover(_: float) -> None:
        proxy.refusal = None

    plane = await planes.make(
        endpoint_urls={"*": secure.url},
        ca_bundle=AUTHORITY,
        proxy=f"http://127.0.0.1:{proxy.port}",
        sleep=recover,
    )
    await plane.call(CREATE, CREDENTIALS)
    assert len(proxy.heads) == 2


@pytest.mark.parametrize(
    "url",
    [
        "proxy.example.com:3128",
        "socks5://ada:password@h:1",
        "http://:password@",
        "http://h:x",
        "http://ada:password\udcff@h:1",
    ],
)
def test_a_proxy_that_is_none(url: str) -> None:
    """Refused without being repeated, for it may have a password."""
    with pytest.raises(ValidationError, match="the proxy's URL") as caught:
        DataPlane(region="us-east-1", proxy=url)
    assert caught.value.__context__ is None
    assert "password" not in str(caught.value)


def _count_handshakes(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    begun: list[None] = []
    wrap = ssl.SSLContext.wrap_bio

    def noting(context: ssl.SSLContext, *args: Any, **options: Any) -> ssl.SSLObject:
        if not (args[2] if len(args) > 2 else options.get("server_side")):
            begun.append(None)
        return wrap(context, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_bio", noting)
    return begun
