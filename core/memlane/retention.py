"""How long, and how much of it, is kept where nobody says else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, cast, get_args

from memlane.errors import ValidationError
from memlane.layout import in_namespace, normalize_namespace

__all__ = ("Retention", "WhenFull", "check_interval")

WhenFull = Literal["refuse", "oldest", "least_recent"]
"""What is done with one record too many: it is refused, or the one that happened first goes, or
the one that was not changed for longest. A time to come keeps nothing longer: what is said to
happen later than it was last said counts as of then."""

_POLICIES: Final[tuple[str, ...]] = get_args(WhenFull)
_LONGEST: Final = timedelta(days=365_250)  # a thousand years; no calendar here goes beyond 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long, and how much of it, is kept where nobody says else.

    Args:
        namespaces: How long records live that are stored without an end of their own, by
            namespace; the longest path that a record lies under decides.
        max_records: Records of one user and agent at most; None is any number.
        when_full: What is done with one too many.

    Raises:
        ValidationError: A length of time is not positive or beyond a thousand years, a namespace
            is none or named twice, or the bound is below 1.
    """

    namespaces: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    max_records: int | None = None
    when_full: WhenFull = "oldest"

    def __post_init__(self) -> None:
        if not isinstance(cast("object", self.namespaces), Mapping):
            raise ValidationError(
                f"namespaces must be a mapping, not {type(self.namespaces).__name__}",
                remedy='pass {"/chat/": timedelta(days=30)}',
            )
        paths: dict[str, timedelta] = {}
        for path, ttl in dict(self.namespaces).items():
            normal = normalize_namespace(path)
            if normal in paths:
                raise ValidationError(
                    f"the namespace {normal!r} is named twice", remedy="name each path once"
                )
            paths[normal] = check_interval(ttl, name=f"the time to live of {normal!r}")
        # Longest first, so that the first one that fits decides.
        ordered = dict(sorted(paths.items(), key=lambda each: -len(each[0])))
        object.__setattr__(self, "namespaces", ordered)
        most: object = self.max_records
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ValidationError(
                "max_records must be a whole number from 1",
                remedy="leave it out to keep any number",
            )
        if self.when_full not in _POLICIES:
            raise ValidationError(
                f"unknown when_full {self.when_full!r}",
                remedy=f"pass one of {', '.join(_POLICIES)}",
            )

    def ttl(self, namespace: str) -> timedelta | None:
        """Return how long a record of a normalised namespace lives; None is for ever."""
        for path, ttl in self.namespaces.items():
            if in_namespace(namespace, path):
                return ttl
        return None


def check_interval(interval: object, *, name: str) -> timedelta:
    """Return a length of time when it is a positive one, of a thousand years at most."""
    if not isinstance(interval, timedelta):
        raise ValidationError(
            f"{name} must be a timedelta, not {type(interval).__name__}",
            remedy="pass timedelta(days=30)",
        )
    if not timedelta(0) < interval <= _LONGEST:
        raise ValidationError(
            f"{name} is not positive, or is beyond a thousand years",
            remedy="leave it out where there is to be no end",
        )
    return interval
