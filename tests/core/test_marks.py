"""A mark says of a text what its words do not, and no word is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memlane.lexical import terms
from memlane.marks import ASKS, marked_terms


@pytest.mark.parametrize(
    "text",
    [
        "Where do you park?",
        "  Where do you park? ",
        "Where do you park? And when?!",
        '"Where do you park?"',
        "(Where do you park?)",
        "¿Dónde vives?",
        "你住在哪里？",
        "أين تسكن؟",
        "Really?\nWhere?",
        "Where?\r\n",
        "Where?\u00a0",
        "\u201cWhere?\u201d\u2026",
        "**Where?**",
    ],
)
def test_a_bare_question_is_marked(text: str) -> None:
    """Whatever the script and the quotes; its words are what they were."""
    assert marked_terms(text).tolist() == [*terms(text).tolist(), int(ASKS)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "I park at the station.",
        "I park at the station. And you?",
        "And you? I park at the station",
        "I moved to Lisbon\nAnd you?",
        "He asked where I park.",
        "The query ?x=1 is a part of the address",
    ],
)
def test_what_says_something_is_not(text: str) -> None:
    """One sentence that is no question is enough, as is a line."""
    if text == "?":
        assert ASKS in marked_terms(text)  # asks, though nobody knows what
    else:
        assert marked_terms(text).tolist() == terms(text).tolist()


@given(st.text(max_size=200))
def test_words_are_never_marks(text: str) -> None:
    """The terms of a text, and so of a query, hold no mark; with marks they come first."""
    plain = terms(text)
    assert ASKS not in plain
    assert marked_terms(text)[: len(plain)].tolist() == plain.tolist()
    assert len(marked_terms(text)) - len(plain) in {0, 1}
