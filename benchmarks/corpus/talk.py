"""What is not about a kind of fact: codes, opinions, refusals, other languages, small talk."""

from __future__ import annotations

from typing import Final

CODES: Final = (
    "The gate code is {v}.", "My booking reference is {v}.", "The wifi password is {v}.",
    "My insurance number is {v}.", "The locker opens with {v}.",
    "The washing machine is model {v}.",
)  # fmt: skip
CODE_ASKS: Final = (
    "What is {v} for?", "What belongs to the code {v}?", "Where do I need {v}?",
    "Which thing has the number {v}?",
)  # fmt: skip

TOPICS: Final = (
    "the new tram line", "the museum extension", "the office dog", "the village festival",
    "the electric ferry", "the four-day week", "the rooftop cinema", "the ring road",
)  # fmt: skip
OPINIONS: Final = (
    "I think {t} is a wonderful idea.", "Honestly, {t} is a waste of money.",
    "I am not sure what to make of {t}.", "For me {t} could have come years earlier.",
)  # fmt: skip
OPINION_ASKS: Final = (
    "What did {n} say about {t}?", "What does {n} think of {t}?", "How does {n} feel about {t}?",
    "What is {n}'s opinion on {t}?",
)  # fmt: skip

# What is refused, what is done instead, the question, and the values.
NEGATIONS: Final = (
    ("I never drink {v}.", "I drink {v} gladly.", "What does {n} not drink?",
     ("coffee", "beer", "cola", "green tea")),
    ("I do not watch {v}.", "I watch {v} all the time.", "What does {n} never watch?",
     ("football", "horror films", "talk shows", "the news")),
    ("I can't stand listening to {v}.", "I listen to {v} a lot.",
     "What does {n} not listen to?", ("opera", "techno", "podcasts", "jazz")),
    ("I don't travel by {v} any more.", "I travel by {v} most of the time.",
     "How does {n} not travel?", ("bus", "plane", "night train", "taxi")),
    ("We have no {v} at home.", "We have a {v} at home.", "What does {n} not have at home?",
     ("television", "microwave", "dishwasher", "printer")),
)  # fmt: skip

LANGUAGES: Final = (
    ("Mi hermano vive en {v}.", "¿Dónde vive el hermano de {n}?", ("Sevilla", "Bilbao", "Cádiz")),
    ("Mi color favorito es el {v}.", "¿Cuál es el color favorito de {n}?",
     ("verde", "morado", "amarillo")),
    ("Trabajo los {v} desde casa.", "¿Qué día trabaja {n} desde casa?",
     ("lunes", "jueves", "viernes")),
    ("Mein Bruder arbeitet als {v}.", "Als was arbeitet der Bruder von {n}?",
     ("Bäcker", "Gärtner", "Lehrer")),
    ("Meine Katze heißt {v}.", "Wie heißt die Katze von {n}?", ("Minka", "Socke", "Fussel")),
    ("Im Urlaub fahren wir nach {v}.", "Wohin fährt {n} im Urlaub?", ("Rügen", "Tirol", "Sylt")),
    ("Ma voisine s'appelle {v}.", "Comment s'appelle la voisine de {n}?",
     ("Solange", "Mireille", "Ginette")),
    ("Je préfère le fromage de {v}.", "Quel fromage préfère {n}?",
     ("chèvre", "brebis", "vache")),
    ("Le code de mon vélo est le {v}.", "Quel est le code du vélo de {n}?",
     ("4471", "9032", "1586")),
)  # fmt: skip

CHANGES: Final = ("", "", "Actually, ", "It is different now: ", "News: ")

_SUBJECTS: Final = (
    "The neighbour", "A colleague", "My cousin", "The postman", "Our teacher", "An old friend",
    "The baker", "The woman upstairs", "My uncle", "The new intern",
)  # fmt: skip
_DOINGS: Final = (
    "repaired the fence", "told a long story", "lost an umbrella", "waited for the bus",
    "brought a cake", "complained about the noise", "asked for directions", "sang in the stairway",
    "painted a bench", "found a coin", "argued about the bill", "took photographs of clouds",
)  # fmt: skip
_WHENS: Final = (
    "this morning", "after lunch", "in the rain", "near the station", "for half an hour",
    "without any reason", "before the shops closed", "at the market", "by the river",
    "while we were talking",
)  # fmt: skip
SMALL_TALK: Final = tuple(
    f"{who} {did} {when}." for who in _SUBJECTS for did in _DOINGS for when in _WHENS
)

NAMES: Final = (
    "Marta", "Jonas", "Priya", "Tomas", "Leila", "Oskar", "Ines", "Kwame", "Sofia", "Ruben",
    "Hana", "Emil", "Zainab", "Luca", "Greta", "Dario", "Nadia", "Piet", "Yara", "Anton",
)  # fmt: skip
