"""A query as retrieval reads it: whom it names, what of it is embedded, when it asks about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memlane.lexical import terms
from memlane.protocols import Terms
from memlane.retrieval.dates import asks_when

__all__ = ("Question", "read_question")

# Roles are not names: taking them out of a query would take meaning out of it.
_ROLES = frozenset({"user", "assistant", "system", "tool", "human", "ai", "agent", "bot", "me"})
_SHORTEST_NAME = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a query asks.

    Args:
        text: The query as it was asked.
        embedded: The part to embed: without the names of known actors.
        terms: Hashes of all its words, names included.
        named: The known actors it names.
        when: It asks for a time.
    """

    text: str
    embedded: str
    terms: Terms
    named: tuple[str, ...]
    when: bool


def _spoken_forms(actor: str) -> list[str]:
    words = actor.split()
    forms = [actor] if len(words) == 1 else [actor, words[0]]
    return [form for form in forms if len(form) >= _SHORTEST_NAME and form.casefold() not in _ROLES]


def read_question(text: str, *, actors: Sequence[str]) -> Question:
    """Read a query, knowing who has spoken.

    Plain embeddings rank a mere mention of a name above the fact asked for ("Wow, Ada!"), so the
    names of known actors leave the embedded text. They stay among the words. A name in capitals
    is only met in capitals, so that an actor "Will" is not found in "what will she do".
    """
    named: list[str] = []
    rest = text
    shouting_or_mumbling = text.islower() or text.isupper()
    for actor in sorted(actors, key=len, reverse=True):
        for form in _spoken_forms(actor):
            flags = 0 if form[0].isupper() and not shouting_or_mumbling else re.IGNORECASE
            pattern = re.compile(rf"(?<!\w){re.escape(form)}(?:['\u2019]s)?(?!\w)", flags)
            rest, hits = pattern.subn(" ", rest)
            if hits and actor not in named:
                named.append(actor)
    embedded = " ".join(rest.split())
    embedded = re.sub(r"\s+([?.!,;:])", r"\1", embedded)
    if not any(char.isalnum() for char in embedded):
        embedded = text  # nothing but names: then the names are the question
    return Question(
        text=text,
        embedded=embedded,
        terms=terms(text),
        named=tuple(named),
        when=asks_when(text),
    )
