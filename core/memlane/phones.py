"""Telephone numbers in a text, as they are written in many countries, and what only looks so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from memlane.patterns import lazy

__all__ = ("phones",)

_GAP: Final = r"[ ().\u00a0\u2010-\u2015/-]{0,3}+"
# What a number may not stand behind, looked at when its first character is there: the search for
# that one is quick.
_ALONE: Final = r"(?<![\w.,+#/-].)(?<!\d:.)"
_STOP: Final = r"(?!\d)(?!-\d)(?![.,]\d)"

# +49 30 123456, +1 (555) 123-4567; after +1 there are ten digits, elsewhere up to fourteen.
_INTERNATIONAL: Final = lazy(
    rf"\+(?<![\w+].)\s?(?:1(?:{_GAP}\d){{10}}(?!\d)|(?!0)\d(?:{_GAP}\d){{7,14}}(?!\d))"
)
_BEGIN: Final = lazy(r"[(\d]" + _ALONE)
_NATIONAL: Final = lazy(
    r"(?:"
    # 0049 30 123456
    r"(?<!\d[ .-])00[1-9]\d{0,2}[ ./-](?:[ ()./-]{0,2}+\d){6,12}(?!\d)"
    # (555) 123-4567, 555-123-4567, 1.555.123.4567, 555 123 4567 x12
    r"|(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}"
    r"(?: ?(?:x|ext\.?) ?\d{1,5})?"
    rf"{_STOP}"
    # (11) 91234-5678, (022) 2345 6789
    rf"|\(\d{{2,5}}\) ?\d{{3,5}}[ -]\d{{3,5}}{_STOP}"
    # 98765 43210
    rf"|[6-9]\d{{4}}[ -]\d{{5}}{_STOP}"
    # 138 1234 5678
    rf"|1[3-9]\d[ -]\d{{4}}[ -]\d{{4}}{_STOP}"
    # 11 91234-5678
    rf"|[1-9]{{2}} 9\d{{4}}-\d{{4}}{_STOP}"
    # 07700900123, 0612345678, 015112345678: prefixes of mobile telephones
    rf"|0(?:7\d{{9}}|[67]\d{{8}}|1[5-7]\d{{8,9}}){_STOP}"
    r")"
)
# 020 7946 0958, 030/123 45 67, 01 23 45 67 89, 03-1234-5678: groups behind a zero.
_ZERO: Final = lazy(
    rf"(?:0{_ALONE}(?<!\d{{4}}[ ]0)|\({_ALONE}0)[1-9]\d{{0,4}}\)?"
    r"(?:[ .\u00a0/-]{1,3}\d{2,8}){1,4}+(?!\d)"
)
_GROUP: Final = lazy(r"(\D*)(\d+)")
_DIGITS: Final = lazy(rf"(?:\d(?<!\d\d)|[+(]\d)(?:{_GAP}\d){{6,14}}(?!\d)")
_NAMED: Final = lazy(
    r"(?i)(?<![^\W_])(?:(?:tele|cell|mobile|home|work|office)?phone|tel|telefon|cell|mobile|mobil"
    r"|handy|fax|whatsapp|call|dial|ring|celular|m[o\u00f3]vil|tel[e\u00e9]fono"
    r"|t[e\u00e9]l[e\u00e9]phone)(?:number|no|nr|\d)?(?![^\W_])"
    r"[^\d\n+(]{0,24}\Z"
)
_DATE: Final = lazy(
    r"\(?(?:(?:19|20)\d\d[ ./-][01]?\d[ ./-][0-3]?\d"
    r"|[0-3]?\d[ ./-][01]?\d[ ./-](?:19|20)\d\d)(?!\d)"
)
_ADDRESS: Final = lazy(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\d)")
_OTHER: Final = lazy(
    r"(?i)(?:order|invoice|ticket|case|isbn|sku|reference|tracking|serial|version|build|part"
    r"|account|customer)(?: (?:number|no|nr|id))?\W{0,3}\Z"
)
_BEFORE: Final = 28  # characters that say what a number is
_NAMING: Final = 36  # characters before a number that say whether it is one to call
_FEWEST, _MOST = 9, 12  # digits of a number behind a zero
_DIGIT: Final = lazy(r"\d")


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Yield telephone numbers: with a plus, in common national forms, or named as such."""
    if not _DIGIT().search(text):
        return
    yield from (found.span() for found in _INTERNATIONAL().finditer(text))
    yield from _national(text)
    for found in _ZERO().finditer(text):
        if (end := _end_of(found)) and not _is_other(text, found.start()):
            # One that is open and not closed is the sentence's.
            opened = text[found.start()] == "(" and ")" not in text[found.start() : end]
            yield found.start() + opened, end
    for found in _DIGITS().finditer(text):
        start, end = found.span()
        before = text[max(0, start - _NAMING) : start]
        if _NAMED().search(before) and not _is_other(text, start):
            yield start, end


def _national(text: str) -> Iterator[tuple[int, int]]:
    begin = _BEGIN().search(text)
    while begin is not None:
        found = _NATIONAL().match(text, begin.start())
        if found is not None and not _is_other(text, found.start()):
            yield found.span()
        begin = _BEGIN().search(text, (found or begin).end())


def _is_other(text: str, start: int) -> bool:
    """Say whether a number is a date, an address of a machine, or named as something else."""
    if _DATE().match(text, start) or _ADDRESS().match(text, start):
        return True
    return _OTHER().search(text[max(0, start - _BEFORE) : start]) is not None


def _end_of(found: re.Match[str]) -> int:
    """Return where groups of digits stop to be one number; 0 where they are none."""
    groups = list(_GROUP().finditer(found[0]))
    while len(groups) > 1:
        digits = sum(len(group[2]) for group in groups)
        # Behind the area's code one sort of gap is used; others are between two things.
        gaps = {group[1].strip(")") for group in groups[2:]}
        if _FEWEST <= digits <= _MOST and len(gaps) <= 1:
            return found.start() + groups[-1].end()
        groups.pop()
    return 0
