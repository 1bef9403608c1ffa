"""QueryVectors: distances, pages, tokens, modes."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import pytest

from emulator.signed import BUCKET, INDEX, Signed, prepared
from memlane.testing.emulator import Emulator


@pytest.fixture
def index(emulator: Emulator) -> Signed:
    return prepared(emulator)


def distances(index: Signed, query: list[float]) -> dict[str, float]:
    answer = index.query(query, returnDistance=True)
    return {one["key"]: one["distance"] for one in answer.json["vectors"]}


def fill(index: Signed, count: int) -> None:
    vectors = [
        {
            "key": f"k{n:04}",
            "data": {"float32": [1, 0.1 + n / count, 0, 0]},
            "metadata": {"n": n, "even": n % 2 == 0},
        }
        for n in range(count)
    ]
    for start in range(0, count, 500):
        answer = index.call("PutVectors", vectors=vectors[start : start + 500])
        assert answer.status == 200


def test_cosine_is_one_minus_the_cosine(index: Signed, emulator: Emulator) -> None:
    """Whatever the lengths, from far below to far above those of embeddings."""
    stored: dict[str, list[float]] = {
        "same": [2, 0, 0, 0],
        "tiny": [1e-40, 0, 0, 0],
        "huge": [3e38, 0, 0, 0],
        "across": [0, 5, 0, 0],
        "against": [-1, 0, 0, 0],
        "between": [1, 1, 0, 0],
    }
    for key, data in stored.items():
        assert index.put(key, data).status == 200
    emulator.blocking.switch(identical_distance=0.0)
    expected = {"same": 0, "tiny": 0, "huge": 0, "across": 1, "against": 2}
    expected_all = pytest.approx(expected | {"between": 1 - math.sqrt(0.5)}, abs=1e-6)
    for length in (1.0, 1e30, 1e-30):
        assert distances(index, [length, 0, 0, 0]) == expected_all


@pytest.mark.parametrize("size", [3e38, 1.0, 1e-44])
def test_cosine_of_what_float32_cannot_multiply(
    index: Signed, emulator: Emulator, size: float
) -> None:
    emulator.blocking.switch(identical_distance=0.0)
    index.put("K", [size] * 4)
    assert distances(index, [1, 1, 1, 1]) == {"K": pytest.approx(0, abs=1e-6)}
    assert distances(index, [1, 1, 1, -1]) == {"K": pytest.approx(0.5, abs=1e-6)}


def test_what_is_alike_is_not_at_zero(index: Signed) -> None:
    """Seen of a live index: 4.77e-06."""
    index.put("K", [1, 2, 3, 4])
    assert distances(index, [1, 2, 3, 4]) == {"K": pytest.approx(4.77e-06)}


@pytest.mark.parametrize(("setting", "distance"), [("squared", 25), ("root", 5)])
def test_euclidean(emulator: Emulator, setting: str, distance: float) -> None:
    index = prepared(emulator, metric="euclidean")
    emulator.blocking.switch(euclidean=setting)
    index.put("K", [3, 4, 0, 0])
    assert index.query([0, 0, 0, 0]).json["distanceMetric"] == "euclidean"
    assert distances(index, [0, 0, 0, 0]) == {"K": distance}


def test_nearest_first_and_as_many_as_asked(index: Signed) -> None:
    fill(index, 50)
    assert index.found([1, 0, 0, 0], 3) == ["k0000", "k0001", "k0002"]
    assert index.found([1, 0, 0, 0], 3, filter={"even": False}) == ["k0001", "k0003", "k0005"]


def test_only_what_is_asked_for_comes_back(index: Signed) -> None:
    index.put("K", metadata={"a": 1})
    assert index.query().json == {"vectors": [{"key": "K"}], "distanceMetric": "cosine"}
    full = index.query(returnMetadata=True, returnDistance=True).json["vectors"][0]
    assert (full["metadata"], set(full)) == ({"a": 1}, {"key", "metadata", "distance"})


@pytest.mark.parametrize("query", [[0, 0, 0, 0], [1e-46] * 4, [1e39, 0, 0, 0]])
def test_queries_that_have_no_direction(index: Signed, query: list[float]) -> None:
    text = "Query vector contains invalid values or is invalid for this index"
    answer = index.query(query)
    assert answer.error == (400, "ValidationException", text)
    assert answer.paths == ["vector"]


def test_refusals(index: Signed) -> None:
    assert index.query([1, 2, 3]).status == 400
    assert index.query(depth=0).status == 400
    assert index.query(depth=10_001).status == 400
    assert index.call("QueryVectors", topK=1).status == 400
    text = "queryMode cannot be CLASSIC when indexMode is ENHANCED"
    assert index.query(queryMode="CLASSIC").error == (400, "ValidationException", text)


def pages(index: Signed, depth: int, **more: Any) -> list[list[str]]:
    found: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        answer = index.query([1, 0, 0, 0], depth, **more, **token).json
        found.append([one["key"] for one in answer["vectors"]])
        if "nextToken" not in answer:
            return found
        token = {"nextToken": answer["nextToken"]}


def test_a_hundred_a_page(index: Signed) -> None:
    fill(index, 1_050)
    found = pages(index, 10_000)
    assert [len(page) for page in found] == [100] * 10 + [50]
    assert list(chain(*found)) == [f"k{n:04}" for n in range(1_050)]
    assert [len(page) for page in pages(index, 100)] == [100]
    assert [len(page) for page in pages(index, 101)] == [100, 1]
    assert [len(page) for page in pages(index, 300, filter={"even": True})] == [100] * 3


def test_a_page_again_and_what_changed_between(index: Signed) -> None:
    """Tokens stay good; writes between pages may be missed, deletions are seen."""
    fill(index, 150)
    token = index.query([1, 0, 0, 0], 150).json["nextToken"]
    index.put("new", [1, 0, 0, 0])
    index.call("DeleteVectors", keys=["k0149"])
    for _ in range(2):
        found = index.found([1, 0, 0, 0], 150, nextToken=token)
        assert found == [f"k{n:04}" for n in range(100, 149)]


@pytest.mark.parametrize(
    "change", [{"depth": 149}, {"data": [1, 1, 0, 0]}, {"filter": {"even": True}}, {"token": "x"}]
)
def test_a_token_is_of_its_query(index: Signed, change: dict[str, Any]) -> None:
    fill(index, 150)
    asked: dict[str, Any] = {"data": [1, 0, 0, 0], "depth": 150}
    token = index.query(**asked).json["nextToken"]
    answer = index.query(**asked | {"nextToken": change.pop("token", token)} | change)
    assert answer.error == (400, "ValidationException", "Invalid nextToken")


def test_a_token_of_another_index(index: Signed, emulator: Emulator) -> None:
    fill(index, 150)
    token = index.query([1, 0, 0, 0], 150).json["nextToken"]
    emulator.blocking.create_index(BUCKET, "memory-beta", dimension=4)
    other = Signed(emulator, index="memory-beta")
    assert other.query([1, 0, 0, 0], 150, nextToken=token).status == 400


def test_a_token_grows_old(index: Signed, emulator: Emulator) -> None:
    emulator.blocking.switch(signature_seconds=0, query_token_seconds=300)
    fill(index, 150)
    token = index.query([1, 0, 0, 0], 150).json["nextToken"]
    emulator.blocking.advance(295)
    assert len(index.found([1, 0, 0, 0], 150, nextToken=token)) == 50
    emulator.blocking.advance(10)
    assert index.query([1, 0, 0, 0], 150, nextToken=token).status == 400


def test_classic_drops_while_it_looks(emulator: Emulator) -> None:
    """A selective filter may return fewer than are there, until the index is ENHANCED."""
    emulator.blocking.switch(legacy_buckets=True, classic_pool=20)
    index = prepared(emulator)
    assert index.call("GetIndex").json["index"]["indexMode"] == "CLASSIC"
    fill(index, 200)
    last = {"n": {"$gte": 190}}
    assert index.found([1, 0, 0, 0], 5, filter=last) == []
    assert index.found([1, 0, 0, 0], 5, filter={"even": True}) == [
        f"k{n:04}" for n in range(0, 10, 2)
    ]
    assert len(index.found([1, 0, 0, 0], 5, filter=last, queryMode="ENHANCED")) == 5
    assert index.call("UpdateIndexMode", indexMode="ENHANCED").status == 200
    assert len(index.found([1, 0, 0, 0], 5, filter=last)) == 5


def test_many_vectors(index: Signed, emulator: Emulator) -> None:
    """Deleting moves rows; what is found is still what is there."""
    fill(index, 1_000)
    index.call("DeleteVectors", keys=[f"k{n:04}" for n in range(0, 1_000, 3)])
    left = [f"k{n:04}" for n in range(1_000) if n % 3]
    assert list(chain(*pages(index, 1_000))) == left
    assert sorted(emulator.blocking.vectors(BUCKET, INDEX)) == left
    answer = index.call("GetVectors", keys=left[-50:], returnMetadata=True).json["vectors"]
    assert {one["key"]: one["metadata"]["n"] for one in answer} == {
        key: int(key[1:]) for key in left[-50:]
    }
