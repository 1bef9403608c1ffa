"""Bounds a client keeps, and the checks of a caller's own bounds."""

from __future__ import annotations

from dataclasses import dataclass

from memlane.errors import ValidationError

__all__ = (
    "Limits",
    "check_deadline",
    "check_limit",
    "check_similarity",
    "check_tokens",
    "check_version",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds a client keeps.

    Args:
        results: Largest `limit` of retrieve and list.
        batch: Records embedded and written at a time by store_many.
        cached_queries: Query vectors kept in memory, at most a quarter of them one tenant's.
        rank_threads: Threads that rank answers away from the caller's loop.
    """

    results: int = 1_000
    batch: int = 256
    cached_queries: int = 4_096
    rank_threads: int = 1

    def __post_init__(self) -> None:
        least = {"results": 1, "batch": 1, "cached_queries": 0, "rank_threads": 1}
        for name, bound in least.items():
            value: object = getattr(self, name)
            if not isinstance(value, int) or not _whole(value) or value < bound:
                raise ValidationError(
                    f"{name} must be a whole number from {bound}",
                    remedy="leave it out to keep the default",
                )


_A_YEAR = 31_536_000  # seconds; no loop counts further, and no caller waits longer


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_limit(limit: object, *, most: int) -> int:
    """Return `limit` when it is a whole number from 1 to `most`."""
    if not isinstance(limit, int) or not _whole(limit) or not 1 <= limit <= most:
        raise ValidationError(
            f"limit must be a whole number from 1 to {most}",
            remedy="to read everything, use `iterate`",
        )
    return limit


def check_tokens(tokens: object) -> int:
    """Return `tokens` when it is a positive whole number."""
    if not isinstance(tokens, int) or not _whole(tokens) or tokens < 1:
        raise ValidationError(
            "max_tokens must be a positive whole number", remedy="pass a budget such as 800"
        )
    return tokens


def check_version(version: object, *, name: str) -> int:
    """Return the number of a version when it is a whole one."""
    if not isinstance(version, int) or not _whole(version):
        raise ValidationError(
            f"{name} must be a whole number, not {type(version).__name__}",
            remedy="pass a record's `version`",
        )
    return version


def check_similarity(similarity: object, *, name: str = "min_similarity") -> float | None:
    """Return `similarity` when it is None or a number from 0 to 1."""
    if similarity is None:
        return None
    if (
        isinstance(similarity, bool)
        or not isinstance(similarity, int | float)
        or not 0 <= similarity <= 1  # neither is NaN
    ):
        raise ValidationError(
            f"{name} must be a number from 0 to 1", remedy="leave it out to keep every match"
        )
    return float(similarity)


def check_deadline(deadline: object) -> float | None:
    """Return `deadline` when it is None or a positive number of seconds."""
    if deadline is None:
        return None
    # NaN is neither above zero nor not.
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not deadline > 0:
        raise ValidationError(
            "deadline must be a positive number of seconds", remedy="leave it out for no limit"
        )
    return float(min(deadline, _A_YEAR))
