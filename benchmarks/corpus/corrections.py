"""How people put right what was said: in a sentence of their own, or in reply to somebody."""

from __future__ import annotations

from typing import Final

CORRECTIONS: Final = (
    "No, wait: ", "Correction: ", "Sorry, I got that wrong: ", "Actually, ",
    "I have to correct myself: ", "I told you nonsense: ", "That was a slip: ", "No, really, ",
)  # fmt: skip
"""How a statement begins that takes back an earlier one."""

STILL: Final = (
    "{ask} Still {v}?", "{ask} {v}, as I remember.", "{ask} I have {v} here, is that right?",
    "Let me see. {ask} {v}, or am I mistaken?",
)  # fmt: skip
"""The other person asks to the face, and has the old value in mind."""

REPLIES: Final = (
    "No, it's {v} now.", "No, {v}.", "Not any more, {v} since last week.", "No, {v} these days.",
    "It was, but now it is {v}.", "No, that is old, by now it is {v}.",
)  # fmt: skip
"""The whole reply: what it is about was said just before, by the other."""
