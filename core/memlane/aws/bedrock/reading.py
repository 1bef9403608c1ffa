"""What a model answered, as vectors."""

from __future__ import annotations

import struct
from typing import Any, Final, cast

import numpy as np

from memlane.aws._extra import orjson
from memlane.aws.answers import decode
from memlane.aws.bedrock.models import Model, Rows
from memlane.aws.wire import Reply
from memlane.errors import EmbeddingSpaceError, UnavailableError
from memlane.protocols import Vector

__all__ = ("read",)

_TOKENS: Final = "x-amzn-bedrock-input-token-count"
_BEGIN: Final = b'"embedding":['


def read(reply: Reply, model: Model, *, count: int, dimensions: int) -> tuple[Vector, int]:
    """Return float32 (count, dimensions) and how many tokens the service counted, 0 for unknown.

    Whether the numbers are finite is the client's to check, once for every embedder, unless they
    are scaled here.

    Raises:
        EmbeddingSpaceError: The answer is something else than such vectors.
        UnavailableError: It is not even JSON.
    """
    tokens = reply.headers.get(_TOKENS)
    if count == 1 and model.says_twice and tokens is not None:
        numbers = _first(reply.body)
        if numbers is not None and (found := _packed([numbers], dimensions)) is not None:
            return found, _whole(tokens)
    answer = _decoded(reply, model.name)
    return _vectors(answer, model, count, dimensions), _whole(tokens) or _told(answer)


def _first(body: bytes) -> Any:
    """Return the first list of numbers; the second copy of it is left unparsed."""
    begin = body.find(_BEGIN)
    end = body.find(b"]", begin)
    if begin < 0 or end < 0:
        return None
    try:
        return orjson.loads(body[begin + len(_BEGIN) - 1 : end + 1])
    except orjson.JSONDecodeError:  # told of when all is parsed
        return None


def _packed(rows: Rows, dimensions: int) -> Vector | None:
    """Return rows of so many numbers as float32; None for whatever is something else.

    A fifth of the time numpy takes for the same list.
    """
    form, step = f"{dimensions}f", 4 * dimensions
    raw = bytearray(step * len(rows))
    try:
        for at, row in enumerate(rows):
            struct.pack_into(form, raw, at * step, *row)
    except (struct.error, TypeError, OverflowError):
        return None
    return np.frombuffer(raw, dtype=np.float32).reshape(len(rows), dimensions)


def _decoded(reply: Reply, model: str) -> Any:
    try:
        return decode(reply)
    except UnavailableError as error:
        # JSON knows no such numbers, and a model that computes them has them written all the same.
        if b"NaN" in reply.body or b"Infinity" in reply.body:
            raise _not_finite(model) from error
        error.service, error.wire_operation = "bedrock", "InvokeModel"
        raise


def _vectors(answer: Any, model: Model, count: int, dimensions: int) -> Vector:
    try:
        rows = model.rows(answer)
        found = _packed(rows, dimensions)
        if found is None:
            with np.errstate(over="ignore"):
                found = np.array(rows, dtype=np.float32)
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise EmbeddingSpaceError(
            f"{model.name} answered something that is no array of numbers",
            operation="embed",
            remedy="check that this is an embedding model, and upgrade memlane",
        ) from exc
    due = (count, dimensions)
    if found.shape != due:
        raise EmbeddingSpaceError(
            f"{model.name} answered shape {found.shape} where {due} was due",
            operation="embed",
            remedy="pass the dimensions that the model gives",
        )
    return found if model.normalized else _scaled(found, model.name)


def _scaled(vectors: Vector, model: str) -> Vector:
    """Return rows of length one; not every model gives such, and none says that it does."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, None]
    if not np.isfinite(lengths).all():
        raise _not_finite(model)
    np.divide(vectors, lengths, out=vectors, where=lengths > 0, casting="same_kind")
    return vectors


def _told(answer: Any) -> int:
    # Cohere's bodies hold no count, and the header is on every answer.
    if not isinstance(answer, dict):
        return 0
    fields = cast("dict[str, object]", answer)
    return _whole(fields.get("inputTextTokenCount", fields.get("inputTokenCount")))


def _whole(told: object) -> int:
    try:
        return int(cast("str | int", told))
    except (TypeError, ValueError):
        return 0


def _not_finite(model: str) -> EmbeddingSpaceError:
    return EmbeddingSpaceError(
        f"{model} answered NaN or infinite numbers",
        operation="embed",
        remedy="check the text's language and length, or take another model",
    )
