"""Requests as they arrive, signed by botocore, and what the emulator makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.identity import AccessKey, Caller, Identity
from memlane.testing.emulator.signature import verify
from memlane.testing.emulator.switches import Switches

HOST = "https://s3vectors.us-east-1.api.aws"
SWITCHES = Switches()


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request as it arrives."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def changed(self, **headers: str | None) -> Sent:
        """Return the request with headers set anew, or left out."""
        after = {**self.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return replace(self, headers={name: text for name, text in after.items() if text})


def now() -> float:
    return datetime.now(UTC).timestamp()


def signed(
    key: AccessKey,
    url: str = f"{HOST}/QueryVectors",
    *,
    method: str = "POST",
    body: bytes = b'{"topK":1}',
    service: str = "s3vectors",
    region: str = "us-east-1",
    note: str | None = None,
) -> Sent:
    """Return a request that botocore signed."""
    parts = urlsplit(url)
    headers = {"Host": parts.netloc, "Content-Type": "application/json"}
    if note is not None:
        headers["X-Amz-Note"] = note
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    credentials = Credentials(key.access_key, key.secret_key, key.token)
    SigV4Auth(credentials, service, region).add_auth(request)
    return Sent(
        method=method,
        path=parts.path,
        query=parts.query,
        headers=dict(request.headers.items()),
        body=body,
    )


def check(
    sent: Sent,
    identity: Identity,
    *,
    at: float | None = None,
    service: str = "s3vectors",
    switches: Switches = SWITCHES,
) -> Caller:
    return verify(
        method=sent.method,
        path=sent.path,
        query=sent.query,
        headers=sent.headers,
        body=sent.body,
        service=service,
        identity=identity,
        now=now() if at is None else at,
        switches=switches,
    )


def refusal(sent: Sent, identity: Identity, **how: object) -> AwsError:
    with pytest.raises(AwsError) as caught:
        check(sent, identity, **how)  # type: ignore[arg-type]
    return caught.value
