"""What a refusal means: which error, and whether asking again can help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

from memlane.aws._extra import orjson
from memlane.aws.wire import Reply, Request
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    QuotaExceededError,
    RequestRejectedError,
    ServiceError,
    StoreNotFoundError,
    ThrottledError,
    UnavailableError,
)
from memlane.patterns import lazy
from memlane.protocols import Credentials

__all__ = ("Refusal", "decode", "refusal")

MAX_DETAIL: Final = 500
MAX_PATHS: Final = 3
# AWS gives out none that is shorter, and words of a message must not look like one.
SHORTEST_SECRET: Final = 16

_THROTTLING: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
# Signed with another time, or with another key: which of the two, the Date header tells.
_SKEW: Final = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
_skew_words = lazy(r"signature (?:has )?expired|not yet current", re.IGNORECASE)
_QUOTA: Final = frozenset({"LimitExceededException", "ServiceQuotaExceededException"})
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized"})
_MISSING: Final = frozenset({"NotFoundException", "ResourceNotFoundException"})
_UNAVAILABLE: Final = frozenset(
    {"InternalServerError", "InternalFailure", "ModelTimeoutException", "RequestTimeoutException"}
)
_RETRYABLE_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
_CLIENT_ERRORS: Final = range(400, 500)
_SERVER_ERRORS: Final = range(500, 600)
# 408: the service, or the model, took too long; 424: the model failed.
_FAILURES: Final = frozenset({408, 424})
# Beyond that it is of use to nobody: a call has a minute.
LONGEST_RETRY_AFTER: Final = 20.0
_key_id = lazy(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{8,}")
# A session token: a role with its session, the longest name AWS says, has at most 142 characters.
_token = lazy(r"[A-Za-z0-9+/=_\-%]{150,}")
_xml_code = lazy(r"<Code>\s*([^<]{1,200}?)\s*</Code>")
_xml_message = lazy(r"<Message>\s*([^<]{1,4000}?)\s*</Message>")
_xml_request = lazy(r"<RequestId>\s*([^<]{1,200}?)\s*</RequestId>")
_place = lazy(r"[A-Za-z0-9_.\[\]/]{1,80}")
_name = lazy(r"[A-Za-z][A-Za-z0-9_.]{0,99}")


class Refusal(NamedTuple):
    """An answer that is not what was asked for.

    Args:
        error: What the caller gets if it stays with that.
        retryable: Asking again may help.
        throttled: There was no capacity: ask less often.
        skewed: The time it was signed with may be why.
        accepted: The signature was not why.
        retry_after: Seconds the service wants to be left alone; no more than can be waited for.
    """

    error: ServiceError
    retryable: bool
    throttled: bool
    skewed: bool
    accepted: bool
    retry_after: float | None


def decode(reply: Reply) -> Any:
    """Return what an answer says in JSON.

    Raises:
        UnavailableError: It is not JSON.
    """
    try:
        return orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise UnavailableError(
            "the service answered with something that is not JSON",
            status=reply.status,
            request_id=_request_id(reply.headers),
            remedy="look for a proxy in between, or try again",
        ) from error


def refusal(received: Reply, request: Request, credentials: Credentials | None) -> Refusal:
    """Return what an answer means that is no success."""
    code, message, places, request_id = _said(received)
    detail = _scrubbed(message, credentials)
    if places:
        detail = f"{(detail or '')[: MAX_DETAIL - len(places)]}{places}"
    status = received.status
    throttled = status == HTTPStatus.TOO_MANY_REQUESTS or code in _THROTTLING
    kind, verdict, remedy = _meaning(status, code, throttled=throttled)
    marks = [f"HTTP {status}"]
    if code:
        marks.append(code)
    if request_id:
        marks.append(f"request {request_id}")
    error = kind(
        f"{request.service} {verdict} {request.operation} ({', '.join(marks)})",
        service=request.service,
        wire_operation=request.operation,
        code=code,
        status=status,
        request_id=request_id,
        detail=detail and detail[:MAX_DETAIL],
        remedy=remedy,
    )
    skewed = code in _SKEW
    wrong_key = kind is CredentialsError or status == HTTPStatus.FORBIDDEN
    if wrong_key and _skew_words().search(message or ""):
        skewed = True
    return Refusal(
        error=error,
        retryable=throttled
        or status in _RETRYABLE_STATUSES
        or code == "RetryableConflictException"
        or (kind is UnavailableError and status != HTTPStatus.FAILED_DEPENDENCY),
        throttled=throttled or status == HTTPStatus.SERVICE_UNAVAILABLE,
        skewed=skewed,
        accepted=status in _CLIENT_ERRORS and not throttled and not skewed and not wrong_key,
        retry_after=_seconds(received.headers.get("retry-after")),
    )


def _meaning(
    status: int, code: str | None, *, throttled: bool
) -> tuple[type[ServiceError], str, str | None]:
    """Return the error's class, what the service did, and what to do about it."""
    if throttled:
        return ThrottledError, "throttled", "ask for less at once, or for a higher quota"
    if code in _CREDENTIALS or (status == HTTPStatus.UNAUTHORIZED and code not in _DENIED):
        return CredentialsError, "did not accept the credentials of", _credentials_remedy(code)
    if code in _QUOTA or status == HTTPStatus.PAYMENT_REQUIRED:
        return QuotaExceededError, "has no quota left for", "ask AWS for a higher quota"
    if code in _DENIED or status == HTTPStatus.FORBIDDEN:
        return AccessDeniedError, "denied", "compare the policies with what the docs ask for"
    if code in _MISSING or status == HTTPStatus.NOT_FOUND:
        return StoreNotFoundError, "does not have what was named in", "check name and region"
    if status == HTTPStatus.CONFLICT:
        return ServiceError, "found a conflict in", None
    if code in _UNAVAILABLE or status in _FAILURES or status in _SERVER_ERRORS:
        return UnavailableError, "failed at", "try again later"
    if status in _CLIENT_ERRORS:
        return RequestRejectedError, "rejected", None
    return ServiceError, "answered in an unknown way to", "check the endpoint URL"


def _credentials_remedy(code: str | None) -> str:
    if code is not None and "Expired" in code:
        return "renew the credentials"
    return "check the credentials, the region and this machine's clock"


def _said(received: Reply) -> tuple[str | None, str | None, str, str | None]:
    """Return the service's code, its message, the places that is about, and the request id."""
    headers, body = received.headers, received.body
    request_id = _request_id(headers)
    code = headers.get("x-amzn-errortype")
    if body[:64].lstrip().startswith(b"<"):
        # Loaded for those who need it: STS's refusals are XML, and nothing else is.
        from html import unescape

        text = body[:20_000].decode(errors="replace")
        found = _xml_code().search(text), _xml_message().search(text), _xml_request().search(text)
        xml_code, message, xml_request = (unescape(hit[1]) if hit else None for hit in found)
        return _code(code) or _code(xml_code), message, "", request_id or xml_request
    try:
        said: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        return _code(code), None, "", request_id
    fields = cast("dict[str, Any]", said)
    message = fields.get("message") or fields.get("Message") or fields.get("errorMessage")
    code = _code(code) or _code(fields.get("__type")) or _code(fields.get("code"))
    return code, message if isinstance(message, str) else None, _places(fields), request_id


def _places(fields: dict[str, Any]) -> str:
    """Return the places a message is about, which one refusal in a batch is found by."""
    named: Any = fields.get("fieldList")
    if not isinstance(named, list):
        return ""
    paths: list[str] = []
    for entry in cast("list[object]", named):
        path = cast("dict[str, object]", entry).get("path") if isinstance(entry, dict) else None
        if isinstance(path, str) and _place().fullmatch(path):
            paths.append(path)
    return f" [{', '.join(paths[:MAX_PATHS])}]" if paths else ""


def _code(said: object) -> str | None:
    """Return an error's bare name: `a.b#Name:http://...` says `Name`."""
    if not isinstance(said, str):
        return None
    name = said.partition(":")[0].rpartition("#")[2].strip()
    return name if _name().fullmatch(name) else None


def _request_id(headers: Mapping[str, str]) -> str | None:
    said = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    return said[:100] if said and said.isprintable() else None


def _scrubbed(text: str | None, credentials: Credentials | None) -> str | None:
    if not text:
        return None
    if credentials is not None:
        for secret in (credentials.session_token, credentials.secret_key, credentials.access_key):
            if secret and len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
    # Not cut before all of that: half a secret is not recognised.
    return _token().sub("***", _key_id().sub("***", text))


def _seconds(said: str | None) -> float | None:
    try:
        seconds = float(said) if said else None
    except ValueError:
        return None
    return min(seconds, LONGEST_RETRY_AFTER) if seconds is not None and seconds >= 0 else None
