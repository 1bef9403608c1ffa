"""What a corpus is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

Six: TypeAlias = tuple[str, str, str, str, str, str]

CATEGORIES: Final = (
    "single", "update", "point in time", "two sessions", "paraphrase", "exact code",
    "who said it", "negation", "long message", "other language", "no answer",
    "past", "correction", "lookalike",
)  # fmt: skip
TUNING: Final = (11, 12, 13, 14)
"""Seeds to look at while weights are chosen."""
HELD_OUT: Final = (911, 912, 913)
"""Seeds for the figures that are published; nothing is ever chosen by them."""
POOLED: Final = tuple(range(921, 938))
"""More of those, as many as it takes to know a difference to two points."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fact about a person, in several wordings; each statement answers each question.

    Args:
        name: What the fact is.
        says: Statements in the first person, with {v} for the value.
        asks: Questions, with {n} for the person's name.
        apart: A statement and a question that share no content word.
        plan: A statement that is only a plan.
        past: A statement about what is over.
        values: What {v} can be.
        changes: Whether a later statement can replace an earlier one.
    """

    name: str
    says: Six
    asks: Six
    apart: tuple[str, str]
    plan: str
    past: str
    values: tuple[str, ...]
    changes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a conversation."""

    id: str
    user: str
    session: str
    actor: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question, the messages that answer it, and those that once did or will."""

    user: str
    category: str
    text: str
    evidence: tuple[str, ...]
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Corpus:
    """The messages of all users in the order of time, and the questions."""

    said: tuple[Said, ...]
    queries: tuple[Query, ...]
