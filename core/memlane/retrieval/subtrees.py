"""Recall from several namespaces at once, each with limits of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from memlane.errors import ValidationError
from memlane.layout import normalize_namespace
from memlane.limits import check_limit, check_similarity
from memlane.types import Match, NamespaceQuery, RetrievalOptions

__all__ = ("merged", "subtrees")

MAX_SUBTREES = 20
"""Each subtree is a query of its own."""


def subtrees(
    options: RetrievalOptions,
    *,
    namespace: str | None,
    limit: int,
    min_similarity: float | None,
    most: int,
) -> Sequence[NamespaceQuery]:
    """Return the subtrees a call recalls from, each checked.

    Raises:
        ValidationError: Both a namespace and several are given, or a bound is out of range.
    """
    asked = options.namespaces
    if asked and namespace is not None:
        raise ValidationError(
            "both namespace and options.namespaces are given", remedy="pass one of them"
        )
    if len(asked) > MAX_SUBTREES:
        raise ValidationError(
            f"{len(asked)} namespaces are asked for; at most {MAX_SUBTREES} are allowed",
            remedy="name a parent of several",
        )
    for one in asked or ():
        check_limit(one.limit, most=most)
    asked = asked or (NamespaceQuery(path="/" if namespace is None else namespace, limit=limit),)
    return [
        replace(
            one,
            path=normalize_namespace(one.path),
            min_similarity=check_similarity(
                min_similarity if one.min_similarity is None else one.min_similarity
            ),
        )
        for one in asked
    ]


def merged(matches: Iterable[Match]) -> list[Match]:
    """Return matches of several subtrees as one answer, best first, each record once."""
    best: dict[tuple[str | None, str], Match] = {}
    for match in sorted(matches, key=lambda match: match.score, reverse=True):
        best.setdefault((match.record.scope.agent, match.record.id), match)
    return list(best.values())
