"""The floor: what somebody writes who knows the wire and wants nothing but speed. No memlane.

aiohttp, a SigV4 signer with its key kept, orjson; no retry, no check, no scope, no type. It is told
one record's metadata and one query as memlane sends them, and sends the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from typing import Any, Final

import aiohttp
import numpy as np
import orjson
from yarl import URL

from benchmarks.aws.words import question, text

_MODEL: Final = "amazon.titan-embed-text-v2:0"


class Signer:
    """SigV4 for one service and one key; the signing key is made once a day."""

    def __init__(self, service: str, host: str, settings: dict[str, Any]) -> None:
        self._host, self._region, self._service = host, settings["region"], service
        self._access, self._secret = settings["access_key"], settings["secret_key"]
        self._token = settings.get("session_token")
        self._day, self._key, self._scope = "", b"", ""

    def headers(self, path: str, body: bytes) -> dict[str, str]:
        """Return the headers that sign a POST of `body`; `path` is escaped as signing wants it."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if moment[:8] != self._day:
            self._day = moment[:8]
            key = b"AWS4" + self._secret.encode()
            for part in (self._day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = key
            self._scope = f"{self._day}/{self._region}/{self._service}/aws4_request"
        signed, token = "content-type;host;x-amz-date", ""
        if self._token:
            signed += ";x-amz-security-token"
            token = f"x-amz-security-token:{self._token}\n"
        canonical = (
            f"POST\n{path}\n\ncontent-type:application/json\nhost:{self._host}\n"
            f"x-amz-date:{moment}\n{token}\n{signed}\n{hashlib.sha256(body).hexdigest()}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        found = {
            "Content-Type": "application/json",
            "X-Amz-Date": moment,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self._access}/{self._scope}, "
            f"SignedHeaders={signed}, Signature={signature}",
        }
        if self._token:
            found["X-Amz-Security-Token"] = self._token
        return found


class Floor:
    """store, retrieve and their kin by hand."""

    def __init__(self, settings: dict[str, Any]) -> None:
        endpoint, host = settings["endpoint"], settings["endpoint"].partition("//")[2]
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.get("connections", 128)),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        self._bedrock = Signer("bedrock", host, settings)
        self._vectors = Signer("s3vectors", host, settings)
        model = settings.get("model", _MODEL)
        escaped = model.replace(":", "%3A")
        self._invoke = URL(f"{endpoint}/model/{escaped}/invoke", encoded=True)
        self._invoke_path = f"/model/{escaped.replace('%', '%25')}/invoke"
        self._put, self._query = URL(f"{endpoint}/PutVectors"), URL(f"{endpoint}/QueryVectors")
        self._cohere = "cohere" in model
        self._where = {
            "vectorBucketName": settings["bucket"],
            "indexName": settings["index"],
        }
        self._metadata: dict[str, Any] = settings["metadata"]
        self._prefix: str = settings["prefix"]
        self._batch: list[dict[str, Any]] = []
        self._queries: dict[str, dict[str, Any]] = settings["queries"]

    async def _post(self, signer: Signer, url: URL, path: str, body: bytes) -> Any:
        headers = signer.headers(path, body)
        async with self._session.post(url, data=body, headers=headers) as response:
            answer = await response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {answer[:200]!r}")
            return orjson.loads(answer)

    async def _embed(self, said: str) -> list[float]:
        body = orjson.dumps({"inputText": said, "dimensions": 1024, "normalize": True})
        answer = await self._post(self._bedrock, self._invoke, self._invoke_path, body)
        vector: list[float] = answer["embedding"]
        return vector

    async def _embed_all(self, texts: list[str]) -> list[list[float]]:
        if not self._cohere:
            return await asyncio.gather(*map(self._embed, texts))
        asked = {"texts": texts, "input_type": "search_document", "embedding_types": ["float"]}
        answer = await self._post(
            self._bedrock, self._invoke, self._invoke_path, orjson.dumps(asked)
        )
        vectors: list[list[float]] = answer["embeddings"]["float"]
        return vectors

    def _vector(self, said: str, vector: object) -> dict[str, Any]:
        return {
            "key": self._prefix + os.urandom(13).hex(),
            "data": {"float32": vector},
            "metadata": {**self._metadata, "content": said},
        }

    async def _write(self, vectors: list[dict[str, Any]]) -> None:
        body = orjson.dumps({**self._where, "vectors": vectors}, option=orjson.OPT_SERIALIZE_NUMPY)
        await self._post(self._vectors, self._put, "/PutVectors", body)

    async def store(self, number: int) -> None:
        """Embed one text and put one vector."""
        said = text(number)
        await self._write([self._vector(said, await self._embed(said))])

    async def store_many(self, number: int) -> None:
        """Embed 96 texts, at once or in one batch, and put them in one request."""
        texts = [text(number * 96 + each) for each in range(96)]
        vectors = await self._embed_all(texts)
        await self._write([self._vector(*pair) for pair in zip(texts, vectors, strict=True)])

    async def _nearest(self, name: str, number: int) -> list[tuple[str, float, str]]:
        vector = await self._embed(question(number))
        body = orjson.dumps({**self._queries[name], "queryVector": {"float32": vector}})
        answer = await self._post(self._vectors, self._query, "/QueryVectors", body)
        return [
            (each["key"], each["distance"], each["metadata"]["content"])
            for each in answer["vectors"]
        ]

    async def retrieve(self, number: int) -> int:
        """Return the five nearest."""
        found = await self._nearest("retrieve", number)
        assert len(found) == 5
        return len(found)

    async def recall(self, number: int) -> int:
        """Return as many candidates as memlane ranks in its default mode."""
        return len(await self._nearest("recall", number))

    async def ready_batch(self, count: int) -> None:
        """Make the vectors of a batch, so that putting them is all that is measured."""
        drawn = np.random.default_rng(7)
        rows = drawn.standard_normal((count, 1024)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self._batch = [self._vector(text(number), row) for number, row in enumerate(rows)]

    async def put_batch(self, _: int) -> None:
        """Put the batch that is ready."""
        await self._write(self._batch)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


async def open_client(settings: dict[str, Any]) -> Floor:
    """Make the floor."""
    return Floor(settings)
