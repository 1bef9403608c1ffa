"""What a sentence says of itself is read from its words, at its beginning."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.retrieval.statements import (
    about_the_past,
    asks_of_then,
    read_outline,
    read_statement,
)

QUICK = settings(deadline=None, max_examples=200)


@pytest.mark.parametrize(
    "text",
    [
        "I moved to Lisbon.",
        "I live in Lisbon now.",
        "I no longer live in Porto.",
        "I don\u2019t drink beer any more",
        "News: we have a boat",
        "Sorry, I got that wrong: it is the fifth.",
        "Actually, I eat fish again.",
        "No, it's 8830 now.",
        "Since last week the office is in the other street.",
    ],
)
def test_a_change_is_told(text: str) -> None:
    """In the words by which people say that something is otherwise."""
    assert read_statement(text).changes


@pytest.mark.parametrize(
    "text",
    ["I live in Lisbon.", "Is no problem at all.", "Nothing of the sort, by the way.",
     "The weather is different here.", "I wrote the news for a paper.", ""],
)  # fmt: skip
def test_no_change_is_heard_where_none_is_told(text: str) -> None:
    """Nor in the beginnings of phrases that go on otherwise."""
    assert not read_statement(text).changes


@pytest.mark.parametrize(
    "text",
    [
        "I might live in Lisbon one day.",
        "We plan to move to Lisbon.",
        "I may move to Lisbon.",
        "I am going to move to Lisbon.",
        "As a child I lived in Lisbon.",
        "I used to live in Lisbon.",
        "Two years ago I lived in Lisbon.",
        "In my first job the boss was Ann.",
        "When I was new my desk was upstairs.",
        "I asked for a flat in Lisbon, nothing is decided.",
    ],
)
def test_doubt_is_told(text: str) -> None:
    """Of what is only an idea, and of what is over."""
    assert read_statement(text).doubts


@pytest.mark.parametrize(
    "text", ["In May I live in Lisbon.", "I am going to the gym on Mondays.", "On time as ever."]
)
def test_no_doubt_is_heard_where_none_is_told(text: str) -> None:
    """A month is no wish, and who goes somewhere plans nothing."""
    assert not read_statement(text).doubts


def test_now_alone_is_less_than_a_change() -> None:
    """It is said of whatever is so; who moved was elsewhere before."""
    for text in ("I live in Lisbon now.", "These days I live in Lisbon.", "By now it is 8830."):
        assert read_statement(text).only_now, text
    for text in ("I moved to Lisbon.", "Now I no longer live there.", "I live in Lisbon."):
        assert not read_statement(text).only_now, text


@pytest.mark.parametrize(
    ("text", "adds"),
    [
        ("I am allergic to penicillin too.", True),
        ("I also speak French now", True),
        ("I speak French as well", True),
        ("The flat is too small", False),
        ("I speak French as well as I can", False),
        ("I moved to another flat", False),
    ],
)
def test_what_holds_besides_is_told(text: str, *, adds: bool) -> None:
    """It takes nothing back."""
    assert read_statement(text).adds is adds


def test_a_bare_reply_holds_a_value_and_no_more() -> None:
    """What it is about was said before; a whole sentence says it itself."""
    for bare in ("No, it's 8830 now.", "No, in the back yard.", "Not any more, Lisbon."):
        assert read_statement(bare).bare, bare
    for whole in ("No, my gate code is 8830.", "8830", "I moved to Lisbon.", "No, we had to walk."):
        assert not read_statement(whole).bare, whole


def test_a_denial_is_told_from_a_change() -> None:
    """'No longer' and an opening 'no' say that something changed, 'never' that it is not so."""
    for text in (
        "I never drink beer.",
        "I don't drink beer.",
        "I WOULDN\u2019T",
        "Nobody drinks beer.",
        "I have no car",
    ):
        assert read_statement(text).negative, text
    for text in ("No, I drink beer.", "I no longer live there.", "I drink beer."):
        assert not read_statement(text).negative, text


def test_numbers_and_sentences_are_counted() -> None:
    """A digit anywhere is a number."""
    assert read_statement("Code QX7, please.").numbers
    assert not read_statement("Code, please.").numbers
    assert read_statement("One. Two! Three?").sentences == 3


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    """What it says later on is about something else."""
    assert not read_statement(f"{'I like the harbour. ' * 40}I moved to Lisbon.").changes


@QUICK
@given(st.text(max_size=600))
def test_any_text_can_be_read(text: str) -> None:
    """Whatever it is written in."""
    read = read_statement(text)
    assert read.doubts >= 0
    assert read.sentences >= 0
    assert not read.bare or read.changes


words = st.sampled_from(
    ["No, ", "no", "not", "NEVER", "no longer", "nobody's", "nor2", "piano", "refuses_",
     "isn\u2019t", "DON'T", "n't", "any more", "I", "Lisbon", "8", ".", "!", " ", "\n",
     "\u212anot", "\u0130no"]
)  # fmt: skip


@QUICK
@given(st.one_of(st.text(max_size=500), st.lists(words, max_size=80).map(" ".join)))
def test_an_outline_is_what_the_whole_reading_tells(text: str) -> None:
    """Whether it denies, has a number, and how many sentences it is."""
    read, outline = read_statement(text), read_outline(text)
    assert outline == (read.negative, read.numbers, read.sentences)


@pytest.mark.parametrize(
    ("question", "past"),
    [
        ("Where did Ada live before?", True),
        ("Where did Ada use to live?", True),
        ("Who was her previous boss?", True),
        ("What was her old phone?", True),
        ("Where does Ada live?", False),
        ("How old is Ada?", False),
        ("What was Ada prescribed?", False),
    ],
)
def test_questions_about_the_past_are_known(question: str, *, past: bool) -> None:
    """By a word that says so: a verb in the past is not enough."""
    assert about_the_past(question) is past


def test_a_question_with_a_date_may_be_about_plans() -> None:
    """What held then is asked in the past tense, or by 'as of'."""
    assert asks_of_then("As of May 2026: where does Ada live?")
    assert asks_of_then("Where did Ada live in May?")
    assert not asks_of_then("Where is Ada going in August?")
