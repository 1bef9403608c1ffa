"""The command over a tenant in AWS: what it has and costs, another model, and forgetting it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner, Result

from memlane.testing.emulator import Emulator
from memlane_plain.cli.app import app

URL = "s3vectors://my-memory"
ADA = ("--tenant", "acme", "--user", "ada")


@pytest.fixture
def blockbuster() -> Iterator[BlockBuster | None]:
    """The command is alone on its loop and may wait for files there."""
    return iter([None])


@pytest.fixture(autouse=True)
def surroundings(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Variables of the emulator and no others, and a bucket with a tenant in it."""
    for name in os.environ:
        if name.startswith(("AWS_", "MEMLANE_")):
            monkeypatch.delenv(name)
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    emulator.blocking.create_bucket("my-memory")
    assert run("onboard", "acme").exit_code == 0
    for text in ("Prefers window seats", "Has a dog called Pickle"):
        assert run("store", text, *ADA).exit_code == 0
    return emulator


def run(*args: str) -> Result:
    return CliRunner().invoke(app, [*args, "--url", URL])


def told(*args: str) -> Any:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_what_a_tenant_has_and_costs() -> None:
    """Storage has a price there; it is said to be an estimate."""
    counted = told("stats", "acme")
    assert (counted["users"], counted["records"], counted["vectors"]) == (1, 2, 2)
    assert 0 < counted["dollars_month"] < 0.01
    assert "less than $0.01 a month" in run("stats", "acme").stdout
    assert run("users", "acme").stdout == "ada\n"


def test_to_other_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan has its price; afterwards the old settings are refused, and the new ones find."""
    target = ("--model", "amazon.titan-embed-text-v2:0", "--dimensions", "512")
    plan = told("reembed", "acme", "--plan", *target)
    assert plan["records"] == 2
    assert 0 < plan["dollars"] < 0.01
    assert "less than $0.01" in run("reembed", "acme", "--plan", *target).stdout
    done = told("reembed", "acme", "--yes", *target)
    assert (done["records"], done["embedded"]) == (2, 2)
    assert run("retrieve", "where to sit?", *ADA).exit_code == 1
    monkeypatch.setenv("MEMLANE_EMBEDDING_MODEL", target[1])
    monkeypatch.setenv("MEMLANE_DIMENSIONS", "512")
    found = run("retrieve", "where to sit?", *ADA)
    assert "Prefers window seats" in found.stdout


def test_forgetting_it(emulator: Emulator) -> None:
    """Nothing is left that the index lists."""
    record = told("list", *ADA)["items"][0]["id"]
    assert run("update", record, "--text", "Prefers the aisle", *ADA).exit_code == 0
    assert len(told("history", record, *ADA)) == 2
    receipt = told("forget-tenant", "acme", "--yes")
    assert (receipt["found"], receipt["deleted"], receipt["verified_empty"]) == (2, 2, True)
    left = emulator.blocking.indexes()["my-memory"]
    assert all(not emulator.blocking.vectors("my-memory", name) for name in left)
