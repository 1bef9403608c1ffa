"""mem0 with its default local vector store (qdrant in a folder) and without a language model."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.embedding import DIMENSIONS, LocalModel
from benchmarks.peers.protocol import Message


class Mem0Embedding:
    """The local model with the methods of mem0's `EmbeddingBase`; registered as a provider."""

    def __init__(self, config: object = None) -> None:
        self.config = config
        self._model = LocalModel()

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """Return a vector; the action makes no difference."""
        del memory_action
        return self._model.vector(text)

    def embed_batch(self, texts: list[str], memory_action: str = "add") -> list[list[float]]:
        """Return a vector per text."""
        del memory_action
        return self._model.vectors(texts)


class Mem0:
    """`add(messages, user_id=, run_id=, infer=False)`, `search(top_k=, filters={"user_id": ...})`.

    A session's messages go into one `add`, the actor as the message's name; the ids it returns
    are in the order of the messages and lead back. The threshold is zero, so that the best
    `top_k` come whatever their score. Without the extras that download models when first used
    (fastembed's BM25, spaCy's English), it ranks by meaning alone and says so in its log.
    """

    def __init__(self, folder: Path) -> None:
        factory: Any = importlib.import_module("mem0.utils.factory")
        provider = "langchain"  # one of the names its configuration allows
        factory.EmbedderFactory.provider_to_class[provider] = f"{__name__}.Mem0Embedding"
        settings = {
            "vector_store": {
                "provider": "qdrant",
                "config": {
                    "collection_name": "peers",
                    "embedding_model_dims": DIMENSIONS,
                    "path": str(folder / "qdrant"),
                },
            },
            "embedder": {"provider": provider, "config": {"embedding_dims": DIMENSIONS}},
            # Never called: nothing listens there, and the network is off.
            "llm": {
                "provider": "openai",
                "config": {"api_key": "unused", "openai_base_url": "http://127.0.0.1:9/v1"},
            },
            "history_db_path": str(folder / "history.db"),
        }
        self._memory: Any = importlib.import_module("mem0").Memory.from_config(settings)
        self._ids: dict[str, str] = {}

    async def ingest(self, user: str, messages: Sequence[Message]) -> None:
        by_session: dict[str, list[Message]] = {}
        for one in messages:
            by_session.setdefault(one.session, []).append(one)
        for session, said in by_session.items():
            turns = [{"role": "user", "name": one.actor, "content": one.text} for one in said]
            added = self._memory.add(turns, user_id=user, run_id=session, infer=False)
            for one, kept in zip(said, added["results"], strict=True):
                self._ids[kept["id"]] = one.id

    async def ask(self, user: str, question: str, limit: int) -> list[str]:
        found = self._memory.search(question, top_k=limit, filters={"user_id": user}, threshold=0.0)
        return [self._ids[match["id"]] for match in found["results"]]

    async def close(self) -> None:
        self._memory.close()
        self._memory.vector_store.client.close()


async def open_store(folder: Path) -> Mem0:
    """Keep vectors and history under the folder."""
    return Mem0(folder)
