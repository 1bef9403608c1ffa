"""Sentences turned to fit where they stand."""

from __future__ import annotations

from typing import Final

CHANGES: Final = (
    "", "", "News: ", "It is different now: ", "Things have changed: ", "An update: ",
    "Let me tell you what is new: ", "It is no longer as it was: ",
)  # fmt: skip
"""How a statement begins that replaces an earlier one; some do not say that they do."""

_SPOKEN: Final = (
    ("{n}'s?", "yours?"), ("{n}'s", "your"), ("{n} is", "you are"), ("does {n}", "do you"),
    ("is {n}", "are you"), ("has {n}", "have you"), ("was {n}", "were you"), ("{n}", "you"),
)  # fmt: skip


def to_the_face(question: str) -> str:
    """Return a question about somebody as that person is asked it."""
    for about, spoken in _SPOKEN:
        question = question.replace(about, spoken)
    return question


def within(sentence: str) -> str:
    """Return a sentence, its {v} not filled in yet, as it reads after other words."""
    if sentence.startswith(("I ", "{")):
        return sentence
    return sentence[0].lower() + sentence[1:]
