"""New connections: where a host is, the way there through proxies, and TLS with whom is meant."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from memlane.aws._extra import aiohappyeyeballs
from memlane.aws.connection import Connection, Pool
from memlane.aws.endpoints import Endpoint, address
from memlane.aws.failures import NoAnswerError, broken_tls, named, turned_away
from memlane.aws.route import Route

__all__ = ("Opener",)

Addresses: TypeAlias = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]

ADDRESS_SECONDS: Final = 10.0
# Until the next address of a host is tried beside the first: what RFC 8305 recommends.
NEXT_ADDRESS_SECONDS: Final = 0.25
_OK: Final = range(200, 300)


class Opener:
    """Opens connections on one loop.

    Args:
        route: The way to the servers, prepared where there is TLS.
        pool: Whose the connections will be.
    """

    def __init__(self, route: Route, pool: Pool) -> None:
        self._loop = asyncio.get_running_loop()
        self._route = route
        self._pool = pool
        self._found: dict[tuple[str, int], tuple[float, asyncio.Task[Addresses]]] = {}
        self._turn = -1

    async def open(self, endpoint: Endpoint) -> Connection:
        """Return a new connection to an endpoint.

        Raises:
            NoAnswerError: There is none; nothing was sent to the endpoint.
        """
        proxy = self._route.proxy_for(endpoint)
        try:
            if proxy is None:
                host, port = address(endpoint)
                return await self._connect(endpoint, host, port, endpoint.scheme)
            connection = await self._connect(endpoint, proxy.host, proxy.port, proxy.scheme)
            if endpoint.scheme == "https":
                await self._tunnel(connection, endpoint)
        except ssl.SSLError as error:
            raise broken_tls(error) from error
        except (OSError, UnicodeError) as error:
            # The second: no host can have that name.
            raise NoAnswerError("connect", f"no connection: {named(error)}") from error
        return connection

    async def _connect(self, endpoint: Endpoint, host: str, port: int, scheme: str) -> Connection:
        is_tls = scheme == "https"
        addresses = await self._addresses(host, port)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - whoever awaits on asyncio is a task
        cancelling = task.cancelling()
        opened = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS
        )
        if task.cancelling() > cancelling:
            # It keeps that to itself while it takes back the slower ones of its attempts.
            opened.close()
            raise asyncio.CancelledError
        connection = Connection(endpoint, self._pool)
        try:
            await self._loop.create_connection(
                lambda: connection,
                sock=opened,
                ssl=self._route.tls if is_tls else None,
                server_hostname=_certified(host) if is_tls else None,
            )
        except BaseException:
            connection.close()
            raise
        return connection

    async def _tunnel(self, connection: Connection, endpoint: Endpoint) -> None:
        """Let a proxy open a tunnel, and speak TLS with the endpoint through it."""
        host, port = address(endpoint)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        lines += [f"{name}: {text}" for name, text in (self._route.proxy_headers or {}).items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        try:
            status = await connection.ask_for_tunnel(head)
        except NoAnswerError as failure:
            # Whatever it was, the endpoint has not heard a word.
            text = f"the proxy gave no answer: {failure.text}"
            raise NoAnswerError("connect", text, failure.remedy) from failure
        if status not in _OK:
            connection.close()
            raise turned_away(status)
        await connection.speak_tls(self._route.tls, _certified(host))

    async def _addresses(self, host: str, port: int) -> Addresses:
        """Return where a host is: looked up once for all who ask within seconds.

        Each begins with another of its addresses, so that none has all the connections, and one
        where nothing works is not asked again at once.
        """
        try:
            return _written(host, port)
        except socket.gaierror:
            pass
        now = self._loop.time()
        until, lookup = self._found.get((host, port), (0.0, None))
        if lookup is None or until < now or _has_failed(lookup):
            # In a context of its own, for it is kept, and would keep what the caller had in its.
            lookup = contextvars.Context().run(self._loop.create_task, self._look_up(host, port))
            # Asked, or it would be reported as lost when all who wait are cancelled.
            lookup.add_done_callback(_has_failed)
            self._found[host, port] = now + ADDRESS_SECONDS, lookup
        # Whoever is cancelled does not cancel it for the others.
        found = await asyncio.shield(lookup)
        self._turn += 1
        first = self._turn % max(len(found), 1)
        return [*found[first:], *found[:first]]

    async def _look_up(self, host: str, port: int) -> Addresses:
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _has_failed(lookup: asyncio.Task[Addresses]) -> bool:
    return lookup.done() and (lookup.cancelled() or lookup.exception() is not None)


def _certified(host: str) -> str:
    """Return a host as certificates name it: without the dot that ends a full name."""
    return host.rstrip(".")


def _written(host: str, port: int) -> Addresses:
    """Return an address that is no name, or raise; nobody is asked."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
