"""Signature Version 4, checked as the services check it; written apart from the signer it tests."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import quote, unquote_to_bytes

from memlane.testing.emulator.failure import AuthStyle, AwsError, Refusal, style_of, unauthenticated
from memlane.testing.emulator.identity import Caller, Identity

__all__ = ("SignatureSwitches", "canonical_path", "canonical_query", "verify")

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_PART: Final = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]*)")
_SPACES: Final = re.compile(r" +")
_SESSION: Final = "x-amz-security-token"


class SignatureSwitches(Protocol):
    """What the verification reads of the emulator's switches."""

    @property
    def s3vectors_auth_errors(self) -> AuthStyle:
        """How S3 Vectors names refusals of a signature: "json", or "s3" [?]."""
        ...

    @property
    def signature_seconds(self) -> float:
        """How far a signature's date may be off the clock; 0 for any."""
        ...


@dataclass(frozen=True, slots=True)
class _Claim:
    """What an Authorization header says."""

    access_key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


def verify(
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    service: str,
    identity: Identity,
    now: float,
    switches: SignatureSwitches,
) -> Caller:
    """Return who signed a request.

    Args:
        method: Such as "POST".
        path: As it came over the wire, percent-encoded, without the query string.
        query: As it came over the wire, without "?".
        headers: In any case; a name that came twice may be given twice by `items()`.
        body: All of it.
        service: The signing name it must be signed for: "s3vectors", "bedrock", "sts".
        identity: Whose keys count.
        now: The emulator's clock, in seconds since 1970.
        switches: The emulator's.

    Raises:
        AwsError: The signature, the token or the clock is not right.
    """
    style = switches.s3vectors_auth_errors if service == "s3vectors" else style_of(service)
    sent = _lowered(headers)
    authorization = sent.get("authorization")
    if not authorization:
        raise unauthenticated("missing", style, _MISSING.get(style))
    stamp = sent.get("x-amz-date") or sent.get("date") or ""
    claim = _claimed(authorization, stamp, style)
    _check_scope(claim, stamp, service, identity.region, style)
    _check_signed(claim, sent, style)
    _check_clock(stamp, now, switches.signature_seconds, style)
    key = identity.key(claim.access_key)
    if key is None or key.token != sent.get(_SESSION):
        # The same words for a key that is nobody's, a token that is not its own, a temporary key
        # without a token and a lasting one with a token [K].
        raise unauthenticated("unknown", style)
    request = _canonical(method, canonical_path(path), canonical_query(query), sent, claim.signed)
    request += hashlib.sha256(body).hexdigest()
    digest = hashlib.sha256(request.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{_ALGORITHM}\n{stamp}\n{claim.scope}\n{digest}"
    signing = _signing_key(key.secret_key, claim.day, claim.region, claim.service)
    expected = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace")):
        raise _mismatch(style, request, text)
    try:
        return identity.caller_of(claim.access_key, key.token, now)
    except AwsError as exc:
        kind: Refusal = "expired" if exc.code == "ExpiredTokenException" else "unknown"
        raise unauthenticated(kind, style) from exc


_MISSING: Final[Mapping[AuthStyle, str]] = {
    "query": "Request is missing Authentication Token",
    "s3": "Access Denied",
}


def _mismatch(style: AuthStyle, request: str, text: str) -> AwsError:
    # The services send back what they calculated [K]: with it a signer is repaired in minutes.
    words = unauthenticated("mismatch", style).message
    return unauthenticated(
        "mismatch",
        style,
        f"{words}\n\nThe Canonical String for this request should have been\n'{request}'\n\n"
        f"The String-to-Sign should have been\n'{text}'\n",
    )


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    sent: dict[str, str] = {}
    for name, value in headers.items():
        low = name.lower()
        sent[low] = f"{sent[low]},{value}" if low in sent else value
    return sent


def _claimed(authorization: str, stamp: str, style: AuthStyle) -> _Claim:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != _ALGORITHM:
        raise unauthenticated("incomplete", style, f"Unsupported AWS 'algorithm': '{algorithm}'.")
    parts = {match[1]: match[2] for match in _PART.finditer(rest)}
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parts.get(name)
    ]
    if not stamp:
        missing.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if missing:
        raise unauthenticated("incomplete", style, " ".join(missing))
    scope = parts["Credential"].split("/")
    if len(scope) != 5:
        raise unauthenticated(
            "incomplete",
            style,
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            f"keyid/date/region/service/term, got '{parts['Credential']}'",
        )
    if scope[4] != "aws4_request":
        raise unauthenticated(
            "mismatch",
            style,
            "Credential should be scoped with a valid terminator: 'aws4_request', not "
            f"'{scope[4]}'.",
        )
    signed = tuple(parts["SignedHeaders"].split(";"))
    return _Claim(scope[0], scope[1], scope[2], scope[3], signed, parts["Signature"])


def _check_scope(
    claim: _Claim, stamp: str, service: str, region: str | None, style: AuthStyle
) -> None:
    if claim.service != service:
        raise unauthenticated(
            "mismatch", style, f"Credential should be scoped to correct service: '{service}'. "
        )
    if region is not None and claim.region != region:
        raise unauthenticated(
            "mismatch",
            style,
            f"Credential should be scoped to a valid region, not '{claim.region}'. ",
        )
    if claim.day != stamp[:8]:
        raise unauthenticated(
            "mismatch",
            style,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{claim.day}' != '{stamp[:8]}', from '{stamp}'.",
        )


def _check_signed(claim: _Claim, sent: Mapping[str, str], style: AuthStyle) -> None:
    """Refuse a signature that leaves out what it must cover, or names what was not sent."""
    needed = ["host"]
    needed += [name for name in ("x-amz-date", _SESSION) if name in sent]
    for name in needed:
        if name not in claim.signed:
            raise unauthenticated(
                "mismatch",
                style,
                f"'{name}' must be a 'SignedHeader' in the AWS Authorization.",
            )
    if list(claim.signed) != sorted(claim.signed):
        raise unauthenticated("incomplete", style, "SignedHeaders is not sorted.")


def _check_clock(stamp: str, now: float, skew: float, style: AuthStyle) -> None:
    try:
        signed_at = _moment(stamp)
    except ValueError as exc:
        raise unauthenticated(
            "incomplete",
            style,
            f"Date must be in ISO-8601 'basic format'. Got '{stamp}'. "
            "See http://en.wikipedia.org/wiki/ISO_8601",
        ) from exc
    if not skew or abs(now - signed_at) <= skew:
        return
    here, minutes = _stamp(now), f"{skew / 60:g} min."
    message = "The difference between the request time and the current time is too large."
    if style != "s3" and signed_at < now:
        message = (
            f"Signature expired: {stamp} is now earlier than {_stamp(now - skew)} "
            f"({here} - {minutes})"
        )
    elif style != "s3":
        message = (
            f"Signature not yet current: {stamp} is still later than {_stamp(now + skew)} "
            f"({here} + {minutes})"
        )
    raise unauthenticated("skewed", style, message)


@lru_cache(maxsize=64)
def _moment(stamp: str) -> float:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(_STAMP)


def canonical_path(path: str) -> str:
    """Return the path as it is signed everywhere but in S3 [D].

    Dot segments and empty ones are resolved, and what is percent-encoded already is encoded again.
    """
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    resolved = "/" + "/".join(segments)
    if segments and path.endswith(("/", "/.", "/..")):
        resolved += "/"
    return quote(resolved, safe="/-_.~")


def canonical_query(query: str) -> str:
    """Return the query string as it is signed: encoded anew, sorted by name and then value [D]."""
    if not query:
        return ""
    pairs: list[tuple[str, str]] = []
    for each in query.split("&"):
        name, _, value = each.partition("=")
        if name or value:
            pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


def _canonical(
    method: str, path: str, query: str, sent: Mapping[str, str], signed: tuple[str, ...]
) -> str:
    """Return all of a canonical request but its last line, the digest of the body as it came."""
    lines = [method.upper(), path, query]
    lines += [f"{name}:{_SPACES.sub(' ', sent.get(name, '').strip())}" for name in signed]
    lines += ["", ";".join(signed), ""]
    return "\n".join(lines)


@lru_cache(maxsize=4_096)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
