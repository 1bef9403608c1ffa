"""Strands Agents' FileMemoryStore: a Markdown file per memory, found by words.

It has no embedding interface; it is used through its own interface as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from strands.storage import LocalFileStorage
from strands.vended_memory_stores.file_memory_store import FileMemoryStore

from benchmarks.peers.protocol import Message


class StrandsFile:
    """`add` per message, `search` with `max_search_results`; a store of its own per user.

    A memory's first line is its heading and the name of its file, and memories of one name are
    merged by dropping the second's heading; raw messages that begin alike would be lost. So the
    heading is our id, the message follows it, and what `add` returns leads back. Metadata is not
    kept by this store. The search is its default, counting the question's words in a file: its
    BM25 strategy asks for all words of a question at once, and questions find nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._storage = LocalFileStorage(str(folder))
        self._stores: dict[str, FileMemoryStore] = {}
        self._ids: dict[tuple[str, str], str] = {}

    def _store(self, user: str) -> FileMemoryStore:
        if user not in self._stores:
            self._stores[user] = FileMemoryStore(name=user, storage=self._storage)
        return self._stores[user]

    async def ingest(self, user: str, messages: Sequence[Message]) -> None:
        store = self._store(user)
        for one in messages:
            key = await store.add(f"# {one.id}\n{one.text}")
            self._ids[user, key] = one.id

    async def ask(self, user: str, question: str, limit: int) -> list[str]:
        found = await self._store(user).search(question, {"max_search_results": limit})
        return [self._ids[user, str((entry.metadata or {})["path"])] for entry in found]

    async def close(self) -> None:
        pass


async def open_store(folder: Path) -> StrandsFile:
    """Keep files under the folder."""
    return StrandsFile(folder)
