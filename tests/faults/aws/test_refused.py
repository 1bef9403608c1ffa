"""What S3 Vectors refuses is refused before the wire where it can be known, typed after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from faults.aws.clouds import BUCKET, Cloud, ScriptedEmbedder
from memlane import (
    EmbeddingSpaceError,
    InvalidFilterError,
    MemlaneError,
    MemoryClient,
    NewMemory,
    Scope,
    ValidationError,
)
from memlane.errors import (
    AccessDeniedError,
    BackendError,
    CredentialsError,
    QuotaExceededError,
    RequestRejectedError,
    ServiceError,
    StoreNotFoundError,
    TenantNotOnboardedError,
    ThrottledError,
    UnavailableError,
)

ADA = Scope("ada", tenant="acme")
DATA = ("PutVectors", "GetVectors", "QueryVectors", "ListVectors", "DeleteVectors")
SECRET_TEXT = "Ada's locker opens with 4711"


async def _touch(client: MemoryClient) -> None:
    """Let the tenant's index be there and known."""
    await client.store("The weather was fine", scope=ADA)


async def _asks(client: MemoryClient, operation: str) -> object:
    """Do what needs this operation of the service first."""
    match operation:
        case "PutVectors":
            return await client.store(SECRET_TEXT, scope=ADA)
        case "GetVectors":
            return await client.get("some-record", scope=ADA)
        case "QueryVectors":
            return await client.retrieve(SECRET_TEXT, scope=ADA, mode="vector")
        case "ListVectors":
            return await client.list(scope=ADA)
        case _:
            record = await client.store("Soon forgotten", scope=ADA)
            return await client.delete(record.id, scope=ADA)


def _check_text(error: MemlaneError, cloud: Cloud) -> None:
    """Whoever logs it tells nobody a secret."""
    told = f"{error!s} {error!r} {getattr(error, 'detail', '')}"
    admin = cloud.emulator.admin
    for secret in (SECRET_TEXT, "4711", "ada", admin.secret_key, admin.access_key, "ASIA"):
        assert secret not in told.replace("acme", ""), told


BEFORE_THE_WIRE: dict[str, tuple[dict[str, Any], type[MemlaneError]]] = {
    "filterable metadata above 2048 bytes": (
        {"metadata": {f"key{n}": "x" * 100 for n in range(20)}},
        ValidationError,
    ),
    "metadata above 40960 bytes": ({"metadata": {"notes": ["x" * 41_000, None]}}, ValidationError),
    "a text above 40960 bytes": ({"content": "long " * 9_000}, ValidationError),
    "51 keys": ({"metadata": {f"key{n}": n for n in range(51)}}, ValidationError),
    "a number that is none": ({"metadata": {"score": float("nan")}}, ValidationError),
    "a lone surrogate in the text": ({"content": "half \ud83d an emoji"}, ValidationError),
    "a lone surrogate in a value": ({"metadata": {"mood": "\ud83d"}}, ValidationError),
    "a lone surrogate in a key": ({"metadata": {"\ud83d": "mood"}}, ValidationError),
    "a lone surrogate in a tag": ({"tags": ["\ud83d"]}, ValidationError),
    "an id above 1024 bytes": ({"record_id": "i" * 1_025}, ValidationError),
    "an id of many bytes": ({"record_id": "\N{SNOWMAN}" * 400}, ValidationError),
}


@pytest.mark.parametrize("case", BEFORE_THE_WIRE)
async def test_a_record_the_service_would_refuse_is_not_sent(cloud: Cloud, case: str) -> None:
    """Nothing is embedded and nothing asked for."""
    arguments, kind = BEFORE_THE_WIRE[case]
    embedder = ScriptedEmbedder()
    async with cloud.client(embedder=embedder) as client:
        await _touch(client)
        paid = embedder.asked
        before = (await cloud.emulator.counters()).total
        with pytest.raises(kind) as caught:
            await client.store(**{"content": "A fine day", **arguments}, scope=ADA)
        assert caught.value.remedy
        assert embedder.asked == paid
        assert (await cloud.emulator.counters()).total == before


@pytest.mark.parametrize(
    "metadata",
    [
        {"nested": {"a": {"b": 1}}},
        {"null": None},
        {"mixed": ["a", 1]},
        {"flags": [True]},
        {"no": []},
    ],
)
async def test_what_only_the_service_cannot_hold_is_kept_exactly(
    cloud: Cloud, metadata: dict[str, Any]
) -> None:
    """Nested, null, mixed and empty values lie where the service does not look."""
    async with cloud.client() as client:
        record = await client.store("A fine day", scope=ADA, metadata=metadata)
        assert dict((await client.get(record.id, scope=ADA)).metadata) == metadata


@pytest.mark.parametrize(
    "answer",
    [[0.0] * 64, [float("nan")] * 64, [float("inf")] + [0.0] * 63, [1e-46] * 64, [1.0] * 63],
    ids=["zero", "nan", "infinite", "zero as float32", "another dimension"],
)
async def test_a_vector_the_service_would_refuse_is_not_sent(
    cloud: Cloud, answer: list[float]
) -> None:
    """A model that answers nonsense is named as the culprit, on the way in and on the way out."""
    embedder = ScriptedEmbedder()
    async with cloud.client(embedder=embedder) as client:
        await _touch(client)
        embedder.answer = answer
        before = (await cloud.emulator.counters()).requests
        with pytest.raises(EmbeddingSpaceError):
            await client.store("Another day", scope=ADA)
        with pytest.raises(EmbeddingSpaceError):
            await client.retrieve("which day?", scope=ADA, mode="vector")
        after = (await cloud.emulator.counters()).requests
        assert {name: after[name] - before.get(name, 0) for name in after} == dict.fromkeys(
            after, 0
        )


async def test_a_model_of_another_dimension_is_refused(cloud: Cloud) -> None:
    """The index says what it holds; the remedy says what to do."""
    async with cloud.client(embedder=ScriptedEmbedder(64)) as client:
        await _touch(client)
    async with cloud.client(embedder=ScriptedEmbedder(128)) as client:
        for ask in (_asks(client, "PutVectors"), _asks(client, "QueryVectors")):
            with pytest.raises(EmbeddingSpaceError, match="reembed"):
                await ask


async def test_another_model_of_the_same_dimension_is_refused(cloud: Cloud) -> None:
    """Two models' vectors cannot be compared, whatever their length."""
    async with cloud.client(embedder=ScriptedEmbedder(64, "one")) as client:
        await _touch(client)
    async with cloud.client(embedder=ScriptedEmbedder(64, "another")) as client:
        with pytest.raises(EmbeddingSpaceError, match="reembed"):
            await client.store("Never there", scope=ADA)


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"a": 1, "b": 2},
        {"a": None},
        {"a": []},
        {"a": {"$gt": "text"}},
        {"a": {"$in": []}},
        {"a": {"$in": [None]}},
        {"a": {"$exists": 1}},
        {"a": {"$startsWith": 3}},
        {"$and": []},
        {"$or": [{}]},
        {"$not": {"a": 1}},
        {"a": {"$unknown": 1}},
        {"a": {"$and": [{"b": 1}]}},
        {"a": {"$in": [*range(101)]}},
    ],
    ids=str,
)
async def test_a_filter_the_service_would_refuse_is_not_sent(
    cloud: Cloud, condition: dict[str, Any]
) -> None:
    """Also the hundred and first constraint."""
    async with cloud.client() as client:
        await _touch(client)
        before = (await cloud.emulator.counters()).total
        with pytest.raises(InvalidFilterError):
            await client.retrieve("what?", scope=ADA, filter=condition)
        assert (await cloud.emulator.counters()).total == before


async def test_a_put_above_twenty_megabytes_is_cut(cloud: Cloud) -> None:
    """500 vectors of 4,096 dimensions are 25 MB of JSON."""
    embedder = ScriptedEmbedder(4_096)
    embedder.answer = np.random.default_rng(5).normal(size=4_096)
    async with cloud.client(embedder=embedder) as client:
        stored = await client.store_many(
            [NewMemory(content=f"note {n}") for n in range(500)], scope=ADA
        )
        assert await client.count(scope=ADA) == len(stored) == 500
        assert not (await cloud.emulator.counters()).failures("PutVectors")


async def test_a_missing_bucket_is_named(cloud: Cloud) -> None:
    """Neither the tenant's fault nor an empty answer."""
    async with cloud.client(bucket="no-such-bucket", auto_onboard=True) as client:
        for ask in (_asks(client, "PutVectors"), _asks(client, "QueryVectors")):
            with pytest.raises(StoreNotFoundError, match="no-such-bucket") as caught:
                await ask
            assert caught.value.scope == ADA


async def test_a_tenant_without_an_index_is_told_the_command(cloud: Cloud) -> None:
    """For every verb, and without having paid for an embedding."""
    embedder = ScriptedEmbedder()
    async with cloud.client(embedder=embedder, auto_onboard=False) as client:
        for operation in DATA:
            with pytest.raises(TenantNotOnboardedError, match="memlane onboard acme") as caught:
                await _asks(client, operation)
            assert caught.value.scope == ADA
    assert embedder.asked == 0


async def test_an_index_of_the_older_mode_is_filtered_first_too(cloud: Cloud) -> None:
    """CLASSIC filters after the search, unless the query says otherwise."""
    await cloud.emulator.switch(legacy_buckets=True)
    await cloud.emulator.create_bucket("old-bucket")
    async with cloud.client(bucket="old-bucket") as client:
        await client.store_many([NewMemory(content=f"note {n}") for n in range(300)], scope=ADA)
        bob = Scope("bob", tenant="acme")
        await client.store("the one note of Bob", scope=bob, namespace="/b/")
        found = await client.retrieve("note 7", scope=bob, namespace="/b/")
        assert [match.record.text for match in found] == ["the one note of Bob"]


REFUSALS: list[tuple[int, str | None, type[ServiceError]]] = [
    (400, "ValidationException", RequestRejectedError),
    (400, "SerializationException", RequestRejectedError),
    (400, "KmsDisabledException", RequestRejectedError),
    (400, "KmsNotFoundException", RequestRejectedError),
    (402, "ServiceQuotaExceededException", QuotaExceededError),
    (403, "AccessDeniedException", AccessDeniedError),
    (403, "ExpiredTokenException", CredentialsError),
    (403, "UnrecognizedClientException", CredentialsError),
    (408, "RequestTimeoutException", UnavailableError),
    (409, "ConflictException", ServiceError),
    (429, "TooManyRequestsException", ThrottledError),
    (500, "InternalServerException", UnavailableError),
    (503, "ServiceUnavailableException", ServiceError),
    (418, None, ServiceError),
]


@pytest.mark.parametrize("operation", DATA)
@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS, ids=str)
async def test_each_refusal_is_one_class(
    cloud: Cloud, operation: str, status: int, code: str | None, kind: type[ServiceError]
) -> None:
    """With the verb, the service's operation and its request id, and no secret."""
    async with cloud.client() as client:
        await _touch(client)
        fault: dict[str, Any] = {"status": status} | ({"code": code} if code else {})
        await cloud.emulator.inject(operation=operation, **fault)
        # A second cannot pass: what never succeeds ends when the budget or the deadline does.
        with pytest.raises(BackendError) as caught:
            await _asks(client, operation)
        error = caught.value
        assert isinstance(error, kind), repr(error)
        assert error.wire_operation == operation
        assert error.status == status
        assert error.request_id
        assert error.request_id in str(error)
        assert operation in str(error)
        assert error.operation in {"store", "get", "retrieve", "list", "delete"}
        assert error.scope == ADA
        assert "tenant=acme" in str(error)
        _check_text(error, cloud)


async def test_a_denied_tenant_is_told_which_right_is_missing(cloud: Cloud) -> None:
    """The service's words are kept apart from the text, since they name role and resource."""
    idle = {"Effect": "Allow", "Action": "s3vectors:ListIndexes", "Resource": "*"}
    role = await cloud.emulator.put_role(
        "idle", policy={"Version": "2012-10-17", "Statement": [idle]}
    )
    async with cloud.client(role=role) as client:
        with pytest.raises(AccessDeniedError) as caught:
            await client.store(SECRET_TEXT, scope=ADA)
        error = caught.value
        assert error.detail
        assert "is not authorized to perform: s3vectors:" in error.detail
        assert f"bucket/{BUCKET}/index/memory-acme" in error.detail
        assert "arn:" not in str(error)
        _check_text(error, cloud)
