"""Raw requests to the emulator, signed by botocore's signer."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from memlane.protocols import Credentials
from memlane.testing.emulator import Emulator

BUCKET = "memories"
INDEX = "memory-acme"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and message."""
        return self.status, self.headers["x-amzn-errortype"], self.json["message"]

    @property
    def paths(self) -> list[str]:
        """The fields at fault."""
        return [one["path"] for one in self.json.get("fieldList", ())]


class Signed:
    """Sends requests of one principal to one index, unless told otherwise."""

    def __init__(
        self, emulator: Emulator, credentials: Credentials | None = None, *, index: str = INDEX
    ) -> None:
        self._address = urlsplit(emulator.url).netloc
        given = credentials or emulator.admin
        keys = BotocoreCredentials(given.access_key, given.secret_key, given.session_token)
        self._signer = SigV4Auth(keys, "s3vectors", emulator.region)
        self._index = {"vectorBucketName": BUCKET, "indexName": index}

    def send(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Send a request as it stands."""
        with self._open(method, path, body) as answer:
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())

    @contextmanager
    def _open(
        self, method: str, path: str, body: bytes, timeout: float = 60.0
    ) -> Generator[HTTPResponse]:
        url = f"http://{self._address}{path}"
        request = AWSRequest(method, url, {"Content-Type": "application/json"}, body)
        self._signer.add_auth(request)
        connection = HTTPConnection(self._address, timeout=timeout)
        try:
            connection.request(method, path, body, dict(request.headers))
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()

    @contextmanager
    def opened(
        self, operation: str, members: Mapping[str, Any], timeout: float = 60.0
    ) -> Generator[HTTPResponse]:
        """Send an operation on the index and return its answer, of which nothing is read."""
        body = json.dumps(self._index | dict(members)).encode()
        with self._open("POST", f"/{operation}", body, timeout) as answer:
            yield answer

    def raw(self, operation: str, **members: Any) -> Answer:
        """Send an operation's members and nothing else."""
        return self.send("POST", f"/{operation}", json.dumps(members).encode())

    def call(self, operation: str, **members: Any) -> Answer:
        """Send an operation on the index."""
        return self.raw(operation, **self._index, **members)

    def bucket(self, operation: str, **members: Any) -> Answer:
        """Send an operation on the bucket."""
        return self.raw(operation, vectorBucketName=BUCKET, **members)

    def tags(self, method: str, arn: str, body: bytes = b"", query: str = "") -> Answer:
        """Send an operation on tags."""
        return self.send(method, f"/tags/{quote(arn, safe='')}{query}", body)

    def put(self, key: str, data: Sequence[float] = (1, 2, 3, 4), metadata: Any = None) -> Answer:
        """Store one vector."""
        vector: dict[str, Any] = {"key": key, "data": {"float32": list(data)}}
        if metadata is not None:
            vector["metadata"] = metadata
        return self.call("PutVectors", vectors=[vector])

    def query(self, data: Sequence[float] = (1, 2, 3, 4), depth: int = 10, **more: Any) -> Answer:
        """Ask for what is near."""
        return self.call("QueryVectors", topK=depth, queryVector={"float32": list(data)}, **more)

    def found(
        self, data: Sequence[float] = (1, 2, 3, 4), depth: int = 10, **more: Any
    ) -> list[str]:
        """Return the keys of what is near."""
        answer = self.query(data, depth, **more)
        assert answer.status == 200, answer.body
        return [one["key"] for one in answer.json["vectors"]]


def prepared(emulator: Emulator, *, hidden: tuple[str, ...] = (), **members: Any) -> Signed:
    """Return a client of a fresh index of four dimensions."""
    if BUCKET not in emulator.blocking.indexes():
        emulator.blocking.create_bucket(BUCKET)
    given = {"dimension": 4, "hidden": hidden, **members}
    emulator.blocking.create_index(BUCKET, INDEX, **given)
    return Signed(emulator)
