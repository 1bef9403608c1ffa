"""Names leave the embedded query when they are names, and words that look like them stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.lexical import STOP_WORDS, terms
from memlane.retrieval.question import read_question

QUICK = settings(deadline=None, max_examples=200)


@pytest.mark.parametrize(
    ("text", "actors", "named", "embedded"),
    [
        ("What does Ada like?", ["Ada", "Eve"], ("Ada",), "What does like?"),
        ("What is Ada's favourite tea?", ["Ada"], ("Ada",), "What is favourite tea?"),
        ("What is Ada\u2019s favourite tea?", ["Ada"], ("Ada",), "What is favourite tea?"),
        ("WHAT IS ADA'S FAVOURITE TEA", ["Ada"], ("Ada",), "WHAT IS FAVOURITE TEA"),
        ("what does ada like", ["Ada"], ("Ada",), "what does like"),
        ("Where did Chris' boat sink?", ["Chris"], ("Chris",), "Where did boat sink?"),
        ("What does Canada like?", ["Ada"], (), "What does Canada like?"),
        ("Adagio for strings", ["Ada"], (), "Adagio for strings"),
        ("Does ada like tea, Bob?", ["Ada"], (), "Does ada like tea, Bob?"),
        ("Did Ada meet Eve?", ["Ada", "Eve"], ("Ada", "Eve"), "Did meet?"),
        ("What does Ada like?", [], (), "What does Ada like?"),
        ("Ada", ["Ada"], ("Ada",), "Ada"),
        ("Ada and Eve?", ["Ada", "Eve"], ("Ada", "Eve"), "and?"),
        ("Ada, Eve?", ["Ada", "Eve"], ("Ada", "Eve"), "Ada, Eve?"),
        ("what did user_7 say", ["user_7"], ("user_7",), "what did say"),
        ("What did USER_7 say about tea", ["user_7"], ("user_7",), "What did say about tea"),
        ("ask ada@acme.com about it", ["ada@acme.com"], ("ada@acme.com",), "ask about it"),
        ("call +49 (30) 1234 today", ["+49 (30) 1234"], ("+49 (30) 1234",), "call today"),
        ("Was \u00c9mile there?", ["\u00c9mile"], ("\u00c9mile",), "Was there?"),
        ("x likes tea", ["x"], (), "x likes tea"),
    ],
)
def test_names_of_known_actors_leave_the_query(
    text: str, actors: list[str], named: tuple[str, ...], embedded: str
) -> None:
    """Whole words only, possessives with them, case as it is written unless nothing is."""
    question = read_question(text, actors=actors)
    assert tuple(sorted(question.named)) == named
    assert question.embedded == embedded
    assert question.text == text
    assert np.array_equal(question.terms, terms(text))


@pytest.mark.parametrize("role", ["user", "User", "assistant", "AI", "agent", "bot", "me", "Tool"])
def test_roles_are_not_names(role: str) -> None:
    """Taking "user" or "me" out of a query would take its meaning out."""
    text = f"What did the {role} tell me?"
    question = read_question(text, actors=[role, f"{role} 7"])
    assert question.named == ()
    assert question.embedded == text


@pytest.mark.parametrize(
    "text",
    [
        "what will she do",
        "what may she do",
        "WHAT WILL SHE DO",
        "What will she do?",
        "What may she do?",
        "Will she come to the party?",
        "She is late. Will she come?",
        "May I ask where she lives?",
        "who can say when it will be, or may be",
    ],
)
@pytest.mark.parametrize("actors", [["Will", "May"], ["will", "may"], ["Will Smith", "May Lee"]])
def test_a_word_everybody_uses_is_not_taken_for_a_name(text: str, actors: list[str]) -> None:
    """In lower case, in capitals throughout and where a sentence begins, "will" is a verb."""
    question = read_question(text, actors=actors)
    assert question.named == ()
    assert question.embedded == text


@pytest.mark.parametrize(
    ("text", "embedded"),
    [
        ("What does Will like?", "What does like?"),
        ("Will's favourite tea", "favourite tea"),
        ("Was it Will, who said it?", "Was it, who said it?"),
        ("What will Will do?", "What will do?"),
        ("Will Will come?", "Will come?"),
        ("When will Will Smith arrive?", "When will arrive?"),
    ],
)
@pytest.mark.parametrize("actor", ["Will Smith", "will smith"])
def test_a_name_that_is_a_word_is_found_where_it_is_written_as_a_name(
    text: str, embedded: str, actor: str
) -> None:
    """A capital in the middle of a sentence, or a possessive, tells the name from the verb."""
    question = read_question(text, actors=[actor])
    assert question.named == (actor,)
    assert question.embedded == embedded


@QUICK
@given(st.sampled_from(sorted(STOP_WORDS)), st.sampled_from(["{} it is", "what {} do", "it {}"]))
def test_no_stop_word_in_lower_case_is_a_name(word: str, frame: str) -> None:
    """Whoever calls himself by a word without meaning is not found in every question."""
    text = frame.format(word)
    for actor in (word, word.title(), f"{word.title()} Lovelace"):
        assert read_question(text, actors=[actor]).named == ()


def test_first_and_full_names_are_one_actor() -> None:
    """Who has two names is met by the first or by both, however they are spaced."""
    for text in ("Where does Ada Lovelace live?", "Where does Ada live?",
                 "Where does Ada  Lovelace live?"):  # fmt: skip
        question = read_question(text, actors=["Ada Lovelace", "Eve"])
        assert question.named == ("Ada Lovelace",)
        assert question.embedded == "Where does live?"
    assert read_question("Where does Lovelace live?", actors=["Ada Lovelace"]).named == ()


def test_a_title_is_not_a_first_name() -> None:
    """One doctor is not named by a question about another."""
    actors = ["Dr. Jones", "Mrs Lee"]
    assert read_question("What did Dr. Smith tell Mrs Brown?", actors=actors).named == ()
    assert read_question("What did Dr. Jones say?", actors=actors).named == ("Dr. Jones",)


@given(st.permutations(["Ada", "Ada Lovelace", "Ada Byron", "Eve"]))
def test_who_shares_a_name_is_named_with_it(actors: list[str]) -> None:
    """All whom a first name may mean are meant, in whatever order they have spoken."""
    shared = read_question("What does Ada like?", actors=actors)
    assert set(shared.named) == {"Ada", "Ada Lovelace", "Ada Byron"}
    assert shared.embedded == "What does like?"
    full = read_question("What does Ada Byron like?", actors=actors)
    assert full.named == ("Ada Byron",)
    assert shared.named == read_question("What does Ada like?", actors=sorted(actors)).named


@QUICK
@given(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()),
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1).filter(
            lambda text: text.strip()
        ),
        max_size=5,
    ),
)
def test_any_actor_and_any_question_can_be_read(text: str, actors: list[str]) -> None:
    """Whatever people are called: something is left to embed, and only known actors are named."""
    question = read_question(text, actors=actors)
    assert set(question.named) <= set(actors)
    assert len(set(question.named)) == len(question.named)
    assert question.embedded.strip()
    without = read_question(text, actors=[])
    assert without.named == ()


@QUICK
@given(
    st.lists(st.sampled_from(["Ada", "tea", "(", "a+", "[", "\\", "Eve's", ".", "?"]), min_size=1)
)
def test_signs_of_patterns_are_plain_text(words: list[str]) -> None:
    """An actor whose name is a pattern matches itself only."""
    text = " ".join(words)
    for actor in (".*", "a+", "(", "[", "\\", "(?i)ada", "^"):
        named = read_question(text, actors=[actor]).named
        assert named == ((actor,) if len(actor) > 1 and actor in words else ())


def test_a_question_for_a_time_is_known_as_one() -> None:
    """When, which day, how long; not every question with the word "time"."""
    for text in ("When did she leave?", "what year was it", "How long did it take?",
                 "Which day suits?", "how many weeks was she away"):  # fmt: skip
        assert read_question(text, actors=[]).when
    for text in ("Did she have a good time?", "whenever", "How many cats?"):
        assert not read_question(text, actors=[]).when
