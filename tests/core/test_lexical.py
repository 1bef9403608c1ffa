"""Words are found however they are written, and weigh what BM25 says and no more."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane import lexical
from memlane.lexical import STOP_WORDS, coverage, terms, words

QUICK = settings(deadline=None, max_examples=150)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Caroline's sister's dogs' bowls", "caroline sister dogs bowls"),
        ("Caroline\u2019s sister", "caroline sister"),
        ("don't panic, they're fine, I'm here", "panic fine here"),
        ("O'Brien met l'homme", "obrien brien met lhomme homme"),
        ("rock'n'roll", "rocknroll rock roll"),
        ("order QX7-4421 now", "order qx7-4421 qx7 4421 now"),
        ("a well-known state-of-the-art thing", "well known state art thing"),
        ("foo_bar and/or x.com/about", "foo bar x com"),
        ("v1.2.3 at 9:30am on 2024-05-07", "v1.2.3 v1 2 3 9:30am 9 30am 2024-05-07 2024 05 07"),
        ("paid $1,200.50 or 3,5 in the 1990's", "paid 1200.50 1200 50 3 5 1990"),
        ("the U.S. and the U.N., 5 p.m.", "us un 5 pm"),
        ("Café CAFE\u0301 cafe stra\u00dfe STRASSE", "cafe cafe cafe strasse strasse"),
        ("\ufb01ne \uff21\uff22\uff23 \u2167", "fine abc viii"),
        ("İstanbul Işık ёлка ΟΔΟΣ Łódź", "istanbul isik елка οδοσ lodz"),
        ("soft\u00adhyphen zero\u200dwidth \ufeffbom", "softhyphen zerowidth bom"),
        ("hyphen\u2010ated non\u2011breaking", "hyphen ated non breaking"),
        ("東京タワー", "東京 京タ タワ ワー"),
        ("東", "東"),
        ("これはabcです", "これ れは abc です"),
        ("ｶﾞ が", "ガ が"),
        ("학교에서", "학교 교에 에서"),
        ("สวัสดี", "สว วั ัส สด ดี"),
        ("हिन्दी में", "हिन्दी में"),
        ("مُحَمَّد ـمحمدـ", "محمد محمد"),
        ("#travel @ada <b>bold</b> C++", "travel ada b bold b c"),
        ("wait...what\u2026no-\u2014dash", "wait dash"),
        ("\U0001f600 \U0001f1e9\U0001f1ea ... --- '", ""),
        ("", ""),
    ],
)
def test_words_of_a_text(text: str, expected: str) -> None:
    """Codes whole and in pieces, compounds in pieces, scripts without spaces in pairs."""
    assert words(text) == expected.split()


@pytest.mark.parametrize(
    "text", ["to be or not to be", "Who is it?", "don't", "the", "WHAT ABOUT THEM"]
)
def test_a_text_of_stop_words_keeps_them(text: str) -> None:
    """Nothing else is there to find it by."""
    assert words(text)
    assert set(words(text)) <= STOP_WORDS


def test_stop_words_are_left_out_where_others_are() -> None:
    """They answer nothing."""
    assert words("where did she go with the blue car") == ["go", "blue", "car"]
    assert all(word == word.casefold() and word.isalpha() for word in STOP_WORDS)


@QUICK
@given(st.text())
def test_any_text_has_words_or_none(text: str) -> None:
    """Any text at all, lone surrogates too: no word is empty or holds a space or a capital."""
    found = words(text)
    assert all(word and not word[0].isspace() for word in found)
    assert all(word == word.casefold() or not word.isascii() for word in found)
    assert len(terms(text)) == len(found)
    if any(char.isascii() and char.isalnum() for char in text):
        assert found


@QUICK
@given(st.text(st.characters(max_codepoint=0x4FF, categories=("L", "N", "P", "Z"))))
def test_case_does_not_count(text: str) -> None:
    """A text in capitals is found by the same words."""
    assert words(text.upper()) == words(text) == words(text.lower())


def test_terms_are_hashes_of_stems_in_order() -> None:
    """crc32 of the stem's UTF-8; these numbers lie in stores and may never change."""
    expected = [zlib.crc32(word) for word in (b"move", b"berlin", b"move", "東京".encode())]
    found = terms("She moved to Berlin; moving? 東京")
    assert found.tolist() == expected
    assert found.dtype == np.uint32
    assert terms("").dtype == np.uint32
    assert terms("").shape == (0,)


def test_the_cache_of_hashes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets and goes on; runs too long to be words are never kept."""
    monkeypatch.setattr(lexical, "_CACHE_SIZE", 8)
    before = terms(" ".join(f"word{n}x" for n in range(50)))
    assert len(lexical._known) <= 8
    assert terms(" ".join(f"word{n}x" for n in range(50))).tolist() == before.tolist()
    run = "x" * 5_000
    assert terms(run).tolist() == [zlib.crc32(run.encode())]
    assert run not in lexical._known


Rows = list[list[int]]


def columns(rows: Rows) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, rows)])
    return np.array([term for row in rows for term in row], dtype=np.uint32), offsets


def plain_coverage(
    rows: Rows, query: Sequence[int], documents: Sequence[bool], *, k1: float, b: float
) -> list[float]:
    """BM25 as the textbook has it, row by row and word by word."""
    counted = [row for row, is_one in zip(rows, documents, strict=True) if is_one] or rows
    total = len(counted)
    mean = sum(map(len, counted)) / total
    idf: dict[int, float] = {}
    for term in set(query):
        df = sum(term in row for row in counted) if any(documents) else None
        df = sum(term in row for row in rows) if df is None else df
        idf[term] = math.log(1 + (total - df + 0.5) / (df + 0.5))
    scores: list[float] = []
    for row in rows:
        frequency = Counter(row)
        score = sum(
            idf[term]
            * frequency[term]
            * (k1 + 1)
            / (frequency[term] + k1 * (1 - b + b * len(row) / max(mean, 1e-9)))
            for term in set(query)
            if frequency[term]
        )
        scores.append(min(1.0, score / (1.6 * sum(idf.values()))))
    return scores


# Values with equal low 16 bits: a hash is told by all of its bits.
hashes = st.sampled_from([0, 1, 2, 3, 65_536, 65_537, 2**32 - 1, 2**31, 2**31 + 65_536])
rows_of_hashes = st.lists(st.lists(hashes, max_size=8), min_size=1, max_size=12)


@QUICK
@given(rows_of_hashes, st.lists(hashes, min_size=1, max_size=10), st.data())
def test_coverage_is_bm25_over_the_querys_idf(
    rows: Rows, query: list[int], data: st.DataObject
) -> None:
    """The vectorised sum agrees with the textbook's, also with rows that are no documents."""
    found_terms, offsets = columns(rows)
    asked = np.array(query, dtype=np.uint32)
    everything = [True] * len(rows)
    found = coverage(found_terms, offsets, asked)
    assert found.dtype == np.float32
    expected = plain_coverage(rows, query, everything, k1=1.2, b=0.6)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    documents = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    masked = coverage(
        found_terms, offsets, asked, k1=0.9, b=0.3, statistics_rows=np.array(documents, np.bool_)
    )
    expected = plain_coverage(rows, query, documents, k1=0.9, b=0.3)
    np.testing.assert_allclose(masked, expected, atol=1e-6)


@QUICK
@given(rows_of_hashes, st.lists(hashes, min_size=1, max_size=6))
def test_coverage_stays_between_0_and_1_and_ignores_order(rows: Rows, query: list[int]) -> None:
    """Nothing is negative or above 1; the order of words and repeats in the query do not count."""
    found_terms, offsets = columns(rows)
    found = coverage(found_terms, offsets, np.array(query, dtype=np.uint32))
    assert ((found >= 0) & (found <= 1)).all()
    assert ((found > 0) == [bool(set(row) & set(query)) for row in rows]).all()
    again = coverage(
        *columns([sorted(row) for row in rows]), np.array(query[::-1] * 2, dtype=np.uint32)
    )
    np.testing.assert_allclose(found, again, atol=1e-7)


def test_no_rows_and_no_words_are_no_error() -> None:
    """Zero rows give an empty array, an empty query zeros, rows without words zeros."""
    none = np.zeros(0, dtype=np.uint32)
    some = np.array([1, 2], dtype=np.uint32)
    assert coverage(none, np.zeros(1, dtype=np.int64), some).shape == (0,)
    assert coverage(some, np.array([0, 1, 2]), none).tolist() == [0.0, 0.0]
    assert coverage(none, np.zeros(4, dtype=np.int64), some).tolist() == [0.0, 0.0, 0.0]
    nobody = np.zeros(2, dtype=np.bool_)
    assert coverage(some, np.array([0, 1, 2]), some, statistics_rows=nobody).shape == (2,)


def scored(texts: list[str], query: str) -> list[float]:
    rows = [terms(text).tolist() for text in texts]
    found: list[float] = coverage(*columns(rows), terms(query)).tolist()
    return found


def test_a_text_that_shares_one_common_word_weighs_little() -> None:
    """Being the best of junk is not being an answer: words nobody has count in the whole."""
    junk = [f"we talked about the weather and thing{n}" for n in range(20)]
    best = max(scored(junk, "What did the weather do to Caroline's pottery workshop?"))
    assert 0 < best < 0.15
    answer = "Caroline's pottery workshop was ruined by the weather"
    found = scored([*junk, answer], "What did the weather do to Caroline's pottery workshop?")
    assert found[-1] > 0.5
    assert found[-1] > 5 * max(found[:-1])


@pytest.mark.parametrize("query", ["QX7-4421", "qx7", "4421", "order qx7 4421", "QX7-4421?"])
def test_a_code_is_found_whole_and_by_its_pieces(query: str) -> None:
    """However it is asked for, the record with the code is the first."""
    texts = ["your order QX7-4421 has shipped", "your order QX8-4422 has shipped", "nothing else"]
    found = scored(texts, query)
    assert found[0] == max(found) > max(found[1:])


def test_windows_of_a_text_do_not_make_its_words_common() -> None:
    """A long text with many windows counts as one document."""
    rows = [terms("the heron nests by the river").tolist()] * 9 + [terms("a boat").tolist()]
    found_terms, offsets = columns(rows)
    whole = np.array([True] + [False] * 8 + [True])
    asked = terms("heron")
    apart = coverage(found_terms, offsets, asked, statistics_rows=whole)
    assert apart[0] == pytest.approx(coverage(*columns([rows[0], rows[-1]]), asked)[0], abs=1e-6)
