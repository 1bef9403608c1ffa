"""Pictures made for tests are real ones, their words are read, and the suite finds bad eyes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from memlane import Image, MemlaneError
from memlane.testing import EmbedderConformance, HashingEmbedder, HashingImageEmbedder, gif, png
from memlane.testing.pictures import words_of


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a PNG, whose sums are right and which end where it ends."""
    at, found = 8, dict[bytes, bytes]()
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + size]
        (told,) = struct.unpack_from(">I", content, at + 8 + size)
        assert told == zlib.crc32(kind + body)
        found[kind] = body
        at += size + 12
    assert at == len(content)
    return found


@pytest.mark.parametrize("side", [1, 8, 33])
def test_a_png_is_a_png(side: int) -> None:
    """Header, pixels and end are there, in that order, and as many pixels as it says."""
    found = _chunks(png("a bicycle", colour=(1, 2, 3), side=side))
    assert list(found) == [b"IHDR", b"iTXt", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", found[b"IHDR"]) == (side, side, 8, 2, 0, 0, 0)
    assert zlib.decompress(found[b"IDAT"]) == (b"\0" + bytes((1, 2, 3)) * side) * side
    assert b"iTXt" not in _chunks(png())


@pytest.mark.parametrize(
    "shows", ["", "a red bicycle", "\u4e00\u8f86\u7ea2\u8272 \u00e9", "x" * 900]
)
def test_words_are_read_back(shows: str) -> None:
    """What a picture was told to show is what is read of it."""
    assert words_of(png(shows)) == shows
    assert words_of(gif(shows)) == shows
    assert gif(shows).endswith(b"\x3b")


def test_words_of_others() -> None:
    """The plain text chunk of a PNG and the comment of a JPEG are read; damage is no word."""
    plain = b"Comment\0a dog"
    chunk = struct.pack(">I", len(plain)) + b"tEXt" + plain + bytes(4)
    assert words_of(png()[:33] + chunk + png()[33:]) == "a dog"
    comment = b"\xff\xfe\x00\x07a dog"
    assert words_of(b"\xff\xd8\xff\xe0\x00\x04ab" + comment + b"\xff\xda\x00\x02") == "a dog"
    for damaged in (b"", b"no picture", png("x")[:20], gif("x")[:15], b"\xff\xd8\xff\xe0\x00\x00"):
        assert words_of(damaged) in {"", "x"}


class _Backwards(HashingImageEmbedder):
    async def embed_images(self, images: Sequence[Image]) -> Any:
        return (await super().embed_images(images))[::-1]


class _Blurred(HashingImageEmbedder):
    async def embed_images(self, images: Sequence[Image]) -> Any:
        rows = np.zeros((len(images), self.space.dimensions), dtype=np.float32)
        rows[:, 0] = 1
        return rows


class _Elsewhere(HashingImageEmbedder):
    async def embed_images(self, images: Sequence[Image]) -> Any:
        return np.roll(await super().embed_images(images), 1, axis=1)


class _Doubles(HashingImageEmbedder):
    async def embed_images(self, images: Sequence[Image]) -> Any:
        return (await super().embed_images(images)).astype(np.float64)


class _Credulous(HashingImageEmbedder):
    async def embed_images(self, images: Sequence[Image]) -> Any:
        try:
            return await super().embed_images(images)
        except MemlaneError:
            return np.ones((len(images), self.space.dimensions), dtype=np.float32)


@pytest.mark.parametrize(
    ("embedder", "test", "arguments"),
    [
        (_Backwards, "pictures_have_vectors", {}),
        (_Blurred, "pictures_have_vectors", {}),
        (_Doubles, "pictures_have_vectors", {}),
        (_Elsewhere, "pictures_are_near_what_they_show", {}),
        (_Credulous, "what_is_no_picture_is_refused", {"content": b"no picture"}),
    ],
)
async def test_bad_eyes_are_found(
    embedder: type[HashingImageEmbedder], test: str, arguments: dict[str, Any]
) -> None:
    """Order, type, sameness, another space and pictures that are none are noticed."""
    method = getattr(EmbedderConformance(), f"test_{test}")
    await method(HashingImageEmbedder(256), **arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await method(embedder(256), **arguments)
    with pytest.raises(pytest.skip.Exception):
        await method(HashingEmbedder(), **arguments)
