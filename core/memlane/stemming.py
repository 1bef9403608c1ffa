"""English word stems, ours because their hashes are stored: a stemmer may never change in a store.

The algorithm is M. F. Porter's, "An algorithm for suffix stripping", Program 14(3), 1980, as it
was published; his later departures from it are left out.
"""

from __future__ import annotations

from typing import Final

__all__ = ("stem",)

# Longest ending first: a word is tried for the longest that it has, and for no other.
_STEP2: Final = (
    ("ational", "ate"), ("ization", "ize"), ("iveness", "ive"), ("fulness", "ful"),
    ("ousness", "ous"), ("tional", "tion"), ("biliti", "ble"), ("entli", "ent"), ("ousli", "ous"),
    ("ation", "ate"), ("alism", "al"), ("aliti", "al"), ("iviti", "ive"), ("enci", "ence"),
    ("anci", "ance"), ("izer", "ize"), ("abli", "able"), ("alli", "al"), ("ator", "ate"),
    ("eli", "e"),
)  # fmt: skip
_STEP3: Final = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ness", ""),
    ("ful", ""),
)  # fmt: skip
_STEP4: Final = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous",
    "ive", "ize", "ion", "al", "er", "ic", "ou",
)  # fmt: skip
_SHORTEST: Final = 3  # shorter words are left as they are, as in Porter's own program


def _shape(word: str) -> str:
    """Return "c" for each consonant and "v" for each vowel; "y" is one after a consonant."""
    shape = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and shape.endswith("c"))
        shape += "v" if vowel else "c"
    return shape


def _measure(word: str) -> int:
    """Return how often vowels are followed by consonants: Porter's m."""
    return _shape(word).count("vc")


def _doubled(word: str) -> bool:
    return word[-1:] == word[-2:-1] and _shape(word).endswith("c")


def _ends_short(word: str) -> bool:
    """Say whether a word ends as "hop" does: Porter's *o."""
    return _shape(word).endswith("cvc") and word[-1] not in "wxy"


def _without_plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word if word.endswith("ss") else word.removesuffix("s")


def _without_past(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    root = word.removesuffix("ed") if word.endswith("ed") else word.removesuffix("ing")
    if root == word or "v" not in _shape(root):
        return word
    if root.endswith(("at", "bl", "iz")):
        return f"{root}e"
    if _doubled(root) and root[-1] not in "lsz":
        return root[:-1]
    return f"{root}e" if _measure(root) == 1 and _ends_short(root) else root


def _replaced(word: str, endings: tuple[tuple[str, str], ...]) -> str:
    for ending, other in endings:
        if word.endswith(ending):
            root = word[: -len(ending)]
            return root + other if _measure(root) > 0 else word
    return word


def _without_residue(word: str) -> str:
    for ending in _STEP4:
        if word.endswith(ending):
            root = word[: -len(ending)]
            goes = _measure(root) > 1 and (ending != "ion" or root.endswith(("s", "t")))
            return root if goes else word
    return word


def stem(word: str) -> str:
    """Return the stem of a word of lower-case ASCII letters; other words as they are."""
    if len(word) < _SHORTEST or not (word.isascii() and word.isalpha() and word.islower()):
        return word
    word = _without_past(_without_plural(word))
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = f"{word[:-1]}i"
    word = _without_residue(_replaced(_replaced(word, _STEP2), _STEP3))
    if word.endswith("e"):
        root = word[:-1]
        measure = _measure(root)
        if measure > 1 or (measure == 1 and not _ends_short(root)):
            word = root
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word
