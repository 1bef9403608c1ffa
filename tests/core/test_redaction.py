"""A redactor sees all that is stored or asked before anybody else does, and fails closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import anyio
import pytest

from core.spying import Answering, Seen, SpyBackend, SpyEmbedder, hiding
from memlane import (
    BackendError,
    ConflictError,
    DeadlineExceededError,
    Finding,
    MemlaneError,
    MemoryClient,
    NewMemory,
    RedactedError,
    Redaction,
    RegexRedactor,
    Scope,
    UnavailableError,
    ValidationError,
)
from memlane.protocols import Redactor
from memlane.redaction import Redacting
from memlane.testing import FakeClock

ADA = Scope("ada", tenant="acme")
MAIL = "ada@example.com"


@pytest.fixture
def seen() -> Seen:
    """What was seen so far."""
    return Seen()


@pytest.fixture
def opened(seen: Seen, clock: FakeClock) -> Callable[[Redactor | None], MemoryClient]:
    """Clients over one spied store."""
    embedder, backend = SpyEmbedder(seen), SpyBackend(seen)
    return lambda redactor: MemoryClient(
        backend=backend, embedder=embedder, clock=clock, redactor=redactor
    )


@pytest.fixture
async def client(
    opened: Callable[[Redactor | None], MemoryClient],
) -> AsyncIterator[MemoryClient]:
    """A client with the default redactor."""
    async with opened(RegexRedactor()) as made:
        yield made


async def test_no_redactor_costs_nothing(opened: Any, seen: Seen) -> None:
    """Without one everything is as it was given: the very same objects."""
    redacting = Redacting(None)
    items = [NewMemory(content=MAIL)]
    changes = {"text": MAIL}
    assert await redacting.new_memories(items) is items
    assert await redacting.changes(changes) is changes
    assert await redacting.query(MAIL) is MAIL
    async with opened(None) as client:
        await client.store(MAIL, scope=ADA)
    assert seen.has(MAIL)


async def test_restoring_what_was_stored_before(opened: Any, seen: Seen) -> None:
    """An old version is redacted when it becomes the next one."""
    async with opened(None) as before:
        stored = await before.store(f"Write to {MAIL}", scope=ADA, metadata={"a": MAIL})
        await before.update(stored.id, scope=ADA, text="Write to nobody", metadata={})
    seen.words.clear()
    async with opened(RegexRedactor(action={"email": "redact"})) as after:
        restored = await after.restore(stored.id, scope=ADA, version=1)
    assert (restored.text, restored.metadata) == ("Write to [email]", {"a": "[email]"})
    assert not any("text='Write to ada" in each and "version=3" in each for each in seen.words)


async def test_the_same_event_is_the_same_when_redacted(client: MemoryClient) -> None:
    """A key and a text once more are the first record, and so is what differs in what is gone."""
    first = await client.store(f"from {MAIL}", scope=ADA, idempotency_key="k")
    assert await client.store(f"from {MAIL}", scope=ADA, idempotency_key="k") == first
    assert await client.store("from bob@example.org", scope=ADA, idempotency_key="k") == first
    with pytest.raises(ConflictError):
        await client.store("from nobody", scope=ADA, idempotency_key="k")


async def test_labels(opened: Any) -> None:
    """What a redactor tags is found by its tag; an update adds to those that are there."""
    async with opened(RegexRedactor(action={"email": "tag", "card": "block"})) as client:
        stored = await client.store(f"from {MAIL}", scope=ADA, tags=["post"])
        assert (stored.text, stored.tags) == (f"from {MAIL}", ("pii:email", "post"))
        listed = await client.list(scope=ADA, filter={"@tags": "pii:email"})
        assert [record.id for record in listed.items] == [stored.id]
        plain = await client.store("nothing", scope=ADA, tags=["post"])
        changed = await client.update(plain.id, scope=ADA, metadata={"a": MAIL})
        assert changed.tags == ("pii:email", "post")
        assert (await client.update(plain.id, scope=ADA, text=MAIL, tags=[])).tags == ("pii:email",)


async def test_numbers_are_shown_as_they_are_written(opened: Any) -> None:
    """A form or a tool has them as numbers; what is none of those taken out stays one."""
    card = 4111111111111111
    plain = {"n": 5, "t": 1_773_480_413, "f": 0.4111111111111111, "b": True, "huge": 1e300}
    async with opened(RegexRedactor()) as client:
        stored = await client.store(
            "x", scope=ADA, metadata={"card": card, "all": [float(card), {"c": -card}], **plain}
        )
    assert stored.metadata == {"card": "[card]", "all": ["[card]", {"c": "[card]"}], **plain}
    assert [type(stored.metadata[name]) for name in plain] == [*map(type, plain.values())]


async def test_only_numbers_of_seven_digits_are_shown(opened: Any) -> None:
    """So few are no telephone number; one of seven may be."""
    numbers = {"a": 999_999, "b": 1_000_000, "c": 10**7 + 0.5, "d": True}
    shown: list[str] = []

    class Noting:
        async def redact(self, text: str) -> Redaction:
            shown.append(text)
            return Redaction(text=text)

    async with opened(Noting()) as client:
        assert (await client.store("x", scope=ADA, metadata=numbers)).metadata == numbers
    assert shown == ["x", "a", "b", "b: 1000000", "c", "d"]


async def test_blocked_is_nothing_at_all(opened: Any, seen: Seen) -> None:
    """What may not be kept is refused whole: nothing of the call is embedded, stored or asked."""
    card = "4111 1111 1111 1111"
    async with opened(RegexRedactor(action="block")) as client:
        fine = await client.store("fine", scope=ADA)
        seen.words.clear()
        items = [NewMemory(content="one"), NewMemory(content="two", metadata={"a": [card]})]
        tries = [
            client.store(card, scope=ADA),
            client.store_many(items, scope=ADA),
            client.update(fine.id, scope=ADA, text=card),
            client.retrieve(card, scope=ADA),
            client.context(card, scope=ADA, max_tokens=100),
        ]
        for number, call in enumerate(tries):
            with pytest.raises(
                RedactedError, match="item 1: .*card" if number == 1 else "card"
            ) as caught:
                await call
            assert "4111" not in str(caught.value)
            assert caught.value.scope == ADA
        assert seen.words == []
        assert await client.count(scope=ADA) == 1


async def test_counted(opened: Any) -> None:
    """The call's receipt says what kinds were found, and how often."""
    async with opened(RegexRedactor()) as client:
        await client.store(f"{MAIL}, bob@example.org, 4111111111111111", scope=ADA, tags=[MAIL])
        receipt = client.last_receipt()
        assert receipt is not None
        assert dict(receipt.redacted) == {"email": 3, "card": 1}
        await client.store("nothing", scope=ADA)
        receipt = client.last_receipt()
        assert receipt is not None
        assert dict(receipt.redacted) == {}


ODD: dict[str, Callable[[str], Any]] = {
    "nothing": lambda _: None,
    "the text alone": lambda text: text,
    "no text": lambda _: Redaction(text=cast("Any", None)),
    "bytes": lambda _: Redaction(text=cast("Any", b"x")),
    "a huge text": lambda _: Redaction(text="x" * 40_000),
    "findings that are none": lambda _: Redaction(text="x", findings=cast("Any", ("email",))),
    "no findings": lambda _: Redaction(text="x", findings=cast("Any", None)),
    "a list of findings": lambda _: Redaction(text="x", findings=cast("Any", [])),
    "a kind that is none": lambda _: Redaction(
        text="x", findings=(Finding(kind=cast("Any", 5), start=0, end=1),)
    ),
    "tags that are none": lambda _: Redaction(text="x", tags=cast("Any", (5,))),
    "blank tags": lambda _: Redaction(text="x", tags=("",)),
    "too many tags": lambda _: Redaction(text="x", tags=tuple(map(str, range(40)))),
    "a crash": lambda text: 1 / 0 if text else None,
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_a_redactor_that_fails(opened: Any, seen: Seen, answer: Any) -> None:
    """An error in it, or an answer that is none, ends the call: typed, and with nothing stored."""
    async with opened(None) as plain:
        stored = await plain.store("there", scope=ADA)
    seen.words.clear()
    async with opened(Answering(answer)) as client:
        for call in (
            client.store("secret words", scope=ADA),
            client.store_many([NewMemory(content="secret words")], scope=ADA),
            client.update(stored.id, scope=ADA, text="secret words"),
            client.update(stored.id, scope=ADA, metadata={"a": "secret words"}),
            client.update(stored.id, scope=ADA, tags=["secret words"]),
            client.retrieve("secret words", scope=ADA),
        ):
            with pytest.raises(BackendError, match="the redactor") as caught:
                await call
            assert caught.value.remedy
            assert "secret words" not in str(caught.value)
        assert not seen.words
        assert await client.count(scope=ADA) == 1


async def test_errors_of_a_redactor_that_are_ours(opened: Any) -> None:
    """What it raises on purpose arrives as it is."""
    errors: list[MemlaneError] = [
        RedactedError("not this"),
        UnavailableError("its service is down"),
        ValidationError("too odd"),
    ]
    for error in errors:

        def answer(_: str, error: MemlaneError = error) -> Redaction:
            raise error

        async with opened(Answering(answer)) as client:
            with pytest.raises(type(error)) as caught:
                await client.store("x", scope=ADA)
            assert caught.value is error


async def test_a_deadline_holds_for_the_redactor_too(opened: Any) -> None:
    """A redactor that never answers does not keep a call beyond the time it may take."""

    class Stuck:
        async def redact(self, text: str) -> Redaction:
            del text
            await anyio.sleep_forever()
            raise AssertionError

    async with opened(Stuck()) as client:
        with pytest.raises(DeadlineExceededError):
            await client.retrieve("x", scope=ADA, deadline=0.01)


async def test_nothing_left(opened: Any, seen: Seen) -> None:
    """A text of which nothing may be kept is refused; a value or a tag may become empty."""
    async with opened(Answering(lambda text: Redaction(text=text.replace("x", "")))) as client:
        for call in (client.store(" x", scope=ADA), client.retrieve("x", scope=ADA)):
            with pytest.raises(RedactedError, match="nothing of the"):
                await call
        assert not seen.words
        stored = await client.store("y", scope=ADA, metadata={"a": "x"}, tags=["x", "y"])
        assert (stored.metadata, stored.tags) == ({"a": ""}, ("y",))


async def test_keys_that_become_one(client: MemoryClient) -> None:
    """No value is lost because two keys were of the same kind."""
    with pytest.raises(RedactedError, match="two keys"):
        await client.store("x", scope=ADA, metadata={MAIL: 1, "bob@example.org": 2})


@pytest.mark.parametrize(
    "fields",
    [
        {"content": 5},
        {"content": ""},
        {"content": "x" * 33_000},
        {"content": "x", "metadata": {"a": object()}},
        {"content": "x", "metadata": "a"},
        {"content": "x", "tags": "tag"},
        {"content": "x", "tags": [5]},
        {"content": "x", "kind": ""},
    ],
)
async def test_what_cannot_be_stored_is_refused_as_without(
    opened: Any, fields: dict[str, Any]
) -> None:
    """With a redactor and without one a bad argument has the same error."""
    told: list[str] = []
    for redactor in (None, hiding("never")):
        async with opened(redactor) as client:
            for items in ([NewMemory(**fields)], [NewMemory(content="y"), NewMemory(**fields)]):
                with pytest.raises(ValidationError) as caught:
                    await client.store_many(items, scope=ADA)
                told.append(str(caught.value))
            for items_ in (5, NewMemory(content="x"), ["x"]):
                with pytest.raises(ValidationError) as caught:
                    await client.store_many(items_, scope=ADA)
                told.append(str(caught.value))
    assert told[:5] == told[5:]


async def test_each_text_is_shown_once(opened: Any) -> None:
    """The same words in one memory are one question to the redactor."""
    redactor = hiding("never")
    async with opened(redactor) as client:
        await client.store("x", scope=ADA, metadata={"a": "x", "b": ["x", "", "x"]}, tags=["x"])
    assert sorted(redactor.asked) == ["a", "a: x", "b", "b: x", "x"]
