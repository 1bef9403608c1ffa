"""Codes that nobody can guess, asked for and looked up the other way round."""

from __future__ import annotations

from typing import Final

from benchmarks.corpus.model import Six

THINGS: Final = (
    ("gate", "code"), ("booking", "reference"), ("wifi", "password"), ("locker", "combination"),
    ("alarm", "code"), ("library card", "number"), ("bike lock", "combination"),
    ("parcel", "tracking number"), ("washing machine", "serial number"), ("voucher", "code"),
    ("customer account", "number"), ("garage door", "code"), ("laptop", "password"),
    ("parking permit", "number"),
)  # fmt: skip
"""What has a code, {o}, and what the code is called, {s}."""

CODES: Final[Six] = (
    "My {o} {s} is {v}.", "The {s} for my {o} is {v}.", "{v} is the {s} of my {o}.",
    "For my {o} I was given the {s} {v}.", "Please keep my {o} {s} in mind: {v}.",
    "As for my {o}, its {s} reads {v}.",
)  # fmt: skip
CODE_ASKS: Final[Six] = (
    "What is {n}'s {o} {s}?", "Which {s} does {n}'s {o} have?", "What is the {s} for {n}'s {o}?",
    "How does the {s} of {n}'s {o} read?", "Can you tell me {n}'s {o} {s}?",
    "I need the {s} for {n}'s {o}, what is it?",
)  # fmt: skip
REVERSE_ASKS: Final[Six] = (
    "What is {v} for?", "To what does {v} belong?", "Where do I need {v}?", "What was {v} again?",
    "A note says only {v}, what is that?", "Which of {n}'s things goes with {v}?",
)  # fmt: skip
