"""One user's conversations while they are written."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from benchmarks.corpus.model import Kind, Query, Said
from benchmarks.corpus.small_talk import small_talk
from benchmarks.corpus.wording import to_the_face

SESSIONS = 12
_BEGIN = datetime(2025, 1, 6, 9, tzinfo=UTC)
_STARTS = tuple(_BEGIN + timedelta(days=31 * month) for month in range(SESSIONS))
_HOURS = 5 * 3_600  # what a session lasts, in seconds


def name_of(month: int) -> str:
    """Return how the month of a session is called."""
    return _STARTS[month].strftime("%B %Y")


@dataclass(slots=True)
class User:
    """What one user and another person say, and the questions about the user."""

    id: str
    name: str
    other: str
    draw: random.Random
    said: list[Said] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)

    def say(
        self, text: str, *, actor: str | None = None, month: int | None = None, second: int = -1
    ) -> str:
        """Add a message to the session of a month, both at random if none is given."""
        month = self.draw.randrange(SESSIONS) if month is None else month
        second = self.second() if second < 0 else second
        said = Said(
            id=f"{self.id}-{len(self.said)}",
            user=self.id,
            session=f"s{month}",
            actor=actor or self.name,
            text=text[0].upper() + text[1:],
            at=_STARTS[month] + timedelta(seconds=second),
        )
        self.said.append(said)
        return said.id

    def second(self) -> int:
        """Return a moment of a session, in seconds."""
        return self.draw.randrange(_HOURS)

    def ask(
        self, category: str, text: str, evidence: tuple[str, ...], stale: tuple[str, ...] = ()
    ) -> None:
        text = text.format(n=self.name)
        query = Query(user=self.id, category=category, text=text, evidence=evidence, stale=stale)
        self.queries.append(query)

    def pick(self, among: Sequence[str]) -> str:
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
            self.say(to_the_face(self.pick(kind.asks)), actor=self.other)

    def chat(self, messages: int) -> None:
        """Add messages of small talk; a reply follows its question."""
        random_float = self.draw.random
        for_now = len(self.said)
        while len(self.said) - for_now < messages:
            month = int(random_float() * SESSIONS)
            second = int(random_float() * _HOURS)
            one, two = (self.name, self.other)[:: 1 if random_float() < 0.5 else -1]
            left = messages + for_now - len(self.said)
            for text, actor in zip(small_talk(self.draw)[:left], (one, two), strict=False):
                self.say(text, actor=actor, month=month, second=second)
                second += 20
