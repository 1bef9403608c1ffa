"""What must be in a store, from what its writers said before they were killed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from anyio import to_thread

from faults.children import Words
from faults.texts import Turn, canary_of, left_of, open_client, scope_of, text_of
from memlane import MemoryClient
from memlane.embeddings import Embeddings
from memlane.local import SqliteBackend
from memlane.local.sqlite.integrity import problems
from memlane.protocols import IndexedRecord, VectorQuery
from memlane.runtime import WorkerThreads
from memlane.scope import Reach
from memlane.testing.fakes import HashingEmbedder

State: TypeAlias = "dict[str, Turn]"  # of one user, by key


def check_file(path: Path, *, made: bool = True) -> None:
    """See that a file is whole; one that was not made to its end may be of an older schema."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        found = problems(connection)
    assert [line for line in found if made or not line.startswith("schema version")] == []


class Story:
    """The truth about one file: what is sure of each user, and what was in flight.

    Args:
        path: The file.
        users: All who may be in it.
    """

    def __init__(self, path: Path, *users: str) -> None:
        self._path = path
        self._sure: dict[str, State] = {user: {} for user in users}
        self._flying: dict[str, tuple[Any, ...]] = {}
        self._forgotten: set[str] = set()
        self._failed: dict[str, tuple[Any, ...]] = {}
        self.failures: Counter[str] = Counter()
        self.acknowledged = 0

    @property
    def flying(self) -> list[str]:
        """The verbs that were begun and not acknowledged."""
        return [words[0] for words in self._flying.values()]

    def copy(self, path: Path) -> Story:
        """Return the story of a copy of the file."""
        other = Story(path)
        other._sure = {user: dict(state) for user, state in self._sure.items()}
        return other

    def tell(self, said: Iterable[Words]) -> None:
        """Go on with the story."""
        for what, user, verb, *details in said:
            if what == "will":
                self._flying[user] = (verb, *details)
            elif what == "did":
                self._done(user, *details)
                self.acknowledged += 1
            elif what == "found":
                self._decide(user, verb)
                self._flying.pop(user, None)
            elif what == "failed":
                self._failed[user] = (verb, *details)
            elif what == "left":
                self._left(user, verb)

    def _done(self, user: str, *result: Any) -> None:
        verb, *details = self._flying.pop(user)
        mine = self._sure[user]
        if verb == "store_many":
            mine |= {key: Turn(0, 1) for key in details[0]}
        elif verb == "update":
            key, before, after = details
            assert mine[key] == before
            mine[key] = after
        elif verb == "delete":
            for key in details[0]:
                del mine[key]
        else:
            lives, residue = result
            mine.clear()
            if residue == "none":
                self._forgotten |= set(lives)

    def _left(self, user: str, found: State) -> None:
        """A call failed and this is what its caller then found: as before, or as it was told."""
        verb, kind, message, stored = self._failed.pop(user)
        flying, *details = self._flying.pop(user)
        assert flying == verb
        assert kind == "StoreFileError", message
        assert "tenant=acme user#" in message, message
        assert "space" in message or verb == "store_many", message
        assert not any(word in message for key in found for word in [key, *canary_of(key)]), message
        sure = self._sure[user]
        if verb == "store_many":
            assert stored == details[0][: len(stored)]
            assert len(stored) % details[1] == 0
            sure = sure | {key: Turn(0, 1) for key in stored}
        elif verb == "forget":
            sure = {key: turn for key, turn in sure.items() if key in found}
        assert found == sure
        self._sure[user] = found
        self.failures[f"{verb}: {message.partition('; ')[2]}"] += 1

    async def check(self) -> None:
        """See that the file is as the story says; what was in flight is decided from now on."""
        assert left_of(self._forgotten, self._path) == [], "before anybody opens the file"
        if self._path.exists():
            made = self.acknowledged > 0 or any(self._sure.values())
            await to_thread.run_sync(partial(check_file, self._path, made=made))
        async with open_client(self._path) as client:
            for user in self._sure:
                self._decide(user, await _found(client, user))
            for user, (verb, *_) in self._flying.items():
                if verb == "forget":
                    await self._forget_again(client, user)
            self._flying.clear()
            for user, sure in self._sure.items():
                assert await _found(client, user) == sure
        assert left_of(self._forgotten, self._path) == []
        await to_thread.run_sync(check_file, self._path)

    def _decide(self, user: str, found: State) -> None:
        """See that what is found is what is sure, and all or nothing of what was in flight."""
        sure = self._sure[user]
        verb, *details = self._flying.get(user, ("",))
        if verb == "store_many":
            keys, step = details
            news = [key for key in found if key not in sure]
            assert news == keys[: len(news)], "a beginning of what was given, in its order"
            assert len(news) % step == 0 or len(news) == len(keys), "whole batches"
            sure = sure | {key: Turn(0, 1) for key in news}
        elif verb == "update":
            key, before, after = details
            assert found.get(key) in (before, after)
            sure = sure | {key: found[key]}
        elif verb == "delete":
            left = [key for key in details[0] if key in found]
            assert left in ([], details[0]), "all of a call or none"
            sure = {key: sure[key] for key in sure if key in found or key not in details[0]}
        elif verb == "forget":
            sure = {key: sure[key] for key in sure if key in found}
        assert found == sure
        self._sure[user] = found

    async def _forget_again(self, client: MemoryClient, user: str) -> None:
        lives = {key.partition(":")[0] for key in self._sure[user]}
        receipt = await client.forget(scope_of(user))
        assert receipt.verified_empty
        assert receipt.deleted == len(self._sure[user])
        assert receipt.residue == "none"
        self._sure[user] = {}
        self._forgotten |= lives
        assert left_of(lives, self._path) == []


async def _found(client: MemoryClient, user: str) -> State:
    """Return what a user's records are, each of them seen to be whole."""
    backend = client._backend
    assert isinstance(backend, SqliteBackend)
    reach = Reach.whole(scope_of(user), now=None)
    records = [record async for record in client.iterate(scope=scope_of(user))]
    whole = await backend.fetch([each.id for each in records], reach=reach, vectors=True)
    state: State = {}
    order = {record.id: place for place, record in enumerate(records)}
    for item in sorted(whole, key=lambda item: order[item.record.id]):
        key, text, version = (item.record.metadata[name] for name in ("key", "text", "version"))
        assert isinstance(key, str)
        assert isinstance(text, int)
        assert isinstance(version, int)
        assert item.record.version == version
        assert item.record.text == text_of(key, text)
        assert key not in state
        state[key] = Turn(text, version)
    assert len(state) == len(records)
    await _check_parts(whole)
    rows = await backend.query(
        VectorQuery(
            vector=np.ones(64, dtype=np.float32),
            terms=np.zeros(0, dtype=np.uint32),
            space=client.space.id,
            limit=10,
        ),
        reach=reach,
    )
    expected = Counter({item.record.id: len(item.parts) for item in whole})
    assert Counter(rows.record_ids) == expected
    return state


async def _check_parts(whole: Iterable[IndexedRecord]) -> None:
    """See that the vectors and terms are those of the text, and of no earlier one."""
    items = list(whole)
    if not items:
        return
    workers = WorkerThreads("faults", 1)
    embeddings = Embeddings(HashingEmbedder(), workers=workers, cached_queries=0)
    due = await embeddings.document_parts([item.record.text for item in items])
    workers.close()
    for item, parts in zip(items, due, strict=True):
        assert [(each.start, each.end) for each in item.parts] == [
            (each.start, each.end) for each in parts
        ]
        for have, want in zip(item.parts, parts, strict=True):
            assert have.terms.tolist() == want.terms.tolist()
            assert np.allclose(have.vector, want.vector, atol=2e-3)
