"""The process: how it starts, is ruled, counts, and ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from datetime import UTC, datetime
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from threading import Barrier, Thread
from urllib.parse import urlsplit

import anyio
import numpy as np
import pytest

from emulator.signed import BUCKET, INDEX, Signed, prepared
from memlane.errors import ValidationError
from memlane.testing.emulator import Emulator, Switches

COMMAND = [sys.executable, "-m", "memlane.testing.emulator", "--port", "0"]


def ends(output: int, seconds: float = 30.0) -> bool:
    """Return whether the last writer of a pipe is gone in time."""
    while select.select([output], [], [], seconds)[0]:
        if not os.read(output, 4_096):
            return True
    return False


def test_what_it_announces() -> None:
    with subprocess.Popen([*COMMAND, "--bucket", "first"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode().split() for _ in range(6)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert all(word == "export" for word, _ in lines)
    exports = dict(assignment.split("=", 1) for _, assignment in lines)
    assert exports["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert exports["AWS_REGION"] == exports["AWS_DEFAULT_REGION"] == "us-east-1"
    assert exports["AWS_ACCESS_KEY_ID"].startswith("AKIA")
    assert len(exports["AWS_SECRET_ACCESS_KEY"]) == 40
    assert exports["MEMLANE_ROLE_ARN"] == "arn:aws:iam::111122223333:role/memlane-tenant"


def test_it_ends_with_its_standard_input() -> None:
    with subprocess.Popen(
        [*COMMAND, "--tied"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(30) == 0


def test_it_ends_with_a_parent_that_is_killed() -> None:
    """Even if somebody else holds its standard input open."""
    parent = (
        "import subprocess, sys, signal\n"
        "command = [sys.executable, '-m', 'memlane.testing.emulator', '--tied']\n"
        "subprocess.Popen(command)\n"
        "signal.pause()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", parent], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"export AWS_ENDPOINT_URL=")
        process.kill()
        process.wait(30)
        assert ends(process.stdout.fileno())


def test_switches_of_the_command_line(tmp_path: Path) -> None:
    given = {"duplicate_keys": "last", "rrf_constant": 7, "rates": True, "clock_skew": 1.5}
    with Emulator.launch(switches=given) as emulator:
        emulator.blocking.switch(rates=False)
        emulator.blocking.reset()
        for name, setting in given.items():
            assert emulator.blocking.switches()[name] == setting
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [{"no_such": 1}, {"rates": 1}, {"euclidean": "cubed"}, {"rrf_constant": "60"}, {"rates": None}],
)
def test_switches_that_are_not(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Switches().changed(change)


def test_switches_from_text() -> None:
    read = Switches().read({"rates": "true", "recall": "measured", "signature_seconds": "0"})
    assert (read.rates, read.recall, read.signature_seconds) == (True, "measured", 0)


def test_as_new(emulator: Emulator) -> None:
    index = prepared(emulator)
    key = emulator.blocking.put_user("someone")
    emulator.blocking.switch(euclidean="root")
    emulator.blocking.inject(status=500)
    emulator.blocking.advance(10_000)
    emulator.blocking.reset()
    assert emulator.blocking.indexes() == {}
    assert emulator.blocking.switches() == emulator.blocking.switches()
    assert emulator.blocking.switches()["euclidean"] == "squared"
    assert emulator.blocking.counters().total == 0
    assert Signed(emulator, key).query().status == 403
    assert index.query().error[:2] == (404, "NotFoundException")


async def test_every_verb_can_be_awaited(emulator: Emulator) -> None:
    """On any loop."""
    await emulator.reset()
    await emulator.create_bucket(BUCKET)
    await emulator.create_index(BUCKET, INDEX, dimension=4, hidden=("content",))
    await emulator.switch(rates=True)
    await emulator.inject(operation="QueryVectors", status=429)
    await emulator.clear_faults()
    await emulator.advance(1.0)
    await emulator.set_clock(datetime.now(UTC))
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    role = await emulator.put_role("r", policy=policy)
    assert role == "arn:aws:iam::111122223333:role/r"
    assert (await emulator.put_managed("p", policy)).endswith(":policy/p")
    assert (await emulator.put_user("u", policy=policy, tags={"a": "b"})).access_key
    assert await emulator.delete_role("r")
    assert await emulator.delete_user("u")
    index = Signed(emulator)
    await anyio.to_thread.run_sync(index.put, "K", [1, 2, 3, 4], {"a": 1})
    assert await emulator.indexes() == {BUCKET: {INDEX: 1}}
    held = (await emulator.vectors(BUCKET, INDEX))["K"]
    assert held.data.dtype == np.float32
    assert held.data.tolist() == [1, 2, 3, 4]
    assert held.metadata == {"a": 1}
    counters = await emulator.counters(reset=True)
    assert counters.requests == {"PutVectors": 1}
    assert await emulator.requests() == []
    assert await emulator.drop_index(BUCKET, INDEX)
    assert not await emulator.drop_index(BUCKET, INDEX)
    assert await emulator.vectors(BUCKET, INDEX) == {}
    await emulator.disconnect()


def test_what_is_counted(emulator: Emulator) -> None:
    index = prepared(emulator)
    many = 8
    emulator.blocking.inject(operation="QueryVectors", latency=0.3)
    barrier = Barrier(many)

    def ask() -> None:
        barrier.wait(30)
        assert index.query().status == 200

    threads = [Thread(target=ask) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    index.put("K")
    index.put("K", [1])
    index.call("DeleteVectors", keys=["K", "no"])
    counters = emulator.blocking.counters()
    assert counters.requests == {"QueryVectors": many, "PutVectors": 2, "DeleteVectors": 1}
    assert counters.statuses["PutVectors"] == {200: 1, 400: 1}
    assert (counters.failures("PutVectors"), counters.failures("GetVectors")) == (1, 0)
    assert 1 < counters.peaks["QueryVectors"] <= many
    assert counters.peak == counters.peaks["QueryVectors"]
    assert counters.connections_opened == many + 3
    assert counters.connections_open <= counters.connections_peak <= many
    assert (counters.vectors_put, counters.vectors_deleted) == (1, 2)


def test_idle_connections_are_ended(emulator: Emulator) -> None:
    """As a service ends them; the next request on one finds it closed."""
    connection = HTTPConnection(urlsplit(emulator.url).netloc, timeout=30)
    connection.request("POST", "/QueryVectors", b"{}")
    connection.getresponse().read()
    assert emulator.blocking.counters().connections_open == 1
    emulator.blocking.disconnect()
    assert emulator.blocking.counters().connections_open == 0
    connection.auto_open = 0
    with pytest.raises((RemoteDisconnected, ConnectionError)):  # noqa: PT012 - either may fail
        connection.request("POST", "/QueryVectors", b"{}")
        connection.getresponse()
    connection.close()


def test_what_rules_it_is_not_counted(emulator: Emulator) -> None:
    for _ in range(3):
        emulator.blocking.indexes()
    assert emulator.blocking.counters().connections_opened == 0
    with pytest.raises(ValidationError, match=r"put_role.*missing"):
        emulator.blocking._call("put_role", {})
