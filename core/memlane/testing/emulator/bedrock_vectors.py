"""Vectors of the emulated models: the same every time, near for related texts, dense as real ones.

A text is the words and letter groups it is made of, each of which points its own way; two texts
are near as far as they share them. What all vectors of one model share, and what each purpose adds,
is a small dense part, as it is with real models.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from memlane.stemming import stem

__all__ = ("Vector", "bytes_vector", "picture_vector", "text_vector", "tokens")

Vector = npt.NDArray[np.float32]

_WORDS: Final = re.compile(r"\w+")
_TOKENS: Final = re.compile(r"[a-zA-Z]+|\d|[^\W\d]|[^\w\s]")
_LETTERS: Final = 5  # of English, a token has about four or five
_FREQUENT: Final = frozenset(
    re.split(
        r"\s+",
        """a an and are as at be by do does for from has have he her his i in is it its me my of on
        or our she that the their they this to was we were what when where which who will with
        you""",
    )
)
_SPREAD: Final = 16  # components each feature touches
_GRAM, _GRAM_WEIGHT = 3, 0.2
_FREQUENT_WEIGHT: Final = 0.1
_OWN_WEIGHT: Final = 0.05  # sets texts of the same words apart
_SEEN_WEIGHT: Final = 0.5  # a picture says more than its words: of the length of those
_SHARED, _PURPOSE = 0.35, 0.1  # lengths of the dense parts, beside a text's own of one
_LONG: Final = 2_000  # longer texts are not kept


def tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return sum(
        -(-len(each) // _LETTERS) if each.isascii() else 1 + (each > "\uffff")
        for each in _TOKENS.findall(text)
    )


def text_vector(model: str, text: str, dimensions: int, purpose: str = "") -> Vector:
    """Return a text's vector of length one; nobody may write into it.

    Args:
        model: Vectors of two models have nothing in common.
        text: Any.
        dimensions: Of the vector.
        purpose: Turns the vector a little.
    """
    if len(text) > _LONG:
        return _made(model, _text_features(text), dimensions, purpose)
    return _kept(model, text, dimensions, purpose)


@lru_cache(maxsize=2_048)
def _kept(model: str, text: str, dimensions: int, purpose: str) -> Vector:
    return _made(model, _text_features(text), dimensions, purpose)


def bytes_vector(model: str, content: bytes, dimensions: int, purpose: str = "") -> Vector:
    """Return the vector of an image or a sound: near where most bytes are the same."""
    size = 64
    features = {
        f"bytes {content[at : at + size].hex()}": 1.0 for at in range(0, max(1, len(content)), size)
    }
    return _made(model, features, dimensions, purpose)


def picture_vector(
    model: str, content: bytes, shows: str, dimensions: int, purpose: str = ""
) -> Vector:
    """Return the vector of a picture, in the model's space of texts: near what it shows.

    Args:
        model: As in `text_vector`.
        content: The picture; no two have one vector.
        shows: Words for what is to be seen, "" for nothing that has a word.
        dimensions: Of the vector.
        purpose: Turns the vector a little.
    """
    features = _text_features(shows) if shows else {}
    length = math.sqrt(sum(weight * weight for weight in features.values())) or 1.0
    own = blake2b(content, digest_size=16).hexdigest()
    return _made(model, {**features, f"picture {own}": _SEEN_WEIGHT * length}, dimensions, purpose)


def _text_features(text: str) -> dict[str, float]:
    counts = Counter(_named(text))
    weights = {name: _weight(name) * (1.0 + math.log(count)) for name, count in counts.items()}
    return {**weights, f"own {text}": _OWN_WEIGHT}


def _named(text: str) -> Iterator[str]:
    folded = text.casefold()
    for word in _WORDS.findall(folded):
        yield f"frequent {word}" if word in _FREQUENT else f"word {stem(word)}"
    for at in range(len(folded) - _GRAM + 1):
        yield f"gram {folded[at : at + _GRAM]}"


def _weight(name: str) -> float:
    if name.startswith("word "):
        return 1.0
    return _GRAM_WEIGHT if name.startswith("gram ") else _FREQUENT_WEIGHT


def _made(model: str, features: dict[str, float], dimensions: int, purpose: str) -> Vector:
    pointed = [_pointed(model, name) for name in features]
    places = np.concatenate([places for places, _ in pointed]) % dimensions
    signs = np.stack([signs for _, signs in pointed])
    weights = np.fromiter(features.values(), np.float64, len(features))
    own: npt.NDArray[np.float64] = np.zeros(dimensions)
    own += np.bincount(places, (signs * weights[:, None]).ravel(), dimensions)
    own /= float(np.linalg.norm(own)) or 1.0
    own += _SHARED * _dense(f"{model} shared", dimensions)
    if purpose:
        own += _PURPOSE * _dense(f"{model} purpose {purpose}", dimensions)
    vector: Vector = (own / np.linalg.norm(own)).astype(np.float32)
    vector.flags.writeable = False
    return vector


@lru_cache(maxsize=32_768)
def _pointed(model: str, name: str) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64]]:
    """Return the components a feature touches, and with which sign."""
    digest = blake2b(f"{model} {name}".encode("utf-8", "surrogatepass"), digest_size=64).digest()
    drawn = np.frombuffer(digest, np.uint16)
    return drawn[:_SPREAD], np.where(drawn[_SPREAD:] & 1, -1.0, 1.0)


@lru_cache(maxsize=64)
def _dense(name: str, dimensions: int) -> npt.NDArray[np.float64]:
    seed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
    drawn = np.random.default_rng(seed).standard_normal(dimensions)
    return drawn / np.linalg.norm(drawn)
