"""Pictures on their way to a model: checked before anything is sent, and written as base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from memlane.aws._extra import orjson
from memlane.errors import ValidationError
from memlane.media import MAX_PICTURE_BYTES, media_type_of
from memlane.types import Image

__all__ = ("MAX_IMAGES", "bodies", "check_images", "nova_picture")

MAX_IMAGES: Final = 64
"""Pictures a call: as many as two of the largest records, and never a list without end."""


def check_images(images: Sequence[Image]) -> Sequence[tuple[bytes, str]]:
    """Return the bytes of pictures and what they are, such as "png".

    Raises:
        ValidationError: Too many, one that was not read yet, that is none or is too large.
    """
    if len(images) > MAX_IMAGES:
        raise ValidationError(
            f"{len(images)} pictures in one call; at most {MAX_IMAGES} are allowed",
            operation="embed",
            remedy="embed them in several calls",
        )
    return [_checked(image) for image in images]


def _checked(image: object) -> tuple[bytes, str]:
    content = image.source if isinstance(image, Image) else None
    if not isinstance(content, bytes):
        raise ValidationError(
            "a picture to embed is not given by its bytes",
            operation="embed",
            remedy="read the file, and pass Image(bytes)",
        )
    if len(content) > MAX_PICTURE_BYTES:
        raise ValidationError(
            f"a picture has {len(content):,} bytes; at most {MAX_PICTURE_BYTES:,} are allowed",
            operation="embed",
            remedy="make it smaller",
        )
    media_type = media_type_of(content)
    if media_type is None:
        raise ValidationError(
            "a picture's bytes are no PNG, JPEG, GIF or WebP",
            operation="embed",
            remedy="convert it to one of them",
        )
    return content, media_type.removeprefix("image/")


def nova_picture(content: bytes, form: str, dimensions: int) -> Mapping[str, object]:
    """Return Nova's request for a picture that is to be found."""
    return {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": dimensions,
            "image": {
                "format": form,
                "source": {"bytes": base64.b64encode(content).decode("ascii")},
            },
        },
    }


def bodies(requests: Sequence[Mapping[str, object]]) -> list[bytes]:
    """Return requests as JSON."""
    return [orjson.dumps(request) for request in requests]
