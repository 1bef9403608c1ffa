"""What the canned server answers: what it was told in its learning time, made ready once.

It checks nothing and evaluates one condition, that of the user. The emulator is the place for
behaviour; here the only aim is that an answer costs so little that the client alone is measured.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, unquote

PAGE: Final = 100
"""Candidates in one answer at most; more come by token."""

_VARIANTS: Final = 16
_INDEX: Final = re.compile(rb'"indexName":\s*"([^"]*)"|"indexArn":\s*"[^"]*/index/([^"]*)"')
_BUCKET: Final = re.compile(
    rb'"vectorBucketName":\s*"([^"]*)"|"indexArn":\s*"[^"]*:bucket/([^/"]*)'
)
_TOP: Final = re.compile(rb'"topK":\s*(\d+)')
_TOKEN: Final = re.compile(rb'"nextToken":\s*"(\d+)"')
_USER: Final = re.compile(rb'"user_id":\s*(?:\{"\$eq":\s*)?"([^"]*)"')
_DIMENSION: Final = re.compile(rb'"(?:dimensions|embeddingDimension|output_dimension)":\s*(\d+)')
_ACCOUNT: Final = "111122223333"

Key: TypeAlias = tuple[bytes, bytes]
Raw: TypeAlias = dict[str, bytes]
"""The metadata of each vector as it was put, by key."""


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """Return a whole HTTP answer."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}"
        f"x-amzn-RequestId: 5e1f0e2c-7a51-4f0b-9b6f-2a8c5d1f0a11\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def failure(status: str, code: str, message: str) -> bytes:
    """Return a service's refusal."""
    body = json.dumps({"message": message}).encode()
    return answer(body, status=status, headers=f"x-amzn-ErrorType: {code}\r\n")


THROTTLED: Final = failure("429 Too Many Requests", "TooManyRequestsException", "Too many requests")
_EMPTY: Final = answer(b"{}")
_NO_INDEX: Final = failure(
    "404 Not Found", "NotFoundException", "The specified index could not be found"
)


def _short(value: float) -> str:
    """Return the shortest text that is this float32, as a model's answer has it."""
    single = struct.unpack("<f", struct.pack("<f", value))[0]
    for digits in range(6, 10):
        text = f"{single:.{digits}g}"
        if struct.unpack("<f", struct.pack("<f", float(text)))[0] == single:
            return text
    return repr(single)


class Vectors:
    """Texts of unit vectors, a few of each length, drawn once."""

    def __init__(self) -> None:
        self._texts: dict[int, list[bytes]] = {}
        self._next = 0

    def text(self, dimension: int) -> bytes:
        """Return the next one's numbers as a JSON array."""
        if dimension not in self._texts:
            drawn = random.Random(dimension)
            self._texts[dimension] = [self._one(drawn, dimension) for _ in range(_VARIANTS)]
        self._next += 1
        return self._texts[dimension][self._next % _VARIANTS]

    @staticmethod
    def _one(drawn: random.Random, dimension: int) -> bytes:
        row = [drawn.gauss(0, 1) for _ in range(dimension)]
        length = sum(value * value for value in row) ** 0.5
        return f"[{','.join(_short(value / length) for value in row)}]".encode()


class Models:
    """InvokeModel of the models that are compared."""

    def __init__(self) -> None:
        self._vectors = Vectors()
        self._ready: dict[tuple[str, int], list[bytes]] = {}
        self._turn = 0

    def invoke(self, model: str, body: bytes) -> bytes:
        """Return the model's answer; only how many texts a Cohere request has is read."""
        found = _DIMENSION.search(body)
        dimension = int(found[1]) if found else 3072 if "nova" in model else 1024
        if "cohere" in model:
            return self._cohere(len(json.loads(body)["texts"]), dimension)
        ready = self._ready.get((model, dimension))
        if ready is None:
            ready = [self._single(model, dimension) for _ in range(_VARIANTS)]
            self._ready[model, dimension] = ready
        self._turn += 1
        return ready[self._turn % _VARIANTS]

    def _single(self, model: str, dimension: int) -> bytes:
        vector = self._vectors.text(dimension)
        if "nova" in model:
            body = b'{"embeddings":[{"embeddingType":"TEXT","embedding":' + vector + b"}]}"
        else:
            # The floats stand twice in every answer of this model.
            body = b'{"embedding":' + vector + b',"inputTextTokenCount":40,"embeddingsByType":'
            body += b'{"float":' + vector + b"}}"
        return answer(body, headers="x-amzn-bedrock-input-token-count: 40\r\n")

    def _cohere(self, count: int, dimension: int) -> bytes:
        rows = b",".join(self._vectors.text(dimension) for _ in range(count))
        body = b'{"id":"1","texts":[],"embeddings":{"float":[' + rows
        body += b']},"response_type":"embeddings_by_type"}'
        return answer(body, headers=f"x-amzn-bedrock-input-token-count: {40 * count}\r\n")


class Indexes:
    """Vector indexes that keep what is put while `learning`, and answer queries from it."""

    def __init__(self) -> None:
        self.learning = False
        self.put = 0
        self._described: dict[Key, dict[str, Any]] = {}
        self._kept: dict[Key, Raw] = {}
        self._pages: dict[tuple[Key, bytes, bytes], bytes] = {}
        self._handlers: dict[str, Callable[[Key, dict[str, Any]], bytes]] = {
            "CreateIndex": self._create_index,
            "GetIndex": self._get_index,
            "ListIndexes": self._list_indexes,
            "CreateVectorBucket": self._create_bucket,
            "GetVectorBucket": self._get_bucket,
            "GetVectors": self._get,
            "ListVectors": self._list,
            "DeleteVectors": lambda *_: _EMPTY,
        }

    @staticmethod
    def _name(body: bytes) -> Key:
        index, bucket = _INDEX.search(body), _BUCKET.search(body)
        return (
            (bucket[1] or bucket[2]) if bucket else b"",
            (index[1] or index[2]) if index else b"",
        )

    def contents(self, bucket: str, index: str) -> Mapping[str, Any]:
        """Return the metadata of what an index was taught, by key."""
        kept = self._kept.get((bucket.encode(), index.encode()), {})
        return {key: json.loads(metadata) for key, metadata in kept.items()}

    def handle(self, operation: str, body: bytes) -> bytes:
        """Return the answer of an operation of S3 Vectors."""
        if operation == "QueryVectors":
            return self._query(body)
        if operation == "PutVectors":
            if self.learning:
                self._learn(body)
            return _EMPTY
        handler = self._handlers.get(operation)
        if handler is None:
            return failure("400 Bad Request", "ValidationException", f"{operation} is not canned")
        return handler(self._name(body), json.loads(body))

    def _learn(self, body: bytes) -> None:
        kept = self._kept.setdefault(self._name(body), {})
        for vector in json.loads(body)["vectors"]:
            kept[vector["key"]] = json.dumps(
                vector.get("metadata", {}), ensure_ascii=False, separators=(",", ":")
            ).encode()
            self.put += 1
        self._pages.clear()

    def _query(self, body: bytes) -> bytes:
        top = _TOP.search(body)
        token = _TOKEN.search(body)
        key = self._name(body), top[1] if top else b"1", token[1] if token else b"0"
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = self._page(*key, user=_USER.search(body))
        return page

    def _page(self, name: Key, top: bytes, at: bytes, *, user: re.Match[bytes] | None) -> bytes:
        if name not in self._described:
            return _NO_INDEX
        # What an index keeps beside memories, such as a list of names, is nobody's.
        reserved = b'"user_id":"%b"' % user[1] if user else b""
        near = [
            b'{"key":%b,"distance":%.7f,"metadata":%b}'
            % (json.dumps(key).encode(), 0.11 + number * 0.00317, metadata)
            for number, (key, metadata) in enumerate(self._kept.get(name, {}).items())
            if reserved in metadata
        ][: int(top)]
        start = int(at)
        end = start + PAGE
        more = b',"nextToken":"%d"' % end if end < len(near) else b""
        rows = b",".join(near[start:end])
        return answer(b'{"vectors":[' + rows + b'],"distanceMetric":"cosine"' + more + b"}")

    def _create_index(self, name: Key, request: dict[str, Any]) -> bytes:
        bucket, index = (part.decode() for part in name)
        arn = f"arn:aws:s3vectors:us-east-1:{_ACCOUNT}:bucket/{bucket}/index/{index}"
        self._described[name] = {
            "vectorBucketName": bucket,
            "indexName": index,
            "indexArn": arn,
            "creationTime": 1_760_000_000,
            "dataType": "float32",
            "dimension": request["dimension"],
            "distanceMetric": request.get("distanceMetric", "cosine"),
            "metadataConfiguration": request.get("metadataConfiguration", {}),
            "indexMode": "ENHANCED",
        }
        return answer(json.dumps({"indexArn": arn}).encode())

    def _get_index(self, name: Key, _: dict[str, Any]) -> bytes:
        described = self._described.get(name)
        return answer(json.dumps({"index": described}).encode()) if described else _NO_INDEX

    def _list_indexes(self, name: Key, _: dict[str, Any]) -> bytes:
        names = ("vectorBucketName", "indexName", "indexArn", "creationTime")
        found = [
            {each: described[each] for each in names}
            for (bucket, _index), described in self._described.items()
            if bucket == name[0]
        ]
        return answer(json.dumps({"indexes": found}).encode())

    def _create_bucket(self, name: Key, _: dict[str, Any]) -> bytes:
        arn = f"arn:aws:s3vectors:us-east-1:{_ACCOUNT}:bucket/{name[0].decode()}"
        return answer(json.dumps({"vectorBucketArn": arn}).encode())

    def _get_bucket(self, name: Key, _: dict[str, Any]) -> bytes:
        bucket = name[0].decode()
        arn = f"arn:aws:s3vectors:us-east-1:{_ACCOUNT}:bucket/{bucket}"
        about = {"vectorBucketName": bucket, "vectorBucketArn": arn, "creationTime": 1_760_000_000}
        return answer(json.dumps({"vectorBucket": about}).encode())

    def _get(self, name: Key, request: dict[str, Any]) -> bytes:
        kept = self._kept.get(name, {})
        found = [
            {"key": key, "metadata": json.loads(kept[key])}
            for key in request["keys"]
            if key in kept
        ]
        return answer(json.dumps({"vectors": found}, ensure_ascii=False).encode())

    def _list(self, name: Key, _: dict[str, Any]) -> bytes:
        found = [{"key": key} for key in self._kept.get(name, {})]
        return answer(json.dumps({"vectors": found}).encode())


class Tokens:
    """AssumeRole: another key for each call, named after the role session."""

    def __init__(self) -> None:
        self._count = 0

    def assume(self, body: bytes) -> bytes:
        """Return temporary credentials as STS words them."""
        self._count += 1
        form = parse_qs(body.decode())
        seconds = int(form.get("DurationSeconds", ["3600"])[0])
        ends = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        role, session = form["RoleArn"][0], form["RoleSessionName"][0]
        arn = f"{role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/{session}"
        body = (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            "<AssumeRoleResult><AssumedRoleUser>"
            f"<AssumedRoleId>AROAEXAMPLE:{session}</AssumedRoleId><Arn>{arn}</Arn>"
            "</AssumedRoleUser><Credentials>"
            f"<AccessKeyId>ASIA{self._count:016d}</AccessKeyId>"
            f"<SecretAccessKey>{'s' * 30}{self._count:010d}</SecretAccessKey>"
            f"<SessionToken>{'t' * 350}{self._count:010d}</SessionToken>"
            f"<Expiration>{ends}</Expiration></Credentials></AssumeRoleResult>"
            "<ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>"
            "</ResponseMetadata></AssumeRoleResponse>"
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Replies:
    """All services together: from a request to its operation's name and its answer."""

    def __init__(self) -> None:
        self.models = Models()
        self.indexes = Indexes()
        self.tokens = Tokens()
        self.recent: dict[str, bytes] = {}

    def answer(self, path: str, body: bytes) -> tuple[str, bytes]:
        """Return the operation and the whole HTTP answer."""
        if path == "/":
            return "AssumeRole", self.tokens.assume(body)
        if path.startswith("/model/"):
            model = unquote(path[len("/model/") : -len("/invoke")])
            return "InvokeModel", self.models.invoke(model, body)
        if path.startswith("/tags/"):
            return "Tags", answer(b'{"tags":{}}')
        operation = path[1:]
        if self.indexes.learning:
            self.recent[operation] = body
        return operation, self.indexes.handle(operation, body)
