"""From what memlane recalls to what LangChain passes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from memlane import Match

__all__ = ("OURS", "metadata_of")

OURS = "memlane"
"""The metadata key below which a document tells what memlane knows of it."""


def _detached(value: object) -> Any:
    # A document is its owner's to change; a record is not.
    if isinstance(value, Mapping):
        given = cast("Mapping[str, object]", value)
        return {key: _detached(each) for key, each in given.items()}
    if isinstance(value, list | tuple):
        return [_detached(each) for each in cast("Sequence[object]", value)]
    return value


def metadata_of(match: Match) -> dict[str, Any]:
    """Return the record's own metadata as it was given, and ours below one key of its own.

    The key is "memlane", with as many underscores after it as it takes to be free.
    """
    record = match.record
    metadata: dict[str, Any] = _detached(record.metadata)
    key = OURS
    while key in metadata:
        key += "_"
    metadata[key] = {
        "score": match.score,
        "similarity": match.similarity,
        "passage": match.passage,
        "namespace": record.namespace,
        "kind": record.kind,
        "actor": record.actor,
        "source": record.source,
        "occurred_at": record.occurred_at.isoformat(),
        "tags": list(record.tags),
    }
    return metadata
