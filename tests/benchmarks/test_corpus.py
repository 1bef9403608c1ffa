from benchmarks.corpus import CATEGORIES, HELD_OUT, TUNING, generate
from benchmarks.corpus.generator import KINDS

from memlane.lexical import words


def test_a_seed_gives_the_same_corpus_each_time_and_another_seed_another() -> None:
    assert generate(11) == generate(11)
    assert generate(11) != generate(12)


def test_every_category_is_asked_and_there_are_questions_enough() -> None:
    queries = generate(11).queries
    assert {query.category for query in queries} == set(CATEGORIES)
    assert len(queries) >= 600


def test_evidence_exists_and_belongs_to_the_user_who_is_asked_about() -> None:
    corpus = generate(12)
    owner = {said.id: said.user for said in corpus.said}
    assert len(owner) == len(corpus.said)
    for query in corpus.queries:
        assert bool(query.evidence) is (query.category != "no answer")
        assert {owner[each] for each in query.evidence + query.stale} <= {query.user}
        assert not set(query.evidence) & set(query.stale)


def test_the_newest_statement_answers_an_update() -> None:
    corpus = generate(12)
    when = {said.id: said.at for said in corpus.said}
    for query in corpus.queries:
        if query.category == "update":
            assert when[query.stale[0]] < when[query.evidence[0]]
        if query.category == "point in time":
            assert when[query.evidence[0]] < when[query.stale[0]]


def test_two_sessions_hold_the_two_parts_of_an_answer() -> None:
    corpus = generate(12)
    session = {said.id: said.session for said in corpus.said}
    for query in corpus.queries:
        if query.category == "two sessions":
            assert len({session[each] for each in query.evidence}) == 2


def test_paraphrases_share_no_content_word() -> None:
    for kind in KINDS:
        statement, question = kind.apart
        for value in kind.values:
            shared = set(words(statement.format(v=value))) & set(words(question.format(n="")))
            assert not shared, (kind.name, shared)


def test_long_messages_are_long() -> None:
    assert max(len(said.text.split()) for said in generate(11).said) >= 600


def test_nothing_is_tuned_on_what_is_published() -> None:
    assert not set(TUNING) & set(HELD_OUT)
