"""How the emulator is ruled from another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray

from memlane.errors import ValidationError
from memlane.protocols import Credentials
from memlane.testing.emulator.control import CONTROL
from memlane.testing.emulator.counters import Counters, Served

__all__ = ("BlockingEmulator", "StoredVector")

_SECONDS: Final = 60.0

Policy: TypeAlias = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVector:
    """What an index holds under a key.

    Args:
        data: Its components.
        metadata: All of it.
    """

    key: str
    data: NDArray[np.float32]
    metadata: Mapping[str, Any]


class BlockingEmulator:
    """What `Emulator` does, for those who wait in a thread.

    Args:
        url: Where the emulator listens.
    """

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def _call(self, name: str, members: Mapping[str, Any] | None = None) -> Any:
        connection = HTTPConnection(self._address, timeout=_SECONDS)
        try:
            body = orjson.dumps(members or {}, default=_as_json)
            connection.request("POST", f"{CONTROL}{name}", body, {"Connection": "close"})
            answer = connection.getresponse()
            told = orjson.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValidationError(f"the emulator refused {name}: {told['error']}", remedy="mend it")
        return told

    def about(self) -> dict[str, str]:
        """Return the account, the region and the host's key."""
        told: dict[str, str] = self._call("about")
        return told

    def reset(self) -> None:
        """Let it be as new."""
        self._call("reset")

    def switch(self, **switches: object) -> None:
        """Set some of the `Switches` until the next reset."""
        self._call("switch", switches)

    def switches(self) -> dict[str, Any]:
        """Return the setting of every switch."""
        told: dict[str, Any] = self._call("switch")
        return told

    def inject(self, **rule: object) -> None:
        """Let requests go wrong; the members are those of `FaultRule`."""
        self._call("inject", rule)

    def clear_faults(self) -> None:
        """Let all go well again."""
        self._call("clear_faults")

    def advance(self, seconds: float) -> None:
        """Move its clock on."""
        self._call("clock", {"advance": seconds})

    def set_clock(self, at: datetime) -> None:
        """Set its clock, which goes on from there."""
        self._call("clock", {"at": at.isoformat()})

    def disconnect(self) -> None:
        """End every connection that stands."""
        self._call("disconnect")

    def counters(self, *, reset: bool = False) -> Counters:
        """Return what was counted since the last reset, and perhaps begin again."""
        return Counters.read(self._call("counters", {"reset": reset}))

    def requests(self) -> list[Served]:
        """Return the last 10,000 requests that were answered, in order."""
        return [Served(**served) for served in self._call("requests")["requests"]]

    def put_user(
        self, name: str, *, policy: object = None, tags: Mapping[str, str] | None = None
    ) -> Credentials:
        """Make or replace a user."""
        told = self._call("put_user", {"name": name, "policy": policy, "tags": tags or {}})
        return Credentials(**told)

    def put_role(
        self,
        name: str,
        *,
        trust: Policy | None = None,
        policy: object = None,
        tags: Mapping[str, str] | None = None,
        max_session: int = 3600,
    ) -> str:
        """Make or replace a role and return its ARN."""
        role = {"trust": trust, "policy": policy, "tags": tags or {}, "max_session": max_session}
        return str(self._call("put_role", {"name": name, **role})["arn"])

    def put_managed(self, name: str, policy: Policy) -> str:
        """Make or replace a managed policy and return its ARN."""
        return str(self._call("put_managed", {"name": name, "policy": policy})["arn"])

    def delete_user(self, name: str) -> bool:
        """Delete a user and its key."""
        return bool(self._call("delete_user", {"name": name})["there"])

    def delete_role(self, name: str) -> bool:
        """Delete a role and with it its sessions."""
        return bool(self._call("delete_role", {"name": name})["there"])

    def create_bucket(self, bucket: str) -> None:
        """Make a vector bucket, as the host would."""
        self._call("create_bucket", {"vectorBucketName": bucket})

    def create_index(
        self,
        bucket: str,
        index: str,
        *,
        dimension: int = 8,
        metric: str = "cosine",
        hidden: tuple[str, ...] = (),
        **members: Any,
    ) -> None:
        """Make an index, as the host would."""
        given: dict[str, Any] = {
            "vectorBucketName": bucket,
            "indexName": index,
            "dataType": "float32",
            "dimension": dimension,
            "distanceMetric": metric,
            "metadataConfiguration": {"nonFilterableMetadataKeys": hidden},
        }
        self._call("create_index", given | members)

    def drop_index(self, bucket: str, index: str) -> bool:
        """Remove an index behind everybody's back. Return whether there was one."""
        return bool(self._call("drop_index", {"bucket": bucket, "index": index})["there"])

    def indexes(self) -> dict[str, dict[str, int]]:
        """Return how many vectors each index of each bucket holds."""
        told: dict[str, dict[str, int]] = self._call("indexes")["buckets"]
        return told

    def vectors(self, bucket: str, index: str) -> dict[str, StoredVector]:
        """Return what an index holds, by key; empty when there is none."""
        told = self._call("vectors", {"bucket": bucket, "index": index})["vectors"]
        return {
            one["key"]: StoredVector(
                key=one["key"],
                data=np.array(one["data"], dtype=np.float32),
                metadata=one["metadata"],
            )
            for one in told or ()
        }


def _as_json(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise TypeError
