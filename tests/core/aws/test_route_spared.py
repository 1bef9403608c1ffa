"""Each host is asked by the proxy or without it, as NO_PROXY says; and what a URL may be."""

import shutil
import ssl
from pathlib import Path

import pytest

from core.aws.answering import AnsweringServer
from core.aws.planes import CREDENTIALS, QUERY, Planes, planes, server
from memlane.aws.endpoints import Endpoint, Endpoints
from memlane.aws.plane import DataPlane
from memlane.aws.route import Route
from memlane.aws.transport import Transport
from memlane.aws.wire import Request, Timeouts
from memlane.errors import ValidationError

__all__ = ("planes", "server")

TLS = Path(__file__).parent / "tls"
STORE = Endpoint("https", "s3vectors.eu-central-1.api.aws")
MODEL = Endpoint("https", "bedrock-runtime.eu-central-1.amazonaws.com")
ASSUME = Request("sts", "AssumeRole", "/", b"Action=AssumeRole")


@pytest.mark.parametrize(
    ("spared", "endpoint", "is_proxied"),
    [
        ("", STORE, True),
        ("*", STORE, False),
        (".amazonaws.com", STORE, True),
        (".amazonaws.com", MODEL, False),
        ("amazonaws.com", MODEL, False),
        ("*.AmazonAWS.com", MODEL, False),
        ("zonaws.com", MODEL, True),
        (".", MODEL, True),
        (MODEL.host, MODEL, False),
        (f"{MODEL.host}:443", MODEL, False),
        (f"{MODEL.host}:8443", MODEL, True),
        (".api.aws:443", STORE, False),
        ("h:8001", Endpoint("https", "h:8001"), False),
        ("h", Endpoint("https", "h:8001"), False),
        ("h:443", Endpoint("https", "h:8001"), True),
        ("10.0.0.0/8", Endpoint("https", "10.1.2.3"), False),
        ("10.0.0.0/8", Endpoint("https", "11.1.2.3"), True),
        ("10.0.0.0/8", STORE, True),
        ("10.1.2.3", Endpoint("https", "10.1.2.3:8001"), False),
        ("10.1.2.3:8001", Endpoint("https", "10.1.2.3:8001"), False),
        ("10.1.2.3:8002", Endpoint("https", "10.1.2.3:8001"), True),
        ("2.3", Endpoint("https", "10.1.2.3"), True),
        ("::1", Endpoint("https", "[::1]:8001"), False),
        ("[::1]", Endpoint("https", "[::1]:8001"), False),
        ("fd00::/8", Endpoint("https", "[fd00::7]"), False),
        ("fd00::/8", Endpoint("https", "[fe00::7]"), True),
        ("http://*", Endpoint("http", "127.0.0.1:8001"), False),
        ("http://*", STORE, True),
        ("localhost", Endpoint("http", "localhost:8001"), False),
    ],
)
def test_who_is_spared(spared: str, endpoint: Endpoint, is_proxied: bool) -> None:
    """By name and what ends on it, port, address and network; one among others too."""
    for names in ([spared], ["other.example", f" {spared} "]):
        route = Route(None, "http://proxy:3128", names)
        for _ in range(2):
            assert (route.proxy_for(endpoint) is not None) == is_proxied


@pytest.mark.anyio
async def test_one_is_spared_and_another_is_not(server: AnsweringServer, planes: Planes) -> None:
    """Of the same plane."""
    plane = await planes.make(
        endpoint_urls={"*": "http://store.example", "sts": server.url},
        proxy=server.url,
        no_proxy=["127.0.0.1"],
    )
    await plane.call(QUERY, CREDENTIALS)
    await plane.call(ASSUME, CREDENTIALS)
    assert [asked.target for asked in server.asked] == ["http://store.example/QueryVectors", "/"]


@pytest.mark.parametrize("url", ["http://ada:password@ho st:1", "http://ada:password@h!st"])
def test_a_proxy_whose_host_is_none(url: str) -> None:
    """Refused at once, and not repeated."""
    with pytest.raises(ValidationError, match="the proxy's URL") as caught:
        DataPlane(region="us-east-1", proxy=url)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("host", ["proxy_1.example", "10.0.0.1", "[fe80::1]", "prøxy.example"])
def test_a_proxy_whose_host_is_one(host: str) -> None:
    """Of every kind there is."""
    assert Route(None, f"http://{host}:3128").proxy is not None


@pytest.mark.anyio
async def test_a_directory_of_authorities(planes: Planes, tmp_path: Path) -> None:
    """As OpenSSL's c_rehash makes them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")
    shutil.copy(TLS / "authority.pem", tmp_path / "b4307dc4.0")
    secure = AnsweringServer(context)
    try:
        plane = await planes.make(endpoint_urls={"*": secure.url}, ca_bundle=str(tmp_path))
        await plane.call(QUERY, CREDENTIALS)
    finally:
        secure.close()


@pytest.mark.anyio
@pytest.mark.parametrize("prefix", ["/gateway", "/gateway/", "/a/b%20c"])
async def test_a_prefix_comes_before_every_path(
    server: AnsweringServer, planes: Planes, prefix: str
) -> None:
    """The root's too: what is signed is what is asked."""
    plane = await planes.make(endpoint_urls={"*": server.url + prefix})
    await plane.call(QUERY, CREDENTIALS)
    await plane.call(ASSUME, CREDENTIALS)
    bare = prefix.rstrip("/")
    assert [asked.target for asked in server.asked] == [f"{bare}/QueryVectors", bare]


@pytest.mark.parametrize("url", ["http://h//a", "http://h/a/../b", "http://h/a%2", "http://h/a b"])
def test_a_prefix_that_cannot_be_signed(url: str) -> None:
    """Is told when the plane is made, not at the first call."""
    with pytest.raises(ValidationError, match="endpoint URL"):
        Endpoints("us-east-1", {"*": url})


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_target_is_one_endpoints_alone() -> None:
    """Two may differ in the scheme, or in what comes before the path."""
    transport = Transport(concurrency=1, timeouts=Timeouts())
    endpoints = [
        Endpoint(scheme, "h", prefix) for scheme in ("http", "https") for prefix in ("", "/a")
    ]
    for _ in range(2):
        heads = [transport._head(endpoint, QUERY, {}) for endpoint in endpoints]
        assert [head.split(b" ")[1].decode() for head in heads] == [
            f"{endpoint.prefix}/QueryVectors" for endpoint in endpoints
        ]
    await transport.aclose()
