"""langchain-core's InMemoryVectorStore: nothing on disk, numpy's cosine over all that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from benchmarks.peers.langchain_embeddings import LocalEmbeddings
from benchmarks.peers.protocol import Message


class LangChainMemory:
    """`add_documents` with all messages of a user, `similarity_search(k=, filter=)`.

    The user is in the metadata and the filter is a function over documents, as its own
    documentation shows; our id is the document's id.
    """

    def __init__(self) -> None:
        self._store = InMemoryVectorStore(LocalEmbeddings())

    async def ingest(self, user: str, messages: Sequence[Message]) -> None:
        self._store.add_documents(
            [
                Document(
                    id=one.id,
                    page_content=one.text,
                    metadata={
                        "user": user,
                        "session": one.session,
                        "actor": one.actor,
                        "at": one.at,
                    },
                )
                for one in messages
            ]
        )

    async def ask(self, user: str, question: str, limit: int) -> list[str]:
        def of_user(document: Document) -> bool:
            return bool(document.metadata["user"] == user)

        found = self._store.similarity_search(question, k=limit, filter=of_user)
        return [str(document.id) for document in found]

    async def close(self) -> None:
        pass


async def open_store(folder: Path) -> LangChainMemory:
    """Make an empty store; the folder stays empty."""
    del folder
    return LangChainMemory()
