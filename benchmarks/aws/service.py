"""The canned server from outside: start it, teach it, slow it down, count what it saw."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, Self

from benchmarks.aws.server import CONTROL
from benchmarks.peers.environment import ROOT

LATENCY: Final = {
    "QueryVectors": 0.080,
    "PutVectors": 0.060,
    "InvokeModel": 0.040,
    "AssumeRole": 0.100,
    "GetIndex": 0.030,
    "GetVectors": 0.030,
}
"""Seconds each operation takes in the questions about waiting."""


class Service(Protocol):
    """What contenders talk to, and how it is ruled."""

    @property
    def exports(self) -> Mapping[str, str]:
        """What AWS clients read from the environment."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """The same for clients that are told."""
        ...

    def learn(self, learning: bool) -> None:
        """Keep what is put from now on, or no longer."""
        ...

    def slow(self, latency: Mapping[str, float]) -> None:
        """Take this long for these operations, and no time for others."""
        ...

    def throttle(self, rates: Mapping[str, float]) -> None:
        """Answer this share of these operations with 429."""
        ...

    def reset(self) -> None:
        """Count anew."""
        ...

    def counters(self) -> dict[str, Any]:
        """Return what was counted since the last reset."""
        ...

    def create(self, bucket: str, index: str, non_filterable: Sequence[str] = ()) -> None:
        """Make an index of 1,024 dimensions, as whoever onboards a tenant does."""
        ...


class Canned:
    """A running server; `with` ends it."""

    region: Final = "us-east-1"
    access_key: Final = "AKIDEXAMPLE"
    secret_key: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - AWS's own example

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.aws.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # its stdin ends, and so does it

    @property
    def exports(self) -> Mapping[str, str]:
        """What AWS clients read from the environment."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The same for clients that are told."""
        return {
            "endpoint": self.url,
            "region": self.region,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
        }

    def _send(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.url.partition("//")[2], timeout=60)
        connection.request("POST", path, json.dumps(body))
        said: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return said

    def _control(self, **asked: Any) -> dict[str, Any]:
        return self._send(CONTROL, asked)

    def learn(self, learning: bool) -> None:
        """Keep what is put from now on, or answer with what was kept."""
        self._control(learn=learning)

    def slow(self, latency: Mapping[str, float]) -> None:
        """Take this long for these operations, and no time for others."""
        self._control(latency=dict(latency))

    def throttle(self, rates: Mapping[str, float]) -> None:
        """Answer this share of these operations with 429."""
        self._control(throttle=dict(rates))

    def watch(self, watching: bool) -> None:
        """Note which key signed for which index."""
        self._control(watch=watching)

    def reset(self) -> None:
        """Count anew."""
        self._control(reset=True)

    def counters(self) -> dict[str, Any]:
        """Return what was counted since the last reset."""
        return self._control(counters=True)

    def recent(self) -> dict[str, Any]:
        """Return the last request of each operation, of those made while it learned."""
        said = self._control(recent=True)["recent"]
        return {name: json.loads(body) for name, body in said.items()}

    def contents(self, bucket: str, index: str) -> dict[str, Any]:
        """Return the metadata an index holds, by key."""
        found: dict[str, Any] = self._control(contents=[bucket, index])["contents"]
        return found

    def create(self, bucket: str, index: str, non_filterable: Sequence[str] = ()) -> None:
        """Make an index of 1,024 dimensions, as whoever onboards a tenant does."""
        self._send(
            "/CreateIndex",
            {
                "vectorBucketName": bucket,
                "indexName": index,
                "dimension": 1024,
                "distanceMetric": "cosine",
                "metadataConfiguration": {"nonFilterableMetadataKeys": list(non_filterable)},
            },
        )
