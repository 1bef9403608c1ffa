"""From a seed to conversations and questions, the same each time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from benchmarks.corpus.home import HOME
from benchmarks.corpus.life import LIFE
from benchmarks.corpus.model import Corpus, Kind, Query, Said
from benchmarks.corpus.talk import (
    CHANGES,
    CODE_ASKS,
    CODES,
    LANGUAGES,
    NAMES,
    NEGATIONS,
    OPINION_ASKS,
    OPINIONS,
    SMALL_TALK,
    TOPICS,
)

__all__ = ("KINDS", "generate")

KINDS = (*HOME, *LIFE)
_BEGIN = datetime(2025, 1, 6, 9, tzinfo=UTC)
_SESSIONS = 12
_LONG = 600  # words


_SPOKEN = (
    ("{n}'s", "your"), ("does {n}", "do you"), ("Does {n}", "Do you"), ("is {n}", "are you"),
    ("{n}", "you"),
)  # fmt: skip


def _to_the_face(question: str) -> str:
    """Return a question about somebody as that person is asked it."""
    for about, spoken in _SPOKEN:
        question = question.replace(about, spoken)
    return question


@dataclass(slots=True)
class _User:
    """One user's conversations while they are written; two people speak in them."""

    id: str
    name: str
    other: str
    draw: random.Random
    said: list[Said] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)

    def say(self, text: str, *, actor: str | None = None, month: int | None = None) -> str:
        """Add a message to the session of a month, at random if none is given."""
        month = self.draw.randrange(_SESSIONS) if month is None else month
        minutes = self.draw.randrange(5 * 60)
        at = _BEGIN + timedelta(days=31 * month, minutes=minutes, seconds=len(self.said) % 60)
        said = Said(
            id=f"{self.id}-{len(self.said)}",
            user=self.id,
            session=f"s{month}",
            actor=actor or self.name,
            text=text[0].upper() + text[1:],
            at=at,
        )
        self.said.append(said)
        return said.id

    def ask(
        self, category: str, text: str, evidence: tuple[str, ...], stale: tuple[str, ...] = ()
    ) -> None:
        text = text.format(n=self.name)
        query = Query(user=self.id, category=category, text=text, evidence=evidence, stale=stale)
        self.queries.append(query)

    def pick(self, among: tuple[str, ...]) -> str:
        return self.draw.choice(among)

    def values(self, kind: Kind) -> list[str]:
        return self.draw.sample(kind.values, len(kind.values))

    def traps(self, kind: Kind, values: list[str]) -> None:
        """Add what looks like the fact: of the other person, planned, over, asked before."""
        self.say(self.pick(kind.says).format(v=values[-1]), actor=self.other)
        trap = self.draw.randrange(3)
        if trap == 0:
            self.say(kind.plan.format(v=values[-2]))
        elif trap == 1:
            self.say(kind.past.format(v=values[-2]))
        else:
            self.say(_to_the_face(self.pick(kind.asks)), actor=self.other)


def _told(user: _User, kind: Kind, *, month: int | None = None) -> str:
    values = user.values(kind)
    user.traps(kind, values)
    return user.say(user.pick(kind.says).format(v=values[0]), month=month)


def _single(user: _User, kind: Kind) -> None:
    user.ask("single", user.pick(kind.asks), (_told(user, kind),))


def _changed(user: _User, kind: Kind) -> tuple[str, str, range]:
    """Tell a fact and later its change; return both ids and the months the first was true."""
    values = user.values(kind)
    user.traps(kind, values)
    before = user.draw.randrange(5)
    after = user.draw.randrange(before + 2, _SESSIONS)
    old = user.say(user.pick(kind.says).format(v=values[0]), month=before)
    change = user.pick(CHANGES) + user.pick(kind.says).format(v=values[1])
    return old, user.say(change, month=after), range(before, after)


def _update(user: _User, kind: Kind) -> None:
    old, new, _ = _changed(user, kind)
    user.ask("update", user.pick(kind.asks), (new,), (old,))


def _point_in_time(user: _User, kind: Kind) -> None:
    old, new, months = _changed(user, kind)
    month = (_BEGIN + timedelta(days=31 * user.draw.choice(months))).strftime("%B %Y")
    user.ask("point in time", f"As of {month}: {user.pick(kind.asks)}", (old,), (new,))


def _two(user: _User, first: Kind, second: Kind) -> None:
    before, after = user.draw.sample(range(_SESSIONS), 2)
    evidence = (_told(user, first, month=before), _told(user, second, month=after))
    user.ask("two sessions", f"{user.pick(first.asks)} And {user.pick(second.asks)}", evidence)


def _paraphrase(user: _User, kind: Kind) -> None:
    values = user.values(kind)
    user.traps(kind, values)
    statement, question = kind.apart
    user.ask("paraphrase", question, (user.say(statement.format(v=values[0])),))


def _long(user: _User, kind: Kind) -> None:
    values = user.values(kind)
    user.traps(kind, values)
    sentences: list[str] = []
    while sum(len(sentence.split()) for sentence in sentences) < _LONG:
        sentences.append(user.pick(SMALL_TALK))
    fact = user.pick(kind.says).format(v=values[0])
    sentences.insert(user.draw.randrange(len(sentences)), fact)
    user.ask("long message", user.pick(kind.asks), (user.say(" ".join(sentences)),))


def _no_answer(user: _User, kind: Kind) -> None:
    user.traps(kind, user.values(kind))
    user.ask("no answer", user.pick(kind.asks), ())


def _codes(user: _User) -> None:
    for statement in user.draw.sample(CODES, 2):
        letters = "".join(user.draw.choice("QXKVZ") for _ in range(2))
        number = user.draw.randrange(1_000, 9_000)
        code = f"{letters}{number % 10}-{number}"
        found = user.say(statement.format(v=code))
        for away in (1, 10, 100):
            near = f"{letters}{number % 10}-{number + away}"
            user.say(user.pick(CODES).format(v=near), actor=user.other)
        user.ask("exact code", user.pick(CODE_ASKS).replace("{v}", code), (found,))


def _opinions(user: _User) -> None:
    for topic in user.draw.sample(TOPICS, 2):
        mine, theirs = user.draw.sample(OPINIONS, 2)
        found = user.say(mine.format(t=topic))
        user.say(theirs.format(t=topic), actor=user.other)
        user.ask("who said it", user.pick(OPINION_ASKS).replace("{t}", topic), (found,))


def _negations(user: _User) -> None:
    for refused, done, question, values in user.draw.sample(NEGATIONS, 2):
        first, second, third = user.draw.sample(values, 3)
        found = user.say(refused.format(v=first))
        user.say(done.format(v=second))
        user.say(refused.format(v=third), actor=user.other)
        user.ask("negation", question, (found,))


def _languages(user: _User) -> None:
    for statement, question, values in user.draw.sample(LANGUAGES, 2):
        mine, theirs = user.draw.sample(values, 2)
        found = user.say(statement.format(v=mine))
        user.say(statement.format(v=theirs), actor=user.other)
        user.ask("other language", question, (found,))


def _write(user: _User, distractors: int) -> None:
    kinds = iter(user.draw.sample(KINDS, len(KINDS)))
    for _ in range(4):
        _single(user, next(kinds))
    for _ in range(4):
        _update(user, next(kinds))
    for _ in range(4):
        _point_in_time(user, next(kinds))
    for _ in range(2):
        _two(user, next(kinds), next(kinds))
    for _ in range(3):
        _paraphrase(user, next(kinds))
    for _ in range(2):
        _long(user, next(kinds))
    for _ in range(3):
        _no_answer(user, next(kinds))
    _codes(user)
    _opinions(user)
    _negations(user)
    _languages(user)
    for _ in range(distractors):
        user.say(user.pick(SMALL_TALK), actor=user.pick((user.name, user.other)))


def generate(seed: int, *, users: int = 21, distractors: int = 100) -> Corpus:
    """Return the corpus of a seed.

    Args:
        seed: One of `TUNING` or `HELD_OUT`.
        users: Users; each is asked 30 questions.
        distractors: Messages of small talk for each user, 100 to 10,000 for a harder corpus.
    """
    draw = random.Random(seed)
    said: list[Said] = []
    queries: list[Query] = []
    for number in range(users):
        name, other = draw.sample(NAMES, 2)
        user = _User(f"user-{number}", name, other, random.Random(f"{seed}/{number}"))
        _write(user, distractors)
        said += user.said
        queries += user.queries
    said.sort(key=lambda one: (one.at, one.id))
    return Corpus(tuple(said), tuple(queries))
