"""Whatever goes wrong on the wire, no error leads to what was sent."""

import traceback
from collections.abc import Iterator

import pytest

from core.aws.answering import AnsweringServer
from core.aws.planes import QUERY, Planes, planes, server
from core.aws.tunnelling import TunnellingProxy
from memlane.aws.wire import RetryPolicy
from memlane.errors import UnavailableError
from memlane.protocols import Credentials

__all__ = ("planes", "server")

pytestmark = pytest.mark.anyio
SECRETS = Credentials(
    access_key="AKIDEXAMPLE",
    secret_key="a-secret-key-of-someone",
    session_token="a-token-of-a-session",
)


@pytest.fixture
def odd() -> Iterator[TunnellingProxy]:
    """Something that answers, though not in HTTP."""
    opened = TunnellingProxy()
    yield opened
    opened.close()


def told(error: BaseException) -> str:
    """Return all that loggers may show: texts, arguments and every error behind."""
    parts: list[str] = ["".join(traceback.format_exception(error))]
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        behind = left.pop()
        if behind is None or id(behind) in seen:
            continue
        seen.add(id(behind))
        parts += [repr(behind), str(behind), repr(behind.args), repr(vars(behind))]
        left += [behind.__cause__, behind.__context__]
    return "\n".join(parts)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 abc nonsense\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
        b"",
    ],
    ids=lambda answer: repr(answer[:30]),
)
async def test_an_answer_that_is_none(odd: TunnellingProxy, planes: Planes, answer: bytes) -> None:
    """Of a proxy, a captive portal, a wrong port."""
    odd.greeting = answer
    plane = await planes.make(
        endpoint_urls={"*": f"http://127.0.0.1:{odd.port}"}, retries=RetryPolicy(attempts=1)
    )
    with pytest.raises(UnavailableError) as caught:
        await plane.call(QUERY, SECRETS)
    said = told(caught.value)
    assert "a-token-of-a-session" not in said
    assert "Signature=" not in said
    assert QUERY.body.decode() not in said


async def test_a_proxy_that_refuses(odd: TunnellingProxy, planes: Planes) -> None:
    """What it was told is in nothing that is raised, the hidden context included."""
    odd.refusal = b"407 Proxy Authentication Required"
    plane = await planes.make(
        endpoint_urls={"*": "https://store.example"},
        proxy=f"http://ada:password@127.0.0.1:{odd.port}",
    )
    with pytest.raises(UnavailableError, match="the proxy answered 407") as caught:
        await plane.call(QUERY, SECRETS)
    assert "YWRhOnBhc3N3b3Jk" not in told(caught.value)


async def test_a_proxy_that_refuses_without_a_tunnel(
    odd: TunnellingProxy, planes: Planes, server: AnsweringServer
) -> None:
    """That 407 is the proxy's as well, and not the service's."""
    odd.refusal = b"407 Proxy Authentication Required"
    plane = await planes.make(endpoint_urls={"*": server.url}, proxy=f"http://127.0.0.1:{odd.port}")
    with pytest.raises(UnavailableError, match="the proxy answered 407") as caught:
        await plane.call(QUERY, SECRETS)
    assert "proxy's URL" in str(caught.value.remedy)
    assert len(odd.heads) == 1
