"""ListVectors: pages, tokens, segments, and an order that says nothing."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from emulator.signed import BUCKET, INDEX, Signed, prepared
from memlane.testing.emulator import Emulator


@pytest.fixture
def index(emulator: Emulator) -> Signed:
    return prepared(emulator, hidden=("content",))


def fill(index: Signed, count: int, *, content: int = 1) -> list[str]:
    keys = [f"k{n:04}" for n in range(count)]
    vectors = [
        {"key": key, "data": {"float32": [1, 2, 3, 4]}, "metadata": {"content": "x" * content}}
        for key in keys
    ]
    for start in range(0, count, 100):
        assert index.call("PutVectors", vectors=vectors[start : start + 100]).status == 200
    return keys


def pages(index: Signed, **more: Any) -> list[list[str]]:
    found: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        answer = index.call("ListVectors", **more, **token)
        assert answer.status == 200, answer.body
        found.append([one["key"] for one in answer.json["vectors"]])
        if "nextToken" not in answer.json:
            return found
        token = {"nextToken": answer.json["nextToken"]}


def test_pages(index: Signed) -> None:
    """500 unless asked, 1,000 at most; every key once."""
    keys = fill(index, 1_200)
    found = pages(index)
    assert [len(page) for page in found] == [500, 500, 200]
    assert sorted(chain(*found)) == keys
    assert [len(page) for page in pages(index, maxResults=1_000)] == [1_000, 200]
    assert [len(page) for page in pages(index, maxResults=600)] == [600, 600]
    assert index.call("ListVectors", maxResults=1_001).status == 400
    assert index.call("ListVectors", maxResults=0).status == 400


def test_the_order_says_nothing(index: Signed) -> None:
    keys = fill(index, 50)
    (found,) = pages(index)
    assert found not in (keys, keys[::-1])
    assert pages(index) == [found]


def test_an_empty_index(index: Signed) -> None:
    assert index.call("ListVectors").json == {"vectors": []}


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_segments_are_a_partition(index: Signed, count: int) -> None:
    keys = fill(index, 300)
    found = [
        list(chain(*pages(index, segmentCount=count, segmentIndex=place, maxResults=7)))
        for place in range(count)
    ]
    assert sorted(chain(*found)) == keys
    assert all(found)


@pytest.mark.parametrize(
    "segment",
    [
        {"segmentCount": 2},
        {"segmentIndex": 0},
        {"segmentCount": 2, "segmentIndex": 2},
        {"segmentCount": 17, "segmentIndex": 0},
        {"segmentCount": 0, "segmentIndex": 0},
    ],
)
def test_segments_are_both_or_neither(index: Signed, segment: dict[str, int]) -> None:
    assert index.call("ListVectors", **segment).status == 400


def test_a_token_is_of_its_segment(index: Signed) -> None:
    fill(index, 100)
    first = {"segmentCount": 2, "segmentIndex": 0, "maxResults": 5}
    token = index.call("ListVectors", **first).json["nextToken"]
    assert index.call("ListVectors", **first | {"segmentIndex": 1}, nextToken=token).status == 400
    assert index.call("ListVectors", nextToken=token).status == 400
    for bad in ("x", "WzFd", "é", "e30="):
        answer = index.call("ListVectors", nextToken=bad)
        assert answer.error[1:] == ("ValidationException", "Invalid nextToken")


def test_a_megabyte_a_page(index: Signed, emulator: Emulator) -> None:
    """Of what is stored, or of what is returned: which is not known."""
    fill(index, 100, content=20_000)
    per_page = 50  # 20,000 bytes each, the key and the vector aside
    keys_only = {"stored": per_page, "returned": 100}
    for setting, first in keys_only.items():
        emulator.blocking.switch(list_counts=setting)
        assert len(pages(index)[0]) == first
        assert len(pages(index, returnMetadata=True)[0]) == per_page
        full = pages(index, returnMetadata=True, returnData=True)
        assert [len(page) for page in full] == [50, 50]


def test_what_is_returned(index: Signed) -> None:
    index.put("K", [1, 2, 3, 4], {"a": 1})
    (one,) = index.call("ListVectors").json["vectors"]
    assert one == {"key": "K"}
    (one,) = index.call("ListVectors", returnData=True, returnMetadata=True).json["vectors"]
    assert one == {"key": "K", "data": {"float32": [1, 2, 3, 4]}, "metadata": {"a": 1}}


def test_changes_while_it_is_listed(index: Signed, emulator: Emulator) -> None:
    """What stays is listed once; what is deleted or stored on the way may or may not be."""
    keys = fill(index, 400)
    answer = index.call("ListVectors", maxResults=100).json
    seen = [one["key"] for one in answer["vectors"]]
    index.call("DeleteVectors", keys=keys[::4])
    index.put("new")
    while "nextToken" in answer:
        answer = index.call("ListVectors", maxResults=100, nextToken=answer["nextToken"]).json
        seen += [one["key"] for one in answer["vectors"]]
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(keys) - set(keys[::4])
    assert set(emulator.blocking.vectors(BUCKET, INDEX)) == (set(keys) - set(keys[::4])) | {"new"}
