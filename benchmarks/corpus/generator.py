"""From a seed to conversations and questions, the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from operator import attrgetter

from benchmarks.corpus.codes import CODE_ASKS, CODES, REVERSE_ASKS, THINGS
from benchmarks.corpus.corrections import CORRECTIONS, REPLIES, STILL
from benchmarks.corpus.kinds import KINDS
from benchmarks.corpus.languages import LANGUAGES
from benchmarks.corpus.lookalikes import ALIKE
from benchmarks.corpus.model import Corpus, Kind, Query, Said
from benchmarks.corpus.names import NAMES
from benchmarks.corpus.negations import NEGATIONS
from benchmarks.corpus.opinions import OPINION_ASKS, OPINIONS, TOPICS
from benchmarks.corpus.pasts import PASTS
from benchmarks.corpus.small_talk import small_talk
from benchmarks.corpus.user import SESSIONS, User, name_of
from benchmarks.corpus.wording import CHANGES, to_the_face, within

__all__ = ("generate",)

_LONG = 600  # words


def _told(user: User, kind: Kind, *, month: int | None = None) -> str:
    values = user.values(kind)
    user.traps(kind, values)
    return user.say(user.pick(kind.says).format(v=values[0]), month=month)


def _single(user: User, kind: Kind) -> None:
    user.ask("single", user.pick(kind.asks), (_told(user, kind),))


def _months(user: User) -> tuple[int, int]:
    before = user.draw.randrange(5)
    return before, user.draw.randrange(before + 2, SESSIONS)


def _changed(user: User, kind: Kind) -> tuple[str, str, range]:
    """Tell a fact and later its change; return both ids and the months the first was true."""
    values = user.values(kind)
    user.traps(kind, values)
    before, after = _months(user)
    old = user.say(user.pick(kind.says).format(v=values[0]), month=before)
    change = user.pick(CHANGES)
    statement = user.pick(kind.says)
    text = (change + within(statement) if change else statement).format(v=values[1])
    return old, user.say(text, month=after), range(before, after)


def _update(user: User, kind: Kind) -> None:
    old, new, _ = _changed(user, kind)
    user.ask("update", user.pick(kind.asks), (new,), (old,))


def _point_in_time(user: User, kind: Kind) -> None:
    old, new, months = _changed(user, kind)
    month = name_of(user.draw.choice(months))
    user.ask("point in time", f"As of {month}: {within(user.pick(kind.asks))}", (old,), (new,))


def _past(user: User, kind: Kind) -> None:
    old, new, _ = _changed(user, kind)
    user.ask("past", user.pick(PASTS[kind.name]), (old,), (new,))


def _correction(user: User, kind: Kind, *, reply: bool) -> None:
    """Tell a fact and put it right later, in a sentence of its own or in reply to a question."""
    values = user.values(kind)
    user.traps(kind, values)
    before, after = _months(user)
    old = user.say(user.pick(kind.says).format(v=values[0]), month=before)
    if reply:
        second = user.second()
        asked = to_the_face(user.pick(kind.asks))
        doubt = user.pick(STILL).format(ask=asked, v=values[0])
        user.say(doubt, actor=user.other, month=after, second=second)
        text = user.pick(REPLIES).format(v=values[1])
        new = user.say(text, month=after, second=second + 20)
    else:
        statement = user.pick(CORRECTIONS) + within(user.pick(kind.says))
        new = user.say(statement.format(v=values[1]), month=after)
    user.ask("correction", user.pick(kind.asks), (new,), (old,))


def _lookalikes(user: User) -> None:
    """Ask for one of two things; as often for that which was told first as for the other."""
    for place, alike in enumerate(user.draw.sample(ALIKE, 2)):
        told: list[tuple[str, str]] = []
        values = user.draw.sample(alike.values, 3)
        things = user.draw.sample(alike.things, 2)
        for thing, value, month in zip(things, values, _months(user), strict=False):
            text = user.pick(alike.says).format(t=thing, v=value)
            told.append((user.say(text, month=month), thing))
        other = user.pick(alike.says).format(t=user.pick(things), v=values[2])
        user.say(other, actor=user.other)
        found, thing = told[place]
        user.ask("lookalike", user.pick(alike.asks).replace("{t}", thing), (found,))


def _two(user: User, first: Kind, second: Kind) -> None:
    before, after = user.draw.sample(range(SESSIONS), 2)
    evidence = (_told(user, first, month=before), _told(user, second, month=after))
    question = f"{user.pick(first.asks)} And {within(user.pick(second.asks))}"
    user.ask("two sessions", question, evidence)


def _paraphrase(user: User, kind: Kind) -> None:
    values = user.values(kind)
    user.traps(kind, values)
    statement, question = kind.apart
    user.ask("paraphrase", question, (user.say(statement.format(v=values[0])),))


def _long(user: User, kind: Kind) -> None:
    values = user.values(kind)
    user.traps(kind, values)
    sentences: list[str] = []
    while sum(len(sentence.split()) for sentence in sentences) < _LONG:
        text = small_talk(user.draw)[0]
        sentences.append(text[0].upper() + text[1:])
    fact = user.pick(kind.says).format(v=values[0])
    sentences.insert(user.draw.randrange(len(sentences)), fact[0].upper() + fact[1:])
    user.ask("long message", user.pick(kind.asks), (user.say(" ".join(sentences)),))


def _no_answer(user: User, kind: Kind) -> None:
    user.traps(kind, user.values(kind))
    user.ask("no answer", user.pick(kind.asks), ())


def _new_codes(user: User, many: int) -> Iterator[str]:
    """Yield codes that begin differently: other numbers behind a beginning are free."""
    for letters in user.draw.sample(list(product("QXKVZ", repeat=2)), many):
        number = user.draw.randrange(1_000, 9_000)
        yield f"{''.join(letters)}{number % 10}-{number}"


def _tell_code(user: User, thing: tuple[str, str], code: str, *, actor: str | None = None) -> str:
    of, sort = thing
    return user.say(user.pick(CODES).format(o=of, s=sort, v=code), actor=actor)


def _codes(user: User) -> None:
    """Ask for two codes and for what two other codes are; the other person has codes too."""
    things = user.draw.sample(THINGS, 12)
    codes = _new_codes(user, 8)
    for thing in things[:2]:
        found = _tell_code(user, thing, next(codes))
        _tell_code(user, thing, next(codes), actor=user.other)
        of, sort = thing
        question = user.pick(CODE_ASKS).format(n=user.name, o=of, s=sort)
        user.ask("exact code", question, (found,))
    others = iter(things[6:])
    for thing in things[2:4]:
        code = next(codes)
        found = _tell_code(user, thing, code)
        head, number = code.split("-")
        for away in (1, 10, 100):
            near = f"{head}-{int(number) + away}"
            _tell_code(user, next(others), near, actor=user.other)
        user.ask("exact code", user.pick(REVERSE_ASKS).replace("{v}", code), (found,))
    for thing in things[4:6]:
        _tell_code(user, thing, next(codes))


def _opinions(user: User) -> None:
    for topic in user.draw.sample(TOPICS, 2):
        mine, theirs = user.draw.sample(OPINIONS, 2)
        found = user.say(mine.format(t=topic))
        user.say(theirs.format(t=topic), actor=user.other)
        user.ask("who said it", user.pick(OPINION_ASKS).replace("{t}", topic), (found,))


def _negations(user: User) -> None:
    for negation in user.draw.sample(NEGATIONS, 2):
        first, second, third = user.draw.sample(negation.values, 3)
        found = user.say(user.pick(negation.refused).format(v=first))
        user.say(user.pick(negation.done).format(v=second))
        user.say(user.pick(negation.refused).format(v=third), actor=user.other)
        user.ask("negation", user.pick(negation.asks), (found,))


def _languages(user: User) -> None:
    for statement, question, values in user.draw.sample(LANGUAGES, 2):
        mine, theirs = user.draw.sample(values, 2)
        found = user.say(statement.format(v=mine))
        user.say(statement.format(v=theirs), actor=user.other)
        user.ask("other language", question, (found,))


def _write(user: User, distractors: int) -> None:
    order = user.draw.sample(KINDS, len(KINDS))
    changing = [kind for kind in order if kind.changes]
    for kind in changing[:4]:
        _update(user, kind)
    for kind in changing[4:8]:
        _point_in_time(user, kind)
    kinds = (kind for kind in order if kind not in changing[:8])
    for _ in range(4):
        _single(user, next(kinds))
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
    left = list(kinds)
    for kind in [kind for kind in left if kind.name in PASTS][:2]:
        left.remove(kind)
        _past(user, kind)
    correctable = [kind for kind in left if kind.changes]
    for number in range(4):
        _correction(user, correctable[number], reply=number % 2 == 0)
    _lookalikes(user)
    user.chat(distractors)


def generate(seed: int, *, users: int = 21, distractors: int = 100) -> Corpus:
    """Return the corpus of a seed.

    Args:
        seed: One of `TUNING` or `HELD_OUT`.
        users: Users; each is asked 40 questions.
        distractors: Messages of small talk for each user, 100 to 10,000 for a harder corpus.
    """
    draw = random.Random(seed)
    said: list[Said] = []
    queries: list[Query] = []
    for number in range(users):
        name, other = draw.sample(NAMES, 2)
        user = User(f"user-{number}", name, other, random.Random(f"{seed}/{number}"))
        _write(user, distractors)
        said += user.said
        queries += user.queries
    said.sort(key=attrgetter("at"))
    return Corpus(tuple(said), tuple(queries))
