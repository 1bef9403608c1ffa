"""The stemmer is Porter's of 1980 and stays it: hashes of its stems are in every store."""

from __future__ import annotations

import sqlite3
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.stemming import stem

# From Porter's paper, the whole way through, and everyday words whose stems are well known.
KNOWN = """
    caresses caress   ponies poni   ties ti   caress caress   cats cat   feed feed   agreed agre
    plastered plaster   bled bled   motoring motor   sing sing   conflated conflat
    troubled troubl   sized size   hopping hop   tanned tan   falling fall   hissing hiss
    fizzed fizz   failing fail   filing file   happy happi   sky sky
    relational relat   conditional condit   rational ration   valenci valenc   hesitanci hesit
    digitizer digit   conformabli conform   radicalli radic   differentli differ   vileli vile
    analogousli analog   vietnamization vietnam   predication predic   operator oper
    feudalism feudal   decisiveness decis   hopefulness hope   callousness callous
    formaliti formal   sensitiviti sensit   sensibiliti sensibl
    triplicate triplic   formative form   formalize formal   electriciti electr
    electrical electr   hopeful hope   goodness good
    revival reviv   allowance allow   inference infer   airliner airlin   gyroscopic gyroscop
    adjustable adjust   defensible defens   irritant irrit   replacement replac
    adjustment adjust   dependent depend   adoption adopt   homologou homolog   communism commun
    activate activ   angulariti angular   homologous homolog   effective effect   bowdlerize bowdler
    probate probat   rate rate   cease ceas   controll control   roll roll
    generalizations gener   oscillators oscil   running run   meetings meet   traveling travel
    moved move   moves move   moving move   lives live   dying dy   flies fli   nationality nation
    connected connect   connecting connect   connection connect   connections connect
""".split()  # noqa: SIM905 - pairs read best as a paragraph
PAIRS = list(zip(KNOWN[::2], KNOWN[1::2], strict=True))


@pytest.mark.parametrize(("word", "expected"), PAIRS)
def test_known_words_have_their_known_stems(word: str, expected: str) -> None:
    """Each rule of the paper, by the paper's own examples and everyday words."""
    assert stem(word) == expected


@pytest.mark.parametrize(
    "word",
    ["", "a", "as", "is", "Running", "RUNNING", "café", "naïvely", "run-ning", "3rds", "日本"],
)
def test_what_is_no_lower_case_ascii_word_is_left_alone(word: str) -> None:
    """Short words, capitals, accents, digits and other scripts."""
    assert stem(word) == word


ENDINGS = (
    "", "s", "es", "ies", "ed", "eed", "ing", "y", "ly", "er", "izer", "ation", "ational", "ness",
    "fulness", "iveness", "ement", "ment", "ent", "ion", "able", "ibility", "al", "ically", "ous",
    "ll", "e", "ate", "icate", "ize", "ism",
)  # fmt: skip
# No ending begins so: SQLite, unlike the paper, takes no ending that is the whole word.
beginnings = st.sampled_from(["k", "w", "yk", "ok", "ux"])
middles = st.text(string.ascii_lowercase, max_size=8)
words = st.builds("{}{}{}".format, beginnings, middles, st.sampled_from(ENDINGS)).filter(
    lambda word: len(word) > 2
)


@settings(deadline=None, max_examples=50)
@given(st.lists(words, min_size=1, max_size=200))
def test_sqlite_stems_the_same(found: list[str]) -> None:
    """SQLite's own tokenizer agrees, but for two rules that Porter added later."""
    with sqlite3.connect(":memory:") as database:
        database.execute("create virtual table texts using fts5(text, tokenize='porter ascii')")
        database.execute("create virtual table stems using fts5vocab(texts, 'instance')")
        database.executemany("insert into texts(text) values (?)", [(word,) for word in found])
        theirs = [row[0] for row in database.execute("select term from stems order by doc")]
    database.close()
    for word, other in zip(found, theirs, strict=True):
        ours = stem(word)
        if ours.endswith(("logi", "bli")) and not other.endswith(("logi", "bli")):
            continue
        assert ours == other


@settings(deadline=None)
@given(words)
def test_a_stem_is_made_of_its_words_beginning(word: str) -> None:
    """A stem is no longer than its word and begins as it does."""
    found = stem(word)
    assert 0 < len(found) <= len(word)
    shared = len(found) - 1  # the last letter may have become another: "happy", "happi"
    assert found[:shared] == word[:shared] or found.endswith(("e", "ate", "ive", "ble"))
