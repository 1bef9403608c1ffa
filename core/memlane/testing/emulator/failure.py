"""How a refusal looks on the wire: the code, the status, and the body of each service's protocol.

Evidence tags: [M] service model, [D] documentation, [E] measured live, [K] general knowledge,
[?] unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal
from xml.sax.saxutils import escape

import orjson

__all__ = ("AuthStyle", "AwsError", "Refusal", "rendered", "style_of", "unauthenticated")

AuthStyle = Literal["json", "query", "s3"]
"""How a family of services names what is wrong with a signature or a token."""

Refusal = Literal["mismatch", "skewed", "unknown", "expired", "missing", "incomplete"]
"""Why a request's sender is not established."""

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_STS: Final = "https://sts.amazonaws.com/doc/2011-06-15/"

# The three families name the same failures differently [K]. S3 Vectors speaks rest-json, so the
# first is assumed; that it might speak as S3 does is a switch [?].
_REFUSALS: Final[Mapping[Refusal, Mapping[AuthStyle, tuple[str, int]]]] = {
    "mismatch": {
        "json": ("InvalidSignatureException", 403),
        "query": ("SignatureDoesNotMatch", 403),
        "s3": ("SignatureDoesNotMatch", 403),
    },
    "skewed": {
        "json": ("InvalidSignatureException", 403),
        "query": ("SignatureDoesNotMatch", 403),
        "s3": ("RequestTimeTooSkewed", 403),
    },
    "unknown": {
        "json": ("UnrecognizedClientException", 403),
        "query": ("InvalidClientTokenId", 403),
        "s3": ("InvalidAccessKeyId", 403),
    },
    "expired": {
        "json": ("ExpiredTokenException", 403),
        "query": ("ExpiredToken", 403),
        "s3": ("ExpiredToken", 400),
    },
    "missing": {
        "json": ("MissingAuthenticationTokenException", 403),
        "query": ("MissingAuthenticationToken", 403),
        "s3": ("AccessDenied", 403),
    },
    "incomplete": {
        "json": ("IncompleteSignatureException", 400),
        "query": ("IncompleteSignature", 400),
        "s3": ("AuthorizationHeaderMalformed", 400),
    },
}

_WORDS: Final[Mapping[Refusal, str]] = {
    "mismatch": (
        "The request signature we calculated does not match the signature you provided. Check "
        "your AWS Secret Access Key and signing method. Consult the service documentation for "
        "details."
    ),
    "unknown": "The security token included in the request is invalid.",
    "expired": "The security token included in the request is expired",
    "missing": "Missing Authentication Token",
}


class AwsError(Exception):
    """A refusal that goes back to the client.

    Args:
        code: The service's name for it, such as "ValidationException".
        status: The HTTP status.
        message: In the service's words.
        fields: Pairs of path and message, for an answer's `fieldList`.
        members: Further members of the body, such as `originalStatusCode`.
    """

    def __init__(
        self,
        code: str,
        status: int,
        message: str,
        fields: tuple[tuple[str, str], ...] = (),
        members: Mapping[str, object] = _NOTHING,
    ) -> None:
        super().__init__(code, status, message)
        self.code = code
        self.status = status
        self.message = message
        self.fields = fields
        self.members = members


def style_of(service: str) -> AuthStyle:
    """Return how a service names refusals of a signature, unless a switch says otherwise."""
    return "query" if service in {"sts", "iam"} else "json"


def unauthenticated(kind: Refusal, style: AuthStyle, message: str | None = None) -> AwsError:
    """Return the refusal of a request whose sender is not established."""
    code, status = _REFUSALS[kind][style]
    return AwsError(code, status, _WORDS.get(kind, code) if message is None else message)


def rendered(
    error: AwsError, service: str, request_id: str, *, type_header: str = "x-amzn-ErrorType"
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a refusal, in the protocol of its service."""
    if service == "sts":
        return error.status, _xml_headers(request_id), _xml(error, request_id)
    body: dict[str, object] = {"message": error.message, **error.members}
    if error.fields:
        body["fieldList"] = [{"path": path, "message": text} for path, text in error.fields]
    headers = {
        "Content-Type": "application/json",
        "x-amzn-RequestId": request_id,
        type_header: error.code,
    }
    return error.status, headers, orjson.dumps(body)


def _xml_headers(request_id: str) -> dict[str, str]:
    return {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}


def _xml(error: AwsError, request_id: str) -> bytes:
    blame = "Receiver" if error.status >= 500 else "Sender"
    return (
        f'<ErrorResponse xmlns="{_STS}"><Error><Type>{blame}</Type>'
        f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
        f"<RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
    ).encode("utf-8", "replace")
