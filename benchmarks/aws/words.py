"""What is stored and asked, by number, so that no two contenders differ in it."""

from __future__ import annotations

_SUBJECTS = ("window seat", "oat milk", "night train", "green tea", "red bicycle", "quiet room")


def text(number: int) -> str:
    """Return what is stored: another text for each number, of about 180 characters."""
    subject = _SUBJECTS[number % len(_SUBJECTS)]
    return (
        f"Note {number}: the guest asked for a {subject} again and said that it mattered more than "
        f"the price, as it did on the last visit in spring when the {subject} was gone by noon."
    )


def question(number: int) -> str:
    """Return what is asked: another for each number, so that nothing comes from a cache."""
    return f"Which {_SUBJECTS[number % len(_SUBJECTS)]} did the guest ask for in note {number}?"
