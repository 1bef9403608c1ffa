"""What PutVectors refuses, in the service's words, and what it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.signed import BUCKET, INDEX, Signed, prepared
from memlane.sizing import metadata_size
from memlane.testing.emulator import Emulator
from memlane.testing.emulator.s3vectors.records import metadata_weight

INVALID = (400, "ValidationException")


@pytest.fixture
def index(emulator: Emulator) -> Signed:
    return prepared(emulator, hidden=("content",))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": "x" * 2040}, "Filterable metadata must have at most 2048 bytes"),
        ({"content": "x" * 40960}, "Metadata object must have at most 40960 bytes"),
        ({f"k{n}": 1 for n in range(51)}, "Metadata object must have at most 50 keys"),
        (
            {"a": {"b": 1}},
            "Metadata values must be strings, numbers, booleans, or arrays",
        ),
        ({"a": None}, "Metadata values must be strings, numbers, booleans, or arrays"),
        ({"content": {}}, "Metadata values must be strings, numbers, booleans, or arrays"),
        ({"a": [True]}, "Metadata array values must be strings or numbers"),
        ({"a": [{}]}, "Metadata array values must be strings or numbers"),
        ({"a": ["x", 1]}, "Metadata array values must be strings or numbers"),
        ({"a": []}, "Empty arrays are not allowed in metadata"),
    ],
)
def test_metadata_is_refused(index: Signed, metadata: Any, message: str) -> None:
    answer = index.put("K", metadata=metadata)
    assert answer.error == (*INVALID, f"Invalid record for key 'K': {message}")
    assert answer.paths == ["vectors[0].metadata"]


def test_the_size_is_not_that_of_json(index: Signed, emulator: Emulator) -> None:
    """4 + (8 + key + value) an entry: 2,048 is taken and 2,049 is not; numbers are 4, flags 0."""
    room = 2048 - 4 - 3 * 9 - 4 - 0
    just = {"n": 123456789.25, "f": True, "s": '"' * room}
    assert index.put("just", metadata=just).status == 200
    over = just | {"s": '"' * (room + 1)}
    assert "Filterable metadata must have" in index.put("over", metadata=over).json["message"]
    whole = {"content": "é" * ((40960 - 4 - 8 - 7) // 2)}
    assert index.put("whole", metadata=whole).status == 200
    assert list(emulator.blocking.vectors(BUCKET, INDEX)) == ["just", "whole"]


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.one_of(
            st.text(max_size=8),
            st.booleans(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.lists(st.text(max_size=4), min_size=1, max_size=3),
            st.lists(st.integers(0, 9), min_size=1, max_size=3),
        ),
        max_size=6,
    )
)
def test_both_sides_weigh_alike(metadata: dict[str, Any]) -> None:
    """The emulator's size model and the one that is checked before anything is sent are two."""
    assert metadata_weight(metadata) == metadata_size(metadata)


@pytest.mark.parametrize(
    ("data", "message", "path"),
    [
        (
            [0, 0, 0, 0],
            "Invalid record for key 'K': cosine distance does not support vectors with zero norm",
            "vectors[0]",
        ),
        (  # rounded to float32 first, then checked
            [1e-46] * 4,
            "Invalid record for key 'K': cosine distance does not support vectors with zero norm",
            "vectors[0]",
        ),
        ([1e39, 0, 0, 0], "vector contains NaNs or Infs", "vectors[0]"),
        (
            [1, 2, 3],
            "Invalid record for key 'K': vector must have length 4, but has length 3",
            "vectors[0]",
        ),
    ],
)
def test_vectors_are_refused(index: Signed, data: list[float], message: str, path: str) -> None:
    answer = index.put("K", data)
    assert answer.error == (*INVALID, message)
    assert answer.paths == [path]


def test_one_bad_vector_refuses_all(index: Signed, emulator: Emulator) -> None:
    good = {"key": "good", "data": {"float32": [1, 0, 0, 0]}}
    bad = {"key": "bad", "data": {"float32": [0, 0, 0, 0]}}
    answer = index.call("PutVectors", vectors=[good, bad])
    assert answer.paths == ["vectors[1]"]
    assert emulator.blocking.vectors(BUCKET, INDEX) == {}


def test_keys(index: Signed) -> None:
    """1,024 characters and 1,024 bytes; each limit has its own words."""
    text = (
        "1 validation error detected. Value with length 1025 at '/vectors/0/key' failed to "
        "satisfy constraint: Member must have length between 1 and 1024, inclusive"
    )
    assert index.put("x" * 1024).status == 200
    assert index.put("x" * 1025).error == (*INVALID, text)
    assert index.put("é" * 513).error == (*INVALID, "Record key length exceeds the maximum allowed")
    assert index.put("").status == 400
    assert index.put("Ünï/код 🙂").status == 200


def test_metadata_keys_of_any_shape(index: Signed) -> None:
    metadata = {"": 1, "$eq": "a", "a.b": [1, 2], "x" * 1024: True}
    assert index.put("K", metadata=metadata).status == 200
    answer = index.call("GetVectors", keys=["K"], returnMetadata=True)
    assert answer.json["vectors"][0]["metadata"] == metadata


@pytest.mark.parametrize("member", ["key", "text", "filter"])
def test_a_lone_surrogate_fails_the_request(index: Signed, member: str) -> None:
    assert index.put("good").status == 200
    if member == "filter":
        answer = index.query(filter={"a": "\ud800"})
    elif member == "key":
        answer = index.put("\ud800")
    else:
        answer = index.put("K", metadata={"a": "\ud800"})
    assert answer.error == (400, "SerializationException", "UnknownError")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"topK": "3"}', b'{"a": NaN}'])
def test_what_is_no_request(index: Signed, body: bytes) -> None:
    members = b'{"vectorBucketName": "memories", "indexName": "memory-acme", ' + body[1:]
    answer = index.send("POST", "/QueryVectors", members if body != b"[]" else body)
    assert answer.error[:2] == (400, "SerializationException")


def test_a_put_replaces_as_a_whole(index: Signed, emulator: Emulator) -> None:
    assert index.put("K", [1, 0, 0, 0], {"a": 1, "b": "x"}).status == 200
    assert index.put("K", [0, 1, 0, 0], {"a": 2}).status == 200
    held = emulator.blocking.vectors(BUCKET, INDEX)["K"]
    assert held.data.tolist() == [0, 1, 0, 0]
    assert held.metadata == {"a": 2}
    assert index.found(filter={"b": "x"}) == []


@pytest.mark.parametrize("setting", ["refused", "last"])
def test_duplicate_keys(index: Signed, emulator: Emulator, setting: str) -> None:
    emulator.blocking.switch(duplicate_keys=setting)
    both = [{"key": "K", "data": {"float32": [1, n, 0, 0]}} for n in (1, 2)]
    answer = index.call("PutVectors", vectors=both)
    held = {k: v.data.tolist() for k, v in emulator.blocking.vectors(BUCKET, INDEX).items()}
    if setting == "refused":
        assert (answer.status, held) == (400, {})
    else:
        assert (answer.status, held) == (200, {"K": [1, 2, 0, 0]})


@pytest.mark.parametrize("taken", [True, False])
def test_zeros_on_euclidean(emulator: Emulator, taken: bool) -> None:
    index = prepared(emulator, metric="euclidean")
    emulator.blocking.switch(zero_euclidean=taken)
    assert index.put("K", [0, 0, 0, 0]).status == (200 if taken else 400)


def test_batches_have_a_size(index: Signed) -> None:
    one = {"key": "K", "data": {"float32": [1, 0, 0, 0]}}
    many = [one | {"key": f"k{n}"} for n in range(501)]
    assert index.call("PutVectors", vectors=many[:500]).status == 200
    assert "'/vectors'" in index.call("PutVectors", vectors=many).json["message"]
    assert index.call("PutVectors", vectors=[]).status == 400
    assert index.call("GetVectors", keys=[f"k{n}" for n in range(101)]).status == 400
    assert index.call("DeleteVectors", keys=[f"k{n}" for n in range(501)]).status == 400
    assert index.call("DeleteVectors", keys=[f"k{n}" for n in range(500)]).status == 200


def test_a_body_of_20_mib(index: Signed) -> None:
    """The limit is inclusive."""
    start = b'{"vectorBucketName": "memories", "indexName": "memory-acme", "keys": ["a"]'
    for size, status in ((20_971_520, 200), (20_971_521, 400)):
        answer = index.send("POST", "/GetVectors", start + b" " * (size - len(start) - 1) + b"}")
        assert answer.status == status
    assert answer.error == (*INVALID, "Request body exceeds max allowed size")


def test_an_oversize_body_may_reset(index: Signed, emulator: Emulator) -> None:
    emulator.blocking.switch(oversize_resets=True)
    with pytest.raises(ConnectionError):
        index.send("POST", "/GetVectors", b" " * 20_971_521)


def test_gets_leave_out_what_is_absent_and_keep_no_order(index: Signed) -> None:
    for n in range(20):
        index.put(f"k{n}", [1, n, 0, 0], {"n": n})
    keys = [f"k{n}" for n in range(20)]
    answer = index.call("GetVectors", keys=["no", *keys, "k1"], returnData=True).json["vectors"]
    found = [one["key"] for one in answer]
    assert sorted(found) == sorted(keys)
    assert found != keys
    assert {one["key"]: one["data"]["float32"] for one in answer}["k7"] == [1, 7, 0, 0]
    assert "metadata" not in answer[0]


def test_components_come_back_as_float32(index: Signed) -> None:
    index.put("K", [0.1, 1e-40, 16777217, 3.4e38])
    answer = index.call("GetVectors", keys=["K"], returnData=True)
    assert answer.body.count(b"0.1,") == 1
    assert answer.json["vectors"][0]["data"]["float32"][2] == 16777216


def test_deleting_what_is_absent_is_no_error(index: Signed, emulator: Emulator) -> None:
    for n in range(3):
        index.put(f"k{n}", metadata={"n": f"v{n}"})
    assert index.call("DeleteVectors", keys=["k0", "no"]).status == 200
    assert sorted(emulator.blocking.vectors(BUCKET, INDEX)) == ["k1", "k2"]
    assert index.found(filter={"n": "v2"}) == ["k2"]
    assert index.found(filter={"n": "v0"}) == []


def test_what_is_not_there(index: Signed) -> None:
    other = index.raw("PutVectors", vectorBucketName=BUCKET, indexName="none", vectors=[])
    text = "The specified index could not be found"
    assert other.error == (404, "NotFoundException", text)
    gone = index.raw("GetIndex", vectorBucketName="none", indexName=INDEX)
    text = "The specified vector bucket could not be found"
    assert gone.error == (404, "NotFoundException", text)
    assert index.raw("GetIndex", indexName=INDEX).status == 400
