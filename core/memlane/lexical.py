"""Words and their weight, the same code on every backend, over the scope's own statistics.

A store's full-text index would weigh words by all tenants' texts: slow in a large store, and a
leak of what others write about. The hashes are stored: what makes one word of a text may never
change under a store.
"""

from __future__ import annotations

import unicodedata
import zlib
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from memlane.patterns import lazy
from memlane.stemming import stem

__all__ = ("STOP_WORDS", "Terms", "coverage", "terms", "words")

Terms: TypeAlias = npt.NDArray[np.uint32]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Vector: TypeAlias = npt.NDArray[np.float32]

STOP_WORDS: Final = frozenset(
    """
    a an and are as at be been but by can could did do does for from had has have he her hers him
    his how i if in into is it its me my of on or our she should so than that the their them then
    there these they this to too was we were what when where which who whom whose why will with
    would you your yours about am just not no
    dont doesnt didnt isnt arent wasnt werent cant couldnt wont wouldnt shouldnt hasnt havent hadnt
    """.split()  # noqa: SIM905 - a paragraph of words reads better than a list of strings
)
"""Left out where a text has other words: they are in every text and answer nothing."""

FULL_ANSWER: Final = 1.6
"""BM25 of a text that answers well, in units of the query's summed idf."""

_ASCII_WORD: Final = lazy(r"[a-z0-9]+(?:['\-./:_][a-z0-9]+)*")
# Signs of vowels and tones of Indic and South-East Asian scripts are no letters to `\w`.
_LETTER: Final = (
    r"(?:[^\W_]|[\u0900-\u0963\u0966-\u0dff\u0e00-\u0e3e\u0e40-\u0e4e\u0e50-\u0eff\u0f71-\u0fbc"
    r"\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17dc-\u17ff\u3099\u309a])"
)
_PARTED: Final = bytes(
    ord(char) if char.isalnum() or char in "'-./:_" else ord(" ") for char in map(chr, range(128))
) + bytes(128)
"""What of ASCII stands in words as it is; all else is space between them."""
_WORD: Final = lazy(rf"{_LETTER}+(?:['\-./:_\u2010]{_LETTER}+)*")
_JOINTS: Final = lazy(r"[\-./:_\u2010]")
# Marks of Latin, Greek, Cyrillic, Hebrew and Arabic letters, and what has no width of its own.
_ACCENTS: Final = lazy(
    r"[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    r"\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff"
    r"\u20d0-\u20f0\ufe20-\ufe2f\u00ad\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]+"
)
# Apostrophes, and letters with strokes that Unicode does not take apart.
_WRITTEN_ALIKE: Final = str.maketrans("\u2019\u02bc\u0131\u0142\u00f8\u0111", "''ilod")
_UNSPACED: Final = lazy(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3031-\u3035\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+"
)
_THOUSANDS: Final = lazy(r"(?<=\d),(?=\d{3}(?!\d))")
_DIGIT: Final = lazy(r"\d")
_ENDINGS: Final = frozenset({"s", "re", "ve", "ll", "d", "m"})
_SHORTEST_PART: Final = 3  # of "o'brien" brien is a word, of "l'homme" homme
_LONGEST_WORD: Final = 32  # longer runs are no English words: not stemmed, and not kept in memory
_CACHE_SIZE: Final = 50_000
_known: dict[str, tuple[list[int], list[int]]] = {}
"""For each run of letters the hashes of what it says, without its stop words and with them."""


def _plain(text: str) -> str:
    if text.isascii():
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKD", text).casefold()
        folded = _ACCENTS().sub("", folded.translate(_WRITTEN_ALIKE))
        folded = unicodedata.normalize("NFC", folded)
    return _THOUSANDS().sub("", folded) if "," in folded else folded


def _spoken(word: str) -> list[str]:
    """Return what an apostrophe joins: "ada's" is ada, "don't" dont, "o'brien" also brien."""
    before, mark, after = word.rpartition("'")
    if mark and after in _ENDINGS:
        word = before
    if "'" not in word:
        return [word]
    joined = word.replace("'", "")
    if after == "t":
        return [joined]
    return [joined, *(part for part in word.split("'") if len(part) >= _SHORTEST_PART)]


def _spaced(word: str) -> list[str]:
    if word.isalnum():
        return [word]
    pieces = [each for piece in _JOINTS().split(word) for each in _spoken(piece)]
    if len(pieces) > 1 and all(len(piece) == 1 and piece.isalpha() for piece in pieces):
        return ["".join(pieces)]
    # "well-known" is also written apart, and then the joined form would only be missed.
    return [word, *pieces] if len(pieces) > 1 and _DIGIT().search(word) else pieces


def _split(word: str) -> list[str]:
    if word.isascii():
        if word.isalnum():
            return [word]
        return [each for run in _ASCII_WORD().findall(word) for each in _spaced(run)]
    if not _UNSPACED().search(word):
        return _spaced(word)
    found: list[str] = []
    at = 0
    for match in _UNSPACED().finditer(word):
        run, before = match.group(), word[at : match.start()]
        found += [each for other in _WORD().findall(before) for each in _spaced(other)]
        found += [run[i : i + 2] for i in range(max(1, len(run) - 1))]
        at = match.end()
    return found + [each for other in _WORD().findall(word[at:]) for each in _spaced(other)]


def _runs(text: str) -> list[str]:
    plain = _plain(text)
    if plain.isascii():
        # What stands between two spaces may have signs around it still: `_split` sees to that.
        return plain.encode().translate(_PARTED).decode().split()
    found: list[str] = _WORD().findall(plain)
    return found


def words(text: str) -> list[str]:
    """Return the words of a text: folded, without accents, stop words left out if others are.

    What holds a digit is one word and its pieces, so that both find it: "QX7-4421" gives
    qx7-4421, qx7 and 4421. Other compounds are their pieces: "well-known" gives well and known,
    but "U.S." us. Scripts without spaces give pairs of characters, a single character itself.
    """
    found = [piece for run in _runs(text) for piece in _split(run)]
    telling = [word for word in found if word not in STOP_WORDS]
    return telling or found


def _hash(word: str) -> int:
    stemmed = word if len(word) > _LONGEST_WORD else stem(word)
    return zlib.crc32(stemmed.encode("utf-8", "surrogatepass"))


def _learned(run: str) -> tuple[list[int], list[int]]:
    found = _split(run)
    hashes = [_hash(word) for word in found]
    pair = (
        [hash_ for word, hash_ in zip(found, hashes, strict=True) if word not in STOP_WORDS],
        hashes,
    )
    if len(run) <= _LONGEST_WORD:
        if len(_known) >= _CACHE_SIZE:
            _known.clear()
        _known[run] = pair
    return pair


def terms(text: str) -> Terms:
    """Return uint32 hashes of the stems of a text's words, in order, repeats kept."""
    known = _known.get
    pairs = [known(run) or _learned(run) for run in _runs(text)]
    telling = [each for pair in pairs for each in pair[0]]
    return np.array(telling or [each for pair in pairs for each in pair[1]], dtype=np.uint32)


def _hits(terms: Terms, wanted: Terms) -> tuple[Integers, Integers]:
    """Return where terms are wanted ones, and which: positions in `terms` and in `wanted`."""
    # Most terms differ from all wanted ones in their low bits already, which is cheap to see.
    sieve = np.zeros(1 << 16, dtype=np.bool_)
    sieve[wanted.astype(np.uint16)] = True
    hits = np.flatnonzero(sieve[terms.astype(np.uint16)])
    found = terms[hits]
    places = np.minimum(np.searchsorted(wanted, found), len(wanted) - 1)
    real = wanted[places] == found
    return hits[real], places[real]


def coverage(
    terms: Terms,
    offsets: Integers,
    query_terms: Terms,
    *,
    k1: float = 1.2,
    b: float = 0.6,
    statistics_rows: Flags | None = None,
) -> Vector:
    """Return how much of the query's words each row covers, 0 to 1, float32 (n,).

    BM25 over 1.6 times the summed idf of all query terms, also of those no row has, capped at 1:
    a text that shares one common word with the query does not get the full weight for being best.

    Args:
        terms: uint32: term hashes of all rows, one after the other.
        offsets: int64 (n + 1,): where each row begins, from 0 to the number of terms.
        query_terms: uint32: hashes of the query's words; repeats count once.
        k1: How soon repeats of a word stop counting.
        b: How much long rows are discounted.
        statistics_rows: bool (n,): rows that count as documents, so that the windows of a text do
            not make its words common; all if left out.
    """
    count = len(offsets) - 1
    wanted = np.array(sorted({*query_terms.tolist()}), dtype=np.uint32)
    if count < 1 or not len(wanted):
        return np.zeros(max(count, 0), dtype=np.float32)
    hits, places = _hits(terms, wanted)
    if not len(hits):
        return np.zeros(count, dtype=np.float32)
    begins = np.searchsorted(hits, offsets)
    rows = np.repeat(np.arange(count), begins[1:] - begins[:-1])
    # A stable sort is fast here, for the keys are sorted by row already.
    keys = np.sort(rows * len(wanted) + places, kind="stable")
    edges = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1], [True]]))
    frequency = edges[1:] - edges[:-1]
    rows, columns = np.divmod(keys[edges[:-1]], len(wanted))
    lengths = offsets[1:] - offsets[:-1]
    if statistics_rows is None or not statistics_rows.any():
        total, mean = count, int(offsets[-1] - offsets[0]) / count
        df = np.bincount(columns, minlength=len(wanted))
    else:
        total, mean = int(statistics_rows.sum()), float(lengths[statistics_rows].mean())
        df = np.bincount(columns[statistics_rows[rows]], minlength=len(wanted))
    idf = np.log1p((total - df + 0.5) / (df + 0.5))
    discount = k1 * (1 - b + b / max(mean, 1e-9) * lengths)
    gain = idf[columns] * frequency * (k1 + 1) / (frequency + discount[rows])
    score = np.bincount(rows, weights=gain, minlength=count)
    return np.minimum(score / (FULL_ANSWER * float(idf.sum())), 1.0).astype(np.float32)
