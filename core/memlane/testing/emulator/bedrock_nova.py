"""Nova 2 multimodal embeddings: one text, image, sound or film a call."""

from __future__ import annotations

from typing import Any, Final

from memlane.media import media_type_of
from memlane.testing.emulator.bedrock_requests import Members, ModelAnswer, malformed
from memlane.testing.emulator.bedrock_vectors import (
    Vector,
    bytes_vector,
    picture_vector,
    text_vector,
    tokens,
)
from memlane.testing.pictures import words_of

__all__ = ("nova_2",)

# [D nova embeddings-schema]
_PURPOSES: Final = (
    "GENERIC_INDEX",
    "GENERIC_RETRIEVAL",
    "TEXT_RETRIEVAL",
    "IMAGE_RETRIEVAL",
    "VIDEO_RETRIEVAL",
    "DOCUMENT_RETRIEVAL",
    "AUDIO_RETRIEVAL",
    "CLASSIFICATION",
    "CLUSTERING",
)
_DIMENSIONS: Final = (3_072, 1_024, 384, 256)
_MOST_CHARS: Final = 8_192
_MOST_TOKENS: Final = 8_192
_MOST_BYTES: Final = 25_000_000
_INPUTS: Final = ("text", "image", "audio", "video")
_FORMATS: Final = {
    "image": ("png", "jpeg", "gif", "webp"),
    "audio": ("mp3", "wav", "ogg"),
    "video": ("mp4", "mov", "mkv", "webm", "flv", "mpeg", "mpg", "wmv", "3gp"),
}
_VIDEO_MODES: Final = ("AUDIO_VIDEO_COMBINED", "AUDIO_VIDEO_SEPARATE")


def nova_2(model: str, content: Any) -> ModelAnswer:
    """Answer as amazon.nova-2-multimodal-embeddings-v1:0 does [D]."""
    members = Members(content, "#", ("schemaVersion", "taskType", "singleEmbeddingParams"))
    members.choice("schemaVersion", ("nova-multimodal-embed-v1",), "nova-multimodal-embed-v1")
    # Long inputs go through StartAsyncInvoke, which is not here.
    members.choice("taskType", ("SINGLE_EMBEDDING",))
    asked = members.inner(
        "singleEmbeddingParams", ("embeddingPurpose", "embeddingDimension", *_INPUTS)
    )
    purpose = asked.choice("embeddingPurpose", _PURPOSES)
    dimensions = asked.choice("embeddingDimension", _DIMENSIONS, 3_072)
    given = [name for name in _INPUTS if name in asked]
    if len(given) != 1:
        raise malformed(
            f"#/singleEmbeddingParams: exactly one of {', '.join(_INPUTS)} must be provided, "
            f"found: {len(given)}"
        )
    if given == ["text"]:
        return _text(model, asked, purpose, dimensions)
    return _bytes(model, asked, given[0], purpose, dimensions)


def _text(model: str, asked: Members, purpose: str, dimensions: int) -> ModelAnswer:
    text = asked.inner("text", ("truncationMode", "value", "source"))
    mode = text.choice("truncationMode", ("START", "END", "NONE"))
    if "source" in text:
        raise malformed(f"{text.at('source')}: the S3 object cannot be read")
    value = text.within("value", 1, _MOST_CHARS)
    kept = _cut(value, mode)
    entry: dict[str, object] = {
        "embeddingType": "TEXT",
        "embedding": text_vector(model, kept, dimensions, purpose),
    }
    if len(kept) < len(value):
        entry["truncatedCharLength"] = len(kept)
    count = max(1, tokens(kept))
    # The count in the body was seen by a client library; the documentation does not name it.
    return ModelAnswer({"embeddings": [entry], "inputTokenCount": count}, count)


def _cut(value: str, mode: str) -> str:
    """Return a text cut to what the model reads, in steps of a hundredth."""
    step = max(1, len(value) // 100)
    while (count := tokens(value)) > _MOST_TOKENS:
        if mode == "NONE":
            raise malformed(
                f"#/singleEmbeddingParams/text/value: {count} tokens exceed the maximum of "
                f"{_MOST_TOKENS}"
            )
        value = value[step:] if mode == "START" else value[:-step]
    return value


def _bytes(model: str, asked: Members, name: str, purpose: str, dimensions: int) -> ModelAnswer:
    allowed = {"image": ("detailLevel",), "video": ("embeddingMode",)}.get(name, ())
    given = asked.inner(name, ("format", "source", *allowed))
    form = given.choice("format", _FORMATS[name])
    if name == "image":
        given.choice("detailLevel", ("STANDARD_IMAGE", "DOCUMENT_IMAGE"), "STANDARD_IMAGE")
    source = given.inner("source", ("bytes", "s3Location"))
    if "s3Location" in source:
        raise malformed(f"{source.at('s3Location')}: the S3 object cannot be read")
    content = source.base64("bytes", _MOST_BYTES)
    if name == "image":
        vector = _picture(model, form, content, purpose, dimensions)
        return ModelAnswer({"embeddings": [{"embeddingType": "IMAGE", "embedding": vector}]}, 0)
    kinds = [name.upper()]
    if name == "video":
        mode = given.choice("embeddingMode", _VIDEO_MODES)
        kinds = [mode] if mode == "AUDIO_VIDEO_COMBINED" else ["VIDEO", "AUDIO"]
    entries = [
        {
            "embeddingType": kind,
            "embedding": bytes_vector(f"{model}{kind}", content, dimensions, purpose),
        }
        for kind in kinds
    ]
    return ModelAnswer({"embeddings": entries}, 0)


def _picture(model: str, form: str, content: bytes, purpose: str, dimensions: int) -> Vector:
    """Return a picture's vector: near a text that says what its comment says."""
    if media_type_of(content) != f"image/{form}":
        # That it is refused is sure, the words are not [?].
        raise malformed(
            f"#/singleEmbeddingParams/image/source/bytes: not an image of format {form}"
        )
    return picture_vector(model, content, words_of(content), dimensions, purpose)
