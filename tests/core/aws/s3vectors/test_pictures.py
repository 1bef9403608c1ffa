"""Pictures on S3 Vectors: one more vector each, kept with the record as on other backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.aws.s3vectors.opened import ACME, MINE, Cloud, cloud
from memlane import Image, Match, MemoryClient, Text
from memlane.errors import AccessDeniedError
from memlane.layout import vector_key
from memlane.local import InMemoryBackend
from memlane.scope import Reach
from memlane.testing import HashingImageEmbedder, gif, png
from memlane.testing.samples import NOW

__all__ = ("cloud",)

BICYCLE = png("a red bicycle leaning on a brick wall")
LONG = ". ".join(f"Chapter {n} tells of thing {n} in the garden of stones" for n in range(40))


def _told(matches: Any) -> list[tuple[str, float, str]]:
    found: list[Match] = [*matches]
    return [(one.record.id, round(one.score, 4), one.passage) for one in found]


async def _filled(client: MemoryClient) -> None:
    images = [Image(BICYCLE, name="wall.png"), Image(gif("a dog in the snow"))]
    await client.store([Text(f"Holidays. {LONG}"), *images], scope=MINE, record_id="long")
    await client.store([Text("From the holidays"), images[0]], scope=MINE, record_id="short")
    await client.store(LONG, scope=MINE, record_id="plain")
    for number in range(5):
        await client.store(f"the invoice {number} was paid", scope=MINE, record_id=f"i{number}")


async def test_the_same_answers_as_elsewhere(cloud: Cloud) -> None:
    """Notes, parts and their order, and what is found in each mode, are those of memory."""
    answers: list[Any] = []
    for backend in (cloud.backend(auto_onboard=True), InMemoryBackend()):
        embedder = HashingImageEmbedder()
        async with MemoryClient(backend=backend, embedder=embedder) as client:
            await _filled(client)
            told: list[Any] = [
                _told(await client.retrieve(query, scope=MINE, limit=3, mode=mode))
                for query in ("a red bicycle", "the dog in the snow", "thing 31 of the garden")
                for mode in ("vector", "text", "hybrid")
            ]
            reach = Reach.whole(MINE, now=NOW)
            for record_id in ("long", "short"):
                [found] = await backend.fetch([record_id], reach=reach, vectors=True)
                told.append([(part.start, part.end, len(part.terms)) for part in found.parts])
                told.append(found.record.images)
            answers.append(told)
    for here, there in zip(*answers, strict=True):
        assert here == there
    assert answers[0][0][0][0] == "short"


@pytest.mark.parametrize("words", ["Other words", f"Other words. {LONG}"])
async def test_an_update_keeps_the_pictures(cloud: Cloud, words: str) -> None:
    """Their vectors come last, whatever the new text is cut into; deleting takes them along."""
    backend, embedder = cloud.backend(auto_onboard=True), HashingImageEmbedder()
    async with MemoryClient(backend=backend, embedder=embedder) as client:
        await _filled(client)
        await client.update("long", scope=MINE, text=words)
        [found] = await backend.fetch(["long"], reach=Reach.whole(MINE, now=NOW), vectors=True)
        expected = await embedder.embed_images([Image(BICYCLE), Image(gif("a dog in the snow"))])
        assert len(found.record.images) == 2
        for part, row in zip(found.parts[-2:], expected, strict=True):
            np.testing.assert_allclose(part.vector, row, atol=1e-5)
            assert (part.start, part.end) == (0, len(words))
        [match] = await client.retrieve("the dog in the snow", scope=MINE, limit=1, mode="vector")
        assert match.record.id == "long"
        await client.forget(MINE)
        assert await cloud.keys(ACME) == {"memlane/space"}


async def test_another_space_has_no_vectors_of_pictures(cloud: Cloud) -> None:
    """After reembedding the words find the record, and its notes say that they alone do."""
    backend, other = cloud.backend(auto_onboard=True), HashingImageEmbedder(128)
    async with MemoryClient(backend=backend, embedder=HashingImageEmbedder()) as client:
        await _filled(client)
        await client.admin("acme").reembed(other)
    async with MemoryClient(backend=backend, embedder=other) as after:
        for record_id, count in (("long", 2), ("short", 1)):
            found = await after.get(record_id, scope=MINE)
            assert [note.embedded for note in found.images] == [False] * count
        changed = await after.update("short", scope=MINE, text="From the sea")
        [kept] = await backend.fetch(["short"], reach=Reach.whole(MINE, now=NOW), vectors=True)
        assert (len(kept.parts), kept.record) == (1, changed)


@pytest.mark.parametrize("words", ["Other words", f"Other words. {LONG}", LONG * 2])
async def test_a_refused_update_loses_no_picture(cloud: Cloud, words: str) -> None:
    """Nobody could make their vectors again; the next update has them still."""
    backend, embedder = cloud.backend(auto_onboard=True), HashingImageEmbedder()
    async with MemoryClient(backend=backend, embedder=embedder) as client:
        await _filled(client)
        before = await backend.fetch(["long"], reach=Reach.whole(MINE, now=NOW), vectors=True)
        await cloud.emulator.inject(operation="PutVectors", status=403)
        with pytest.raises(AccessDeniedError):
            await client.update("long", scope=MINE, text=words)
        await cloud.emulator.clear_faults()
        again = await backend.fetch(["long"], reach=Reach.whole(MINE, now=NOW), vectors=True)
        assert [len(one.parts) for one in again] == [len(one.parts) for one in before]
        await client.update("long", scope=MINE, text=words)
        [match] = await client.retrieve("the dog in the snow", scope=MINE, limit=1, mode="vector")
        assert (match.record.id, match.record.text) == ("long", words)
        assert match.similarity is not None
        assert match.similarity > 0.9


async def test_a_lost_picture_is_told_of(cloud: Cloud) -> None:
    """By the next version's notes, which then stand for the words alone."""
    backend, embedder = cloud.backend(auto_onboard=True), HashingImageEmbedder()
    async with MemoryClient(backend=backend, embedder=embedder) as client:
        await _filled(client)
        await backend._index(MINE, "test").delete([f"{vector_key(MINE, 'short')}#w1"])
        assert [note.embedded for note in (await client.get("short", scope=MINE)).images] == [True]
        for changes in ({"text": "From the sea"}, {"tags": ["sea"]}):
            told = await client.update("short", scope=MINE, **changes)
            assert [note.embedded for note in told.images] == [False]
            assert await client.get("short", scope=MINE) == told
