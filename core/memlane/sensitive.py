"""Where a text holds what is nobody else's business: addresses, numbers and keys, by their shape.

Every search takes time that grows with the text and no faster: what repeats is bounded, or taken
once and not given back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from memlane.patterns import lazy
from memlane.phones import phones

__all__ = ("FINDERS", "Finder", "Span")

Span: TypeAlias = tuple[int, int]
Finder: TypeAlias = Callable[[str], Iterator[Span]]

# ---------------------------------------------------------------- addresses

_EMAIL: Final = lazy(
    r"(?<![\w.+%&'~-])[\w.+%&'~-]++@(?:[\w-]{1,63}+\.)+[^\W\d_][\w-]{1,62}+",
)
_EDGES: Final = ".'-~&"  # of a sentence or of quotes, and never the first of an address


def emails(text: str) -> Iterator[Span]:
    """Yield addresses of e-mail, in any script."""
    if "@" not in text:
        return
    for found in _EMAIL().finditer(text):
        start = found.start()
        while text[start] in _EDGES:
            start += 1
        if text[start] != "@":
            yield start, found.end()


# ---------------------------------------------------------------- cards

# Digits, in groups or not; what follows a decimal point is no card.
_DIGITS: Final = lazy(r"\d(?<!\d\d)(?<!\d[.,]\d)(?:[ \u00a0\u2010\u2011-]?\d){12,}+")
_LENGTHS: Final = (16, 15, 14, 13, 19, 18, 17)
_PREFIX: Final = 6  # digits that say who issued it
_FIRST: Final = range(2, 7)


def cards(text: str) -> Iterator[Span]:
    """Yield numbers of payment cards: issued by somebody, and with the right check digit."""
    for found in _DIGITS().finditer(text):
        yield from _cards_in(text, *found.span())


def _cards_in(text: str, begin: int, finish: int) -> Iterator[Span]:
    places = [at for at in range(begin, finish) if text[at].isdecimal()]
    digits = [int(text[at]) for at in places]
    count = len(digits)
    # Sums up to each digit, doubled at even places and at odd ones: any stretch is then checked
    # with one subtraction.
    sums: tuple[list[int], list[int]] = ([0], [0])
    for place, digit in enumerate(digits):
        twice = digit * 2 - 9 * (digit * 2 > 9)  # noqa: PLR2004 - of two digits, their sum
        sums[0].append(sums[0][-1] + (digit if place % 2 else twice))
        sums[1].append(sums[1][-1] + (twice if place % 2 else digit))
    free = 0
    for first in range(count):
        if first < free or (first and places[first] == places[first - 1] + 1):
            continue
        if digits[first] not in _FIRST:
            continue
        for length in _LENGTHS:
            stop = first + length
            if stop > count or (stop < count and places[stop] == places[stop - 1] + 1):
                continue
            checked = sums[stop % 2]
            if (checked[stop] - checked[first]) % 10 == 0 and _issued(digits, first, length):
                yield places[first], places[stop - 1] + 1
                free = stop
                break


def _issued(digits: list[int], first: int, length: int) -> bool:
    """Say whether somebody issues cards that begin so and are so long."""
    begin = int("".join(map(str, digits[first : first + _PREFIX])))
    return any(low <= begin <= high and length in lengths for low, high, lengths in _ISSUERS)


_LONG: Final = (16, 17, 18, 19)
_ISSUERS: Final = (
    (400_000, 499_999, (13, 16, 18, 19)),  # Visa
    (510_000, 559_999, (16,)),  # Mastercard
    (222_100, 272_099, (16,)),
    (340_000, 349_999, (15,)),  # American Express
    (370_000, 379_999, (15,)),
    (300_000, 305_999, (14,)),  # Diners Club
    (360_000, 369_999, (14, *_LONG)),
    (380_000, 399_999, (14, *_LONG)),
    (352_800, 358_999, _LONG),  # JCB
    (601_100, 601_199, _LONG),  # Discover
    (644_000, 659_999, _LONG),
    (620_000, 629_999, _LONG),  # UnionPay
    (500_000, 509_999, (13, 14, 15, *_LONG)),  # Maestro
    (560_000, 589_999, (13, 14, 15, *_LONG)),
    (670_000, 679_999, (13, 14, 15, *_LONG)),
)

# ---------------------------------------------------------------- keys of AWS

_ACCESS_KEY: Final = lazy(r"(?<![A-Za-z0-9])A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])")
_SECRET_KEY: Final = lazy(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_SESSION_TOKEN: Final = lazy(r"(?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz)[A-Za-z0-9/+=]{16,}+")
_DIFFERENT: Final = 20  # of 40 drawn characters about 30 differ; of a path or a hash in hex fewer


def aws_keys(text: str) -> Iterator[Span]:
    """Yield access keys of AWS, secret keys and session tokens."""
    for pattern in (_ACCESS_KEY, _SESSION_TOKEN):
        for found in pattern().finditer(text):
            yield found.span()
    for found in _SECRET_KEY().finditer(text):
        if _drawn(found[0]):
            yield found.span()


def _drawn(text: str) -> bool:
    """Say whether characters look drawn by lot, and not like a path or a hash."""
    return (
        len(set(text)) >= _DIFFERENT
        and any(map(str.islower, text))
        and any(map(str.isupper, text))
        and any(map(str.isdigit, text))
    )


# ---------------------------------------------------------------- tokens

# By how they begin; the needles are looked for first.
_BEGINNINGS: Final = (
    (("gh",), lazy(r"(?<![A-Za-z0-9])gh[opusr]_[A-Za-z0-9]{20,}+")),
    (("github_pat_",), lazy(r"github_pat_[A-Za-z0-9_]{20,}+")),
    (("glpat-",), lazy(r"glpat-[\w-]{16,}+")),
    (("xox", "xapp-"), lazy(r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}+")),
    (("hooks.slack.com",), lazy(r"hooks\.slack\.com/services/[A-Za-z0-9/]{16,}+")),
    (("AIza",), lazy(r"(?<![\w-])AIza[\w-]{35}")),
    (("npm_", "hf_"), lazy(r"(?<![A-Za-z0-9])(?:npm|hf)_[A-Za-z0-9]{30,}+")),
    (("eyJ",), lazy(r"(?<![\w-])eyJ[\w-]{5,}+\.[\w-]{5,}+\.[\w-]*+")),
)
_KEYED: Final = lazy(r"(?<![A-Za-z0-9])[prs]k[_-][\w-]{20,}+")
_HEADER: Final = lazy(r"(?i)\b(?:bearer|basic)[ \t]{1,4}([\w.~+/=-]{16,}+)")
_URL: Final = lazy(r"://[^\s/:@]{0,64}+:([^\s/@]{1,256}+)@")
_VALUE: Final = lazy(
    r"(?i)(?:(?:api|access|auth|secret|private|client|session|refresh|service|signing|webhook)"
    r"[ _-]?(?:key|token|secret)|(?<![a-z])(?:secret|token))"
    r"[\"']?\s{0,3}+(?:=>|[:=])\s{0,3}+[\"'`]?([^\s\"'`<>,;&(){}\[\]]{8,}+)"
)
_PASSWORD: Final = lazy(
    r"(?i)(?:passw(?:or)?d|passphrase|(?<![a-z])pwd)[\"']?\s{0,3}+(?:=>|[:=])\s{0,3}+"
    r"[\"'`]?([^\s\"'`,;\[\]]{4,}+)"
)
# By the word before them; that is looked for first.
_NAMES: Final = (
    (("bearer", "basic"), _HEADER),
    (("key", "secret", "token"), _VALUE),
    (("passw", "passphrase", "pwd"), _PASSWORD),
)
_DIGIT: Final = lazy(r"\d")
_LETTERS: Final = lazy(r"(?=[^A-Z]*+[A-Z])(?=[^a-z]*+[a-z])[A-Za-z]{20,}+")


def tokens(text: str) -> Iterator[Span]:
    """Yield what lets its bearer in: tokens by how they begin, and values named as such."""
    for needles, pattern in _BEGINNINGS:
        if any(needle in text for needle in needles):
            yield from (found.span() for found in pattern().finditer(text))
    for found in _KEYED().finditer(text):
        if _DIGIT().search(found[0]):
            yield found.span()
    if "://" in text:
        yield from (found.span(1) for found in _URL().finditer(text))
    folded = text.lower()
    for words, pattern in _NAMES:
        if any(word in folded for word in words):
            yield from _told(pattern().finditer(text))


def _told(values: Iterable[re.Match[str]]) -> Iterator[Span]:
    for value in values:
        # A word of prose has no digit, and a name in a program is no mix of letters alone.
        if _DIGIT().search(value[1]) or _LETTERS().fullmatch(value[1]):
            yield value.span(1)


# ---------------------------------------------------------------- private keys

_BEGIN: Final = lazy(r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")
_END: Final = lazy(r"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")
# Of a key that is cut off: lines of nothing else.
_BODY: Final = lazy(
    r" ?(?:[A-Za-z0-9+/=]{16,}+)?"
    r"(?:(?:[ \t\r]{0,8}+\n|(?:\\r)?\\n)[A-Za-z0-9+/=]++(?=[\r\n\\]|\Z))*+"
)


def private_keys(text: str) -> Iterator[Span]:
    """Yield private keys as PEM writes them; of one that is cut off, what is there."""
    if "-----BEGIN " not in text:
        return
    ends = [found.span() for found in _END().finditer(text)]
    ends.reverse()
    free = 0
    for begin in _BEGIN().finditer(text):
        if begin.start() < free:
            continue
        while ends and ends[-1][0] < begin.end():
            ends.pop()
        if ends:
            free = ends[-1][1]
        else:
            body = _BODY().match(text, begin.end())
            free = begin.end() if body is None else body.end()
        yield begin.start(), free


FINDERS: Final[Mapping[str, Finder]] = MappingProxyType(
    {
        "private_key": private_keys,
        "aws_key": aws_keys,
        "token": tokens,
        "card": cards,
        "email": emails,
        "phone": phones,
    }
)
"""What is looked for, by kind; of two that meet, the earlier one names what is taken out."""
