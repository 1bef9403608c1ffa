"""Words and their weight, the same code on every backend, over the scope's own statistics.

A store's full-text index would weigh words by all tenants' texts: slow in a large store, and a
leak of what others write about.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

from memlane.patterns import lazy
from memlane.protocols import Integers, Terms, Vector
from memlane.stemming import stem

__all__ = ("STOP_WORDS", "coverage", "terms", "words")

STOP_WORDS: Final = frozenset(
    """
    a an and are as at be been but by can could did do does for from had has have he her hers him
    his how i if in into is it its me my of on or our she should so than that the their them then
    there these they this to too was we were what when where which who whom whose why will with
    would you your yours about am just not no
    """.split()  # noqa: SIM905 - a paragraph of words reads better than a list of strings
)
"""Left out where a text has other words: they are in every text and answer nothing."""

FULL_ANSWER: Final = 1.6
"""BM25 of a text that answers well, in units of the query's summed idf."""

_WORD = lazy(r"[^\W_]+(?:['\u2019\-./:_][^\W_]+)*")
_PIECE = lazy(r"[^\W_]+")
_UNSPACED = lazy(
    "[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0002fa1f]+"
)
_CACHE_SIZE: Final = 200_000
_hashes: dict[str, int] = {}


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold())
    if folded.isascii():
        return folded
    kept = "".join(char for char in folded if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", kept)


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]


def _split(word: str) -> list[str]:
    if not word.isascii() and _UNSPACED().search(word):
        found: list[str] = []
        at = 0
        for run in _UNSPACED().finditer(word):
            found += _PIECE().findall(word[at : run.start()])
            found += _pairs(run.group())
            at = run.end()
        return found + _PIECE().findall(word[at:])
    if word.isalnum():
        return [word]
    if "'" in word or "\u2019" in word:
        # "caroline's" is caroline; "don't" is dont.
        word = re.sub(r"['\u2019]s$", "", word).replace("'", "").replace("\u2019", "")
        if word.isalnum():
            return [word]
    pieces = _PIECE().findall(word)
    # A code is found whole and by its pieces: "qx7-4421", "qx7", "4421".
    return [word, *pieces]


def words(text: str) -> list[str]:
    """Return the words of a text: folded, without accents, stop words left out if others are.

    Codes such as "QX7-4421" are one word and its pieces; scripts without spaces give pairs of
    characters.
    """
    found = [piece for word in _WORD().findall(_plain(text)) for piece in _split(word)]
    telling = [word for word in found if word not in STOP_WORDS]
    return telling or found


def _hash(word: str) -> int:
    known = _hashes.get(word)
    if known is None:
        known = zlib.crc32(stem(word).encode("utf-8", "surrogatepass"))
        if len(_hashes) >= _CACHE_SIZE:
            _hashes.clear()
        _hashes[word] = known
    return known


def terms(text: str) -> Terms:
    """Return uint32 hashes of the stems of a text's words, in order, repeats kept."""
    return np.array([_hash(word) for word in words(text)], dtype=np.uint32)


def coverage(
    terms: Terms,
    offsets: Integers,
    query_terms: Terms,
    *,
    k1: float = 1.2,
    b: float = 0.6,
    statistics_rows: npt.NDArray[np.bool_] | None = None,
) -> Vector:
    """Return how much of the query's words each row covers, 0 to 1, float32 (n,).

    BM25 over 1.6 times the summed idf of all query terms, also of those no row has, capped at 1:
    a text that shares one common word with the query does not get the full weight for being best.

    Args:
        terms: uint32: term hashes of all rows, one after the other.
        offsets: int64 (n + 1,): where each row begins.
        query_terms: uint32: hashes of the query's words.
        k1: How soon repeats of a word stop counting.
        b: How much long rows are discounted.
        statistics_rows: bool (n,): rows that count as documents; all if left out.
    """
    count = len(offsets) - 1
    result = np.zeros(count, dtype=np.float32)
    wanted = np.unique(query_terms)
    if not count or not len(wanted):
        return result
    lengths = np.diff(offsets)
    documents = np.ones(count, dtype=np.bool_) if statistics_rows is None else statistics_rows
    total = int(documents.sum()) or count
    mean = float(lengths[documents].mean()) if documents.any() else float(lengths.mean())
    places = np.searchsorted(wanted, terms)
    places[places == len(wanted)] = 0
    hits = np.flatnonzero(wanted[places] == terms)
    rows = np.searchsorted(offsets, hits, side="right") - 1
    cells, frequency = np.unique(rows * len(wanted) + places[hits], return_counts=True)
    rows, columns = np.divmod(cells, len(wanted))
    df = np.bincount(columns[documents[rows]], minlength=len(wanted))
    idf = np.log1p((total - df + 0.5) / (df + 0.5))
    discount = k1 * (1 - b + b * lengths[rows] / max(mean, 1e-9))
    gain = idf[columns] * frequency * (k1 + 1) / (frequency + discount)
    score = np.bincount(rows, weights=gain, minlength=count)
    full = FULL_ANSWER * float(idf.sum())
    return np.minimum(score / full, 1.0).astype(np.float32) if full > 0 else result
