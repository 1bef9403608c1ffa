"""The command over a store in AWS: onboarding, sweeping, info, doctor, and the emulator itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner, Result

from memlane import Scope
from memlane.testing import FakeClock
from memlane.testing.emulator import Emulator
from memlane_plain import SyncMemoryClient, connect
from memlane_plain.cli.app import app

URL = "s3vectors://my-memory"


@pytest.fixture
def blockbuster() -> Iterator[BlockBuster | None]:
    """The command is alone on its loop and may wait for files there."""
    return iter([None])


@pytest.fixture(autouse=True)
def surroundings(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Variables of the emulator and no others, and a bucket."""
    for name in os.environ:
        if name.startswith(("AWS_", "MEMLANE_")):
            monkeypatch.delenv(name)
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    emulator.blocking.create_bucket("my-memory")
    return emulator


def run(*args: str) -> Result:
    return CliRunner().invoke(app, [*args, "--url", URL])


def told(*args: str) -> Any:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_onboarding() -> None:
    """A tenant is made once, and then its memory can be kept."""
    before = run("store", "Prefers window seats", "--tenant", "acme", "--user", "ada")
    assert before.exit_code == 1
    assert "memlane onboard acme" in before.stderr
    assert told("onboard", "acme") == {"tenant": "acme", "made": True}
    assert told("onboard", "acme") == {"tenant": "acme", "made": False}
    assert "was ready already" in run("onboard", "acme").stdout
    assert "globex is ready" in run("onboard", "globex").stdout
    who = ("--tenant", "acme", "--user", "ada")
    assert run("store", "Prefers window seats", *who).exit_code == 0
    assert "Prefers window seats" in run("retrieve", "where to sit?", *who).stdout
    assert told("count", *who) == {"count": 1}
    receipt = told("forget", *who, "--yes")
    assert receipt["deleted"] == 1


def test_onboarding_a_user(monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> None:
    """With an index for each user, a user is named."""
    monkeypatch.setenv("MEMLANE_TENANCY", "per-user")
    assert "user=" in run("onboard", "acme").stderr
    assert told("onboard", "acme", "--user", "ada")["made"] is True
    assert len(emulator.blocking.indexes()["my-memory"]) == 1


def test_each_users_own_index(monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> None:
    """What looks at a whole tenant looks at one user's, and wants to be told whose."""
    here = "arn:aws:s3vectors:*:*:bucket/my-memory/index/memory-${aws:PrincipalTag/UserID}"
    trusted = {"AWS": "arn:aws:iam::111122223333:root"}
    role = emulator.blocking.put_role(
        "per-user",
        trust=_allowing(Principal=trusted, Action=["sts:AssumeRole", "sts:TagSession"]),
        policy=_allowing(Action="s3vectors:*", Resource=here),
    )
    monkeypatch.setenv("MEMLANE_TENANCY", "per-user")
    monkeypatch.setenv("MEMLANE_ROLE_ARN", role)
    assert told("onboard", "acme", "--user", "ada")["made"] is True
    stored = run("store", "Prefers window seats", "--tenant", "acme", "--user", "ada")
    assert stored.exit_code == 0, stored.stderr
    for verb in ("sweep", "stats", "users"):
        assert "user=" in run(verb, "acme").stderr
    assert told("sweep", "acme", "--user", "ada") == {"tenant": "acme", "deleted": 0}
    assert told("stats", "acme", "--user", "ada")["records"] == 1
    assert run("users", "acme", "--user", "ada").stdout == "ada\n"
    assert told("forget-tenant", "acme", "--user", "ada", "--yes")["deleted"] == 1


def _allowing(**statement: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}


def test_sweeping(clock: FakeClock, emulator: Emulator) -> None:
    """What expired is deleted, and counted."""
    ada = Scope("ada", tenant="acme")
    with SyncMemoryClient(connect(URL, auto_onboard=True, clock=clock)) as memory:
        clock.set(clock.now() - timedelta(days=400))
        memory.store("gone by now", scope=ada, ttl=timedelta(days=1))
        kept = memory.store("stays", scope=ada)
        assert memory.admin("globex").onboard() is True
    before = len(emulator.blocking.vectors("my-memory", "memory-acme"))
    assert told("sweep", "acme") == {"tenant": "acme", "deleted": 1}
    after = emulator.blocking.vectors("my-memory", "memory-acme")
    assert before - len(after) == 1
    assert any(key.endswith(kept.id) for key in after)
    assert "0 expired memories deleted" in run("sweep", "acme").stdout
    with SyncMemoryClient(connect(URL)) as memory:
        assert memory.admin("acme").sweep() == 0


def test_info(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is, who asks, and whether the tenant is there; never a secret."""
    nobody = told("info")
    assert nobody["aws"] == {
        "region": "us-east-1",
        "host_credentials": "keys of the environment",
        "endpoint": emulator.url,
        "bucket": "my-memory",
        "indexes": "one per tenant",
        "tenant_credentials": f"a session of {emulator.tenant_role}",
        "index": None,
    }
    assert nobody["backend"]["isolation"] == "credentials"
    assert nobody["tenancy"] == "required"
    assert "httptools" in nobody["versions"]
    who = ("--tenant", "acme", "--user", "ada")
    assert "memlane onboard acme" in told("info", *who)["aws"]["index"]
    run("onboard", "acme")
    assert told("info", *who)["aws"]["index"] == "there"
    shown = run("info", *who).stdout
    assert "one per tenant" in shown
    assert emulator.admin.secret_key not in shown + json.dumps(nobody)
    shared = json.loads(CliRunner().invoke(app, ["info", "--json", "--url", f"{URL}/all"]).stdout)
    assert shared["aws"]["indexes"] == "all, for all"
    assert shared["aws"]["tenant_credentials"] is None
    assert shared["backend"]["isolation"] == "checks"
    monkeypatch.setenv("MEMLANE_EMBEDDING_MODEL", "cohere.embed-v4:0")
    local = json.loads(CliRunner().invoke(app, ["info", "--json", "--url", "memory://"]).stdout)
    assert "bucket" not in local["aws"]
    assert local["space"]["model"] == "cohere.embed-v4:0"


def checks(*args: str) -> dict[str, dict[str, Any]]:
    found = json.loads(run("doctor", "--json", *args).stdout)
    return {check["name"]: check for check in found["checks"]}


def test_doctor() -> None:
    """All is well without a tenant; one that is named must have been onboarded."""
    found = checks()
    assert list(found) == ["python", "sqlite", "extra aws", "credentials", "model", "store"]
    assert all(check["ok"] for check in found.values())
    assert "keys of the environment" in found["credentials"]["found"]
    assert "titan" in found["model"]["found"]
    store = checks("--tenant", "acme")["store"]
    assert not store["ok"]
    assert "memlane onboard acme" in store["remedy"]
    run("onboard", "acme")
    assert checks("--tenant", "acme")["store"]["ok"]
    assert run("doctor", "--tenant", "acme").exit_code == 0


def test_doctor_where_the_role_does_not_trust_us(emulator: Emulator) -> None:
    """A role that may not be assumed is told of at the store; the model is well."""
    emulator.blocking.delete_role("memlane-tenant")
    found = checks()
    assert found["model"]["ok"]
    assert not found["store"]["ok"]
    assert "sts:TagSession" in found["store"]["remedy"]


def test_doctor_without_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that nobody knows are told as what is wrong with the model; the secret is not."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-right-one")
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert "not-the-right-one" not in result.stdout
    found = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert not found["model"]["ok"]
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "AWS_REGION" in checks()["settings"]["remedy"]


def test_doctor_with_the_built_in_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that is used is the one that is looked at."""
    monkeypatch.setenv("MEMLANE_EMBEDDING_MODEL", "local")
    found = checks()
    assert "golden sentence" in found["model"]["found"]
    assert found["store"]["ok"]


@pytest.mark.parametrize("switch", ["legacy_buckets", "no_such=1", "legacy_buckets=maybe"])
def test_switches_that_are_none(switch: str) -> None:
    """Refused with what there is."""
    result = CliRunner().invoke(app, ["emulator", "--switch", switch])
    assert result.exit_code == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_the_emulator(as_json: bool) -> None:
    """It says what to export, serves, holds the bucket, and ends at an interrupt."""
    args = ["emulator", "--port", "0", "--bucket", "a-bucket", "--switch", "text_stems=true"]
    with subprocess.Popen(
        [sys.executable, "-m", "memlane_plain", *args, *["--json"] * as_json],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            exports = announced(process, as_json=as_json)
            running = Emulator(exports["AWS_ENDPOINT_URL"])
            assert running.blocking.indexes() == {"a-bucket": {}}
            assert exports == running.environment()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def announced(process: subprocess.Popen[str], *, as_json: bool) -> dict[str, str]:
    """Return the variables that the command said to export."""
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if line.startswith("#") or line.endswith("}\n"):
            break
    if as_json:
        found: dict[str, str] = json.loads("".join(lines))
        return found
    pairs = [line.removeprefix("export ").strip().partition("=") for line in lines[:-1]]
    return {name: value for name, _, value in pairs}
