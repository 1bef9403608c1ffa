"""What says nearly the same is found by meaning and made sure of by words; in doubt both stay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.bare import BareBackend
from memlane import (
    ConflictError,
    Image,
    MemoryClient,
    NewMemory,
    PartialWriteError,
    Scope,
    Text,
    ValidationError,
)
from memlane.duplicates import NEAR, are_near, say_the_same
from memlane.errors import BackendError
from memlane.limits import Limits
from memlane.local import InMemoryBackend, MiniLMEmbedder, SqliteBackend
from memlane.testing import CountingBackend, FailingBackend, FakeClock, HashingEmbedder, png

ADA = Scope("ada", tenant="acme", agent="support")
NOW = FakeClock().now()

ALIKE = [
    ("Prefers window seats", "prefers window seats."),
    ("I'm allergic to peanuts", "I am allergic to peanuts"),
    ("My sister lives in Porto", "My sister is living in Porto"),
    ("We moved to Lisbon last spring", "Last spring we moved to Lisbon"),
    ("I don\u2019t eat meat", "I do not eat meat"),
    ("I cannot eat meat", "I can't eat meat"),
    (
        "The invoice of $1,200.50 is due on the 4th of May",
        "Invoice of $1,200.50 is due on 4 of May",
    ),
]
DIFFERENT = [
    ("I have two children", "I have three children"),
    ("Room 12 is booked", "Room 21 is booked"),
    ("The code is aB3", "The code is ab3"),
    ("It is -5 degrees", "It is 5 degrees"),
    ("It costs 10\u20ac", "It costs 10%"),
    ("I know C", "I know C++"),
    ("I eat meat", "I don't eat meat"),
    ("Ich esse Fleisch", "Ich esse kein Fleisch"),
    ("She arrives on Monday", "She arrives on Tuesday"),
    ("Does she like tea?", "She does like tea."),
    ("The left knee hurts", "The right knee hurts"),
    ("The deploy runs before the tests", "The deploy runs after the tests"),
    ("Alice owes Bob money", "Bob owes Alice money"),
    ("alice owes bob money", "bob owes alice money"),
    ("The flight Porto to Lisbon", "The flight Lisbon to Porto"),
    ("Porto to Lisbon", "Lisbon to Porto"),
    ("Porto - Lisbon", "Lisbon - Porto"),
    ("Her mother is a doctor", "Her father is a doctor"),
    ("Enable dark mode in the editor", "Disable dark mode in the editor"),
    ("I smoke", "I stopped smoking"),
    ("I live in Porto", "I will live in Porto"),
    ("He likes opera", "She likes opera"),
    ("The server was up", "The server is up"),
    ("\u6211\u5403\u8089", "\u6211\u4e0d\u5403\u8089"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_texts_that_say_the_same(one: str, other: str) -> None:
    """Endings, articles, spelling of a negation and one moved part make no difference."""
    for first, second in ((one, other), (other, one)):
        assert are_near(first, second)
        assert say_the_same(first, second)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_do_not(one: str, other: str) -> None:
    """A number, a denial, an order, or any word that the other has not."""
    for first, second in ((one, other), (other, one)):
        assert not (are_near(first, second) and say_the_same(first, second))


@pytest.mark.parametrize(("one", "other"), DIFFERENT[:10])
def test_numbers_and_negations_are_not_even_near(one: str, other: str) -> None:
    """Those are facts in themselves, whatever a model thinks of them."""
    assert not are_near(one, other)
    assert not are_near(other, one)


async def test_the_bundled_model_puts_them_near() -> None:
    """What says the same in the same words is within the threshold, which other cities are not."""
    model = MiniLMEmbedder()

    async def cosine(*pair: str) -> float:
        vectors = await model.embed(pair, purpose="document")
        one, other = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float(one @ other)

    try:
        assert sum([await cosine(*pair) >= NEAR for pair in ALIKE]) >= 6
        assert await cosine("I live in Porto", "I live in Lisbon") < NEAR
    finally:
        await model.aclose()


@pytest.fixture(params=["memory", "sqlite"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CountingBackend]:
    """Each local store, counted."""
    inner: Any = (
        InMemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "memory.db")
    )
    yield CountingBackend(inner)
    await inner.aclose()


@pytest.fixture
def client(backend: CountingBackend, clock: FakeClock) -> MemoryClient:
    """A client that stores three records at a time."""
    return MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=clock, limits=Limits(batch=3)
    )


def _near(client: MemoryClient) -> Sequence[str]:
    receipt = client.last_receipt()
    assert receipt is not None
    return receipt.near_duplicates


async def test_reporting_stores_and_tells(client: MemoryClient) -> None:
    """Both are there; the receipt names the one that was."""
    first = await client.store("My dog is called Rex", scope=ADA, duplicates="report")
    assert _near(client) == ()
    second = await client.store("my dog is called Rex.", scope=ADA, duplicates="report")
    assert _near(client) == (first.id,)
    assert second.id != first.id
    assert await client.count(scope=ADA) == 2


async def test_collapsing_returns_the_one_there(client: MemoryClient) -> None:
    """Nothing is stored, and the record comes back as it is."""
    first = await client.store("My dog is called Rex", scope=ADA, tags=["pet"])
    again = await client.store("my dog is called Rex.", scope=ADA, duplicates="collapse")
    assert again == first
    assert _near(client) == (first.id,)
    assert await client.count(scope=ADA) == 1


async def test_near_is_not_the_same(clock: FakeClock) -> None:
    """What a model alone takes for the same is told, and stored nevertheless."""
    model = MiniLMEmbedder()
    client = MemoryClient(backend=InMemoryBackend(), embedder=model, clock=clock)
    try:
        left = await client.store("The left knee hurts", scope=ADA)
        right = await client.store("The right knee hurts", scope=ADA, duplicates="collapse")
        assert _near(client) == (left.id,)
        assert right.text == "The right knee hurts"
        assert await client.count(scope=ADA) == 2
    finally:
        await model.aclose()


async def test_keeping_costs_nothing(client: MemoryClient, backend: CountingBackend) -> None:
    """Nothing is asked of the backend, and nothing told."""
    for _ in range(2):
        await client.store("My dog is called Rex", scope=ADA)
    assert backend.calls["query"] == 0
    assert _near(client) == ()
    await client.store("My dog is called Rex", scope=ADA, duplicates="report")
    assert backend.calls["query"] == 1


OTHERS: list[dict[str, Any]] = [
    {"scope": Scope("eve", tenant="acme", agent="support")},
    {"scope": Scope("ada", tenant="other", agent="support")},
    {"scope": Scope("ada", tenant="acme")},
    {"namespace": "/pets/"},
    {"kind": "message"},
    {"actor": "Ada"},
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
async def test_what_lies_elsewhere_is_no_duplicate(
    client: MemoryClient, other: dict[str, Any]
) -> None:
    """Another's record, or one of another namespace, kind or speaker, says it for itself."""
    text = "My dog is called Rex"
    for first, second in (({}, other), (other, {})):
        one = await client.store(text, **{"scope": ADA, **first})
        two = await client.store(text, duplicates="collapse", **{"scope": ADA, **second})
        assert _near(client) == ()
        assert one.id != two.id
        for record in (one, two):
            await client.delete(record.id, scope=record.scope)


HOUR = timedelta(hours=1)
WORSE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ends": ({"ttl": HOUR}, {}),
    "ends sooner": ({"ttl": HOUR}, {"ttl": 2 * HOUR}),
    "holds no more": ({"valid_to": NOW}, {}),
    "holds for ever": ({}, {"valid_to": NOW + HOUR}),
    "holds since": ({}, {"valid_from": NOW - HOUR}),
    "holds from": ({"valid_from": NOW + HOUR}, {}),
    "happened later": ({}, {"occurred_at": NOW - HOUR}),
    "trusted less": ({"source": "tool"}, {"source": "user"}),
    "of a file": ({"source": "import"}, {}),
    "other value": ({"metadata": {"k": 1}}, {"metadata": {"k": 2}}),
    "other type": ({"metadata": {"k": 1}}, {"metadata": {"k": True}}),
    "no such key": ({}, {"metadata": {"k": None}}),
    "other depth": ({"metadata": {"k": {"a": [1]}}}, {"metadata": {"k": {"a": [1, 2]}}}),
    "other tag": ({"tags": ["pet"]}, {"tags": ["dog"]}),
    "id of its own": ({"record_id": "rex"}, {"record_id": "mine"}),
}
AS_GOOD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "never ends": ({}, {"ttl": HOUR}),
    "ends later": ({"ttl": 2 * HOUR}, {"ttl": HOUR}),
    "ends then": ({"ttl": HOUR}, {"ttl": HOUR}),
    "holds as long": ({"valid_to": NOW + HOUR}, {"valid_to": NOW + HOUR}),
    "happened sooner": ({"occurred_at": NOW - HOUR}, {}),
    "trusted more": ({"source": "user"}, {"source": "tool"}),
    "says more": ({"metadata": {"k": {"a": [1], "b": 2}, "l": 1}}, {"metadata": {"l": 1}}),
    "says it too": ({"metadata": {"k": {"b": 2, "a": 1}}}, {"metadata": {"k": {"a": 1, "b": 2}}}),
    "more tags": ({"tags": ["pet", "dog"]}, {"tags": ["dog"]}),
}


@pytest.mark.parametrize(("there", "new"), WORSE.values(), ids=WORSE)
async def test_nothing_is_lost_to_one_that_serves_worse(
    client: MemoryClient, there: dict[str, Any], new: dict[str, Any]
) -> None:
    """What is there is told, and what was to be stored is stored as it was said."""
    first = await client.store("My dog is called Rex", scope=ADA, **there)
    second = await client.store("My dog is called Rex", scope=ADA, duplicates="collapse", **new)
    assert _near(client) == (first.id,)
    assert second.id != first.id
    assert await client.get(second.id, scope=ADA) == second


@pytest.mark.parametrize(("there", "new"), AS_GOOD.values(), ids=AS_GOOD)
async def test_what_serves_as_well_is_enough(
    client: MemoryClient, there: dict[str, Any], new: dict[str, Any]
) -> None:
    """It is kept as long, holds as long, is as trusted and says all that the new one does."""
    first = await client.store("My dog is called Rex", scope=ADA, **there)
    second = await client.store("My dog is called Rex", scope=ADA, duplicates="collapse", **new)
    assert second == first


async def test_of_several_the_one_that_serves_is_taken(client: MemoryClient) -> None:
    """However near another one is; in one call too."""
    await client.store("My dog is called Rex", scope=ADA, ttl=HOUR)
    stays = await client.store("my dog is called Rex.", scope=ADA)
    wanted = NewMemory(content="My dog is called Rex", duplicates="collapse")
    items = [replace(wanted, ttl=HOUR, namespace="/pets/"), replace(wanted, namespace="/pets/")]
    found = await client.store_many([wanted, *items], scope=ADA)
    assert found[0] == stays
    assert [record.expires_at is None for record in found] == [True, False, True]
    assert await client.count(scope=ADA) == 4


async def test_what_another_session_said_stands_for_nothing(client: MemoryClient) -> None:
    """It is reported, and goes with its own session."""
    monday, tuesday = (replace(ADA, session=name) for name in ("monday", "tuesday"))
    first = await client.store("My dog is called Rex", scope=monday)
    again = await client.store("My dog is called Rex", scope=tuesday, duplicates="collapse")
    receipt = client.last_receipt()
    assert receipt is not None
    assert receipt.near_duplicates == (first.id,)
    await client.forget(monday)
    assert await client.get(again.id, scope=ADA) == again


async def test_within_one_call(client: MemoryClient) -> None:
    """Also of several stored together, in one batch or in two, the first is the one."""
    said = ["Rex is a dog", "I like tea", "Rex is a dog.", "rex is a dog", "I like tea!", "I run"]
    stored = await client.store_many(
        [NewMemory(content=text, duplicates="collapse") for text in said], scope=ADA
    )
    rex, tea, run = stored[0], stored[1], stored[5]
    assert list(stored) == [rex, tea, rex, rex, tea, run]
    assert _near(client) == (rex.id, rex.id, tea.id)
    assert await client.count(scope=ADA) == 3


async def test_what_stands_for_another_must_be_stored(clock: FakeClock) -> None:
    """When the first fails, nothing is said to be durable in its place."""
    backend = FailingBackend(InMemoryBackend())
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock)
    backend.fail("upsert", BackendError("the store is away"))
    items = [NewMemory(content=text, duplicates="collapse") for text in ("Rex is a dog",) * 2]
    with pytest.raises(BackendError, match="away") as caught:
        await client.store_many(items, scope=ADA)
    assert not isinstance(caught.value, PartialWriteError)
    assert await client.count(scope=ADA) == 0


async def test_an_id_of_ones_own_collapses_into_itself(client: MemoryClient) -> None:
    """To say the same twice under one id is no conflict then; to say another thing is."""
    first = await client.store("Rex is a dog", scope=ADA, record_id="rex")
    again = await client.store("Rex is a dog", scope=ADA, record_id="rex", duplicates="collapse")
    assert again == first
    with pytest.raises(ConflictError):
        await client.store("Max is a cat", scope=ADA, record_id="rex", duplicates="collapse")


async def test_two_pictures_of_one_caption_are_two(client: MemoryClient) -> None:
    """What they show is not in their words."""
    words = Text("On the beach")
    first = await client.store([words, Image(png("sand"))], scope=ADA)
    other = await client.store([words, Image(png("waves"))], scope=ADA, duplicates="collapse")
    assert _near(client) == ()
    again = await client.store([words, Image(png("sand"))], scope=ADA, duplicates="collapse")
    assert (again.id, other.id != first.id) == (first.id, True)
    named = Image(png("sand"), name="praia.png")
    called = await client.store([words, named], scope=ADA, duplicates="collapse")
    assert called.images[0].name == "praia.png"


async def test_a_failing_search_stores_nothing(clock: FakeClock) -> None:
    """And is raised as it is, of several that were asked at once."""
    backend = FailingBackend(InMemoryBackend())
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock)
    backend.fail("query", BackendError("the store is away"))
    items = [NewMemory(content=f"note {n}", duplicates="report") for n in range(20)]
    with pytest.raises(BackendError, match=r"store_many tenant=acme.*away"):
        await client.store_many(items, scope=ADA)
    assert await client.count(scope=ADA) == 0


async def test_what_has_expired_says_nothing(client: MemoryClient, clock: FakeClock) -> None:
    """It is in nobody's reach, and in nobody's place."""
    await client.store("Rex is a dog", scope=ADA, ttl=timedelta(hours=1))
    clock.advance(timedelta(hours=2))
    await client.store("Rex is a dog", scope=ADA, duplicates="collapse")
    assert _near(client) == ()
    assert await client.count(scope=ADA) == 1


async def test_another_word_is_refused(client: MemoryClient) -> None:
    """Before anything is stored."""
    wrong: Any = "merge"
    with pytest.raises(ValidationError, match=r"'merge'.*keep, report, collapse"):
        await client.store("x", scope=ADA, duplicates=wrong)
    assert await client.count(scope=ADA) == 0


async def test_a_repeated_event_is_the_first_record(client: MemoryClient) -> None:
    """Another text under its key is an error."""
    first = await client.store("Rex is a dog", scope=ADA, idempotency_key="k")
    assert await client.store("Rex is a dog", scope=ADA, idempotency_key="k") == first
    with pytest.raises(ConflictError, match="another content"):
        await client.store("Max is a cat", scope=ADA, idempotency_key="k")
    assert await client.count(scope=ADA) == 1


@pytest.mark.parametrize("keeps_versions", [True, False])
async def test_a_repeated_event_whose_record_was_changed(
    clock: FakeClock, keeps_versions: bool
) -> None:
    """What the event said is in the record's history; where there is none, it is taken for it."""
    backend = InMemoryBackend() if keeps_versions else BareBackend()
    client = MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock)
    first = await client.store("Rex is a dog", scope=ADA, idempotency_key="k")
    changed = await client.update(first.id, scope=ADA, text="Rex was a dog")
    assert await client.store("Rex is a dog", scope=ADA, idempotency_key="k") == changed
    if keeps_versions:
        with pytest.raises(ConflictError, match="another content"):
            await client.store("Max is a cat", scope=ADA, idempotency_key="k")
