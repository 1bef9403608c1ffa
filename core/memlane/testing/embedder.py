"""The suite an embedder passes to be one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.to_thread
import numpy as np
import pytest

from memlane.errors import MemlaneError
from memlane.powers import SupportsImages
from memlane.protocols import Embedder, Purpose, Vector
from memlane.testing.pictures import gif, png
from memlane.types import Image

__all__ = ("EmbedderConformance",)

SENTENCES = (
    "Ada prefers window seats on long flights.",
    "The invoice was paid in March.",
    "Rex the dog is afraid of thunder.",
    "Please call me back after six.",
    "Our database runs on port 5432.",
)

TORTURE = {
    "space": " ",
    "nul": "a\0b",
    "controls": "\x01\x02\x1b[31m\x7f",
    "rtl": "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "chinese": "\u6211\u559c\u6b22\u9760\u7a97\u7684\u5ea7\u4f4d",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f3f3\ufe0f\u200d\U0001f308",
    "combining": "Z\u0351\u036b\u0343a\u0314l\u0349g\u0320o\u033a",
    "lines": "\r\n\u2028\u2029\x85",
    "one letter": "x",
    "digits": "0" * 200,
    "symbols": "()[]{}<>|&;$`\\\"'",
    "special tokens": "[CLS] [SEP] [PAD] [UNK] [MASK] </s> <|endoftext|>",
}


class EmbedderConformance:
    """Whether a class is an `Embedder`.

    Subclass it under a name that begins with `Test` and give it one fixture called `embedder`.

    Attributes:
        related: Pairs of texts and a third one that is further from the first than the second is.
        pictured: Pictures, each with a text that says what it shows and one that does not. Those
            here tell it in their comment, which a real model does not read: give it photographs.
    """

    pytestmark = pytest.mark.anyio

    related: Sequence[tuple[str, str, str]] = (
        (
            "Ada prefers window seats on flights",
            "Ada likes window seats on flights",
            "Quarterly taxes were filed by the accountant",
        ),
        (
            "the dog is afraid of thunder",
            "thunder makes the dog afraid",
            "deploy the database on port 5432",
        ),
    )

    pictured: Sequence[tuple[Image, str, str]] = (
        (Image(png("a red bicycle")), "the red bicycle", "Quarterly taxes were filed"),
        (Image(gif("a dog in the snow")), "a dog plays in snow", "the database on port 5432"),
    )

    async def _one(self, embedder: Embedder, text: str, purpose: Purpose = "document") -> Vector:
        row: Vector = (await embedder.embed([text], purpose=purpose))[0]
        return row

    def _check(self, embedder: Embedder, vectors: Vector, count: int) -> None:
        assert isinstance(vectors, np.ndarray)
        assert vectors.shape == (count, embedder.space.dimensions)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        lengths = np.linalg.norm(vectors, axis=1)
        assert (lengths > 0).all(), "a zero vector is near to nothing"
        if embedder.space.normalized:
            np.testing.assert_allclose(lengths, 1.0, atol=1e-3)

    async def test_it_says_what_it_is(self, embedder: Embedder) -> None:
        """Space, batch and text limits are told, and stay what they are."""
        assert embedder.space.model.strip()
        assert embedder.space.dimensions >= 1
        assert embedder.max_batch >= 1
        assert embedder.max_chars >= 1
        before = (embedder.space, embedder.max_batch, embedder.max_chars)
        await self._one(embedder, SENTENCES[0])
        assert (embedder.space, embedder.max_batch, embedder.max_chars) == before

    @pytest.mark.parametrize("purpose", ["document", "query"])
    async def test_shape_type_and_length(self, embedder: Embedder, purpose: Purpose) -> None:
        """A row of finite float32 per text, of length one where that is claimed."""
        for count in (1, 2, len(SENTENCES)):
            count_ = min(count, embedder.max_batch)
            vectors = await embedder.embed(SENTENCES[:count_], purpose=purpose)
            self._check(embedder, vectors, count_)

    async def test_no_texts_are_no_rows(self, embedder: Embedder) -> None:
        """An empty list gives an array of shape (0, dimensions)."""
        vectors = await embedder.embed([], purpose="document")
        assert vectors.shape == (0, embedder.space.dimensions)
        assert vectors.dtype == np.float32

    async def test_the_same_text_is_the_same_vector(self, embedder: Embedder) -> None:
        """Embedding again changes nothing."""
        first = await self._one(embedder, SENTENCES[0])
        again = await self._one(embedder, SENTENCES[0])
        np.testing.assert_allclose(again, first, atol=1e-6)

    async def test_neighbours_do_not_matter(self, embedder: Embedder) -> None:
        """A text's vector is the same alone, in any batch, at any place: rows are in order."""
        alone = np.stack([await self._one(embedder, text) for text in SENTENCES])
        batch = min(embedder.max_batch, 16)
        mixed = [SENTENCES[(n * 3) % len(SENTENCES)] for n in range(batch)]
        mixed[-1] = "a much longer text, so that the batch is padded. " * 8
        mixed[-1] = mixed[-1][: embedder.max_chars]
        together = await embedder.embed(mixed, purpose="document")
        for row, text in zip(together[:-1], mixed[:-1], strict=True):
            np.testing.assert_allclose(row, alone[SENTENCES.index(text)], atol=1e-5)

    async def test_purposes_differ_only_where_claimed(self, embedder: Embedder) -> None:
        """Without `purposes` documents and queries are embedded alike."""
        if embedder.space.purposes:
            pytest.skip("this model tells documents from queries")
        as_document = await self._one(embedder, SENTENCES[0])
        as_query = await self._one(embedder, SENTENCES[0], "query")
        np.testing.assert_allclose(as_query, as_document, atol=1e-6)

    async def test_different_texts_are_different_vectors(self, embedder: Embedder) -> None:
        """No two unlike sentences share a vector."""
        vectors = np.stack([await self._one(embedder, text) for text in SENTENCES])
        near = vectors @ vectors.T
        np.fill_diagonal(near, 0)
        assert near.max() < 0.999 * float((vectors * vectors).sum(axis=1).max())

    async def test_a_full_batch_is_accepted(self, embedder: Embedder) -> None:
        """`max_batch` texts are one call; of one more, all are embedded or none."""
        count = min(embedder.max_batch, 256)
        texts = [f"text {n}" for n in range(count)]
        self._check(embedder, await embedder.embed(texts, purpose="document"), count)
        if count < embedder.max_batch:
            return
        try:
            vectors = await embedder.embed([*texts, "one more"], purpose="document")
        except MemlaneError:
            return
        self._check(embedder, vectors, count + 1)

    async def test_the_longest_text_is_accepted(self, embedder: Embedder) -> None:
        """A text of `max_chars` characters has a vector; a longer one has too, or is an error."""
        size = min(embedder.max_chars, 100_000)
        text = ("window seats and quiet cars. " * (size // 20 + 1))[:size]
        self._check(embedder, await embedder.embed([text], purpose="document"), 1)
        if size < embedder.max_chars:
            return
        outcomes: set[str] = set()
        for longer in (text + "x", text * 3):
            try:
                vectors = await embedder.embed([longer], purpose="document")
            except MemlaneError:
                outcomes.add("refused")
            else:
                self._check(embedder, vectors, 1)
                outcomes.add("embedded")
        assert len(outcomes) == 1, "longer texts are sometimes refused and sometimes not"

    @pytest.mark.parametrize("text", TORTURE.values(), ids=TORTURE)
    async def test_any_text_has_a_vector(self, embedder: Embedder, text: str) -> None:
        """No script, symbol or control character gives a zero, a NaN or a crash."""
        for purpose in ("document", "query"):
            self._check(embedder, await embedder.embed([text], purpose=purpose), 1)

    async def test_related_texts_are_nearer(self, embedder: Embedder) -> None:
        """Of each triple in `related` the second is nearer to the first than the third is."""
        for query, near, far in self.related:
            asked = await self._one(embedder, query, "query")
            close, distant = await self._one(embedder, near), await self._one(embedder, far)
            assert _cosine(asked, close) > _cosine(asked, distant), (query, near, far)

    async def test_the_result_belongs_to_the_caller(self, embedder: Embedder) -> None:
        """Writing into a returned array changes no later answer."""
        first = await embedder.embed([SENTENCES[0]], purpose="document")
        kept = first.copy()
        if first.flags.writeable:
            first[:] = 7.0
        np.testing.assert_allclose(await self._one(embedder, SENTENCES[0]), kept[0], atol=1e-6)

    async def test_many_tasks_at_once(self, embedder: Embedder) -> None:
        """Concurrent calls do not mix their rows."""
        alone = [await self._one(embedder, text) for text in SENTENCES]

        async def ask(number: int) -> None:
            row = await self._one(embedder, SENTENCES[number % len(SENTENCES)])
            np.testing.assert_allclose(row, alone[number % len(SENTENCES)], atol=1e-5)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, number)

    async def test_loops_on_other_threads(self, embedder: Embedder) -> None:
        """Two event loops on two threads use one embedder, and this one after them."""
        expected = await self._one(embedder, SENTENCES[1])

        async def work() -> None:
            for _ in range(3):
                row = await self._one(embedder, SENTENCES[1])
                np.testing.assert_allclose(row, expected, atol=1e-5)

        async with anyio.create_task_group() as group:
            group.start_soon(_on_own_loop, work)
            group.start_soon(_on_own_loop, work)
        await work()

    def _seeing(self, embedder: Embedder) -> SupportsImages:
        if not isinstance(embedder, SupportsImages):
            pytest.skip("this model sees no pictures")
        return embedder

    async def test_pictures_have_vectors(self, embedder: Embedder) -> None:
        """A row a picture, in the space of the texts; none for none, and the same for the same."""
        seeing = self._seeing(embedder)
        images = [image for image, _, _ in self.pictured]
        vectors = await seeing.embed_images(images)
        self._check(embedder, vectors, len(images))
        none = await seeing.embed_images([])
        assert none.shape == (0, embedder.space.dimensions)
        assert none.dtype == np.float32
        alone = [(await seeing.embed_images([image]))[0] for image in images]
        np.testing.assert_allclose(vectors, np.stack(alone), atol=1e-5)
        turned = await seeing.embed_images([*reversed(images), images[0]])
        np.testing.assert_allclose(turned[:-1], vectors[::-1], atol=1e-5)
        np.testing.assert_allclose(turned[-1], vectors[0], atol=1e-5)
        assert not np.allclose(vectors[0], vectors[1], atol=1e-3)

    async def test_pictures_are_near_what_they_show(self, embedder: Embedder) -> None:
        """Of each triple in `pictured` the first text, asked, is nearer than the second."""
        seeing = self._seeing(embedder)
        for image, shown, other in self.pictured:
            found = (await seeing.embed_images([image]))[0]
            near, far = [await self._one(embedder, text, "query") for text in (shown, other)]
            assert _cosine(found, near) > _cosine(found, far), (shown, other)

    @pytest.mark.parametrize("content", [b"", b"no picture", b"RIFF\0\0\0\0WAVEfmt "])
    async def test_what_is_no_picture_is_refused(self, embedder: Embedder, content: bytes) -> None:
        """Other bytes are an error of memlane's, alone and beside a picture."""
        seeing = self._seeing(embedder)
        for images in ([Image(content)], [self.pictured[0][0], Image(content)]):
            with pytest.raises(MemlaneError):
                await seeing.embed_images(images)


async def _on_own_loop(work: Callable[[], Awaitable[None]]) -> None:
    await anyio.to_thread.run_sync(lambda: anyio.run(work, backend="asyncio"))


def _cosine(one: Vector, other: Vector) -> float:
    return float(one @ other) / float(np.linalg.norm(one) * np.linalg.norm(other))
