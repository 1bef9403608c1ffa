"""Cohere's embedding models: up to 96 texts a call, and two shapes of an answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt

from memlane.testing.emulator.bedrock_requests import (
    Members,
    ModelAnswer,
    check_length,
    malformed,
    refused,
)
from memlane.testing.emulator.bedrock_vectors import Vector, bytes_vector, text_vector, tokens

__all__ = ("cohere_v3", "cohere_v4")

SingleType = Literal["object", "list"]

_PURPOSES: Final = ("search_document", "search_query", "classification", "clustering", "image")
_BATCH: Final = 96


def _plain(rows: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    return rows


def _int8(rows: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    levels: npt.NDArray[np.int8] = np.clip(np.rint(rows * 512.0), -128, 127).astype(np.int8)
    return levels


def _uint8(rows: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    return (_int8(rows).astype(np.int16) + 128).astype(np.uint8)


def _ubinary(rows: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    return np.packbits(rows > 0, axis=1)


def _binary(rows: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    return (_ubinary(rows).astype(np.int16) - 128).astype(np.int8)


_TYPES: Final[Mapping[str, Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]]] = {
    "float": _plain,
    "int8": _int8,
    "uint8": _uint8,
    "binary": _binary,
    "ubinary": _ubinary,
}


@dataclass(frozen=True, slots=True)
class _Input:
    """One thing to embed: texts and images in their order."""

    parts: tuple[str | bytes, ...]

    @property
    def tokens(self) -> int:
        return sum(tokens(each) for each in self.parts if isinstance(each, str))

    def vector(self, model: str, dimensions: int, purpose: str) -> Vector:
        rows = [
            text_vector(model, each, dimensions, purpose)
            if isinstance(each, str)
            else bytes_vector(model, each, dimensions, purpose)
            for each in self.parts
        ]
        if len(rows) == 1:
            return rows[0]
        mixed = np.sum(rows, axis=0)
        return cast("Vector", (mixed / np.linalg.norm(mixed)).astype(np.float32))


def cohere_v3(model: str, content: Any, single: SingleType) -> ModelAnswer:
    """Answer as cohere.embed-english-v3 and -multilingual-v3 do [D model-parameters-embed-v3]."""
    members = Members(
        content, "#", ("texts", "images", "input_type", "truncate", "embedding_types")
    )
    purpose = members.choice("input_type", _PURPOSES)
    truncate = members.choice("truncate", ("NONE", "START", "END"), "NONE")
    if ("texts" in members) == ("images" in members):
        raise refused("invalid request: exactly one of texts or images must be provided")
    if ("images" in members) != (purpose == "image"):
        raise refused('invalid request: input_type "image" is for images, and images are for it')
    texts = _texts(members, 2_048)
    inputs = [_Input((_fitting(text, truncate, 512),)) for text in texts]
    inputs += _images(members, 1)
    return _answer(members, model, inputs, texts, (1_024, purpose, single))


def cohere_v4(model: str, content: Any, single: SingleType) -> ModelAnswer:
    """Answer as cohere.embed-v4:0 does [D model-parameters-embed-v4]."""
    members = Members(
        content,
        "#",
        (
            "texts",
            "images",
            "inputs",
            "input_type",
            "truncate",
            "embedding_types",
            "output_dimension",
            "max_tokens",
        ),
    )
    purpose = members.choice("input_type", _PURPOSES)
    truncate = members.choice("truncate", ("NONE", "LEFT", "RIGHT"), "NONE")
    dimensions = members.choice("output_dimension", (1_536, 1_024, 512, 256), 1_536)
    most = members.read("max_tokens", int, 128_000)
    if sum(name in members for name in ("texts", "images", "inputs")) != 1:
        raise refused("invalid request: exactly one of texts, images or inputs must be provided")
    texts = _texts(members, None)
    inputs = [_Input((_fitting(text, truncate, most),)) for text in texts]
    inputs += _images(members, _BATCH)
    if "inputs" in members:
        inputs += _mixed(members)
    return _answer(members, model, inputs, texts, (dimensions, purpose, single))


def _texts(members: Members, most: int | None) -> list[str]:
    if "texts" not in members:
        return []
    texts = members.texts("texts", 1, _BATCH)
    for number, text in enumerate(texts):
        check_length(text, f"#/texts/{number}", 1, most or len(text))
    return texts


def _fitting(text: str, truncate: str, most: int) -> str:
    """Return a text that the model reads whole, cut where the request allows it."""
    count = tokens(text)
    if count > most and truncate == "NONE":
        raise refused(
            "invalid request: too many tokens: total number of tokens in the prompt cannot exceed "
            f"{most} - received {count}. Try using a shorter prompt, or enabling prompt truncating."
        )
    while count > most:
        keep = len(text) * most // count
        text = text[-keep:] if truncate in {"START", "LEFT"} else text[:keep]
        count = tokens(text)
    return text


def _images(members: Members, most: int) -> list[_Input]:
    if "images" not in members:
        return []
    return [
        _Input((_data(each, f"#/images/{number}"),))
        for number, each in enumerate(members.texts("images", 1, most))
    ]


def _data(address: str, path: str) -> bytes:
    head, _, body = address.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise malformed(f"{path}: not a data URI of an image")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as exc:
        raise malformed(f"{path}: not base64") from exc


def _mixed(members: Members) -> list[_Input]:
    entries = cast("Sequence[Any]", members.read("inputs", list))
    if not 1 <= len(entries) <= _BATCH:
        raise malformed(f"#/inputs: expected maximum item count: {_BATCH}, found: {len(entries)}")
    inputs: list[_Input] = []
    for number, entry in enumerate(entries):
        path = f"#/inputs/{number}"
        contents = cast("Sequence[Any]", Members(entry, path, ("content",)).read("content", list))
        inputs.append(_Input(tuple(_part(each, f"{path}/content") for each in contents)))
    return inputs


def _part(entry: Any, path: str) -> str | bytes:
    part = Members(entry, path, ("type", "text", "image_url"))
    if part.choice("type", ("text", "image_url")) == "text":
        return part.read("text", str)
    return _data(part.inner("image_url", ("url",)).read("url", str), path)


def _answer(
    members: Members,
    model: str,
    inputs: Sequence[_Input],
    texts: Sequence[str],
    settings: tuple[int, str, SingleType],
) -> ModelAnswer:
    dimensions, purpose, single = settings
    kinds = members.texts("embedding_types", 1, len(_TYPES)) if "embedding_types" in members else []
    for number, kind in enumerate(kinds):
        if kind not in _TYPES:
            raise malformed(f"#/embedding_types/{number}: {kind} is not a valid enum value")
    rows = np.stack([each.vector(model, dimensions, purpose) for each in inputs])
    digest = blake2b(rows.tobytes(), digest_size=16).hexdigest()
    identifier = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))
    body: dict[str, object] = {"id": identifier, "texts": list(texts)}
    if not kinds or (len(kinds) == 1 and single == "list"):
        # For a single type the documentation's text has a list, and its examples an object.
        body["embeddings"] = _TYPES[kinds[0] if kinds else "float"](rows)
        body["response_type"] = "embeddings_floats"
    else:
        body["embeddings"] = {kind: _TYPES[kind](rows) for kind in kinds}
        body["response_type"] = "embeddings_by_type"
    return ModelAnswer(body, sum(each.tokens for each in inputs))
