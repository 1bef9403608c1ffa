"""What a sentence says of itself: that something changed, that it is over, that it is only an idea.

English, like the stop words: in other languages what is left is how near two texts are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import accumulate
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from memlane.lexical import words
from memlane.patterns import lazy
from memlane.windows import sentences

__all__ = (
    "Outline",
    "Statement",
    "about_the_past",
    "asks_of_then",
    "read_outline",
    "read_statement",
)

_Says: TypeAlias = Literal["change", "now", "doubt", "denial"]
_Phrases: TypeAlias = Mapping[str, str]

_READ_CHARS: Final = 400  # of a long text; what it says of itself stands near its beginning
_BARE_WORDS: Final = 4


def _alone(told: str) -> dict[str, str]:
    return dict.fromkeys(told.split(), "")


# Each phrase under its first word, the rest as a pattern: most words begin none, and looking them
# up takes a tenth of what one pattern of all phrases would.
_CHANGE: Final[_Phrases] = MappingProxyType(
    _alone(
        "instead anymore moved became swapped renamed replaced switch switched "
        "change changed nonsense misspoke"
    )
    | {
        "any": "more|longer", "no": "longer", "not": "any ?more|any longer", "an": "update",
        "what": "is new", "what's": "new",
        "correct": "myself", "got": "(?:that|it) wrong", "i": "meant|was wrong", "mixed": "up",
    }
)  # fmt: skip
_NOW: Final[_Phrases] = MappingProxyType(
    _alone("now nowadays")
    | {
        "these": "days", "by": "now", "from": "now on", "different": "now",
        "since": "last|yesterday|today|this|then",
    }
)  # fmt: skip
_IDEA: Final[_Phrases] = MappingProxyType(
    _alone(
        "might could would should shall maybe perhaps if unless consider considers considered "
        "considering tempted tempting someday"
    )
    | dict.fromkeys(("want", "wants", "wanted"), "to|me")
    | dict.fromkeys(("plan", "plans", "planned", "planning"), "to")
    | dict.fromkeys(("hope", "hopes", "hoped", "hoping"), "to")
    | dict.fromkeys(("think", "thinking", "thought"), "of|about")
    | dict.fromkeys(("dream", "dreams", "dreaming"), "of")
    | dict.fromkeys(
        ("nothing", "not", "isn't", "aren't", "haven't", "hasn't"),
        r"(?:\w+ ){0,2}(?:settled|decided|confirmed|signed|sure|booked|fixed|tried)",
    )
    | {
        "some": "day", "one": "day|of these days", "no": "answer yet", "waiting": "list",
        "on": "trial", "saving": "for", "talk": "of|that", "about": "to",
        "next": "time|year|month|week|spring|summer|autumn|fall|winter",
        "going": r"to (?!the\b|a\b|my\b|our\b|school\b|work\b)",
    }
)  # fmt: skip
_OVER: Final[_Phrases] = MappingProxyType(
    _alone("ago formerly previous previously former childhood")
    | dict.fromkeys(("my", "our"), "(?:very )?first")
    | dict.fromkeys(("year", "years"), "before|earlier")
    | {
        "used": "to", "back": "in|then|when", "once": "wrote|was|had", "old": "days",
        "as": r"an? (?:\w+ )?(?:child|kid|boy|girl|student|teenager|trainee|apprentice|baby|pupil)"
        "|children",
        "when": r"(?:i|we|he|she|they|the \w+) (?:was|were)",
        "last": "year|month|summer|winter|spring|autumn",
        "the": "other (?:year|month|summer|winter|spring|autumn)",
        "before": "i|we|that|this|the", "at": "(?:school|university|college) (?:i|my|we)",
        "in": "(?:my|our) (?:first|old|last|previous|twenties|thirties|forties|teens|youth)"
        "|the old (?:days|house|flat|job)|(?:school|university|college) (?:i|my|we)",
    }
)  # fmt: skip
_DENIAL: Final[_Phrases] = MappingProxyType(
    _alone(
        "not never nobody none nothing without refuse refuses refused cannot hardly neither nor no"
    )
)
# What every denial has somewhere: most texts have none, and need not be read for one.
_DENYING: Final = lazy("|".join([*(rf"{word}(?![^\W\d_])" for word in _DENIAL), "n't"]))
_OPENERS: Final = frozenset({"correction", "sorry", "news", "update"})
_SAYING: Final = _OPENERS | {"may"}  # by themselves, in some places

_WORD: Final = lazy(r"([^\W\d_]+(?:'[^\W\d_]+)*)")
_REPLY: Final = lazy(
    r"\W*(?:no|nope|nah|not any ?more|no longer|it was,? but|that (?:is|was) (?:old|wrong)|wrong"
    r"|actually)\b(?!\s+(?:one|matter|idea|doubt|problem|more|way))",
    re.IGNORECASE,
)
# The words without which a text adds nothing: most texts have none and need not be searched.
_ADDING: Final = frozenset({"also", "besides", "additionally", "well", "addition", "too"})
_ADDS: Final = lazy(
    r"\b(?:also|besides|additionally|as well(?! as)|in addition)\b"
    r"|\btoo\b(?=\s*(?:now\b|[.,;!?)]|$))",
    re.IGNORECASE,
)
_OF_MINE: Final = lazy(r"\b(?:i|my|mine|me|we|our|ours|us)\b", re.IGNORECASE)
_DIGIT: Final = lazy(r"\d")
_PAST_QUESTION: Final = lazy(
    r"\b(?:before|used? to|previous(?:ly)?|former(?:ly)?|earlier|originally|in the past|back then"
    r"|at first|no longer|any ?more|(?<!how )(?<!years )old|ex)\b",
    re.IGNORECASE,
)
_THEN: Final = lazy(r"\b(?:as of|back in|did|was|were|had)\b", re.IGNORECASE)


class Statement(NamedTuple):
    """What a passage says of itself.

    Args:
        changes: It says that something is otherwise now, or was said wrongly.
        only_now: It says so by no more than "now", which may be said of anything.
        adds: It says that something holds besides, "too".
        bare: It is a reply with little else than a value: what it is about was said before it.
        doubts: Phrases by which it is only an idea, or is over.
        negative: It denies.
        numbers: It holds a digit.
        sentences: How many it is.
    """

    changes: bool
    only_now: bool
    adds: bool
    bare: bool
    doubts: int
    negative: bool
    numbers: bool
    sentences: int


class Outline(NamedTuple):
    """What of a statement counts where only another one beside it is new: a few of its fields."""

    negative: bool
    numbers: bool
    sentences: int


@cache
def _beginnings() -> Mapping[str, str]:
    """Return the letters with which a phrase goes on after its first word; all, if it may end."""
    every: dict[str, str] = dict.fromkeys(_SAYING, "")
    for table in (_CHANGE, _NOW, _IDEA, _OVER, _DENIAL):
        for first, rest in table.items():
            plain = re.sub(r"\\[bs]", " ", rest)
            if not rest or plain.startswith("(?:\\") or every.get(first) == "":
                every[first] = ""
                continue
            letters = {word[0] for word in re.findall(r"[a-z]+", plain.replace("\\w", " "))}
            every[first] = "".join({*every.get(first, ""), *letters})
    return every


@cache
def _phrases() -> Mapping[str, tuple[tuple[_Says, re.Pattern[str] | None], ...]]:
    every: dict[str, list[tuple[_Says, re.Pattern[str] | None]]] = {}
    tables: Iterable[tuple[_Says, _Phrases]] = (
        ("change", _CHANGE),
        ("now", _NOW),
        ("doubt", _IDEA),
        ("doubt", _OVER),
        ("denial", _DENIAL),
    )
    for says, table in tables:
        for first, rest in table.items():
            pattern = re.compile(rf"\s+(?:{rest})\b", re.IGNORECASE) if rest else None
            every.setdefault(first, []).append((says, pattern))
    return {first: tuple(found) for first, found in every.items()}


def read_statement(passage: str) -> Statement:
    """Read what a passage says of itself; only its beginning, if it is long."""
    text = _beginning(passage)
    reply = _REPLY().match(text)
    begin = reply.end() if reply else 0
    # What is between words and words in turn: the words have the odd places.
    pieces = _WORD().split(text[begin:])
    found = [piece.lower() for piece in pieces[1::2]]
    said: dict[_Says, int] = {
        "change": int(reply is not None), "now": 0, "doubt": 0, "denial": 0,
    }  # fmt: skip
    left = _without_phrases(text, begin, pieces, found, said)
    return Statement(
        changes=said["change"] + said["now"] > 0,
        only_now=said["now"] > 0 and not said["change"],
        adds=not _ADDING.isdisjoint(found) and _ADDS().search(text, begin) is not None,
        bare=reply is not None and len(words(left)) <= _BARE_WORDS and not _OF_MINE().search(left),
        doubts=said["doubt"],
        negative=said["denial"] > 0,
        numbers=_DIGIT().search(text) is not None,
        sentences=sum(1 for _ in sentences(text)),
    )


def read_outline(passage: str) -> Outline:
    """Read of a passage what `read_statement` would tell of it in an outline, for a fifth."""
    text = _beginning(passage)
    return Outline(
        negative=_DENYING().search(text.lower()) is not None and read_statement(passage).negative,
        numbers=_DIGIT().search(text) is not None,
        sentences=sum(1 for _ in sentences(text)),
    )


def _beginning(passage: str) -> str:
    return passage[:_READ_CHARS].replace("\u2019", "'")


def _without_phrases(
    text: str, begin: int, pieces: list[str], found: list[str], said: dict[_Says, int]
) -> str:
    """Count what the phrases of a text say, and return the text without them.

    Args:
        text: All of it.
        begin: Where it is read from.
        pieces: The text from there on, cut at words.
        found: The words, in small letters.
        said: Counts by what is said.
    """
    following = [*found[1:], " "]
    telling = [
        at
        for at, letters in enumerate(map(_beginnings().get, found))
        if letters is not None and (not letters or following[at][0] in letters)
    ]
    if "'" in text:
        telling = sorted({*telling, *(at for at, word in enumerate(found) if "n't" in word)})
    if not telling:
        return text[begin:]
    known = _phrases()
    ends = [*accumulate(map(len, pieces), initial=begin)]
    rest: list[str] = []
    behind = begin
    for at in telling:
        start, end, word = ends[2 * at + 1], ends[2 * at + 2], found[at]
        if start < behind:
            continue
        for says, pattern in known.get(word, ()):
            follows = pattern.match(text, end) if pattern else None
            if pattern is None or follows:
                said[says] += 1
                # "No longer" tells of a change: that alone is no denial.
                rest.append(text[behind:start])
                behind = follows.end() if follows else end
                break
        else:
            said["denial"] += word.endswith("n't")
            # The month is written with a capital.
            said["doubt"] += text[start:end] == "may"
            said["change"] += word in _OPENERS and start <= begin + 2
    return "".join([*rest, text[behind:]])


def about_the_past(question: str) -> bool:
    """Say whether a question is about what was, so that the newest is not what it wants."""
    return _PAST_QUESTION().search(question) is not None


def asks_of_then(question: str) -> bool:
    """Say whether a question that names a time asks what held then, and not what is planned."""
    return _THEN().search(question) is not None
