"""Clients that nobody here wrote drive the emulator as they drive AWS, unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emulator.clients.environment import prepared
from memlane.testing.emulator import Emulator
from memlane.testing.emulator.s3vectors.service import OPERATIONS, TAG_OPERATIONS

pytestmark = pytest.mark.clients

PROGRAMS = Path(__file__).parent / "programs"
QUIET = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
}
ADA = "Ada prefers window seats on long flights."
INVOICE = "The invoice was paid in March."
REX = "Rex the dog is afraid of thunder."


@pytest.fixture(scope="session")
def python() -> Path:
    return prepared()


def ran(python: Path, program: str, emulator: Emulator, home: Path) -> Any:
    """Return what a program says, run with nothing but the emulator's exports."""
    environment = {**emulator.environment(), **QUIET, "HOME": str(home)}
    done = subprocess.run(
        (str(python), "-I", str(PROGRAMS / program)),
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout)


def test_boto3(python: Path, emulator: Emulator, tmp_path: Path) -> None:
    told = ran(python, "boto3_operations.py", emulator, tmp_path)
    assert told["boto3"] == "1.44.5"
    ours = {*OPERATIONS, *TAG_OPERATIONS.values()}
    assert set(told["operations"]) == ours
    counted = emulator.blocking.counters().requests
    assert ours <= set(counted), "every operation was asked for"
    assert len(emulator.blocking.vectors("boto3-bucket", "memory-acme")) == 249


def test_langchain_aws(python: Path, emulator: Emulator, tmp_path: Path) -> None:
    emulator.blocking.create_bucket("langchain")
    told = ran(python, "langchain_store.py", emulator, tmp_path)
    assert set(told) == {"titan", "cohere", "cohere4"}
    for name, found in told.items():
        assert found["ids"] == ["a", "b", "c"]
        assert found["filtered"] == [ADA, REX], name
        assert found["best"] == REX
        assert 0 < found["distance"] < 0.8
        assert found["bob"] == {"user": "bob"}
        assert found["got"] == [INVOICE, ADA]
        assert found["asked"] == [INVOICE]
        assert found["left"] == 2
        assert set(emulator.blocking.vectors("langchain", f"memory-{name}")) == {"b", "c"}


def test_strands_s3_vectors_memory(python: Path, emulator: Emulator, tmp_path: Path) -> None:
    emulator.blocking.create_bucket("strands")
    for index in ("memory", "memory-acme", "memory-globex"):
        emulator.blocking.create_index("strands", index, dimension=1_024, hidden=("content",))
    told = ran(python, "strands_memory.py", emulator, tmp_path)
    assert told["single"] == [ADA, REX]
    multi = told["multi"]
    assert multi["acme"] == ["Acme's secret is blue."]
    assert multi["globex"] == ["Globex's secret is red."]
    assert "assumed-role/memlane-tenant/tenant-acme is not authorized" in multi["across"]
    assert "failed to satisfy constraint" in multi["unnamed"]
    stored = emulator.blocking.vectors("strands", "memory-acme").values()
    assert [each.metadata["content"] for each in stored] == ["Acme's secret is blue."]
