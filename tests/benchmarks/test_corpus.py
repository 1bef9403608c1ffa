"""What a figure measured on the corpus rests on."""

import re
import time
from collections import Counter, defaultdict
from itertools import combinations
from string import Formatter

import pytest
from benchmarks.corpus import CATEGORIES, HELD_OUT, POOLED, TUNING, Corpus, generate
from benchmarks.corpus.codes import CODE_ASKS, CODES, REVERSE_ASKS, THINGS
from benchmarks.corpus.kinds import KINDS
from benchmarks.corpus.languages import LANGUAGES
from benchmarks.corpus.model import Kind, Query, Said
from benchmarks.corpus.names import NAMES
from benchmarks.corpus.negations import NEGATIONS
from benchmarks.corpus.opinions import OPINION_ASKS, OPINIONS
from benchmarks.corpus.small_talk import SHAPES
from benchmarks.corpus.wording import CHANGES, to_the_face, within

from memlane.lexical import terms, words

CORPUS = generate(12)
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
OF_KINDS = ("single", "update", "point in time", "long message", "no answer")
FORMATTER = Formatter()
CODE = re.compile(r"[QXKVZ]{2}\d-\d{4}")


def fields(text: str) -> list[str]:
    return [field for _, field, _, _ in FORMATTER.parse(text) if field is not None]


def asked_about(corpus: Corpus) -> list[tuple[Query, str, Kind]]:
    """Return each question about one kind in plain words, whose name it has, and the kind."""
    known = {
        within(ask).format(n=name): (name, kind)
        for kind in KINDS
        for ask in kind.asks
        for name in NAMES
    }
    found: list[tuple[Query, str, Kind]] = []
    for query in corpus.queries:
        if query.category in OF_KINDS:
            text = query.text.partition(": ")[2] or query.text
            found.append((query, *known[text[0].lower() + text[1:]]))
    return found


def statements(kind: Kind) -> set[str]:
    texts = (say.format(v=value) for say in kind.says for value in kind.values)
    return {text[0].upper() + text[1:] for text in texts}


def test_there_are_kinds_enough_and_each_is_its_own() -> None:
    assert len(KINDS) >= 40
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert sum(kind.changes for kind in KINDS) >= 40


@EACH_KIND
def test_a_kind_has_six_wordings_and_the_places_to_fill(kind: Kind) -> None:
    assert len(set(kind.says)) == len(set(kind.asks)) == 6
    assert len(set(kind.values)) == len(kind.values) >= 5
    for statement in (*kind.says, kind.apart[0], kind.plan, kind.past):
        assert fields(statement) == ["v"], statement
        assert statement.endswith(".")
    for question in (*kind.asks, kind.apart[1]):
        assert fields(question) == ["n"], question
        assert question.endswith("?")
    assert not {kind.plan, kind.past, kind.apart[0]} & set(kind.says)


@EACH_KIND
def test_wordings_of_one_kind_differ_in_more_than_small_words(kind: Kind) -> None:
    for these in (kind.says, kind.asks):
        for one, other in combinations(these, 2):
            assert re.findall(r"\w+", one.lower()) != re.findall(r"\w+", other.lower())


@EACH_KIND
def test_paraphrases_share_no_content_word(kind: Kind) -> None:
    statement, question = kind.apart
    asked = question.format(n="Marta")
    for value in kind.values:
        told = statement.format(v=value)
        assert not set(words(told)) & set(words(asked))
        assert not set(terms(told).tolist()) & set(terms(asked).tolist())


@EACH_KIND
def test_a_question_is_also_asked_to_the_face(kind: Kind) -> None:
    for question in (*kind.asks, kind.apart[1]):
        spoken = to_the_face(question)
        assert "{" not in spoken
        assert re.search(r"\byou(r|rs)?\b", spoken), question
        assert not re.search(r"\byou (is|has|was|does|\w+[^s]s)\b", spoken), spoken
        assert not re.search(r"\b(is|does|has|was|of) you\b", spoken), spoken
        assert not re.search(r"\byour\W*$", spoken), spoken


def test_no_kind_has_the_words_of_another() -> None:
    for of in ("says", "asks"):
        texts = [text for kind in KINDS for text in getattr(kind, of)]
        assert len(set(texts)) == len(texts)
    questions = Counter(question for kind in KINDS for question in {*kind.asks, kind.apart[1]})
    assert max(questions.values()) == 1
    values = Counter(value for kind in KINDS for value in kind.values)
    assert max(values.values()) == 1
    assert not {word for value in values for word in value.split()} & set(NAMES)


def test_what_is_no_kind_has_wordings_enough() -> None:
    assert len(set(CODES)) == len(set(CODE_ASKS)) == len(set(REVERSE_ASKS)) == 6
    assert len(set(OPINIONS)) == len(set(OPINION_ASKS)) == 6
    assert len(set(CHANGES) - {""}) >= 6
    assert len(THINGS) >= 12
    assert len(NEGATIONS) >= 8
    for negation in NEGATIONS:
        assert len(set(negation.refused)) >= 2
        assert len(set(negation.asks)) >= 2
        assert len(set(negation.values)) >= 3
    assert len(LANGUAGES) >= 12
    assert len({question for _, question, _ in LANGUAGES}) == len(LANGUAGES)


def test_a_seed_gives_the_same_corpus_each_time_and_another_seed_another() -> None:
    assert generate(12) == CORPUS
    others = [generate(seed) for seed in TUNING]
    assert all(one != other for one, other in combinations(others, 2))


def test_a_corpus_with_more_small_talk_asks_the_same() -> None:
    assert generate(12, distractors=200).queries == CORPUS.queries


def test_every_category_is_asked_and_there_are_questions_enough() -> None:
    assert {query.category for query in CORPUS.queries} == set(CATEGORIES)
    assert len(CORPUS.queries) >= 600
    assert min(Counter(query.user for query in CORPUS.queries).values()) >= 30


def test_evidence_exists_and_belongs_to_the_user_who_is_asked_about() -> None:
    owner = {said.id: said.user for said in CORPUS.said}
    assert len(owner) == len(CORPUS.said)
    for query in CORPUS.queries:
        assert bool(query.evidence) is (query.category != "no answer")
        assert {owner[each] for each in query.evidence + query.stale} <= {query.user}
        assert not set(query.evidence) & set(query.stale)


def test_the_user_says_the_evidence_and_nobody_says_it_a_second_time() -> None:
    by_id = {said.id: said for said in CORPUS.said}
    times = Counter((said.user, said.text) for said in CORPUS.said)
    actors: dict[str, set[str]] = defaultdict(set)
    for query in CORPUS.queries:
        for each in query.evidence + query.stale:
            actors[query.user].add(by_id[each].actor)
            assert times[query.user, by_id[each].text] == 1
    assert {len(names) for names in actors.values()} == {1}


def test_the_newest_statement_answers_an_update() -> None:
    when = {said.id: said.at for said in CORPUS.said}
    for query in CORPUS.queries:
        if query.category == "update":
            assert when[query.stale[0]] < when[query.evidence[0]]
        if query.category == "point in time":
            assert when[query.evidence[0]] < when[query.stale[0]]


def test_what_does_not_change_is_not_changed() -> None:
    assert all(kind.changes for query, _, kind in asked_about(CORPUS) if query.stale)


def test_two_sessions_hold_the_two_parts_of_an_answer() -> None:
    session = {said.id: said.session for said in CORPUS.said}
    for query in CORPUS.queries:
        if query.category == "two sessions":
            assert len({session[each] for each in query.evidence}) == 2


def test_the_other_person_tells_the_same_kind_of_fact_and_the_user_only_if_it_is_evidence() -> None:
    told: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for said in CORPUS.said:
        told[said.user].add((said.actor, said.text))
    for query, name, kind in asked_about(CORPUS):
        actors = {actor for actor, text in told[query.user] if text in statements(kind)}
        assert actors - {name}
        if query.category == "no answer":
            assert name not in actors


def test_other_users_tell_facts_of_the_same_kinds() -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for query, _, kind in asked_about(CORPUS):
        users[kind.name].add(query.user)
    assert len(users) == len(KINDS)
    assert min(map(len, users.values())) >= 2


def test_plans_the_past_and_questions_are_said_too() -> None:
    texts = {said.text for said in CORPUS.said}
    for of in ("plan", "past"):
        every = {getattr(kind, of).format(v=value) for kind in KINDS for value in kind.values}
        assert len({text[0].upper() + text[1:] for text in every} & texts) >= 40
    asked = {to_the_face(ask) for kind in KINDS for ask in kind.asks}
    assert len(asked & texts) >= 40


def _read(text: str) -> tuple[str, str] | None:
    """Return the thing and the code that a message is about."""
    for say in CODES:
        for of, sort in THINGS:
            code = CODE.search(text)
            if code and text == say.format(o=of, s=sort, v=code[0]):
                return f"{of} {sort}", code[0]
    return None


def test_codes_are_asked_for_and_looked_up_half_and_half() -> None:
    told: dict[str, list[tuple[Said, str, str]]] = defaultdict(list)
    for said in CORPUS.said:
        if read := _read(said.text):
            told[said.user].append((said, *read))
    by_id = {each[0].id: each for all_of in told.values() for each in all_of}
    forward = reverse = 0
    for query in CORPUS.queries:
        if query.category != "exact code":
            continue
        said, thing, code = by_id[query.evidence[0]]
        beside = [(one.actor, of, its) for one, of, its in told[said.user] if one is not said]
        assert code not in {its for _, _, its in beside}
        if code in query.text:
            reverse += 1
            assert len([actor for actor, _, its in beside if its[:4] == code[:4]]) == 3
        else:
            forward += 1
            assert CODE.search(query.text) is None
            assert all(word in query.text for word in thing.split())
            assert [actor for actor, of, _ in beside if of == thing] != []
            assert said.actor not in {actor for actor, of, _ in beside if of == thing}
            assert len([actor for actor, _, _ in beside if actor == said.actor]) >= 5
    assert forward == reverse > 20


def test_long_messages_are_long_and_hold_the_fact() -> None:
    by_id = {said.id: said.text for said in CORPUS.said}
    for query in CORPUS.queries:
        if query.category == "long message":
            text = by_id[query.evidence[0]]
            assert len(text.split()) >= 600
            sentences = re.split(r"(?<=[.?!]) ", text)
            assert len(set(sentences)) > 0.9 * len(sentences)
            assert any(statements(kind) & set(sentences) for kind in KINDS)


def test_small_talk_hardly_repeats_itself_and_says_nothing_that_is_asked() -> None:
    assert sum(shape.distinct for shape in SHAPES) >= 20_000
    plain = generate(12, users=1, distractors=100)
    many = generate(12, users=1, distractors=10_000)
    assert len(many.said) - len(plain.said) == 9_900
    before = {said.text for said in plain.said}
    chatter = [said.text for said in many.said if said.text not in before]
    assert len(set(chatter)) > 0.9 * len(chatter)
    lengths = Counter(len(text.split()) for text in chatter)
    assert min(lengths) <= 5
    assert max(lengths) >= 25
    of_me = sum(bool(re.search(r"\b(I|my|me)\b", text, re.IGNORECASE)) for text in chatter)
    assert of_me > 0.4 * len(chatter)
    told = {text for kind in KINDS for text in statements(kind)}
    assert not told & set(chatter)


def test_a_question_of_small_talk_has_its_reply_in_the_session() -> None:
    said = generate(12, users=1).said
    for one in said:
        if one.text.startswith(("Did you", "Do you know why")):
            soon = [
                other
                for other in said
                if other.session == one.session
                and other.actor != one.actor
                and 0 < (other.at - one.at).total_seconds() <= 20
            ]
            assert soon or int(one.id.rpartition("-")[2]) == len(said) - 1


def test_a_large_corpus_is_quickly_made() -> None:
    began = time.perf_counter()
    corpus = generate(12, distractors=10_000)
    assert len(corpus.said) > 210_000
    assert time.perf_counter() - began < 20  # 1 to 2 seconds on an idle machine
    assert list(corpus.said) == sorted(corpus.said, key=lambda one: one.at)


def test_nothing_is_tuned_on_what_is_published() -> None:
    assert not set(TUNING) & {*HELD_OUT, *POOLED}
    assert len(HELD_OUT) == 3
    assert not set(HELD_OUT) & set(POOLED)
