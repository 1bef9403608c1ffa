"""How servers are reached and whom to believe: a proxy in between, certificates of one's own."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

from yarl import URL

from memlane.aws.endpoints import Endpoint
from memlane.errors import ValidationError
from memlane.patterns import lazy
from memlane.runtime import WorkerThreads

__all__ = ("DIRECT", "Route")

_PORTS: Final = {"http": 80, "https": 443}
_host = lazy(r"[A-Za-z0-9._\-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._\-]+)?")


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
        self.tls: ssl.SSLContext | bool = True
        """What the connections trust, once it is prepared; True: what the system does."""
        self.proxy: URL | None = None
        self.proxy_headers: dict[str, str] | None = None
        self._spared = [name for each in spared if (name := each.strip().lower())]
        self._chosen: dict[Endpoint, URL | None] = {}
        if proxy is not None:
            self._use(proxy)

    async def prepare(self, threads: WorkerThreads) -> None:
        """Read the certificates, unless that was done; on one of the threads, for it takes long.

        Raises:
            ValidationError: There are none.
        """
        if self._bundle is not None and self.tls is True:
            self.tls = await threads.run(_trusting, self._bundle)

    def proxy_for(self, endpoint: Endpoint) -> URL | None:
        """Return the proxy to ask an endpoint by; None for none."""
        try:
            return self._chosen[endpoint]
        except KeyError:
            pass
        parts = urlsplit(f"{endpoint.scheme}://{endpoint.host}")
        port = parts.port or _PORTS[endpoint.scheme]
        is_spared = (endpoint.scheme == "http" and "http://*" in self._spared) or any(
            _names(name, parts.hostname or "", port) for name in self._spared
        )
        chosen = self._chosen[endpoint] = None if is_spared else self.proxy
        return chosen

    def _use(self, proxy: str) -> None:
        try:
            url = URL(proxy)
        except ValueError:
            url = URL()
        if url.scheme not in {"http", "https"} or not _host().fullmatch(url.raw_host or ""):
            # Neither quoted nor chained: it may have a password.
            raise ValidationError(
                "the proxy's URL cannot be used",
                remedy="give scheme, host and port, such as http://proxy.example.com:3128",
            )
        if url.raw_user is not None:
            # In the URL it would be part of what exceptions say.
            named = f"{unquote(url.raw_user)}:{unquote(url.raw_password or '')}"
            token = b64encode(named.encode()).decode()
            self.proxy_headers = {"Proxy-Authorization": f"Basic {token}"}
        self.proxy = url.with_user(None)


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


def _trusting(bundle: str) -> ssl.SSLContext:
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
