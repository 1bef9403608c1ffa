"""What somebody refuses, beside what the same person does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Negation:
    """One thing that is refused, in several wordings, and the opposite."""

    refused: tuple[str, ...]
    done: tuple[str, ...]
    asks: tuple[str, ...]
    values: tuple[str, ...]


NEGATIONS: Final = (
    Negation(
        ("I never drink {v}.", "I do not touch {v}, whatever the others drink.",
         "I leave {v} to others, I don't drink it."),
        ("I drink {v} gladly.", "I like to drink {v} with friends."),
        ("What does {n} not drink?", "Which drink does {n} refuse?", "What does {n} never drink?"),
        ("beer", "cola", "cider", "tonic water", "buttermilk"),
    ),
    Negation(
        ("I do not watch {v}.", "I never watch {v}.", "I refuse to watch {v} on television."),
        ("I watch {v} all the time.", "I love to watch {v} on television."),
        ("What does {n} never watch?", "What does {n} refuse to watch?",
         "What will {n} not watch?"),
        ("football", "horror series", "talk shows", "quiz shows", "courtroom dramas"),
    ),
    Negation(
        ("I can't stand listening to {v}.", "I don't listen to {v} at all.",
         "Nobody gets me to listen to {v}."),
        ("I listen to {v} a lot.", "I am happy listening to {v}."),
        ("What does {n} not listen to?", "What can {n} not stand listening to?",
         "What does {n} never listen to?"),
        ("opera", "techno", "podcasts", "jazz", "brass bands"),
    ),
    Negation(
        ("I don't travel by {v} any more.", "I never travel by {v}.",
         "Travelling by {v} is out of the question for me."),
        ("On holidays I travel by {v}.", "I like travelling by {v} on holidays."),
        ("How does {n} not travel?", "By what does {n} never travel?",
         "What does {n} refuse to travel by?"),
        ("coach", "plane", "night train", "cruise ship", "motorbike"),
    ),
    Negation(
        ("We have no {v} at home.", "I don't own a {v} at home.",
         "At home we do without a {v}."),
        ("We have a {v} at home.", "There is a {v} in my home."),
        ("What does {n} not have at home?", "What does {n} do without at home?",
         "Which appliance is missing in {n}'s home?"),
        ("television", "microwave", "dishwasher", "printer", "freezer"),
    ),
    Negation(
        ("I never wear {v}.", "You won't see me wearing {v}.", "I refuse to wear {v}."),
        ("I wear {v} almost every day.", "I love wearing {v}."),
        ("What does {n} never wear?", "What does {n} refuse to wear?",
         "What will {n} not wear?"),
        ("bow ties", "sandals", "straw hats", "earrings", "sunglasses"),
    ),
    Negation(
        ("I can't {v}.", "I never learned to {v}.", "Don't ask me to {v}, I don't know how."),
        ("I can {v} quite well.", "I have learned to {v}."),
        ("What can {n} not do?", "What did {n} never learn?", "What is {n} not able to do?"),
        ("swim", "whistle", "ski", "knit", "juggle"),
    ),
    Negation(
        ("I don't work on {v}.", "Please plan nothing for me on {v}, I am not working then.",
         "On {v} I never work."),
        ("I work on {v}, as ever.", "On {v} you can reach me, I am working."),
        ("On which days does {n} not work?", "When does {n} never work?",
         "On what days is {n} not working?"),
        ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays"),
    ),
    Negation(
        ("I will never go to {v} again.", "Nothing gets me to {v} another time.",
         "I don't want to see {v} again, once was enough."),
        ("I would go to {v} again at once.", "I want to see {v} again."),
        ("Where does {n} not want to go again?", "Where will {n} never go again?",
         "Which place does {n} refuse to see again?"),
        ("the karaoke bar", "the ghost train", "the escape room", "the sauna", "the wax museum"),
    ),
    Negation(
        ("I don't use {v}.", "I have no account on {v}, I never use it.",
         "You won't find me on {v}, I don't use it."),
        ("I use {v} every day.", "You find me on {v}, I use it a lot."),
        ("Which social network does {n} not use?", "On which social network is {n} not?",
         "Which social network does {n} never use?"),
        ("Chirpwall", "Snapboard", "Linkhive", "Vidpool", "Threadnest"),
    ),
)  # fmt: skip
