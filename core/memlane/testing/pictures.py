"""Small pictures that say what they show, and a model that reads it: for tests of pictures.

A picture made here is a real PNG or GIF of one colour; what it shows is told in its comment, where
the emulated model of Bedrock and `HashingImageEmbedder` read it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from memlane.errors import ValidationError
from memlane.media import media_type_of
from memlane.protocols import Vector
from memlane.testing.fakes import HashingEmbedder
from memlane.types import Image

__all__ = ("HashingImageEmbedder", "gif", "png", "words_of")

_BEGIN: Final = b"\x89PNG\r\n\x1a\n"
_KEYWORD: Final = b"Description"
_OWN_WEIGHT: Final = 0.2


def png(shows: str = "", *, colour: tuple[int, int, int] = (90, 130, 200), side: int = 8) -> bytes:
    """Return a PNG.

    Args:
        shows: What it is told to show, in the chunk for a description.
        colour: Red, green and blue, 0 to 255.
        side: Pixels of each side.
    """
    row = b"\0" + bytes(colour) * side
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))]
    if shows:
        chunks.append((b"iTXt", _KEYWORD + b"\0\0\0\0\0" + shows.encode()))
    chunks += [(b"IDAT", zlib.compress(row * side)), (b"IEND", b"")]
    return _BEGIN + b"".join(
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body) & 0xFFFFFFFF)
        for kind, body in chunks
    )


def gif(shows: str = "", *, colour: tuple[int, int, int] = (90, 130, 200)) -> bytes:
    """Return a GIF of one pixel; what it is told to show is its comment."""
    raw = shows.encode()
    blocks = [raw[at : at + 255] for at in range(0, len(raw), 255)]
    comment = b"".join(bytes([len(block)]) + block for block in blocks)
    return b"".join((
        b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(colour) + b"\0\0\0",
        b"\x21\xfe" + comment + b"\0" if raw else b"",
        b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00\x3b",
    ))  # fmt: skip


def words_of(content: bytes) -> str:
    """Return what a picture is told to show: the text of a PNG, the comment of a JPEG or a GIF."""
    read = {"image/png": _of_png, "image/jpeg": _of_jpeg, "image/gif": _of_gif}
    reader = read.get(media_type_of(content) or "")
    if reader is None:
        return ""
    return " ".join(text.decode("utf-8", "replace") for text in reader(content)).strip()


def _of_png(content: bytes) -> Iterator[bytes]:
    at = len(_BEGIN)
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + size]
        if kind == b"tEXt":
            yield body.partition(b"\0")[2]
        elif kind == b"iTXt":
            # Behind the keyword: whether it is packed and how, a language, the keyword in it.
            yield body.partition(b"\0")[2][2:].split(b"\0", 2)[-1]
        at += size + 12


def _of_jpeg(content: bytes) -> Iterator[bytes]:
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        kind, size = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if kind == 0xFE:
            yield content[at + 4 : at + 2 + size]
        if kind == 0xDA or size < 2:
            return
        at += 2 + size


def _of_gif(content: bytes) -> Iterator[bytes]:
    begin = content.find(b"\x21\xfe")
    if begin < 0:
        return
    at, blocks = begin + 2, list[bytes]()
    while at < len(content) and content[at]:
        blocks.append(content[at + 1 : at + 1 + content[at]])
        at += 1 + content[at]
    yield b"".join(blocks)


class HashingImageEmbedder(HashingEmbedder):
    """A `HashingEmbedder` whose space holds pictures too: near to the words they are told to show.

    Attributes:
        seen: The pictures it was shown, in order.
    """

    def __init__(
        self, dimensions: int = 64, *, max_batch: int = 128, max_chars: int = 1_000
    ) -> None:
        super().__init__(dimensions, max_batch=max_batch, max_chars=max_chars)
        self._space = replace(self._space, model="hashing-images")
        self.seen: list[Image] = []

    async def embed_images(self, images: Sequence[Image]) -> Vector:
        """Return a row per picture.

        Raises:
            ValidationError: One is no picture.
        """
        rows = np.zeros((len(images), self.space.dimensions), dtype=np.float32)
        for row, image in zip(rows, images, strict=True):
            content = image.source
            if not isinstance(content, bytes) or media_type_of(content) is None:
                raise ValidationError("a picture to embed is none", remedy="pass its bytes")
            own = zlib.crc32(content)
            self._fill(row, words_of(content) or f"{own:x}")
            row[own % len(row)] += _OWN_WEIGHT
            row[:] = row / np.linalg.norm(row)
            self.seen.append(image)
        return rows
