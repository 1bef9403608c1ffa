"""New buckets are ENHANCED: conditions are evaluated before the search."""

from __future__ import annotations

import random
from typing import Any

import pytest

from live.account import Account
from memlane import RequestRejectedError

ROWS = 500


async def filled(account: Account, name: str) -> str:
    index = await account.index(name, dimension=8)
    numbers = random.Random(7)
    vectors = [
        (
            f"k{n}",
            [numbers.gauss(0, 1) for _ in range(8)],
            {"rare": n < 3, "path": f"/a/{n % 5}/", "n": n},
        )
        for n in range(ROWS)
    ]
    for at in range(0, ROWS, 250):
        await account.put(index, *vectors[at : at + 250])
    return index


async def test_the_mode(account: Account) -> None:
    """What the bucket and its indexes say they are."""
    index = await account.index("mode")
    place: dict[str, Any] = {"vectorBucketName": account.bucket}
    bucket = (await account.call("GetVectorBucket", **place))["vectorBucket"]
    told = (await account.call("GetIndex", **place, indexName=index))["index"]
    account.facts["mode of a new bucket"] = str(bucket.get("defaultIndexMode"))
    assert told["indexMode"] == "ENHANCED"


async def test_a_rare_condition_finds_all_that_meet_it(account: Account) -> None:
    """Three of five hundred, however far away."""
    index = await filled(account, "rare")
    found = await account.query(index, [1.0] + [0.0] * 7, filter={"rare": True}, topK=100)
    assert sorted(each["key"] for each in found["vectors"]) == ["k0", "k1", "k2"]


async def test_beginnings(account: Account) -> None:
    """`$startsWith` is what namespaces are found by."""
    index = await filled(account, "beginnings")
    found = await account.query(
        index, [1.0] + [0.0] * 7, filter={"path": {"$startsWith": "/a/3/"}}, topK=1_000
    )
    assert {each["metadata"]["path"] for each in found["vectors"]} == {"/a/3/"}
    account.facts["of 100 that meet a condition, found"] = str(len(found["vectors"]))


async def test_a_hundred_constraints(account: Account) -> None:
    """The 101st is refused."""
    index = await filled(account, "constraints")
    await account.query(index, [1.0] + [0.0] * 7, filter={"n": {"$in": list(range(100))}})
    with pytest.raises(RequestRejectedError) as caught:
        await account.query(index, [1.0] + [0.0] * 7, filter={"n": {"$in": list(range(101))}})
    account.facts["refusal of 101 constraints"] = str(caught.value.detail)
