"""What nobody has published: each probe states a fact, and fails only if it cannot be asked."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest

from live.account import Account
from memlane import RequestRejectedError, ServiceError, StoreNotFoundError
from memlane.aws.credentials import AssumeRoleCredentials
from memlane.aws.endpoints import Endpoints
from memlane.aws.signing import Signer
from memlane.aws.wire import Request
from memlane.scope import Scope

ONE, OTHER = [1.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0]


async def verdict(asked: Awaitable[Any], taken: Callable[[Any], str] = lambda _: "taken") -> str:
    try:
        return taken(await asked)
    except ServiceError as error:
        return f"refused: {error.status} {error.code}: {error.detail}"


async def test_conditions_on_missing_fields_and_lists(account: Account) -> None:
    """Which of the negative conditions hold for what lacks the field, and for lists."""
    index = await account.index("negatives")
    await account.put(
        index,
        ("missing", ONE, {"x": 1}),
        ("equal", ONE, {"f": "a"}),
        ("other", ONE, {"f": "b"}),
        ("list", ONE, {"f": ["a", "b"]}),
    )
    for name, condition in {
        "$ne a": {"f": {"$ne": "a"}},
        "$nin [a]": {"f": {"$nin": ["a"]}},
        "$in [a]": {"f": {"$in": ["a"]}},
        "$eq a": {"f": {"$eq": "a"}},
        "$exists false": {"f": {"$exists": False}},
    }.items():
        account.facts[f"{name} finds"] = ", ".join(await account.matching(index, condition))


async def test_precision_of_numbers(account: Account) -> None:
    """Whether neighbours beyond float32's precision are told apart."""
    index = await account.index("numbers")
    await account.put(index, ("even", ONE, {"n": 16_777_216}), ("odd", ONE, {"n": 16_777_217}))
    found = await account.matching(index, {"n": 16_777_216})
    account.facts["16777216 == 16777217"] = str(len(found) == 2)


async def test_duplicate_keys_in_one_put(account: Account) -> None:
    """Refused, or which of the two stays."""
    index = await account.index("duplicates")
    put = account.put(index, ("k", ONE, {"n": 1}), ("k", OTHER, {"n": 2}))
    account.facts["duplicate keys in one put"] = await verdict(put)
    found = await account.matching(index, {"n": {"$exists": True}})
    kept = await account.matching(index, {"n": 2})
    account.facts["after that there are"] = f"{len(found)}, the last of them: {bool(kept)}"


async def test_distances(account: Account) -> None:
    """Of what is the same, and by which formula."""
    index = await account.index("same")
    await account.put(index, ("k", [0.6, 0.8, 0.0, 0.0], {}))
    found = await account.query(index, [0.6, 0.8, 0.0, 0.0])
    account.facts["cosine distance of a vector to itself"] = str(found["vectors"][0]["distance"])
    index = await account.index("euclidean", distanceMetric="euclidean")
    await account.put(index, ("k", OTHER, {}))
    found = await account.query(index, [0.0] * 3 + [4.0])
    account.facts["euclidean distance of 3 and 4"] = str(found["vectors"][0]["distance"])
    zero = account.put(index, ("zero", [0.0] * 4, {}))
    account.facts["zero vector on euclidean"] = await verdict(zero)


async def test_more_than_ten_thousand_nearest(account: Account) -> None:
    """The words of the refusal."""
    index = await account.index("nearest")
    with pytest.raises(RequestRejectedError) as caught:
        await account.query(index, ONE, topK=10_001)
    account.facts["topK of 10,001"] = str(caught.value.detail)


async def test_words(account: Account) -> None:
    """The constant of rank fusion, and how much text a searchable key may hold."""
    text = {"metadataKey": "content", "language": "en"}
    told = {"nonFilterableMetadataKeys": ["content"], "textSearchConfigurations": [text]}
    try:
        index = await account.index("words", metadataConfiguration=told)
    except ServiceError as error:
        account.facts["text search"] = f"refused: {error.code}: {error.detail}"
        return
    await account.put(index, ("k", ONE, {"content": "window seat"}), ("l", OTHER, {"content": "x"}))
    asked = [{"text": "window", "metadataKey": "content"}]
    fused = await verdict(
        account.query(index, ONE, queryTexts=asked, returnScores=True),
        lambda found: str(found["vectors"][0].get("scores")),
    )
    account.facts["scores of what is first in both lists (2/(k+1))"] = fused
    long = account.put(index, ("long", ONE, {"content": "word " * 7_000}))
    account.facts["35 KB of searchable text"] = await verdict(long)


async def test_refusals_before_existence(account: Account) -> None:
    """Whether a session learns that another tenant's index does not exist."""
    arn = account.settings.aws.role_arn
    if arn is None:
        pytest.skip("set MEMLANE_ROLE_ARN")
    session = AssumeRoleCredentials(arn, plane=account.plane, host=account.host)
    credentials = await session(Scope("ada", tenant="somebody"))
    place: dict[str, Any] = {"vectorBucketName": account.bucket, "indexName": "memory-nobody"}
    found = verdict(account.call("GetIndex", credentials, **place))
    account.facts["another tenant's index that does not exist"] = await found


async def test_spelling_of_the_error_header(account: Account) -> None:
    """Read from the answer itself."""
    aws = account.settings.aws
    assert aws.region is not None
    endpoint = Endpoints(aws.region, dict(aws.endpoint_urls)).of("s3vectors")
    body = orjson.dumps({"vectorBucketName": account.bucket, "indexName": "not-there"})
    request = Request("s3vectors", "GetIndex", "/GetIndex", body)
    headers = Signer(aws.region).headers(
        request, await account.host.get(), host=endpoint.host, path="/GetIndex", at=time.time()
    )
    scheme = "http" if "*" in aws.endpoint_urls else "https"
    url = f"{scheme}://{endpoint.host}/GetIndex"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as got:
        account.facts["error header"] = ", ".join(
            f"{name}: {told}" for name, told in got.headers.items() if "error" in name.lower()
        )
        assert got.status == 404


async def test_models_that_do_not_exist(account: Account) -> None:
    """And a single type of Cohere's."""

    async def invoke(model: str, **members: object) -> Any:
        path = f"/model/{model.replace(':', '%3A')}/invoke"
        request = Request("bedrock", "InvokeModel", path, orjson.dumps(members))
        reply = await account.plane.call(request, await account.host.get())
        return orjson.loads(reply.body)

    account.facts["unknown model"] = await verdict(invoke("amazon.no-such-model-v1:0", x=1))
    one = invoke(
        "cohere.embed-v4:0",
        texts=["a"],
        input_type="search_query",
        embedding_types=["float"],
    )
    shape = await verdict(one, lambda found: type(found["embeddings"]).__name__)
    account.facts["cohere.embed-v4, one type asked for"] = shape


async def test_a_deleted_index(account: Account) -> None:
    """Gone at once, and its name free again."""
    index = await account.index("short-lived")
    place: dict[str, Any] = {"vectorBucketName": account.bucket, "indexName": index}
    await account.call("DeleteIndex", **place)
    with pytest.raises(StoreNotFoundError):
        await account.call("GetIndex", **place)
    again = account.index("short-lived", dimension=8)
    account.facts["an index made anew at once"] = await verdict(again)
