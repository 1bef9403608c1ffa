"""A query as retrieval reads it: whom it names, what of it is embedded, when it asks about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memlane.lexical import STOP_WORDS, terms, words
from memlane.protocols import Terms
from memlane.retrieval.dates import asks_when

__all__ = ("Question", "read_question", "unread_question")

# Roles are not names: taking them out of a query would take meaning out of it.
_ROLES = frozenset({"user", "assistant", "system", "tool", "human", "ai", "agent", "bot", "me"})
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof"})
# Words far oftener than names: they are names only where they are written as nothing but one.
_COMMON = STOP_WORDS | {"may"}
_ASKING = frozenset({"ask", "asked", "asking", "question", "questions", "wondered"})
_SHORTEST_NAME = 2
_SENTENCE_ENDS = '.!?:;"\u201c('
_GAP = "\0"
_STOPS = "?.!,;:"
_NO_TERMS: Terms = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a query asks.

    Args:
        text: The query as it was asked.
        embedded: The part to embed: without the names of known actors.
        terms: Hashes of all its words, names included.
        named: The known actors it names.
        when: It asks for a time.
        asked: It is about what was asked.
    """

    text: str
    embedded: str
    terms: Terms
    named: tuple[str, ...]
    when: bool
    asked: bool = False


def _spoken_forms(actor: str) -> list[str]:
    words = actor.split()
    forms = [" ".join(words)]
    if len(words) > 1 and words[0].rstrip(".").casefold() not in _TITLES:
        forms.append(words[0])
    return [form for form in forms if len(form) >= _SHORTEST_NAME and form.casefold() not in _ROLES]


def _is_written_as_a_name(found: re.Match[str], form: str) -> bool:
    if not found[0][0].isupper():
        return False
    before = found.string[: found.start()].rstrip()
    return len(found[0]) > len(form) or (bool(before) and before[-1] not in _SENTENCE_ENDS)


def _take_out(form: str, text: str, *, cased: bool) -> tuple[str, bool]:
    """Return the text with a gap wherever it speaks of `form`, and whether it does."""
    common = form.casefold() in _COMMON
    if common and not cased:
        return text, False
    spaced = r"\s+".join(map(re.escape, form.split()))
    pattern = re.compile(
        rf"(?<!\w){spaced}(?:['\u2019]s|(?<=s)['\u2019])?(?!\w)",
        0 if cased and form[0].isupper() else re.IGNORECASE,
    )
    pieces: list[str] = []
    at = 0
    for found in pattern.finditer(text):
        if not common or _is_written_as_a_name(found, form):
            pieces += [text[at : found.start()], _GAP]
            at = found.end()
    return "".join([*pieces, text[at:]]), bool(pieces)


def _tidy(text: str) -> str:
    """Return what is embedded of a text: without the space that a name or an author left."""
    tidy = " ".join(text.split())
    for stop in _STOPS:
        tidy = tidy.replace(f" {stop}", stop)
    return tidy


def unread_question(text: str) -> Question:
    """Return a query of which only the meaning counts: it names nobody and has no words."""
    embedded = _tidy(text)
    if not any(map(str.isalnum, embedded)):
        embedded = text
    return Question(text=text, embedded=embedded, terms=_NO_TERMS, named=(), when=False)


def read_question(text: str, *, actors: Sequence[str]) -> Question:
    """Read a query, knowing who has spoken.

    Plain embeddings rank a mere mention of a name above the fact asked for ("Wow, Ada!"), so the
    names of known actors leave the embedded text. They stay among the words. A name in capitals
    is only met in capitals, unless the query has none or nothing else. One that is a common word
    is met inside a sentence alone: an actor "Will" is not found in "what will she do", nor in
    "Will she come?". All whom a first name may mean are named.
    """
    folded = " ".join(text.casefold().split())
    forms: dict[str, list[str]] = {}
    for actor in actors:
        for form in _spoken_forms(actor):
            if form.casefold() in folded:  # of a thousand actors a query names one or two
                forms.setdefault(form, []).append(actor)
    named: dict[str, None] = {}
    rest, cased = text, not (text.islower() or text.isupper())
    for form in sorted(forms, key=lambda form: (-len(form), form)):
        rest, met = _take_out(form, rest, cased=cased)
        if met:
            named |= dict.fromkeys(sorted(forms[form]))
    embedded = _tidy(rest.replace(_GAP, " "))
    if not any(char.isalnum() for char in embedded):
        embedded = text  # nothing but names: then the names are the question
    return Question(
        text=text,
        embedded=embedded,
        terms=terms(text),
        named=tuple(named),
        when=asks_when(text),
        asked=not _ASKING.isdisjoint(words(text)),
    )
