"""What says nearly the same as a new record: found by its vector, and made sure of by its words.

Vectors alone tell "the left knee" from "the right knee" badly, and a wrong guess would lose a
memory. So near is what a model calls near and has the same numbers and the same negations; and the
same, in whose place nothing need be stored, is what besides says the same words and serves as well:
no shorter, under no less trusted a source, with all that the new one says besides.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast, get_args

import numpy as np

from memlane.errors import ValidationError
from memlane.filters import Filter
from memlane.patterns import lazy
from memlane.protocols import Clock, IndexedRecord, Vector, VectorBackend, VectorQuery
from memlane.reader import within_reach
from memlane.runtime import together
from memlane.scope import Reach, Scope
from memlane.stemming import stem
from memlane.trust import least_trusted
from memlane.types import Duplicates, MemoryRecord, MetadataValue

__all__ = (
    "NEAR",
    "Near",
    "NearDuplicates",
    "among",
    "are_near",
    "check_duplicates",
    "say_the_same",
)

NEAR: Final = 0.9
"""Cosine of what may be near. With all-MiniLM 15 of 20 pairs that say one thing in other words are
above it, and of 38 pairs that differ in a word that matters 11: that is why words decide."""

_WISHES: Final[tuple[str, ...]] = get_args(Duplicates)
_ASKED: Final = 20
_AT_ONCE: Final = 8
_NO_TERMS: Final = np.zeros(0, dtype=np.uint32)

_TOKEN: Final = lazy(
    r"[$\u20ac\u00a3\u00a5+\u2212-]?[^\W_]+(?:['\u2019\-./:_,][^\W_]+)*[+#%\u20ac$\u00a3\u00b0]*"
)
_ORDINAL: Final = lazy(r"(\d+)(?:st|nd|rd|th)")
_DIGIT: Final = lazy(r"\d")
_CODES: Final = "+#"
_SIGNS: Final = "+-\u2212"
_COUNTED: Final = (
    ("zero",), ("one", "first"), ("two", "second"), ("three", "third"), ("four", "fourth"),
    ("five", "fifth"), ("six", "sixth"), ("seven", "seventh"), ("eight", "eighth"),
    ("nine", "ninth"), ("ten", "tenth"), ("eleven", "eleventh"), ("twelve", "twelfth"),
)  # fmt: skip
_NUMBERS: Final = {word: str(number) for number, said in enumerate(_COUNTED) for word in said}
_DATES: Final = frozenset(
    """
    monday tuesday wednesday thursday friday saturday sunday
    mondays tuesdays wednesdays thursdays fridays saturdays sundays
    january february march april may june july august september october november december
    today tomorrow yesterday once twice half both
    """.split()  # noqa: SIM905 - a paragraph of words reads better than a list of strings
)
_NEGATIONS: Final = frozenset(
    """
    not no never none nobody nothing nowhere neither nor without cannot hardly barely unless except
    nicht nichts kein keine keinen keinem keiner nie niemand niemals ohne
    ne pas jamais sans aucun aucune rien non
    nunca sin nada nadie tampoco n\u00e3o nem sem mai senza nessuno niente
    niet geen nooit zonder
    """.split()  # noqa: SIM905 - as above
)
_FILLERS: Final = frozenset(
    "a an the is am are do does that just also really very please".split()  # noqa: SIM905 - as above
)
_JOINED: Final = {"'ll": "will", "'d": "would", "'m": "", "'re": "", "'s": "", "'ve": ""}
_IRREGULAR: Final = {"ca": "can", "wo": "will", "sha": "shall"}
_QUESTION_MARKS: Final = frozenset("?\uff1f\u061f\u037e")
_LEAST_TURNED: Final = 3  # words; of two, each order is the other one turned


@dataclass(frozen=True, slots=True)
class Near:
    """A record that says nearly what a new one says.

    Args:
        record: The one that is there.
        is_same: It says the very same and serves as well, so that nothing would be lost.
    """

    record: MemoryRecord
    is_same: bool


@dataclass(frozen=True, slots=True)
class _Said:
    """What is compared of a text."""

    words: tuple[str, ...]
    numbers: Counter[str]
    negations: Counter[str]
    asks: bool


class NearDuplicates:
    """Finds them, with one query to the backend for each record.

    Args:
        backend: Where records live.
        clock: When it is.
    """

    def __init__(self, backend: VectorBackend, *, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    async def of_all(self, new: Sequence[IndexedRecord], *, scope: Scope) -> Sequence[list[Near]]:
        """Return for each of several new records what `of` does, a few asked for at a time."""
        calls = [
            functools.partial(self.of, one.record, one.parts[0].vector, scope=scope) for one in new
        ]
        return await together(calls, at_once=_AT_ONCE)

    async def of(self, record: MemoryRecord, vector: Vector, *, scope: Scope) -> list[Near]:
        """Return what is there and says nearly the same, the nearest first.

        Looked at is what the record's own agent may see, of its kind, namespace and actor.

        Args:
            record: A new one, not stored yet.
            vector: Of its whole text; float32 of shape (dimensions,).
            scope: Whose it is to be.
        """
        reach = Reach.point(scope, now=self._clock.now())
        query = VectorQuery(
            vector=vector,
            terms=_NO_TERMS,
            space=record.space,
            limit=_ASKED,
            actor=record.actor,
            namespace=record.namespace,
            filter=Filter.eq("@kind", record.kind),
        )
        found = await self._backend.query(query, reach=reach)
        if not len(found):
            return []
        # The whole texts, and no windows: a long text that says it too says more than that.
        rows = np.flatnonzero((found.distances <= 1 - NEAR) & (found.parts == 0))
        rows = rows[np.argsort(found.distances[rows], kind="stable")]
        ids = list(dict.fromkeys([found.record_ids[int(row)] for row in rows]))
        if not ids:
            return []
        fetched = await self._backend.fetch(ids, reach=reach)
        there = {each.id: each for each in within_reach((one.record for one in fetched), reach)}
        return [near for id_ in ids if id_ in there and (near := compared(record, there[id_]))]


def among(new: IndexedRecord, others: Iterable[IndexedRecord]) -> list[Near]:
    """Return which of some records that are to be stored beside a new one are near it."""
    found: list[tuple[float, Near]] = []
    for other in others:
        cosine = _cosine(new.parts[0].vector, other.parts[0].vector)
        if cosine >= NEAR and (near := compared(new.record, other.record)):
            found.append((cosine, near))
    return [near for _, near in sorted(found, key=lambda each: -each[0])]


def check_duplicates(duplicates: object) -> Duplicates:
    """Return what is to be done about near-duplicates when it is one of the words for that."""
    if duplicates not in _WISHES:
        raise ValidationError(
            f"unknown duplicates {duplicates!r}", remedy=f"pass one of {', '.join(_WISHES)}"
        )
    return cast("Duplicates", duplicates)


def _cosine(one: Vector, other: Vector) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def compared(new: MemoryRecord, old: MemoryRecord) -> Near | None:
    """Return what a record whose vector is near is to a new one; None if it says something else."""
    alike = (new.kind, new.namespace, new.actor) == (old.kind, old.namespace, old.actor)
    pictures = [note.sha256 for note in new.images] == [note.sha256 for note in old.images]
    if not alike or not pictures or not are_near(new.text, old.text):
        return None
    return Near(old, say_the_same(new.text, old.text) and _serves(new, old))


def _serves(new: MemoryRecord, old: MemoryRecord) -> bool:
    """Say whether nothing is lost when a record is kept and a new one of its words is not."""
    return (
        _lasts(new, old)
        # Who forgets the one's session must not lose what was said in the other's.
        and new.scope.session == old.scope.session
        and (new.valid_from, new.valid_to) == (old.valid_from, old.valid_to)
        # As of a moment between the two, only one that happened earlier is there.
        and old.occurred_at <= new.occurred_at
        and least_trusted(new.source, old.source) == new.source
        and set(new.tags) <= set(old.tags)
        and [note.name for note in new.images] == [note.name for note in old.images]
        and all(
            key in old.metadata and _written(value) == _written(old.metadata[key])
            for key, value in new.metadata.items()
        )
    )


def _lasts(new: MemoryRecord, old: MemoryRecord) -> bool:
    if old.expires_at is None:
        return True
    return new.expires_at is not None and new.expires_at <= old.expires_at


def _written(value: MetadataValue) -> str:
    # As it is kept: to Python 1, 1.0 and True are one.
    return json.dumps(value, sort_keys=True)


def are_near(one: str, other: str) -> bool:
    """Say whether two texts have the same numbers, codes, dates and negations, and ask or not."""
    first, second = _said(one), _said(other)
    return (
        first.numbers == second.numbers
        and first.negations == second.negations
        and first.asks == second.asks
    )


def say_the_same(one: str, other: str) -> bool:
    """Say whether two texts have the same words in the same order, one part moved at most.

    Endings, articles and the like do not count: "My sister is living in Porto" says the same as
    "My sister lives in Porto", and "Last spring we moved" as "We moved last spring".
    """
    first, second = _said(one).words, _said(other).words
    return first == second or _is_turned(first, second)


def _is_turned(first: Sequence[str], second: Sequence[str]) -> bool:
    if len(first) != len(second) or len(first) < _LEAST_TURNED:
        return False
    return any((*first[at:], *first[:at]) == second for at in range(1, len(first)))


def _said(text: str) -> _Said:
    words: list[str] = []
    numbers: Counter[str] = Counter()
    negations: Counter[str] = Counter()
    for token in _TOKEN().findall(text):
        if _DIGIT().search(token) or token[-1] in _CODES:
            # As it is written: codes may differ in case.
            found = _ORDINAL().fullmatch(token.lower())
            number = found[1] if found else token
            numbers[number] += 1
            words.append(number)
            continue
        for word in _spoken(token.lstrip(_SIGNS).casefold().replace("\u2019", "'")):
            if word in _NEGATIONS:
                negations["not" if word in {"not", "cannot"} else word] += 1
            elif word in _NUMBERS or word in _DATES:
                numbers[_NUMBERS.get(word, word.removesuffix("s"))] += 1
            if word not in _FILLERS:
                words.append(stem(word))
    return _Said(tuple(words), numbers, negations, not _QUESTION_MARKS.isdisjoint(text))


def _spoken(word: str) -> list[str]:
    """Return what an apostrophe joins: "don't" is do and not, "I'm" is i."""
    if word.endswith("n't"):
        base = word.removesuffix("n't")
        return [_IRREGULAR.get(base, base), "not"]
    if word == "cannot":
        return ["can", "not"]
    base, mark, ending = word.rpartition("'")
    if mark and f"'{ending}" in _JOINED:
        said = _JOINED[f"'{ending}"]
        return [base, said] if said else [base]
    return [word]
