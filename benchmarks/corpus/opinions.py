"""Opinions on the same topics from two people."""

from __future__ import annotations

from typing import Final

from benchmarks.corpus.model import Six

TOPICS: Final = (
    "the new tram line", "the museum extension", "the office dog", "the village festival",
    "the electric ferry", "the four-day week", "the rooftop cinema", "the ring road",
    "the open-plan office", "the skate park", "the drone show", "the night market",
)  # fmt: skip
OPINIONS: Final[Six] = (
    "I think {t} is a wonderful idea.", "Honestly, {t} is a waste of money.",
    "I am not sure what to make of {t}.", "For me {t} could have come years earlier.",
    "Nobody has convinced me yet that {t} does any good.",
    "Once I was against {t}, by now I am all for it.",
)  # fmt: skip
OPINION_ASKS: Final[Six] = (
    "What did {n} say about {t}?", "What does {n} think of {t}?", "How does {n} feel about {t}?",
    "What is {n}'s opinion on {t}?", "Is {n} for or against {t}?",
    "What was {n}'s view of {t}?",
)  # fmt: skip
