"""Recall from several namespaces at once, each with limits of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import get_args

from memlane.errors import ValidationError
from memlane.layout import normalize_namespace
from memlane.limits import check_limit, check_similarity
from memlane.types import Match, NamespaceQuery, RetrievalMode, RetrievalOptions

__all__ = ("check_mode", "check_options", "merged", "subtrees")

_MODES = get_args(RetrievalMode)
_DEFAULT = RetrievalOptions()

MAX_SUBTREES = 20
"""Each subtree is a query of its own."""

MAX_CANDIDATES = 10_000
"""Of one query of S3 Vectors, and so of every backend's."""


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
        return _DEFAULT
    if not isinstance(options, RetrievalOptions):
        raise ValidationError(
            f"options must be RetrievalOptions, not {type(options).__name__}",
            remedy="pass RetrievalOptions(include_agents=True)",
        )
    check_similarity(options.min_relevance, name="min_relevance")
    _check_candidates(options.candidates)
    _check_moment(options.as_of)
    if not isinstance(options.supersede, bool):
        raise ValidationError("supersede must be True or False", remedy="leave it out for True")
    if mode == "text" and options.min_relevance is not None:
        raise ValidationError(
            "min_relevance is of vectors and words, and mode='text' looks at no vectors",
            remedy="leave it out, or use another mode",
        )
    return options


def _check_moment(moment: object) -> None:
    if moment is None:
        return
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ValidationError(
            "as_of must be an aware datetime", remedy="pass datetime(2026, 5, 1, tzinfo=UTC)"
        )


def _check_candidates(candidates: object) -> None:
    if candidates is None:
        return
    if (
        not isinstance(candidates, int)
        or isinstance(candidates, bool)
        or not 1 <= candidates <= MAX_CANDIDATES
    ):
        raise ValidationError(
            f"candidates must be a whole number from 1 to {MAX_CANDIDATES:,}",
            remedy="leave it out to look at the nearest 100",
        )


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
    if not options.namespaces:
        path = "/" if namespace is None else normalize_namespace(namespace)
        near = check_similarity(min_similarity)
        return (
            NamespaceQuery(path=path, limit=check_limit(limit, most=most), min_similarity=near),
        )
    asked = tuple(options.namespaces)
    if not all(isinstance(one, NamespaceQuery) for one in asked):
        raise ValidationError(
            "options.namespaces takes NamespaceQuery", remedy='pass [NamespaceQuery(path="/a/")]'
        )
    if namespace is not None:
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
