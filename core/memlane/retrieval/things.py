"""Which things a statement names, and whose: two that are about the same thing name no others.

"My sister's phone number" and "my brother's phone number" are as near in meaning as an old number
and its successor. What tells them apart is what each calls the thing: where something changed, the
value is new, and not the thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import Final, NamedTuple

from memlane.lexical import STOP_WORDS, terms
from memlane.patterns import lazy

__all__ = ("Things", "read_things")

_READ_CHARS: Final = 400  # as much as is read of what a statement says of itself
_LONGEST: Final = 3  # words of one name: "work phone number"

_TOKEN: Final = lazy(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:!?]")
_ENDS: Final = frozenset(".:!?")
_MINE: Final = frozenset({"my", "our"})
_OWNERS: Final = (*_MINE, "'s")  # without one of them nothing begins a name after the verb
_THESE: Final = frozenset("the this that his her their your".split())  # noqa: SIM905 - reads better
_JOINS: Final = frozenset({"of", "for", "at"})  # what follows is part of the name
_SPEAKERS: Final = frozenset("i we you he she it they".split())  # noqa: SIM905
# Closed classes, as the stop words are: which nouns there are no list could hold.
_VERBS: Final = frozenset(
    """
    is are was were be been being am has have had will would do does did can got gets goes went
    lives works moved became switched changed swapped renamed replaced switch change
    """.split()  # noqa: SIM905
)
_TIMES: Final = frozenset(
    """
    new current own latest now nowadays today since still only also actually correction sorry news
    update last week month year
    """.split()  # noqa: SIM905
)
_AFTER_VERBS: Final = STOP_WORDS - _VERBS
_PEOPLE: Final = frozenset(
    """
    mother mum mom father dad parents sister brother son daughter child children kid kids wife
    husband aunt uncle cousin nephew niece grandmother grandma grandfather grandpa girlfriend
    boyfriend friend neighbour neighbor colleague
    """.split()  # noqa: SIM905
)


class _Name(NamedTuple):
    sort: str
    words: list[str]


class Things:
    """What a statement names, as hashes of words; each is made when it is asked for.

    Args:
        names: The names.
        people: Words that say whose a thing is.
    """

    def __init__(self, names: Sequence[_Name], people: Sequence[str]) -> None:
        self._names = names
        self._people = people

    @cached_property
    def named(self) -> frozenset[int]:
        """All words of the names."""
        return _hashes(word for name in self._names for word in name.words)

    @cached_property
    def people(self) -> frozenset[int]:
        """Those that say whose a thing is."""
        return _hashes(self._people)

    @cached_property
    def kinds(self) -> Sequence[tuple[frozenset[int], frozenset[int]]]:
        """For each name what sort of thing it is, and all of its words."""
        return [(_hashes([name.sort]), _hashes(name.words)) for name in self._names]

    def apart(self, older: Things, *, known: frozenset[int], asked: frozenset[int]) -> bool:
        """Say whether these are other things than those of an older statement.

        What neither the older one nor the question names is foreign. It is another thing if the
        question names the older one's by a word that is missing here ("the front gate", "the back
        gate"), if it is somebody else's, or if it is another of the same sort ("my number", "my
        work number").

        Args:
            older: Things of the older statement.
            known: All words of the older statement and of the question.
            asked: All words of the question.
        """
        if self.named <= known:
            return False
        if (older.named & asked) - self.named or self.people - known:
            return True
        sorts = {sort for sort, _ in older.kinds}
        return any(sort in sorts and words - known for sort, words in self.kinds)


class _Reader:
    """Goes through the words of a statement; names begin where somebody owns or points."""

    def __init__(self) -> None:
        self.names: list[_Name] = []
        self.people: list[str] = []
        self.idle = False  # after the verb, and within no name: only an owner begins one
        self._words: list[str] = []
        self._sort = ""
        self._left = 0  # words that the name may still have
        self._joined = False
        self._subject = True  # before the verb
        self._first = True

    def read(self, token: str, word: str, after: str) -> None:
        """Take the next word, also in small letters, given the one after it in those."""
        base = word.removesuffix("'s")
        if word in _MINE or (word in _THESE and self._subject):
            self._begin()
        elif word in _JOINS:
            self._joined = bool(self._words)
        elif word in _VERBS or word in _SPEAKERS or (self._words and _acts(word, after)):
            self._subject = False
            self.end()
        elif base in _TIMES:
            return  # may stand before and within any name
        elif base in STOP_WORDS or not word[0].isalpha():
            self.end()
        else:
            self._name(token, base, after, owner=base != word)
        self._first = token in _ENDS

    def _begin(self) -> None:
        if not self._joined:
            self.end()
        self._left = _LONGEST
        self.idle = False

    def end(self) -> None:
        """End the name that is being read, if there is one."""
        if self._words:
            self.names.append(_Name(self._sort, self._words))
        self._words, self._sort, self._left, self._joined = [], "", 0, False
        self.idle = not self._subject

    def _name(self, token: str, base: str, after: str, *, owner: bool) -> None:
        # A sentence begins with a capital whatever its first word is.
        plain = not token[0].isupper() or (
            self._first and after not in _VERBS and not after.endswith(("s", "ed"))
        )
        if not (self._left or owner or (self._subject and not plain)):
            return
        self._left = _LONGEST if owner else (self._left or _LONGEST) - 1
        self._words.append(base)
        self.idle = False
        if not self._joined:
            self._sort = base
        if owner or base in _PEOPLE:
            self.people.append(base)


def read_things(passage: str) -> Things:
    """Read which things a passage names; only its beginning, if it is long."""
    text = passage[:_READ_CHARS].replace("\u2019", "'")
    lowered = text.lower()
    owned = any(owner in lowered for owner in _OWNERS)
    reader = _Reader()
    tokens = (match[0] for match in _TOKEN().finditer(text))
    for token, after in pairwise(chain(tokens, ".")):
        word = token.lower()
        if not reader.idle or word in _MINE or word.endswith("'s"):
            reader.read(token, word, after.lower())
        elif not owned:
            break
    reader.end()
    return Things(reader.names, reader.people)


def _acts(word: str, after: str) -> bool:
    """Say whether a word after a name looks like a verb: "my mother resides on the coast"."""
    if word.endswith("ed"):
        return True
    return word.endswith("s") and not word.endswith("ss") and after in _AFTER_VERBS


def _hashes(found: Iterable[str]) -> frozenset[int]:
    text = " ".join(found)
    return frozenset(terms(text).tolist()) if text else frozenset()
