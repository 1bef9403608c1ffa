"""Texts to vectors through Bedrock's InvokeModel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import anyio
import numpy as np

from memlane.aws._extra import orjson
from memlane.aws.bedrock.models import Model, model_of
from memlane.aws.bedrock.pictures import bodies, check_images
from memlane.aws.bedrock.reading import read
from memlane.aws.bedrock.usage import Usage, UsageCounter
from memlane.aws.wire import Lane, Reply, Request
from memlane.checks import check_inputs
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    RequestRejectedError,
    ServiceError,
    StoreNotFoundError,
    ValidationError,
)
from memlane.metering import current
from memlane.protocols import Credentials, EmbeddingSpace, Purpose, Vector
from memlane.runtime import WorkerThreads
from memlane.types import Image

if TYPE_CHECKING:
    from memlane.aws.credentials import HostCredentials
    from memlane.aws.plane import Channel, DataPlane

__all__ = ("BedrockEmbedder",)

_MAX_BATCH: Final = 960
"""Texts a call: ten requests of the models that take many, and never a list without end."""
_CONCURRENCY: Final = 96
"""As many texts as the other models take in one request, and below the plane's 128 connections."""
_LARGE: Final = 4
"""Pictures sent at once: each may have as many bytes as a request can hold."""
_SLACK: Final = 0.5
"""Seconds after the caller's deadline, which itself is what ends an attempt."""


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    start: int
    end: int
    request: Request


@dataclass(slots=True)
class _Batch:
    """What a call has to send, and what came of it so far."""

    chunks: Sequence[_Chunk]
    out: Vector
    credentials: Credentials
    concurrency: int
    pictures: bool = False
    ends: float = inf
    done: set[_Chunk] = field(default_factory=set)


class BedrockEmbedder:
    """Embeds with a model of Amazon Bedrock, signed by the host: models belong to no tenant.

    Args:
        model: A model's id, or the id or ARN of an inference profile.
        plane: What requests go through.
        credentials: Who asks.
        dimensions: Components a vector; 1,024 if left out.
        base_model: The model behind an ARN that does not say it.
        concurrency: Requests of one call at once, for models that take one text each.

    Attributes:
        embed_images: As `SupportsImages` has it; there for models that see pictures alone.

    Raises:
        ValidationError: The model is unknown, or has no vectors of so many dimensions.
    """

    embed_images: Callable[[Sequence[Image]], Awaitable[Vector]]

    def __init__(
        self,
        model: str = "amazon.titan-embed-text-v2:0",
        *,
        plane: DataPlane,
        credentials: HostCredentials,
        dimensions: int | None = None,
        base_model: str | None = None,
        concurrency: int = _CONCURRENCY,
    ) -> None:
        self._model = model_of(model, base_model=base_model)
        self._id = model
        self._plane = plane
        self._credentials = credentials
        self._concurrency = _checked_concurrency(concurrency)
        self._space = EmbeddingSpace(
            model=self._model.name,
            dimensions=_checked_dimensions(self._model, dimensions),
            purposes=self._model.purposes,
        )
        self._path = f"/model/{quote(model, safe='')}/invoke"
        self._lane = Lane(f"bedrock/{model}")
        self._usage = UsageCounter()
        if self._model.picture is not None:
            # Whoever wants to know whether it sees pictures looks whether this is there.
            self.embed_images = self._embed_images
            self._writers = WorkerThreads("memlane-base64", 1)

    @property
    def space(self) -> EmbeddingSpace:
        """The model's vectors, scaled to length one."""
        return self._space

    @property
    def max_batch(self) -> int:
        """Texts per call at most; how many a request takes is seen to here."""
        return _MAX_BATCH

    @property
    def max_chars(self) -> int:
        """Characters a text may have, below what the model takes."""
        return self._model.max_chars

    @property
    def usage(self) -> Usage:
        """What the service has counted since this embedder was made."""
        return self._usage.read()

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        """Return a row of length one per text, in order.

        Raises:
            ValidationError: Too many texts, or one that is no text, empty or too long.
            EmbeddingSpaceError: The model answered something else than such vectors.
            ServiceError: It could not be asked, or refused.
        """
        check_inputs(inputs, max_batch=_MAX_BATCH, max_chars=self._model.max_chars)
        if not all(inputs):
            raise ValidationError(
                "a text to embed is empty", operation="embed", remedy="leave it out"
            )
        if len(inputs) == 1:
            return await self._embed_one(inputs, purpose)
        rows = {text: row for row, text in enumerate(dict.fromkeys(inputs))}
        out = np.zeros((len(rows), self._space.dimensions), dtype=np.float32)
        if not rows:
            return out
        chunks = self._chunks(list(rows), purpose)
        credentials = self._credentials.peek() or await self._credentials.get()
        await self._ask_all(_Batch(chunks, out, credentials, self._concurrency))
        if len(rows) == len(inputs):
            return out
        return out[[rows[text] for text in inputs]]

    async def _embed_images(self, images: Sequence[Image]) -> Vector:
        """Return a row of length one per picture, in order.

        Raises:
            ValidationError: Too many pictures, or one that is none, too large or not read yet.
            EmbeddingSpaceError: The model answered something else than such vectors.
            ServiceError: It could not be asked, or refused.
        """
        checked = check_images(images)
        out = np.zeros((len(checked), self._space.dimensions), dtype=np.float32)
        if self._model.picture is None or not checked:
            return out
        write, dimensions = self._model.picture, self._space.dimensions
        # Megabytes to be written as base64, and as JSON, are no work for a loop.
        written = await self._writers.run(
            lambda: bodies([write(content, form, dimensions) for content, form in checked])
        )
        chunks = [
            _Chunk(row, row + 1, Request("bedrock", "InvokeModel", self._path, body))
            for row, body in enumerate(written)
        ]
        credentials = self._credentials.peek() or await self._credentials.get()
        several = min(_LARGE, self._concurrency)
        await self._ask_all(_Batch(chunks, out, credentials, several, pictures=True))
        return out

    async def _ask_all(self, batch: _Batch) -> None:
        try:
            await self._ask(batch)
        except CredentialsError:
            # They expired on the way: one more time, for what is missing, with others.
            self._credentials.reject(batch.credentials)
            missing = [chunk for chunk in batch.chunks if chunk not in batch.done]
            renewed = await self._credentials.get()
            await self._ask(replace(batch, chunks=missing, credentials=renewed, done=set()))

    async def _embed_one(self, inputs: Sequence[str], purpose: Purpose) -> Vector:
        """A question, or a short memory: nothing to be shared out, and no state of a batch."""
        request = self._request(inputs, purpose)
        credentials = self._credentials.peek() or await self._credentials.get()
        try:
            reply = await self._plane.call(request, credentials, lane=self._lane)
        except CredentialsError:
            self._credentials.reject(credentials)
            reply = await self._again(request)
        except ServiceError as error:
            self._explain(error)
            raise
        return self._read(reply, 1)

    async def _again(self, request: Request) -> Reply:
        credentials = await self._credentials.get()
        try:
            return await self._plane.call(request, credentials, lane=self._lane)
        except ServiceError as error:
            self._explain(error)
            raise

    def _request(self, texts: Sequence[str], purpose: Purpose) -> Request:
        body = orjson.dumps(self._model.request(texts, purpose, self._space.dimensions))
        return Request("bedrock", "InvokeModel", self._path, body)

    def _read(self, reply: Reply, count: int, *, pictures: bool = False) -> Vector:
        found, tokens = read(reply, self._model, count=count, dimensions=self._space.dimensions)
        self._usage.add(
            texts=0 if pictures else count, pictures=count if pictures else 0, tokens=tokens
        )
        if (meter := current()) is not None:
            meter.tokens += tokens
        return found

    def _chunks(self, texts: Sequence[str], purpose: Purpose) -> list[_Chunk]:
        step = self._model.texts
        chunks: list[_Chunk] = []
        for start in range(0, len(texts), step):
            part = texts[start : start + step]
            chunks.append(_Chunk(start, start + len(part), self._request(part, purpose)))
        return chunks

    async def _ask(self, batch: _Batch) -> None:
        left = anyio.current_effective_deadline() - anyio.current_time()
        batch.ends = monotonic() + left
        try:
            # One hop for all of them, where the caller's loop is not that of the connections.
            await self._plane.run(self._fill, batch)
        except ServiceError as error:
            self._explain(error)
            raise

    async def _fill(self, channel: Channel, batch: _Batch) -> None:
        import asyncio

        waiting = iter(batch.chunks)
        if len(batch.chunks) == 1:
            await self._work(channel, batch, waiting)
            return
        failed: list[Exception] = []
        try:
            # `together` would do the same; the loop's own group costs a third of it.
            async with asyncio.TaskGroup() as group:
                for _ in range(min(batch.concurrency, len(batch.chunks))):
                    group.create_task(self._work(channel, batch, waiting))
        except ExceptionGroup as failures:
            failed += failures.exceptions
        if failed:
            # Not from within, where it would lose what it comes from, or get another context.
            raise failed[0]

    async def _work(self, channel: Channel, batch: _Batch, waiting: Iterator[_Chunk]) -> None:
        for chunk in waiting:
            if batch.ends == inf:
                reply = await channel.call(chunk.request, batch.credentials, lane=self._lane)
            else:
                # The task with the deadline is another one. What would have to wait for longer is
                # said at once, as the error it is, and not waited for until time is up.
                left = max(0.0, batch.ends - monotonic())
                reply = await channel.carry(
                    chunk.request, batch.credentials, self._lane, 1.0, left + _SLACK, left
                )
            found = self._read(reply, chunk.end - chunk.start, pictures=batch.pictures)
            batch.out[chunk.start : chunk.end] = found
            batch.done.add(chunk)

    def _explain(self, error: ServiceError) -> None:
        """Let the error say what usually helps, where that is known."""
        remedy = self._remedy(error)
        if remedy is not None:
            error.remedy = remedy

    def _remedy(self, error: ServiceError) -> str | None:
        if isinstance(error, AccessDeniedError):
            return (
                f"allow the host bedrock:InvokeModel on {self._id}, and the account to use the "
                "model, on Bedrock's page of model access"
            )
        detail = error.detail or ""
        if isinstance(error, RequestRejectedError) and "on-demand throughput" in detail:
            return f"pass an inference profile of it, such as us.{self._model.name}"
        if isinstance(error, StoreNotFoundError) or "model identifier" in detail:
            return f"check that {self._id} is offered in {self._plane.region}"
        return None


def _checked_concurrency(concurrency: int) -> int:
    if concurrency < 1:
        raise ValidationError("concurrency is below 1", remedy="pass at least 1")
    return concurrency


def _checked_dimensions(model: Model, dimensions: int | None) -> int:
    if dimensions is None:
        return model.dimensions[0]
    if dimensions not in model.dimensions:
        offered = ", ".join(map(str, sorted(model.dimensions)))
        raise ValidationError(
            f"{model.name} gives no vectors of {dimensions} dimensions",
            operation="connect",
            remedy=f"pass one of {offered}",
        )
    return dimensions
