"""Which things a statement names is read from who owns them, who points and what comes first."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.lexical import terms
from memlane.retrieval import things
from memlane.retrieval.things import read_things

QUICK = settings(deadline=None, max_examples=200)


def _hashes(text: str) -> frozenset[int]:
    return frozenset(terms(text).tolist()) if text else frozenset()


told = st.sampled_from(
    ["my", "our", "hour", "OUR", "my sister's", "Tom\u2019s", "the", "of", "code", "gate", "is",
     "I", "moved", "Mia", "Porto", "now", "well-known", ".", ",", "8830", "resides", "\u0391\u03a3"]
)  # fmt: skip


@QUICK
@given(st.one_of(st.text(max_size=500), st.lists(told, max_size=60).map(" ".join)))
def test_what_is_not_read_would_name_nothing(text: str) -> None:
    """Reading ends after the verb where nobody owns anything; to read on would tell no more."""
    reader = things._Reader()
    tokens = things._TOKEN().findall(text[: things._READ_CHARS].replace("\u2019", "'"))
    for token, after in pairwise([*tokens, "."]):
        if not reader.idle or token.lower() in things._MINE or token.lower().endswith("'s"):
            reader.read(token, token.lower(), after.lower())
    reader.end()
    read = read_things(text)
    assert (read._names, read._people) == (reader.names, reader.people)


@pytest.mark.parametrize(
    ("passage", "named"),
    [
        ("My sister's phone number is 555-1234", "sister phone number"),
        ("The code for the back gate is now 9999", "code back gate"),
        ("The wifi password at the office changed to beta2", "wifi password office"),
        ("Now Boris works at Globex", "boris"),
        ("Mia switched to Lake School", "mia"),
        ("Since last week Tom\u2019s school is closed", "tom school"),
        ("It is in Tom\u2019s school", "tom school"),
        ("My mother resides on the coast", "mother"),
        ("My aunt settled on the coast", "aunt"),
        ("My new flat is in York", "flat"),
        ("I moved my desk to the window", "desk"),
        ("I live in Porto", ""),
        ("I moved to the coast", ""),
        ("Moved to Lisbon", ""),
        ("Allergic to peanuts", ""),
        ("My boss, Ann, is away. The weather is bad", "boss ann"),
        ("", ""),
    ],
)
def test_names_are_read(passage: str, named: str) -> None:
    """The things, and not what is said of them."""
    assert read_things(passage).named == _hashes(named)


def test_whose_a_thing_is_is_known() -> None:
    """By who owns it, or by a word for somebody of the family."""
    assert read_things("Anna's flat is in York").people == _hashes("anna")
    assert read_things("My brother moved to York").people == _hashes("brother")
    assert not read_things("My flat is in York").people


@pytest.mark.parametrize(
    ("question", "older", "newer", "apart"),
    [
        ("What is the gate code?", "The gate code is 1.", "The office code is 2.", True),
        ("What is the gate code?", "The gate code is 1.", "The gate code is 2.", False),
        ("What is my dog called?", "My dog is called Rex.", "My cat is called Tom.", True),
        # Nobody asked by a word that is missing, but it is somebody else's.
        ("Where do I live?", "I live in Porto.", "My brother moved to York.", True),
        ("Where do I live?", "I live in Porto.", "My home is in York.", False),
        # Another of the same sort, unless the question is about that one.
        ("What is my number?", "My number is 1.", "My work number is 2.", True),
        ("What is my work number?", "My number is 1.", "My work number is 2.", False),
        ("What is my number?", "My phone number is 1.", "My number is 2.", False),
    ],
)
def test_other_things_are_told(question: str, older: str, newer: str, *, apart: bool) -> None:
    """By the words of the question, by whose they are and by their sort."""
    is_apart = read_things(newer).apart(
        read_things(older), known=_hashes(older) | _hashes(question), asked=_hashes(question)
    )
    assert is_apart is apart


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    """What it names later on is something else."""
    assert not read_things(f"{'I like it. ' * 60}My brother is here").named


@QUICK
@given(st.text(max_size=600))
def test_any_text_can_be_read(text: str) -> None:
    """Whatever it is written in; nothing is apart from itself."""
    read = read_things(text)
    assert read.people <= read.named
    assert not read.apart(read, known=read.named, asked=frozenset())
