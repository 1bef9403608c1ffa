"""Between texts and an embedder: batches, windows, checks, and a cache that forgets with its owner.

An embedder knows nothing of scopes; this is where each vector is kept apart by tenant and user.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from dataclasses import replace

import numpy as np

from memlane.errors import BackendError, EmbeddingSpaceError, MemlaneError
from memlane.images import Picture, unseen
from memlane.marks import marked_terms
from memlane.metering import current
from memlane.powers import SupportsImages
from memlane.protocols import (
    Embedder,
    EmbeddingSpace,
    IndexedRecord,
    Purpose,
    RecordPart,
    Terms,
    Vector,
)
from memlane.runtime import SingleFlight, WorkerThreads, fork
from memlane.scope import Scope
from memlane.types import Image, MemoryRecord
from memlane.windows import clip, windows

__all__ = ("Embeddings", "VectorCache", "embed_all")

_INLINE_CHARS = 2_000  # cutting this much text takes less time than a hop to another thread

_IMAGES = 16  # pictures shown to a model at a time

_INFINITE = float("inf")

_Key = tuple[str, bytes]


class VectorCache:
    """Query vectors by keyed hash of their text, least recently used first to go.

    A tenant may hold at most a quarter of the whole, so that none empties it for the others. The
    key is drawn per process: what is in memory tells nobody which questions were asked.

    Args:
        size: Vectors at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._share = max(1, size // 4)
        self._secret = os.urandom(32)
        self._start_empty()
        fork.watch(self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._tenants: OrderedDict[str | None, OrderedDict[_Key, Vector]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def key(self, scope: Scope, text: str, space: str) -> _Key:
        """Return the key of a text for a user."""
        raw = f"{space}\0{text}".encode("utf-8", "surrogatepass")
        return scope.user, hashlib.blake2b(raw, key=self._secret, digest_size=16).digest()

    def get(self, scope: Scope, key: _Key) -> Vector | None:
        """Return the vector and count it as just used."""
        with self._lock:
            rows = self._tenants.get(scope.tenant)
            if rows is None or key not in rows:
                return None
            rows.move_to_end(key)
            self._tenants.move_to_end(scope.tenant)
            return rows[key]

    def put(self, scope: Scope, key: _Key, vector: Vector) -> None:
        """Keep a vector, letting go of the tenant's or the whole's oldest where needed."""
        if not self._size:
            return
        with self._lock:
            rows = self._tenants.setdefault(scope.tenant, OrderedDict())
            self._tenants.move_to_end(scope.tenant)
            self._count += key not in rows
            rows[key] = vector
            rows.move_to_end(key)
            if len(rows) > self._share:
                rows.popitem(last=False)
                self._count -= 1
            while self._count > self._size:
                oldest, rows = next(iter(self._tenants.items()))
                rows.popitem(last=False)
                self._count -= 1
                if not rows:
                    del self._tenants[oldest]

    def forget(self, scope: Scope) -> None:
        """Drop all vectors of the scope's user."""
        with self._lock:
            rows = self._tenants.get(scope.tenant)
            if rows is None:
                return
            for key in [key for key in rows if key[0] == scope.user]:
                del rows[key]
                self._count -= 1
            if not rows:
                del self._tenants[scope.tenant]

    def forget_tenant(self, tenant: str | None) -> None:
        """Drop all vectors of a tenant's users."""
        with self._lock:
            self._count -= len(self._tenants.pop(tenant, ()))


def check_vectors(vectors: Vector, *, count: int, space: EmbeddingSpace) -> Vector:
    """Return a copy of vectors as float32 (count, dimensions) when each has a direction.

    Raises:
        EmbeddingSpaceError: Another shape, a number that is not finite, or a zero vector.
    """
    found = _copied(vectors, space=space)
    if found.shape != (count, space.dimensions):
        raise EmbeddingSpaceError(
            f"the embedder answered shape {found.shape} where {(count, space.dimensions)} was due",
            remedy=f"check that the model really is {space.id}",
        )
    # One pass for both questions; a length that overflowed or vanished is looked into.
    lengths: list[float] = [np.vdot(row, row) for row in found]
    if not all(0.0 < length < _INFINITE for length in lengths):
        _check_numbers(found)
    return found


def _copied(vectors: object, *, space: EmbeddingSpace) -> Vector:
    """Return a copy as float32: a model may answer in the same buffer the next time."""
    try:
        if getattr(vectors, "dtype", None) == np.float32:
            return np.array(vectors, dtype=np.float32, order="C")
        with np.errstate(over="ignore"):
            return np.array(vectors, dtype=np.float32, order="C")
    except (TypeError, ValueError) as exc:
        raise EmbeddingSpaceError(
            "the embedder answered something that is no array of numbers",
            remedy=f"check that the model really is {space.id}",
        ) from exc


def _check_numbers(vectors: Vector) -> None:
    if not np.isfinite(vectors).all():
        raise EmbeddingSpaceError(
            "the embedder answered NaN or infinite numbers", remedy="check the model and its input"
        )
    if not np.any(vectors, axis=1).all():
        raise EmbeddingSpaceError(
            "the embedder answered a zero vector, which is near to nothing",
            remedy="check the model and its input",
        )


def _cut(texts: Sequence[str], max_chars: int) -> list[list[tuple[int, int, str, Terms]]]:
    cut: list[list[tuple[int, int, str, Terms]]] = []
    for text in texts:
        parts = [(0, len(text), clip(text, max_chars), marked_terms(text))]
        parts += [
            (start, end, text[start:end], marked_terms(text[start:end]))
            for start, end in windows(text, max_chars=max_chars)
        ]
        cut.append(parts)
    return cut


async def embed_all(embedder: Embedder, texts: Sequence[str], *, purpose: Purpose) -> Vector:
    """Return float32 (len(texts), dimensions), asked for in batches the embedder takes.

    Raises:
        EmbeddingSpaceError: The embedder answers something unfit.
        BackendError: It fails.
    """
    step = max(1, embedder.max_batch)
    batches: list[Vector] = []
    for at in range(0, len(texts), step):
        batch = texts[at : at + step]
        vectors = await _asked(embedder.embed(batch, purpose=purpose))
        batches.append(check_vectors(vectors, count=len(batch), space=embedder.space))
        if (meter := current()) is not None:
            meter.embedded += len(batch)
    joined: Vector = batches[0] if len(batches) == 1 else np.concatenate(batches)
    return joined


async def _asked(answer: Awaitable[Vector]) -> Vector:
    try:
        return await answer
    except MemlaneError:
        raise
    except Exception as exc:
        # Its message is not ours to repeat: it may quote what was to be embedded.
        raise BackendError(
            f"the embedder failed with {type(exc).__name__}",
            remedy="look at the error that caused this one",
        ) from exc


class Embeddings:
    """An embedder with everything the client needs around it.

    Args:
        embedder: The model.
        workers: Threads for cutting long texts.
        cached_queries: Query vectors kept at most.
    """

    def __init__(self, embedder: Embedder, *, workers: WorkerThreads, cached_queries: int) -> None:
        self._embedder = embedder
        self._seeing = embedder if isinstance(embedder, SupportsImages) else None
        self._workers = workers
        self._cache = VectorCache(cached_queries)
        self._flight: SingleFlight[Vector] = SingleFlight()

    @property
    def embedder(self) -> Embedder:
        """The model."""
        return self._embedder

    @property
    def space(self) -> EmbeddingSpace:
        """The embedder's space."""
        return self._embedder.space

    @property
    def sees_pictures(self) -> bool:
        """Whether the embedder's space holds pictures."""
        return self._seeing is not None

    async def query_vector(self, text: str, *, scope: Scope) -> Vector:
        """Return the vector (dimensions,) of a query; the same query at once is embedded once."""
        key = self._cache.key(scope, text, self.space.id)
        if (known := self._cache.get(scope, key)) is not None:
            if (meter := current()) is not None:
                meter.cache_hits += 1
            return known

        async def embed() -> Vector:
            vectors = await embed_all(
                self._embedder, [clip(text, self._embedder.max_chars)], purpose="query"
            )
            first: Vector = vectors[0]
            return first

        vector = await self._flight.run((scope.tenant, *key), embed)
        self._cache.put(scope, key, vector)
        return vector

    async def document_parts(
        self, texts: Sequence[str], *, pictures: Sequence[Sequence[Picture]] = ()
    ) -> list[tuple[RecordPart, ...]]:
        """Return the parts of each text: the whole, and sentence windows when it is long.

        Args:
            texts: What is to be found.
            pictures: Those beside each text, or () where there are none at all. Each that the
                embedder sees is one more part, behind the text's own and as long as the text.
        """
        limit = self._embedder.max_chars
        if sum(map(len, texts)) > _INLINE_CHARS:
            cut = await self._workers.run(_cut, texts, limit)
        else:
            cut = _cut(texts, limit)
        vectors = await embed_all(
            self._embedder, [part[2] for parts in cut for part in parts], purpose="document"
        )
        rows = iter(vectors)
        made = [
            tuple(
                RecordPart(start=start, end=end, vector=next(rows), terms=words)
                for start, end, _, words in parts
            )
            for parts in cut
        ]
        return await self._with_pictures(made, pictures) if any(pictures) else made

    async def _with_pictures(
        self, made: Sequence[tuple[RecordPart, ...]], pictures: Sequence[Sequence[Picture]]
    ) -> list[tuple[RecordPart, ...]]:
        images = [
            [picture.image for picture in beside if picture.image is not None]
            for beside in pictures
        ]
        rows = iter(await self._image_vectors([image for beside in images for image in beside]))
        return [
            (*parts, *(replace(parts[0], vector=next(rows)) for _ in beside))
            for parts, beside in zip(made, images, strict=True)
        ]

    async def _image_vectors(self, images: Sequence[Image]) -> Sequence[Vector]:
        if self._seeing is None or not images:
            return ()
        found: list[Vector] = []
        for at in range(0, len(images), _IMAGES):
            some = images[at : at + _IMAGES]
            vectors = await _asked(self._seeing.embed_images(some))
            found.extend(check_vectors(vectors, count=len(some), space=self.space))
            if (meter := current()) is not None:
                meter.embedded += len(some)
        return found

    async def changed_parts(self, after: MemoryRecord, before: IndexedRecord) -> IndexedRecord:
        """Return a record with the parts of its new text, and of the pictures that it keeps.

        Where vectors of pictures are missing its notes say so: nobody can make them again.
        """
        [made] = await self.document_parts([after.text])
        seen = sum(note.embedded for note in before.record.images)
        if not seen:
            return IndexedRecord(record=after, parts=made)
        if len(before.parts) <= seen or before.record.space != self.space.id:
            after = replace(after, images=unseen(after.images))
            return IndexedRecord(record=after, parts=made)
        # Pictures come last; what finds their words is the text that now stands beside them.
        kept = [replace(made[0], vector=part.vector) for part in before.parts[-seen:]]
        return IndexedRecord(record=after, parts=(*made, *kept))

    def forget(self, scope: Scope) -> None:
        """Drop what is cached of the scope's user."""
        self._cache.forget(scope)

    def forget_tenant(self, tenant: str | None) -> None:
        """Drop what is cached of a tenant's users."""
        self._cache.forget_tenant(tenant)
