"""Recall from several namespaces at once, each with limits of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import get_args

from memlane.errors import ValidationError
from memlane.layout import normalize_namespace
from memlane.limits import check_limit, check_similarity
from memlane.types import Match, NamespaceQuery, RetrievalMode, RetrievalOptions

__all__ = ("check_mode", "check_options", "merged", "subtrees")

_MODES = get_args(RetrievalMode)

MAX_SUBTREES = 20
"""Each subtree is a query of its own."""


def check_mode(mode: object, *, min_similarity: float | None) -> None:
    """Refuse a mode there is none of, and a bound on what the mode does not look at.

    Raises:
        ValidationError: Either.
    """
    if mode not in _MODES:
        raise ValidationError(f"unknown mode {mode!r}", remedy=f"pass one of {', '.join(_MODES)}")
    if mode == "text" and min_similarity is not None:
        raise ValidationError(
            "min_similarity is of vectors, and mode='text' looks at none",
            remedy="leave it out, or use another mode",
        )


def check_options(options: object, *, mode: RetrievalMode) -> RetrievalOptions:
    """Return options, the default ones for None.

    Raises:
        ValidationError: It is something else, or asks what the mode cannot tell.
    """
    if options is None:
        return RetrievalOptions()
    if not isinstance(options, RetrievalOptions):
        raise ValidationError(
            f"options must be RetrievalOptions, not {type(options).__name__}",
            remedy="pass RetrievalOptions(include_agents=True)",
        )
    check_similarity(options.min_relevance, name="min_relevance")
    if mode == "text" and options.min_relevance is not None:
        raise ValidationError(
            "min_relevance is of vectors and words, and mode='text' looks at no vectors",
            remedy="leave it out, or use another mode",
        )
    return options


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
    asked = tuple(options.namespaces)
    if not all(isinstance(one, NamespaceQuery) for one in asked):
        raise ValidationError(
            "options.namespaces takes NamespaceQuery", remedy='pass [NamespaceQuery(path="/a/")]'
        )
    if asked and namespace is not None:
        raise ValidationError(
            "both namespace and options.namespaces are given", remedy="pass one of them"
        )
    if len(asked) > MAX_SUBTREES:
        raise ValidationError(
            f"{len(asked)} namespaces are asked for; at most {MAX_SUBTREES} are allowed",
            remedy="name a parent of several",
        )
    for one in asked:
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
