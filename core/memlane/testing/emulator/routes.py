"""Requests and answers, and which operation of which service a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from memlane.testing.emulator.s3vectors.service import OPERATIONS, TAG_OPERATIONS

__all__ = ("Asked", "Service", "Told", "routed")

Service: TypeAlias = Literal["s3vectors", "bedrock", "sts", ""]

_ACTION: Final = re.compile(rb"(?:^|&)Action=(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came over the wire.

    Args:
        method: Such as "POST".
        path: Percent-encoded, without the query string.
        query: The query string, without "?".
        headers: In any case.
        body: All of it.
        service: Whose it is; "" for nobody's.
        operation: What it asks for.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    service: Service
    operation: str


@dataclass(slots=True)
class Told:
    """An answer, and what the log says of it.

    Args:
        status: 0 if the connection was dropped instead.
        code: Of an error.
        resource: The ARN that was asked for, as far as it was read.
        principal: The sender's ARN, once established.
        vectors: How many vectors or keys the request carried.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    code: str = ""
    request_id: str = ""
    resource: str = ""
    principal: str = ""
    vectors: int = 0


def routed(method: str, path: str, body: bytes, content_type: str) -> tuple[Service, str]:
    """Return whose a request is, and which operation it asks for.

    Args:
        method: Such as "POST".
        path: Percent-encoded.
        body: All of it.
        content_type: Of the body.
    """
    if method == "POST" and path[1:] in OPERATIONS:
        return "s3vectors", path[1:]
    if path.startswith("/tags/") and method in TAG_OPERATIONS:
        return "s3vectors", TAG_OPERATIONS[method]
    if method == "POST" and path.startswith("/model/") and path.endswith("/invoke"):
        return "bedrock", "InvokeModel"
    if method == "POST" and path == "/" and content_type == "application/x-www-form-urlencoded":
        action = _ACTION.search(body)
        return "sts", action[1].decode() if action else ""
    return "", ""
