"""Signature Version 4, with the derived key kept for the day: 10 us a request, not 120."""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import time
from typing import Final
from urllib.parse import quote, unquote

from memlane.aws.wire import Request
from memlane.errors import ValidationError
from memlane.patterns import lazy
from memlane.protocols import Credentials

__all__ = ("Signer", "canonical_path", "canonical_query", "derive_key")

KEPT_KEYS: Final = 1024
_UNRESERVED: Final = "-_.~"
_path = lazy(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
_query = lazy(r"[A-Za-z0-9\-._~%&=]*")
_broken_escape = lazy(r"%(?![0-9A-Fa-f]{2})")
_header = lazy(r"[A-Za-z0-9\-]+")
_OURS: Final = frozenset(
    {"authorization", "connection", "content-length", "content-type", "host", "transfer-encoding",
     "x-amz-date", "x-amz-security-token"}
)  # fmt: skip


def derive_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Return the key that signs one day's requests to one service in one region."""
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@functools.lru_cache(maxsize=512)
def canonical_path(path: str) -> str:
    """Return an encoded path encoded once more, as every service but S3 signs it.

    Raises:
        ValidationError: It is no encoded absolute path, or has an empty or a dot segment, which
            what lies between here and the service may fold.
    """
    if not _path().fullmatch(path) or _broken_escape().search(path):
        raise ValidationError("a request's path is not an encoded absolute path")
    if path == "/":
        return path
    for segment in path.split("/")[1:]:
        if unquote(segment) in {"", ".", ".."}:
            raise ValidationError("a request's path has an empty or a dot segment")
    return quote(path, safe="/" + _UNRESERVED)


@functools.lru_cache(maxsize=512)
def canonical_query(query: str) -> str:
    """Return an encoded query string sorted, each name and value encoded strictly.

    Raises:
        ValidationError: It is not an encoded query string.
    """
    if not _query().fullmatch(query) or _broken_escape().search(query):
        raise ValidationError("a request's query string is not encoded")
    if not query:
        return ""
    pairs: list[tuple[str, str]] = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        pairs.append(
            (quote(unquote(name), safe=_UNRESERVED), quote(unquote(value), safe=_UNRESERVED))
        )
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


class Signer:
    """Signs requests; usable from any thread.

    Derived keys are kept for one day under a keyed hash of the secret, so that neither a secret
    nor what signs tomorrow's requests stays in memory for the cache's sake.

    Args:
        region: Where the requests go.
        size: Derived keys kept at most.
    """

    def __init__(self, region: str, *, size: int = KEPT_KEYS) -> None:
        self._region = region
        self._size = size
        self._mask = os.urandom(32)
        self._keys: tuple[str, dict[tuple[bytes, str], bytes]] = ("", {})
        self._stamp = (-1, "", "")

    def headers(
        self,
        request: Request,
        credentials: Credentials | None,
        *,
        host: str,
        path: str,
        at: float,
        digest: str | None = None,
    ) -> dict[str, str]:
        """Return what to send besides the body and the Host header.

        Args:
            request: What is asked for.
            credentials: Who asks; None for a request that is not signed.
            host: The Host header, which HTTP clients send by themselves.
            path: The request's path on that host.
            at: Seconds since 1970, as the service counts them.
            digest: The body's SHA-256 in hex, when it is known already.

        Raises:
            ValidationError: Path, query or headers cannot be sent as they are.
        """
        uri = canonical_path(path)
        query = canonical_query(request.query)
        headers: dict[str, str] = {}
        if request.content_type:
            headers["Content-Type"] = request.content_type
        if request.headers:
            headers.update(request.headers)
            _check(request.headers)
        if credentials is None:
            return headers
        second = int(at)
        stamp = self._stamp
        if stamp[0] != second:
            date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._stamp = stamp = (second, date, date[:8])
        _, date, day = stamp
        headers["X-Amz-Date"] = date
        token = credentials.session_token
        if token:
            headers["X-Amz-Security-Token"] = token
        if request.headers:
            fields = sorted(
                (name.lower(), " ".join(text.split()))
                for name, text in (*headers.items(), ("Host", host))
            )
            names = ";".join([name for name, _ in fields])
            lines = "".join([f"{name}:{text}\n" for name, text in fields])
        else:
            names, lines = "host;x-amz-date", f"host:{host}\nx-amz-date:{date}\n"
            if request.content_type:
                names, lines = (
                    f"content-type;{names}",
                    f"content-type:{request.content_type}\n{lines}",
                )
            if token:
                names, lines = (
                    f"{names};x-amz-security-token",
                    f"{lines}x-amz-security-token:{token}\n",
                )
        if digest is None:
            digest = hashlib.sha256(request.body).hexdigest()
        canonical = f"{request.method}\n{uri}\n{query}\n{lines}\n{names}\n{digest}"
        scope = f"{day}/{self._region}/{request.service}/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(
            self._key(credentials.secret_key, day, request.service),
            f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}".encode(),
            "sha256",
        ).hex()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def _key(self, secret: str, day: str, service: str) -> bytes:
        masked = hashlib.blake2b(secret.encode(), key=self._mask, digest_size=16).digest()
        kept_day, keys = self._keys
        if kept_day != day:
            keys = {}
            self._keys = (day, keys)
        key = keys.get((masked, service))
        if key is None:
            key = derive_key(secret, day, self._region, service)
            if len(keys) >= self._size:
                # Whoever comes first empties it; deriving anew costs less than keeping an order.
                keys.clear()
            keys[masked, service] = key
        return key


def _check(headers: tuple[tuple[str, str], ...]) -> None:
    seen: set[str] = set()
    for name, text in headers:
        lower = name.lower()
        if not _header().fullmatch(name) or lower in _OURS or lower in seen:
            raise ValidationError(f"a request cannot have a header {name!r} of its own")
        if not text.isprintable() or not text.isascii():
            raise ValidationError(f"the header {name!r} cannot be sent")
        seen.add(lower)
