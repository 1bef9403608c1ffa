"""Talk about nothing that is asked: sentences of several shapes, and questions with replies."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Final

from benchmarks.corpus import chatter as c

__all__ = ("SHAPES", "Shape", "small_talk")


@dataclass(frozen=True, slots=True)
class Shape:
    """A sentence with a place for one of each list of phrases.

    Args:
        form: The sentence, {} for each phrase.
        phrases: What can stand in each place.
        reply: What the other person says to it.
    """

    form: str
    phrases: tuple[tuple[str, ...], ...]
    reply: Shape | None = None

    @property
    def distinct(self) -> int:
        """How many different sentences it makes."""
        return prod(map(len, self.phrases))

    def write(self, random_float: Callable[[], float]) -> str:
        return self.form.format(*[each[int(random_float() * len(each))] for each in self.phrases])


_SEEN = Shape("{}, {}, {}.", (c.ANSWERS, c.COMMENTS, c.AFTER_ALL))
_WHY = Shape("{}, {}, {}.", (c.DOUBTS, c.BECAUSE, c.AFTER_ALL))

SHAPES: Final = (
    # About others.
    Shape("{} {} {}.", (c.PEOPLE, c.DID, c.WHENS)),
    Shape("{} {} about {} {}.", (c.PEOPLE, c.TALKED, c.MATTERS, c.WHENS)),
    Shape("{} {}, and then {} {} {}, {}.",
          (c.PEOPLE, c.DID[:18], c.OTHERS, c.DID[18:], c.WHENS, c.TAILS)),
    # In the first person.
    Shape("I {} {}, {}.", (c.MINE, c.WHENS, c.TAILS)),
    Shape("{} {} while I {}.", (c.PEOPLE, c.DID, c.MINE)),
    Shape("It {} {}, so I {}, and meanwhile {} {}.",
          (c.WEATHER, c.TIMES, c.MINE, c.OTHERS, c.DID)),
    Shape("I was {} that {} {}.", (c.FEELINGS, c.OTHERS, c.DID)),
    Shape("I {} {} about {}, {}.", (c.HEARD, c.WORDS, c.MATTERS, c.TAILS)),
    Shape("I {} {} {}.", (c.NEED, c.OBJECTS, c.SOON)),
    # Short ones.
    Shape("My {} {} {}.", (c.GOODS, c.STATES, c.LATELY)),
    Shape("What a {} {} {}!", (c.SUCH, c.NOUNS, c.AT)),
    # Questions and what is said to them.
    Shape("Did you {} {} {}?", (c.SEE, c.SIGHTS, c.PLACES), _SEEN),
    Shape("Do you know why {} {} {}?", (c.OTHERS, c.DID, c.WHENS), _WHY),
)  # fmt: skip


def small_talk(draw: random.Random) -> tuple[str, ...]:
    """Return one sentence, or a question of one person and the reply of another."""
    shape = SHAPES[int(draw.random() * len(SHAPES))]
    said = shape.write(draw.random)
    return (said,) if shape.reply is None else (said, shape.reply.write(draw.random))
