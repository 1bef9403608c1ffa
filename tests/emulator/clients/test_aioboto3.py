"""aioboto3, of the main environment: a session for a tenant, and what it may do then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aioboto3
import anyio
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from memlane.testing.emulator import Emulator

BUCKET = "memories"
ACME = {"vectorBucketName": BUCKET, "indexName": "memory-acme"}
GLOBEX = {"vectorBucketName": BUCKET, "indexName": "memory-globex"}
TEXTS = ("Ada prefers window seats", "Rex is afraid of thunder")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """aiohttp, on which it stands, knows asyncio alone."""
    return ("asyncio", {})


@pytest.fixture
async def exported(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Emulator:
    """The emulator as its exports tell of it, and an index for each of two tenants."""
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    await emulator.create_bucket(BUCKET)
    for names in (ACME, GLOBEX):
        await emulator.create_index(bucket=BUCKET, index=names["indexName"], dimension=256)
    return emulator


def opened(
    service: str, session: Mapping[str, Any] | None = None, **config: Any
) -> AbstractAsyncContextManager[Any]:
    """Return a client with a session's credentials, or with the host's."""
    keys = (
        {
            "aws_access_key_id": session["AccessKeyId"],
            "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }
        if session
        else {}
    )
    client: AbstractAsyncContextManager[Any] = aioboto3.Session(**keys).client(
        service, config=AioConfig(**config)
    )
    return client


async def assumed(emulator: Emulator, tenant: str, **more: Any) -> Mapping[str, Any]:
    async with opened("sts") as sts:
        told = await sts.assume_role(
            RoleArn=emulator.tenant_role,
            RoleSessionName=f"tenant-{tenant}",
            Tags=[{"Key": "TenantID", "Value": tenant}],
            DurationSeconds=900,
            **more,
        )
    credentials: Mapping[str, Any] = told["Credentials"]
    return credentials


async def embedded(text: str) -> list[float]:
    async with opened("bedrock-runtime") as bedrock:
        answer = await bedrock.invoke_model(
            modelId="amazon.titan-embed-text-v2:0",
            body=json.dumps({"inputText": text, "dimensions": 256}),
        )
        vector: list[float] = json.loads(await answer["body"].read())["embedding"]
    return vector


async def test_a_tenant_stores_and_finds(exported: Emulator) -> None:
    rows = [
        {"key": f"k{n}", "data": {"float32": await embedded(text)}, "metadata": {"content": text}}
        for n, text in enumerate(TEXTS)
    ]
    async with opened("s3vectors", await assumed(exported, "acme")) as tenant:
        await tenant.put_vectors(**ACME, vectors=rows)
        query = {
            "topK": 2,
            "queryVector": {"float32": await embedded("which seat does Ada prefer?")},
            "returnMetadata": True,
            "returnDistance": True,
        }
        found = await tenant.query_vectors(**ACME, **query)
        assert [each["metadata"]["content"] for each in found["vectors"]] == list(TEXTS)
        for call in (
            tenant.query_vectors(**GLOBEX, **query),
            tenant.put_vectors(**GLOBEX, vectors=rows),
            tenant.list_vectors(**GLOBEX),
            tenant.delete_index(**GLOBEX),
        ):
            with pytest.raises(ClientError, match="is not authorized to perform"):
                await call
    assert set(await exported.vectors(BUCKET, "memory-acme")) == {"k0", "k1"}
    assert await exported.vectors(BUCKET, "memory-globex") == {}


async def test_a_session_policy_makes_it_read_only(exported: Emulator) -> None:
    reads = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3vectors:ListVectors", "Resource": "*"},
    }
    session = await assumed(exported, "acme", Policy=json.dumps(reads))
    async with opened("s3vectors", session) as tenant:
        assert (await tenant.list_vectors(**ACME))["vectors"] == []
        with pytest.raises(ClientError, match="because no session policy allows"):
            await tenant.delete_vectors(**ACME, keys=["k"])


async def test_the_chain_assumes_a_role_by_itself(exported: Emulator, tmp_path: Path) -> None:
    """A profile of the shared configuration, with a role and where its credentials come from."""
    role = await exported.put_role(
        "reader",
        policy={"Statement": {"Effect": "Allow", "Action": "s3vectors:List*", "Resource": "*"}},
    )
    lines = f"[profile reader]\nrole_arn = {role}\ncredential_source = Environment\n"
    await anyio.Path(tmp_path / "config").write_text(lines)
    async with aioboto3.Session(profile_name="reader").client("s3vectors") as reader:
        assert len((await reader.list_indexes(vectorBucketName=BUCKET))["indexes"]) == 2
        with pytest.raises(ClientError, match="assumed-role/reader/"):
            await reader.get_index(**ACME)


async def test_an_expired_session(exported: Emulator) -> None:
    session = await assumed(exported, "acme")
    assert session["Expiration"].tzinfo is not None
    await exported.switch(signature_seconds=0)
    await exported.advance(901)
    async with opened("s3vectors", session) as tenant:
        with pytest.raises(ClientError) as caught:
            await tenant.list_vectors(**ACME)
    assert caught.value.response["Error"]["Code"] == "ExpiredTokenException"


async def test_refusals_of_sts_are_read(exported: Emulator) -> None:
    with pytest.raises(ClientError) as caught:
        await assumed(exported, "ac me")
    told = caught.value.response
    assert told["Error"]["Code"] == "ValidationError"
    assert "'tenant-ac me' at 'roleSessionName'" in told["Error"]["Message"]
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert told["ResponseMetadata"]["RequestId"]


async def test_its_retries_outlast_throttling(exported: Emulator) -> None:
    await exported.inject(operation="ListVectors", status=429, times=1)
    retries = {"mode": "standard", "total_max_attempts": 4}
    async with opened("s3vectors", retries=retries) as host:
        assert (await host.list_vectors(**ACME))["vectors"] == []
    assert (await exported.counters()).requests["ListVectors"] == 2


async def test_a_model_that_may_not_be_asked(exported: Emulator) -> None:
    async with opened("bedrock-runtime", await assumed(exported, "acme")) as bedrock:
        with pytest.raises(ClientError) as caught:
            await bedrock.invoke_model(modelId="cohere.embed-english-v3", body=b"{}")
    assert str(caught.value).endswith(
        "is not authorized to perform: bedrock:InvokeModel on resource: "
        "arn:aws:bedrock:us-east-1::foundation-model/cohere.embed-english-v3 because no "
        "identity-based policy allows the bedrock:InvokeModel action"
    )
