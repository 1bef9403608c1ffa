"""Marks among a text's terms: what ranking must know of a text beside its words.

They are made where a text is stored and kept with its terms, so that ranking needs no text.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np

from memlane.lexical import Terms, terms
from memlane.windows import sentences

__all__ = ("ASKS", "marked_terms")

ASKS: Final = np.uint32(zlib.crc32(b"?"))
"""The text only asks: it says what somebody wanted to know, and not what is. No word hashes "?"."""

_QUESTION_MARKS: Final = "?\uff1f\u061f\u037e\u055e\u1367"
_CLOSERS: Final = "\"'\u00bb\u2019\u201d\u300d\u300f)]!.\u2026*_~"


def marked_terms(text: str) -> Terms:
    """Return the term hashes of a text to be stored, and its marks after them."""
    found = terms(text)
    return np.append(found, ASKS) if _only_asks(text) else found


def _only_asks(text: str) -> bool:
    # Few texts end so; only those are taken apart.
    return _asks(text) and all(_asks(text[start:end]) for start, end in sentences(text))


def _asks(sentence: str) -> bool:
    end = sentence.rstrip()
    while (shorter := end.rstrip(_CLOSERS).rstrip()) != end:
        end = shorter
    return end.endswith(tuple(_QUESTION_MARKS))
