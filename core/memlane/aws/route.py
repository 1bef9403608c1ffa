"""How servers are reached and whom to believe: a proxy in between, certificates of one's own."""

from __future__ import annotations

import functools
import ssl
from base64 import b64encode
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from memlane.aws.endpoints import PORTS, Endpoint, address, plain_host
from memlane.errors import ValidationError
from memlane.runtime import WorkerThreads

__all__ = ("DIRECT", "Proxy", "Route")


class Proxy(NamedTuple):
    """A proxy, without the name and password it wants.

    Args:
        scheme: "http", or "https" where TLS is spoken with the proxy itself.
        host: Name or address; of IPv6 without brackets.
        port: Its port.
    """

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """As others' clients want it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Route:
    """The way to the servers; usable from any loop.

    Args:
        ca_bundle: Path of a PEM file with the authorities to trust, or of a directory of them with
            hashed names, instead of the system's.
        proxy: URL of a proxy for all requests; its user and password are sent to it alone.
        spared: Hosts to be reached without it, as NO_PROXY names them: "*", "name" with all that
            end on it, "name:port", an address, or a network such as "10.0.0.0/8"; "http://*" are
            all that are asked without TLS.

    Raises:
        ValidationError: The proxy is no http or https URL.
    """

    def __init__(
        self,
        ca_bundle: str | None = None,
        proxy: str | None = None,
        spared: Iterable[str] = (),
    ) -> None:
        self._bundle = ca_bundle
        self._tls: ssl.SSLContext | None = None
        self.proxy: Proxy | None = None
        self.proxy_headers: dict[str, str] | None = None
        self._spared = [name for each in spared if (name := each.strip().lower())]
        self._chosen: dict[Endpoint, Proxy | None] = {}
        if proxy is not None:
            self._use(proxy)

    async def prepare(self, threads: WorkerThreads) -> None:
        """Read the certificates, unless that was done; on one of the threads, for it takes long.

        Raises:
            ValidationError: There are none.
        """
        if self._tls is None:
            self._tls = await threads.run(_trusting, self._bundle)

    @property
    def has_tls(self) -> bool:
        """Whether TLS is spoken with the proxy itself."""
        return self.proxy is not None and self.proxy.scheme == "https"

    @property
    def tls(self) -> ssl.SSLContext:
        """Whom connections trust; known once the route is prepared."""
        assert self._tls is not None, "the route is not prepared"  # noqa: S101
        return self._tls

    def proxy_for(self, endpoint: Endpoint) -> Proxy | None:
        """Return the proxy to ask an endpoint by; None for none."""
        try:
            return self._chosen[endpoint]
        except KeyError:
            pass
        host, port = address(endpoint)
        is_spared = (endpoint.scheme == "http" and "http://*" in self._spared) or any(
            _names(name, host, port) for name in self._spared
        )
        chosen = self._chosen[endpoint] = None if is_spared else self.proxy
        return chosen

    def _use(self, url: str) -> None:
        parts, host, port, named = urlsplit(""), "", 0, b""
        try:
            parts = urlsplit(url)
            host, port = plain_host(parts), parts.port or 0
            named = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        except ValueError:
            host = ""
        if parts.scheme not in PORTS or not host:
            # Neither quoted nor chained: it may have a password.
            raise ValidationError(
                "the proxy's URL cannot be used",
                remedy="give scheme, host and port, such as http://proxy.example.com:3128",
            )
        if parts.username is not None:
            token = b64encode(named).decode()
            self.proxy_headers = {"Proxy-Authorization": f"Basic {token}"}
        self.proxy = Proxy(parts.scheme, host, port or PORTS[parts.scheme])


def _names(spared: str, host: str, port: int) -> bool:
    """Return whether an entry of NO_PROXY means a host."""
    if spared == "*":
        return True
    if spared.count(":") == 1:
        spared, _, wanted = spared.partition(":")
        if wanted != str(port):
            return False
    if "/" in spared or host.replace(".", "").isdigit() or ":" in host:
        from ipaddress import ip_address, ip_network

        try:
            return ip_address(host) in ip_network(spared.strip("[]"), strict=False)
        except ValueError:
            return False
    spared = spared.removeprefix("*").removeprefix(".")
    return bool(spared) and (host == spared or host.endswith(f".{spared}"))


def _trusting(bundle: str | None) -> ssl.SSLContext:
    return _of_the_system() if bundle is None else _of(bundle)


@functools.cache
def _of_the_system() -> ssl.SSLContext:
    # Read once a process: 20 ms and a megabyte.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _of(bundle: str) -> ssl.SSLContext:
    from pathlib import Path

    try:
        if Path(bundle).is_dir():
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except (OSError, ValueError) as error:
        raise ValidationError(
            f"no certificates can be read from {bundle!r}",
            remedy="give the path of a PEM file with the authorities to trust",
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


DIRECT: Final = Route()
"""No proxy, and the system's certificates."""
