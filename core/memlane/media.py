"""Which bytes are a picture, how many of them one may have, and what is kept when they are gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from memlane.types import ImageNote

__all__ = ("MAX_PICTURE_BYTES", "MEDIA_TYPES", "media_type_of", "unseen")

MAX_PICTURE_BYTES: Final = 18_000_000
"""As base64, and with a request around it, within the 25,000,000 bytes that Bedrock takes."""

MEDIA_TYPES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")

_WEBP: Final = slice(8, 12)


def media_type_of(content: bytes) -> str | None:
    """Return what a picture is by how it begins; None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[_WEBP] == b"WEBP":
        return "image/webp"
    return None


def unseen(notes: Iterable[ImageNote]) -> tuple[ImageNote, ...]:
    """Return notes of pictures whose vectors are not kept: those of another embedding space."""
    return tuple(replace(note, embedded=False) if note.embedded else note for note in notes)
