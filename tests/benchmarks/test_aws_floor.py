"""The floor signs as AWS does, knows nothing of memlane, and sends what memlane sends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.aws.arena import Arena, lesson
from benchmarks.aws.clients.floor import Signer
from benchmarks.aws.environment import FLOOR, MEMLANE, OTHER_LOOP
from benchmarks.aws.process import ContenderProcess
from benchmarks.aws.service import Canned
from benchmarks.peers.environment import PeerError
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("token", [None, "a-token"])
@pytest.mark.parametrize(
    ("service", "path", "signed_path"),
    [
        ("s3vectors", "/PutVectors", "/PutVectors"),
        ("bedrock", "/model/m%3A0/invoke", "/model/m%253A0/invoke"),
    ],
)
def test_the_floor_signs_as_botocore_does(
    token: str | None, service: str, path: str, signed_path: str
) -> None:
    settings = {"region": "eu-west-1", "access_key": "AK", "secret_key": "secret"}
    signer = Signer(service, "host:81", settings | {"session_token": token})
    body = b'{"a":[1.5]}'
    ours = signer.headers(signed_path, body)
    request = AWSRequest("POST", f"http://host:81{path}", data=body)
    request.headers["Content-Type"] = "application/json"
    request.headers["X-Amz-Date"] = ours["X-Amz-Date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.context["timestamp"] = ours["X-Amz-Date"]
    auth = SigV4Auth(Credentials("AK", "secret", token), service, "eu-west-1")
    signature = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    assert ours["Authorization"].endswith(f"Signature={signature}")


def test_the_floor_imports_nothing_of_memlane() -> None:
    code = (
        "import sys, benchmarks.aws.clients.floor; "
        "assert not any(name.startswith(('memlane', 'boto')) for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_floor_and_memlane_send_the_same_and_get_the_same() -> None:
    with (
        Canned() as server,
        Arena(server, [FLOOR, MEMLANE, OTHER_LOOP], python=sys.executable) as arena,
    ):
        for op in ("store", "retrieve", "recall"):
            for name in arena.names(op):
                arena.turn(name, op, n=1, concurrency=1)  # the index is looked at once
                figures = arena.turn(name, op, n=6, concurrency=1)
                assert figures["cpu_ms"] > 0
                assert figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
        wire = arena.wire
    for op in ("store", "retrieve", "recall"):
        floor = wire[f"floor: {op}"]
        asked = "PutVectors" if op == "store" else "QueryVectors"
        assert floor["InvokeModel"] == floor[asked] == 1.0
        for other in ("memlane", "memlane, other loop"):
            ours = wire[f"{other}: {op}"]
            assert {key for key in ours if "bytes" not in key} == {"InvokeModel", asked}
            assert ours["InvokeModel"] == ours[asked] == 1.0
            for key in ("InvokeModel bytes", f"{asked} bytes"):
                # A JSON object may be spaced, ordered and its key named differently: no more.
                assert ours[key] == pytest.approx(floor[key], rel=0.02), key


def test_a_contender_that_fails_says_why() -> None:
    with Canned() as server:
        said: dict[str, Any] = lesson(server, python=sys.executable)
        with ContenderProcess(FLOOR, server, said, python=sys.executable) as floor:
            server.throttle({"PutVectors": 1.0})
            figures = floor.run("store", n=3, concurrency=2)
            assert figures["errors"] == 3
            assert "429" in figures["first_error"]
            with pytest.raises(PeerError, match=r"AttributeError.*no_such_thing"):
                floor.run("no_such_thing", n=1, concurrency=1)


def test_calls_are_shared_among_callers_and_counted() -> None:
    with Canned() as server:
        said = lesson(server, python=sys.executable)
        with ContenderProcess(FLOOR, server, said, python=sys.executable) as floor:
            server.slow({"QueryVectors": 0.02})
            server.reset()
            figures = floor.run("retrieve", n=20, concurrency=10, ticker=True)
            counted = server.counters()
            floor.close()
    assert counted["requests"] == {"InvokeModel": 20, "QueryVectors": 20}
    assert 2 <= counted["peak_busy"] <= 10
    assert figures["p50_ms"] >= 20
    assert figures["errors"] == 0
    assert figures["step_worst_ms"] >= 0
