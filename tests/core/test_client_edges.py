"""The edges of what is accepted: odd texts, exact metadata, the last byte, and vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from memlane import (
    EmbeddingSpaceError,
    Filter,
    InvalidCursorError,
    MemoryClient,
    NewMemory,
    Scope,
    ValidationError,
)
from memlane.local import InMemoryBackend
from memlane.protocols import Embedder, EmbeddingSpace, Purpose, Vector
from memlane.testing import CountingBackend, FakeClock, HashingEmbedder

USER = "ada-lovelace"
SECRET = "swordfish"
ADA = Scope(USER, tenant="acme")

ODD = {
    "nul": "a\0b",
    "rtl": "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "emoji": "\U0001f468\u200d\U0001f469",
    "override": "\u202eabc",
    "symbols": "?!",
    "invisible": "\u200b.",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
async def test_odd_texts_work(client: MemoryClient, text: str) -> None:
    """NUL, right-to-left text, emoji and texts without words are stored and found as they are."""
    stored = await client.store(text, scope=ADA, metadata={"same": text}, actor="\u05d0")
    assert (await client.get(stored.id, scope=ADA)).text == text
    assert stored.metadata == {"same": text}
    (match,) = await client.retrieve(text, scope=ADA)
    assert match.record == stored
    block = await client.context(text, scope=ADA, max_tokens=500)
    assert len(block.matches) == 1
    assert "\0" not in block.text


METADATA: dict[str, Mapping[str, Any]] = {
    "nested": {"a": {"b": [{"c": None}]}},
    "null": {"a": None},
    "empty list": {"a": []},
    "empty object": {"a": {}},
    "32 keys": {f"k{n}": n for n in range(32)},
    "mixed list": {"a": [1, "x", None, True]},
    "numbers": {"one": 1, "one_f": 1.0, "yes": True, "big": 2**62, "small": -(2**62), "f": 1e300},
    "key of 63 bytes": {"k" * 63: 1},
    "own words": {"content": "x", "user_id": "eve", "payload": "x", "space": "y", "type": "z"},
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
async def test_metadata_is_returned_exactly(
    client: MemoryClient, metadata: Mapping[str, Any]
) -> None:
    """What JSON can say comes back equal, with its types."""
    stored = await client.store("window", scope=ADA, metadata=metadata)
    found = (await client.get(stored.id, scope=ADA)).metadata
    assert repr(dict(found)) == repr(dict(metadata))


async def test_filterable_bytes_have_an_edge(client: MemoryClient) -> None:
    """1,200 filterable bytes by S3 Vectors' measure are accepted; one more is one too many."""
    room = 1_200 - 4 - (8 + 1)  # the object, and an entry with a key of one byte
    stored = await client.store("window", scope=ADA, metadata={"k": "x" * room})
    assert stored.metadata == {"k": "x" * room}
    assert await client.count(scope=ADA, filter=Filter.starts_with("k", "xxx")) == 1
    with pytest.raises(ValidationError, match="1,201"):
        await client.store("window", scope=ADA, metadata={"k": "x" * (room + 1)})
    with pytest.raises(ValidationError, match="1,2"):
        await client.store("window", scope=ADA, metadata={"k": "x" * room}, tags=["t"])
    with pytest.raises(ValidationError, match="1,201"):
        await client.update(stored.id, scope=ADA, metadata={"k": "x" * (room + 1)})
    await client.store("window", scope=ADA, metadata={"k": {"nested": "x" * 5_000}})
    assert await client.count(scope=ADA) == 2


async def test_the_payload_has_an_edge(client: MemoryClient) -> None:
    """Text and exact forms of 32 KiB together are accepted, one byte more is not."""
    low, high = 30_000, 32 * 1024
    while high - low > 1:  # where the edge lies depends on what the exact forms weigh
        middle = (low + high) // 2
        try:
            await client.store("x" * middle, scope=ADA)
        except ValidationError:
            high = middle
        else:
            low = middle
    assert low > 32 * 1024 - 500
    stored = await client.store("x" * low, scope=ADA)
    assert len((await client.get(stored.id, scope=ADA)).text) == low
    with pytest.raises(ValidationError, match=r"32,769 bytes; at most 32,768"):
        await client.store("x" * high, scope=ADA)
    with pytest.raises(ValidationError, match="split"):
        await client.store("x" * low, scope=ADA, metadata={"k": {"n": 1}})


async def test_an_edited_cursor_is_refused(client: MemoryClient) -> None:
    """A cursor with one character changed, cut or added is no cursor, and shows nothing."""
    await client.store_many([NewMemory(content=f"n {n}") for n in range(9)], scope=ADA)
    cursor = (await client.list(scope=ADA, limit=3)).cursor
    assert cursor is not None
    assert len((await client.list(scope=ADA, limit=3, cursor=cursor)).items) == 3
    edited = {cursor[:-1], f"{cursor}A", cursor[1:], cursor.swapcase()}
    edited |= {
        f"{cursor[:at]}{'A' if cursor[at] != 'A' else 'B'}{cursor[at + 1 :]}"
        for at in range(len(cursor) - 1)
    }
    for each in edited:
        with pytest.raises(InvalidCursorError):
            await client.list(scope=ADA, cursor=each)
    for scope in (Scope(USER), Scope(USER, tenant="acme", agent="a"), Scope("eve", tenant="acme")):
        with pytest.raises(InvalidCursorError):
            await client.list(scope=scope, cursor=cursor)


class _Broken(HashingEmbedder):
    """Answers documents, queries or both with what is no vector."""

    def __init__(self, change: Callable[[Vector], Any], *purposes: Purpose) -> None:
        super().__init__(16)
        self._change = change
        self._purposes = purposes

    async def embed(self, inputs: Any, *, purpose: Purpose) -> Any:
        rows = await super().embed(inputs, purpose=purpose)
        return self._change(rows) if purpose in self._purposes else rows


BROKEN: dict[str, Callable[[Vector], Any]] = {
    "nan": lambda rows: rows * np.nan,
    "infinity": lambda rows: rows * np.inf,
    "zero": lambda rows: rows * 0,
    "one nan": lambda rows: np.where(np.arange(16) == 3, np.nan, rows),
    "too short": lambda rows: rows[:, :8],
    "too long": lambda rows: np.concatenate([rows, rows], axis=1),
    "too few": lambda rows: rows[:-1],
    "too many": lambda rows: np.concatenate([rows, rows]),
    "flat": lambda rows: rows[0],
    "nothing": lambda rows: rows[:0],
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_vector_is_refused(name: str, clock: FakeClock) -> None:
    """An embedder that answers nonsense stores nothing, changes nothing and finds nothing."""
    backend = InMemoryBackend()
    sound = MemoryClient(backend=backend, embedder=HashingEmbedder(16), clock=clock)
    await sound.store(SECRET, scope=ADA, record_id="r")
    broken: Embedder = _Broken(BROKEN[name], "document", "query")
    client = MemoryClient(backend=backend, embedder=broken, clock=clock)
    for call in (
        client.store("window", scope=ADA),
        client.store_many([NewMemory(content=SECRET), NewMemory(content="b")], scope=ADA),
        client.update("r", scope=ADA, text="zebra"),
        client.retrieve("window", scope=ADA),
        client.context("window", scope=ADA, max_tokens=100),
    ):
        with pytest.raises(EmbeddingSpaceError) as caught:
            await call
        assert caught.value.remedy
        assert caught.value.scope == ADA
        assert SECRET not in str(caught.value)
        assert USER not in str(caught.value)
    assert [record.text async for record in sound.iterate(scope=ADA)] == [SECRET]
    assert len(await client.retrieve(SECRET, scope=ADA, mode="text")) == 1


async def test_another_space_of_the_same_size_is_refused(clock: FakeClock) -> None:
    """A model with as many dimensions is still another model: its vectors are not compared."""

    class Other(HashingEmbedder):
        @property
        def space(self) -> EmbeddingSpace:
            return EmbeddingSpace(model="other", dimensions=64)

    backend = InMemoryBackend()
    await MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock).store(
        "window", scope=ADA
    )
    other = MemoryClient(backend=backend, embedder=Other(), clock=clock)
    with pytest.raises(EmbeddingSpaceError, match="hashing:64") as caught:
        await other.store("zebra", scope=ADA)
    assert "reembed" in str(caught.value)
    assert await other.count(scope=ADA) == 1


def test_a_client_is_made_of_sound_parts() -> None:
    """An unknown tenancy is refused when the client is made."""
    with pytest.raises(ValidationError, match="tenancy"):
        MemoryClient(
            backend=InMemoryBackend(),
            embedder=HashingEmbedder(),
            tenancy="sometimes",  # type: ignore[arg-type] # that is the point
        )


async def test_each_tenants_space_is_checked_once(clock: FakeClock) -> None:
    """One tenant's check stands for no other's, no tenant among them, and is not repeated."""
    shared = InMemoryBackend()
    first = MemoryClient(backend=shared, embedder=HashingEmbedder(64), clock=clock)
    await first.store("window", scope=Scope("ada"))
    counting = CountingBackend(shared)
    second = MemoryClient(backend=counting, embedder=HashingEmbedder(32), clock=clock)
    for _ in range(3):
        await second.store("zebra", scope=ADA)
    assert counting.calls["ensure_index"] == 1
    with pytest.raises(EmbeddingSpaceError):
        await second.retrieve("window", scope=Scope("ada"))
