"""The local model as langchain-core's `Embeddings`."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from benchmarks.peers.embedding import LocalModel


class LocalEmbeddings(Embeddings):
    """`embed_documents` and `embed_query` of the local model."""

    def __init__(self) -> None:
        self._model = LocalModel()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._model.vectors(texts)

    def embed_query(self, text: str) -> list[float]:
        return self._model.vector(text)
