"""`connect("s3vectors://…")`: who asks for what, with whose credentials, over the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from memlane import (
    AccessDeniedError,
    CredentialsError,
    MemoryClient,
    Scope,
    ScopeError,
    TenantNotOnboardedError,
    ValidationError,
)
from memlane.aws.credentials import StaticCredentials
from memlane.protocols import Credentials
from memlane.testing import HashingEmbedder
from memlane.testing.emulator import Emulator
from memlane_plain import connect

URL = "s3vectors://my-memory"
ADA = Scope("ada", tenant="acme")
HOST = "arn:aws:iam::111122223333:user/host"
BOB = Scope("bob", tenant="globex")


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


async def told(client: MemoryClient, scope: Scope, question: str) -> list[str]:
    return [match.record.text for match in await client.retrieve(question, scope=scope)]


async def test_an_index_per_tenant(emulator: Emulator) -> None:
    """Each tenant's requests are signed with a session of that tenant, models with the host's."""
    async with connect(URL, auto_onboard=True) as client:
        await client.store("Prefers window seats", scope=ADA)
        await client.store("Prefers the aisle", scope=BOB)
        assert await told(client, ADA, "Where does she sit?") == ["Prefers window seats"]
        assert await told(client, BOB, "Where does he sit?") == ["Prefers the aisle"]
        assert client.tenancy == "required"
        assert client.capabilities.isolation == "credentials"
        assert client.space.model == "amazon.titan-embed-text-v2:0"
        with pytest.raises(ScopeError):
            await client.store("x", scope=Scope("ada"))
    indexes = await emulator.indexes()
    assert set(indexes["my-memory"]) == {"memory-acme", "memory-globex"}
    served = await emulator.requests()
    for operation in ("PutVectors", "QueryVectors"):
        # Whoever makes an index marks it: that is the host.
        callers = {each.principal for each in served if each.operation == operation} - {HOST}
        sessions = {caller.rpartition("assumed-role/")[2] for caller in callers}
        assert sessions == {"memlane-tenant/memlane-acme", "memlane-tenant/memlane-globex"}
    assert {each.principal for each in served if each.operation == "InvokeModel"} == {HOST}


async def test_a_tenant_is_not_made_unasked() -> None:
    """Without `auto_onboard` a tenant without an index is told of, with the command."""
    async with connect(URL) as client:
        with pytest.raises(TenantNotOnboardedError, match="memlane onboard"):
            await client.store("x", scope=ADA)


async def test_one_shared_index(emulator: Emulator) -> None:
    """The host reads and writes it; no role is assumed, and isolation is said to be by checks."""
    async with connect(f"{URL}/all-of-them", auto_onboard=True) as client:
        for scope, text in ((ADA, "window"), (BOB, "aisle"), (Scope("eve"), "back row")):
            await client.store(text, scope=scope)
        assert await told(client, ADA, "seat") == ["window"]
        assert await told(client, Scope("eve"), "seat") == ["back row"]
        assert client.tenancy == "optional"
        assert client.capabilities.isolation == "checks"
    assert set((await emulator.indexes())["my-memory"]) == {"all-of-them"}
    assert (await emulator.counters()).requests.get("AssumeRole", 0) == 0


async def test_an_index_per_user(emulator: Emulator) -> None:
    """`tenancy="per-user"` makes one for each, and the session carries the user too."""
    role = await emulator.put_role(
        "per-user",
        trust=TRUST,
        policy={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "s3vectors:*",
                    "Resource": "arn:aws:s3vectors:*:*:bucket/my-memory/index/"
                    "memory-${aws:PrincipalTag/UserID}",
                }
            ],
        },
    )
    async with connect(URL, tenancy="per-user", role_arn=role, auto_onboard=True) as client:
        await client.store("window", scope=ADA)
        await client.store("aisle", scope=Scope("bob", tenant="acme"))
        assert await told(client, ADA, "seat") == ["window"]
    assert len((await emulator.indexes())["my-memory"]) == 2


TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }
    ],
}
INDEX = "arn:aws:s3vectors:*:*:bucket/*/index/memory-${aws:PrincipalTag/TenantID}"


async def test_a_role_of_its_own_for_deleting(emulator: Emulator) -> None:
    """What the reader may not delete the eraser does; without one it is refused."""
    reading = ["s3vectors:PutVectors", "s3vectors:QueryVectors", "s3vectors:GetVectors"]
    reading += ["s3vectors:ListVectors", "s3vectors:GetIndex"]
    deleting = ["s3vectors:DeleteVectors", "s3vectors:GetVectors", "s3vectors:ListVectors"]
    roles = [
        await emulator.put_role(
            name,
            trust=TRUST,
            policy={
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": actions, "Resource": INDEX}],
            },
        )
        for name, actions in (("reader", reading), ("eraser", deleting))
    ]
    async with connect(URL, role_arn=roles[0], auto_onboard=True) as client:
        record = await client.store("window", scope=ADA)
        with pytest.raises(AccessDeniedError):
            await client.delete(record.id, scope=ADA)
    async with connect(URL, role_arn=roles[0], eraser_role_arn=roles[1]) as client:
        assert await client.delete(record.id, scope=ADA) == 1


async def test_a_provider_of_ones_own(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """`credentials` is asked for each tenant once, and no role is needed."""
    monkeypatch.delenv("MEMLANE_ROLE_ARN")
    asked: list[str | None] = []

    async def provider(scope: Scope) -> Credentials:
        asked.append(scope.tenant)
        return emulator.admin

    async with connect(URL, credentials=provider, auto_onboard=True) as client:
        await client.store("window", scope=ADA)
        await client.store("aisle", scope=BOB)
        assert await told(client, ADA, "seat") == ["window"]
    assert sorted(asked, key=str) == ["acme", "globex"]


async def test_hosts_credentials_from_elsewhere(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`host_credentials` is who assumes the role and asks the models."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    admin = StaticCredentials(emulator.admin.access_key, emulator.admin.secret_key)
    async with connect(URL, host_credentials=admin, auto_onboard=True) as client:
        await client.store("window", scope=ADA)
    with_wrong_keys = connect(URL, auto_onboard=True)
    with pytest.raises(Exception, match="credentials") as caught:
        await with_wrong_keys.store("window", scope=ADA)
    assert emulator.admin.secret_key not in str(caught.value)
    await with_wrong_keys.aclose()


async def test_a_profile_that_is_named_is_meant(
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    blockbuster: BlockBuster,
) -> None:
    """It wins over keys in the environment; a profile of the environment does not."""
    blockbuster.deactivate()  # the chain reads files, on a loop of its own in a worker thread
    admin, file = emulator.admin, tmp_path / "credentials"
    keys = f"aws_access_key_id={admin.access_key}\naws_secret_access_key={admin.secret_key}\n"
    file.write_text(f"[work]\n{keys}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    async with connect(URL, profile="work", auto_onboard=True) as client:
        await client.store("window", scope=ADA)
    monkeypatch.setenv("AWS_PROFILE", "work")
    async with connect(URL, auto_onboard=True) as client:
        with pytest.raises(CredentialsError):
            await client.store("window", scope=ADA)


async def test_models_and_stores_are_free_to_choose(tmp_path: Path, emulator: Emulator) -> None:
    """A model of Bedrock over a file, the built-in one in AWS, and one of your own anywhere."""
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    async with connect(url, embedding_model="us.cohere.embed-v4:0", dimensions=512) as client:
        await client.store("window", scope=ADA)
        assert await told(client, ADA, "seat") == ["window"]
        assert client.space.id == "cohere.embed-v4:0:512:purposes"
    async with connect(URL, embedding_model="local", auto_onboard=True) as client:
        await client.store("window", scope=ADA)
        assert client.space.dimensions == 384
    await emulator.counters(reset=True)
    async with connect(URL, embedder=HashingEmbedder(), auto_onboard=True) as client:
        await client.store("aisle", scope=BOB)
    assert (await emulator.counters()).requests.get("InvokeModel", 0) == 0


@pytest.mark.parametrize(
    ("url", "settings", "remedy"),
    [
        (URL, {}, "MEMLANE_ROLE_ARN"),
        (URL, {"role_arn": "tenant"}, "arn:aws:iam"),
        (URL, {"role_arn": "arn:aws:iam::111122223333:role/x", "region": ""}, "AWS_REGION"),
        (URL, {"tenancy": "none"}, "shared index"),
        (f"{URL}/all", {"credentials": StaticCredentials("AKIA", "x")}, "leave the index out"),
        (f"{URL}/all", {"embedding_model": "titan"}, r"amazon\.titan-embed-text-v2:0"),
        (f"{URL}/all", {"dimensions": 7}, "256, 512, 1024"),
        (f"{URL}/all", {"dimensions": True}, "default"),
        (f"{URL}/all", {"concurrency": 0}, "default"),
        (f"{URL}/all", {"endpoint_url": "127.0.0.1"}, "https://host"),
        ("s3vectors://", {}, "my-bucket"),
        ("s3://my-memory", {}, "s3vectors://bucket"),
    ],
)
async def test_what_cannot_be_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, url: str, settings: dict[str, Any], remedy: str
) -> None:
    """Before anything is opened, with what to do."""
    monkeypatch.delenv("MEMLANE_ROLE_ARN")
    if settings.get("region") == "":
        monkeypatch.delenv("AWS_REGION")
        monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ValidationError, match=remedy):
        connect(url, **(settings | {"region": None}))


def program(code: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


_CALLS = """
import asyncio, json, sys
from memlane import Scope
from memlane_plain import connect
async def main():
    async with connect("s3vectors://my-memory", auto_onboard=True) as client:
        await client.store("window", scope=Scope("ada", tenant="acme"))
        await client.retrieve("seat", scope=Scope("ada", tenant="acme"))
asyncio.run(main())
print(json.dumps({name: name in sys.modules for name in ("botocore", "aioboto3", "onnxruntime")}))
"""


def test_keys_of_the_environment_need_no_botocore() -> None:
    """A tenth of a second of CPU, and thirty megabytes, that nobody with keys at hand pays."""
    assert program(_CALLS) == {"botocore": False, "aioboto3": False, "onnxruntime": False}


@pytest.mark.parametrize(
    ("missing", "code", "name"),
    [
        ("httptools", "connect('s3vectors://my-memory')", "MissingExtraError"),
        ("orjson", "connect('s3vectors://my-memory')", "MissingExtraError"),
        (
            "httptools",
            "connect('memory://', embedding_model='cohere.embed-v4:0')",
            "MissingExtraError",
        ),
        ("httptools", "connect('memory://')", None),
    ],
)
def test_a_missing_extra_is_one_line(missing: str, code: str, name: str | None) -> None:
    """It names what to install; stores that need none of it open all the same."""
    found = program(
        f"import json, sys\nsys.modules[{missing!r}] = None\n"
        "from memlane_plain import connect\n"
        f"try:\n    {code}\nexcept Exception as error:\n    said = error\nelse:\n    said = None\n"
        "print(json.dumps({'name': said and type(said).__name__, 'text': str(said)}))"
    )
    assert found["name"] == name
    if name:
        assert "pip install 'memlane[aws]'" in found["text"]
        assert "\n" not in found["text"]


def test_connecting_opens_nothing() -> None:
    """No file, no socket, no thread, before the first call."""
    found = program(
        "import json, sys, threading\n"
        "import memlane_plain.composition, ssl, httptools, orjson\n"
        "seen = []\n"
        "def hook(event, args):\n"
        "    if event in {'open', 'socket.connect', 'subprocess.Popen'}:\n"
        "        if not str(args[0]).endswith(('.py', '.pyc', '.so')):\n"
        "            seen.append([event, str(args[0])])\n"
        "sys.addaudithook(hook)\n"
        "client = memlane_plain.connect('s3vectors://my-memory')\n"
        "print(json.dumps({'seen': seen, 'threads': threading.active_count()}))"
    )
    assert found == {"seen": [], "threads": 1}
