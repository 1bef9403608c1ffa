"""What a key says of its value is seen, and a label stays while what it is about does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from core.spying import Answering, hiding
from memlane import Image, MemoryClient, RedactedError, Redaction, RegexRedactor, Scope, Text
from memlane.local import InMemoryBackend
from memlane.protocols import Redactor
from memlane.redaction import Redacting
from memlane.testing import FakeClock, HashingImageEmbedder, png
from memlane.types import NewMemory

ADA = Scope("ada", tenant="acme")
MAIL = "ada@example.com"
SECRETS: dict[str, Any] = {
    "password": "hunter2345",
    "api_key": "abcd1234efgh",
    "phone": 5551234567,
    "deep": {"x": [{"mobile": [5551234567.0, "555 1234 567"]}], "note": "hunter2345"},
    "list": {"access_token": ["abcd1234efgh", 7]},
}


@pytest.fixture
def opened(clock: FakeClock) -> Callable[[Redactor | None], MemoryClient]:
    """Clients over one store."""
    backend, embedder = InMemoryBackend(), HashingImageEmbedder()
    return lambda redactor: MemoryClient(
        backend=backend, embedder=embedder, clock=clock, redactor=redactor
    )


async def test_a_value_is_what_its_key_says(opened: Any) -> None:
    """At any depth the nearest key counts; all else is kept as it is."""
    async with opened(RegexRedactor()) as client:
        stored = await client.store("Credentials", scope=ADA, metadata=SECRETS)
        changed = await client.update(stored.id, scope=ADA, metadata=SECRETS)
    assert stored.metadata == changed.metadata == {
        "password": "[token]",
        "api_key": "[token]",
        "phone": "[phone]",
        "deep": {"x": [{"mobile": ["[phone]", "[phone]"]}], "note": "hunter2345"},
        "list": {"access_token": ["[token]", 7]},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["password", "api_key", "phone", "deep", "list"])
async def test_what_its_key_says_is_blocked_and_labelled_too(opened: Any, name: str) -> None:
    """As the same words in a text are."""
    metadata = {name: SECRETS[name]}
    async with opened(RegexRedactor(action="block")) as client:
        with pytest.raises(RedactedError):
            await client.store("x", scope=ADA, metadata=metadata)
    async with opened(RegexRedactor(action="tag")) as client:
        stored = await client.store("x", scope=ADA, metadata=metadata)
    assert stored.metadata == metadata
    assert stored.tags == (("pii:phone",) if name in {"phone", "deep"} else ("secret:token",))


async def _metadata(redactor: Redactor, given: Any) -> Any:
    items = await Redacting(redactor).new_memories([NewMemory(content="x", metadata=given)])
    [new] = items
    return new.metadata


async def test_of_what_is_shown_only_the_value_is_kept() -> None:
    """The key is cut off again, also where it is redacted itself or blanks at the end are lost."""
    assert await _metadata(hiding("ada"), {"ada": "to ada"}) == {"[word]": "to [word]"}
    trimming = Answering(lambda text: Redaction(text=text.replace("secret", "").strip()))
    assert await _metadata(trimming, {"a": "secret", "b": "ok", "secret": "no key"}) == {
        "a": "", "b": "ok", "": "no key",
    }  # fmt: skip


async def test_where_key_and_value_are_taken_out_together() -> None:
    """A match over both leaves what the redactor put there."""
    both = RegexRedactor(patterns={"seat": r"seat: \d+"})
    assert await _metadata(both, {"seat": "12 A", "row": "12 A"}) == {
        "seat": "[seat] A", "row": "12 A",
    }  # fmt: skip


NAMED = [
    "phone", "phone2", "Phone_Number", "phoneNumber", "mobilePhone", "home_phone", "tel", "telNo",
    "fax", "contact phone",
]  # fmt: skip


@pytest.mark.parametrize("key", NAMED)
async def test_names_of_telephones(key: str) -> None:
    """As forms and programs name them."""
    assert await _metadata(RegexRedactor(), {key: "5551234567"}) == {key: "[phone]"}


@pytest.mark.parametrize("key", ["microphone", "order", "total", "telemetry", "callers"])
async def test_numbers_that_are_no_telephones(key: str) -> None:
    """Other words say nothing of the kind."""
    assert await _metadata(RegexRedactor(), {key: 5551234567}) == {key: 5551234567}


async def test_of_a_long_key_its_end_is_shown() -> None:
    """So that a key of many values does not make them many times as long."""
    redactor = hiding("never")
    key = "k" * 9_000 + "password"
    given = {"a": {key: ["x", "y"]}}
    assert await _metadata(redactor, given) == given
    assert max(len(text) for text in redactor.asked if text != key) < 80
    assert all(text.endswith("password: x") for text in redactor.asked if text[-3:] == ": x")
    assert await _metadata(RegexRedactor(), {"a": {key: "hunter2345"}}) == {"a": {key: "[token]"}}


async def test_many_values_leave_the_others_their_turn() -> None:
    """A list of thousands is not looked through in one go."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        await checkpoint()
        turns = 0
        await _metadata(RegexRedactor(), {"password": [f"{n:03x}" for n in range(4_000)]})
        group.cancel_scope.cancel()
    assert turns > 20


names = st.sampled_from(["a", "phone", "password", "a: b", "x: ", " ", "1"])
words = st.text(st.sampled_from("ab: 1\n"), max_size=6)
metadatas = st.dictionaries(
    names,
    st.recursive(
        words | st.integers(-(10**9), 10**9) | st.none(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)


@settings(deadline=None)
@given(metadatas)
async def test_what_a_redactor_leaves_is_as_it_was(metadata: dict[str, Any]) -> None:
    """Whatever keys and values look like, nothing is lost and nothing added."""
    assert await _metadata(hiding("never"), metadata) == metadata


async def test_a_label_stays_while_what_it_is_about_does(opened: Any) -> None:
    """An update of the tags does not take it away, nor of one of text and metadata."""
    async with opened(RegexRedactor(action="tag")) as client:
        stored = await client.store(MAIL, scope=ADA, tags=["post"], metadata={"a": "1"})
        changes: list[dict[str, Any]] = [
            {"tags": ["travel"]},
            {"tags": []},
            {"tags": [], "metadata": {}},
            {"tags": [], "metadata": {"a": "2"}},
            {"tags": [], "text": "nothing"},
        ]
        for change in changes:
            changed = await client.update(stored.id, scope=ADA, **change)
            assert changed.tags == (*sorted(["pii:email", *change["tags"]]),)
        other = await client.store("token=abcd1234efgh", scope=ADA, tags=["a"])
        changed = await client.update(other.id, scope=ADA, tags=["b"])
        assert changed.tags == ("b", "secret:token")


async def test_a_label_goes_with_what_it_was_about(opened: Any) -> None:
    """When all that was shown is shown anew; a picture's name is there still."""
    photo = Image(png("a letter"), name=f"{MAIL}.png")
    async with opened(RegexRedactor(action="tag")) as client:
        stored = await client.store(MAIL, scope=ADA)
        changed = await client.update(stored.id, scope=ADA, text="nothing", tags=["a"])
        assert changed.tags == ("a",)
        stored = await client.store("x", scope=ADA, metadata={"a": MAIL})
        changed = await client.update(stored.id, scope=ADA, text="y", metadata={}, tags=["a"])
        assert changed.tags == ("a",)
        changed = await client.update(stored.id, scope=ADA, text=MAIL, tags=[])
        assert changed.tags == ("pii:email",)
        shown = await client.store([Text("x"), photo], scope=ADA)
        assert shown.tags == ("pii:email",)
        changed = await client.update(shown.id, scope=ADA, text="y", tags=["a"])
        assert changed.tags == ("a", "pii:email")


async def test_without_a_redactor_tags_are_the_callers(opened: Any) -> None:
    """Whatever they begin with."""
    async with opened(None) as client:
        stored = await client.store("x", scope=ADA, tags=["pii:email", "secret:plan"])
        assert (await client.update(stored.id, scope=ADA, tags=["a"])).tags == ("a",)
