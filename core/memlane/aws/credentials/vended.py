"""A token vending machine trades a tenant's own token for credentials: no role is assumed here."""

from __future__ import annotations

import ipaddress
import random as random_
from collections.abc import Awaitable, Callable
from typing import Final, Literal
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import anyio

from memlane.aws._extra import orjson
from memlane.aws.credentials.vending import question, read_answer
from memlane.aws.endpoints import Endpoint, plain_host
from memlane.aws.failures import NoAnswerError
from memlane.aws.route import Route
from memlane.aws.transport import Transport
from memlane.aws.wire import Request, Timeouts
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    MemlaneError,
    ScopeError,
    ThrottledError,
    UnavailableError,
    ValidationError,
)
from memlane.protocols import Credentials
from memlane.runtime import Homes, WorkerThreads
from memlane.scope import Scope

__all__ = ("TokenVendingCredentials",)

_MAX_BYTES: Final = 65_536
_MAX_BEARER_CHARS: Final = 16_384
_ATTEMPTS: Final = 3
_FIRST_PAUSE: Final = 0.2
_CONNECTIONS: Final = 32
# What a URL may have as it is; of one that is encoded nothing is encoded again.
_ENCODED: Final = "/%?:@!$&'()*+,;=-._~"


class TokenVendingCredentials:
    """Credentials from an HTTPS endpoint that knows which tenant a bearer token is of.

    The endpoint is sent `tenantId` and `tenantCode` (and `userId`, `userCode` with `per_user`), as
    JSON or in the query, and answers with JSON: `accessKeyId`, `secretAccessKey`, `sessionToken`,
    `expiration` and `tenantId` or `tenantCode`, in either spelling, also under `credentials`.
    Redirects are not followed, and nothing over 64 KB is read.

    Args:
        url: The endpoint: https, or http on this machine.
        bearer: Returns the token for a scope; awaited on the caller's loop, or on the work loop
            when credentials are renewed ahead of their end.
        method: How it is asked.
        per_user: Whether it is asked for one user's credentials.
        trust_unnamed: Believe an answer that does not say whose it is. Off by default: whoever
            mixes up two tenants should not go unnoticed.
        allow_no_tenant: Whether it is asked for scopes without a tenant.
        timeout: Seconds an attempt may take.
        ca_bundle: Path of a PEM file with the authorities to trust, instead of the system's.
        proxy: URL of a proxy, for https: what is asked on this machine goes by none.
        random: Numbers of 0 to 1, for the pauses between attempts.
        sleep: Waits between attempts.

    Raises:
        ValidationError: The URL is none that a token may be sent to, or the proxy's is none.
    """

    def __init__(
        self,
        url: str,
        *,
        bearer: Callable[[Scope], Awaitable[str]],
        method: Literal["POST", "GET"] = "POST",
        per_user: bool = False,
        trust_unnamed: bool = False,
        allow_no_tenant: bool = False,
        timeout: float = 10.0,
        ca_bundle: str | None = None,
        proxy: str | None = None,
        random: Callable[[], float] = random_.random,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        if method not in {"POST", "GET"}:
            raise ValidationError(f"method is {method!r}", remedy="pass 'POST' or 'GET'")
        parts = _checked(url)
        self._endpoint = _endpoint(parts)
        self._path = quote(parts.path or "/", safe=_ENCODED)
        self._query = quote(parts.query, safe=_ENCODED)
        self._bearer = bearer
        self._method = method
        self._per_user = per_user
        self._trust_unnamed = trust_unnamed
        self._allow_no_tenant = allow_no_tenant
        self._timeout = timeout
        self._random = random
        self._sleep = sleep
        # A proxy would read the token of a URL without TLS.
        self._route = Route(ca_bundle, proxy, ("http://*",))
        self._threads = WorkerThreads("memlane-vending", 1)
        self._homes: Homes[Transport] = Homes(self._open, Transport.aclose)

    @property
    def per_user(self) -> bool:
        """Whether each user has credentials of their own."""
        return self._per_user

    async def enter(self) -> None:
        """Let the calling event loop have connections of its own until `aclose`."""
        await self._homes.enter()

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._homes.aclose()

    async def __call__(self, scope: Scope) -> Credentials:
        """Ask for the scope's credentials.

        Raises:
            ScopeError: The scope names no tenant.
            IsolationError: The answer is another's, or does not say whose it is.
            AccessDeniedError: The token is not accepted.
            CredentialsError: There is no token, or the answer cannot be used.
            ThrottledError: The endpoint was asked too often.
            UnavailableError: It could not be reached, or failed.
        """
        if scope.tenant is None and not self._allow_no_tenant:
            raise ScopeError(
                "credentials are a tenant's, and the scope names none",
                scope=scope,
                remedy="pass Scope(user, tenant=...)",
            )
        asked = question(scope, per_user=self._per_user)
        for attempt in range(1, _ATTEMPTS + 1):
            # Each time anew: a token may be of one use.
            token = await self._token(scope)
            try:
                status, body = await self._homes.run(self._send, asked, token)
                _check_status(status, scope)
            except (ThrottledError, UnavailableError) as error:
                failure = error.__cause__
                is_final = isinstance(failure, NoAnswerError) and failure.failure == "hopeless"
                if attempt == _ATTEMPTS or is_final:
                    raise
                await self._sleep(_FIRST_PAUSE * 2**attempt * self._random())
            else:
                return read_answer(
                    body,
                    scope=scope,
                    per_user=self._per_user,
                    trust_unnamed=self._trust_unnamed,
                )
        raise AssertionError  # pragma: no cover  (the last attempt returns or raises)

    async def _token(self, scope: Scope) -> str:
        try:
            token: object = await self._bearer(scope)
        except MemlaneError:
            raise
        except Exception as exc:
            raise CredentialsError(
                f"the bearer callable failed ({type(exc).__name__})",
                service="tvm",
                scope=scope,
                remedy="see the cause of this error",
            ) from exc
        if (
            not isinstance(token, str)
            or not 0 < len(token) <= _MAX_BEARER_CHARS
            or not token.isascii()
            or not token.isprintable()
            or " " in token
        ):
            # It becomes a header: a line break in it would be a header of its own.
            raise CredentialsError(
                "the bearer callable returned what is no token",
                service="tvm",
                scope=scope,
                remedy="return the token alone, without the word Bearer",
            )
        return token

    async def _send(
        self, transport: Transport, asked: dict[str, str], token: str
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}"}
        query, body = self._query, b""
        if self._method == "POST":
            body = orjson.dumps(asked)
            headers["Content-Type"] = "application/json"
        else:
            query = f"{query}&{urlencode(asked)}" if query else urlencode(asked)
        request = Request("tvm", "GetCredentials", self._path, body, self._method, query)
        try:
            reply = await transport.send(self._endpoint, request, headers, self._timeout)
        except NoAnswerError as failure:
            if failure.failure == "large":
                raise CredentialsError(
                    f"the answer of the token vending machine is longer than {_MAX_BYTES} bytes",
                    service="tvm",
                    remedy="check that the URL is the machine's, and not a page",
                ) from failure
            raise UnavailableError(
                f"the token vending machine did not answer ({failure.text})",
                service="tvm",
                remedy=failure.remedy or "check that it runs and can be reached from here",
            ) from failure
        return reply.status, reply.body

    async def _open(self) -> Transport:
        if self._endpoint.scheme == "https":
            await self._route.prepare(self._threads)
        timeouts = Timeouts(connect=self._timeout, attempt=self._timeout)
        return Transport(
            concurrency=_CONNECTIONS, timeouts=timeouts, route=self._route, max_answer=_MAX_BYTES
        )


def _check_status(status: int, scope: Scope) -> None:
    said = f"the token vending machine answered {status}"
    if status in {200, 201}:
        return
    if status in {401, 403}:
        raise AccessDeniedError(
            f"{said}: it does not accept the token",
            service="tvm",
            status=status,
            scope=scope,
            remedy="check what the bearer callable returns for this tenant",
        )
    if status == 429:  # noqa: PLR2004  (too many requests)
        raise ThrottledError(said, service="tvm", status=status, scope=scope, remedy="ask less")
    if status >= 500 or status == 408:  # noqa: PLR2004  (its own failures, and a timeout)
        raise UnavailableError(
            said, service="tvm", status=status, scope=scope, remedy="look at its own log"
        )
    if 300 <= status < 400:  # noqa: PLR2004
        raise CredentialsError(
            f"{said}, a redirect, and a token is sent to no other place than the one named",
            service="tvm",
            status=status,
            scope=scope,
            remedy="name the final URL",
        )
    raise CredentialsError(
        said, service="tvm", status=status, scope=scope, remedy="check the URL and the method"
    )


def _checked(url: str) -> SplitResult:
    parts, is_right = None, False
    try:
        parts = urlsplit(url)
        is_right = _is_safe(parts)
    except (ValueError, TypeError, AttributeError):
        parts = None
    if parts is None:
        # Not chained: what made it unreadable may be a password.
        raise ValidationError(
            "url is not a URL", remedy="pass https://<host>/<path> of the vending machine"
        )
    if not is_right:
        # Not quoted: it may hold a password.
        raise ValidationError(
            "url is not one that a token may be sent to",
            remedy="pass an https URL without user, password and fragment; http only on localhost",
        )
    return parts


def _endpoint(parts: SplitResult) -> Endpoint:
    host = plain_host(parts)
    place = f"[{host}]" if ":" in host else host
    return Endpoint(parts.scheme, place if parts.port is None else f"{place}:{parts.port}")


def _is_safe(parts: SplitResult) -> bool:
    host = plain_host(parts)
    if parts.username is not None or parts.fragment or parts.port == 0:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
