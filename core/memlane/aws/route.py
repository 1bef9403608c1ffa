"""How servers are reached and whom to believe: a proxy in between, certificates of one's own."""

from __future__ import annotations

import ssl
from base64 import b64encode
from typing import Final
from urllib.parse import unquote

from yarl import URL

from memlane.errors import ValidationError
from memlane.runtime import WorkerThreads

__all__ = ("DIRECT", "Route")


class Route:
    """The way to the servers; usable from any loop.

    Args:
        ca_bundle: Path of a PEM file with the authorities to trust, instead of the system's.
        proxy: URL of a proxy for all requests; its user and password are sent to it alone.

    Raises:
        ValidationError: The proxy is no http or https URL.
    """

    def __init__(self, ca_bundle: str | None = None, proxy: str | None = None) -> None:
        self._bundle = ca_bundle
        self.tls: ssl.SSLContext | bool = True
        """What the connections trust, once it is prepared; True: what the system does."""
        self.proxy: URL | None = None
        self.proxy_headers: dict[str, str] | None = None
        if proxy is not None:
            self._use(proxy)

    async def prepare(self, threads: WorkerThreads) -> None:
        """Read the certificates, unless that was done; on one of the threads, for it takes long.

        Raises:
            ValidationError: There are none.
        """
        if self._bundle is not None and self.tls is True:
            self.tls = await threads.run(_trusting, self._bundle)

    def _use(self, proxy: str) -> None:
        try:
            url = URL(proxy)
        except ValueError:
            url = URL()
        if url.scheme not in {"http", "https"} or not url.host:
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


def _trusting(bundle: str) -> ssl.SSLContext:
    try:
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
