"""Two things that look alike and are not the same: the one never takes the other's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Alike:
    """Two things of one sort that the same person has.

    Args:
        things: How each is called; stands for {t}.
        says: Statements in the first person, with {t} and the value {v}.
        asks: Questions, with the person's name {n} and {t}.
        values: What {v} can be.
    """

    things: tuple[str, str]
    says: tuple[str, str, str]
    asks: tuple[str, str, str]
    values: tuple[str, ...]


_PET: Final = (
    ("My {t} is called {v}.", "We named the {t} {v}.", "{v} is the name of my {t}."),
    ("What is {n}'s {t} called?", "What is the name of {n}'s {t}?", "How did {n} name the {t}?"),
)
_NUMBER: Final = (
    ("My {t} is {v}.", "You reach me under the {t} {v}.", "{v} is my {t}."),
    ("What is {n}'s {t}?", "Which {t} does {n} have?", "Under which {t} do I reach {n}?"),
)
_CODE: Final = (
    ("The code for the {t} is {v}.", "The {t} opens with {v}.", "{v} is the code of the {t}."),
    ("What is the code for {n}'s {t}?", "With which code does {n}'s {t} open?",
     "Which code does {n} use for the {t}?"),
)  # fmt: skip
_PLACE: Final = (
    ("My {t} lives in {v}.", "{v} is where my {t} lives.", "My {t} has a flat in {v}."),
    ("Where does {n}'s {t} live?", "In which town does {n}'s {t} live?",
     "Where does {n}'s {t} have a flat?"),
)  # fmt: skip
_TIME: Final = (
    ("The {t} starts at {v}.", "My {t} is at {v}.", "{v} is when the {t} begins."),
    ("When does {n}'s {t} start?", "At what time is {n}'s {t}?", "What time does the {t} begin?"),
)
_CLUB: Final = (
    ("My {t} meets at {v}.", "{v} is where my {t} meets.", "I go to {v} for my {t}."),
    ("Where does {n}'s {t} meet?", "Where does {n} go for the {t}?",
     "At which place does {n}'s {t} meet?"),
)  # fmt: skip
_COLOUR: Final = (
    ("The {t} is painted {v}.", "We have painted the {t} {v}.", "{v} is the colour of the {t}."),
    ("What colour is {n}'s {t}?", "In what colour is {n}'s {t} painted?",
     "What colour has {n} given the {t}?"),
)  # fmt: skip

_ANIMALS: Final = ("Pixie", "Gustav", "Mango", "Tonka", "Hazel", "Fidelio")
_PHONES: Final = ("5521", "8830", "4417", "9062", "7358", "6194")
_PINS: Final = ("2704", "9113", "6620", "3385", "1947", "8052")
_TOWNS: Final = ("Ghent", "Aarhus", "Vigo", "Lucerne", "Gdansk", "Galway")
_HOURS: Final = ("7:15", "9:40", "11:20", "16:05", "18:30", "20:10")
_ROOMS: Final = (
    "the town library", "the old brewery", "the boathouse", "the parish hall", "the blue pavilion",
)  # fmt: skip
_PAINTS: Final = ("mint", "coral", "navy", "mustard yellow", "pearl grey", "burgundy")

ALIKE: Final = (
    Alike(("cat", "tortoise"), *_PET, _ANIMALS),
    Alike(("hamster", "canary"), *_PET, _ANIMALS),
    Alike(("black horse", "grey horse"), *_PET, _ANIMALS),
    Alike(("older rabbit", "younger rabbit"), *_PET, _ANIMALS),
    Alike(("work extension", "home phone number"), *_NUMBER, _PHONES),
    Alike(("fax number", "hotline number"), *_NUMBER, _PHONES),
    Alike(("number at the studio", "number at the cabin"), *_NUMBER, _PHONES),
    Alike(("cellar", "bicycle shed"), *_CODE, _PINS),
    Alike(("letterbox", "office safe"), *_CODE, _PINS),
    Alike(("front gate", "back gate"), *_CODE, _PINS),
    Alike(("aunt", "grandfather"), *_PLACE, _TOWNS),
    Alike(("godson", "stepmother"), *_PLACE, _TOWNS),
    Alike(("elder brother", "younger brother"), *_PLACE, _TOWNS),
    Alike(("pottery class", "yoga class"), *_TIME, _HOURS),
    Alike(("Monday lesson", "Thursday lesson"), *_TIME, _HOURS),
    Alike(("morning call", "evening call"), *_TIME, _HOURS),
    Alike(("chess club", "book club"), *_CLUB, _ROOMS),
    Alike(("sewing circle", "film circle"), *_CLUB, _ROOMS),
    Alike(("hallway", "staircase"), *_COLOUR, _PAINTS),
    Alike(("left shutter", "right shutter"), *_COLOUR, _PAINTS),
)
