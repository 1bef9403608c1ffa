"""Which host a service is asked at: AWS's own, or the one the caller names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from memlane.aws._endpoint_table import HOSTS, ODD_HOSTS, PARTITIONS
from memlane.aws.signing import canonical_path
from memlane.errors import ValidationError
from memlane.patterns import lazy

__all__ = ("PORTS", "Endpoint", "Endpoints", "address", "partition_of", "plain_host")

PORTS: Final = {"http": 80, "https": 443}
"""Where a scheme's servers listen, when a URL says nothing else."""

_host = lazy(r"[A-Za-z0-9._\-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._\-]+)?")
_region = lazy(r"[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?")


class Endpoint(NamedTuple):
    """Where one service is.

    Args:
        scheme: "https", or "http" for an emulator.
        host: The Host header: name, and port where it is not the scheme's own.
        prefix: What comes before every path; mostly nothing.
    """

    scheme: str
    host: str
    prefix: str = ""

    def path(self, path: str) -> str:
        """Return where a request's path is on that host."""
        # A prefix with the root is the prefix: no segment is empty.
        return self.prefix if self.prefix and path == "/" else self.prefix + path


def plain_host(parts: SplitResult) -> str:
    """Return a URL's host as it is looked up and written in headers; of IPv6 without brackets.

    Raises:
        ValueError: No host can have that name.
    """
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if not _host().fullmatch(host):
        # Not quoted: cut out of an odd URL, it may be a password.
        raise ValueError("no host")
    return host


def address(endpoint: Endpoint) -> tuple[str, int]:
    """Return an endpoint's host, of IPv6 without brackets, and port."""
    parts = urlsplit(f"//{endpoint.host}")
    return parts.hostname or "", parts.port or PORTS[endpoint.scheme]


def partition_of(region: str) -> tuple[str, str, str]:
    """Return a region's partition and the DNS suffixes there, single and dual stack.

    One that no partition knows is taken for the first partition's, as AWS's own clients do.
    """
    for name, pattern, plain, dual in PARTITIONS:
        if re.match(pattern, region):
            return name, plain, dual
    name, _, plain, dual = PARTITIONS[0]
    return name, plain, dual


class Endpoints:
    """The endpoints of one region.

    Args:
        region: Such as "eu-central-1".
        urls: URLs to use instead, by service; "*" for all that are not named.
        fips: Ask the FIPS endpoints.
        dual_stack: Ask the endpoints that answer on IPv6 too.

    Raises:
        ValidationError: The region is no host label, a URL is not usable, or FIPS is wanted of
            a host that AWS does not vouch for.
    """

    def __init__(
        self,
        region: str,
        urls: Mapping[str, str] | None = None,
        *,
        fips: bool = False,
        dual_stack: bool = False,
    ) -> None:
        if not _region().fullmatch(region):
            raise ValidationError(
                f"{region!r} is no AWS region", remedy="give one such as eu-central-1"
            )
        self._region = region
        self._variant = 2 * fips + dual_stack
        self._given = {service: _parsed(service, url) for service, url in (urls or {}).items()}
        if fips and self._given:
            raise ValidationError(
                "FIPS endpoints and an endpoint URL of one's own exclude each other",
                remedy="leave one of the two out",
            )
        self._known: dict[str, Endpoint] = {}

    def of(self, service: str) -> Endpoint:
        """Return where a service is.

        Raises:
            ValidationError: It is none that memlane asks, and no URL names it.
        """
        known = self._known.get(service)
        if known is None:
            known = self._known[service] = self._find(service)
        return known

    @property
    def are_plain(self) -> bool:
        """Whether none of them is asked with TLS, as with an emulator."""
        return "*" in self._given and all(each.scheme == "http" for each in self._given.values())

    def _find(self, service: str) -> Endpoint:
        given = self._given.get(service) or self._given.get("*")
        if given is not None:
            return given
        if service not in HOSTS:
            raise ValidationError(f"where the service {service!r} is, is not known")
        name, plain, dual = partition_of(self._region)
        hosts = ODD_HOSTS.get((service, name), HOSTS[service])
        host = hosts[self._variant].format(region=self._region, plain=plain, dual=dual)
        return Endpoint("https", host)


def _parsed(service: str, url: str) -> Endpoint:
    parts, host, port = urlsplit(""), "", None
    try:
        parts = urlsplit(url)
        host, port = plain_host(parts), parts.port
        canonical_path(parts.path.rstrip("/") or "/")
    except (ValueError, ValidationError):
        host = ""
    odd = parts.username or parts.password or parts.query or parts.fragment
    if not host or parts.scheme not in PORTS or odd or not url.isascii():
        # Not chained: what made it unreadable may be a password.
        raise ValidationError(
            f"the endpoint URL of {service!r} cannot be used",
            remedy="give scheme, host and port, such as http://127.0.0.1:4566",
        )
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != PORTS[parts.scheme]:
        host = f"{host}:{port}"
    return Endpoint(parts.scheme, host, parts.path.rstrip("/"))
