"""The time a question speaks of, so that what happened then can be preferred."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np

from memlane.layout import to_minutes
from memlane.lexical import terms
from memlane.patterns import lazy
from memlane.protocols import Terms

__all__ = ("asks_when", "named_period", "time_terms")

_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTHS = {
    form: number for number, name in enumerate(_NAMES, start=1) for form in (name, name[:3])
} | {"sept": 9}
_HINTS = (*(name[:3] for name in _NAMES), "19", "20")  # without one of them no time is named
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_YEAR = r"(?:19|20)\d\d"
_ISO = lazy(rf"\b({_YEAR})-(0[1-9]|1[0-2])(?:-(\d\d))?\b")
_DAY_MONTH = lazy(
    rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})\b\.?,?(?:\s+({_YEAR}))?", re.IGNORECASE
)
_MONTH_DAY = lazy(
    rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+({_YEAR}))?", re.IGNORECASE
)
_MONTH_ALONE = lazy(rf"\b({_MONTH})\b\.?,?(?:\s+(?:of\s+)?({_YEAR}))?", re.IGNORECASE)
_YEAR_ALONE = lazy(rf"\b({_YEAR})\b")
# As verbs and names, "may", "march" and "mar" are commoner than as months in lower case.
_AMBIGUOUS = {"may", "march", "mar"}
_WHEN = lazy(
    r"\bwhen\b|\bwhat (?:time|day|date|month|year)\b|\bwhich (?:day|date|month|year)\b"
    r"|\bhow long\b|\bhow many (?:days|weeks|months|years)\b",
    re.IGNORECASE,
)

_TIME_WORDS = (
    "yesterday today tonight tomorrow morning afternoon evening night weekend week month year "
    "day ago monday tuesday wednesday thursday friday saturday sunday january february march "
    "april june july august september october november december spring summer autumn "
    "fall winter recently birthday anniversary decade hour minute"
)


@cache
def time_terms() -> Terms:
    """Return the sorted hashes of the words by which a text tells when something happened."""
    return np.unique(terms(_TIME_WORDS))


def asks_when(question: str) -> bool:
    """Say whether the answer to `question` is a point or a length of time."""
    return _WHEN().search(question) is not None


def _day(year: int, month: int, day: int) -> tuple[datetime, datetime] | None:
    try:
        start = datetime(year, month, day, tzinfo=UTC)
        return start, start + timedelta(days=1)
    except (ValueError, OverflowError):
        return None  # there never was such a day, or it is the last of all


def _month(year: int, month: int) -> tuple[datetime, datetime] | None:
    try:
        start = datetime(year, month, 1, tzinfo=UTC)
        return start, (start + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        return None  # before the first year, or the last month of all


def _explicit(
    question: str, latest: datetime, names: Collection[str]
) -> tuple[datetime, datetime] | None:
    def year_of(text: str | None, month: int) -> int:
        # Without a year the latest such month that is not after what is remembered is meant.
        if text is not None:
            return int(text)
        return latest.year if month <= latest.month else latest.year - 1

    if found := _ISO().search(question):
        year, month, day = found.groups()
        return _day(int(year), int(month), int(day)) if day else _month(int(year), int(month))
    if found := _DAY_MONTH().search(question):
        day, name, year = found.groups()
        month = _MONTHS[name.lower()]
        return _day(year_of(year, month), month, int(day))
    if found := _MONTH_DAY().search(question):
        name, day, year = found.groups()
        month = _MONTHS[name.lower()]
        return _day(year_of(year, month), month, int(day))
    for found in _MONTH_ALONE().finditer(question):
        name, year = found.groups()
        word = name.lower()
        if year is None and (word in names or (word in _AMBIGUOUS and not name[0].isupper())):
            continue
        month = _MONTHS[word]
        return _month(year_of(year, month), month)
    if found := _YEAR_ALONE().search(question):
        start = datetime(int(found.group(1)), 1, 1, tzinfo=UTC)
        return start, start.replace(year=start.year + 1)
    return None


def named_period(
    question: str, *, latest: datetime, names: Collection[str] = ()
) -> tuple[int, int] | None:
    """Return the period a question names, as minutes since the epoch of `layout`, end excluded.

    Args:
        question: The question.
        latest: The last moment remembered; a month without a year is the one before it.
        names: Words, in lower case, that are somebody's name here: alone they are no month.
    """
    lowered = question.lower()
    if not any(hint in lowered for hint in _HINTS):
        return None
    period = _explicit(question, latest, names)
    return None if period is None else (to_minutes(period[0]), to_minutes(period[1]))
