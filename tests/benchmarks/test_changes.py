"""What a figure about facts that change rests on: questions of the corpus, and the arithmetic."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest
from benchmarks.changes import difference
from benchmarks.corpus import Corpus, generate
from benchmarks.corpus.corrections import CORRECTIONS, REPLIES, STILL
from benchmarks.corpus.kinds import KINDS
from benchmarks.corpus.lookalikes import ALIKE
from benchmarks.corpus.model import Query, Said
from benchmarks.corpus.names import NAMES
from benchmarks.corpus.pasts import PASTS

from benchmarks import changes

CORPUS = generate(13)
BY_ID = {said.id: said for said in CORPUS.said}
OPENED = tuple(opening.rstrip() for opening in CORRECTIONS)


def _asked(category: str) -> list[Query]:
    return [query for query in CORPUS.queries if query.category == category]


def _before(said: Said) -> Said:
    """Return what was said before a message in its session."""
    session = [one for one in CORPUS.said if (one.user, one.session) == (said.user, said.session)]
    return session[session.index(said) - 1]


def test_there_are_wordings_enough() -> None:
    """Each has the places to fill, and none is there twice."""
    assert len(set(CORRECTIONS)) == len(CORRECTIONS) >= 6
    assert len(set(REPLIES)) == len(REPLIES) >= 6
    assert all(reply.count("{v}") == 1 for reply in REPLIES)
    assert all("{ask}" in doubt and "{v}" in doubt for doubt in STILL)
    known = {kind.name: kind for kind in KINDS}
    assert len(PASTS) >= 16
    for name, asks in PASTS.items():
        assert known[name].changes
        assert len(set(asks)) == len(asks) == 3
        assert not set(asks) & set(known[name].asks)
        assert all("{n}" in ask and ask.endswith("?") for ask in asks)


def test_things_that_look_alike_are_told_apart_by_a_word() -> None:
    """Both are said and asked in the same words, but for what they are called."""
    assert len(ALIKE) >= 16
    for alike in ALIKE:
        one, other = (set(re.findall(r"\w+", thing)) for thing in alike.things)
        assert one - other
        assert other - one
        assert len(set(alike.values)) >= 5
        for text in (*alike.says, *alike.asks):
            assert text.count("{t}") == 1
        assert not {word for value in alike.values for word in value.split()} & set(NAMES)


def test_a_correction_comes_after_what_it_corrects() -> None:
    """Half of them in a sentence of their own, half in reply to somebody's question."""
    replies = 0
    for query in _asked("correction"):
        new, old = BY_ID[query.evidence[0]], BY_ID[query.stale[0]]
        assert (new.user, new.actor) == (old.user, old.actor)
        assert old.at < new.at
        replies += not new.text.startswith(OPENED)
    assert len(_asked("correction")) == 2 * replies == 84


def test_a_bare_reply_follows_a_question_with_the_old_value() -> None:
    """So that what it is about can be known from what was said before it."""
    forms = [re.escape(reply).replace(r"\{v\}", "(.+)") for reply in REPLIES]
    found = 0
    for query in _asked("correction"):
        new, old = BY_ID[query.evidence[0]], BY_ID[query.stale[0]]
        if new.text.startswith(OPENED) or not any(re.fullmatch(form, new.text) for form in forms):
            continue
        before = _before(new)
        if before.actor == new.actor or "?" not in before.text:
            continue  # two moments of one session met
        found += 1
        assert 0 < (new.at - before.at).total_seconds() <= 20
        told = set(re.findall(r"\w+", old.text.lower()))
        assert told & set(re.findall(r"\w+", before.text.lower()))
    assert found >= 35


def test_a_question_about_the_past_is_answered_by_what_no_longer_holds() -> None:
    """And what holds now comes first wrongly."""
    assert len(_asked("past")) == 42
    for query in _asked("past"):
        assert BY_ID[query.evidence[0]].at < BY_ID[query.stale[0]].at


def test_either_of_two_alike_is_asked_for() -> None:
    """As often the one told first, which the other must not displace, as the other."""
    told: dict[str, list[Said]] = defaultdict(list)
    for said in CORPUS.said:
        told[said.user].append(said)
    first: Counter[bool] = Counter()
    for query in _asked("lookalike"):
        found = BY_ID[query.evidence[0]]
        rivals = [
            said
            for alike in ALIKE
            if any(thing in query.text for thing in alike.things)
            for said in told[query.user]
            if said is not found
            and said.actor == found.actor
            and any(thing in said.text for thing in alike.things)
        ]
        assert rivals
        first[all(found.at < rival.at for rival in rivals)] += 1
    assert min(first[True], first[False]) >= 15


def test_the_older_questions_are_as_they_were() -> None:
    """What is asked besides was added behind them."""
    categories = [query.category for query in CORPUS.queries if query.user == "user-0"]
    assert categories[32:] == ["past"] * 2 + ["correction"] * 4 + ["lookalike"] * 2


def test_a_difference_has_an_interval() -> None:
    """Of pairs: what both answer alike is no difference, and many pairs are surer than few."""
    assert difference([(0.0, 1.0), (1.0, 1.0)]) == (50.0, 100.0, 50.0, 69.3)
    assert difference([(0.5, 0.5)] * 9) == (50.0, 50.0, 0.0, 0.0)
    few, many = [(0.0, 1.0), (1.0, 0.0)], [(0.0, 1.0), (1.0, 0.0)] * 50
    assert difference(few).within > difference(many).within > 0


def test_the_switch_is_compared_on_every_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are kept by category, with the mean of those that should not change."""
    kept: dict[str, dict[str, dict[str, dict[str, float]]]] = {}

    def keep(name: str, question: str, figures: dict[str, dict[str, dict[str, float]]]) -> None:
        del question
        kept[name] = figures

    def small(seed: int, **_: int) -> Corpus:
        return generate(seed, users=1, distractors=5)

    monkeypatch.setattr(changes, "keep", keep)
    monkeypatch.setattr(changes, "generate", small)
    changes.main(seeds=(11,), name="tried")
    figures = kept["tried"]
    assert sum(figures["questions"].values()) == 37  # type: ignore[arg-type]
    table = figures["categories"]
    assert set(table["update"]) == {*changes.MEASURES}
    assert set(table["single"]) == {"R@1", "R@5", "R@10"}
    assert "mean of what does not change" in capsys.readouterr().out
