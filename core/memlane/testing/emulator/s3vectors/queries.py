"""QueryVectors: by nearness, by words, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from memlane.testing.emulator.s3vectors.filters import compiled
from memlane.testing.emulator.s3vectors.members import (
    Members,
    chosen,
    flag,
    needed,
    number,
    objects,
    text,
)
from memlane.testing.emulator.s3vectors.pages import Found, Held
from memlane.testing.emulator.s3vectors.records import Components, components, data_of
from memlane.testing.emulator.s3vectors.refusals import constraint, invalid
from memlane.testing.emulator.s3vectors.resources import Index, Wanted
from memlane.testing.emulator.s3vectors.searching import Question, Search
from memlane.testing.emulator.s3vectors.world import World

__all__ = ("query_vectors",)

PAGE: Final = 100
MAX_DEPTH: Final = 10_000
_MAX_TEXTS: Final = 10
_ALIKE: Final = ("queryVector", "queryTexts", "topK", "filter", "queryMode")


def query_vectors(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Return a page of what is found; 100 of it, of at most 10,000."""
    index = world.account.index(wanted)
    token = text(body, "nextToken", most=4096)
    question = _read(world, index, body)
    now = world.clock.timestamp()
    start = 0
    if token is None:
        found = Search(world, index, question).found()
    else:
        held = world.answers.next(token, asked=question.digest, now=now)
        found, start = held.found, held.start
    page = found[start : start + PAGE]
    answer: dict[str, Any] = {
        "vectors": _told(index, page, body, scores=bool(question.texts)),
        "distanceMetric": index.metric,
    }
    if start + PAGE < len(found):
        until = now + world.switches.query_token_seconds
        answer["nextToken"] = world.answers.keep(Held(question.digest, found, start + PAGE, until))
    return answer


def _told(
    index: Index, page: Sequence[Found], body: Members, *, scores: bool
) -> list[dict[str, Any]]:
    table = index.table
    metadata, distance = flag(body, "returnMetadata"), flag(body, "returnDistance")
    scores = flag(body, "returnScores") and scores
    told: list[dict[str, Any]] = []
    for one in page:
        row = table.row(one.key)
        if row is None:  # deleted since the first page was fetched
            continue
        shown: dict[str, Any] = {"key": one.key}
        if distance and one.distance is not None:
            shown["distance"] = one.distance
        if metadata and table.metadata[row]:
            shown["metadata"] = table.metadata[row]
        if scores:
            shown["scores"] = _scores(one)
        told.append(shown)
    return told


def _scores(one: Found) -> dict[str, Any]:
    told: dict[str, Any] = {
        "bm25Scores": [{"metadataKey": key, "score": score} for key, score in one.texts]
    }
    if one.fused is not None:
        told["fused"] = one.fused
    if one.distance is not None:
        told["vectorDistance"] = one.distance
    return told


def _read(world: World, index: Index, body: Members) -> Question:
    depth = needed(number(body, "topK", least=1), "topK")
    if depth > MAX_DEPTH:  # the limit is documented, its message is not [?]
        raise constraint("/topK", f"be less than or equal to {MAX_DEPTH}")
    mode = chosen(body, "queryMode", ("CLASSIC", "ENHANCED"))
    if mode == "CLASSIC" and index.mode == "ENHANCED":
        raise invalid("queryMode cannot be CLASSIC when indexMode is ENHANCED", "queryMode")
    enhanced = (mode or index.mode) == "ENHANCED"
    condition = None
    if body.get("filter") is not None:
        condition = compiled(
            body["filter"], hidden=index.hidden, enhanced=enhanced, switches=world.switches
        )
    texts = _texts(world, index, body)
    vector = None
    if body.get("queryVector") is not None:
        vector = _vector(index, components(data_of(body["queryVector"])))
    elif not texts:
        raise invalid("At least one of queryVector and queryTexts must be specified")
    asked = {name: body.get(name) for name in _ALIKE} | {"index": index.arn}
    digest = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    return Question(
        depth=depth,
        vector=vector,
        texts=texts,
        condition=condition,
        enhanced=enhanced,
        digest=digest,
    )


def _vector(index: Index, vector: Components) -> Components:
    if len(vector) != index.dimension:
        raise invalid(
            f"Query vector must have length {index.dimension}, but has length {len(vector)}",
            "queryVector",
        )
    if not np.isfinite(vector).all() or (index.metric == "cosine" and not vector.any()):
        raise invalid("Query vector contains invalid values or is invalid for this index", "vector")
    return vector


def _texts(world: World, index: Index, body: Members) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for place, one in enumerate(objects(body, "queryTexts", least=1, most=_MAX_TEXTS) or ()):
        path = f"/queryTexts/{place}"
        words = needed(text(one, "text", most=1024, path=path), "text", path=path)
        key = needed(text(one, "metadataKey", path=path), "metadataKey", path=path)
        found.append((key, words))
    if len({key for key, _ in found}) != len(found):
        raise invalid("Each query text must target a distinct metadata key", "queryTexts")
    if found and index.mode != "ENHANCED":
        raise invalid("Text search is supported only when indexMode is ENHANCED", "queryTexts")
    now = world.clock.timestamp()
    for key, _ in found:
        configured = index.texts.get(key)
        if configured is None or now < configured.ready_at:
            raise invalid("The metadata key is not configured for text search", "queryTexts")
    return tuple(found)
