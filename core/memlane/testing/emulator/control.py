"""How tests rule the emulator: unsigned JSON under /_emulator/."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

import orjson

from memlane.errors import MemlaneError
from memlane.testing.emulator.cloud import ACCOUNT, REGION, Cloud
from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.faults import FaultRule
from memlane.testing.emulator.s3vectors.buckets import create_bucket
from memlane.testing.emulator.s3vectors.indexes import create_index
from memlane.testing.emulator.s3vectors.resources import Account

__all__ = ("CONTROL", "controlled")

CONTROL: Final = "/_emulator/"

Body: TypeAlias = Mapping[str, Any]


def _told(cloud: Cloud, body: Body) -> dict[str, Any]:
    del body
    key = cloud.identity.admin
    return {
        "account": ACCOUNT,
        "region": REGION,
        "access_key": key.access_key,
        "secret_key": key.secret_key,
        "tenant_role": cloud.tenant_role,
    }


def _reset(cloud: Cloud, body: Body) -> dict[str, Any]:
    del body
    cloud.reset()
    return {}


def _switch(cloud: Cloud, body: Body) -> dict[str, Any]:
    cloud.switch(body)
    return dataclasses.asdict(cloud.switches)


def _inject(cloud: Cloud, body: Body) -> dict[str, Any]:
    cloud.faults.add(FaultRule.read(body))
    return {}


def _clear(cloud: Cloud, body: Body) -> dict[str, Any]:
    del body
    cloud.faults.clear()
    return {}


def _clock(cloud: Cloud, body: Body) -> dict[str, Any]:
    if "at" in body:
        cloud.clock.set(datetime.fromisoformat(body["at"]))
    cloud.clock.advance(body.get("advance", 0.0))
    return {"now": cloud.clock.now().isoformat()}


def _counters(cloud: Cloud, body: Body) -> dict[str, Any]:
    told = cloud.counting.told()
    if body.get("reset"):
        cloud.counting.reset()
    return told


def _requests(cloud: Cloud, body: Body) -> dict[str, Any]:
    del body
    return {"requests": [dataclasses.asdict(served) for served in cloud.counting.log]}


def _put_user(cloud: Cloud, body: Body) -> dict[str, Any]:
    key = cloud.identity.put_user(**body)
    return {"access_key": key.access_key, "secret_key": key.secret_key}


def _put_role(cloud: Cloud, body: Body) -> dict[str, Any]:
    return {"arn": cloud.identity.put_role(**body)}


def _put_managed(cloud: Cloud, body: Body) -> dict[str, Any]:
    return {"arn": cloud.identity.put_managed(**body)}


def _delete_user(cloud: Cloud, body: Body) -> dict[str, Any]:
    return {"there": cloud.identity.delete_user(**body)}


def _delete_role(cloud: Cloud, body: Body) -> dict[str, Any]:
    return {"there": cloud.identity.delete_role(**body)}


def _drop_index(cloud: Cloud, body: Body) -> dict[str, Any]:
    bucket = cloud.world.account.buckets.get(body["bucket"])
    there = bucket is not None and bucket.indexes.pop(body["index"], None) is not None
    return {"there": there}


def _indexes(cloud: Cloud, body: Body) -> dict[str, Any]:
    del body
    account: Account = cloud.world.account
    return {
        "buckets": {
            name: {index.name: len(index.table) for index in bucket.indexes.values()}
            for name, bucket in account.buckets.items()
        }
    }


def _vectors(cloud: Cloud, body: Body) -> dict[str, Any]:
    bucket = cloud.world.account.buckets.get(body["bucket"])
    index = None if bucket is None else bucket.indexes.get(body["index"])
    if index is None:
        return {"vectors": None}
    table = index.table
    return {
        "vectors": [
            {"key": key, "data": table.vector(row), "metadata": table.metadata[row]}
            for row, key in enumerate(table.keys)
        ]
    }


def _create_bucket(cloud: Cloud, body: Body) -> dict[str, Any]:
    return create_bucket(cloud.world, cloud.world.account.wanted_bucket(body), body)


def _create_index(cloud: Cloud, body: Body) -> dict[str, Any]:
    return create_index(cloud.world, cloud.world.account.wanted_new_index(body), body)


def _disconnect(cloud: Cloud, body: Body) -> dict[str, Any]:
    del cloud, body  # the server itself does it
    return {}


_CALLS: Final[Mapping[str, Callable[[Cloud, Body], dict[str, Any]]]] = {
    "about": _told,
    "reset": _reset,
    "switch": _switch,
    "inject": _inject,
    "clear_faults": _clear,
    "clock": _clock,
    "counters": _counters,
    "requests": _requests,
    "put_user": _put_user,
    "put_role": _put_role,
    "put_managed": _put_managed,
    "delete_user": _delete_user,
    "delete_role": _delete_role,
    "drop_index": _drop_index,
    "indexes": _indexes,
    "vectors": _vectors,
    "create_bucket": _create_bucket,
    "create_index": _create_index,
    "disconnect": _disconnect,
}


def controlled(cloud: Cloud, method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
    """Return status and body of an answer to whoever rules the emulator.

    Args:
        cloud: What is ruled.
        method: GET takes its members from the query string, POST from the body.
        path: Below `CONTROL`.
        query: Of the address.
        body: JSON.
    """
    call = _CALLS.get(path.removeprefix(CONTROL))
    if call is None:
        return 404, orjson.dumps({"error": f"one of {', '.join(_CALLS)}"})
    try:
        if method == "GET":
            members: Body = {name: values[-1] for name, values in parse_qs(query).items()}
        else:
            members = orjson.loads(body or b"{}")
        return 200, orjson.dumps(call(cloud, members), option=orjson.OPT_SERIALIZE_NUMPY)
    except (MemlaneError, AwsError, TypeError, ValueError, KeyError, AttributeError) as exc:
        return 400, orjson.dumps({"error": f"{type(exc).__name__}: {exc}"})
