"""Titan's text models: one text a call."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from memlane.testing.emulator.bedrock_requests import Members, ModelAnswer, malformed, refused
from memlane.testing.emulator.bedrock_vectors import text_vector, tokens

__all__ = ("titan_v1", "titan_v2")

_MOST_TOKENS: Final = 8_192  # [K]
_MOST_CHARS: Final = 50_000  # [K]
_LENGTH: Final = 11.0  # of a vector that is not normalised; that it is not one is what matters


def titan_v1(model: str, content: Any) -> ModelAnswer:
    """Answer as amazon.titan-embed-text-v1 does [K]."""
    text, count = _read(Members(content, "#", ("inputText",)))
    vector = text_vector(model, text, 1_536) * np.float32(_LENGTH)
    return ModelAnswer({"embedding": vector, "inputTextTokenCount": count}, count)


def titan_v2(model: str, content: Any) -> ModelAnswer:
    """Answer as amazon.titan-embed-text-v2:0 does [D]: embeddingsByType is always there."""
    members = Members(content, "#", ("inputText", "dimensions", "normalize", "embeddingTypes"))
    text, count = _read(members)
    dimensions = members.choice("dimensions", (1_024, 512, 256), 1_024)
    unit = text_vector(model, text, dimensions)
    vector = unit if members.read("normalize", bool, default=True) else unit * np.float32(_LENGTH)
    kinds = ["float"]
    if "embeddingTypes" in members:
        kinds = members.texts("embeddingTypes", 1, 2)
    for number, kind in enumerate(kinds):
        if kind not in {"float", "binary"}:
            raise malformed(f"#/embeddingTypes/{number}: {kind} is not a valid enum value")
    typed: dict[str, object] = {"float": vector, "binary": (vector > 0).astype(np.uint8)}
    body: dict[str, object] = {
        "embeddingsByType": {kind: typed[kind] for kind in kinds},
        "inputTextTokenCount": count,
    }
    if "float" in kinds:
        body["embedding"] = vector
    return ModelAnswer(body, count)


def _read(members: Members) -> tuple[str, int]:
    text = members.within("inputText", 1, _MOST_CHARS)
    count = tokens(text)
    if count > _MOST_TOKENS:
        raise refused(
            f"400 Bad Request: Too many input tokens. Max input tokens: {_MOST_TOKENS}, request "
            f"input token count: {count} "
        )
    return text, max(1, count)
