"""On no path does a word that a redactor takes out reach an embedder or a backend."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.spying import Seen, SpyBackend, SpyEmbedder, hiding
from memlane import Image, MemoryClient, NewMemory, RegexRedactor, Scope, Text
from memlane.testing import FakeClock, png

ADA = Scope("ada", tenant="acme")
MAIL = "ada@example.com"


async def test_every_verb() -> None:
    """Texts, metadata, tags, names of pictures and queries: nobody sees the address."""
    seen = Seen()
    async with MemoryClient(
        backend=SpyBackend(seen), embedder=SpyEmbedder(seen), redactor=RegexRedactor()
    ) as client:
        await _every_verb(client)
    assert not seen.has("example.com")
    assert seen.has("what about [email]")


async def _every_verb(client: MemoryClient) -> None:
    metadata: dict[str, Any] = {
        "from": MAIL,
        "deep": {MAIL: [MAIL, {"x": f"to {MAIL}"}]},
        "n": 5,
    }
    stored = await client.store(
        [Text(f"Write to {MAIL}"), Image(png("a letter"), name=f"{MAIL}.png")],
        scope=ADA,
        metadata=metadata,
        tags=[MAIL, "post"],
    )
    assert stored.text == "Write to [email]"
    assert stored.images[0].name == "[email]"
    assert stored.tags == ("[email]", "post")
    assert stored.metadata == {
        "from": "[email]",
        "deep": {"[email]": ["[email]", {"x": "to [email]"}]},
        "n": 5,
    }
    await client.store_many([NewMemory(content="x"), NewMemory(content=MAIL)], scope=ADA)
    changed = await client.update(
        stored.id, scope=ADA, text=f"now {MAIL}", metadata={"a": MAIL}, tags=[MAIL]
    )
    assert (changed.text, changed.metadata, changed.tags) == (
        "now [email]",
        {"a": "[email]"},
        ("[email]",),
    )
    [match, *_] = await client.retrieve(f"what about {MAIL}", scope=ADA)
    assert match.record.text in {"now [email]", "[email]"}
    await client.context(f"and {MAIL}?", scope=ADA, max_tokens=200)


async def test_an_import() -> None:
    """Neither the records of a file, nor what they once were, nor their vectors are kept raw."""
    plain = Seen()
    backend, embedder = SpyBackend(plain), SpyEmbedder(plain)
    async with MemoryClient(backend=backend, embedder=embedder) as client:
        photo = Image(png("a letter"), name=f"{MAIL}.png")
        first = await client.store([Text(f"to {MAIL}"), photo], scope=ADA, metadata={MAIL: MAIL})
        await client.update(first.id, scope=ADA, text=f"no longer to {MAIL}", tags=[MAIL])
        await client.store("nothing of that", scope=ADA)
        await client.store(f"from {MAIL}", scope=ADA)
        lines = [line async for line in client.export(scope=ADA, vectors=True)]
    assert MAIL in "".join(lines)
    seen = Seen()
    async with MemoryClient(
        backend=SpyBackend(seen), embedder=SpyEmbedder(seen), redactor=RegexRedactor()
    ) as client:
        receipt = await client.import_records(lines, scope=ADA)
        assert (receipt.imported, receipt.embedded) == (3, 2)
        listed = await client.list(scope=ADA)
        histories = [await client.history(record.id, scope=ADA) for record in listed.items]
    assert not seen.has("example.com")
    assert "example.com" not in repr(histories)
    assert any(len(versions) == 2 for versions in histories)


CANARY = "canary"
words = st.sampled_from(["plain", f"a {CANARY}", CANARY, f"{CANARY}{CANARY}", "", "x y"])
said = words.map(lambda word: f"{word}.")
values: Any = st.recursive(
    st.one_of(words, st.integers(0, 9), st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["k", CANARY]), inner, max_size=2),
    ),
    max_leaves=8,
)
metadatas = st.dictionaries(st.sampled_from(["a", "b", CANARY]), values, max_size=3)
tags = st.lists(st.sampled_from(["t", CANARY, f"{CANARY}s"]), max_size=3)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(said, metadatas, tags, words), min_size=1, max_size=4),
    st.tuples(said, metadatas, tags),
    said,
    st.booleans(),
)
async def test_no_path_lets_a_word_through(
    stored: list[tuple[str, Any, list[str], str]],
    change: tuple[str, Any, list[str]],
    query: str,
    pictured: bool,
) -> None:
    """Whatever is stored, changed or asked, and wherever the word stands in it: nobody sees it."""
    seen = Seen()
    client = MemoryClient(
        backend=SpyBackend(seen),
        embedder=SpyEmbedder(seen),
        clock=FakeClock(),
        redactor=hiding(CANARY),
    )
    async with client:
        items = [
            NewMemory(
                content=[Text(text), Image(png(), name=f"{name}.png")] if pictured else text,
                metadata=metadata,
                tags=labels,
            )
            for text, metadata, labels, name in stored
        ]
        records = [*await client.store_many(items, scope=ADA)]
        records.append(
            await client.store(
                items[0].content, scope=ADA, metadata=items[0].metadata, tags=items[0].tags
            )
        )
        text, metadata, labels = change
        target = records[0].id
        await client.update(target, scope=ADA, text=text)
        await client.update(target, scope=ADA, metadata=metadata)
        await client.update(target, scope=ADA, tags=labels)
        await client.update(target, scope=ADA, text=query, metadata=metadata, tags=labels)
        await client.restore(target, scope=ADA, version=1)
        await client.retrieve(query, scope=ADA)
        await client.context(query, scope=ADA, max_tokens=100)
        history = await client.history(target, scope=ADA)
    assert len(seen.words) > len(stored)
    assert not seen.has(CANARY)
    assert CANARY not in repr((records, history))
