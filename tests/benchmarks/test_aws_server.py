"""The canned server answers clients nobody here wrote for it, from what it was taught."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from benchmarks.aws.service import Canned

TITAN = "/model/amazon.titan-embed-text-v2%3A0/invoke"
WHERE = {"vectorBucketName": "b", "indexName": "memory"}


@pytest.fixture
def server() -> Iterator[Canned]:
    with Canned() as started:
        yield started


def _send(
    server: Canned, path: str, body: object, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    connection = http.client.HTTPConnection(server.url.partition("//")[2], timeout=60)
    connection.request("POST", path, raw, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    assert int(response.headers["Content-Length"]) == len(answer)
    return response.status, response.headers, answer


def _post(server: Canned, path: str, body: object) -> Any:
    status, _, answer = _send(server, path, body)
    assert status == 200, answer
    return json.loads(answer) if answer[:1] in b"{[" else answer.decode()


def _refused(server: Canned, path: str, body: object) -> tuple[int, str, str]:
    status, headers, answer = _send(server, path, body)
    return status, headers["x-amzn-ErrorType"], json.loads(answer)["message"]


def _teach(server: Canned, count: int, **metadata: object) -> None:
    server.learn(True)
    for number in range(count):
        vector = {
            "key": f"k{number}",
            "data": {"float32": [1.0]},
            "metadata": {"user_id": "ada", "n": number, **metadata},
        }
        _post(server, "/PutVectors", {**WHERE, "vectors": [vector]})
    server.learn(False)


def _query(server: Canned, **more: object) -> Any:
    asked = {**WHERE, "topK": 3, "queryVector": {"float32": [1.0]}, **more}
    return _post(server, "/QueryVectors", asked)


def test_a_query_is_answered_with_what_was_taught(server: Canned) -> None:
    server.create("b", "memory")
    _teach(server, 5, text="wörter")
    found = _query(server, filter={"user_id": "ada"})
    assert [row["key"] for row in found["vectors"]] == ["k0", "k1", "k2"]
    assert [row["metadata"] for row in found["vectors"]] == [
        {"user_id": "ada", "n": number, "text": "wörter"} for number in range(3)
    ]
    distances = [row["distance"] for row in found["vectors"]]
    assert distances == sorted(distances)
    assert found["distanceMetric"] == "cosine"


def test_what_is_put_later_costs_nothing_and_changes_nothing(server: Canned) -> None:
    server.create("b", "memory")
    _teach(server, 2)
    assert _post(server, "/PutVectors", b"this is not read") == {}
    assert len(_query(server)["vectors"]) == 2


def test_what_belongs_to_no_user_is_no_candidate(server: Canned) -> None:
    server.create("b", "memory")
    _teach(server, 1)
    server.learn(True)
    names = {"key": "owner/actors", "data": {"float32": [1.0]}, "metadata": {"content": "[]"}}
    _post(server, "/PutVectors", {**WHERE, "vectors": [names]})
    server.learn(False)
    assert [row["key"] for row in _query(server, filter={"user_id": "ada"})["vectors"]] == ["k0"]
    read = _post(server, "/GetVectors", {**WHERE, "keys": ["owner/actors", "missing"]})
    assert read["vectors"] == [{"key": "owner/actors", "metadata": {"content": "[]"}}]


def test_a_hundred_come_at_once_and_the_others_by_token(server: Canned) -> None:
    server.create("b", "memory")
    _teach(server, 105)
    first = _query(server, topK=400)
    rest = _query(server, topK=400, nextToken=first["nextToken"])
    assert (len(first["vectors"]), len(rest["vectors"])) == (100, 5)
    assert "nextToken" not in rest
    assert "nextToken" not in _query(server, topK=100)


def test_an_index_that_was_not_made_is_not_there(server: Canned) -> None:
    missing = (404, "NotFoundException", "The specified index could not be found")
    assert _refused(server, "/GetIndex", WHERE) == missing
    assert _refused(server, "/QueryVectors", {**WHERE, "topK": 1}) == missing
    server.create("b", "memory", ["content"])
    index = _post(server, "/GetIndex", WHERE)["index"]
    assert index["dimension"] == 1024
    assert index["metadataConfiguration"] == {"nonFilterableMetadataKeys": ["content"]}
    assert index["indexArn"].endswith("bucket/b/index/memory")


def test_an_operation_nobody_canned_is_refused(server: Canned) -> None:
    status, code, message = _refused(server, "/TurnBackTime", WHERE)
    assert (status, code) == (400, "ValidationException")
    assert "TurnBackTime" in message


def test_models_answer_unit_vectors_of_the_length_asked_for(server: Canned) -> None:
    titan = _post(server, TITAN, {"inputText": "a", "dimensions": 256})
    assert titan["embeddingsByType"]["float"] == titan["embedding"]
    nova = _post(
        server,
        "/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke",
        {"singleEmbeddingParams": {"embeddingDimension": 384}},
    )
    cohere = _post(server, "/model/cohere.embed-english-v3/invoke", {"texts": ["a", "b", "c"]})
    assert len(cohere["embeddings"]["float"]) == 3
    vectors = [titan["embedding"], nova["embeddings"][0]["embedding"]]
    vectors += cohere["embeddings"]["float"]
    assert [len(vector) for vector in vectors] == [256, 384, 1024, 1024, 1024]
    for vector in vectors:
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-3)
    assert cohere["embeddings"]["float"][0] != cohere["embeddings"]["float"][1]


def test_a_component_is_written_as_short_as_a_float32_can_be(server: Canned) -> None:
    _, _, raw = _send(server, TITAN, {"inputText": "a", "dimensions": 1024})
    texts = raw[raw.index(b"[") + 1 : raw.index(b"]")].split(b",")
    single = np.array([float(text) for text in texts], dtype=np.float32)
    assert all(len(text) <= 14 for text in texts)
    assert [np.float32(float(text)) for text in texts] == single.tolist()


def test_each_role_session_has_a_key_of_its_own(server: Canned) -> None:
    form = (
        b"Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"
        b"&RoleSessionName=s&DurationSeconds=900"
    )
    first, second = (_post(server, "/", form) for _ in range(2))
    assert "assumed-role/r/s" in first
    assert first.partition("<AccessKeyId>")[2][:20] != second.partition("<AccessKeyId>")[2][:20]
    assert server.counters()["requests"] == {"AssumeRole": 2}


def test_a_rate_of_refusals_is_kept(server: Canned) -> None:
    server.throttle({"PutVectors": 1.0})
    assert _refused(server, "/PutVectors", {**WHERE})[:2] == (429, "TooManyRequestsException")
    server.throttle({"PutVectors": 0.3})
    server.reset()
    refused = sum(_send(server, "/PutVectors", WHERE)[0] == 429 for _ in range(200))
    counted = server.counters()
    assert counted["throttled"] == {"PutVectors": refused}
    assert 30 <= refused <= 90
    assert counted["requests"] == {"PutVectors": 200}


def test_who_signed_for_which_index_is_noted_when_asked(server: Canned) -> None:
    server.watch(True)
    for key in ("ASIA1", "ASIA1", "ASIA2"):
        signed = f"AWS4-HMAC-SHA256 Credential={key}/20260101/r/s3vectors/aws4_request"
        _send(server, "/PutVectors", {**WHERE, "vectors": []}, Authorization=signed)
    counted = server.counters()
    assert (counted["signed_by"], counted["key_index_pairs"]) == (2, 2)
    server.reset()
    assert server.counters()["signed_by"] == 0


def test_the_server_ends_with_whoever_started_it() -> None:
    with Canned() as started:
        assert _send(started, "/PutVectors", WHERE)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        _send(started, "/PutVectors", WHERE)
